"""Recorded trajectories of one domain, read once per process and replayed only when a turn of them is wanted.

They come from a file, or from the domain's own demonstrations, which are generated once into the user's cache folder.
Choosing among the turns is `sources.py`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import cast

from pivot_envs.contracts import Domain, ReplayReport, SelfDemonstrating
from pivot_envs.errors import ConfigError, PivotEnvsError, RecordError, RestoreError
from pivot_envs.records import SCHEMA_VERSION, Trajectory, content_hash
from pivot_envs.trajectories import read_trajectories, write_trajectories

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "PIVOT_ENVS_CACHE"
"""Environment variable that moves the cache folder."""

_generating = threading.Lock()


class Recordings:
    """The trajectories of one file (or of a domain's own demonstrations) with their replay reports, made lazily."""

    def __init__(self, domain: Domain, trajectories: Iterable[Trajectory], name: str) -> None:
        self.domain, self.name = domain, name
        read = list(trajectories)
        self.trajectories = tuple(each for each in read if each.domain == domain.name)
        if not self.trajectories:
            others = ", ".join(sorted({each.domain for each in read})[:8])
            raise ConfigError(
                f"{name} holds no trajectory of domain {domain.name!r}"
                + (f"; it holds {others}: name one of them as the domain" if others else "; it is empty")
            )
        self.by_id = {each.trajectory_id: each for each in self.trajectories}
        if len(self.by_id) < len(self.trajectories):
            twice = Counter(each.trajectory_id for each in self.trajectories).most_common(1)[0][0]
            raise RecordError(f"trajectory {twice!r} stands there twice", file=name, field="trajectory_id")
        self._dropped: dict[str, dict[int, str]] = {}

    def dropped(self, trajectory: Trajectory) -> dict[int, str]:
        """Return turn -> reason for the turns of a trajectory that are no candidates, replaying it the first time."""
        known = self._dropped.get(trajectory.trajectory_id)
        if known is None:
            known = self._dropped[trajectory.trajectory_id] = self._check(trajectory)
        return known

    def dropped_counts(self) -> Counter[str]:
        """Count the dropped turns by reason, over the trajectories replayed so far."""
        return Counter(reason for turns in list(self._dropped.values()) for reason in turns.values())

    def _check(self, trajectory: Trajectory) -> dict[int, str]:
        try:
            report: ReplayReport = self.domain.check(trajectory)
        except RestoreError as error:
            logger.warning("%s cannot be replayed, its turns are left out: %s", trajectory.trajectory_id, error)
            return {turn: "not_replayable" for turn in range(len(trajectory.assistant_indices))}
        reasons = {each.turn: each.dropped for each in report.turns}
        absent = {t: "not_reported" for t in range(len(trajectory.assistant_indices)) if t not in reasons}
        return {turn: why for turn, why in {**reasons, **absent}.items() if why}


def recordings_in(domain: Domain, path: Path) -> Recordings:
    """Return the recordings of a file; the same file is read once per process."""
    status = path.stat()
    return _from_file(domain, path.resolve(), status.st_mtime_ns, status.st_size)  # type: ignore[arg-type]  # by identity


def own_recordings(domain: Domain, split: str) -> Recordings:
    """Return the domain's own demonstrations of a split.

    Raises:
        ConfigError: the domain has none.
    """
    if not isinstance(domain, SelfDemonstrating):
        raise ConfigError(
            f"domain {domain.name!r} comes without recorded demonstrations: pass trajectories=FILE, "
            f"for instance one written by `pivot-envs demonstrate --domain {domain.name}`"
        )
    with _generating:
        return _own(domain, split)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; computed once per version of the file."""
    status = path.stat()
    return _sha256(path.resolve(), status.st_mtime_ns, status.st_size)


def cache_folder() -> Path:
    """Return the user's cache folder of this package; it need not exist."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "pivot-envs"


@lru_cache(maxsize=16)
def _from_file(domain: Domain, path: Path, mtime: int, size: int) -> Recordings:
    return Recordings(domain, read_trajectories(path), path.name)


@lru_cache(maxsize=64)
def _sha256(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=16)
def _own(domain: Domain, split: str) -> Recordings:
    name = f"the demonstrations of {domain.name} ({split})"
    key = content_hash([domain.name, split, domain.fingerprint, SCHEMA_VERSION])
    path = cache_folder() / "trajectories" / f"{domain.name}-{key}.jsonl"
    if path.is_file():
        try:
            return Recordings(domain, read_trajectories(path), name)
        except (PivotEnvsError, OSError) as error:
            logger.warning("%s is not readable and is made anew: %s", path, error)
    trajectories = tuple(cast(SelfDemonstrating, domain).default_trajectories(split))
    recordings = Recordings(domain, trajectories, name)
    try:
        write_trajectories(path, trajectories)
    except OSError as error:
        logger.warning(
            "demonstrations of %s stay in memory: %s cannot be written (%s); set %s to a folder that can",
            domain.name, path.parent, error, CACHE_VARIABLE,
        )
    return recordings

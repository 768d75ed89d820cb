"""Where an environment's turns come from: its arguments become candidates, found by id or drawn at random.

Reading files is `recordings.py`; restoring a candidate is the domain's work.
"""

from __future__ import annotations

import bisect
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NoReturn

import numpy as np

from pivot_envs.contracts import Domain
from pivot_envs.errors import ConfigError, FingerprintMismatch, UnknownPivot, suggest
from pivot_envs.kinds import expect_kind
from pivot_envs.recordings import Recordings, file_sha256, own_recordings, recordings_in
from pivot_envs.records import Candidate, Pivot, Trajectory, canonical_json
from pivot_envs.strict_json import shown

MAX_REDRAWS = 64
"""Random turns tried before every trajectory is replayed to find the ones that can be used."""


class Source:
    """The turns an environment may be reset to.

    A trajectory belongs to the split of its task; one whose task the domain does not know belongs to the split its
    `meta` names, else to every split. Turns that the domain's replay drops are left out and counted.

    Args:
        domain: The world.
        trajectories: A `trajectories.jsonl`; unset means the file that `pivots` names, else the domain's own.
        pivots: A `pivots.jsonl`; unset means that every candidate may be drawn.
        split: `train`, `test`, `all`, or one the domain names.
        pivot_ids: Restrict to these.

    Raises:
        ConfigError: a file is absent or a split unknown.
        FingerprintMismatch: the pivots were chosen from another trajectory file.
    """

    def __init__(
        self,
        domain: Domain,
        trajectories: str | Path | None = None,
        pivots: str | Path | None = None,
        split: str = "train",
        pivot_ids: Sequence[str] | None = None,
    ) -> None:
        self.domain, self.split = domain, split
        restricted = _checked_ids(pivot_ids)
        self._trajectories = _existing(trajectories, "trajectories")
        self._pivots_path = _existing(pivots, "pivots")
        self.pivots: dict[str, Pivot] = self._open_pivots(self._pivots_path) if self._pivots_path else {}
        """The pivots of the file by id, empty without a file."""
        self._tasks = {task.task_id for task in domain.tasks(split)}
        self._restricted = restricted

    def get(self, pivot_id: str) -> Candidate:
        """Return the candidate of an id.

        Raises:
            UnknownPivot: there is none; the message says why and names near ones.
        """
        trajectory, turn = self._locate(pivot_id)
        if self._restricted is not None and pivot_id not in self._restricted:
            self._refuse(pivot_id, "is not among the pivot_ids this environment was made with", self._restricted)
        if self._pivots_path is not None:
            if pivot_id not in self.pivots:
                name = self._pivots_path.name
                self._refuse(pivot_id, f"is not in {name}; leave `pivots` unset to reach every turn", self.pivots)
        elif reason := self.recordings.dropped(trajectory).get(turn):
            offered = ", ".join(self._id(trajectory, each) for each in self._usable(trajectory)[:6]) or "none"
            self._refuse(pivot_id, f"is no candidate: {reason}; this trajectory offers {offered}", ())
        return Candidate(trajectory, turn)

    def at(self, trajectory_id: str, turn: int) -> Candidate:
        """Return the candidate at a turn of a trajectory; raises as `get` does."""
        return self.get(f"{self.domain.name}/{trajectory_id}/{turn}")

    def draw(self, rng: np.random.Generator, trajectory_id: str | None = None) -> Candidate:
        """Return a candidate, each as likely as any other (of one trajectory if it is named).

        What is drawn depends on the generator's state alone, not on what was drawn before.
        """
        if trajectory_id is not None:
            return self._draw_within(rng, trajectory_id)
        if self._restricted is not None or self._pivots_path is not None:
            chosen = self._chosen
            return self.get(chosen[int(rng.integers(len(chosen)))])
        total = self._ends[-1]
        for _ in range(MAX_REDRAWS):
            place = int(rng.integers(total))
            index = bisect.bisect_right(self._ends, place)
            trajectory = self.trajectories[index]
            turn = place - (self._ends[index - 1] if index else 0)
            if turn not in self.recordings.dropped(trajectory):
                return Candidate(trajectory, turn)
        usable = self.ids()
        return self.get(usable[int(rng.integers(len(usable)))])

    def ids(self) -> list[str]:
        """Return every id that can be drawn. Without a pivot file this replays every trajectory of the split."""
        if self._restricted is not None or self._pivots_path is not None:
            return list(self._chosen)
        found = [self._id(each, turn) for each in self.trajectories for turn in self._usable(each)]
        if not found:
            counts = ", ".join(f"{reason} {n}" for reason, n in self.dropped.most_common())
            raise ConfigError(f"{self.recordings.name} holds no candidate of split {self.split!r}; dropped: {counts}")
        return found

    @property
    def dropped(self) -> Counter[str]:
        """Turns left out by reason, over the trajectories replayed so far."""
        return self.recordings.dropped_counts()

    @cached_property
    def recordings(self) -> Recordings:
        """The trajectories, read at first use."""
        if self._trajectories is None:
            return own_recordings(self.domain, self.split)
        return recordings_in(self.domain, self._trajectories)

    @cached_property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """The trajectories of this split."""
        found = tuple(each for each in self.recordings.trajectories if self._in_split(each))
        if not any(each.assistant_indices for each in found):
            raise ConfigError(
                f"{self.recordings.name} holds no assistant turn of split {self.split!r}; "
                "pass another split, or split='all'"
            )
        return found

    @cached_property
    def _chosen(self) -> tuple[str, ...]:
        if self._restricted is not None:
            for pivot_id in self._restricted:
                self.get(pivot_id)
            return tuple(self._restricted)
        known = {each.trajectory_id for each in self.trajectories}
        found = tuple(each.pivot_id for each in self.pivots.values() if each.trajectory_id in known)
        if not found:
            raise ConfigError(
                f"{self._pivots_path} holds no pivot of domain {self.domain.name!r} and split {self.split!r}; "
                "pass another split, or split='all'"
            )
        return found

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(each.assistant_indices) for each in self.trajectories))

    @cached_property
    def _known_tasks(self) -> frozenset[str]:
        return frozenset(task.task_id for task in self.domain.tasks("all"))

    def _in_split(self, trajectory: Trajectory) -> bool:
        if self.split == "all" or trajectory.task_id in self._tasks:
            return True
        return trajectory.task_id not in self._known_tasks and trajectory.meta.get("split", self.split) == self.split

    def _usable(self, trajectory: Trajectory) -> list[int]:
        dropped = self.recordings.dropped(trajectory)
        return [turn for turn in range(len(trajectory.assistant_indices)) if turn not in dropped]

    def _draw_within(self, rng: np.random.Generator, trajectory_id: str) -> Candidate:
        trajectory = self._trajectory(trajectory_id, f"{self.domain.name}/{trajectory_id}")
        if self._restricted is not None or self._pivots_path is not None:
            chosen = set(self._chosen)
            turns = [t for t in range(len(trajectory.assistant_indices)) if self._id(trajectory, t) in chosen]
        else:
            turns = self._usable(trajectory)
        if not turns:
            raise UnknownPivot(f"trajectory {trajectory_id!r} has no turn this environment may be reset to")
        return Candidate(trajectory, turns[int(rng.integers(len(turns)))])

    def _locate(self, pivot_id: str) -> tuple[Trajectory, int]:
        head = f"{self.domain.name}/"
        trajectory_id, _, turn = str(pivot_id).removeprefix(head).rpartition("/")
        if not str(pivot_id).startswith(head) or not trajectory_id:
            self._refuse(pivot_id, f"is not of the form {head}TRAJECTORY/TURN", ())
        trajectory = self._trajectory(trajectory_id, pivot_id)
        turns = len(trajectory.assistant_indices)
        if turn not in map(str, range(turns)):
            self._refuse(pivot_id, f"names no turn: trajectory {trajectory_id!r} has turns 0 to {turns - 1}", ())
        return trajectory, int(turn)

    def _trajectory(self, trajectory_id: str, asked: str) -> Trajectory:
        trajectory = self.recordings.by_id.get(trajectory_id)
        if trajectory is None:
            near = suggest(trajectory_id[:200], self.recordings.by_id)
            raise UnknownPivot(
                f"unknown pivot {_short(asked)}: no trajectory {_short(trajectory_id)} among the "
                f"{len(self.recordings.by_id)} of {self.recordings.name}.{near}"
            )
        if not self._in_split(trajectory):
            raise UnknownPivot(
                f"pivot {_short(asked)} belongs to another split than {self.split!r}; make the environment with "
                "split='all', or with the split of its task"
            )
        return trajectory

    def _refuse(self, pivot_id: str, problem: str, known: Iterable[str]) -> NoReturn:
        raise UnknownPivot(f"pivot {_short(pivot_id)} {problem}.{suggest(str(pivot_id)[:200], known)}")

    def _open_pivots(self, path: Path) -> dict[str, Pivot]:
        """Read a pivot file and hold it against the domain and the trajectory file."""
        from pivot_envs.pivots import read_pivots  # that module builds on this layer; only its reader is used here

        expect_kind(path, "pivots")
        header, pivots = read_pivots(path)
        if header.domain != self.domain.name:
            name = self.domain.name
            raise ConfigError(f"{path} holds pivots of domain {header.domain!r}; name that one, not {name!r}")
        if canonical_json(header.domain_fingerprint) != canonical_json(self.domain.fingerprint):
            raise FingerprintMismatch(
                f"{path.name} was selected in {header.domain} {canonical_json(header.domain_fingerprint)}, but here is "
                f"{canonical_json(self.domain.fingerprint)}: install that version, or profile and select again"
            )
        self._trajectories = self._trajectories or _existing(
            path.parent / Path(header.trajectories).name, f"trajectories, as {path.name} names them"
        )
        assert self._trajectories is not None
        if (found := file_sha256(self._trajectories)) != header.trajectories_sha256:
            raise FingerprintMismatch(
                f"{path.name} was selected from {header.trajectories} with SHA-256 {header.trajectories_sha256}, but "
                f"{self._trajectories} has {found}: use the file it was selected from, or profile and select again"
            )
        return {each.pivot_id: each for each in pivots}

    def _id(self, trajectory: Trajectory, turn: int) -> str:
        return Candidate(trajectory, turn).candidate_id


def _checked_ids(pivot_ids: Sequence[str] | None) -> dict[str, None] | None:
    if pivot_ids is None:
        return None
    listed = isinstance(pivot_ids, Iterable) and not isinstance(pivot_ids, str | bytes | Mapping)
    ids = list(pivot_ids) if listed else []
    if not ids or not all(isinstance(each, str) for each in ids):
        raise ConfigError(f"pivot_ids is {pivot_ids!r:.200}; expected a list of at least one id, each a string")
    if odd := [each for each in ids if each.count("/") != 2]:
        raise ConfigError(f"pivot_ids has {odd[0]!r:.200}; expected ids like helpdesk/train_001-0/3")
    return dict.fromkeys(ids)


def _existing(path: str | Path | None, argument: str) -> Path | None:
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"{argument} is {shown(path)}; expected the path of a file, got {type(path).__name__}")
    found = Path(path)
    if not os.path.isfile(found):  # False where a path is too long to be one, where pathlib raises
        raise ConfigError(f"{argument}: there is no file {str(path)!r} (looked in {Path.cwd()})")
    return found


def _short(text: object) -> str:
    shown = repr(str(text))
    return shown if len(shown) <= 200 else f"{shown[:200]}..."

"""`profiles.jsonl`: a header line with what makes profiles comparable, then one line per trajectory (all turns x K).

Written by `profiling.py` with one synced append per trajectory, read by `pivots.py`. A torn last line is what a killed
run leaves; it is dropped with a message and its trajectory is profiled again. Anything else that is broken is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pivot_envs.errors import ConfigError, FingerprintMismatch, RecordError
from pivot_envs.records import SCHEMA_VERSION, Outcome5, Profile
from pivot_envs.strict_json import shown
from pivot_envs.trajectories import parse_text

logger = logging.getLogger(__name__)

KIND = "profiles"
MAX_LINE = 64_000_000
"""Longest line read, in characters: 1,000 turns x K 1,000 fit."""
_BEGINNING = f'{{"schema_version": {SCHEMA_VERSION}, "kind": "{KIND}"'.encode()

Reward = Annotated[float, Field(allow_inf_nan=False)]


class Row(BaseModel):
    """Base of what is read from files: exact types, no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProfileRow(Row):
    """The rollouts of one candidate as they stand in a file; provenance stands in the header."""

    rewards: list[Reward | None]
    outcomes: list[Outcome5]
    tools: list[str]
    stopped_early: bool = False
    demonstrated_tool: str | None = None

    def record(self, provenance: Mapping[str, Any]) -> Profile:
        """Return the record, checked for what types cannot say."""
        if not len(self.rewards) == len(self.outcomes) == len(self.tools):
            lengths = f"{len(self.rewards)}, {len(self.outcomes)} and {len(self.tools)}"
            raise ValueError(f"rewards, outcomes and tools have {lengths} entries; expected one of each per rollout")
        for reward, outcome in zip(self.rewards, self.outcomes, strict=True):
            if (reward is None) != (outcome in ("abstained", "failed")):
                raise ValueError(f"outcome {outcome} with reward {reward}; it is null exactly if abstained or failed")
            if reward is not None and not (0 < reward <= 1 if outcome == "accepted" else 0 <= reward < 1):
                raise ValueError(f"outcome {outcome} with reward {reward}: accepted is in (0, 1], others in [0, 1)")
        return Profile(
            tuple(self.rewards),
            tuple(self.outcomes),
            provenance,
            tuple(self.tools),
            self.stopped_early,
            self.demonstrated_tool,
        )

    @classmethod
    def of(cls, profile: Profile) -> ProfileRow:
        """Return the row of a record."""
        return cls(
            rewards=[None if r is None else float(r) for r in profile.rewards],
            outcomes=list(profile.outcomes),  # type: ignore[arg-type]
            tools=list(profile.tools),
            stopped_early=profile.stopped_early,
            demonstrated_tool=profile.demonstrated_tool,
        )


class CandidateRow(Row):
    """One candidate of a trajectory: a profile, or the reason why it has none."""

    turn: Annotated[int, Field(ge=0)]
    profile: ProfileRow | None = None
    excluded: str = ""
    failures: dict[str, int] = Field(default_factory=dict)
    """Why rollouts failed -> how many."""


class TrajectoryRow(Row):
    """One line: a trajectory's candidates, and what they cost."""

    trajectory_id: str
    candidates: list[CandidateRow]
    cost: dict[str, Reward]


class ProfilesHeader(Row):
    """The first line."""

    schema_version: int
    kind: str
    provenance: dict[str, Any]


@dataclass(frozen=True)
class ProfileSet:
    """What a profiles file holds."""

    path: Path
    provenance: Mapping[str, Any]
    profiles: Mapping[str, Profile]
    """Candidate id -> profile."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Candidate id -> why it was not profiled."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Why rollouts failed -> how many."""
    cost: Mapping[str, float] = field(default_factory=dict)
    """Summed over trajectories: rollouts, seconds, tokens."""

    @property
    def outcomes(self) -> Counter[str]:
        """Outcome -> rollouts."""
        return count_outcomes(self.profiles.values())


def read_profiles(path: str | Path) -> ProfileSet:
    """Read a profiles file, of a finished run or not.

    Raises:
        RecordError: a line is broken, a trajectory stands there twice, or the schema is another.
    """
    path = Path(path)
    provenance, rows = _read(path)
    return profile_set(path, provenance, rows)


def profile_set(path: Path, provenance: Mapping[str, Any], rows: Mapping[str, TrajectoryRow]) -> ProfileSet:
    """Turn rows into records by candidate id."""
    profiles: dict[str, Profile] = {}
    excluded: dict[str, str] = {}
    failures: Counter[str] = Counter()
    cost: dict[str, float] = defaultdict(float)
    for row in rows.values():
        for name, value in row.cost.items():
            cost[name] += value
        for candidate in row.candidates:
            candidate_id = f"{provenance.get('domain', '')}/{row.trajectory_id}/{candidate.turn}"
            failures.update(candidate.failures)
            if candidate.profile is not None:
                profiles[candidate_id] = candidate.profile.record(provenance)
            else:
                excluded[candidate_id] = candidate.excluded or "unknown"
    return ProfileSet(path, provenance, profiles, excluded, failures, dict(cost))


def count_outcomes(profiles: Iterable[Profile]) -> Counter[str]:
    """Return outcome -> rollouts."""
    counted: Counter[str] = Counter()
    for profile in profiles:
        counted.update(profile.outcomes)
    return counted


def check_provenance(recorded: Mapping[str, Any], current: Mapping[str, Any], where: str) -> None:
    """Refuse profiles that were made under other conditions.

    Raises:
        FingerprintMismatch: names the field, both values and the remedy.
    """
    one, other = _flat(recorded), _flat(current)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name, _ABSENT) != other.get(name, _ABSENT):
            raise FingerprintMismatch(
                f"{where}: {name} was {shown(one.get(name, _ABSENT))} when it was recorded and is "
                f"{shown(other.get(name, _ABSENT))} now, so its profiles are not comparable: go back to what it was "
                "recorded with, or profile again into another file"
            )


def parse_line(model: type[Parsed], line: bytes, path: Path, number: int) -> Parsed:
    """Parse one line of one of our files.

    Raises:
        RecordError: with file, line and field.
    """
    try:
        return model.model_validate(parse_text(line.decode(), file=str(path), line=number, max_chars=MAX_LINE))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = f"{first['msg'].lower()}, found {shown(first['input'])}"
        raise RecordError(problem, file=str(path), line=number, field=place) from None
    except UnicodeDecodeError as error:
        raise RecordError(f"byte {error.start} is no UTF-8", file=str(path), line=number) from None


def check_schema(version: int, kind: str, expected_kind: str, path: Path) -> None:
    """Refuse a file of another kind or schema.

    Raises:
        RecordError: it is one.
    """
    if kind != expected_kind:
        problem = f"kind is {shown(kind)}, expected {expected_kind!r}"
        raise RecordError(problem, file=str(path), line=1, field="kind")
    if version != SCHEMA_VERSION:
        problem = (
            f"schema version {version}, but this version of pivot-envs reads {SCHEMA_VERSION}: write the file again "
            "with this version, or read it with the one that wrote it"
        )
        raise RecordError(problem, file=str(path), line=1, field="schema_version")


class ProfilesFile:
    """A profiles file open for appending, locked against a second writer; a context manager."""

    def __init__(self, path: str | Path, provenance: Mapping[str, Any], resume: bool) -> None:
        """Open or resume.

        Raises:
            ConfigError: the file exists and `resume` is off, or another process is writing it.
            FingerprintMismatch: it was begun under other conditions.
            RecordError: it is broken, or no profiles file.
        """
        self.path, self.provenance = Path(path), dict(provenance)
        self.rows: dict[str, TrajectoryRow] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what does not fit on the disk is known at once, and closing has nothing left to write.
        self._file: BinaryIO = self.path.open("ab+", buffering=0)
        try:
            self._begin(resume)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ProfilesFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: TrajectoryRow) -> None:
        """Write one trajectory and wait until it is on disk.

        Raises:
            ConfigError: the disk is full or the file may not grow; what was written before stands.
        """
        self._write(row.model_dump(exclude_defaults=True))
        self.rows[row.trajectory_id] = row

    def _begin(self, resume: bool) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            problem = f"{self.path} is being written by another process; wait for it, or name another file"
            raise ConfigError(problem) from error
        _cut_torn_end(self._file, self.path)
        if self._file.seek(0, os.SEEK_END) == 0:
            self._write({"schema_version": SCHEMA_VERSION, "kind": KIND, "provenance": self.provenance})
            return
        if not resume:
            raise ConfigError(f"{self.path} exists and resume is off; name another file, or resume it")
        recorded, self.rows = _read(self.path)
        if not self.rows and recorded != self.provenance:  # a run that got nowhere binds nobody
            self._file.truncate(0)
            self._begin(resume)
            return
        check_provenance(recorded, self.provenance, str(self.path))

    def _write(self, value: Mapping[str, Any]) -> None:
        end = self._file.seek(0, os.SEEK_END)
        try:
            left = json.dumps(value).encode() + b"\n"
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise ConfigError(
                f"{self.path}: a line could not be written ({error.strerror or error}); {len(self.rows)} finished "
                "trajectories stand in it. Make room, or move the file to where there is some, and run it again: it "
                "goes on from there"
            ) from error


Parsed = TypeVar("Parsed", bound=BaseModel)
_ABSENT = "(absent)"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, TrajectoryRow]]:
    if not path.is_file():
        raise ConfigError(f"there is no profiles file {str(path)!r}; `pivot-envs profile` writes one")
    rows: dict[str, TrajectoryRow] = {}
    with path.open("rb") as file:
        lines = _whole_lines(file, path)
        first = next(lines, None)
        if first is None:
            raise RecordError("the header line is missing", file=str(path), line=1)
        header = parse_line(ProfilesHeader, first, path, 1)
        check_schema(header.schema_version, header.kind, KIND, path)
        for number, line in enumerate(lines, start=2):
            row = parse_line(TrajectoryRow, line, path, number)
            _check_row(row, rows, path, number)
            _check_repetitions(row, header.provenance.get("k"), path, number)
            rows[row.trajectory_id] = row
    return header.provenance, rows


def _check_row(row: TrajectoryRow, seen: Mapping[str, TrajectoryRow], path: Path, number: int) -> None:
    if row.trajectory_id in seen:
        raise RecordError(
            f"trajectory {row.trajectory_id!r} stands there twice", file=str(path), line=number, field="trajectory_id"
        )
    turns = Counter(candidate.turn for candidate in row.candidates)
    for place, candidate in enumerate(row.candidates):
        where = f"candidates.{place}"
        if turns[candidate.turn] > 1:
            raise RecordError(f"turn {candidate.turn} stands there twice", file=str(path), line=number, field=where)
        if (candidate.profile is None) == (candidate.excluded == ""):
            raise RecordError("expected a profile or a reason in `excluded`", file=str(path), line=number, field=where)
        try:
            if candidate.profile is not None:
                candidate.profile.record({})
        except ValueError as error:
            raise RecordError(str(error), file=str(path), line=number, field=f"{where}.profile") from None


def _check_repetitions(row: TrajectoryRow, k: Any, path: Path, number: int) -> None:
    """Refuse a profile that lacks rollouts and does not say that it was stopped early."""
    if not isinstance(k, int):
        return
    for place, candidate in enumerate(row.candidates):
        if candidate.profile is None:
            continue
        drawn, early = len(candidate.profile.rewards), candidate.profile.stopped_early
        if drawn == 0 or (drawn >= k if early else drawn != k):
            expected = f"1 to {k - 1}, since it was stopped early" if early else str(k)
            raise RecordError(
                f"turn {candidate.turn} has {drawn} rollouts, expected {expected}: its mean is not of K {k}. Remove "
                "the line and run `pivot-envs profile` again: it makes that trajectory anew",
                file=str(path),
                line=number,
                field=f"candidates.{place}.profile.rewards",
            )


def _whole_lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    for line in file:
        if not line.endswith(b"\n"):
            logger.warning("%s: the last line (%d bytes) is torn and left out; resume the run", path, len(line))
            return
        yield line


def _cut_torn_end(file: BinaryIO, path: Path) -> None:
    """Cut a last line without an end, if the file is one of ours."""
    file.seek(0)
    beginning = file.read(len(_BEGINNING))
    if not _BEGINNING.startswith(beginning):
        problem = f"this is no profiles file of schema {SCHEMA_VERSION}; name another one"
        raise RecordError(problem, file=str(path), line=1)
    end = position = file.seek(0, os.SEEK_END)
    tail = b""
    while position > 0 and b"\n" not in tail:
        step = min(65_536, position)
        position -= step
        file.seek(position)
        tail = file.read(step) + tail
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    if torn:
        logger.warning("%s: the last line is torn (%d bytes) and dropped; its trajectory is profiled again", path, torn)
        file.truncate(end - torn)


def _flat(value: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{head}{name}.")
        else:
            flat[f"{head}{name}"] = list(item) if isinstance(item, tuple) else item
    return flat

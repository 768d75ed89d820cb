"""`trajectories.jsonl`: read, check, write. One recorded run a line; everything that comes in is checked here.

Lines are untrusted: each is bounded in size and depth, read without duplicate keys, NaN or half characters, and checked
field by field, so that what holds a `Trajectory` may rely on it. Foreign files are `formats/`. Whether a recording
replays is the domain's `check`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pivot_envs import strict_json
from pivot_envs.conversation import check_messages
from pivot_envs.errors import ConfigError, RecordError
from pivot_envs.kinds import expect_kind
from pivot_envs.records import SCHEMA_VERSION, InitialState, Outcome, Trajectory
from pivot_envs.strict_json import JsonProblem, shown

logger = logging.getLogger(__name__)

MAX_LINE = 20_000_000
"""Longest line read, in bytes: a run of 200 turns with 100 kB of output each."""
MAX_LINE_CONTAINERS = 1_000_000
_ID = re.compile(r"[^/\s\x00-\x1f\x7f]{1,200}")
_INITIAL_KINDS = ("task", "image", "sdist", "corpus")

OnError = Callable[[RecordError], None]


class SkippedLines:
    """Collects the records that were left out: pass it as `on_error` and look at `errors` afterwards."""

    def __init__(self) -> None:
        self.errors: list[RecordError] = []

    def __call__(self, error: RecordError) -> None:
        """Keep the error of one record."""
        self.errors.append(error)

    def __len__(self) -> int:
        return len(self.errors)


class _InitialState(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    kind: str
    ref: str
    fingerprint: dict[str, Any] = {}


class _Outcome(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    reward: float | None = None
    passed: bool | None = None
    details: dict[str, Any] = {}


class _Line(BaseModel):
    """The form of a line; extra fields are refused, since a misspelt one would be lost in silence."""

    model_config = ConfigDict(strict=True, extra="forbid")
    schema_version: int
    trajectory_id: str
    domain: str
    task_id: str
    source: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = []
    initial_state: _InitialState
    outcome: _Outcome = _Outcome()
    meta: dict[str, Any] = {}


def read_trajectories(
    path: str | os.PathLike[str], skip_invalid: bool = False, on_error: OnError | None = None
) -> Iterator[Trajectory]:
    """Yield the trajectories of a file, one line at a time.

    Args:
        path: A `trajectories.jsonl`.
        skip_invalid: Leave broken lines out instead of raising at the first.
        on_error: Called with the error of each line left out, e.g. a `SkippedLines`; without it they are logged.

    Raises:
        ConfigError: there is no such file, or it is of another kind.
        RecordError: a line is broken, or an id stands twice; file, line and field are named.
    """
    expect_kind(path, "trajectories")
    return read_checked(
        Path(path), lambda record, line: from_record(record, file=str(path), line=line), skip_invalid, on_error
    )


def read_checked(
    path: Path,
    convert: Callable[[dict[str, Any], int], Trajectory],
    skip_invalid: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Trajectory]:
    """Yield a trajectory for each JSON line, converted by `convert(record, line number)`; ids must be unique."""
    if not path.is_file():
        raise ConfigError(f"{path} is no file; name an existing file of trajectories")
    return _converted(path, convert, skip_invalid, log_skipped if on_error is None else on_error)


def _converted(
    path: Path, convert: Callable[[dict[str, Any], int], Trajectory], skip_invalid: bool, on_error: OnError
) -> Iterator[Trajectory]:
    first_line: dict[str, int] = {}
    with path.open("rb") as file:
        for number, raw, whole in _lines(file):
            try:
                record = _parse_line(raw, whole, str(path), number)
                if record is None:
                    continue
                trajectory = convert(record, number)
                if (known := first_line.setdefault(trajectory.trajectory_id, number)) != number:
                    problem = f"{shown(trajectory.trajectory_id)} stands in line {known} already; ids must be unique"
                    raise RecordError(problem, file=str(path), line=number, field="trajectory_id")
            except RecordError as error:
                if not skip_invalid:
                    raise
                on_error(error)
                continue
            yield trajectory


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a file of JSON lines, read with the bounds of this module.

    Raises:
        RecordError: a line is no JSON object.
    """
    with path.open("rb") as file:
        for number, raw, whole in _lines(file):
            record = _parse_line(raw, whole, str(path), number)
            if record is not None:
                yield number, record


def from_record(record: Mapping[str, Any], *, file: str = "", line: int | None = None) -> Trajectory:
    """Check one record (a parsed line) and return it as a trajectory.

    Raises:
        RecordError: naming the field, its value and what to do.
    """
    version = record.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        problem = f"version {shown(version)} is newer than the {SCHEMA_VERSION} read here; upgrade pivot-envs"
        raise RecordError(problem, file=file, line=line, field="schema_version")
    try:
        read = _Line.model_validate({"schema_version": SCHEMA_VERSION, **record})
    except ValidationError as error:
        raise _first_problem(error, file, line) from None
    for field in ("trajectory_id", "domain"):
        value = getattr(read, field)
        if not _ID.fullmatch(value):
            problem = (
                f"{shown(value)} must be 1 to 200 characters without '/' or white space, since ids of turns hold it"
            )
            raise RecordError(problem, file=file, line=line, field=field)
    if read.initial_state.kind not in _INITIAL_KINDS:
        problem = f"{shown(read.initial_state.kind)} is none of {', '.join(_INITIAL_KINDS)}"
        raise RecordError(problem, file=file, line=line, field="initial_state.kind")
    _check_task(read, file, line)
    check_messages(read.messages, file=file, line=line)
    start, end = read.initial_state, read.outcome
    return Trajectory(
        trajectory_id=read.trajectory_id,
        domain=read.domain,
        task_id=read.task_id,
        source=read.source,
        messages=tuple(read.messages),
        tools=tuple(read.tools),
        initial_state=InitialState(start.kind, start.ref, start.fingerprint),
        outcome=Outcome(end.reward, end.passed, end.details),
        meta=read.meta,
        schema_version=read.schema_version,
    )


def to_record(trajectory: Trajectory) -> dict[str, Any]:
    """Return the JSON object of a trajectory, fields in the order of the format."""
    start, end = trajectory.initial_state, trajectory.outcome
    return {
        "schema_version": trajectory.schema_version,
        "trajectory_id": trajectory.trajectory_id,
        "domain": trajectory.domain,
        "task_id": trajectory.task_id,
        "source": trajectory.source,
        "messages": list(trajectory.messages),
        "tools": list(trajectory.tools),
        "initial_state": {"kind": start.kind, "ref": start.ref, "fingerprint": dict(start.fingerprint)},
        "outcome": {"reward": end.reward, "passed": end.passed, "details": dict(end.details)},
        "meta": dict(trajectory.meta),
    }


def write_trajectories(
    path: str | os.PathLike[str], trajectories: Iterable[Trajectory], *, append: bool = False
) -> int:
    """Write trajectories, one line each, and return how many. What could not be read back is refused.

    Without `append` the file appears whole or not at all (written beside, synced, renamed). With it each line is synced
    as it is written, and what a killed writer left behind after the last complete line is cut off first.

    Raises:
        RecordError: a trajectory that `read_trajectories` would refuse.
    """
    lines = (_checked_line(trajectory, str(path)) for trajectory in trajectories)
    return append_lines(Path(path), lines) if append else replace_lines(Path(path), lines)


def replace_lines(path: Path, lines: Iterable[str]) -> int:
    """Write a text file of lines atomically: a reader sees the old file or the new one. Returns the number of lines.

    A link stays a link: what it points to is replaced.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
    count = 0
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                count += 1
                file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return count


def append_lines(path: Path, lines: Iterable[str]) -> int:
    """Append lines, each synced before the next is asked for. Returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("a+b") as file:
        _cut_torn_line(file, path)
        for line in lines:
            count += 1
            file.write(line.encode("utf-8") + b"\n")
            file.flush()
            os.fsync(file.fileno())
    return count


def file_hash(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_text(text: str, *, file: str, line: int | None = None, max_chars: int = MAX_LINE) -> Any:
    """Parse JSON of a file under this module's bounds; raise RecordError where it breaks one."""
    try:
        return strict_json.parse(text, max_chars=max_chars, max_containers=MAX_LINE_CONTAINERS, max_commas=max_chars)
    except JsonProblem as problem:
        raise RecordError(f"no safe JSON: {problem}", file=file, line=line) from None


def log_skipped(error: RecordError) -> None:
    """Log the error of a record that is left out."""
    logger.warning("left out: %s", error)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number, bytes, whether it ended with a line break); of an overlong line only its head, once."""
    number = 0
    while raw := file.readline(MAX_LINE + 1):
        number += 1
        whole = raw.endswith(b"\n")
        while not whole and len(raw) > MAX_LINE and (rest := file.readline(MAX_LINE)):
            whole = rest.endswith(b"\n")
        yield number, raw, whole


def _parse_line(raw: bytes, whole: bool, file: str, number: int) -> dict[str, Any] | None:
    """Return the object of a line, None for a blank one."""
    if len(raw) > MAX_LINE:
        raise RecordError(f"the line is longer than {MAX_LINE:,} bytes; cut its tool outputs", file=file, line=number)
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if not text:
            return None
        record = parse_text(text, file=file, line=number)
    except (UnicodeDecodeError, RecordError) as error:
        if not whole:
            problem = "the last line breaks off (was its writer stopped?); remove it, or skip invalid lines"
            raise RecordError(problem, file=file, line=number) from None
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"byte {error.start} is no UTF-8; save the file as UTF-8", file=file, line=number) from None
    if not isinstance(record, dict):
        raise RecordError(f"expected a JSON object, got {shown(record)}", file=file, line=number)
    return record


def _first_problem(error: ValidationError, file: str, line: int | None) -> RecordError:
    first = error.errors(include_url=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])[1:][:120]
    problem = f"{first['msg'].lower()}, got {shown(first['input'])}"
    if first["type"] == "missing":
        problem = "the field is missing; every line needs it"
    elif first["type"] == "extra_forbidden":
        problem = f"unknown field with value {shown(first['input'])}; put what is yours under 'meta'"
    return RecordError(problem, file=file, line=line, field=field)


def _check_task(read: _Line, file: str, line: int | None) -> None:
    """Refuse a line with two tasks: splits go by `task_id`, and the other one is replayed."""
    start = read.initial_state
    if start.kind == "task" and read.task_id and start.ref and read.task_id != start.ref:
        problem = f"{shown(read.task_id)}, but initial_state.ref says task {shown(start.ref)}; name one task in both"
        raise RecordError(problem, file=file, line=line, field="task_id")


def _checked_line(trajectory: Trajectory, file: str) -> str:
    try:
        text = json.dumps(to_record(trajectory), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"trajectory {shown(trajectory.trajectory_id)} cannot be written as JSON: {error}"
        raise RecordError(problem, file=file) from None
    record = parse_text(text, file=file)
    from_record(record, file=file)
    return text


def _cut_torn_line(file: IO[bytes], path: Path) -> None:
    """Cut what follows the last line break, unless it is a whole record that only lacks the break."""
    size = file.seek(0, os.SEEK_END)
    start = size
    tail = b""
    while start > 0 and b"\n" not in tail and len(tail) <= MAX_LINE:
        step = min(start, 1 << 20)
        start = file.seek(start - step)
        tail = file.read(step) + tail
    tail = tail[tail.rfind(b"\n") + 1 :]
    if not tail:
        file.seek(0, os.SEEK_END)
        return
    with suppress(RecordError):
        if _parse_line(tail, False, str(path), 1) is not None:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
            return
    logger.warning("%s: cut an incomplete last line of %d bytes, left by a writer that was stopped", path, len(tail))
    file.truncate(size - len(tail))
    file.seek(0, os.SEEK_END)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a crash, where the system lets folders be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

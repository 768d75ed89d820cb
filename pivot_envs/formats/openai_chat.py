"""OpenAI chat JSONL: `{"messages": [...], "tools": [...]}` a line, as fine-tuning files and agent logs have it.

Arguments are read as strings or objects, ids may be missing, results may stand without theirs. Where a line names no
id, domain, task or initial state, the arguments of `read` and the line number do. Other fields go into `meta`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pivot_envs.errors import RecordError
from pivot_envs.formats.linking import link_messages, safe_id
from pivot_envs.kinds import expect_kind
from pivot_envs.records import Trajectory
from pivot_envs.strict_json import shown
from pivot_envs.trajectories import OnError, from_record, read_checked, replace_lines, to_record

_OWN = ("schema_version", "trajectory_id", "domain", "task_id", "source", "initial_state", "outcome")
_READ = (*_OWN, "messages", "tools", "meta")


def read(
    path: Path,
    *,
    domain: str | None = None,
    source: str = "openai_chat",
    initial_kind: str = "task",
    skip_invalid: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Trajectory]:
    """Yield the conversations of a file as trajectories.

    Args:
        path: The file.
        domain: For lines that name none; without it such a line has the domain `chat`.
        source: For lines that name none.
        initial_kind: Kind of the initial state, for lines that name none; it refers to the task id then.
        skip_invalid: Leave broken lines out.
        on_error: Called with the error of each line left out.

    Raises:
        ConfigError: there is no such file, or it is of another kind.
        RecordError: a line is broken.
    """
    path = Path(path)
    expect_kind(path, "openai_chat", "trajectories")

    def convert(record: dict[str, Any], line: int) -> Trajectory:
        if "messages" not in record:
            known = ", ".join(map(shown, list(record)[:8])) or "none"
            problem = f"the field is missing (fields here: {known}); is this an OpenAI chat file?"
            raise RecordError(problem, file=str(path), line=line, field="messages")
        try:
            ours = _ours(record, domain or "chat", source, initial_kind, f"{safe_id(path.stem)}-{line:06d}")
        except RecordError as error:
            raise RecordError(error.problem, file=str(path), line=line, field=error.field) from None
        return from_record(ours, file=str(path), line=line)

    return read_checked(path, convert, skip_invalid, on_error)


def write(path: Path, trajectories: Iterable[Trajectory]) -> int:
    """Write trajectories as OpenAI chat lines, atomically; our own fields stand beside `messages` and `tools`."""
    return replace_lines(Path(path), map(_line, trajectories))


def _line(trajectory: Trajectory) -> str:
    record = to_record(trajectory)
    ordered = {"messages": record.pop("messages"), "tools": record.pop("tools"), **record}
    from_record(record | {"messages": ordered["messages"], "tools": ordered["tools"]}, file=trajectory.trajectory_id)
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False)


def _ours(record: Mapping[str, Any], domain: str, source: str, kind: str, default_id: str) -> dict[str, Any]:
    messages = record["messages"]
    if not isinstance(messages, list):
        raise RecordError(f"expected a list of messages, got {shown(messages)}", field="messages")
    named = record.get("trajectory_id", record.get("id"))
    trajectory_id = safe_id(str(named)) if isinstance(named, str | int) else default_id
    task_id = record.get("task_id", _started_from(record) or trajectory_id)
    task_id = str(task_id) if isinstance(task_id, int) else task_id
    reward = record.get("reward")
    number = isinstance(reward, int | float) and not isinstance(reward, bool)
    meta = record.get("meta", {})
    if not isinstance(meta, Mapping):
        raise RecordError(f"expected an object, got {shown(meta)}", field="meta")
    return {
        "schema_version": record.get("schema_version", 1),
        "trajectory_id": trajectory_id,
        "domain": record.get("domain", domain),
        "task_id": task_id,
        "source": record.get("source", source),
        "messages": link_messages(messages),
        "tools": record.get("tools") or [],
        "initial_state": record.get("initial_state", {"kind": kind, "ref": task_id}),
        "outcome": record.get("outcome", {"reward": float(reward) if number and reward is not None else None}),
        "meta": {**{key: value for key, value in record.items() if key not in _READ}, **meta},
    }


def _started_from(record: Mapping[str, Any]) -> Any:
    """Return the task that a line's own `initial_state` names, if it does."""
    start = record.get("initial_state")
    return start.get("ref") if isinstance(start, Mapping) and start.get("kind") == "task" else None

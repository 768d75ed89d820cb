"""Trajectory -> candidates: one for each assistant turn; with what the text alone says against a turn.

Nothing here executes anything. Whether a turn's prefix replays, and whether its demonstration does something, is for
the domain's `check` to say; splits are made here, by trajectory and task, before any profiling.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pivot_envs.chat import from_message
from pivot_envs.errors import MalformedAction, RecordError
from pivot_envs.records import Candidate, Message, Trajectory, canonical_json

SCRIPTED_GREETING = "scripted greeting"
"""The assistant speaks before anyone asked: the policy never chose that message."""
EMPTY_DEMONSTRATION = "empty demonstration"
"""Neither a call nor a visible character."""
MALFORMED_DEMONSTRATION = "malformed demonstration"
"""The recorded message is no action, e.g. it holds an unclosed think block."""


def candidates_of(trajectory: Trajectory) -> list[Candidate]:
    """Return one candidate for each assistant turn, in order, those with a `drop_reason` included."""
    return [Candidate(trajectory, turn) for turn in range(len(trajectory.assistant_indices))]


def drop_reason(candidate: Candidate) -> str:
    """Return why the recorded text alone rules a turn out, or an empty string."""
    try:
        action = from_message(candidate.message)
    except MalformedAction:
        return MALFORMED_DEMONSTRATION
    if action.is_empty:
        return EMPTY_DEMONSTRATION
    asked = any(message.get("role") == "user" for message in candidate.prefix)
    return "" if asked or action.calls else SCRIPTED_GREETING


def parse_candidate_id(candidate_id: str) -> tuple[str, str, int]:
    """Split `domain/trajectory_id/turn`.

    Raises:
        RecordError: it is no such id.
    """
    parts = candidate_id.split("/")
    if len(parts) == 3 and parts[0] and parts[1] and parts[2].isascii() and parts[2].isdigit() and len(parts[2]) <= 9:
        return parts[0], parts[1], int(parts[2])
    problem = f"{candidate_id[:120]!r} is no id of a turn; expected domain/trajectory_id/turn, e.g. retail/run-7/3"
    raise RecordError(problem, field="candidate_id")


def split_of(trajectory: Trajectory, test_share: float = 0.1) -> Literal["train", "test"]:
    """Return the split of a trajectory. All trajectories of one task are in the same one, in every process.

    `test_share` is ours; the paper does not print how it split. Raising it only moves tasks from train to test.
    """
    if not 0.0 <= test_share <= 1.0:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    task = trajectory.task_id or trajectory.trajectory_id
    digest = hashlib.sha256(f"{trajectory.domain}\0{task}".encode("utf-8", "surrogatepass")).digest()
    return "test" if int.from_bytes(digest[:8], "big") < test_share * 2**64 else "train"


@dataclass(frozen=True)
class PrefixReport:
    """How many turns ask the policy the same question as another turn."""

    candidates: int
    duplicates: int
    """Candidates whose visible prefix equals that of another one, in its own trajectory or elsewhere."""
    groups: int
    """Different prefixes among the duplicates."""
    conflicting: int
    """Candidates in groups whose demonstrations differ: at most one of them can be right for a text comparison."""
    shared_across_splits: int
    """Duplicates whose prefix stands in train and in test."""


def duplicate_prefixes(trajectories: Iterable[Trajectory], test_share: float = 0.1) -> PrefixReport:
    """Count candidates whose visible prefix another candidate has too.

    Visible is what the roles say: calls and results of the user are left out, as are reasoning and call ids.
    """
    seen: dict[bytes, list[tuple[str, str]]] = {}
    for trajectory in trajectories:
        split = split_of(trajectory, test_share)
        for digest, message in _prefix_digests(trajectory):
            seen.setdefault(digest, []).append((_visible_key(message), split))
    groups = [entries for entries in seen.values() if len(entries) > 1]
    sizes: Counter[str] = Counter()
    for entries in groups:
        sizes["duplicates"] += len(entries)
        sizes["conflicting"] += len(entries) if len({key for key, _ in entries}) > 1 else 0
        sizes["shared"] += len(entries) if len({split for _, split in entries}) > 1 else 0
    total = sum(map(len, seen.values()))
    return PrefixReport(total, sizes["duplicates"], len(groups), sizes["conflicting"], sizes["shared"])


def _prefix_digests(trajectory: Trajectory) -> list[tuple[bytes, Message]]:
    """Return the digest of the visible prefix of each turn beside its message, in one pass."""
    running = hashlib.sha256(f"{trajectory.domain}\0".encode("utf-8", "surrogatepass"))
    found = []
    for message in visible_messages(trajectory.messages):
        if message.get("role") == "assistant":
            found.append((running.digest(), message))
        running.update(_visible_key(message).encode("utf-8", "surrogatepass") + b"\0")
    return found


def visible_messages(messages: Sequence[Message]) -> list[Message]:
    """Leave out what belongs to the world: calls of the user, and the results that answer them."""
    shown: list[Message] = []
    caller = "assistant"
    for message in messages:
        role = message.get("role")
        if role in ("assistant", "user") and message.get("tool_calls"):
            caller = str(role)
        if role == "tool" and caller == "user":
            continue
        if role == "user" and message.get("tool_calls") and not message.get("content"):
            continue
        shown.append(message)
    return shown


def _visible_key(message: Mapping[str, Any]) -> str:
    """Identity of what a message shows: role, text, calls without ids."""
    role = str(message.get("role"))
    if role != "assistant":
        return canonical_json([role, message.get("content")])
    try:
        action = from_message(message)
    except MalformedAction:
        return canonical_json([role, message.get("content"), message.get("tool_calls")])
    return canonical_json([role, action.text, [call.key for call in action.calls]])

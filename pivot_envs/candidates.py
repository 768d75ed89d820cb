"""Trajectory -> candidates: one for each assistant turn; with what the text alone says against a turn.

Nothing here executes anything. Whether a turn's prefix replays, and whether its demonstration does something, is for
the domain's `check` to say; splits and equal prefixes are `duplicates.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pivot_envs.chat import from_message
from pivot_envs.errors import MalformedAction, RecordError
from pivot_envs.records import Candidate, Message, Trajectory

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


def of_first_trajectories(ids: Sequence[str], limit: int | None) -> list[str]:
    """Return the candidate ids of the first `limit` trajectories, in order; all of them where it is None."""
    names = dict.fromkeys(candidate_id.rpartition("/")[0] for candidate_id in ids)
    kept = set(list(names)[:limit])
    return [candidate_id for candidate_id in ids if candidate_id.rpartition("/")[0] in kept]

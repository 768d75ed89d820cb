"""A judged turn written out: as plain text for a person, and the verdict as plain values for `info` and logs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pivot_envs.records import Action, Candidate, Message, Outcome, Verdict

LAST_MESSAGES = 6
WIDTH = 400
"""Most characters shown of one message, call or piece of evidence."""


def render_turn(
    candidate: Candidate,
    messages: Sequence[Message],
    demonstration: Action,
    digest: str,
    written: Any = None,
    action: Action | None = None,
    verdict: Verdict | None = None,
) -> str:
    """Return the text of a turn; `written` is what a policy handed in where it is no action."""
    hidden = len(messages) - LAST_MESSAGES
    lines = [f"{candidate.candidate_id}  (state {digest or 'not restored'})"]
    if hidden > 0:
        lines.append(f"  ... {hidden} earlier messages")
    lines += [f"  {_message(each)}" for each in messages[-LAST_MESSAGES:]]
    lines += ["demonstrated:", *_action(demonstration)]
    if verdict is None:
        return "\n".join(lines)
    lines += ["acted:", *(_action(action) if action is not None else [f"  (no action) {_safe(written)}"])]
    reward = "none" if verdict.reward is None else f"{verdict.reward:g}"
    lines.append(f"verdict: {verdict.outcome}, reward {reward}, by {verdict.level}: {_safe(verdict.reason)}")
    lines += [f"  {_safe(name)}: {_safe(value)}" for name, value in verdict.evidence.items()]
    return "\n".join(lines)


def verdict_info(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON-able values of the same types every time, as vector environments need them.

    Evidence becomes (name, value) pairs, since its names and types differ from verdict to verdict.
    """
    return {
        "outcome": verdict.outcome,
        "reward": verdict.reward,
        "level": verdict.level,
        "reason": verdict.reason,
        "evidence": [[str(name), _plain(value)] for name, value in verdict.evidence.items()],
        "cost": {
            "seconds": float(verdict.cost.seconds),
            "sandbox_seconds": float(verdict.cost.sandbox_seconds),
            "calls": int(verdict.cost.calls),
            "tokens": int(verdict.cost.tokens),
        },
    }


def outcome_info(outcome: Outcome) -> dict[str, Any]:
    """Return a domain's judgement of a whole episode as JSON-able values; details are pairs, as evidence is."""
    return {
        "reward": outcome.reward,
        "passed": outcome.passed,
        "details": [[str(name), _plain(value)] for name, value in outcome.details.items()],
    }


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value that JSON can write, however deep, long or odd it is."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth >= 20:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_plain(each, depth + 1) for each in value]
    return str(value)


def _message(message: Message) -> str:
    calls = message.get("tool_calls") or ()
    parts = [_safe(message.get("content"))] if message.get("content") else []
    for call in calls if isinstance(calls, list | tuple) else ():
        function = call.get("function", {}) if isinstance(call, Mapping) else {}
        parts.append(f"{_safe(function.get('name'))}({_safe(function.get('arguments'))})")
    return f"{_safe(message.get('role'))}: {' + '.join(parts) or '(empty)'}"


def _action(action: Action) -> list[str]:
    lines = [f"  says {_safe(action.text)}"] if action.text.strip() else []
    lines += [f"  calls {_safe(call.name)}({_safe(dict(call.arguments))})" for call in action.calls]
    return lines or ["  (nothing)"]


def _safe(value: Any) -> str:
    """Return a bounded one-line form without control characters, which could steer a terminal."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError):
            value = f"({type(value).__name__})"
    text = value[: WIDTH + 1].replace("\n", "\\n").replace("\t", " ")
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= WIDTH else text[:WIDTH] + "..."

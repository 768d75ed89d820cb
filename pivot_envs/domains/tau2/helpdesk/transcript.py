"""Reading recorded messages that may hold anything: who said what, who called which tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pivot_envs.records import Message


def spoken(history: Sequence[Message], role: str) -> list[str]:
    """Return the texts of one party in order."""
    return [m["content"] for m in history if m.get("role") == role and isinstance(m.get("content"), str)]


def called(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (id, name) of the tool calls of a message, leaving out what is no call."""
    return list(_calls(message.get("tool_calls")))


def _calls(calls: Any) -> Iterator[tuple[str, str]]:
    for call in calls if isinstance(calls, (list, tuple)) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str):
            call_id = call.get("id")
            yield (call_id if isinstance(call_id, str) else "", name)

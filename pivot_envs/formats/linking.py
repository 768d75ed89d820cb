"""Foreign chat messages in our form: call ids everywhere, arguments as JSON strings, results that name their call.

Only what is missing is filled in; what is there and wrong is left for the checks of `conversation.py` to name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pivot_envs.chat import MAX_CALLS
from pivot_envs.errors import RecordError
from pivot_envs.records import Message, content_hash
from pivot_envs.strict_json import shown


def link_messages(messages: Sequence[Any], field: str = "messages") -> list[Message]:
    """Return copies of chat messages with ids, string arguments and linked results.

    Raises:
        RecordError: a message or call is no object.
    """
    linked: list[Message] = []
    waiting: list[str] = []
    for index, raw in enumerate(messages):
        message = _object(raw, f"{field}[{index}]")
        if message.get("tool_calls"):
            message["tool_calls"] = _calls(message, f"{field}[{index}].tool_calls", index)
            waiting = [call["id"] for call in message["tool_calls"]]
        elif "tool_calls" in message:
            del message["tool_calls"]
        if message.get("role") == "tool":
            message["tool_call_id"] = message.get("tool_call_id") or (waiting[0] if waiting else None)
            waiting = [call_id for call_id in waiting if call_id != message["tool_call_id"]]
            message["content"] = message.get("content") if message.get("content") is not None else ""
        linked.append(message)
    return linked


def safe_id(name: str) -> str:
    """Return an id that may stand in `domain/trajectory_id/turn` and in a file name; a changed one gets a hash."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_.")[:150]
    return cleaned if cleaned == name else f"{cleaned or 'run'}-{content_hash(name, 8)}"


def _object(raw: Any, field: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise RecordError(f"expected an object, got {shown(raw)}", field=field)
    return dict(raw)


def _calls(message: Mapping[str, Any], field: str, index: int) -> list[dict[str, Any]]:
    listed, role = message["tool_calls"], message.get("role")
    if not isinstance(listed, list | tuple) or len(listed) > MAX_CALLS:
        raise RecordError(f"expected a list of at most {MAX_CALLS} calls, got {shown(listed)}", field=field)
    return [_call(raw, f"{field}[{number}]", f"call_{index}_{number}", role) for number, raw in enumerate(listed)]


def _call(raw: Any, field: str, default_id: str, role: Any) -> dict[str, Any]:
    """Read the OpenAI form, or name and arguments side by side. A requestor is kept where it is not the speaker."""
    call = _object(raw, field)
    function = _object(call.get("function", call), f"{field}.function")
    arguments = function.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    linked = {
        "id": call.get("id") or default_id,
        "type": "function",
        "function": {"name": function.get("name"), "arguments": arguments},
    }
    requestor = call.get("requestor", function.get("requestor"))
    return linked if requestor in (None, role) else {**linked, "requestor": requestor}

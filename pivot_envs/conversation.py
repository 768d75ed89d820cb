"""What makes a list of chat messages a recording: roles, contents, calls, and results that answer them.

Used wherever a trajectory crosses the border, read or written. Calls of the user (dual control) stand in messages of
role `user`; a tool message answers the nearest calls before it, whoever made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pivot_envs import strict_json
from pivot_envs.chat import MAX_CALLS, MAX_NAME
from pivot_envs.errors import RecordError
from pivot_envs.strict_json import JsonProblem, shown

ROLES = ("system", "developer", "user", "assistant", "tool")


def check_messages(messages: Sequence[Any], *, file: str = "", line: int | None = None) -> None:
    """Check a recording's messages in order.

    Raises:
        RecordError: naming the first message and field that is wrong, its value, and what to do.
    """
    if not messages:
        raise RecordError(
            "there are no messages; a trajectory needs at least one", file=file, line=line, field="messages"
        )
    try:
        open_calls: dict[str, int] = {}
        for index, message in enumerate(messages):
            _check_message(message, f"messages[{index}]")
            if message["role"] == "tool":
                _close_call(message, open_calls, f"messages[{index}]")
                continue
            if open_calls:
                name, made = next(iter(open_calls.items()))
                raise _Wrong(
                    f"messages[{index}]",
                    f"a message of role {message['role']!r} follows while call {shown(name)} of messages[{made}] has "
                    "no result; put its tool message before this one",
                )
            open_calls = _calls(message, f"messages[{index}]", index)
    except _Wrong as wrong:
        raise RecordError(wrong.problem, file=file, line=line, field=wrong.field) from None


class _Wrong(Exception):
    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(problem)


def _check_message(message: Any, field: str) -> None:
    if not isinstance(message, Mapping):
        raise _Wrong(field, f"expected a message object, got {shown(message)}")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise _Wrong(f"{field}.role", f"{shown(role)} is none of {', '.join(ROLES)}")
    if isinstance(content, list):
        for number, part in enumerate(content):
            if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
                raise _Wrong(f"{field}.content[{number}]", f"expected a text part, got {shown(part)}; drop other media")
    elif not (content is None or isinstance(content, str)):
        raise _Wrong(f"{field}.content", f"expected a string, null or text parts, got {shown(content)}")
    if role == "tool" and not isinstance(content, str | list):
        raise _Wrong(f"{field}.content", f"a tool message needs a string, got {shown(content)}; write '' for no output")
    if role not in ("assistant", "user") and message.get("tool_calls"):
        raise _Wrong(f"{field}.tool_calls", f"a message of role {role!r} cannot call tools")
    if message.get("function_call"):
        raise _Wrong(f"{field}.function_call", "the old field function_call is not read; write tool_calls with ids")


def _calls(message: Mapping[str, Any], field: str, index: int) -> dict[str, int]:
    """Return call id -> message index of the calls a message makes."""
    listed = message.get("tool_calls")
    if listed is None:
        return {}
    if not isinstance(listed, list | tuple) or len(listed) > MAX_CALLS:
        raise _Wrong(f"{field}.tool_calls", f"expected a list of at most {MAX_CALLS} calls, got {shown(listed)}")
    made: dict[str, int] = {}
    for number, call in enumerate(listed):
        call_id = _call_id(call, f"{field}.tool_calls[{number}]")
        named = call.get("requestor", call["function"].get("requestor"))
        if named not in (None, message.get("role")):
            problem = f"a call of {shown(named)} in a message of role {shown(message.get('role'))}"
            raise _Wrong(f"{field}.tool_calls[{number}].requestor", f"{problem}; a party calls for itself")
        if call_id in made:
            raise _Wrong(f"{field}.tool_calls[{number}].id", f"id {shown(call_id)} stands twice in one message")
        made[call_id] = index
    return made


def _call_id(call: Any, field: str) -> str:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping):
        raise _Wrong(field, f'expected {{"id", "type", "function": {{"name", "arguments"}}}}, got {shown(call)}')
    call_id, name, arguments = call.get("id"), call["function"].get("name"), call["function"].get("arguments")
    if not isinstance(call_id, str) or not call_id:
        raise _Wrong(f"{field}.id", f"expected a non-empty string, got {shown(call_id)}; results refer to it")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        raise _Wrong(f"{field}.function.name", f"expected a name of 1 to {MAX_NAME} characters, got {shown(name)}")
    if not isinstance(arguments, str):
        raise _Wrong(f"{field}.function.arguments", f"expected a JSON string, got {shown(arguments)}; dump the object")
    try:
        value = strict_json.parse(arguments)
    except JsonProblem as problem:
        raise _Wrong(f"{field}.function.arguments", f"{shown(arguments)} is no safe JSON: {problem}") from None
    if not isinstance(value, dict):
        raise _Wrong(f"{field}.function.arguments", f"expected the JSON of an object, got {shown(arguments)}")
    return call_id


def _close_call(message: Mapping[str, Any], open_calls: dict[str, int], field: str) -> None:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str) or call_id not in open_calls:
        waiting = f"waiting are {', '.join(map(shown, open_calls))}" if open_calls else "no call waits for a result"
        raise _Wrong(
            f"{field}.tool_call_id", f"{shown(call_id)} answers no call of the nearest message before; {waiting}"
        )
    del open_calls[call_id]

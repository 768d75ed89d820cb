"""OpenAI chat messages <-> Action: the one message form of recordings, prompts and the `message` codec.

`actions.py` is the door for what a policy wrote and passes these functions on; recordings come through here directly.
Tool arguments are JSON strings when writing, strings or objects when reading.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pivot_envs import strict_json
from pivot_envs.errors import ConfigError, MalformedAction
from pivot_envs.records import Action, Requestor, ToolCall
from pivot_envs.strict_json import MAX_CHARS, JsonProblem, shown

MAX_CALLS = 64
"""Most calls in one action."""
MAX_NAME = 256
"""Longest tool name; four times what the OpenAI API takes."""
THINK_TAG = "(?ai:</?think>)"
"""Pattern of a think block's tags. Models write them in either case; tags of calls are exact, as hermes parsers are."""
_THINK_START, _THINK_END = re.compile("(?ai)\\s*+<think>"), re.compile("(?ai)</think>")


def from_message(message: Mapping[str, Any]) -> Action:
    """Read an OpenAI chat message, recorded or sampled, as an action.

    Arguments may be a JSON string or an object. Calls of a user message get the requestor `user`, those of an assistant
    message `assistant`, unless a call names its `requestor`. A think block at the head of the content is reasoning, as
    is the field `reasoning_content` (or `reasoning`).

    Raises:
        MalformedAction: it is no such message.
    """
    try:
        return _from_message(message)
    except JsonProblem as problem:
        raise MalformedAction(problem.reason, problem.detail) from None
    except RecursionError:
        raise MalformedAction("too_deep", "nested beyond what can be read") from None


def to_message(action: Action, call_ids: Sequence[str] | None = None) -> dict[str, Any]:
    """Write an action as an OpenAI chat message: arguments as JSON strings, content always a string.

    Args:
        action: Its calls must be all of one requestor; calls of the user give a message of role `user`.
        call_ids: One id for each call; by default the call's own, or `call_0`, `call_1`, ...

    Raises:
        ConfigError: calls of both parties in one action, or another number of ids than calls.
    """
    requestors = {call.requestor for call in action.calls}
    if len(requestors) > 1:
        raise ConfigError("an action with calls of both assistant and user is no single message; split it")
    if call_ids is not None and len(call_ids) != len(action.calls):
        raise ConfigError(f"got {len(call_ids)} call ids for {len(action.calls)} calls; pass one for each")
    ids = call_ids if call_ids is not None else [call.id or f"call_{i}" for i, call in enumerate(action.calls)]
    message: dict[str, Any] = {"role": requestors.pop() if requestors else "assistant", "content": action.text}
    if action.reasoning:
        message["reasoning_content"] = action.reasoning
    if action.calls:
        message["tool_calls"] = [
            {"id": name, "type": "function", "function": {"name": call.name, "arguments": dump(call.arguments)}}
            for name, call in zip(ids, action.calls, strict=True)
        ]
    return message


def read_call(function: Any, call_id: Any = "", requestor: Requestor = "assistant") -> ToolCall:
    """Read `{"name": ..., "arguments": ..., "requestor": ...}` as a call; the argument `requestor` is the default.

    Raises:
        MalformedAction, JsonProblem: it is no call.
    """
    if not isinstance(function, Mapping):
        raise MalformedAction("bad_call", f"a function must be an object, got {shown(function)}")
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        raise MalformedAction("missing_name", f"a call needs a name of 1 to {MAX_NAME} characters, got {shown(name)}")
    if not isinstance(call_id, str):
        raise MalformedAction("bad_call", f"a call id must be a string, got {shown(call_id)}")
    if isinstance(arguments, str):
        arguments = strict_json.parse(arguments)
    elif isinstance(arguments, Mapping):
        arguments = _plain(arguments)
    if not isinstance(arguments, dict):
        raise MalformedAction("bad_arguments", f"arguments of {shown(name)} must be an object, got {shown(arguments)}")
    return ToolCall(name, arguments, call_id, _requestor(function.get("requestor"), requestor))


def split_thought(text: str, start: int, thought: list[str]) -> int:
    """Add the think block whose inside begins at `start` to `thought` and return the index after its closing tag."""
    closing = _THINK_END.search(text, start)
    if closing is None:
        raise MalformedAction("unclosed_think", f"the think block at character {start} never closes")
    thought.append(text[start : closing.start()].strip())
    return closing.end()


def dump(value: Any) -> str:
    """Write arguments as the JSON string of a message."""
    return json.dumps(value, ensure_ascii=False)


def _from_message(message: Mapping[str, Any]) -> Action:
    if not isinstance(message, Mapping):
        raise MalformedAction("not_object", f"expected a message object, got {shown(message)}")
    role = message.get("role", "assistant")
    if role not in ("assistant", "user"):
        raise MalformedAction("role", f"{shown(role)} takes no action; expected assistant or user")
    if message.get("function_call"):
        raise MalformedAction("bad_call", "the old field function_call is not read; write tool_calls")
    text, reasoning = _content(message.get("content")), message.get("reasoning_content") or message.get("reasoning")
    if reasoning is not None and not isinstance(reasoning, str):
        raise MalformedAction("bad_content", f"reasoning must be a string, got {shown(reasoning)}")
    thought = [reasoning.strip()] if reasoning else []
    if opening := _THINK_START.match(text):
        text = text[split_thought(text, opening.end(), thought) :].strip()
    listed = message.get("tool_calls") or ()
    if not isinstance(listed, list | tuple):
        raise MalformedAction("bad_call", f"tool_calls must be a list, got {shown(listed)}")
    if len(listed) > MAX_CALLS:
        raise MalformedAction("too_many_calls", f"{len(listed)} calls in one message, at most {MAX_CALLS} are read")
    calls = tuple(_tool_call(item, "user" if role == "user" else "assistant") for item in listed)
    if any(strict_json.has_lone_surrogate(part) for part in (text, *thought, *(c.name + c.id for c in calls))):
        raise MalformedAction("lone_surrogate", "the message cannot be written as UTF-8")
    return Action(text=text, calls=calls, reasoning="\n".join(filter(None, thought)))


def _content(content: Any) -> str:
    if content is None or isinstance(content, str):
        text = content or ""
    elif isinstance(content, list | tuple):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) != len(parts):
            raise MalformedAction("bad_content", "content parts must be text parts; images and audio are not read")
        text = "".join(texts)
    else:
        raise MalformedAction("bad_content", f"content must be a string or text parts, got {shown(content)}")
    if len(text) > MAX_CHARS:
        raise MalformedAction("too_large", f"{len(text):,} characters, at most {MAX_CHARS:,} are read")
    return text


def _tool_call(item: Any, requestor: Requestor) -> ToolCall:
    """Read one entry of `tool_calls`: the OpenAI form, or name and arguments side by side."""
    if not isinstance(item, Mapping):
        raise MalformedAction("bad_call", f"a tool call must be an object, got {shown(item)}")
    return read_call(item.get("function", item), item.get("id") or "", _requestor(item.get("requestor"), requestor))


def _requestor(named: Any, default: Requestor) -> Requestor:
    if named is None:
        return default
    if named not in ("assistant", "user"):
        raise MalformedAction("bad_call", f"the requestor of a call is assistant or user, got {shown(named)}")
    return cast(Requestor, named)


def _plain(arguments: Mapping[str, Any]) -> Any:
    """Return a JSON copy of an object made in Python, which may hold what JSON cannot."""
    try:
        text = json.dumps(dict(arguments), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        reason = "not_finite" if "JSON compliant" in str(error) else "bad_arguments"
        raise MalformedAction(reason, f"arguments cannot be written as JSON: {shown(str(error))}") from None
    return strict_json.parse(text)

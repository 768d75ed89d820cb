"""What a model wrote <-> Action, in five codecs; and the check of an action's calls against the tools it was offered.

`decode` is where hostile text meets the suite: whatever comes in, an `Action` or a `MalformedAction` comes out, soon.
One broken call makes the whole action malformed. Calls inside a think block never count. Chat messages of recordings
come through `from_message`. Whether an action is *right* is the verifiers' business.

Reasons of `MalformedAction`: not_text, too_large, lone_surrogate, bad_json, too_deep, huge_number, not_finite,
duplicate_key, not_object, role, bad_content, bad_call, missing_name, bad_arguments, too_many_calls, unclosed_think,
stray_think, unclosed_tool_call, stray_tool_call, parser, unknown_tool, wrong_requestor, schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pivot_envs import schema, strict_json
from pivot_envs.chat import MAX_CALLS, MAX_NAME, THINK_TAG, dump, from_message, read_call, split_thought, to_message
from pivot_envs.errors import ConfigError, MalformedAction, suggest
from pivot_envs.records import Action, ToolCall
from pivot_envs.strict_json import MAX_CHARS, JsonProblem, shown

__all__ = [
    "CODECS",
    "Codec",
    "HermesCodec",
    "MessageCodec",
    "TextCodec",
    "TokenizerCodec",
    "XmlCodec",
    "decode",
    "encode",
    "from_message",
    "to_message",
    "validate_calls",
]

MAX_PARAMETERS = 1000
"""Most parameters of one call in `xml`, where each costs a search."""
MAX_PARSER_CHARS = 100_000
"""Longest text handed to a tokenizer's own parser, whose patterns are not ours and may be slow."""

Tools = Sequence[Mapping[str, Any]]


class Codec(Protocol):
    """One way of writing an action as text."""

    def decode(self, text: str, *, think_open: bool = False, tools: Tools = ()) -> Action:
        """Read an action; raise MalformedAction where there is none."""

    def encode(self, action: Action, *, tools: Tools = ()) -> str:
        """Write an action so that `decode` reads an equal one; raise ConfigError where the codec cannot say it."""


def decode(
    text: str | Mapping[str, Any],
    codec: str | Codec = "message",
    *,
    think_open: bool = False,
    tools: Tools = (),
) -> Action:
    """Read what a policy wrote.

    Args:
        text: A completion; or, whatever the codec, an OpenAI assistant message as a mapping.
        codec: One of `CODECS`, or an object such as a `TokenizerCodec`.
        think_open: The prompt already opened a think block, so that the completion holds only its closing tag.
        tools: The function schemas offered. Only `xml` needs them, to tell the string "5" from the number.

    Raises:
        MalformedAction: it is no action. Nothing a policy writes raises anything else.
        ConfigError: the codec is unknown.
    """
    chosen = _codec(codec)
    if isinstance(text, Mapping):
        return _policy_message(text)
    if not isinstance(text, str):
        raise MalformedAction("not_text", f"expected a string or a message, got {type(text).__name__}")
    if len(text) > MAX_CHARS:
        raise MalformedAction("too_large", f"{len(text):,} characters, at most {MAX_CHARS:,} are read")
    if strict_json.has_lone_surrogate(text):
        raise MalformedAction("lone_surrogate", "the text cannot be written as UTF-8")
    try:
        action = chosen.decode(text, think_open=think_open, tools=tools)
    except JsonProblem as problem:
        raise MalformedAction(problem.reason, problem.detail) from None
    except RecursionError:
        raise MalformedAction("too_deep", "nested beyond what can be read") from None
    return action


def encode(action: Action, codec: str | Codec = "message", *, tools: Tools = ()) -> str:
    """Write an action as text that `decode` reads back to the same text, reasoning and calls (ids only in `message`).

    Raises:
        ConfigError: the codec is unknown or has no way to say it, e.g. text that itself holds a tag.
    """
    return _codec(codec).encode(action, tools=tools)


def validate_calls(action: Action, tools: Tools) -> None:
    """Check each call against the function schemas offered.

    Raises:
        MalformedAction: reason `unknown_tool` or `wrong_requestor` (verdicts make those `rejected`) or `schema`.
    """
    parameters = {_function(tool).get("name"): _function(tool).get("parameters", {}) for tool in tools}
    for call in action.calls:
        if call.requestor != "assistant":
            raise MalformedAction("wrong_requestor", f"{shown(call.name)} is called in the user's name")
        if call.name not in parameters:
            near = suggest(call.name[:MAX_NAME], [name for name in parameters if isinstance(name, str)])
            raise MalformedAction("unknown_tool", f"{shown(call.name)} is none of the {len(parameters)} tools.{near}")
        if found := schema.problem(call.arguments, parameters[call.name]):
            raise MalformedAction("schema", f"{shown(call.name)}: {found}")


class MessageCodec:
    """`message`: the JSON of an OpenAI assistant message. Canonical, and the only codec that keeps call ids."""

    def decode(self, text: str, *, think_open: bool = False, tools: Tools = ()) -> Action:
        """Read the JSON text; think blocks in front of it are no part of this codec."""
        value = strict_json.parse(text)
        if not isinstance(value, dict):
            raise MalformedAction("not_object", f"expected a message object, found {shown(value)}")
        return _policy_message(value)

    def encode(self, action: Action, *, tools: Tools = ()) -> str:
        """Write the message as one line of JSON."""
        return json.dumps(to_message(action), ensure_ascii=False)


class TextCodec:
    """`text`: everything outside think blocks is text to a person; there are no calls."""

    _tag = re.compile(THINK_TAG)

    def decode(self, text: str, *, think_open: bool = False, tools: Tools = ()) -> Action:
        """Split off the think blocks."""
        said, calls, reasoning = _scan(text, think_open, self._tag, _no_call)
        return Action(text=said, calls=calls, reasoning=reasoning)

    def encode(self, action: Action, *, tools: Tools = ()) -> str:
        """Write reasoning and text."""
        if action.calls:
            raise ConfigError("the codec 'text' cannot write tool calls; use message, hermes or xml")
        return _joined(action, [], self._tag)


class HermesCodec:
    """`hermes`: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` blocks beside text."""

    _tag = re.compile(THINK_TAG + r"|</?tool_call>")

    def decode(self, text: str, *, think_open: bool = False, tools: Tools = ()) -> Action:
        """Read the blocks. A tag inside a JSON string does not end a block, since JSON is read from the opening on."""
        said, calls, reasoning = _scan(text, think_open, self._tag, self._block)
        return Action(text=said, calls=calls, reasoning=reasoning)

    def _block(self, text: str, start: int, tag: str) -> tuple[ToolCall, int]:
        if tag != "<tool_call>":
            raise MalformedAction("stray_tool_call", f"{tag} without its opening, at character {start}")
        if text.find("</tool_call>", start) < 0:
            raise MalformedAction("unclosed_tool_call", f"the block that opens at character {start} never closes")
        value, end = strict_json.parse_prefix(text, start)
        return read_call(value), _closed(text, end, "</tool_call>")

    def encode(self, action: Action, *, tools: Tools = ()) -> str:
        """Write reasoning, text, then one block for each call."""
        blocks = [
            f"<tool_call>\n{json.dumps({'name': c.name, 'arguments': c.arguments}, ensure_ascii=False)}\n</tool_call>"
            for c in _assistant_calls(action)
        ]
        return _joined(action, blocks, self._tag)


class XmlCodec:
    """`xml`: `<function=name><parameter=key>value</parameter></function>`, optionally inside `<tool_call>`.

    A value whose parameter the schema calls a string is taken as it stands; any other is read as JSON where it is
    JSON, else as it stands. One line break after the opening and before the closing tag belongs to the layout.
    """

    _tag = re.compile(THINK_TAG + r"|</?tool_call>|<function=|</function>|<parameter=|</parameter>")
    _name = re.compile(r"([^<>=\s\"']{1,256})>")
    _parameter = re.compile(r"\s*+<parameter=([^<>=\s\"']{1,256})>")
    _parameter_end = re.compile(r"</parameter>(?=\s*+(?:<parameter=|</function>))")

    def decode(self, text: str, *, think_open: bool = False, tools: Tools = ()) -> Action:
        """Read the blocks."""
        types = {_function(tool).get("name"): _function(tool).get("parameters") for tool in tools}

        def block(text: str, start: int, tag: str) -> tuple[ToolCall, int]:
            return self._block(text, start, tag, types)

        said, calls, reasoning = _scan(text, think_open, self._tag, block)
        return Action(text=said, calls=calls, reasoning=reasoning)

    def _block(self, text: str, start: int, tag: str, types: Mapping[Any, Any]) -> tuple[ToolCall, int]:
        wrapped = tag == "<tool_call>"
        if wrapped:
            opening = re.compile(r"\s*+<function=").match(text, start)
            if opening is None:
                raise MalformedAction("bad_call", f"no <function= after {tag} at character {start}")
            start = opening.end()
        elif tag != "<function=":
            raise MalformedAction("stray_tool_call", f"{tag} outside a call, at character {start}")
        name = self._name.match(text, start)
        if name is None:
            raise MalformedAction("missing_name", f"no tool name after <function= at character {start}")
        arguments, end = self._parameters(text, name.end(), types.get(name[1]))
        end = _closed(text, end, "</function>")
        return ToolCall(name[1], arguments), _closed(text, end, "</tool_call>") if wrapped else end

    def _parameters(self, text: str, start: int, types: Any) -> tuple[dict[str, Any], int]:
        arguments: dict[str, Any] = {}
        while (opening := self._parameter.match(text, start)) is not None:
            closing = self._parameter_end.search(text, opening.end())
            if closing is None:
                raise MalformedAction("unclosed_tool_call", f"<parameter={shown(opening[1])}> never closes")
            if len(arguments) >= MAX_PARAMETERS:
                raise MalformedAction("too_large", f"more than {MAX_PARAMETERS} parameters in one call")
            if opening[1] in arguments:
                raise MalformedAction("duplicate_key", f"parameter {shown(opening[1])} stands twice in one call")
            raw = text[opening.end() : closing.start()].removeprefix("\n").removesuffix("\n")
            arguments[opening[1]] = raw if _is_string(types, opening[1]) else _json_or_text(raw)
            start = closing.end()
        return arguments, start

    def encode(self, action: Action, *, tools: Tools = ()) -> str:
        """Write reasoning, text, then one block for each call."""
        types = {_function(tool).get("name"): _function(tool).get("parameters") for tool in tools}
        return _joined(action, [self._written(c, types.get(c.name)) for c in _assistant_calls(action)], self._tag)

    def _written(self, call: ToolCall, types: Any) -> str:
        lines = []
        for key, value in call.arguments.items():
            kept = isinstance(value, str) and (_is_string(types, key) or _json_or_text(value) == value)
            raw = value if kept and isinstance(value, str) else dump(value)
            if "</parameter>" in raw or not self._name.fullmatch(key + ">"):
                raise ConfigError(f"the codec 'xml' cannot write parameter {shown(key)} = {shown(value)}; use hermes")
            lines.append(f"<parameter={key}>\n{raw}\n</parameter>\n")
        if not self._name.fullmatch(call.name + ">"):
            raise ConfigError(f"the codec 'xml' cannot write the tool name {shown(call.name)}; use hermes")
        return f"<tool_call>\n<function={call.name}>\n{''.join(lines)}</function>\n</tool_call>"


class TokenizerCodec:
    """`tokenizer`: the parser that comes with a model's chat template in transformers (`parse_response`).

    Its result goes through the same checks as any message. That parser closes at the end of the text what was left
    open; for `<think>` and `<tool_call>` this is caught here, for other marks not. A duplicate key inside arguments is
    gone before we see it. `prompt` is the rendered prompt: it tells the parser whether a think block is open already.
    """

    def __init__(self, tokenizer: Any, prompt: str = "") -> None:
        """Take a tokenizer object; raise ConfigError where it cannot parse replies."""
        self.tokenizer, self.prompt = tokenizer, prompt
        if getattr(tokenizer, "response_template", None) is None:
            name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
            raise ConfigError(
                f"the tokenizer {shown(name)} has no response_template, so transformers cannot parse its replies; "
                "use the codec hermes or xml, whichever its chat template writes, or set one on the tokenizer"
            )

    def decode(self, text: str, *, think_open: bool = False, tools: Tools = ()) -> Action:
        """Let the tokenizer parse, then check."""
        if len(text) > MAX_PARSER_CHARS:
            raise MalformedAction("too_large", f"{len(text):,} characters, a parser gets {MAX_PARSER_CHARS:,}")
        prompt = self.prompt or ("<think>\n" if think_open else "")
        opened, lower = prompt.rstrip().lower().endswith("<think>"), text.lower()
        if lower.rfind("<think>") > lower.rfind("</think>") or (opened and "</think>" not in lower):
            raise MalformedAction("unclosed_think", "the think block never closes")
        if text.rfind("<tool_call>") > text.rfind("</tool_call>"):
            raise MalformedAction("unclosed_tool_call", "the last <tool_call> never closes")
        try:
            message = self.tokenizer.parse_response(text, prefix=prompt, tools=[dict(tool) for tool in tools])
        except Exception as error:  # noqa: BLE001 - a parser of others, on text of a model
            raise MalformedAction("parser", f"the tokenizer's parser failed with {type(error).__name__}") from error
        if not isinstance(message, Mapping):
            raise MalformedAction("parser", f"the tokenizer's parser returned {shown(message)}, no message")
        reasoning = message.get("reasoning_content") or message.get("thinking") or message.get("reasoning")
        return _policy_message({**message, "reasoning_content": reasoning})

    def encode(self, action: Action, *, tools: Tools = ()) -> str:
        """Chat templates render whole conversations; there is no way back for one action."""
        raise ConfigError("the codec 'tokenizer' only reads; render the message with the chat template instead")


CODECS: Mapping[str, Codec | None] = {
    "message": MessageCodec(),
    "hermes": HermesCodec(),
    "xml": XmlCodec(),
    "text": TextCodec(),
    "tokenizer": None,
}
"""Codec names. `tokenizer` stands for itself only as an object, `TokenizerCodec(tokenizer)`."""


def _codec(codec: str | Codec) -> Codec:
    if not isinstance(codec, str):
        if not all(callable(getattr(codec, name, None)) for name in ("decode", "encode")):  # bytes have one
            known = ", ".join(CODECS)
            raise ConfigError(f"action_codec is {shown(codec)}; expected one of {known}, or an object that decodes")
        return codec
    if codec not in CODECS:
        raise ConfigError(f"unknown action codec {codec!r}; known are {', '.join(CODECS)}.{suggest(codec, CODECS)}")
    found = CODECS[codec]
    if found is None:
        raise ConfigError("the codec 'tokenizer' needs its tokenizer: pass TokenizerCodec(tokenizer) as the codec")
    return found


Block = Callable[[str, int, str], tuple[ToolCall, int]]


def _no_call(text: str, start: int, tag: str) -> tuple[ToolCall, int]:
    raise MalformedAction("stray_think", f"{tag} at character {start} closes nothing")


def _scan(text: str, think_open: bool, tag: re.Pattern[str], block: Block) -> tuple[str, tuple[ToolCall, ...], str]:
    """Walk over think blocks and calls once, left to right, and return (text, calls, reasoning)."""
    said: list[str] = []
    thought: list[str] = []
    calls: list[ToolCall] = []
    position = split_thought(text, 0, thought) if think_open else 0
    while (found := tag.search(text, position)) is not None:
        said.append(text[position : found.start()])
        if found[0].lower() == "<think>":
            position = split_thought(text, found.end(), thought)
        elif found[0].lower() == "</think>":
            detail = f"</think> at character {found.start()} closes nothing; did the prompt open it (think_open)?"
            raise MalformedAction("stray_think", detail)
        else:
            call, position = block(text, found.end(), found[0])
            calls.append(call)
            if len(calls) > MAX_CALLS:
                raise MalformedAction("too_many_calls", f"more than {MAX_CALLS} calls in one action")
    said.append(text[position:])
    return "".join(said).strip(), tuple(calls), "\n".join(filter(None, thought))


def _policy_message(message: Mapping[str, Any]) -> Action:
    action = from_message(message)
    role = message.get("role", "assistant")
    if role != "assistant":
        raise MalformedAction("role", f"a policy writes as assistant, not as {shown(role)}")
    if message.get("requestor", "assistant") != "assistant":
        raise MalformedAction("role", f"a policy acts as assistant, not for {shown(message['requestor'])}")
    return action


def _closed(text: str, start: int, closing: str) -> int:
    """Return the index after a closing tag that must come next."""
    found = re.compile(r"\s*+").match(text, start)
    end = found.end() if found else start
    if not text.startswith(closing, end):
        raise MalformedAction("unclosed_tool_call", f"expected {closing}, found {shown(text[end : end + 40])}")
    return end + len(closing)


def _assistant_calls(action: Action) -> tuple[ToolCall, ...]:
    if any(call.requestor != "assistant" for call in action.calls):
        raise ConfigError("calls of the user have no place in a policy's text; write them with to_message")
    return action.calls


def _joined(action: Action, blocks: list[str], tag: re.Pattern[str]) -> str:
    if tag.search(action.text) or "</think>" in action.reasoning.lower():
        raise ConfigError(f"text or reasoning holds a tag this codec reads: {shown(action.text)}; use message")
    thought = [f"<think>\n{action.reasoning}\n</think>"] if action.reasoning else []
    return "\n".join([*thought, *([action.text] if action.text else []), *blocks])


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the function of a tool schema, wrapped in `{"type": "function", ...}` or bare."""
    inner = tool.get("function", tool) if isinstance(tool, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _is_string(parameters: Any, key: str) -> bool:
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    found = properties.get(key) if isinstance(properties, Mapping) else None
    return isinstance(found, Mapping) and found.get("type") == "string"


def _json_or_text(raw: str) -> Any:
    """Read JSON where the text is JSON; text that only looks like it and breaks a bound is malformed."""
    try:
        return strict_json.parse(raw)
    except JsonProblem as problem:
        if problem.reason == "bad_json":
            return raw
        raise

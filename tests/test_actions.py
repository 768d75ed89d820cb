"""Text of a model becomes an action or a MalformedAction, whatever the text."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from pivot_envs.actions import CODECS, TokenizerCodec, decode, encode, from_message, to_message, validate_calls
from pivot_envs.errors import ConfigError, MalformedAction
from pivot_envs.records import Action, ToolCall

TEXT_CODECS = [name for name in CODECS if name != "tokenizer"]
CALL_CODECS = ["message", "hermes", "xml"]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "book",
            "parameters": {
                "type": "object",
                "properties": {
                    "zip": {"type": "string"},
                    "seats": {"type": "integer"},
                    "price": {"type": "number"},
                    "cabin": {"enum": ["economy", "business"]},
                    "extras": {"type": "array", "items": {"$ref": "#/$defs/extra"}},
                    "date": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "required": ["zip"],
                "additionalProperties": False,
                "$defs": {"extra": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}},
            },
        },
    }
]


def call(arguments: Any, name: str = "book") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def same(one: Action, other: Action) -> bool:
    return (one.text, one.reasoning, [c.key for c in one.calls]) == (
        other.text,
        other.reasoning,
        [c.key for c in other.calls],
    )


ACTIONS = [
    Action(text="Hello 世界 🙂\nsecond line"),
    Action(calls=(ToolCall("book", {"zip": "01234", "seats": 2, "price": 1.5}),)),
    Action(text="One moment.", calls=(ToolCall("book", {"zip": "5"}), ToolCall("look", {"x": [1, {"y": None}]}))),
    Action(reasoning="first think", text="then speak"),
    Action(calls=(ToolCall("book", {"note": "a </tool_call> and a <tool_call> and a <think> inside", "ok": True}),)),
    Action(calls=(ToolCall("book", {"note": "line\nbreak \" and \\ and '", "n": "null", "t": '"quoted"'}),)),
    Action(calls=(ToolCall("empty", {}),)),
]


@pytest.mark.parametrize("codec", CALL_CODECS)
@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_encoded_is_decoded_to_an_equal_action(action: Action, codec: str) -> None:
    assert same(decode(encode(action, codec), codec), action)


@pytest.mark.parametrize("action", ACTIONS)
def test_xml_with_schemas_keeps_strings_that_look_like_numbers(action: Action) -> None:
    assert same(decode(encode(action, "xml", tools=TOOLS), "xml", tools=TOOLS), action)


def test_the_text_codec_takes_tool_tags_as_text() -> None:
    assert decode("a <tool_call> b", "text") == Action(text="a <tool_call> b")
    assert decode(encode(ACTIONS[3], "text"), "text") == ACTIONS[3]
    with pytest.raises(ConfigError, match="cannot write tool calls"):
        encode(ACTIONS[1], "text")


def test_call_ids_survive_in_a_message() -> None:
    action = Action(calls=(ToolCall("book", {}, id="c9"),))
    assert decode(encode(action)).calls[0].id == "c9"
    assert to_message(action, ["other"])["tool_calls"][0]["id"] == "other"
    assert to_message(Action(calls=(ToolCall("book", {}),)))["tool_calls"][0]["id"] == "call_0"
    with pytest.raises(ConfigError, match="2 call ids for 1 calls"):
        to_message(action, ["a", "b"])


@pytest.mark.parametrize("codec", CALL_CODECS)
def test_a_message_mapping_is_read_under_every_codec(codec: str) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "a", "arguments": {"b": 1}}}]}
    assert decode(message, codec).calls == (ToolCall("a", {"b": 1}),)


def test_arguments_are_read_as_a_string_and_as_an_object() -> None:
    for arguments in ({"b": [1, 2]}, '{"b": [1, 2]}'):
        assert from_message({"tool_calls": [{"id": "x", "function": {"name": "a", "arguments": arguments}}]}) == Action(
            calls=(ToolCall("a", {"b": [1, 2]}, "x"),)
        )


def test_calls_of_a_user_message_belong_to_the_user_and_no_policy_may_write_them() -> None:
    message = {"role": "user", "content": "", "tool_calls": [{"function": {"name": "reboot", "arguments": "{}"}}]}
    action = from_message(message)
    assert action.calls[0].requestor == "user"
    assert to_message(action)["role"] == "user"
    with pytest.raises(MalformedAction, match="role: a policy writes as assistant"):
        decode(message)
    with pytest.raises(MalformedAction, match="role"):
        decode(json.dumps(message))
    with pytest.raises(ConfigError, match="calls of the user"):
        encode(action, "hermes")
    with pytest.raises(ConfigError, match="both assistant and user"):
        to_message(Action(calls=(*action.calls, ToolCall("book", {}))))


def test_reasoning_leaves_the_text_and_calls_inside_it_never_count() -> None:
    action = decode("<think>" + call("{}") + "</think>Done." + call('{"zip": "1"}'), "hermes")
    assert [c.arguments for c in action.calls] == [{"zip": "1"}]
    assert action.text == "Done."
    assert call("{}") in action.reasoning
    assert from_message({"content": "<think>hm</think> yes"}) == Action(text="yes", reasoning="hm")
    assert from_message({"content": "yes", "reasoning_content": "hm"}) == Action(text="yes", reasoning="hm")


def test_a_think_block_the_prompt_opened_ends_at_the_closing_tag() -> None:
    raw = call("{}", "hidden") + "</think>" + call("{}", "shown")
    assert [c.name for c in decode(raw, "hermes", think_open=True).calls] == ["shown"]
    with pytest.raises(MalformedAction, match="stray_think"):
        decode(raw, "hermes")
    with pytest.raises(MalformedAction, match="unclosed_think"):
        decode(call("{}"), "hermes", think_open=True)


MALFORMED = {
    "unclosed_think": ["<think>" + call("{}"), "a<think>b</think><think>c"],
    "stray_think": ["</think>x", "<think>a<think>b</think>c</think>"],
    "unclosed_tool_call": ['<tool_call>{"name": "a", "arguments": {}}', call("{}").replace("</tool_call>", "x") * 2],
    "stray_tool_call": ["</tool_call>", call("{}") + "</tool_call>"],
    "bad_json": [call("{'a': 1}"), call("{") + call("{}"), "<tool_call></tool_call>", "<tool_call>5</tool_call>"],
    "duplicate_key": [call('{"a": 1, "a": 1}'), '<tool_call>{"name": "a", "name": "a", "arguments": {}}</tool_call>'],
    "not_finite": [call('{"a": NaN}'), call('{"a": [-Infinity]}'), call('{"a": 1e999}'), call('{"a": -1E+400}')],
    "huge_number": [
        call('{"a": ' + "9" * 5000 + "}"),
        call('{"a": ' + "9" * 5000 + ".0}"),
        call('{"a": [' + ("9" * 4299 + ",") * 40 + "1]}"),
    ],
    "lone_surrogate": ["\ud800", call('{"a": "\\udc00"}'), call('{"\\ud83d": 1}')],
    "too_deep": [call("[" * 200_000), call('{"a":' * 70 + "1" + "}" * 70)],
    "too_large": [call('{"a": [' + "[]," * 300_000 + "1]}"), call('{"a": [' + "1," * 300_000 + "1]}"), "a" * 2_000_001],
    "too_many_calls": [call("{}") * 65],
    "missing_name": [
        '<tool_call>{"arguments": {}}</tool_call>',
        call("{}", ""),
        call("{}", " "),
        call("{}", "n" * 300),
    ],
    "bad_arguments": [call("[]"), call("null"), call("5"), '<tool_call>{"name": "a"}</tool_call>', call('"[1]"')],
    "bad_call": ["<tool_call>[]</tool_call>"],
}


@pytest.mark.parametrize(("reason", "text"), [(reason, text) for reason, texts in MALFORMED.items() for text in texts])
def test_hermes_names_why_a_text_is_malformed(reason: str, text: str) -> None:
    with pytest.raises(MalformedAction) as raised:
        decode(text, "hermes")
    assert raised.value.reason == reason
    assert len(str(raised.value)) < 400
    str(raised.value).encode()


def message(**fields: Any) -> str:
    return json.dumps({"role": "assistant", "content": "", **fields})


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("bad_json", "Hello"),
        ("bad_json", ""),
        ("not_object", "[]"),
        ("role", message(role="system")),
        ("bad_content", message(content=5)),
        ("bad_content", message(content=[{"type": "image_url"}])),
        ("bad_content", message(reasoning_content=5)),
        ("bad_call", message(tool_calls="x")),
        ("bad_call", message(tool_calls=[5])),
        ("bad_call", message(tool_calls=[{"id": 5, "function": {"name": "a", "arguments": "{}"}}])),
        ("bad_call", message(function_call={"name": "a", "arguments": "{}"})),
        ("missing_name", message(tool_calls=[{"function": {"name": 5, "arguments": "{}"}}])),
        ("bad_json", message(tool_calls=[{"function": {"name": "a", "arguments": "{"}}])),
        ("bad_json", message(tool_calls=[{"function": {"name": "a", "arguments": ""}}])),
        ("duplicate_key", message(tool_calls=[{"function": {"name": "a", "arguments": '{"x":1,"x":2}'}}])),
        ("too_many_calls", message(tool_calls=[{"function": {"name": "a", "arguments": "{}"}}] * 65)),
        ("unclosed_think", message(content="<think> and on")),
        ("lone_surrogate", '{"content": "\\ud800"}'),
    ],
)
def test_message_names_why_a_text_is_malformed(reason: str, text: str) -> None:
    with pytest.raises(MalformedAction) as raised:
        decode(text)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("missing_name", "<function=>"),
        ("unclosed_tool_call", "<function=a>"),
        ("unclosed_tool_call", "<function=a><parameter=b>1</function>"),
        ("unclosed_tool_call", "<tool_call><function=a></function>"),
        ("stray_tool_call", "</function>"),
        ("stray_tool_call", "<parameter=b>1</parameter>"),
        ("bad_call", "<tool_call>{}</tool_call>"),
        ("duplicate_key", "<function=a><parameter=b>1</parameter><parameter=b>1</parameter></function>"),
        ("not_finite", "<function=a><parameter=b>NaN</parameter></function>"),
        ("too_deep", "<function=a><parameter=b>" + "[" * 200_000 + "</parameter></function>"),
        ("too_large", "<function=a>" + "".join(f"<parameter=p{i}>1</parameter>" for i in range(2000)) + "</function>"),
    ],
)
def test_xml_names_why_a_text_is_malformed(reason: str, text: str) -> None:
    with pytest.raises(MalformedAction) as raised:
        decode(text, "xml")
    assert raised.value.reason == reason


def test_xml_keeps_quoted_tags_and_line_breaks_of_a_value() -> None:
    inner = "\n  if a < b:\n    print('</parameter> is no end here')\n"
    text = f"<function=edit>\n<parameter=code>\n{inner}\n</parameter>\n</function>"
    assert decode(text, "xml").calls[0].arguments == {"code": inner}


def test_one_broken_call_spoils_the_whole_action() -> None:
    with pytest.raises(MalformedAction, match="bad_json"):
        decode(call("{}") + call("{x}"), "hermes")


@pytest.mark.parametrize("value", [None, 5, b"x", ["x"], object()])
def test_what_is_neither_text_nor_message_is_malformed(value: Any) -> None:
    with pytest.raises(MalformedAction, match="not_text"):
        decode(value)


class Loop(dict[str, Any]):
    """A mapping that holds itself."""


def test_python_objects_that_json_cannot_hold_are_malformed() -> None:
    loop: Mapping[str, Any] = Loop()
    loop["self"] = loop  # type: ignore[index]
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for arguments in (loop, {"a": {1, 2}}, {"a": float("nan")}, {"a": 10**5000}, {"a": deep}, {(1, 2): 3}):
        with pytest.raises(MalformedAction):
            decode({"tool_calls": [{"function": {"name": "a", "arguments": arguments}}]})


def test_unknown_codecs_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'hermes'"):
        decode("x", "hermse")
    with pytest.raises(ConfigError, match="TokenizerCodec"):
        decode("x", "tokenizer")


@pytest.mark.parametrize(
    "arguments",
    [
        {"zip": "1"},
        {"zip": "1", "seats": 2.0, "price": 3, "cabin": "economy", "extras": [{"id": "a", "more": 1}], "date": None},
    ],
)
def test_calls_that_fit_the_schema_pass(arguments: dict[str, Any]) -> None:
    validate_calls(Action(calls=(ToolCall("book", arguments),)), TOOLS)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "'zip' is missing"),
        ({"zip": 5}, "zip: 5 is no string"),
        ({"zip": "1", "seats": 2.5}, "seats: 2.5 is no integer"),
        ({"zip": "1", "seats": True}, "seats: True is no integer"),
        ({"zip": "1", "price": "3"}, "price: '3' is no number"),
        ({"zip": "1", "cabin": "first"}, "cabin: 'first' is none of the 2"),
        ({"zip": "1", "cabin": 1}, "cabin"),
        ({"zip": "1", "extras": [{"id": "a"}, {}]}, r"extras\[1\]: 'id' is missing"),
        ({"zip": "1", "date": 5}, "date: fits no alternative"),
        ({"zip": "1", "colour": "red"}, "'colour' is no parameter"),
    ],
)
def test_calls_that_break_the_schema_name_the_field(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(MalformedAction, match=match) as raised:
        validate_calls(Action(calls=(ToolCall("book", arguments),)), TOOLS)
    assert raised.value.reason == "schema"


def test_an_unknown_tool_has_its_own_reason() -> None:
    with pytest.raises(MalformedAction, match="Did you mean 'book'") as raised:
        validate_calls(Action(calls=(ToolCall("bok", {}),)), TOOLS)
    assert raised.value.reason == "unknown_tool"


def test_a_circular_schema_ends() -> None:
    tools = [{"name": "a", "parameters": {"$ref": "#"}}, {"name": "b", "parameters": {"anyOf": [{"$ref": "#"}] * 9}}]
    for name in "ab":
        with pytest.raises(MalformedAction, match="too large or circular"):
            validate_calls(Action(calls=(ToolCall(name, {}),)), tools)


def test_ten_thousand_hostile_texts_give_an_action_or_a_malformed_action() -> None:
    rng = random.Random(0)
    parts = [
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<function=a>",
        "</function>",
        "<parameter=b>",
        "</parameter>",
        '{"name": "a", "arguments": {',
        '"x": ',
        "}}",
        "NaN",
        "-Infinity",
        "9" * 5000,
        "[" * 3000,
        "]" * 40,
        '{"a":' * 70,
        "\ud800",
        '"\\udfff"',
        '"a": 1, "a": 2',
        '"</tool_call>"',
        '"<tool_call>',
        "\\",
        "\x00",
        "世界",
        " " * 500,
        '{"role": "assistant", "content": "x", "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}]}',
        "1e999",
        "null",
        ",",
        ":",
    ]
    outcomes = {"action": 0, "malformed": 0}
    for _ in range(10_000):
        text = "".join(rng.choice(parts) for _ in range(rng.randrange(1, 12)))
        try:
            action = decode(text, rng.choice(TEXT_CODECS), think_open=rng.random() < 0.2, tools=TOOLS)
            action.key.encode()
            outcomes["action"] += 1
        except MalformedAction as error:
            str(error).encode()
            outcomes["malformed"] += 1
    assert min(outcomes.values()) > 500


@pytest.mark.parametrize("codec", TEXT_CODECS)
@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>" * 90_000,
        "<tool_call>{" + '"' * 1_000_000 + "</tool_call>",
        '<tool_call>{"' + "\\" * 1_000_000 + "</tool_call>",
        "<function=a>" + "<parameter=b>" * 70_000,
        "<function=a><parameter=b>" + ("</parameter>" + " " * 500) * 2_000,
        "<think>" * 140_000,
        "{" + ("1" * 299 + ",") * 3_300 + "}",
    ],
)
def test_a_megabyte_of_openings_ends(text: str, codec: str) -> None:
    try:
        decode(text, codec)
    except MalformedAction as error:
        assert error.reason  # noqa: PT017


RESPONSE_TEMPLATE = {
    "start_anchor": "<assistant>",
    "defaults": {"role": "assistant"},
    "fields": {
        "content": {},
        "thinking": {"open": "<think>", "close": "</think>"},
        "tool_calls": {
            "open": "<tool_call>",
            "close": "</tool_call>",
            "content": "json",
            "repeats": True,
            "transform": {"type": "function", "function": "{content}"},
        },
    },
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A real tokenizer of three words; parsing needs no more."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"a": 0, "b": 1, "<unk>": 2}, unk_token="<unk>")
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(model), unk_token="<unk>")
    if not hasattr(made, "response_template"):
        pytest.skip(f"transformers {transformers.__version__} has no response templates")
    return made


def test_a_tokenizer_without_a_response_template_is_refused(tokenizer: Any) -> None:
    tokenizer.response_template = None
    with pytest.raises(ConfigError, match="has no response_template"):
        TokenizerCodec(tokenizer)
    with pytest.raises(ConfigError, match="has no response_template"):
        TokenizerCodec(object())


def test_the_parser_of_a_tokenizer_gives_actions_and_malformed_actions(tokenizer: Any) -> None:
    tokenizer.response_template = RESPONSE_TEMPLATE
    codec = TokenizerCodec(tokenizer, prompt="<assistant>")
    text = "<think>hm</think>One moment." + call('{"zip": "1"}') + call("{}")
    expected = Action("One moment.", (ToolCall("book", {"zip": "1"}), ToolCall("book", {})), "hm")
    assert same(decode(text, codec), expected)
    opened = TokenizerCodec(tokenizer, prompt="<assistant><think>")
    assert same(decode(text.removeprefix("<think>"), opened), expected)
    for broken in (call("{"), call("[1]"), call("[" * 100_000), "x" * 300_000, "<tool_call>5</tool_call>"):
        with pytest.raises(MalformedAction):
            decode(broken, codec)
    for unclosed, reader in (("<think>" + call("{}"), codec), (call("{}"), opened)):
        with pytest.raises(MalformedAction, match="unclosed_think"):
            decode(unclosed, reader)
    with pytest.raises(MalformedAction, match="unclosed_tool_call"):
        decode(call("{}").removesuffix("</tool_call>"), codec)
    with pytest.raises(ConfigError, match="only reads"):
        encode(expected, codec)


def test_long_digits_inside_strings_are_text() -> None:
    text = " ".join(["7" * 400] * 40)
    assert decode(call(json.dumps({"text": text, "x": 1e5, "y": "1e9"})), "hermes").calls[0].arguments["text"] == text


@pytest.mark.parametrize("codec", ["message", "hermes"])
def test_a_requestor_that_is_written_is_read_and_a_call_in_the_users_name_refused(codec: str) -> None:
    call = {"name": "book", "arguments": {}, "requestor": "user"}
    listed = [{"requestor": "user", "function": {**call, "requestor": None}}]
    message = json.dumps({"role": "assistant", "tool_calls": listed})
    text = message if codec == "message" else f"<tool_call>{json.dumps(call)}</tool_call>"
    action = decode(text, codec)
    assert action.calls == (ToolCall("book", {}, requestor="user"),)
    with pytest.raises(MalformedAction, match="wrong_requestor"):
        validate_calls(action, TOOLS)
    with pytest.raises(MalformedAction, match="bad_call: the requestor"):
        decode(text.replace('"user"', '["user"]'), codec)


@pytest.mark.parametrize("codec", ["text", "hermes", "xml"])
def test_think_tags_are_read_in_either_case(codec: str) -> None:
    assert decode("<THINK>hm <tool_call></Think> Done.", codec) == Action(text="Done.", reasoning="hm <tool_call>")
    assert decode("hm</THINK>Done.", codec, think_open=True) == Action(text="Done.", reasoning="hm")
    with pytest.raises(MalformedAction, match="unclosed_think"):
        decode("<Think>hm", codec)
    with pytest.raises(MalformedAction, match="stray_think"):
        decode("Done.</THINK>", codec)
    with pytest.raises(ConfigError, match="holds a tag"):
        encode(Action(text="a <THINK> b"), codec)


def test_think_tags_at_the_head_of_a_message_are_read_in_either_case() -> None:
    assert from_message({"content": " <Think>hm</THINK> Done."}) == Action(text="Done.", reasoning="hm")


def test_tags_of_calls_are_exact_as_hermes_parsers_have_them() -> None:
    text = '<TOOL_CALL>{"name": "book", "arguments": {}}</TOOL_CALL>'
    assert decode(text, "hermes") == Action(text=text)


def test_a_message_in_the_users_name_is_malformed() -> None:
    with pytest.raises(MalformedAction, match="a policy acts as assistant, not for 'user'"):
        decode(json.dumps({"role": "assistant", "requestor": "user", "content": "Hello."}))

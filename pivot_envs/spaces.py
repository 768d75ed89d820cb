"""Gymnasium spaces for chat: a list of messages, any JSON value, any Unicode text.

The stock `Text` space rejects what is outside its character set, and a set of all of Unicode takes seconds to build and
46 MB to pickle; nested `Dict` and `Sequence` spaces reject lists. These three hold what the environments really show,
sample from a small pool, and work in vector environments that do not use shared memory.
"""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

from gymnasium import spaces
from gymnasium.spaces.space import MaskNDArray

from pivot_envs.strict_json import has_lone_surrogate

MAX_TEXT = 200_000
"""Longest action, in characters."""
ROLES = ("system", "developer", "user", "assistant", "tool")

_SAMPLE_JSON: tuple[Any, ...] = (None, True, 7, "text", [1, 2], {"name": "value"}, [])
_SAMPLE_CALL = {"id": "call_0", "type": "function", "function": {"name": "look", "arguments": '{"at": "door"}'}}
_SAMPLE_CHATS: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is behind the door?"}],
    [
        {"role": "user", "content": "What is behind the door?"},
        {"role": "assistant", "content": "", "tool_calls": [_SAMPLE_CALL]},
        {"role": "tool", "tool_call_id": "call_0", "content": "a goat"},
    ],
)


class JsonSpace(spaces.Space[Any]):
    """Every value that JSON can hold and UTF-8 can write."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Such values have no fixed shape."""
        return False

    def contains(self, x: Any) -> bool:
        """Say whether x can be written as JSON without loss."""
        return _is_json(x)

    def sample(self, mask: MaskNDArray | None = None, probability: MaskNDArray | None = None) -> Any:
        """Draw one of a few small values."""
        _no_mask(mask, probability)
        return copy.deepcopy(_SAMPLE_JSON[int(self.np_random.integers(len(_SAMPLE_JSON)))])

    def __eq__(self, other: object) -> bool:
        return type(other) is JsonSpace

    def __repr__(self) -> str:
        return "JsonSpace()"


class MessagesSpace(spaces.Space[Sequence[Mapping[str, Any]]]):
    """Lists (or tuples) of OpenAI chat messages. Messages of the user may hold tool calls too."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Conversations have no fixed shape."""
        return False

    def contains(self, x: Any) -> bool:
        """Say whether x is a conversation; its order and pairing are for `trajectories.py` to check."""
        return isinstance(x, list | tuple) and all(map(_is_message, x)) and _is_json(x)

    def sample(
        self, mask: MaskNDArray | None = None, probability: MaskNDArray | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Draw one of a few short conversations."""
        _no_mask(mask, probability)
        return copy.deepcopy(_SAMPLE_CHATS[int(self.np_random.integers(len(_SAMPLE_CHATS)))])

    def __eq__(self, other: object) -> bool:
        return type(other) is MessagesSpace

    def __repr__(self) -> str:
        return "MessagesSpace()"


class UnicodeText(spaces.Text):
    """Strings of any characters that UTF-8 can write, up to a length. Samples are short and printable ASCII."""

    def __init__(self, max_length: int = MAX_TEXT, seed: int | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=string.printable, seed=seed)

    def contains(self, x: Any) -> bool:
        """Say whether x is such a string."""
        return isinstance(x, str) and len(x) <= self.max_length and not has_lone_surrogate(x)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Draw up to 64 printable characters."""
        _no_mask(mask, probability)
        length = int(self.np_random.integers(0, min(self.max_length, 64) + 1))
        return "".join(string.printable[int(i)] for i in self.np_random.integers(len(string.printable), size=length))

    def __eq__(self, other: object) -> bool:
        return type(other) is UnicodeText and other.max_length == self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"


def _no_mask(mask: Any, probability: Any) -> None:
    if mask is not None or probability is not None:
        raise ValueError("this space samples from a fixed pool; it takes neither mask nor probability")


def _is_json(value: Any) -> bool:
    try:
        return not has_lone_surrogate(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return False


def _is_message(message: Any) -> bool:
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        return False
    content, calls = message.get("content"), message.get("tool_calls")
    return (
        (content is None or isinstance(content, str) or _are_parts(content))
        and (calls is None or (isinstance(calls, list | tuple) and all(map(_is_call, calls))))
        and all(message.get(key) is None or isinstance(message[key], str) for key in ("tool_call_id", "name"))
    )


def _are_parts(content: Any) -> bool:
    return isinstance(content, list | tuple) and all(isinstance(part, Mapping) and "type" in part for part in content)


def _is_call(call: Any) -> bool:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping):
        return False
    function = call["function"]
    return isinstance(function.get("name"), str) and isinstance(function.get("arguments"), str)

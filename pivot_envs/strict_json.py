"""JSON from untrusted text, with bounds: what a model or a file wrote becomes a value or one short reason, fast.

Refuses what the standard parser lets through or dies of: NaN and infinities, duplicate keys, lone surrogates, deep
nesting, very long numbers, very many containers. `actions.py`, `trajectories.py` and `formats/` read through here.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_CHARS = 2_000_000
"""Longest text read as one value of an action."""
MAX_DEPTH = 64
"""Deepest nesting; far above any tool schema, far below the interpreter's recursion limit."""
MAX_CONTAINERS = 50_000
"""Most objects and arrays in one value; bounds the time of scan and parse (30 ms for all of them)."""
MAX_COMMAS = 20_000
"""Most commas in one value, those in strings included: bounds its members before they are built."""
MAX_DIGITS = 4300
"""Longest number literal: CPython's own default limit for integers in decimal (sys.int_info)."""

MAX_LONG_NUMBERS = 32
"""Most numbers of 300 digits and more in one value: to convert and print one of 4,300 digits takes 0.4 ms."""

# Everything that changes no depth, in one match: strings and what stands between them. Possessive, so linear.
_FLAT = re.compile(r'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")++', re.DOTALL)
# Numbers that need a look of ours; without them the parser's own, faster conversion is safe.
_ODD_NUMBER = re.compile(r"(?<![0-9])[0-9]{300}|[0-9][eE]\+?[0-9]")
_LONG_NUMBER = re.compile(r"(?<![0-9])[0-9]{300}")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\n\r]*+")


class JsonProblem(ValueError):
    """Why a text is no acceptable JSON; `reason` is a short code, `detail` shows the place or value."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep the code and what it is about."""
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


def shown(value: Any, limit: int = 80) -> str:
    """Return a short, printable, ASCII form of any value for a message."""
    text = value[: limit + 1] if isinstance(value, str) else _short_repr(value, limit)
    quoted = ascii(text) if isinstance(value, str) else text
    return quoted if len(quoted) <= limit + 2 else quoted[:limit] + "..."


def _short_repr(value: Any, limit: int) -> str:
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() < 4 * limit else f"an integer of {value.bit_length()} bits"
    return f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__


def has_lone_surrogate(text: str) -> bool:
    """Say whether a string cannot be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def value_end(text: str, start: int = 0, *, max_depth: int = MAX_DEPTH, max_containers: int = MAX_CONTAINERS) -> int:
    """Return where the object or array that opens at `start` ends, looking at brackets and strings only.

    Raises:
        JsonProblem: it is nested too deep, has too many parts, or never ends.
    """
    depth, containers, position = 0, 0, start
    while position < len(text):
        char = text[position]
        if char in "[{":
            depth, containers = depth + 1, containers + 1
            if depth > max_depth:
                raise JsonProblem("too_deep", f"more than {max_depth} levels of nesting")
            if containers > max_containers:
                raise JsonProblem("too_large", f"more than {max_containers} nested objects and arrays")
            position += 1
        elif char in "]}":
            depth, position = depth - 1, position + 1
            if depth <= 0:
                return position
        else:
            flat = _FLAT.match(text, position)
            if flat is None:
                raise JsonProblem("bad_json", f"a string that opens at character {position} never closes")
            position = flat.end()
            continue
        if depth > 0:
            flat = _FLAT.match(text, position)
            position = flat.end() if flat else position
    raise JsonProblem("bad_json", f"the value that opens at character {start} never closes")


def parse_prefix(text: str, start: int = 0) -> tuple[Any, int]:
    """Parse the object or array at `start` (white space skipped) and return it with the index after it.

    Raises:
        JsonProblem: there is none, or it breaks a bound.
    """
    space = _SPACE.match(text, start)
    begin = space.end() if space else start
    if begin >= len(text) or text[begin] not in "[{":
        raise JsonProblem("bad_json", f"expected an object, found {shown(text[begin : begin + 40])}")
    end = value_end(text, begin)
    return parse(text[begin:end]), end


def parse(
    text: str,
    *,
    max_chars: int = MAX_CHARS,
    max_depth: int = MAX_DEPTH,
    max_containers: int = MAX_CONTAINERS,
    max_commas: int = MAX_COMMAS,
) -> Any:
    """Parse a whole JSON text.

    Raises:
        JsonProblem: it is no JSON, or breaks a bound; never another exception.
    """
    if len(text) > max_chars:
        raise JsonProblem("too_large", f"{len(text):,} characters, at most {max_chars:,} are read")
    if has_lone_surrogate(text):
        raise JsonProblem("lone_surrogate", "the text cannot be written as UTF-8")
    if (commas := text.count(",")) > max_commas:
        raise JsonProblem("too_large", f"{commas:,} commas, at most {max_commas:,} are read")
    body = text.strip(" \t\n\r")
    if body[:1] in ("[", "{"):
        value_end(body, max_depth=max_depth, max_containers=max_containers)
    value = _loads(body)
    if _SURROGATE_ESCAPE.search(body) and has_lone_surrogate(json.dumps(value, ensure_ascii=False)):
        raise JsonProblem("lone_surrogate", "an escape stands for half a character")
    return value


def _loads(body: str) -> Any:
    odd = _ODD_NUMBER.search(body) is not None
    if odd and _LONG_NUMBER.search(body) and len(_LONG_NUMBER.findall(_STRING.sub('""', body))) > MAX_LONG_NUMBERS:
        raise JsonProblem("huge_number", f"more than {MAX_LONG_NUMBERS} numbers of 300 digits and more")
    try:
        return json.loads(
            body,
            object_pairs_hook=_object,
            parse_int=_integer if odd else None,
            parse_float=_float if odd else None,
            parse_constant=_constant,
        )
    except JsonProblem:
        raise
    except (ValueError, RecursionError) as error:
        message = f"{error}, near {shown(_around(body, error))}" if isinstance(error, json.JSONDecodeError) else error
        raise JsonProblem("bad_json", str(message)) from None


def _around(body: str, error: ValueError) -> str:
    position = getattr(error, "pos", 0)
    return body[max(0, position - 20) : position + 20]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonProblem("duplicate_key", f"key {shown(twice)} stands twice in one object")
    return value


def _integer(literal: str) -> int:
    if len(literal.lstrip("-")) > MAX_DIGITS:
        raise JsonProblem("huge_number", f"an integer of {len(literal):,} digits, at most {MAX_DIGITS:,} are read")
    return int(literal)


def _float(literal: str) -> float:
    if len(literal) > MAX_DIGITS:
        raise JsonProblem("huge_number", f"a number of {len(literal):,} characters, at most {MAX_DIGITS:,} are read")
    value = float(literal)
    if not math.isfinite(value):
        raise JsonProblem("not_finite", f"{shown(literal)} is beyond a double")
    return value


def _constant(literal: str) -> Any:
    raise JsonProblem("not_finite", f"{literal} is no JSON number")

"""Strict checks of tool arguments against their schema, safe on whatever a model wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """A tool refuses; the message says what, which value, and what was expected. Becomes a failed observation."""


def show(value: Any) -> str:
    """Render any value short: no recursion into containers, no conversion of huge integers."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple, Mapping)):
        return f"{type(value).__name__} of {len(value)} entries"
    return f"a {type(value).__name__}"


def check(tool: str, parameters: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    """Return the arguments as the tool takes them, or raise Refusal.

    Nothing is cast but a whole float to an integer: `12.0` and `12` are one number.
    """
    if not isinstance(arguments, Mapping):
        raise Refusal(f"{tool}: arguments must be an object, got {show(arguments)}")
    known: Mapping[str, Any] = parameters["properties"]
    for name in arguments:
        if not isinstance(name, str) or name not in known:
            raise Refusal(f"{tool}: unknown argument {show(name)}; expected {', '.join(known) or 'none'}")
    for name in parameters["required"]:
        if name not in arguments:
            raise Refusal(f"{tool}: argument {name!r} is missing")
    return {name: _value(tool, name, known[name], value) for name, value in arguments.items()}


def _value(tool: str, name: str, schema: Mapping[str, Any], value: Any) -> Any:
    kind = schema["type"]
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise Refusal(f"{tool}: {name} must be a finite number, got {show(value)}")
        return int(value) if isinstance(value, float) and value.is_integer() else value
    if kind == "string" and isinstance(value, str):
        if "enum" in schema and value not in schema["enum"]:
            raise Refusal(f"{tool}: {name} must be one of {', '.join(schema['enum'])}, got {show(value)}")
        if len(value) > schema.get("maxLength", 100):
            raise Refusal(f"{tool}: {name} is longer than {schema.get('maxLength', 100)} characters")
        return value
    raise Refusal(f"{tool}: {name} must be a {kind}, got {show(value)}")

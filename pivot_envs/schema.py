"""The part of JSON Schema that tool parameters use, checked with bounds.

Knows type, enum, const, required, properties, additionalProperties, items, anyOf, oneOf, allOf and local $ref. Other
keywords are ignored, so a value that passes here may still be refused by a full validator; never the other way round
for these keywords, but for integral floats, which count as integers because models write `2.0` for 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pivot_envs.records import canonical_json
from pivot_envs.strict_json import shown

_MAX_STEPS = 100_000
_MAX_DEPTH = 128


def problem(value: Any, schema: Any) -> str:
    """Return what of `value` breaks `schema`, with its path, or an empty string."""
    return _Check(schema).run(value, schema, "", 0)


def is_type(value: Any, name: str) -> bool:
    """Say whether a JSON value is of a named JSON Schema type. Unknown names accept anything."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "number":
            return number
        case "integer":
            return number and (isinstance(value, int) or float(value).is_integer())
        case "array":
            return isinstance(value, list | tuple)
        case "object":
            return isinstance(value, Mapping)
    return True


@dataclass
class _Check:
    """One check; counts its steps, since a schema may come from a file nobody looked at."""

    root: Any
    steps: int = 0

    def run(self, value: Any, schema: Any, path: str, depth: int) -> str:
        self.steps += 1
        if self.steps > _MAX_STEPS or depth > _MAX_DEPTH:
            return f"{path or 'arguments'}: the schema is too large or circular to check"
        if schema is False:
            return f"{path or 'arguments'}: nothing is allowed here"
        if not isinstance(schema, Mapping):
            return ""
        if "$ref" in schema:
            return self._reference(value, schema["$ref"], path, depth)
        return (
            self._scalar(value, schema, path)
            or self._combined(value, schema, path, depth)
            or self._object(value, schema, path, depth)
            or self._array(value, schema, path, depth)
        )

    def _reference(self, value: Any, reference: Any, path: str, depth: int) -> str:
        target = self.root
        if not isinstance(reference, str) or not reference.startswith("#"):
            return ""
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or name not in target:
                return ""
            target = target[name]
        return self.run(value, target, path, depth + 1)

    def _scalar(self, value: Any, schema: Mapping[str, Any], path: str) -> str:
        named = schema.get("type")
        names = [named] if isinstance(named, str) else named if isinstance(named, list) else []
        if names and not any(is_type(value, name) for name in names if isinstance(name, str)):
            return f"{path or 'arguments'}: {shown(value)} is no {' or '.join(map(str, names))}"
        allowed = schema.get("enum")
        if isinstance(allowed, list) and not any(_same(value, item) for item in allowed):
            return f"{path or 'arguments'}: {shown(value)} is none of the {len(allowed)} allowed values"
        if "const" in schema and not _same(value, schema["const"]):
            return f"{path or 'arguments'}: {shown(value)} is not {shown(schema['const'])}"
        return ""

    def _combined(self, value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
        for part in _list(schema, "allOf"):
            if found := self.run(value, part, path, depth + 1):
                return found
        for keyword in ("anyOf", "oneOf"):
            parts = _list(schema, keyword)
            problems = [self.run(value, part, path, depth + 1) for part in parts]
            fitting = problems.count("")
            if parts and not fitting:
                return problems[0] if len(parts) == 1 else f"{path or 'arguments'}: fits no alternative ({problems[0]})"
            if keyword == "oneOf" and fitting > 1:
                return f"{path or 'arguments'}: fits {fitting} alternatives of oneOf, exactly one may fit"
        return ""

    def _object(self, value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
        if not isinstance(value, Mapping):
            return ""
        for name in _list(schema, "required"):
            if isinstance(name, str) and name not in value:
                return f"{path or 'arguments'}: {shown(name)} is missing"
        named = schema.get("properties")
        properties: Mapping[str, Any] = named if isinstance(named, Mapping) else {}
        extra = schema.get("additionalProperties", True)
        for name, item in value.items():
            inner = f"{path}.{name[:60]}" if path else name[:60]
            if name in properties:
                found = self.run(item, properties[name], inner, depth + 1)
            elif extra is False:
                found = f"{path or 'arguments'}: {shown(name)} is no parameter"
            else:
                found = self.run(item, extra, inner, depth + 1)
            if found:
                return found
        return ""

    def _array(self, value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
        if isinstance(value, list | tuple) and isinstance(schema.get("items"), Mapping | bool):
            for index, item in enumerate(value):
                if found := self.run(item, schema["items"], f"{path}[{index}]", depth + 1):
                    return found
        return ""


def _list(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


def _same(one: Any, other: Any) -> bool:
    """JSON equality: 1 and 1.0 are the same, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return type(one) is type(other) and canonical_json(one) == canonical_json(other)

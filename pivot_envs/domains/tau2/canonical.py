"""Canonical forms: values, calls, changes and the facts an observation shows.

Everything two effects are compared by goes through here first, so that 2 and 2.0, key order, white space, the order
of paired lists and freshly minted ids make no difference, and nothing else is forgiven.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pivot_envs.domains.tau2.world import ToolSpec
from pivot_envs.records import ToolCall, canonical_json, content_hash

Leaf = tuple[str, str | float]
"""(field name, canonical value): one fact an observation shows. Booleans are spelled out, for True equals 1.0."""

_DECIMALS = 6
"""Money and data volumes in these worlds have at most 2 decimals; float arithmetic noise is far below this."""
_EXACT_INTEGER = 2**53


def canonical_value(value: Any) -> Any:
    """Return a value with numbers as floats, white space folded and mappings as plain dicts."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, Mapping):
        return {str(key): canonical_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical_value(item) for item in value]
    return " ".join(str(value).split())


def _number(value: int | float) -> float | str:
    if isinstance(value, int):
        return float(value) if abs(value) <= _EXACT_INTEGER else f"int:{value:x}"
    if not math.isfinite(value):
        return f"float:{value}"
    return round(value, _DECIMALS) + 0.0


def cast_arguments(arguments: Mapping[str, Any], spec: ToolSpec) -> dict[str, Any]:
    """Return arguments with numbers cast as the signature says and defaults filled in, ready to execute."""
    properties = spec.parameters.get("properties", {})
    cast = {name: _cast(value, properties.get(name, {})) for name, value in arguments.items()}
    for name, schema in properties.items():
        if name not in cast and "default" in schema:
            cast[name] = schema["default"]
    return cast


def _cast(value: Any, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if isinstance(value, bool):
        return value
    if kind == "number" and isinstance(value, int) and abs(value) <= _EXACT_INTEGER:
        return float(value)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def call_key(call: ToolCall, spec: ToolSpec | None) -> str:
    """Return the identity of a call under rule 2 of the reference (5.2): cast, defaults, white space, paired lists."""
    arguments = cast_arguments(call.arguments, spec) if spec else dict(call.arguments)
    return canonical_json([call.name, _sort_paired_lists(canonical_value(arguments)), call.requestor])


def _sort_paired_lists(arguments: dict[str, Any]) -> dict[str, Any]:
    """Sort lists of ids: `item_ids` alone as a bag, with a `new_` twin of equal length as pairs."""
    sorted_arguments = dict(arguments)
    for name, items in arguments.items():
        if not _is_id_list(name, items) or name.startswith("new_"):
            continue
        twin = arguments.get("new_" + name)
        if isinstance(twin, list) and len(twin) == len(items):
            pairs = sorted(zip(items, map(canonical_json, twin), twin, strict=True), key=lambda pair: pair[:2])
            sorted_arguments[name] = [pair[0] for pair in pairs]
            sorted_arguments["new_" + name] = [pair[2] for pair in pairs]
        elif twin is None:
            sorted_arguments[name] = sorted(items)
    return sorted_arguments


def _is_id_list(name: str, items: Any) -> bool:
    return name.endswith("_ids") and isinstance(items, list) and all(isinstance(item, str) for item in items)


def changed_fields(before: Any, after: Any, masked: Collection[str] = ()) -> Any:
    """Return what changed in a record: its new fields if it existed, the whole record if it is new, None if it is gone.

    Returns an empty mapping if nothing changed.
    """
    if after is None:
        return None
    if not isinstance(after, dict):
        return {} if before == after else canonical_value(after)
    old = before if isinstance(before, dict) else {}
    changed = {}
    for name, value in after.items():
        if name in masked or (name in old and old[name] == value and type(old[name]) is type(value)):
            continue
        new = canonical_value(value)
        if name not in old or canonical_value(old[name]) != new:
            changed[name] = new
    changed.update({name: None for name in old if name not in after and name not in masked})
    return changed


def rename_fresh(changes: Mapping[str, Any], created: Iterable[str], mentioned: Collection[str]) -> dict[str, Any]:
    """Rename ids that the tools minted, in the order of what the new records hold, not of their names.

    Args:
        changes: path `table/key` -> changed fields.
        created: paths that did not exist before.
        mentioned: strings the action itself wrote; an id the action chose is no fresh id.
    """
    fresh = [path for path in created if path.partition("/")[2] not in mentioned]
    if not fresh:
        return dict(changes)
    keys = {path: path.partition("/")[2] for path in fresh}
    blank = dict.fromkeys(keys.values(), "?")
    order = sorted(
        fresh, key=lambda path: (path.partition("/")[0], canonical_json(replace_strings(changes[path], blank)))
    )
    names = {keys[path]: f"fresh:{path.partition('/')[0]}:{n}" for n, path in enumerate(order, start=1)}
    renamed = {}
    for path, value in changes.items():
        table, _, key = path.partition("/")
        renamed[f"{table}/{names.get(key, key)}"] = replace_strings(value, names)
    return renamed


def replace_strings(value: Any, names: Mapping[str, str]) -> Any:
    """Return a JSON value with whole strings (keys too) replaced."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {names.get(key, key): replace_strings(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_strings(item, names) for item in value]
    return value


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from strings_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_of(item)


def parse_observation(text: str) -> Any:
    """Return the JSON value of an observation, or the text itself."""
    if text[:1] in '[{"' or text[:1].isdigit() or text in {"null", "true", "false"}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


@functools.lru_cache(maxsize=1024)
def facts_of(text: str) -> Counter[Leaf]:
    """Return the bag of facts an observation shows; treat it as frozen. What is empty or null shows nothing."""
    return Counter(_leaves("", parse_observation(text)))


def _leaves(name: str, value: Any) -> Iterator[Leaf]:
    if isinstance(value, str):
        if value:
            yield name, " ".join(value.split())
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(str(key), item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(name, item)
    elif isinstance(value, bool):
        yield name, f"bool:{value}"
    elif value is not None:
        yield name, _number(value)


def digest_of(changes: Mapping[str, Any]) -> str:
    """Return the digest of canonical changes against the frozen base."""
    return content_hash(changes)

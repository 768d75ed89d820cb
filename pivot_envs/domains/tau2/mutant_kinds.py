"""The kinds of variants: one small function each, and the table that names and labels them.

A function takes the demonstrated batch in its state and yields other batches; it yields nothing where it does not
apply. Labels follow the rules of the reference (tau2, 5.2) and, where the table says `oracle`, what execution shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pivot_envs.domains.tau2.variants import Calls, Kind, Place, with_arguments
from pivot_envs.records import ToolCall, canonical_json

_OWNERS = ("user_id", "customer_id", "customer")
_REASONS = ("no longer needed", "ordered by mistake")


# --- where other values come from -------------------------------------------------------------------------------


def _table_of(place: Place, argument: str) -> Mapping[str, Mapping[str, Any]]:
    name = "flights" if argument == "flight_number" else argument.removesuffix("_id") + "s"
    return place.tables.get(name, {}) if argument.endswith(("_id", "_number")) else {}


def _other_keys(place: Place, argument: str, value: Any) -> list[str]:
    keys = [key for key in _table_of(place, argument) if key != value]
    place.draw.shuffle(keys)
    return keys


def _owner(place: Place, argument: str, value: Any) -> Any:
    record = _table_of(place, argument).get(value, {}) if isinstance(value, str) else {}
    for field in _OWNERS:
        if field in record:
            return record[field]
    customers = place.tables.get("customers", {})
    return next((key for key, c in customers.items() if value in c.get("line_ids", ())), None)


def _siblings(place: Place, argument: str, value: Any) -> list[str]:
    """Return other records of the same table and owner."""
    owner = _owner(place, argument, value)
    if owner is None:
        return []
    return [key for key in _table_of(place, argument) if key != value and _owner(place, argument, key) == owner]


def _payments_of(place: Place) -> list[str]:
    owners = [_owner(place, name, place.call.arguments.get(name)) for name in ("order_id", "reservation_id")]
    owner = next((o for o in [*owners, place.call.arguments.get("user_id")] if o), None)
    return list(place.tables.get("users", {}).get(owner, {}).get("payment_methods", {}))


def _party(place: Place) -> str:
    return place.shown[0].requestor


def _reads(place: Place) -> list[ToolCall]:
    """Return surplus reads that the demonstrating party may make, none of them in the demonstration."""
    keys = {call.key for call in place.shown}
    found = [read for read in place.reads if read.requestor == _party(place) and read.key not in keys]
    place.draw.shuffle(found)
    return found


def _other_writes(place: Place) -> list[ToolCall]:
    keys = {call.key for call in place.shown}
    found = [write for write in place.writes if write.requestor == _party(place) and write.key not in keys]
    place.draw.shuffle(found)
    return found


def _changed(call: ToolCall, new: Mapping[str, Any]) -> Iterator[Calls]:
    if new:
        yield (with_arguments(call, **new),)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ends(place: Place) -> bool:
    spec = place.spec(place.shown[-1])
    return spec is not None and spec.terminal


def _transfer(place: Place) -> ToolCall | None:
    spec = place.terminal()
    if spec is None or spec.requestor != _party(place) or _ends(place):
        return None
    fill = {"reason": "customer_request", "summary": "The customer asks for a person."}
    return ToolCall(spec.name, {name: fill[name] for name in spec.parameters.get("required", []) if name in fill})


# --- written otherwise ------------------------------------------------------------------------------------------


def _identical(place: Place) -> Iterator[Calls]:
    yield place.shown


def _key_order(place: Place) -> Iterator[Calls]:
    arguments = place.call.arguments
    if len(arguments) > 1:
        yield (ToolCall(place.call.name, dict(reversed(arguments.items())), requestor=place.call.requestor),)


def _nested_key_order(place: Place) -> Iterator[Calls]:
    new = {
        name: [dict(reversed(item.items())) for item in value]
        for name, value in place.call.arguments.items()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    }
    return _changed(place.call, new)


def _number_type(place: Place) -> Iterator[Calls]:
    return _changed(place.call, _retyped(place.call.arguments))


def _retyped(value: Any) -> Any:
    """Swap int and float everywhere; return only what changed at the top level."""
    if isinstance(value, Mapping):
        items = {key: _retyped(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if repr(item) != repr(value[key])}
    if not _is_number(value):
        return value
    return float(value) if isinstance(value, int) else int(value) if value.is_integer() else value


def _nested_number_type(place: Place) -> Iterator[Calls]:
    new = {}
    for name, value in place.call.arguments.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            items = [{**item, **_retyped(item)} for item in value]
            if repr(items) != repr(value):
                new[name] = items
    return _changed(place.call, new)


def _white_space(place: Place) -> Iterator[Calls]:
    for name, value in place.call.arguments.items():
        if isinstance(value, str) and value:
            yield (with_arguments(place.call, **{name: value + " "}),)


def _number_as_text(place: Place) -> Iterator[Calls]:
    return _changed(place.call, {k: str(v) for k, v in place.call.arguments.items() if _is_number(v)})


def _explicit_default(place: Place) -> Iterator[Calls]:
    spec = place.spec(place.call)
    properties = spec.parameters.get("properties", {}) if spec else {}
    new = {k: v["default"] for k, v in properties.items() if "default" in v and k not in place.call.arguments}
    return _changed(place.call, new)


def _null_optional(place: Place) -> Iterator[Calls]:
    spec = place.spec(place.call)
    properties = spec.parameters.get("properties", {}) if spec else {}
    return _changed(place.call, {k: None for k, v in properties.items() if "default" in v and k not in place.call.arguments})


def _letter_case(place: Place) -> Iterator[Calls]:
    names = ("first_name", "last_name", "email")
    if place.call.name.startswith("find_"):
        yield from _changed(place.call, {k: v.upper() for k, v in place.call.arguments.items() if k in names})


def _phone_form(place: Place) -> Iterator[Calls]:
    if place.domain == "helpdesk" and "phone" in place.call.arguments:
        yield from _changed(place.call, {"phone": place.call.arguments["phone"].replace("-", " ")})


def _other_route(place: Place) -> Iterator[Calls]:
    tables, arguments = place.tables, place.call.arguments
    if place.call.name == "find_user_id_by_name_zip":
        for user in tables["users"].values():
            name = (user["name"]["first_name"].lower(), user["name"]["last_name"].lower(), user["address"]["zip"])
            if name == (arguments["first_name"].lower(), arguments["last_name"].lower(), arguments["zip"]):
                yield (ToolCall("find_user_id_by_email", {"email": user["email"]}),)
    if place.call.name == "get_customer_by_phone":
        for key, customer in tables["customers"].items():
            lines = [tables["lines"][line]["phone_number"] for line in customer["line_ids"] if line in tables["lines"]]
            if arguments["phone_number"] in (customer["phone_number"], *lines):
                yield (ToolCall("get_customer_by_id", {"customer_id": key}),)
    if place.domain == "helpdesk" and place.call.name.startswith("find_customer_by_"):
        other = "email" if "phone" in arguments else "phone"
        for customer in tables["customers"].values():
            if any(customer[k] == v for k, v in arguments.items()):
                yield (ToolCall(f"find_customer_by_{other}", {other: customer[other]}),)


def _permuted_items(place: Place) -> Iterator[Calls]:
    lists = {k: v for k, v in place.call.arguments.items() if k in ("item_ids", "new_item_ids")}
    if len(lists.get("item_ids", ())) > 1:
        yield from _changed(place.call, {k: v[1:] + v[:1] for k, v in lists.items()})


def _other_form_of_sum(place: Place) -> Iterator[Calls]:
    expression = place.call.arguments.get("expression")
    if isinstance(expression, str):
        yield (with_arguments(place.call, expression=f"({expression}) + 0"),)


def _reworded_summary(place: Place) -> Iterator[Calls]:
    if _ends(place) and "summary" in place.call.arguments:
        yield (with_arguments(place.call, summary="A colleague should take this conversation over, please."),)


# --- other arguments --------------------------------------------------------------------------------------------


def _other_entity(place: Place) -> Iterator[Calls]:
    if place.writing(place.call):
        return
    for name, value in place.call.arguments.items():
        for key in _other_keys(place, name, value)[:3]:
            yield (with_arguments(place.call, **{name: key}),)


def _same_status(place: Place) -> Iterator[Calls]:
    """Another flight of that day whose status reads the same."""
    arguments = place.call.arguments
    if place.call.name != "get_flight_status":
        return
    for key in _other_keys(place, "flight_number", arguments["flight_number"]):
        day = place.tables["flights"][key].get("dates", {}).get(arguments["date"], {})
        if day.get("status") == place.observed[0].text.strip('"'):
            yield (with_arguments(place.call, flight_number=key),)


def _other_task(place: Place) -> Iterator[Calls]:
    """The same tool with what another task gives it."""
    pool = [c for c in (*place.writes, *place.reads) if c.name == place.call.name and c.requestor == _party(place)]
    place.draw.shuffle(pool)
    return ((call,) for call in pool if call.key != place.call.key)


def _other_zip(place: Place) -> Iterator[Calls]:
    if place.call.name.startswith("find_") and "zip" in place.call.arguments:
        yield (with_arguments(place.call, zip="00000"),)


def _other_payment(place: Place) -> Iterator[Calls]:
    for name in ("payment_method_id", "payment_id"):
        for key in _payments_of(place) if name in place.call.arguments else ():
            if key != place.call.arguments[name]:
                yield (with_arguments(place.call, **{name: key}),)


def _sibling(place: Place) -> Iterator[Calls]:
    for name, value in place.call.arguments.items():
        for key in _siblings(place, name, value):
            yield (with_arguments(place.call, **{name: key}),)


def _other_slot(place: Place) -> Iterator[Calls]:
    """Another slot of the same area: free in the base, so that booking it works."""
    slots = place.tables.get("slots", {})
    chosen = slots.get(place.call.arguments.get("slot_id", ""), {})
    for key, slot in slots.items():
        if chosen and slot["area"] == chosen["area"] and slot["visit"] is None:
            yield (with_arguments(place.call, slot_id=key),)


def _stranger(place: Place) -> Iterator[Calls]:
    if place.writing(place.call):
        for name, value in place.call.arguments.items():
            for key in _other_keys(place, name, value)[:1]:
                yield (with_arguments(place.call, **{name: key}),)


def _dropped_item(place: Place) -> Iterator[Calls]:
    new = {k: v[:-1] for k, v in place.call.arguments.items() if k in ("item_ids", "new_item_ids") and len(v) > 1}
    return _changed(place.call, new)


def _pairing(place: Place) -> Iterator[Calls]:
    items = place.call.arguments.get("new_item_ids", ())
    if len(items) > 1:
        yield (with_arguments(place.call, new_item_ids=items[1:] + items[:1]),)


def _item_twice(place: Place) -> Iterator[Calls]:
    lists = {k: [*v, v[0]] for k, v in place.call.arguments.items() if k in ("item_ids", "new_item_ids") and v}
    return _changed(place.call, lists)


def _other_reason(place: Place) -> Iterator[Calls]:
    reason = place.call.arguments.get("reason")
    if reason is not None and not _ends(place):
        yield (with_arguments(place.call, reason=_REASONS[reason == _REASONS[0]]),)


def _house_number(place: Place) -> Iterator[Calls]:
    words = str(place.call.arguments.get("address1", "")).split()
    if words:
        first = str(int(words[0]) + 1) if words[0].isdigit() else words[0] + "1"
        yield (with_arguments(place.call, address1=" ".join([first, *words[1:]])),)


def _other_city(place: Place) -> Iterator[Calls]:
    if "city" in place.call.arguments:
        yield (with_arguments(place.call, city="Springfield"),)


def _address_stop(place: Place) -> Iterator[Calls]:
    if "address1" in place.call.arguments:
        yield (with_arguments(place.call, address1=place.call.arguments["address1"] + "."),)


def _plus_one(place: Place) -> Iterator[Calls]:
    return _changed(place.call, {k: v + 1 for k, v in place.call.arguments.items() if _is_number(v)})


def _minus_one(place: Place) -> Iterator[Calls]:
    return _changed(place.call, {k: v - 1 for k, v in place.call.arguments.items() if _is_number(v)})


def _birth_date(place: Place) -> Iterator[Calls]:
    people = place.call.arguments.get("passengers", ())
    if people:
        yield (with_arguments(place.call, passengers=[{**p, "dob": "1991-01-01"} for p in people]),)


def _passenger_order(place: Place) -> Iterator[Calls]:
    people = place.call.arguments.get("passengers", ())
    if len(people) > 1:
        yield (with_arguments(place.call, passengers=people[::-1]),)


def _flight_date(place: Place) -> Iterator[Calls]:
    flights = place.call.arguments.get("flights", ())
    for day in ("2024-05-29", "2024-05-16", "2024-05-21"):
        if flights:
            yield (with_arguments(place.call, flights=[{**f, "date": day} for f in flights]),)


def _flight_order(place: Place) -> Iterator[Calls]:
    flights = place.call.arguments.get("flights", ())
    if len(flights) > 1:
        yield (with_arguments(place.call, flights=flights[::-1]),)


def _search_date(place: Place) -> Iterator[Calls]:
    date = place.call.arguments.get("date")
    if isinstance(date, str) and date[-2:].isdigit():
        for step in (1, -1, 2):
            yield (with_arguments(place.call, date=f"{date[:-2]}{(int(date[-2:]) - 1 + step) % 30 + 1:02d}"),)


def _choice(place: Place) -> Iterator[Calls]:
    """Another value of an argument that has few: of the schema, or of the tools' own words."""
    spec = place.spec(place.call)
    for name, value in place.call.arguments.items():
        schema = spec.parameters.get("properties", {}).get(name, {}) if spec else {}
        options = schema.get("enum") or _WORDS.get(name, ())
        options = [True, False] if isinstance(value, bool) else options
        for option in options:
            if option != value and not (name == "reason" and _ends(place)):
                yield (with_arguments(place.call, **{name: option}),)


_WORDS: Mapping[str, tuple[Any, ...]] = {
    "insurance": ("yes", "no"),
    "cabin": ("basic_economy", "economy", "business"),
    "flight_type": ("round_trip", "one_way"),
    "mode": ("4g_5g_preferred", "4g_only", "3g_only", "2g_only"),
    "permission": ("sms", "storage", "phone", "network"),
    "app_name": ("messaging", "browser", "phone"),
    "status": ("pending", "completed"),
}


def _other_transfer_reason(place: Place) -> Iterator[Calls]:
    spec = place.spec(place.call)
    if spec is not None and spec.terminal and "reason" in place.call.arguments:
        for option in spec.parameters["properties"]["reason"].get("enum", ()):
            if option != place.call.arguments["reason"]:
                yield (with_arguments(place.call, reason=option),)


def _id_case(place: Place) -> Iterator[Calls]:
    for name, value in place.call.arguments.items():
        if isinstance(value, str) and name.endswith(("_id", "_number")) and value.swapcase() != value:
            yield (with_arguments(place.call, **{name: value.swapcase()}),)


def _hash_sign(place: Place) -> Iterator[Calls]:
    return _changed(
        place.call, {k: v[1:] for k, v in place.call.arguments.items() if isinstance(v, str) and v.startswith("#")}
    )


def _wide_digits(place: Place) -> Iterator[Calls]:
    """Digits that look alike and are other characters."""
    wide = {48 + d: 0xFF10 + d for d in range(10)}
    for name, value in place.call.arguments.items():
        if isinstance(value, str) and value.translate(wide) != value:
            yield (with_arguments(place.call, **{name: value.translate(wide)}),)


def _no_arguments(place: Place) -> Iterator[Calls]:
    spec = place.spec(place.call)
    if spec is not None and spec.parameters.get("required"):
        yield (ToolCall(place.call.name, {}, requestor=place.call.requestor),)


def _one_argument_less(place: Place) -> Iterator[Calls]:
    for name in place.call.arguments:
        rest = {k: v for k, v in place.call.arguments.items() if k != name}
        if rest:
            yield (ToolCall(place.call.name, rest, requestor=place.call.requestor),)


def _extra_argument(place: Place) -> Iterator[Calls]:
    yield (with_arguments(place.call, note="please"),)


# --- other calls ------------------------------------------------------------------------------------------------


def _unknown_tool(place: Place) -> Iterator[Calls]:
    yield (ToolCall(place.call.name + "_v2", place.call.arguments, requestor=place.call.requestor),)


def _nothing(place: Place) -> Iterator[Calls]:
    yield ()


def _wrong_party(place: Place) -> Iterator[Calls]:
    other = "user" if place.call.requestor == "assistant" else "assistant"
    yield (ToolCall(place.call.name, place.call.arguments, requestor=other),)


def _transfer_instead(place: Place) -> Iterator[Calls]:
    transfer = _transfer(place)
    if transfer is not None:
        yield (transfer,)


def _transfer_too(place: Place) -> Iterator[Calls]:
    transfer = _transfer(place)
    if transfer is not None:
        yield (*place.shown, transfer)
        yield (transfer, *place.shown)


def _other_tool(place: Place) -> Iterator[Calls]:
    """Another write, or another read, alone."""
    pool = _other_writes(place) if place.writing(place.call) else _reads(place)
    return ((call,) for call in pool if call.name != place.call.name)


def _spray(place: Place) -> Iterator[Calls]:
    for write in _other_writes(place):
        yield (*place.shown, write)


def _spray_before(place: Place) -> Iterator[Calls]:
    for write in _other_writes(place):
        yield (write, *place.shown)


def _twice(place: Place) -> Iterator[Calls]:
    if place.writing(place.call):
        yield place.shown * 2


def _thrice(place: Place) -> Iterator[Calls]:
    if place.writing(place.call):
        yield place.shown * 3


def _read_twice(place: Place) -> Iterator[Calls]:
    spec = place.spec(place.call)
    if spec is not None and spec.kind == "read":
        yield place.shown * 2


def _and_reads(place: Place, n: int) -> Iterator[Calls]:
    reads = _reads(place)
    for start in range(0, len(reads) - n + 1, n):
        surplus = tuple(reads[start : start + n])
        yield (*surplus, *place.shown)
        if not _ends(place):
            yield (*place.shown, *surplus)


def _and_read(place: Place) -> Iterator[Calls]:
    return _and_reads(place, 1)


def _and_three_reads(place: Place) -> Iterator[Calls]:
    return _and_reads(place, 3)


def _and_four_reads(place: Place) -> Iterator[Calls]:
    return _and_reads(place, 4)


def _and_failing_read(place: Place) -> Iterator[Calls]:
    for read in place.reads:
        fits = read.requestor == _party(place) and read.name.startswith(("get_", "find_"))
        if fits and read.arguments and all(isinstance(v, str) for v in read.arguments.values()):
            yield (with_arguments(read, **dict.fromkeys(read.arguments, "none-0")), *place.shown)


def _wrong_then_right(place: Place) -> Iterator[Calls]:
    spec = place.spec(place.call)
    if spec is not None and spec.kind == "read":
        for read in place.reads:
            if read.name == place.call.name and read.key != place.call.key and read.requestor == _party(place):
                yield (read, place.call)


# --- batches of two ---------------------------------------------------------------------------------------------


def _writes(place: Place) -> int:
    return sum(place.writing(call) for call in place.shown)


def _swapped_reads(place: Place) -> Iterator[Calls]:
    if _writes(place) == 0 and not _ends(place):
        yield place.shown[::-1]


def _swapped_writes(place: Place) -> Iterator[Calls]:
    if _writes(place) == 2:
        yield place.shown[::-1]


def _swapped_mixed(place: Place) -> Iterator[Calls]:
    if _writes(place) == 1:
        yield place.shown[::-1]


def _half(place: Place) -> Iterator[Calls]:
    """Only one call of two, where the other does something: a write, or a read of something else."""
    if canonical_json(place.shown[0].key) != canonical_json(place.shown[1].key):
        yield place.shown[:1]
        yield place.shown[1:]


def _first_twice(place: Place) -> Iterator[Calls]:
    if place.shown[0].key != place.shown[1].key:
        yield place.shown[:1] * 2


def _half_replaced(place: Place) -> Iterator[Calls]:
    for call in _other_writes(place) if place.writing(place.shown[1]) else _reads(place):
        yield (place.shown[0], call)


KINDS: tuple[Kind, ...] = (
    Kind("identical", _identical, "equal", identity=True),
    Kind("key order", _key_order, "equal", identity=True),
    Kind("nested key order", _nested_key_order, "equal", identity=True),
    Kind("number type", _number_type, "equal", identity=True),
    Kind("nested number type", _nested_number_type, "equal", identity=True),
    Kind("explicit default", _explicit_default, "equal", identity=True),
    Kind("null for an optional argument", _null_optional, "oracle"),
    Kind("white space", _white_space, "oracle", if_different="debatable"),
    Kind("number as text", _number_as_text, "oracle"),
    Kind("letter case", _letter_case, "equal"),
    Kind("other phone form", _phone_form, "equal"),
    Kind("other lookup route", _other_route, "equal"),
    Kind("permuted item lists", _permuted_items, "equal"),
    Kind("same sum, other form", _other_form_of_sum, "equal"),
    Kind("reworded summary", _reworded_summary, "equal"),
    Kind("other entity read", _other_entity, "different"),
    Kind("other zip", _other_zip, "different"),
    Kind("other flight of the same status", _same_status, "different"),
    Kind("arguments of another task", _other_task, "oracle", if_equal="debatable"),
    Kind("other payment method", _other_payment, "oracle"),
    Kind("sibling record", _sibling, "oracle"),
    Kind("other slot of the area", _other_slot, "oracle"),
    Kind("stranger's record", _stranger, "oracle"),
    Kind("dropped item", _dropped_item, "oracle"),
    Kind("other pairing", _pairing, "oracle"),
    Kind("item twice", _item_twice, "oracle"),
    Kind("other reason", _other_reason, "oracle"),
    Kind("house number", _house_number, "oracle"),
    Kind("other city", _other_city, "oracle"),
    Kind("address full stop", _address_stop, "debatable"),
    Kind("number + 1", _plus_one, "oracle"),
    Kind("number - 1", _minus_one, "oracle"),
    Kind("passenger's birth date", _birth_date, "oracle"),
    Kind("passenger order", _passenger_order, "debatable"),
    Kind("flight date", _flight_date, "oracle"),
    Kind("flight order", _flight_order, "debatable"),
    Kind("search date", _search_date, "oracle", if_equal="debatable"),
    Kind("other choice", _choice, "oracle"),
    Kind("other transfer reason", _other_transfer_reason, "debatable"),
    Kind("letter case of an id", _id_case, "oracle"),
    Kind("number sign dropped", _hash_sign, "oracle"),
    Kind("look-alike digits", _wide_digits, "oracle"),
    Kind("empty arguments", _no_arguments, "different"),
    Kind("one argument less", _one_argument_less, "oracle"),
    Kind("unknown argument", _extra_argument, "oracle"),
    Kind("unknown tool", _unknown_tool, "different"),
    Kind("no call", _nothing, "different"),
    Kind("wrong requestor", _wrong_party, "different", crosses_parties=True),
    Kind("transfer instead", _transfer_instead, "different"),
    Kind("transfer too", _transfer_too, "different"),
    Kind("other tool", _other_tool, "oracle", if_equal="debatable"),
    Kind("demonstration + other write", _spray, "oracle", if_equal="debatable"),
    Kind("other write + demonstration", _spray_before, "oracle", if_equal="debatable"),
    Kind("write twice", _twice, "debatable"),
    Kind("write thrice", _thrice, "debatable"),
    Kind("read twice", _read_twice, "equal"),
    Kind("surplus read", _and_read, "equal"),
    Kind("three surplus reads", _and_three_reads, "equal"),
    Kind("four surplus reads", _and_four_reads, "different"),
    Kind("failing surplus read", _and_failing_read, "different"),
    Kind("wrong read, then right", _wrong_then_right, "equal"),
    Kind("batch: identical", _identical, "equal", batch=2, identity=True),
    Kind("batch: reads swapped", _swapped_reads, "equal", batch=2),
    Kind("batch: writes swapped", _swapped_writes, "oracle", batch=2),
    Kind("batch: read and write swapped", _swapped_mixed, "oracle", batch=2, if_equal="debatable"),
    Kind("batch: one call missing", _half, "different", batch=2),
    Kind("batch: first call twice", _first_twice, "different", batch=2),
    Kind("batch: second call replaced", _half_replaced, "oracle", batch=2, if_equal="debatable"),
    Kind("batch: other write too", _spray, "oracle", batch=2, if_equal="debatable"),
    Kind("batch: surplus read", _and_read, "equal", batch=2),
)
"""Every kind, in the order in which rows are written."""

"""Variants of one call's arguments: the same call written otherwise, and calls about something else.

Each function takes the demonstrated call in its state and yields batches, or nothing where it does not apply. What they
are called and how they are labelled stands in the table of `kinds.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pivot_envs.domains.tau2.mutants.sources import (
    changed,
    ends,
    is_number,
    other_keys,
    party,
    payments_of,
    siblings,
)
from pivot_envs.domains.tau2.mutants.variants import Calls, Place, with_arguments
from pivot_envs.records import ToolCall

_REASONS = ("no longer needed", "ordered by mistake")


def identical(place: Place) -> Iterator[Calls]:
    """The demonstration itself."""
    yield place.shown


def key_order(place: Place) -> Iterator[Calls]:
    """Arguments in reverse order."""
    arguments = place.call.arguments
    if len(arguments) > 1:
        yield (ToolCall(place.call.name, dict(list(arguments.items())[::-1]), requestor=place.call.requestor),)


def nested_key_order(place: Place) -> Iterator[Calls]:
    """Objects inside lists with their keys in reverse order."""
    new = {
        name: [dict(reversed(item.items())) for item in value]
        for name, value in place.call.arguments.items()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    }
    return changed(place.call, new)


def number_type(place: Place) -> Iterator[Calls]:
    """2 for 2.0 and 2.0 for 2."""
    return changed(place.call, _retyped(place.call.arguments))


def _retyped(value: Any) -> Any:
    """Swap int and float everywhere; return only what changed at the top level."""
    if isinstance(value, Mapping):
        items = {key: _retyped(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if repr(item) != repr(value[key])}
    if not is_number(value):
        return value
    return float(value) if isinstance(value, int) else int(value) if value.is_integer() else value


def nested_number_type(place: Place) -> Iterator[Calls]:
    """The same inside lists of objects."""
    new = {}
    for name, value in place.call.arguments.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            items = [{**item, **_retyped(item)} for item in value]
            if repr(items) != repr(value):
                new[name] = items
    return changed(place.call, new)


def white_space(place: Place) -> Iterator[Calls]:
    """A blank after a text."""
    for name, value in place.call.arguments.items():
        if isinstance(value, str) and value:
            yield (with_arguments(place.call, **{name: value + " "}),)


def number_as_text(place: Place) -> Iterator[Calls]:
    """"2" for 2."""
    return changed(place.call, {k: str(v) for k, v in place.call.arguments.items() if is_number(v)})


def explicit_default(place: Place) -> Iterator[Calls]:
    """Defaults written out."""
    spec = place.spec(place.call)
    properties = spec.parameters.get("properties", {}) if spec else {}
    new = {k: v["default"] for k, v in properties.items() if "default" in v and k not in place.call.arguments}
    return changed(place.call, new)


def null_optional(place: Place) -> Iterator[Calls]:
    """Null for what may be left out."""
    spec = place.spec(place.call)
    properties = spec.parameters.get("properties", {}) if spec else {}
    given = place.call.arguments
    return changed(place.call, {k: None for k, v in properties.items() if "default" in v and k not in given})


def letter_case(place: Place) -> Iterator[Calls]:
    """Capitals in names and addresses of e-mail."""
    names = ("first_name", "last_name", "email")
    if place.call.name.startswith("find_"):
        yield from changed(place.call, {k: v.upper() for k, v in place.call.arguments.items() if k in names})


def phone_form(place: Place) -> Iterator[Calls]:
    """Blanks for dashes."""
    if place.domain == "helpdesk" and "phone" in place.call.arguments:
        yield from changed(place.call, {"phone": place.call.arguments["phone"].replace("-", " ")})


def other_route(place: Place) -> Iterator[Calls]:
    """Another way to look the same person up."""
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


def permuted_items(place: Place) -> Iterator[Calls]:
    """Items in another order, each with its replacement."""
    lists = {k: v for k, v in place.call.arguments.items() if k in ("item_ids", "new_item_ids")}
    if len(lists.get("item_ids", ())) > 1:
        yield from changed(place.call, {k: v[1:] + v[:1] for k, v in lists.items()})


def other_form_of_sum(place: Place) -> Iterator[Calls]:
    """The same sum written otherwise."""
    expression = place.call.arguments.get("expression")
    if isinstance(expression, str):
        yield (with_arguments(place.call, expression=f"({expression}) + 0"),)


def reworded_summary(place: Place) -> Iterator[Calls]:
    """Other words for the colleague."""
    if ends(place) and "summary" in place.call.arguments:
        yield (with_arguments(place.call, summary="A colleague should take this conversation over, please."),)


# --- other arguments --------------------------------------------------------------------------------------------


def other_entity(place: Place) -> Iterator[Calls]:
    """A read of another record."""
    if place.writing(place.call):
        return
    for name, value in place.call.arguments.items():
        for key in other_keys(place, name, value)[:3]:
            yield (with_arguments(place.call, **{name: key}),)


def same_status(place: Place) -> Iterator[Calls]:
    """Another flight of that day whose status reads the same."""
    arguments = place.call.arguments
    if place.call.name != "get_flight_status":
        return
    for key in other_keys(place, "flight_number", arguments["flight_number"]):
        day = place.tables["flights"][key].get("dates", {}).get(arguments["date"], {})
        if day.get("status") == place.observed[0].text.strip('"'):
            yield (with_arguments(place.call, flight_number=key),)


def other_task(place: Place) -> Iterator[Calls]:
    """The same tool with what another task gives it."""
    pool = [c for c in (*place.writes, *place.reads) if c.name == place.call.name and c.requestor == party(place)]
    place.draw.shuffle(pool)
    return ((call,) for call in pool if call.key != place.call.key)


def other_zip(place: Place) -> Iterator[Calls]:
    """Another postal code."""
    if place.call.name.startswith("find_") and "zip" in place.call.arguments:
        yield (with_arguments(place.call, zip="00000"),)


def other_payment(place: Place) -> Iterator[Calls]:
    """Another payment method of the same person."""
    for name in ("payment_method_id", "payment_id"):
        for key in payments_of(place) if name in place.call.arguments else ():
            if key != place.call.arguments[name]:
                yield (with_arguments(place.call, **{name: key}),)


def sibling(place: Place) -> Iterator[Calls]:
    """Another record of the same owner."""
    for name, value in place.call.arguments.items():
        for key in siblings(place, name, value):
            yield (with_arguments(place.call, **{name: key}),)


def other_slot(place: Place) -> Iterator[Calls]:
    """Another slot of the same area: free in the base, so that booking it works."""
    slots = place.tables.get("slots", {})
    chosen = slots.get(place.call.arguments.get("slot_id", ""), {})
    for key, slot in slots.items():
        if chosen and slot["area"] == chosen["area"] and slot["visit"] is None:
            yield (with_arguments(place.call, slot_id=key),)


def stranger(place: Place) -> Iterator[Calls]:
    """A record of somebody else."""
    if place.writing(place.call):
        for name, value in place.call.arguments.items():
            for key in other_keys(place, name, value)[:1]:
                yield (with_arguments(place.call, **{name: key}),)


def dropped_item(place: Place) -> Iterator[Calls]:
    """One item less."""
    new = {k: v[:-1] for k, v in place.call.arguments.items() if k in ("item_ids", "new_item_ids") and len(v) > 1}
    return changed(place.call, new)


def pairing(place: Place) -> Iterator[Calls]:
    """Replacements moved by one item."""
    items = place.call.arguments.get("new_item_ids", ())
    if len(items) > 1:
        yield (with_arguments(place.call, new_item_ids=items[1:] + items[:1]),)


def item_twice(place: Place) -> Iterator[Calls]:
    """The first item once more."""
    lists = {k: [*v, v[0]] for k, v in place.call.arguments.items() if k in ("item_ids", "new_item_ids") and v}
    return changed(place.call, lists)


def other_reason(place: Place) -> Iterator[Calls]:
    """Another reason."""
    reason = place.call.arguments.get("reason")
    if reason is not None and not ends(place):
        yield (with_arguments(place.call, reason=_REASONS[reason == _REASONS[0]]),)


def house_number(place: Place) -> Iterator[Calls]:
    """The house next door."""
    words = str(place.call.arguments.get("address1", "")).split()
    if words:
        first = str(int(words[0]) + 1) if words[0].isdigit() else words[0] + "1"
        yield (with_arguments(place.call, address1=" ".join([first, *words[1:]])),)


def other_city(place: Place) -> Iterator[Calls]:
    """Another city."""
    if "city" in place.call.arguments:
        yield (with_arguments(place.call, city="Springfield"),)


def address_stop(place: Place) -> Iterator[Calls]:
    """A full stop after the street."""
    if "address1" in place.call.arguments:
        yield (with_arguments(place.call, address1=place.call.arguments["address1"] + "."),)


def plus_one(place: Place) -> Iterator[Calls]:
    """Every number raised by one."""
    return changed(place.call, {k: v + 1 for k, v in place.call.arguments.items() if is_number(v)})


def minus_one(place: Place) -> Iterator[Calls]:
    """Every number lowered by one."""
    return changed(place.call, {k: v - 1 for k, v in place.call.arguments.items() if is_number(v)})


def birth_date(place: Place) -> Iterator[Calls]:
    """Another birth date."""
    people = place.call.arguments.get("passengers", ())
    if people:
        yield (with_arguments(place.call, passengers=[{**p, "dob": "1991-01-01"} for p in people]),)


def passenger_order(place: Place) -> Iterator[Calls]:
    """Passengers in reverse order."""
    people = place.call.arguments.get("passengers", ())
    if len(people) > 1:
        yield (with_arguments(place.call, passengers=people[::-1]),)


def flight_date(place: Place) -> Iterator[Calls]:
    """Flights on another day."""
    flights = place.call.arguments.get("flights", ())
    for day in ("2024-05-29", "2024-05-16", "2024-05-21"):
        if flights:
            yield (with_arguments(place.call, flights=[{**f, "date": day} for f in flights]),)


def flight_order(place: Place) -> Iterator[Calls]:
    """Flights in reverse order."""
    flights = place.call.arguments.get("flights", ())
    if len(flights) > 1:
        yield (with_arguments(place.call, flights=flights[::-1]),)


def search_date(place: Place) -> Iterator[Calls]:
    """A search of another day."""
    date = place.call.arguments.get("date")
    if isinstance(date, str) and date[-2:].isdigit():
        for step in (1, -1, 2):
            yield (with_arguments(place.call, date=f"{date[:-2]}{(int(date[-2:]) - 1 + step) % 30 + 1:02d}"),)


def choice(place: Place) -> Iterator[Calls]:
    """Another value of an argument that has few: of the schema, or of the tools' own words."""
    spec = place.spec(place.call)
    for name, value in place.call.arguments.items():
        schema = spec.parameters.get("properties", {}).get(name, {}) if spec else {}
        options = schema.get("enum") or _WORDS.get(name, ())
        options = [True, False] if isinstance(value, bool) else options
        for option in options:
            if option != value and not (name == "reason" and ends(place)):
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


def other_transfer_reason(place: Place) -> Iterator[Calls]:
    """Another of the reasons a transfer may have."""
    spec = place.spec(place.call)
    if spec is not None and spec.terminal and "reason" in place.call.arguments:
        for option in spec.parameters["properties"]["reason"].get("enum", ()):
            if option != place.call.arguments["reason"]:
                yield (with_arguments(place.call, reason=option),)


def id_case(place: Place) -> Iterator[Calls]:
    """Capitals for small letters in an id."""
    for name, value in place.call.arguments.items():
        if isinstance(value, str) and name.endswith(("_id", "_number")) and value.swapcase() != value:
            yield (with_arguments(place.call, **{name: value.swapcase()}),)


def hash_sign(place: Place) -> Iterator[Calls]:
    """The number sign left out."""
    return changed(
        place.call, {k: v[1:] for k, v in place.call.arguments.items() if isinstance(v, str) and v.startswith("#")}
    )


def wide_digits(place: Place) -> Iterator[Calls]:
    """Digits that look alike and are other characters."""
    wide = {48 + d: 0xFF10 + d for d in range(10)}
    for name, value in place.call.arguments.items():
        if isinstance(value, str) and value.translate(wide) != value:
            yield (with_arguments(place.call, **{name: value.translate(wide)}),)


def no_arguments(place: Place) -> Iterator[Calls]:
    """No arguments where some are required."""
    spec = place.spec(place.call)
    if spec is not None and spec.parameters.get("required"):
        yield (ToolCall(place.call.name, {}, requestor=place.call.requestor),)


def one_argument_less(place: Place) -> Iterator[Calls]:
    """One argument left out."""
    for name in place.call.arguments:
        rest = {k: v for k, v in place.call.arguments.items() if k != name}
        if rest:
            yield (ToolCall(place.call.name, rest, requestor=place.call.requestor),)


def extra_argument(place: Place) -> Iterator[Calls]:
    """An argument nobody asked for."""
    yield (with_arguments(place.call, note="please"),)

"""Where variants find other values: records of the same table, siblings, other tasks' calls, the transferring call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pivot_envs.domains.tau2.mutants.variants import Calls, Place, with_arguments
from pivot_envs.records import ToolCall

OWNER_FIELDS = ("user_id", "customer_id", "customer")


def table_of(place: Place, argument: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the records an argument's ids stand for."""
    name = "flights" if argument == "flight_number" else argument.removesuffix("_id") + "s"
    return place.tables.get(name, {}) if argument.endswith(("_id", "_number")) else {}


def other_keys(place: Place, argument: str, value: Any) -> list[str]:
    """Return the ids of other records, in drawn order."""
    keys = [key for key in table_of(place, argument) if key != value]
    place.draw.shuffle(keys)
    return keys


def owner(place: Place, argument: str, value: Any) -> Any:
    """Return whom a record belongs to."""
    record = table_of(place, argument).get(value, {}) if isinstance(value, str) else {}
    for field in OWNER_FIELDS:
        if field in record:
            return record[field]
    customers = place.tables.get("customers", {})
    return next((key for key, c in customers.items() if value in c.get("line_ids", ())), None)


def siblings(place: Place, argument: str, value: Any) -> list[str]:
    """Return other records of the same table and owner."""
    found = owner(place, argument, value)
    if found is None:
        return []
    return [key for key in table_of(place, argument) if key != value and owner(place, argument, key) == found]


def payments_of(place: Place) -> list[str]:
    """Return the payment methods of whom the call is about."""
    owners = [owner(place, name, place.call.arguments.get(name)) for name in ("order_id", "reservation_id")]
    found = next((o for o in [*owners, place.call.arguments.get("user_id")] if o), None)
    return list(place.tables.get("users", {}).get(str(found), {}).get("payment_methods", {}))


def party(place: Place) -> str:
    """Return who demonstrates."""
    return place.shown[0].requestor


def surplus_reads(place: Place) -> list[ToolCall]:
    """Return surplus reads that the demonstrating party may make, none of them in the demonstration."""
    keys = {call.key for call in place.shown}
    found = [read for read in place.reads if read.requestor == party(place) and read.key not in keys]
    place.draw.shuffle(found)
    return found


def other_writes(place: Place) -> list[ToolCall]:
    """Return writes of other tasks that the demonstrating party may make."""
    keys = {call.key for call in place.shown}
    found = [write for write in place.writes if write.requestor == party(place) and write.key not in keys]
    place.draw.shuffle(found)
    return found


def changed(call: ToolCall, new: Mapping[str, Any]) -> Iterator[Calls]:
    """Yield the call with other arguments, if there are any."""
    if new:
        yield (with_arguments(call, **new),)


def is_number(value: Any) -> bool:
    """Say whether a value is a number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def ends(place: Place) -> bool:
    """Say whether the demonstration ends the conversation."""
    spec = place.spec(place.shown[-1])
    return spec is not None and spec.terminal


def handover(place: Place) -> ToolCall | None:
    """Return a call that hands the conversation to a person, if the demonstration does not."""
    spec = place.terminal()
    if spec is None or spec.requestor != party(place) or ends(place):
        return None
    fill = {"reason": "customer_request", "summary": "The customer asks for a person."}
    return ToolCall(spec.name, {name: fill[name] for name in spec.parameters.get("required", []) if name in fill})

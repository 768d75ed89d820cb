"""The kinds of variants: other calls and batches, and the table that names and labels every kind.

A function takes the demonstrated batch in its state and yields other batches; it yields nothing where it does not
apply. Labels follow the rules of the reference (tau2, 5.2) and, where the table says `oracle`, what execution shows.
"""

from __future__ import annotations

from collections.abc import Iterator

from pivot_envs.domains.tau2.mutants import arguments
from pivot_envs.domains.tau2.mutants.sources import ends, handover, other_writes, party, surplus_reads
from pivot_envs.domains.tau2.mutants.variants import Calls, Kind, Place, with_arguments
from pivot_envs.records import Requestor, ToolCall


def _unknown_tool(place: Place) -> Iterator[Calls]:
    yield (ToolCall(place.call.name + "_v2", place.call.arguments, requestor=place.call.requestor),)


def _nothing(place: Place) -> Iterator[Calls]:
    yield ()


def _wrong_party(place: Place) -> Iterator[Calls]:
    other: Requestor = "user" if place.call.requestor == "assistant" else "assistant"
    yield (ToolCall(place.call.name, place.call.arguments, requestor=other),)


def _transfer_instead(place: Place) -> Iterator[Calls]:
    transfer = handover(place)
    if transfer is not None:
        yield (transfer,)


def _transfer_too(place: Place) -> Iterator[Calls]:
    transfer = handover(place)
    if transfer is not None:
        yield (*place.shown, transfer)
        yield (transfer, *place.shown)


def _other_tool(place: Place) -> Iterator[Calls]:
    """Another write, or another read, alone."""
    pool = other_writes(place) if place.writing(place.call) else surplus_reads(place)
    return ((call,) for call in pool if call.name != place.call.name)


def _spray(place: Place) -> Iterator[Calls]:
    for write in other_writes(place):
        yield (*place.shown, write)


def _spray_before(place: Place) -> Iterator[Calls]:
    for write in other_writes(place):
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
    reads = surplus_reads(place)
    for start in range(0, len(reads) - n + 1, n):
        surplus = tuple(reads[start : start + n])
        yield (*surplus, *place.shown)
        if not ends(place):
            yield (*place.shown, *surplus)


def _and_read(place: Place) -> Iterator[Calls]:
    return _and_reads(place, 1)


def _and_three_reads(place: Place) -> Iterator[Calls]:
    return _and_reads(place, 3)


def _and_four_reads(place: Place) -> Iterator[Calls]:
    return _and_reads(place, 4)


def _and_failing_read(place: Place) -> Iterator[Calls]:
    for read in place.reads:
        fits = read.requestor == party(place) and read.name.startswith(("get_", "find_"))
        if fits and read.arguments and all(isinstance(v, str) for v in read.arguments.values()):
            yield (with_arguments(read, **dict.fromkeys(read.arguments, "none-0")), *place.shown)


def _wrong_then_right(place: Place) -> Iterator[Calls]:
    spec = place.spec(place.call)
    if spec is not None and spec.kind == "read":
        for read in place.reads:
            if read.name == place.call.name and read.key != place.call.key and read.requestor == party(place):
                yield (read, place.call)


# --- batches of two ---------------------------------------------------------------------------------------------


def _writes(place: Place) -> int:
    return sum(place.writing(call) for call in place.shown)


def _swapped_reads(place: Place) -> Iterator[Calls]:
    if _writes(place) == 0 and not ends(place):
        yield place.shown[::-1]


def _swapped_writes(place: Place) -> Iterator[Calls]:
    if _writes(place) == 2:
        yield place.shown[::-1]


def _swapped_mixed(place: Place) -> Iterator[Calls]:
    if _writes(place) == 1:
        yield place.shown[::-1]


def _half(place: Place) -> Iterator[Calls]:
    """Only one call of two, where the other does something: a write, or a read of something else."""
    if place.shown[0].key != place.shown[1].key:
        yield place.shown[:1]
        yield place.shown[1:]


def _first_twice(place: Place) -> Iterator[Calls]:
    if place.shown[0].key != place.shown[1].key:
        yield place.shown[:1] * 2


def _half_replaced(place: Place) -> Iterator[Calls]:
    for call in other_writes(place) if place.writing(place.shown[1]) else surplus_reads(place):
        yield (place.shown[0], call)


KINDS: tuple[Kind, ...] = (
    Kind("identical", arguments.identical, "equal", identity=True),
    Kind("key order", arguments.key_order, "equal", identity=True),
    Kind("nested key order", arguments.nested_key_order, "equal", identity=True),
    Kind("number type", arguments.number_type, "equal", identity=True),
    Kind("nested number type", arguments.nested_number_type, "equal", identity=True),
    Kind("explicit default", arguments.explicit_default, "equal", identity=True),
    Kind("null for an optional argument", arguments.null_optional, "oracle"),
    Kind("white space", arguments.white_space, "oracle", if_different="debatable"),
    Kind("number as text", arguments.number_as_text, "oracle"),
    Kind("letter case", arguments.letter_case, "equal"),
    Kind("other phone form", arguments.phone_form, "equal"),
    Kind("other lookup route", arguments.other_route, "equal"),
    Kind("permuted item lists", arguments.permuted_items, "equal"),
    Kind("same sum, other form", arguments.other_form_of_sum, "equal"),
    Kind("reworded summary", arguments.reworded_summary, "equal"),
    Kind("other entity read", arguments.other_entity, "different"),
    Kind("other zip", arguments.other_zip, "different"),
    Kind("other flight of the same status", arguments.same_status, "different"),
    Kind("arguments of another task", arguments.other_task, "oracle", if_equal="debatable"),
    Kind("other payment method", arguments.other_payment, "oracle"),
    Kind("sibling record", arguments.sibling, "oracle"),
    Kind("other slot of the area", arguments.other_slot, "oracle"),
    Kind("stranger's record", arguments.stranger, "oracle"),
    Kind("dropped item", arguments.dropped_item, "oracle"),
    Kind("other pairing", arguments.pairing, "oracle"),
    Kind("item twice", arguments.item_twice, "oracle"),
    Kind("other reason", arguments.other_reason, "oracle"),
    Kind("house number", arguments.house_number, "oracle"),
    Kind("other city", arguments.other_city, "oracle"),
    Kind("address full stop", arguments.address_stop, "debatable"),
    Kind("number + 1", arguments.plus_one, "oracle"),
    Kind("number - 1", arguments.minus_one, "oracle"),
    Kind("passenger's birth date", arguments.birth_date, "oracle"),
    Kind("passenger order", arguments.passenger_order, "debatable"),
    Kind("flight date", arguments.flight_date, "oracle"),
    Kind("flight order", arguments.flight_order, "debatable"),
    Kind("search date", arguments.search_date, "oracle", if_equal="debatable"),
    Kind("other choice", arguments.choice, "oracle"),
    Kind("other transfer reason", arguments.other_transfer_reason, "debatable"),
    Kind("letter case of an id", arguments.id_case, "oracle"),
    Kind("number sign dropped", arguments.hash_sign, "oracle"),
    Kind("look-alike digits", arguments.wide_digits, "oracle"),
    Kind("empty arguments", arguments.no_arguments, "different"),
    Kind("one argument less", arguments.one_argument_less, "oracle"),
    Kind("unknown argument", arguments.extra_argument, "oracle"),
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
    Kind("batch: identical", arguments.identical, "equal", batch=2, identity=True),
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

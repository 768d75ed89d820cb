"""Labelled variants of demonstrated calls: the battery that says how often the equivalence rules are wrong.

For every reference action of a domain's tasks, in the state before it, each kind of `mutant_kinds.py` writes other
batches of calls. A row's truth comes from the kind where it follows from how the row was made, and from an independent
oracle where it depends on the state (an unused payment method is no difference). Rows are plain dicts in the form
`pivot-envs audit` reads; judging them is `audit.py`.

Left out: variants identical to the demonstration, variants whose calls have another party than the demonstration (but
for the kind that is about that), and, but for the identities, variants of demonstrations that fail or show nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pivot_envs.domains.tau2.world import ToolSpec, World
from pivot_envs.records import Observation, Task, ToolCall, canonical_json

Calls = tuple[ToolCall, ...]
Truth = Literal["equal", "different", "debatable"]
Tables = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Table -> key -> record of the world's data, as plain JSON: where variants find other entities."""


_SHORT = 2_000
"""Characters a surplus read may show: three of them stay below the floor of `world.Limits`."""


@dataclass(frozen=True)
class Run:
    """What a batch did to one copy of the world: what each call showed, and the hash of everything afterwards."""

    observations: tuple[Observation, ...]
    state: str

    @property
    def failed(self) -> bool:
        """Whether any call was refused."""
        return any(o.failed for o in self.observations)


class Oracle(Protocol):
    """An execution of calls that shares nothing with what is audited."""

    def open(self, task: Task) -> None:
        """Go to the start of a task."""

    def step(self, calls: Calls) -> None:
        """Move on by a demonstrated batch."""

    def run(self, calls: Calls) -> Run:
        """Run a batch on a copy of the present state."""

    def tables(self) -> Tables:
        """Return the records of the start of the task."""


@dataclass(frozen=True)
class Place:
    """A demonstrated batch in its state: what a kind works from."""

    domain: str
    task: Task
    specs: Mapping[str, Sequence[ToolSpec]]
    tables: Tables
    shown: Calls
    observed: tuple[Observation, ...]
    others: Calls
    """The other reference actions of the task."""
    writes: Calls
    """Writes of other tasks of the domain."""
    reads: Calls
    """Reads of other tasks of the domain that succeed at the start of the first one and show little."""
    draw: random.Random

    @property
    def call(self) -> ToolCall:
        """The only call of a batch of one."""
        return self.shown[0]

    def spec(self, call: ToolCall) -> ToolSpec | None:
        """Return the spec of a call."""
        return next((s for s in self.specs.get(call.name, ()) if s.requestor == call.requestor), None)

    def writing(self, call: ToolCall) -> bool:
        """Whether the call may change the world."""
        spec = self.spec(call)
        return spec is not None and spec.kind == "write" and not spec.terminal

    def terminal(self) -> ToolSpec | None:
        """Return the tool that ends a conversation."""
        return next((s for group in self.specs.values() for s in group if s.terminal), None)


@dataclass(frozen=True)
class Kind:
    """A way to vary a demonstration.

    `truth` is a label, or `oracle`: then execution says equal or different, and the two `if_` fields may turn either
    into debatable. A variant with a refused call is different all the same.
    """

    name: str
    write: Callable[[Place], Iterable[Calls]]
    truth: Literal["equal", "different", "debatable", "oracle"]
    if_equal: Truth = "equal"
    if_different: Truth = "different"
    batch: int = 1
    """How many calls the demonstration has."""
    identity: bool = False
    """Whether the variant is the demonstration written otherwise: equal even where that fails."""
    crosses_parties: bool = False


def with_arguments(call: ToolCall, **changed: Any) -> ToolCall:
    """Return the call with some arguments replaced."""
    return ToolCall(call.name, {**call.arguments, **changed}, requestor=call.requestor)


def same_effect(before: str, shown: Run, tried: Run) -> bool:
    """Say by execution alone whether two batches are equal: the same final state and, where the demonstration changes
    nothing, the same observations."""
    if tried.state != shown.state or shown.state != before:
        return tried.state == shown.state
    return [_parsed(o.text) for o in tried.observations] == [_parsed(o.text) for o in shown.observations]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def rows(
    world: World,
    oracle: Oracle,
    kinds: Sequence[Kind],
    reference: Callable[[Task], Sequence[ToolCall]],
    *,
    tasks: Sequence[Task],
    seed: int = 0,
    per_kind: int = 1,
) -> Iterator[dict[str, Any]]:
    """Yield battery rows, the same ones for the same seed.

    Args:
        world: The domain.
        oracle: Runs calls for the labels.
        kinds: What to generate.
        reference: Task -> its reference actions.
        tasks: Whose reference actions are varied.
        seed: Of every choice.
        per_kind: At most so many variants of one kind at one place.
    """
    writes, reads = _pools(world, tasks, reference)
    reads = _short_reads(oracle, tasks, reads)
    for task in tasks:
        actions = tuple(_plain(call) for call in reference(task))
        oracle.open(task)
        tables = oracle.tables()
        for n, call in enumerate(actions):
            for batch in _batches(actions, n):
                place = Place(
                    world.name, task, world.tool_specs, tables, batch, (), actions, writes, reads, random.Random(0)
                )
                yield from _rows_at(place, oracle, kinds, actions[:n], f"{world.name}/{task.task_id}/{n}", seed, per_kind)
            oracle.step((call,))


def _batches(actions: Calls, n: int) -> list[Calls]:
    """Return the demonstrated batches that start at an action: itself, and the pair with the next of the same party."""
    pair = actions[n : n + 2]
    paired = len(pair) == 2 and pair[0].requestor == pair[1].requestor
    return [actions[n : n + 1], *([pair] if paired else [])]


def _rows_at(
    place: Place, oracle: Oracle, kinds: Sequence[Kind], prefix: Calls, where: str, seed: int, per_kind: int
) -> Iterator[dict[str, Any]]:
    before, shown = oracle.run(()).state, oracle.run(place.shown)
    barren = shown.failed or _shows_nothing(shown, before)
    for kind in kinds:
        if kind.batch != len(place.shown) or (barren and not kind.identity):
            continue
        draw = random.Random(f"{seed}/{where}/{kind.name}")
        at = Place(**{**vars(place), "observed": shown.observations, "draw": draw})
        for i, tried in enumerate(_variants(at, kind, per_kind)):
            truth = _truth(kind, oracle, before, shown, tried)
            row_id = f"{where}/{len(place.shown)}/{kind.name}/{i}"
            yield _row(place, prefix, tried, kind.name, truth, row_id)


def _shows_nothing(run: Run, before: str) -> bool:
    if run.state != before:
        return False
    return all(_parsed(o.text) in ("", None, [], {}) for o in run.observations)


def _variants(place: Place, kind: Kind, per_kind: int) -> Iterator[Calls]:
    made: set[str] = {_identity(place.shown)} if kind.name != "identical" else set()
    parties = {call.requestor for call in place.shown}
    for tried in kind.write(place):
        if len(made) > per_kind or _identity(tried) in made:
            continue
        if not kind.crosses_parties and any(call.requestor not in parties for call in tried):
            continue
        made.add(_identity(tried))
        yield tried


def _identity(calls: Calls) -> str:
    """Keep key order and number types: `key order` and `2 for 2.0` are variants."""
    return json.dumps([[c.name, c.arguments, c.requestor] for c in calls])


def _truth(kind: Kind, oracle: Oracle, before: str, shown: Run, tried: Calls) -> Truth:
    if kind.truth != "oracle":
        return kind.truth
    run = oracle.run(tried)
    if run.failed:
        return "different"
    return kind.if_equal if same_effect(before, shown, run) else kind.if_different


def _row(place: Place, prefix: Calls, tried: Calls, kind: str, truth: Truth, row_id: str) -> dict[str, Any]:
    return {
        "id": row_id,
        "domain": place.domain,
        "task_id": place.task.task_id,
        "prefix": [_as_dict(call) for call in prefix],
        "demonstrated": [_as_dict(call) for call in place.shown],
        "candidate": [_as_dict(call) for call in tried],
        "truth": truth,
        "kind": kind,
    }


def _as_dict(call: ToolCall) -> dict[str, Any]:
    return {"name": call.name, "arguments": dict(call.arguments), "requestor": call.requestor}


def _plain(call: ToolCall) -> ToolCall:
    return ToolCall(call.name, dict(call.arguments), requestor=call.requestor)


def _pools(world: World, tasks: Sequence[Task], reference: Callable[[Task], Sequence[ToolCall]]) -> tuple[Calls, Calls]:
    """Return the distinct writes and reads of all reference actions."""
    found: dict[str, dict[str, ToolCall]] = {"write": {}, "read": {}}
    for task in tasks:
        for call in reference(task):
            for spec in world.tool_specs.get(call.name, ()):
                if spec.requestor == call.requestor and spec.kind in found and not spec.terminal:
                    plain = _plain(call)
                    found[spec.kind][canonical_json([call.name, call.arguments, call.requestor])] = plain
    return tuple(found["write"].values()), tuple(found["read"].values())


def _short_reads(oracle: Oracle, tasks: Sequence[Task], reads: Calls) -> Calls:
    if not tasks:
        return ()
    oracle.open(tasks[0])
    runs = [(read, oracle.run((read,))) for read in reads]
    return tuple(read for read, run in runs if not run.failed and len(run.observations[0].text) <= _SHORT)

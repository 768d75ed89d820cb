"""Labelled variants of demonstrated calls: the battery that says how often the equivalence rules are wrong.

For every reference action of a domain's tasks, in the state before it, each kind of `kinds.py` writes other
batches of calls. A row's truth comes from the kind where it follows from how the row was made, and from an independent
oracle where it depends on the state (an unused payment method is no difference). Rows are plain dicts in the form
`pivot-envs audit` reads; judging them is `audit.py`.

Left out: variants identical to the demonstration, variants whose calls have another party than the demonstration (but
for the kind that is about that), and, but for the identities, variants of demonstrations that fail or show nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pivot_envs.domains.tau2.helpdesk.data import build
from pivot_envs.domains.tau2.helpdesk.world import HelpdeskWorld
from pivot_envs.domains.tau2.mutants.kinds import KINDS
from pivot_envs.domains.tau2.mutants.official_oracle import OfficialOracle
from pivot_envs.domains.tau2.mutants.replay_oracle import ReplayOracle
from pivot_envs.domains.tau2.mutants.variants import (
    Calls,
    Kind,
    Oracle,
    Place,
    Run,
    Truth,
    parsed,
    same_effect,
    shows_more,
)
from pivot_envs.domains.tau2.official import demonstrations
from pivot_envs.domains.tau2.official.world import OfficialWorld
from pivot_envs.domains.tau2.world import World
from pivot_envs.errors import ConfigError
from pivot_envs.records import Requestor, Task, ToolCall, canonical_json

_SHORT = 2_000
"""Characters a surplus read may show: three of them stay below the floor of `world.Limits`."""


def battery(
    world: Any,
    *,
    tasks: Sequence[Task] | None = None,
    seed: int = 0,
    per_kind: int = 1,
    kinds: Sequence[Kind] = KINDS,
) -> Iterator[dict[str, Any]]:
    """Yield battery rows of a world, the same ones for the same seed.

    Args:
        world: helpdesk, or an official domain.
        tasks: Whose reference actions are varied; all tasks (official: of the base set) by default.
        seed: Of every choice.
        per_kind: At most so many variants of one kind at one place.
        kinds: What to generate.

    Raises:
        ConfigError: the world has no oracle and no reference actions.
    """
    oracle, reference, split = _knowledge(world)
    return rows(world, oracle, kinds, reference, tasks=tasks or world.tasks(split), seed=seed, per_kind=per_kind)


def _knowledge(world: Any) -> tuple[Oracle, Callable[[Task], Sequence[ToolCall]], str]:
    if isinstance(world, HelpdeskWorld):
        return ReplayOracle(world, build(world.seed)), _helpdesk_reference, "all"
    if isinstance(world, OfficialWorld):
        return OfficialOracle(world), demonstrations.reference_actions, "base"
    raise ConfigError(f"there is no oracle for world {world.name!r}; give `rows` one of your own")


def _helpdesk_reference(task: Task) -> list[ToolCall]:
    return [ToolCall(name, arguments, requestor=_requestor(party)) for party, name, arguments in task.data["reference"]]


def _requestor(party: str) -> Requestor:
    return "user" if party == "user" else "assistant"


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
                where = f"{world.name}/{task.task_id}/{n}"
                yield from _rows_at(place, oracle, kinds, actions[:n], where, seed, per_kind)
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
        at = replace(place, observed=shown.observations, draw=draw)
        for i, tried in enumerate(_variants(at, kind, per_kind)):
            truth = _truth(kind, oracle, before, shown, tried)
            row_id = f"{where}/{len(place.shown)}/{kind.name}/{i}"
            yield _row(place, prefix, tried, kind.name, truth, row_id)


def _shows_nothing(run: Run, before: str) -> bool:
    if run.state != before:
        return False
    return all(parsed(o.text) in ("", None, [], {}) for o in run.observations)


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
    if same_effect(before, shown, run):
        return kind.if_equal
    # Another read that happens to show all of it: right by what is shown, wrong by what was asked.
    return "debatable" if shows_more(before, shown, run) else kind.if_different


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

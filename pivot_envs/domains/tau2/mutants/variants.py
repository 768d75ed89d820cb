"""What variants of demonstrated calls are made of: the place they start from, kinds, and oracles that label them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pivot_envs.domains.tau2.world import ToolSpec
from pivot_envs.records import Observation, Task, ToolCall, canonical_json

Calls = tuple[ToolCall, ...]
Truth = Literal["equal", "different", "debatable"]
Tables = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Table -> key -> record of the world's data, as plain JSON: where variants find other entities."""


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
    """Say by execution alone whether two batches are equal.

    They are if the final state is the same and, where the demonstration changes nothing, the observations in any order.
    """
    if tried.state != shown.state or shown.state != before:
        return tried.state == shown.state
    return sorted(canonical_json(parsed(o.text)) for o in tried.observations) == sorted(
        canonical_json(parsed(o.text)) for o in shown.observations
    )


def parsed(text: str) -> Any:
    """Return the JSON value of an observation, or the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def shows_more(before: str, shown: Run, tried: Run) -> bool:
    """Say whether a batch that changes nothing shows every value that a demonstrated read shows, beside others."""
    if not shown.state == tried.state == before:
        return False
    told = " ".join(o.text for o in tried.observations)
    values = [value for o in shown.observations for value in _values(parsed(o.text))]
    return bool(values) and all(value in told for value in values)


def _values(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _values(item)]
    if isinstance(value, list):
        return [text for item in value for text in _values(item)]
    return [str(value)]

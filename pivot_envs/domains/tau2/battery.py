"""Rows of labelled action pairs brought to life: the task opened, the prefix of calls executed, both actions read.

Two kinds of rows: calls `{task_id, prefix, demonstrated: [...], candidate: [...]}` and messages
`{facts, policy?, last_user, demonstrated: "...", candidate: "..."}`, which need no task.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pivot_envs.contracts import Case
from pivot_envs.domains.tau2.canonical import digest_of
from pivot_envs.domains.tau2.state import Tau2State, spec_of
from pivot_envs.domains.tau2.world import World
from pivot_envs.errors import ConfigError, MalformedAction, RecordError, RestoreError
from pivot_envs.records import (
    Action,
    Candidate,
    Effect,
    InitialState,
    Message,
    Observation,
    Requestor,
    ToolCall,
    Trajectory,
    canonical_json,
)

_KEPT_STATES = 64


class BatteryStates:
    """States at the end of a row's prefix, kept for the rows that share it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kept: OrderedDict[str, tuple[Tau2State, str]] = OrderedDict()

    def at(self, task_id: str, prefix: Sequence[ToolCall]) -> tuple[Tau2State, str]:
        """Return a state of the task after the prefix, and the first call in it that a tool refused.

        Refusals are part of recorded runs: of retail's 553 reference calls 23 are refused. A tool that the party does
        not have is in none.

        Raises:
            RecordError: there is no such task.
            RestoreError: the prefix calls what cannot be called.
        """
        key = canonical_json([task_id, [call.key for call in prefix]])
        if key not in self._kept:
            self._kept[key] = self._build(task_id, prefix)
            if len(self._kept) > _KEPT_STATES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        state, refused = self._kept[key]
        return state.fork(), refused

    def _build(self, task_id: str, prefix: Sequence[ToolCall]) -> tuple[Tau2State, str]:
        try:
            task = self._world.task(task_id)
        except ConfigError as error:
            raise RecordError(str(error), field="task_id") from error
        state = Tau2State(self._world, task, self._world.open(task))
        refused = ""
        for n, call in enumerate(prefix):
            if spec_of(self._world, call) is None:
                raise RestoreError(f"prefix[{n}]: the {call.requestor} has no tool {call.name[:80]!r}")
            effect = state.execute(Action(calls=(call,)))
            if effect.ended != "ok" and not refused:
                refused = f"prefix[{n}] {call.name}: {effect.observations[0].text[:200]}"
        return state, refused


class SpokenState:
    """A state in which nothing can happen: messages of rows that name no task are judged by rules alone."""

    history: tuple[Message, ...] = ()

    def execute(self, action: Action) -> Effect:
        """Say it; tools there are none."""
        unknown = tuple(Observation("no tools here", failed=True) for _ in action.calls)
        return Effect(unknown, {}, "failed" if unknown else "ok")

    def fork(self) -> SpokenState:
        """Return the same nothing."""
        return self

    def digest(self) -> str:
        """Return the digest of nothing."""
        return digest_of({})

    def close(self) -> None:
        """Nothing is held."""


def read_case(world: World, states: BatteryStates, row: Mapping[str, Any]) -> Case:
    """Return the case of a row; see `contracts.Auditable`."""
    for name in ("demonstrated", "candidate"):
        if name not in row:
            raise RecordError("missing", field=name)
    try:
        demonstrated = read_action(row["demonstrated"])
    except MalformedAction as error:
        raise RecordError(f"is no action: {error}", field="demonstrated") from error
    if "task_id" in row:
        state: Tau2State | SpokenState
        state, refused = states.at(str(row["task_id"]), _read_prefix(row.get("prefix") or []))
    else:
        if demonstrated.calls:
            raise RecordError(
                "missing; rows whose demonstration calls tools need the task they are executed in", field="task_id"
            )
        state, refused = SpokenState(), ""
    candidate = Candidate(_conversation(world, row, state.history), 0)
    return Case(candidate, state, demonstrated, read_action(row["candidate"]), refused)


def _read_prefix(items: Any) -> list[ToolCall]:
    try:
        return list(read_action(items).calls)
    except MalformedAction as error:
        raise RecordError(f"is no list of calls: {error}", field="prefix") from error


def read_action(value: Any) -> Action:
    """Return the action a battery writes: a text, or a list of `{name | tool, arguments, requestor?}`; null is nothing.

    Raises:
        MalformedAction: it is neither.
    """
    if value is None:
        return Action()
    if isinstance(value, str):
        return Action(text=value)
    if isinstance(value, Mapping):
        if "name" not in value and "tool" not in value:
            text = value.get("content", value.get("text"))
            if isinstance(text, str):
                return Action(text=text)
        value = [value]
    if not isinstance(value, list):
        raise MalformedAction("not_calls", f"expected a text or a list of calls, got {type(value).__name__}")
    return Action(calls=tuple(_read_call(item, n) for n, item in enumerate(value)))


def _read_call(item: Any, position: int) -> ToolCall:
    if not isinstance(item, Mapping):
        raise MalformedAction("not_a_call", f"item {position} is {type(item).__name__}")
    name = item.get("name", item.get("tool"))
    arguments = item.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise MalformedAction("bad_json", f"arguments of item {position}") from error
    if not isinstance(name, str) or not name or not isinstance(arguments, Mapping):
        raise MalformedAction("not_a_call", f"item {position} needs a name and an object of arguments")
    requestor = item.get("requestor") or "assistant"
    if requestor not in ("assistant", "user"):
        raise MalformedAction("not_a_call", f"the requestor of item {position} is neither assistant nor user")
    return ToolCall(name, dict(arguments), f"battery_{position}", cast(Requestor, requestor))


def _conversation(world: World, row: Mapping[str, Any], history: Sequence[Message]) -> Trajectory:
    """Write what the row says was known and said as a conversation, so that one comparison serves both kinds."""
    messages: list[Message] = []
    facts = row.get("facts")
    if facts is not None:
        messages.append(
            {"role": "tool", "tool_call_id": "facts", "content": facts if isinstance(facts, str) else json.dumps(facts)}
        )
    messages.extend(history)
    messages.append({"role": "user", "content": str(row.get("last_user") or "")})
    messages.append({"role": "assistant", "content": ""})
    return Trajectory(
        trajectory_id=str(row.get("id", "row")),
        domain=world.name,
        task_id=str(row.get("task_id", "")),
        source="battery",
        messages=tuple(messages),
        tools=(),
        initial_state=InitialState("task", str(row.get("task_id", ""))),
        meta={"policy": row["policy"]} if row.get("policy") else {},
    )

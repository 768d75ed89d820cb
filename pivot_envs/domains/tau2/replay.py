"""Replaying a recorded conversation call by call, comparing what each call shows with what was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pivot_envs.actions import from_message
from pivot_envs.candidates import EMPTY_DEMONSTRATION, SCRIPTED_GREETING
from pivot_envs.contracts import TurnReport
from pivot_envs.domains.tau2.canonical import canonical_value, facts_of, parse_observation
from pivot_envs.domains.tau2.state import Tau2State, spec_of
from pivot_envs.domains.tau2.world import MINTED_ID, World
from pivot_envs.errors import MalformedAction, RestoreError
from pivot_envs.records import Action, Message, Observation, ToolCall, Trajectory

EXACT, NORMALISED, DRIFT = "exact", "normalised", "drift"


@dataclass
class ReplayedTurn:
    """One assistant turn met on the way: the state before it and how the observations since the last one compare."""

    turn: int
    message_index: int
    message: Message
    state: Tau2State
    observations: tuple[str, ...]
    drifted: str
    """The first drift before this turn, in words; empty if there was none."""


@dataclass
class Replay:
    """A replay in progress."""

    world: World
    trajectory: Trajectory
    state: Tau2State
    comparisons: list[str] = field(default_factory=list)
    drifted: str = ""
    last_observed: list[Observation] = field(default_factory=list)
    """What the calls of the last executed message showed."""

    def turns(self) -> Iterator[ReplayedTurn]:
        """Yield each assistant turn with the live state before it; the state moves on when the next one is asked for.

        Raises:
            RestoreError: a recorded message holds calls that cannot be read.
        """
        results = recorded_results(self.trajectory)
        turn = 0
        for index, message in enumerate(self.trajectory.messages):
            role = message.get("role")
            if role == "assistant":
                comparisons, self.comparisons = tuple(self.comparisons), []
                yield ReplayedTurn(turn, index, message, self.state, comparisons, self.drifted)
                turn += 1
            if role in ("assistant", "user"):
                self._run(index, message, results)
            self.state.append(message)

    def _run(self, index: int, message: Message, results: Mapping[tuple[int, int], str]) -> None:
        self.last_observed = []
        for n, call in enumerate(self._calls(index, message)):
            observed = self.state.session.call(call.name, call.arguments, call.requestor)
            self.last_observed.append(observed)
            recorded = results.get((index, n))
            if recorded is None:
                continue
            verdict = compare_observation(recorded, observed.text)
            if verdict == DRIFT and self._adopt_minted_ids(recorded, observed.text):
                verdict = NORMALISED
            self.comparisons.append(verdict)
            if verdict == DRIFT and not self.drifted:
                self.drifted = (
                    f"message {index}, call {call.name}: recorded {recorded[:120]!r}, replayed {observed.text[:120]!r}"
                )

    def _calls(self, index: int, message: Message) -> tuple[ToolCall, ...]:
        if not message.get("tool_calls"):
            return ()
        try:
            return from_message(message).calls
        except MalformedAction as error:
            raise RestoreError(
                f"{self.trajectory.trajectory_id}: message {index} holds unreadable calls: {error}"
            ) from error

    def _adopt_minted_ids(self, recorded: str, observed: str) -> bool:
        """Where only ids minted at random differ, let the live state speak of them as the recording does."""
        ours = [i for i in self.state.session.random_ids() if i in observed]
        theirs = [i for i in dict.fromkeys(MINTED_ID.findall(recorded)) if not self.world.is_record_id(i)]
        if not ours or len(ours) != len(theirs):
            return False
        in_order = sorted(ours, key=observed.index)
        names = dict(zip(in_order, theirs, strict=True))
        renamed = observed
        for old, new in names.items():
            renamed = renamed.replace(old, new)
        if compare_observation(recorded, renamed) == DRIFT:
            return False
        self.state.session.rename(names)
        return True


def recorded_results(trajectory: Trajectory) -> dict[tuple[int, int], str]:
    """Return (message index, call position) -> recorded result: each tool message answers the nearest open call."""
    results: dict[tuple[int, int], str] = {}
    open_calls: dict[str, tuple[int, int]] = {}
    for index, message in enumerate(trajectory.messages):
        for n, call in enumerate(message.get("tool_calls") or ()):
            open_calls[str(call.get("id", ""))] = (index, n)
        if message.get("role") == "tool":
            place = open_calls.pop(str(message.get("tool_call_id", "")), None)
            if place is not None:
                content = message.get("content")
                results[place] = content if isinstance(content, str) else "" if content is None else str(content)
    return results


def compare_observation(recorded: str, observed: str) -> str:
    """Return exact, normalised (numbers, key order, null fields, case of error text) or drift."""
    if recorded == observed:
        return EXACT
    if recorded.casefold().startswith("error") and recorded.casefold() == observed.casefold():
        return NORMALISED
    left, right = _without_nulls(parse_observation(recorded)), _without_nulls(parse_observation(observed))
    return NORMALISED if canonical_value(left) == canonical_value(right) else DRIFT


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def turn_report(world: World, replay: Replay, met: ReplayedTurn, action: Action | None) -> TurnReport:
    """Say what kind of turn this was and why it is no candidate, once its calls have run."""
    kind = "calls" if met.message.get("tool_calls") else "text"
    if not any(m.get("role") == "user" for m in replay.trajectory.messages[: met.message_index]):
        return TurnReport(met.turn, "scripted", met.observations, SCRIPTED_GREETING)
    if action is None or action.is_empty:
        return TurnReport(met.turn, kind, met.observations, EMPTY_DEMONSTRATION)
    dropped = ""
    if met.drifted:
        dropped = "prefix drifts"
    elif any(o.failed for o in replay.last_observed):
        dropped = "demonstration fails"
    elif kind == "calls" and _shows_nothing(world, action, replay.last_observed):
        dropped = "demonstration shows nothing"
    return TurnReport(met.turn, kind, met.observations, dropped)


def _shows_nothing(world: World, action: Action, observed: list[Observation]) -> bool:
    specs = [spec_of(world, call) for call in action.calls]
    if any(spec is None or spec.terminal or spec.kind == "write" for spec in specs):
        return False
    return not any(facts_of(o.text) for o in observed)

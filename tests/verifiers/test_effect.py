"""The effect verifier against a counter that can be made to break: whose failure it was decides the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from pivot_envs.contracts import Side
from pivot_envs.errors import RestoreError
from pivot_envs.records import Action, Candidate, Difference, Effect, InitialState, Observation, ToolCall, Trajectory
from pivot_envs.verifiers.effect import EffectVerifier


@dataclass
class Counter:
    """Adds; `explode` takes the box with it, `poison` makes every later fork of the parent fail."""

    value: int = 0
    log: list[str] = field(default_factory=list)
    dead: bool = False

    def execute(self, action: Action) -> Effect:
        for call in action.calls:
            self.log.append(call.name)
            if call.name == "explode" or self.dead:
                raise MemoryError("the box is gone")
            if call.name == "hang":
                return Effect((Observation("", True),), {}, "timed_out")
            self.value += int(call.arguments.get("n", 0))
        return Effect((Observation(str(self.value)),), {"value": self.value}, "ok")

    def fork(self) -> Counter:
        return Counter(self.value, self.log, self.dead)

    def digest(self) -> str:
        return str(self.value)

    def close(self) -> None:
        self.log.append("closed")


class CounterDomain:
    """Compares values; the demonstration adds what the trajectory says."""

    name, family, noise_runs = "counter", "counter", 1
    fingerprint: dict[str, Any] = {}

    def demonstration(self, candidate: Candidate) -> Action:
        if candidate.turn == 9:
            raise RestoreError("the recorded turn is no action")
        return add(1)

    def compare(self, candidate: Candidate, demonstrated: Side, other: Side, noise: Any) -> Difference:
        if other.effect.delta.get("value") == 13:
            raise RuntimeError("a bug of ours")
        equal = demonstrated.effect.delta == other.effect.delta
        return Difference(equal, "execution", "same_effect" if equal else "state_differs")


def add(n: int) -> Action:
    return Action(calls=(ToolCall("add", {"n": n}),))


def named(name: str) -> Action:
    return Action(calls=(ToolCall(name, {}),))


def candidate(turn: int = 0) -> Candidate:
    messages = ({"role": "user", "content": "go"}, {"role": "assistant", "content": "x"})
    return Candidate(Trajectory("t", "counter", "t", "test", messages, (), InitialState("task", "t")), turn)


@pytest.fixture
def verifier() -> EffectVerifier:
    return EffectVerifier(CounterDomain())  # type: ignore[arg-type]


def test_the_demonstration_and_identical_actions_run_once(verifier: EffectVerifier) -> None:
    state = Counter()
    verdicts = verifier.verify_group(candidate(), state, [add(1), add(1), add(2), add(2), add(1)])
    assert [v.reward for v in verdicts] == [1, 1, 0, 0, 1]
    assert state.log.count("add") == 3
    assert state.log.count("closed") == 3
    assert state.value == 0


@pytest.mark.parametrize(
    ("action", "reason"),
    [(Action(), "empty_action"), (Action(text="  \n"), "empty_action"), (Action(text="done!"), "call_expected")],
)
def test_nothing_and_words_where_a_call_was_right_are_rejected(
    verifier: EffectVerifier, action: Action, reason: str
) -> None:
    verdict = verifier.verify(candidate(), Counter(), action)
    assert (verdict.outcome, verdict.reward, verdict.reason) == ("rejected", 0.0, reason)


def test_an_action_that_takes_its_box_down_is_rejected_and_its_siblings_are_unharmed(verifier: EffectVerifier) -> None:
    verdicts = verifier.verify_group(candidate(), Counter(), [named("explode"), add(1), named("hang")])
    assert [(v.outcome, v.reward) for v in verdicts] == [("rejected", 0.0), ("accepted", 1.0), ("rejected", 0.0)]
    assert "broke its fork" in verdicts[0].reason


def test_a_state_that_fails_without_the_action_has_no_reward(verifier: EffectVerifier) -> None:
    verdicts = verifier.verify_group(candidate(), Counter(dead=True), [add(1), named("explode")])
    assert [(v.outcome, v.reward) for v in verdicts] == [("failed", None)] * 2


def test_a_bug_in_the_comparison_is_our_failure_and_never_a_zero(verifier: EffectVerifier) -> None:
    verdicts = verifier.verify_group(candidate(), Counter(), [add(13), add(1)])
    assert [(v.outcome, v.reward) for v in verdicts] == [("failed", None), ("accepted", 1.0)]


def test_a_recorded_turn_that_is_no_action_fails_its_group(verifier: EffectVerifier) -> None:
    assert verifier.verify(candidate(9), Counter(), add(1)).outcome == "failed"


def test_arguments_no_json_can_write_are_judged_all_the_same(verifier: EffectVerifier) -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    huge = Action(calls=(ToolCall("add", {"n": 0, "x": 10**5000, "y": deep}),))
    assert verifier.verify(candidate(), Counter(), huge).outcome == "rejected"

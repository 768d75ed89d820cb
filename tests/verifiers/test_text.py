"""The string baselines: what each accepts and rejects, their documented errors included."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pivot_envs.contracts import Domain, State
from pivot_envs.errors import ConfigError
from pivot_envs.records import Action, Candidate, InitialState, ToolCall, Trajectory
from pivot_envs.verifiers.text import (
    ExactVerifier,
    ToolNameVerifier,
    WordOverlapVerifier,
    exact_match,
    paper_rule,
    tool_name_match,
    word_overlap_match,
)

STATE = cast(State, None)


def call(name: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


def calls(*items: ToolCall) -> Action:
    return Action(calls=items)


CANCEL = calls(call("cancel_order", order_id="#W1", reason="no longer needed"))
CANDIDATE = Candidate(
    Trajectory("t", "retail", "1", "test", ({"role": "assistant", "content": ""},), (), InitialState("task", "1")), 0
)


def domain_showing(action: Action) -> Domain:
    """The part of a domain the baselines use."""
    return cast(Domain, SimpleNamespace(demonstration=lambda candidate: action))


VERIFIERS = [ExactVerifier, ToolNameVerifier, WordOverlapVerifier]


@pytest.mark.parametrize("make", VERIFIERS)
@pytest.mark.parametrize(
    "shown", [CANCEL, Action(text="Shall I cancel it?"), calls(CANCEL.calls[0], call("think", t="a b"))]
)
def test_every_baseline_accepts_the_demonstration_and_rejects_silence(make: Any, shown: Action) -> None:
    verifier = make(domain_showing(shown))
    verdicts = verifier.verify_group(CANDIDATE, STATE, [shown, Action(), Action(text="  \n")])
    assert [v.outcome for v in verdicts] == ["accepted", "rejected", "rejected"]
    assert verdicts[1].reason == "empty_action"


@pytest.mark.parametrize("make", VERIFIERS)
def test_talking_is_never_calling(make: Any) -> None:
    assert make(domain_showing(CANCEL)).verify(CANDIDATE, STATE, Action(text="Done")).reason == "call_expected"
    assert make(domain_showing(Action(text="Hi"))).verify(CANDIDATE, STATE, CANCEL).reason == "message_expected"


@pytest.mark.parametrize("make", VERIFIERS)
def test_a_demonstration_that_cannot_be_read_is_a_failure_and_no_reward(make: Any) -> None:
    def broken(candidate: Candidate) -> Action:
        raise ValueError("no such turn")

    verdict = make(cast(Domain, SimpleNamespace(demonstration=broken))).verify(CANDIDATE, STATE, CANCEL)
    assert verdict.outcome == "failed" and verdict.reward is None and "no such turn" in verdict.reason


def test_exact_forgives_key_order_and_number_spelling_only() -> None:
    shown = calls(call("pay", amount=5, to={"a": 1, "b": [1, 2]}))
    assert exact_match(shown, calls(call("pay", to={"b": [1, 2.0], "a": 1}, amount=5.0)))
    for other in (
        call("pay", amount=5, to={"a": 1, "b": [2, 1]}),
        call("pay", amount=5, to={"a": True, "b": [1, 2]}),
        call("pay", amount="5", to={"a": 1, "b": [1, 2]}),
        call("Pay", amount=5, to={"a": 1, "b": [1, 2]}),
    ):
        assert not exact_match(shown, calls(other))
    assert not exact_match(shown, calls(shown.calls[0], shown.calls[0]))
    assert exact_match(Action(text=" Hello "), Action(text="Hello"))
    assert not exact_match(Action(text="Hello"), Action(text="hello"))


def test_exact_keeps_the_order_of_calls_and_the_caller() -> None:
    a, b = call("a"), call("b")
    assert not exact_match(calls(a, b), calls(b, a))
    assert not exact_match(calls(a), calls(ToolCall("a", {}, requestor="user")))


def test_tool_name_looks_at_names_in_order_alone() -> None:
    assert tool_name_match(calls(call("bash", command="rm -rf /")), calls(call("bash", command="ls -la src")))
    assert not tool_name_match(calls(call("a"), call("b")), calls(call("b"), call("a")))
    assert not tool_name_match(calls(call("a")), calls(call("a"), call("a")))
    assert tool_name_match(Action(text="Yes"), Action(text="No"))


@pytest.mark.parametrize(
    ("expected", "actual", "threshold", "same"),
    [
        ("do not cancel", "cancel it do", 0.1, True),
        ("refund to the card", "reboot a router now", 0.1, False),
        ("alpha to beta", "beta to alpha", 0.3, True),
        ("rm -rf /workspace", "ls -la /data", 0.0, True),
        ("paris", "Paris", 0.0, False),
        ("two words", "one", 0.0, False),
        ("same words here", "same words here", 0.5, True),
        (5, 5.0, 0.1, False),
        (5.0, 5, 0.1, False),
        (1, True, 0.1, True),
        (True, 1, 0.1, False),
        (1.0, 1.0 + 5e-7, 0.1, True),
        (1e12, 1e12 + 0.5, 0.1, False),
        (float("nan"), float("nan"), 0.1, False),
        (None, "None", 0.1, False),
        ([1, 2], [2, 1], 0.1, False),
        ([1, 2], [1, 2, 3], 0.1, False),
        ({"a": 1}, {"a": 1, "b": None}, 0.1, False),
        ("3", 3, 0.1, False),
    ],
)
def test_word_overlap_compares_values_as_released(expected: Any, actual: Any, threshold: float, same: bool) -> None:
    assert word_overlap_match(calls(call("f", x=expected)), calls(call("f", x=actual)), threshold) is same


def test_word_overlap_lets_surplus_calls_and_any_message_pass() -> None:
    junk = tuple(call(f"delete_{i}") for i in range(50))
    assert word_overlap_match(CANCEL, calls(*junk, *CANCEL.calls), 0.1)
    assert not word_overlap_match(CANCEL, calls(*junk), 0.1)
    assert word_overlap_match(Action(text="Shall I cancel?"), Action(text="banana"), 0.1)


def test_word_overlap_needs_a_call_of_its_own_for_each_of_a_batch() -> None:
    wide, narrow = call("f", x="a b c d"), call("f", x="a b")
    assert word_overlap_match(calls(wide, narrow), calls(narrow, wide), 0.1)
    assert not word_overlap_match(calls(narrow, narrow), calls(narrow), 0.1)
    assert not word_overlap_match(
        calls(call("f", x="p"), call("f", x="q")), calls(call("f", x="p"), call("f", x="p")), 0.1
    )


@pytest.mark.parametrize("threshold", [0.51, -0.1, float("nan"), "0.1", True])
def test_a_threshold_that_identical_text_cannot_reach_is_refused(threshold: Any) -> None:
    with pytest.raises(ConfigError, match="must lie in 0.0 to 0.5"):
        WordOverlapVerifier(domain_showing(CANCEL), threshold)


def test_paper_rule_names_the_rule_of_each_family() -> None:
    domain = domain_showing(CANCEL)
    assert {f: (paper_rule(f, domain).name, dict(paper_rule(f, domain).config)) for f in ("tau2", "swe", "browse")} == {
        "tau2": ("word_overlap", {"threshold": 0.1}),
        "swe": ("tool_name", {}),
        "browse": ("word_overlap", {"threshold": 0.3}),
    }
    with pytest.raises(ConfigError, match="comes with that domain"):
        paper_rule("terminal", domain)
    with pytest.raises(ConfigError, match="Did you mean 'tau2'"):
        paper_rule("tau3", domain)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("make", VERIFIERS)
def test_no_argument_a_model_writes_raises(make: Any) -> None:
    hostile = [
        10**5000,
        -(10**5000),
        float("nan"),
        float("inf"),
        "\ud800",
        "x" * 1_000_000,
        _nested(100_000),
        {"\ud800": None},
        b"raw",
    ]
    for value in hostile:
        shown = calls(call("f", x=value))
        verifier = make(domain_showing(shown))
        twin = calls(call("f", x=_nested(100_000) if isinstance(value, list) else value))
        for action in (shown, twin, CANCEL, calls(call("f", x=10**5000))):
            assert verifier.verify(CANDIDATE, STATE, action).outcome in ("accepted", "rejected")

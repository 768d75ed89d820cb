"""Scripted policies: repeatable, honest about difficulty, and wrong in the ways they say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from pivot_envs.actions import decode
from pivot_envs.contracts import Prompt
from pivot_envs.errors import ConfigError, MalformedAction
from pivot_envs.policy import NoisyDemonstrationPolicy, ScriptedPolicy, derive_seed
from pivot_envs.records import Action, Sampling, ToolCall

DEMONSTRATION = Action(calls=(ToolCall("pay", {"amount": 5, "account": "A1", "urgent": False}),))
TOOLS = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in {
        "pay": {"amount": {"type": "integer"}, "account": {"type": "string"}, "urgent": {"type": "boolean"}},
        "close": {"account": {"type": "string"}, "reason": {"enum": ["moved", "other"]}, "n": {"type": "number"}},
    }.items()
)


def prompts(count: int, tools: tuple[dict[str, Any], ...] = TOOLS) -> list[Prompt]:
    return [Prompt(f"d/t{i}/0", ({"role": "user", "content": "hi"},), tools) for i in range(count)]


Tools = tuple[dict[str, Any], ...]


def written(policy: ScriptedPolicy, count: int, n: int, seed: int = 0, tools: Tools = TOOLS) -> list[list[str]]:
    return [[one.text for one in group] for group in policy.sample(prompts(count, tools), n, Sampling(), seed)]


def kind(text: str, demonstrated: Action = DEMONSTRATION) -> str:
    try:
        action = decode(text)
    except MalformedAction:
        return "malformed"
    if action.key == demonstrated.key:
        return "right"
    if not action.calls:
        return "text"
    return "argument" if action.calls[0].name == "pay" else "other tool"


def test_seeds_differ_by_every_part_and_never_between_processes() -> None:
    assert derive_seed(0, "d/a/1", 2) == 651_938_864
    assert len({derive_seed(s, p, i) for s in range(3) for p in ("d/a/1", "d/a/11") for i in range(3)}) == 18
    assert derive_seed("a", "bc") != derive_seed("ab", "c")
    assert derive_seed("\ud800") >= 0


def test_a_script_is_repeatable_and_a_sample_depends_on_its_own_id_and_index_alone() -> None:
    policy = ScriptedPolicy(lambda prompt, rng: str(rng.random()), name="dice", fingerprint="1")
    ten = written(policy, 10, 4)
    assert ten == written(policy, 10, 4)
    assert written(policy, 3, 2) == [group[:2] for group in ten[:3]]
    assert ten != written(policy, 10, 4, seed=1)
    assert len({text for group in ten for text in group}) == 40


def test_without_noise_every_sample_is_an_equal_form_of_the_demonstration() -> None:
    texts = [t for group in written(NoisyDemonstrationPolicy(lambda _: DEMONSTRATION, noise=0), 20, 8) for t in group]
    assert {kind(text) for text in texts} == {"right"}
    assert len(set(texts)) > 20


def test_full_noise_never_writes_it_and_is_wrong_in_every_way() -> None:
    texts = [t for group in written(NoisyDemonstrationPolicy(lambda _: DEMONSTRATION, noise=1), 50, 8) for t in group]
    counted = Counter(kind(text) for text in texts)
    assert set(counted) == {"malformed", "text", "argument", "other tool"}
    assert min(counted.values()) > 40


def test_some_candidates_are_always_solved_some_never_and_some_mixed() -> None:
    policy = NoisyDemonstrationPolicy(lambda _: DEMONSTRATION)
    rates = [sum(kind(text) == "right" for text in group) / 16 for group in written(policy, 500, 16)]
    dead = Counter(rate for rate in rates if rate in (0, 1))
    assert dead[0] / 500 == pytest.approx(0.36, abs=0.06)
    assert dead[1] / 500 == pytest.approx(0.36, abs=0.06)
    assert sum(rates) / 500 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("mixed", [0.0, 0.3, 1.0])
def test_the_mean_error_rate_runs_from_none_to_all_with_the_noise(noise: float, mixed: float) -> None:
    policy = NoisyDemonstrationPolicy(lambda _: DEMONSTRATION, noise=noise, mixed=mixed)
    rates = [policy.error_rate(f"d/t{i}/0") for i in range(4000)]
    assert min(rates) >= 0 and max(rates) <= 1
    if noise in (0, 0.5, 1):
        assert sum(rates) / 4000 == pytest.approx(noise, abs=0.03)


def test_text_and_callless_demonstrations_and_empty_tools_are_spoiled_too() -> None:
    for action in (Action(text="Your line is fine."), Action(calls=(ToolCall("pay", {}),)), Action()):
        for tools in (TOOLS, ()):
            policy = NoisyDemonstrationPolicy(lambda _, action=action: action, noise=1)
            for text in (t for group in written(policy, 20, 4, tools=tools) for t in group):
                assert kind(text, action) != "right"
            policy = NoisyDemonstrationPolicy(lambda _, action=action: action, noise=0)
            for text in (t for group in written(policy, 5, 4, tools=tools) for t in group):
                assert kind(text, action) == "right"


def test_odd_tool_schemas_do_no_harm() -> None:
    odd = ({"name": "close"}, {"function": {"name": 7, "parameters": None}}, {"function": {"name": "x", "parameters":
            {"properties": {"a": None, "b": {"type": ["string", "null"]}, "c": {"enum": []}}}}})  # fmt: skip
    written(NoisyDemonstrationPolicy(lambda _: DEMONSTRATION, noise=1), 50, 8, tools=odd)


def test_the_fingerprint_follows_the_parameters() -> None:
    def of(**fields: float) -> str:
        return NoisyDemonstrationPolicy(lambda _: DEMONSTRATION, **fields).fingerprint  # type: ignore[arg-type]

    assert of() == of()
    assert len({of(), of(noise=0.4), of(mixed=0.2), of(reworded=0.1), of(seed=1)}) == 5


def test_shares_outside_0_to_1_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"noise is 1.5; expected a share between 0 and 1"):
        NoisyDemonstrationPolicy(lambda _: DEMONSTRATION, noise=1.5)


def test_drawing_two_and_two_more_gives_what_drawing_four_gives() -> None:
    policy = ScriptedPolicy(lambda prompt, rng: str(rng.random()), name="dice", fingerprint="1")
    asked = [Prompt("d/t/0", (), ()), Prompt("d/t/1", (), ())]
    halves = zip(policy.sample(asked, 2, Sampling(), 5), policy.sample(asked, 2, Sampling(), 5, 2), strict=True)
    assert [one + other for one, other in halves] == list(policy.sample(asked, 4, Sampling(), 5))


def test_a_local_model_draws_two_and_two_more_as_it_draws_four() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    from pivot_envs.trainer.tiny import tiny_model

    policy = tiny_model(["yes no maybe"] * 10, width=32, layers=1)
    asked = [Prompt("d/t/0", ({"role": "user", "content": "well?"},), ())]
    whole = next(policy.sample(asked, 4, Sampling(max_tokens=8), 5))
    halves = [next(policy.sample(asked, 2, Sampling(max_tokens=8), 5, first)) for first in (0, 2)]
    assert [one.token_ids for half in halves for one in half] == [one.token_ids for one in whole]
    assert len({one.token_ids for one in whole}) > 1

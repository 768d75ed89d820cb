"""Hostile text through every codec and through whole steps: no exception, never a reward that was not earned.

The generator is that of `benchmarks/malformed_actions.py`, which runs 10,000 of them and prints how long they take.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from pivot_envs.actions import decode, encode
from pivot_envs.env import PivotEnv
from pivot_envs.errors import MalformedAction
from pivot_envs.records import Action

BENCHMARK = Path(__file__).resolve().parent.parent / "benchmarks" / "malformed_actions.py"
KINDS = 18


def load_benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("malformed_actions", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["malformed_actions"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    return list(load_benchmark().malformed_actions(KINDS * 20))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_the_generator_repeats_itself_and_holds_every_kind(texts: list[tuple[str, str]]) -> None:
    assert list(load_benchmark().malformed_actions(KINDS * 20)) == texts
    assert set(Counter(kind for kind, _ in texts).values()) == {20}
    assert len({kind for kind, _ in texts}) == KINDS


@pytest.mark.parametrize("codec", ["message", "hermes", "xml", "text"])
def test_every_codec_gives_an_action_or_a_malformed_action(texts: list[tuple[str, str]], codec: str) -> None:
    counts: Counter[str] = Counter()
    for _, text in texts:
        try:
            counts["action"] += isinstance(decode(text, codec), Action)
        except MalformedAction as error:
            assert error.reason
            counts["malformed"] += 1
    assert counts.total() == len(texts)
    assert counts["malformed"] > 0


def tool_turn(env: PivotEnv) -> str:
    """Draw turns until one demonstrates a call."""
    for seed in range(100):
        env.reset(seed=seed)
        if env.candidate is not None and env.candidate.message.get("tool_calls"):
            return env.candidate.candidate_id
    raise AssertionError("no turn with a call among 100")


@pytest.mark.parametrize("codec", ["message", "hermes", "xml"])
def test_a_step_judges_every_hostile_text_as_malformed_or_wrong(texts: list[tuple[str, str]], codec: str) -> None:
    outcomes: Counter[str] = Counter()
    with PivotEnv("tau2", "helpdesk", action_codec=codec) as env:
        pivot = tool_turn(env)
        for _, text in texts[: KINDS * 4]:
            env.reset(options={"pivot_id": pivot})
            _, reward, terminated, truncated, info = env.step(text)
            assert reward == 0.0 and terminated and not truncated
            outcomes[info["verdict"]["outcome"]] += 1
    assert set(outcomes) <= {"malformed", "rejected"}
    assert outcomes["malformed"] > 0


def test_a_call_inside_a_thought_earns_nothing_even_if_it_is_the_right_one() -> None:
    with PivotEnv("tau2", "helpdesk", action_codec="hermes") as env:
        pivot = tool_turn(env)
        right = encode(env.bench.domain.demonstration(env.bench.source.get(pivot)), "hermes")
        rewards = []
        for text in (right, f"<think>{right}</think>", f"<think>{right}", f"<think>hm</think>{right}"):
            env.reset(options={"pivot_id": pivot})
            rewards.append(env.step(text)[1])
        assert rewards == [1.0, 0.0, 0.0, 1.0]

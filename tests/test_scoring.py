"""Scorer: grouping, counting, failures, order; on the to-do list of the docs."""

import asyncio
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import toy_domain  # noqa: E402

from pivot_envs.actions import HermesCodec, encode  # noqa: E402
from pivot_envs.bench import VERIFIERS  # noqa: E402
from pivot_envs.env import PivotEnv  # noqa: E402
from pivot_envs.errors import ConfigError, UnknownPivot  # noqa: E402
from pivot_envs.records import Action, ToolCall  # noqa: E402
from pivot_envs.scoring import Scorer  # noqa: E402


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def counting(tag: str, **arguments: Any) -> Scorer:
    """A scorer on a domain of its own, its counts at zero."""
    toy_domain.CountingState.executed.clear()
    return Scorer("todo-counting", domain_options={"tag": tag}, **arguments)


def added(item: str) -> str:
    return encode(Action(calls=(ToolCall("add_item", {"item": item}),)))


def test_a_pivot_is_restored_once_and_identical_actions_run_once() -> None:
    scorer = counting("once")
    pivot_id = "todo-counting/task-0-0/1"
    right = encode(scorer.bench.domain.demonstration(scorer.candidate(pivot_id)))
    right_call = scorer.bench.domain.demonstration(scorer.candidate(pivot_id)).key
    before = scorer.bench.domain.restores
    toy_domain.CountingState.executed.clear()
    verdicts = scorer.score([pivot_id] * 16, [right, added("x"), "no json", right] * 4)
    assert [verdict.reward for verdict in verdicts] == [1.0, 0.0, 0.0, 1.0] * 4
    assert scorer.bench.domain.restores - before == 1
    wrong_call = Action(calls=(ToolCall("add_item", {"item": "x"}),)).key
    assert toy_domain.CountingState.executed == {right_call: 2, wrong_call: 1}, "demonstration + two distinct actions"
    counts = scorer.counts
    assert (counts.groups, counts.restores, counts.judged) == (1, 1, 2)
    assert counts.outcomes == {"accepted": 8, "rejected": 4, "malformed": 4}


def test_malformed_actions_alone_restore_and_execute_nothing() -> None:
    scorer = counting("malformed")
    scorer.candidate("todo-counting/task-0-0/1")  # replays the trajectory once, to see which turns are candidates
    before = scorer.bench.domain.restores
    toy_domain.CountingState.executed.clear()
    hostile = ["", "{", "[" * 200_000, None, 3, b"x", {"role": "user", "content": "x"}, "\ud800", added("x")[:-1]]
    verdicts = scorer.score(["todo-counting/task-0-0/1"] * len(hostile), hostile)
    assert {(verdict.outcome, verdict.reward) for verdict in verdicts} == {("malformed", 0.0)}
    assert scorer.bench.domain.restores == before
    assert not toy_domain.CountingState.executed


def test_verdicts_come_in_the_order_of_the_pairs() -> None:
    scorer = Scorer("todo")
    ids = scorer.ids()[:24]
    own = [scorer.candidate(pivot_id).message for pivot_id in ids]
    mixed = [*ids, *reversed(ids)]
    verdicts = scorer.score(mixed, [*own, *own])
    assert [v.reward for v in verdicts[:24]] == [1.0] * 24
    pairs = zip(mixed, [*own, *own], strict=True)
    singly = [scorer.score([pivot_id], [action])[0].outcome for pivot_id, action in pairs]
    assert [v.outcome for v in verdicts] == singly


def test_threads_and_the_event_loop_give_the_same_verdicts() -> None:
    ids = Scorer("todo").ids()[:40]
    serial, threaded = Scorer("todo"), Scorer("todo", workers=4)
    actions = [serial.candidate(pivot_id).message for pivot_id in ids[::-1]]
    expected = [(v.outcome, v.reward, v.reason) for v in serial.score(ids, actions)]
    assert [(v.outcome, v.reward, v.reason) for v in threaded.score(ids, actions)] == expected

    async def both() -> list[Any]:
        return await asyncio.gather(*(scorer.score_async(ids, actions) for scorer in (serial, threaded, serial)))

    for verdicts in asyncio.run(both()):
        assert [(v.outcome, v.reward, v.reason) for v in verdicts] == expected
    assert sum(threaded.counts.outcomes.values()) == 2 * len(ids)


@pytest.mark.parametrize("fail", ["restore", "execute"])
def test_a_group_whose_state_is_lost_is_tried_once_more_and_then_failed(fail: str) -> None:
    scorer = Scorer("todo-broken", domain_options={"fail": fail, "tag": "scoring"})
    pivot_id = "todo-broken/task-0-0/1"
    before = scorer.bench.domain.restores
    verdicts = scorer.score([pivot_id] * 3, [added("x"), scorer.candidate(pivot_id).message, "no json"])
    assert [(v.outcome, v.reward) for v in verdicts] == [("failed", None), ("failed", None), ("malformed", 0.0)]
    assert "planted" in verdicts[0].reason
    assert scorer.bench.domain.restores - before == 2 == scorer.counts.restores


def test_a_state_that_is_lost_once_costs_nothing_but_time() -> None:
    scorer = Scorer("todo-broken", domain_options={"fail": "restore", "times": 1, "tag": "once"})
    pivot_id = "todo-broken/task-0-0/1"
    assert scorer.score([pivot_id], [scorer.candidate(pivot_id).message])[0].reward == 1.0


def test_one_lost_pivot_does_not_touch_its_neighbours() -> None:
    scorer = Scorer("todo-broken", domain_options={"fail": "restore", "times": 2, "tag": "neighbours"})
    ids = ["todo-broken/task-0-0/1", "todo-broken/task-0-0/2"]
    verdicts = scorer.score(ids, [scorer.candidate(pivot_id).message for pivot_id in ids])
    assert [verdict.reward for verdict in verdicts] == [None, 1.0]


def test_an_action_that_takes_its_fork_down_is_rejected_and_its_siblings_are_unharmed() -> None:
    scorer = Scorer("todo-talking")
    pivot_id = "todo-talking/task-0-0/1"
    actions = [added("poison"), scorer.candidate(pivot_id).message, added("x"), added("poison")]
    verdicts = scorer.score([pivot_id] * 4, actions)
    assert [(v.outcome, v.reward) for v in verdicts] == [
        ("rejected", 0.0), ("accepted", 1.0), ("rejected", 0.0), ("rejected", 0.0)
    ]
    assert "broke its fork" in verdicts[0].reason


def test_an_unknown_id_stops_before_anything_runs() -> None:
    scorer = counting("unknown")
    before = scorer.bench.domain.restores
    with pytest.raises(UnknownPivot, match="Did you mean"):
        scorer.score(["todo-counting/task-0-0/1", "todo-counting/task-0-0x/1"], [added("x"), added("x")])
    assert scorer.bench.domain.restores == before


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 pivot ids for 1 actions"):
        Scorer("todo").score(["a", "b"], ["x"])
    with pytest.raises(ConfigError, match="workers is 0"):
        Scorer("todo", workers=0)
    assert Scorer("todo").score([], []) == []


def test_the_prompt_holds_what_stands_before_the_turn_and_the_tools() -> None:
    scorer = Scorer("todo")
    prompt = scorer.prompt("todo/task-0-0/1")
    candidate = scorer.candidate("todo/task-0-0/1")
    assert prompt.prompt_id == "todo/task-0-0/1"
    assert prompt.messages == candidate.prefix
    assert [tool["function"]["name"] for tool in prompt.tools] == ["list_items", "add_item", "finish_item"]
    with pytest.raises(ConfigError, match="no prompt style 'tiny'"):
        scorer.prompt("todo/task-0-0/1", style="tiny")


def test_another_codec_reads_the_same_actions() -> None:
    for codec in ("hermes", "xml", HermesCodec()):
        scorer = Scorer("todo", action_codec=codec)
        pivot_id = "todo/task-0-0/1"
        action = scorer.bench.domain.demonstration(scorer.candidate(pivot_id))
        written = encode(action, codec, tools=scorer.prompt(pivot_id).tools)
        verdicts = scorer.score([pivot_id] * 3, [written, action, encode(action)])
        assert [(v.outcome, v.reward) for v in verdicts[:2]] == [("accepted", 1.0)] * 2
        assert verdicts[2].reward == 0.0, "JSON of a message is plain text to this codec"


def test_the_environment_gives_the_same_reward_as_the_scorer() -> None:
    scorer, env = Scorer("todo"), PivotEnv("todo", split="all")
    ids = scorer.ids()[::7]
    pool = [added("buy milk"), encode(Action(text="All right, done: buy milk.")), "", encode(Action())]
    for pivot_id in ids:
        actions = [scorer.candidate(pivot_id).message, *pool]
        for action, verdict in zip(actions, scorer.score([pivot_id] * 5, actions), strict=True):
            env.reset(options={"pivot_id": pivot_id})
            assert env.step(action)[1] == verdict.reward
            assert env.verdict is not None and env.verdict.reason == verdict.reason


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_verifier_is_found_by_name_and_accepts_the_demonstration(name: str) -> None:
    if name != "effect":
        pytest.importorskip("pivot_envs.verifiers.text")
    if name == "paper":
        pytest.skip("the paper has no rule for to-do lists; tests/verifiers hold its rules")
    scorer = Scorer("todo", verifier=name)
    ids = scorer.ids()[:6]
    verdicts = scorer.score(ids, [scorer.candidate(pivot_id).message for pivot_id in ids])
    called = [bool(scorer.candidate(pivot_id).message.get("tool_calls")) for pivot_id in ids]
    assert all(verdict.reward == 1.0 for verdict, call in zip(verdicts, called, strict=True) if call), verdicts
    assert all(verdict.outcome in ("accepted", "abstained") for verdict in verdicts), verdicts


def test_a_pickled_scorer_scores_the_same() -> None:
    scorer = Scorer("todo", action_codec=HermesCodec(), workers=2)
    pivot_id = "todo/task-0-0/1"
    actions = [encode(scorer.bench.domain.demonstration(scorer.candidate(pivot_id)), "hermes"), "Hello.", "<tool_call>"]
    again = pickle.loads(pickle.dumps(scorer))
    found = [[(v.outcome, v.reason) for v in each.score([pivot_id] * 3, actions)] for each in (scorer, again)]
    assert found[0] == found[1] and found[0][0][0] == "accepted"
    assert again.workers == 2 and again.counts.groups == 1


@pytest.mark.parametrize("verifier", [v for v in VERIFIERS if v != "paper"])
def test_a_call_in_the_users_name_earns_nothing_from_any_verifier(verifier: str) -> None:
    scorer = Scorer("todo", verifier=verifier)
    pivot_id = "todo/task-0-0/1"
    demonstrated = scorer.bench.domain.demonstration(scorer.candidate(pivot_id))
    users = Action(calls=tuple(ToolCall(c.name, c.arguments, c.id, "user") for c in demonstrated.calls))
    verdict = scorer.score([pivot_id], [users])[0]
    assert (verdict.outcome, verdict.reward, verdict.reason) == ("rejected", 0.0, "wrong_requestor")


@pytest.mark.parametrize(("pivot_ids", "actions"), [(5, 5), (["todo/task-0-0/1"], "x"), ("x", ["x"]), ({}, {})])
def test_what_is_no_list_of_pairs_is_refused(pivot_ids: Any, actions: Any) -> None:
    with pytest.raises(ConfigError, match="expected a list, one entry for each action"):
        Scorer("todo").score(pivot_ids, actions)

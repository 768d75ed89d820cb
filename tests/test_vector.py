"""Vector environments: sync and async, one pivot each, failures of ours as NaN."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

sys.path.insert(0, str(Path(__file__).resolve().parent))

import toy_domain  # noqa: E402, F401 - registers the family todo

from pivot_envs.actions import encode  # noqa: E402
from pivot_envs.errors import ConfigError, UnknownPivot  # noqa: E402
from pivot_envs.records import Action, ToolCall  # noqa: E402
from pivot_envs.scoring import Scorer  # noqa: E402
from pivot_envs.vector import make_vec  # noqa: E402

IDS = ["todo/task-0-0/1", "todo/task-1-0/2", "todo/task-2-1/3"]
BROKEN_ID = "PivotTodoBroken-v0"

pytestmark = pytest.mark.filterwarnings("ignore:.*The reward is a NaN value.*", "ignore:.*use of fork.*")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module", autouse=True)
def broken_environment() -> Iterator[None]:
    gymnasium.register(BROKEN_ID, "pivot_envs.env:PivotEnv", kwargs={"family": "todo-broken"})
    yield
    del gymnasium.registry[BROKEN_ID]


def wrong() -> str:
    return encode(Action(calls=(ToolCall("add_item", {"item": "something else"}),)))


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_each_sub_environment_draws_from_its_own_pivots(mode: str) -> None:
    scorer = Scorer("todo")
    right = [encode(scorer.bench.domain.demonstration(scorer.candidate(each))) for each in IDS]
    envs = make_vec("PivotTodo-v0", pivot_ids=IDS, mode=mode)
    try:
        observation, info = envs.reset(seed=0)
        assert list(info["pivot_id"]) == IDS
        assert [len(each) for each in observation["messages"]] == [
            len(scorer.candidate(each).prefix) for each in IDS
        ]
        _, rewards, terminated, truncated, info = envs.step([right[0], wrong(), right[2]])
        assert rewards.tolist() == [1.0, 0.0, 1.0]
        assert terminated.tolist() == [True] * 3 and not truncated.any()
        final = info["final_info"]
        assert list(final["verdict"]["outcome"]) == ["accepted", "rejected", "accepted"]
        assert final["verdict"]["reward"].tolist() == [1.0, 0.0, 1.0]
        assert list(info["pivot_id"]) == IDS, "the same step has already gone to the next episode"
        assert envs.step([right[0], right[1], "no json"])[1].tolist() == [1.0, 1.0, 0.0]
    finally:
        envs.close()


def test_shares_are_dealt_out_or_named() -> None:
    with make_closing(pivot_ids=[*IDS, "todo/task-3-0/1"], num_envs=2) as envs:
        found = [each.unwrapped.bench.source.ids() for each in envs.envs]
        assert found == [[IDS[0], IDS[2]], [IDS[1], "todo/task-3-0/1"]]
    with make_closing(shards=[IDS[:2], IDS[2:]]) as envs:
        assert [each.unwrapped.bench.source.ids() for each in envs.envs] == [IDS[:2], IDS[2:]]
    with make_closing(num_envs=2) as envs:
        first, second = envs.reset(seed=0)[1]["pivot_id"]
        assert first != second
        assert envs.envs[0].unwrapped.bench.source.recordings is envs.envs[1].unwrapped.bench.source.recordings


class make_closing:  # noqa: N801 - reads as a call
    """A sync vector environment that is closed at the end of a block."""

    def __init__(self, **arguments: Any) -> None:
        self.envs = make_vec("PivotTodo-v0", **arguments)

    def __enter__(self) -> Any:
        return self.envs

    def __exit__(self, *_: object) -> None:
        self.envs.close()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_envs": 2, "shared_memory": True}, "shared_memory=True cannot hold chat messages.*shared_memory=False"),
        ({"pivot_ids": IDS, "shards": [IDS]}, "pass one of them"),
        ({"pivot_ids": IDS, "num_envs": 4}, "3 pivot_ids for num_envs=4"),
        ({"shards": [IDS, []]}, "at least one id for each"),
        ({"shards": [IDS], "num_envs": 2}, "1 shards"),
        ({}, "num_envs is None"),
        ({"num_envs": 2, "mode": "asynch"}, "mode is 'asynch'.* Did you mean 'async'"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_vec("PivotTodo-v0", **arguments)


def test_an_unknown_pivot_is_named_when_the_turn_is_drawn() -> None:
    with make_closing(pivot_ids=["todo/task-0-0/1", "todo/task-0-0/77"]) as envs, pytest.raises(
        UnknownPivot, match="turns 0 to 12"
    ):
        envs.reset()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasium_s_own_make_vec_works_without_shared_memory(mode: str) -> None:
    arguments = {"shared_memory": False} if mode == "async" else {}
    envs = gymnasium.make_vec("PivotTodo-v0", 2, vectorization_mode=mode, vector_kwargs=arguments)
    try:
        assert set(envs.reset(seed=1, options={"pivot_id": IDS[0]})[1]["pivot_id"]) == {IDS[0]}
        assert envs.step(["x", wrong()])[1].tolist() == [0.0, 0.0]
        envs.step(["", ""])
    finally:
        envs.close()


def test_gymnasium_s_shared_memory_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="shared_memory"):
        gymnasium.make_vec("PivotTodo-v0", 2, vectorization_mode="async")


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("autoreset", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("fail", ["restore", "execute"])
def test_nan_rewards_break_neither_vectors_nor_statistics(mode: str, autoreset: AutoresetMode, fail: str) -> None:
    ids = ["todo-broken/task-0-0/1", "todo-broken/task-0-0/2"]
    options = {"fail": fail, "tag": f"{mode} {autoreset} {fail}"}
    inner = make_vec(BROKEN_ID, pivot_ids=ids, mode=mode, autoreset=autoreset, domain_options=options)
    envs = RecordEpisodeStatistics(inner) if autoreset == AutoresetMode.NEXT_STEP else inner
    try:
        envs.reset(seed=0)
        for _ in range(3):
            _, rewards, terminated, truncated, info = envs.step([wrong(), "no json"])
            if autoreset == AutoresetMode.SAME_STEP or truncated.any():
                assert np.isnan(rewards[0]) and rewards[1] == 0.0
                assert truncated.tolist() == [True, False] and terminated.tolist() == [False, True]
                found = info.get("final_info", info)
                assert list(found["verdict"]["outcome"]) == ["failed", "malformed"]
    finally:
        envs.close()


def test_infos_of_every_kind_fit_into_one_vector_info_whatever_comes_first() -> None:
    scorer = Scorer("todo")
    right = encode(scorer.bench.domain.demonstration(scorer.candidate(IDS[0])))
    unknown = encode(Action(calls=(ToolCall("x", {}),)))
    kinds = [right, wrong(), "no json", encode(Action()), encode(Action(text="x")), unknown]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = make_vec("PivotTodo-v0", shards=[[IDS[0]]] * len(kinds))
        for shift in range(len(kinds)):
            envs.reset()
            actions = [*kinds[shift:], *kinds[:shift]]
            rewards = envs.step(actions)[1]
            assert rewards.tolist() == [float(action == right) for action in actions]
        envs.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"pivot_ids": 5}, "pivot_ids is 5; expected a list"),
        ({"pivot_ids": IDS[0]}, "pivot_ids is .*; expected a list"),
        ({"shards": 5}, "shards is 5; expected a list"),
        ({"shards": IDS}, "shards is .*; expected a list of lists"),
        ({"num_envs": "2"}, "num_envs is '2'; expected a number"),
        ({"num_envs": True}, "num_envs is True; expected a number"),
        ({"mode": ["sync"]}, "mode is .*; expected sync or async"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_vec("PivotTodo-v0", **arguments)

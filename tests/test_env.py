"""PivotEnv as Gymnasium sees it: spaces, seeds, options, endings, failures; on the to-do list of the docs, and on every
shipped environment that can be made here."""

import gc
import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics

sys.path.insert(0, str(Path(__file__).resolve().parent))

import toy_domain  # noqa: E402, F401 - registers the family todo

import pivot_envs  # noqa: E402
from pivot_envs.actions import encode  # noqa: E402
from pivot_envs.env import PivotEnv  # noqa: E402
from pivot_envs.errors import ConfigError, FingerprintMismatch, MissingDependency, UnknownPivot  # noqa: E402
from pivot_envs.pivots import PivotHeader, write_pivots  # noqa: E402
from pivot_envs.records import Action, Pivot, ToolCall  # noqa: E402
from pivot_envs.scoring import Scorer  # noqa: E402
from pivot_envs.trajectories import read_trajectories, write_trajectories  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
CALL = "todo/task-0-0/1"
"""A turn with a call; the turn after it is text."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def make(family: str = "todo", **arguments: Any) -> PivotEnv:
    return PivotEnv(family, **arguments)


def demonstration(env: PivotEnv) -> str:
    assert env.candidate is not None
    return encode(env.bench.domain.demonstration(env.candidate))


def wrong() -> str:
    return encode(Action(calls=(ToolCall("add_item", {"item": "something else"}),)))


def shipped(env_id: str, **arguments: Any) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(env_id, **arguments)
    except MissingDependency as error:
        pytest.skip(str(error))
    except ConfigError as error:
        if "does not ship the family" not in str(error):
            raise
        pytest.skip(str(error))


# --- what Gymnasium asks for ---


@pytest.mark.parametrize("env_id", ["PivotTodo-v0", *pivot_envs.ENV_IDS])
@pytest.mark.parametrize("horizon", [1, 3, None])
def test_check_env_is_clean_with_warnings_as_errors(env_id: str, horizon: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = shipped(env_id, horizon=horizon)
        check_env(env.unwrapped)
        env.close()


def test_an_observation_may_hold_any_script_line_breaks_and_emoji() -> None:
    env = make()
    for pivot_id in env.bench.source.ids():
        observation, _ = env.reset(options={"pivot_id": pivot_id})
        assert observation in env.observation_space
        if any("买茶 ☕\nand cups" in str(m.get("content")) for m in observation["messages"]):
            break
    else:
        pytest.fail("no demonstration mentions tea")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make("PivotTodo-v0", pivot_ids=[pivot_id]).unwrapped)
    observation, *_ = env.step(encode(Action(text="好的\n☕🫖")))
    assert observation in env.observation_space


@pytest.mark.parametrize("env_id", ["PivotTodo-v0", *pivot_envs.ENV_IDS])
def test_the_spec_survives_json(env_id: str) -> None:
    text = gymnasium.spec(env_id).to_json()
    assert gymnasium.envs.registration.EnvSpec.from_json(text) == gymnasium.spec(env_id)
    if env_id == "PivotTodo-v0":
        env = gymnasium.make(env_id, horizon=None, pivot_ids=[CALL], verifier="effect")
        again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
        assert again.reset(seed=0)[1] == env.reset(seed=0)[1]


def test_registering_again_changes_and_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pivot_envs.register_envs()
        gymnasium.register_envs(pivot_envs)
    assert set(pivot_envs.ENV_IDS) <= set(gymnasium.registry)


@pytest.mark.parametrize("env_id", pivot_envs.ENV_IDS)
def test_the_docstring_has_every_heading(env_id: str) -> None:
    module, _, name = str(gymnasium.spec(env_id).entry_point).partition(":")
    entry = vars(sys.modules[module])[name]
    headings = [line.strip()[3:] for line in entry.__doc__.splitlines() if line.strip().startswith("## ")]
    assert headings == [
        "Description", "Action", "Observation", "Pivot state", "Reward", "Episode end", "Information", "Arguments",
        "References", "Version history",
    ]


def test_the_docstring_names_every_argument_and_every_key_of_info() -> None:
    arguments = PivotEnv.__init__.__annotations__.keys() - {"return"}
    env = make()
    _, info = env.reset(seed=0)
    info |= env.step("")[4]
    missing = [name for name in (*arguments, *info) if f"`{name}`" not in (PivotEnv.__doc__ or "")]
    assert missing == []


# --- importing ---


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env)


def test_importing_the_package_loads_nothing_heavy(record_property: Any) -> None:
    done = run_python(
        "import sys, time; start = time.process_time(); import gymnasium; gym = time.process_time() - start\n"
        "start = time.process_time(); import pivot_envs; ours = time.process_time() - start\n"
        "heavy = {'torch', 'transformers', 'docker', 'openai', 'tau2', 'pandas', 'litellm', 'pydantic', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), f'CPU seconds: gymnasium {gym:.3f}, pivot_envs {ours:.3f}')",
        OPENBLAS_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr
    record_property("import", done.stdout.strip())
    assert done.stdout.startswith("[] ")


def test_the_bare_id_needs_the_import_and_the_prefixed_one_does_not() -> None:
    done = run_python(
        "import gymnasium\n"
        "try:\n    gymnasium.spec('PivotTau2-v0')\nexcept gymnasium.error.NameNotFound:\n    print('unknown before')\n"
        "import pivot_envs\nprint(gymnasium.spec('PivotTau2-v0').kwargs)"
    )
    assert done.stdout.splitlines() == ["unknown before", "{'family': 'tau2'}"], done.stderr
    

def test_gym_make_with_the_prefix_alone_gives_a_working_service_desk() -> None:
    shipped("PivotTau2-v0").close()
    done = run_python(
        "import warnings; warnings.simplefilter('error')\nimport gymnasium\n"
        "env = gymnasium.make('pivot_envs:PivotTau2-v0')\nobservation, info = env.reset(seed=0)\n"
        "candidate = env.unwrapped.candidate\nprint(env.step(candidate.message)[1], info['pivot_id'])"
    )
    assert done.stdout.startswith("1.0 helpdesk/"), done.stderr


def test_public_names_load_on_first_use_and_unknown_ones_are_refused() -> None:
    assert pivot_envs.PivotEnv is PivotEnv
    assert pivot_envs.read_trajectories is read_trajectories
    assert isinstance(pivot_envs.__version__, str)
    assert {"Scorer", "PivotEnv", "read_trajectories"} <= set(dir(pivot_envs))
    with pytest.raises(AttributeError, match="no attribute 'PivotEnvs'"):
        _ = pivot_envs.PivotEnvs


# --- which turn ---


def test_the_same_seed_gives_the_same_turn_and_going_on_another() -> None:
    env, other = make(), make()
    first = [env.reset(seed=7)[1]["pivot_id"], *(env.reset()[1]["pivot_id"] for _ in range(5))]
    for _ in range(3):
        other.reset()
    again = [other.reset(seed=7)[1]["pivot_id"], *(other.reset()[1]["pivot_id"] for _ in range(5))]
    assert first == again
    assert len(set(first)) > 1
    assert env.reset(seed=7)[0] == other.reset(seed=7)[0]


def test_options_win_over_the_draw() -> None:
    env = make()
    for seed in (None, 1):
        assert env.reset(seed=seed, options={"pivot_id": CALL})[1]["pivot_id"] == CALL
        _, info = env.reset(seed=seed, options={"trajectory_id": "task-1-0", "turn": 3})
        assert (info["pivot_id"], info["trajectory_id"], info["turn"]) == ("todo/task-1-0/3", "task-1-0", 3)
    assert env.reset(seed=1, options={"trajectory_id": "task-2-1"})[1]["trajectory_id"] == "task-2-1"


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"pivot_id": "todo/task-0-9/1"}, UnknownPivot, "no trajectory 'task-0-9'.* Did you mean .*'task-0-0'"),
        ({"pivot_id": "todo/task-0-0/99"}, UnknownPivot, "has turns 0 to 12"),
        ({"pivot_id": "todo/task-0-0/0"}, UnknownPivot, "no candidate: scripted; .* offers todo/task-0-0/1, "),
        ({"pivot_id": "retail/task-0-0/1"}, UnknownPivot, "not of the form todo/TRAJECTORY/TURN"),
        ({"pivot_id": "todo/task-0-0/-1"}, UnknownPivot, "names no turn"),
        ({"pivot_id": "x" * 100_000}, UnknownPivot, "not of the form"),
        ({"pivot_id": 3}, UnknownPivot, "not of the form"),
        ({"trajectory_id": "task-0-0", "turn": "1 "}, UnknownPivot, "names no turn"),
        ({"pivot": CALL}, ConfigError, "unknown reset option 'pivot'.* Did you mean 'pivot_id'"),
        ({"turn": 3}, ConfigError, "needs a trajectory_id"),
        ({"pivot_id": CALL, "turn": 3}, ConfigError, "one or the other"),
    ],
)
def test_an_unknown_turn_is_refused_with_a_remedy(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make().reset(options=options)


def test_a_task_of_another_split_is_out_of_reach() -> None:
    env = make(split="test")
    assert {each.split("/")[1][:6] for each in env.bench.source.ids()} == {"task-6", "task-7"}


def test_pivot_ids_restrict_the_draw_and_what_can_be_asked_for() -> None:
    chosen = [CALL, "todo/task-3-1/4"]
    env = make(pivot_ids=chosen)
    assert {env.reset()[1]["pivot_id"] for _ in range(40)} == set(chosen)
    with pytest.raises(UnknownPivot, match="not among the pivot_ids"):
        env.reset(options={"pivot_id": "todo/task-0-0/2"})
    with pytest.raises(ConfigError, match="at least one id"):
        make(pivot_ids=[])


def test_every_candidate_is_drawn_about_as_often_as_any_other() -> None:
    env = make()
    ids = env.bench.source.ids()
    drawn = [env.bench.source.draw(env.np_random).candidate_id for _ in range(40 * len(ids))]
    assert set(drawn) == set(ids)
    assert max(map(drawn.count, ids)) < 80
    assert env.bench.source.dropped == {"scripted": 12}


# --- acting ---


def test_a_right_and_a_wrong_action_are_judged_and_end_the_episode() -> None:
    env = make()
    env.reset(options={"pivot_id": CALL})
    _, reward, terminated, truncated, info = env.step(demonstration(env))
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert (info["verdict"]["outcome"], info["reward_turn"], info["end_reason"]) == ("accepted", 1.0, "judged")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(demonstration(env))
    env.reset(options={"pivot_id": CALL})
    _, reward, terminated, truncated, info = env.step(wrong())
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert (info["verdict"]["outcome"], info["verdict"]["level"]) == ("rejected", "execution")
    assert dict(info["verdict"]["evidence"])["candidate"] == {"items/2": ["something else", False]}
    json.dumps(info, allow_nan=False)


def test_an_assistant_message_is_an_action_too() -> None:
    env = make()
    env.reset(options={"pivot_id": CALL})
    assert env.candidate is not None
    assert env.step(env.candidate.message)[1] == 1.0


@pytest.mark.parametrize(
    ("written", "outcome", "reason"),
    [
        ("", "malformed", "bad_json"),
        ("{" * 200_000, "malformed", "too_deep"),
        ('{"content": ' + "9" * 5000 + "}", "malformed", "huge_number"),
        ("\ud800", "malformed", "lone_surrogate"),
        (None, "malformed", "not_text"),
        (7, "malformed", "not_text"),
        (encode(Action(calls=(ToolCall("add_item", {"item": 3}),))), "malformed", "schema"),
        (encode(Action(calls=(ToolCall("add_item", {}),))), "malformed", "schema"),
        (encode(Action(calls=(ToolCall("add_itme", {"item": "x"}),))), "rejected", "unknown_tool"),
        (encode(Action()), "rejected", "empty_action"),
        (encode(Action(text="later")), "rejected", "call_expected"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("horizon", [1, 4, None])
def test_what_is_no_action_scores_0_and_never_raises(
    written: Any, outcome: str, reason: str, horizon: int | None
) -> None:
    env = make(horizon=horizon)
    env.reset(options={"pivot_id": CALL})
    _, reward, terminated, truncated, info = env.step(written)
    assert reward == 0.0
    assert (info["verdict"]["outcome"], info["verdict"]["reward"]) == (outcome, 0.0)
    assert info["verdict"]["reason"].startswith(reason)
    assert terminated or truncated


def test_the_observation_after_the_turn_holds_the_turn() -> None:
    env = make()
    before, _ = env.reset(options={"pivot_id": CALL})
    after, *_ = env.step(wrong())
    assert after["messages"][:-1] == before["messages"]
    assert after["messages"][-1]["tool_calls"][0]["function"]["name"] == "add_item"


# --- more than one turn ---


def test_the_recording_answers_as_long_as_each_turn_is_accepted() -> None:
    env = make(horizon=None)
    env.reset(options={"pivot_id": CALL})
    rewards, over = [], False
    while not over:
        observation, reward, terminated, truncated, info = env.step(demonstration(env))
        assert observation in env.observation_space
        rewards.append(reward)
        over = terminated or truncated
    assert (terminated, info["end_reason"], info["reward_outcome"]) == (True, "recording_ended", 1.0)
    assert rewards == [0.0] * 11 + [1.0]


def test_a_surplus_read_keeps_the_path_and_its_own_results_stand_in_the_conversation() -> None:
    env = make(horizon=2)
    env.reset(options={"pivot_id": CALL})
    assert env.candidate is not None
    call = env.bench.domain.demonstration(env.candidate).calls[0]
    observation, reward, terminated, truncated, info = env.step(
        encode(Action(calls=(ToolCall("list_items", {}), call)))
    )
    assert (reward, terminated, truncated, info["end_reason"]) == (1.0, False, False, "")
    assert [m["role"] for m in observation["messages"][-3:]] == ["assistant", "tool", "tool"]
    assert observation["messages"][-2]["content"] == "1. water the plants"
    ids = [m["tool_call_id"] for m in observation["messages"] if m["role"] == "tool"]
    assert len(set(ids)) == len(ids)
    _, reward, terminated, truncated, info = env.step(demonstration(env))
    assert (reward, truncated, info["end_reason"], info["reward_turn"]) == (0.0, True, "horizon", 1.0)


def test_a_rejected_turn_leaves_the_recorded_path() -> None:
    for horizon in (3, None):
        env = make(horizon=horizon)
        env.reset(options={"pivot_id": CALL})
        _, reward, terminated, truncated, info = env.step(wrong())
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert (info["off_path"], info["end_reason"]) == (True, "off_path")


def test_a_world_with_dynamics_of_its_own_goes_on_after_a_wrong_turn() -> None:
    env = make("todo-talking", horizon=None)
    env.reset(options={"pivot_id": "todo-talking/task-0-0/1"})
    _, reward, terminated, truncated, info = env.step(wrong())
    assert (reward, terminated, truncated, info["judged"]) == (0.0, False, False, True)
    observation, _, terminated, truncated, info = env.step(encode(Action(text="Done.")))
    assert observation["messages"][-1] == {"role": "user", "content": "And then?"}
    assert "verdict" not in info and not info["judged"]
    _, reward, terminated, truncated, info = env.step(encode(Action(text="You have milk.")))
    assert (terminated, truncated, info["end_reason"]) == (True, False, "done")
    assert reward == info["reward_outcome"] == 0.0, "something was asked for and not added"


def test_the_outcome_of_a_talking_world_is_its_own_judgement() -> None:
    env = make("todo-talking", horizon=None)
    env.reset(options={"pivot_id": "todo-talking/task-0-0/1"})
    assert env.step(demonstration(env))[1:3] == (0.0, False)
    assert env.step(encode(Action(text="milk")))[1:3] == (1.0, True)


# --- failures of ours ---


@pytest.mark.parametrize("fail", ["restore", "execute"])
@pytest.mark.parametrize("horizon", [1, 3, None])
def test_a_failure_of_ours_is_nan_and_truncates(fail: str, horizon: int | None) -> None:
    env = make("todo-broken", horizon=horizon, domain_options={"fail": fail})
    observation, info = env.reset(options={"pivot_id": "todo-broken/task-0-0/1"})
    assert observation in env.observation_space
    assert (info["digest"] == "") == (fail == "restore")
    _, reward, terminated, truncated, info = env.step(demonstration(env))
    assert math.isnan(reward)
    assert (terminated, truncated, info["end_reason"]) == (False, True, "failed")
    assert info["reward_turn"] is None and info["verdict"]["outcome"] == "failed"
    assert "planted" in info["verdict"]["reason"]


def test_an_outcome_that_cannot_be_evaluated_is_nan() -> None:
    env = make("todo-broken", horizon=1, reward="outcome", domain_options={"fail": "outcome"})
    env.reset(options={"pivot_id": "todo-broken/task-0-0/1"})
    _, reward, terminated, truncated, info = env.step(demonstration(env))
    assert math.isnan(reward) and truncated and not terminated
    assert info["reward_turn"] == 1.0 and info["reward_outcome"] is None


def test_a_restore_that_fails_once_is_tried_again() -> None:
    env = make("todo-broken", domain_options={"fail": "restore", "times": 1})
    env.reset(options={"pivot_id": "todo-broken/task-0-0/1"})
    assert env.step(demonstration(env))[1] == 1.0


@pytest.mark.parametrize("horizon", [1, 3, None])
def test_an_action_that_takes_its_own_box_down_buys_no_missing_reward(horizon: int | None) -> None:
    poison = encode(Action(calls=(ToolCall("add_item", {"item": "poison"}),)))
    env = make("todo-talking", horizon=horizon)
    env.reset(options={"pivot_id": "todo-talking/task-0-0/1"})
    _, reward, terminated, truncated, info = env.step(poison)
    assert (reward, info["verdict"]["outcome"], terminated or truncated) == (0.0, "rejected", True)
    if horizon != 1:
        env.reset(options={"pivot_id": "todo-talking/task-0-0/1"})
        assert env.step(demonstration(env))[2:4] == (False, False)
        _, reward, _, truncated, info = env.step(poison)
        assert (reward, truncated, info["end_reason"], info["judged"]) == (0.0, True, "failed", False)


def test_a_malformed_action_scores_0_even_where_the_state_is_lost() -> None:
    env = make("todo-broken", domain_options={"fail": "restore"})
    env.reset(options={"pivot_id": "todo-broken/task-0-0/1"})
    assert env.step("no json")[1:4] == (0.0, True, False)


@pytest.mark.filterwarnings("ignore:.*The reward is a NaN value.*")
def test_nan_passes_through_the_episode_statistics() -> None:
    env = RecordEpisodeStatistics(gymnasium.make("PivotTodo-v0", domain="todo"))
    broken = RecordEpisodeStatistics(make("todo-broken"))
    for each in (env, broken):
        each.reset(seed=0)
        _, _, _, _, info = each.step(encode(Action(text="x")))
        assert info["episode"]["l"] == 1
    assert math.isnan(broken.return_queue[0])
    broken.reset()
    assert not math.isnan(env.return_queue[0])


# --- arguments ---


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"family": "todoo"}, "unknown family or domain 'todoo'.* Did you mean 'todo'"),
        ({"domain": "tdo"}, "unknown domain 'tdo' of family 'todo'"),
        ({"verifier": "efect"}, "verifier is 'efect'.* Did you mean 'effect'"),
        ({"action_codec": "hermse"}, "unknown action codec 'hermse'.* Did you mean 'hermes'"),
        ({"split": "trian"}, "unknown split 'trian'"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": True}, "horizon is True"),
        ({"reward": "turns"}, "reward is 'turns'.* Did you mean 'turn'"),
        ({"render_mode": "rgb_array"}, "render_mode is 'rgb_array'"),
        ({"prompt_style": "tiny"}, "no prompt style 'tiny'"),
        ({"trajectories": "/no/such/file.jsonl"}, "trajectories: there is no file"),
        ({"pivots": "/no/such/pivots.jsonl"}, "pivots: there is no file"),
        ({"sandbox": "podman"}, "sandbox is 'podman'"),
        ({"sandbox": "docker"}, "domain 'todo' has no use for sandbox='docker'; leave it at 'auto'"),
        ({"judge": {"base_url": "http://127.0.0.1:1", "model": "m"}}, "has no use for judge"),
        ({"judge": {"base_url": "http://h", "model": "m", "api_key": "k"}}, "keys come from the environment alone"),
        ({"judge": {"base_url": "http://user:pw@h", "model": "m"}}, "no credentials"),
        ({"judge": {"base_url": "file:///x", "model": "m"}}, "holds a scheme and a host"),
        ({"judge": {"base_url": "http://h", "model": ""}}, "non-empty"),
        ({"judge": "http://h"}, "got str"),
        ({"domain_options": {"colour": "red"}}, "does not take these options"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        PivotEnv(**{"family": "todo", **arguments})


@pytest.mark.parametrize("family", ["terminal", "swe", "browse"])
def test_a_family_that_is_not_shipped_says_so(family: str) -> None:
    if (ROOT / "pivot_envs" / "domains" / family).exists():
        pytest.skip(f"{family} is shipped")
    with pytest.raises(ConfigError, match=f"does not ship the family '{family}'; it ships tau2"):
        PivotEnv(family)


# --- files ---


def test_trajectories_come_from_a_file_and_keep_to_the_split_of_their_tasks(tmp_path: Path) -> None:
    domain = toy_domain.todo.TodoDomain()
    file = tmp_path / "runs.jsonl"
    write_trajectories(file, [domain.demonstrate(task, 5) for task in domain.tasks("all")])
    of_train = {each.split("/")[1] for each in make(trajectories=str(file)).bench.source.ids()}
    assert of_train == {f"task-{n}-5" for n in range(6)}
    everything = make(trajectories=str(file), split="all")
    assert len(everything.bench.source.ids()) == 8 * 12
    with pytest.raises(UnknownPivot, match="belongs to another split than 'train'"):
        make(trajectories=str(file)).reset(options={"pivot_id": "todo/task-7-5/1"})


def test_a_file_of_another_domain_is_refused_by_name(tmp_path: Path) -> None:
    other = toy_domain.todo.TodoDomain("errands")
    write_trajectories(tmp_path / "runs.jsonl", [other.demonstrate(other.tasks("all")[0], 0)])
    with pytest.raises(ConfigError, match="holds no trajectory of domain 'todo'; it holds errands"):
        make(trajectories=str(tmp_path / "runs.jsonl")).reset()


def test_a_turn_after_a_drift_is_no_candidate(tmp_path: Path) -> None:
    domain = toy_domain.todo.TodoDomain()
    whole = domain.demonstrate(domain.tasks("all")[0], 0)
    messages = [dict(m) for m in whole.messages]
    tools = [i for i, m in enumerate(messages) if m["role"] == "tool"]
    messages[tools[2]]["content"] = "added 9. nothing of the kind"
    write_trajectories(tmp_path / "runs.jsonl", [type(whole)(**{**vars(whole), "messages": tuple(messages)})])
    env = make(trajectories=str(tmp_path / "runs.jsonl"))
    assert env.bench.source.ids() == [f"todo/task-0-0/{turn}" for turn in range(1, 6)]
    assert env.bench.source.dropped == {"scripted": 1, "prefix_drifts": 7}
    with pytest.raises(UnknownPivot, match="no candidate: prefix_drifts"):
        env.reset(options={"pivot_id": "todo/task-0-0/8"})


def test_own_demonstrations_are_written_once_and_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path / "c"))
    env = make("todo-counting", domain_options={"tag": "cache"})
    first = env.reset(seed=3)[0]
    (file,) = (tmp_path / "c" / "trajectories").iterdir()
    written = file.stat().st_mtime_ns
    again = make("todo-counting", domain_options={"tag": "cache again"})
    assert again.reset(seed=3)[0] == first
    assert file.stat().st_mtime_ns == written
    file.write_text("{broken\n", encoding="utf-8")
    third = make("todo-counting", domain_options={"tag": "cache broken"})
    assert third.reset(seed=3)[0] == first
    assert file.read_text(encoding="utf-8") != "{broken\n"


def test_a_cache_folder_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path / "file" / "cache"))
    env = make("todo-counting", domain_options={"tag": "no cache"})
    assert env.reset(seed=0)[1]["pivot_id"]
    assert "stay in memory" in caplog.text and "PIVOT_ENVS_CACHE" in caplog.text


@pytest.fixture
def pivot_files(tmp_path: Path) -> tuple[Path, Path, PivotHeader, list[Pivot]]:
    """A trajectory file and three pivots chosen from it, one of them in the test split."""
    domain = toy_domain.todo.TodoDomain()
    file, chosen = tmp_path / "runs.jsonl", tmp_path / "pivots.jsonl"
    write_trajectories(file, [domain.demonstrate(task, 0) for task in domain.tasks("all")])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    header = PivotHeader(file.name, digest, "todo", domain.fingerprint, {})
    pivots = [Pivot(f"todo/task-{n}-0/{t}", f"task-{n}-0", t) for n, t in ((0, 1), (2, 5), (7, 3))]
    write_pivots(chosen, header, pivots)
    return file, chosen, header, pivots


def test_pivots_alone_name_their_trajectories_and_only_they_are_drawn(
    pivot_files: tuple[Path, Path, PivotHeader, list[Pivot]],
) -> None:
    _, chosen, _, _ = pivot_files
    env = make(pivots=str(chosen))
    assert {env.reset()[1]["pivot_id"] for _ in range(40)} == {"todo/task-0-0/1", "todo/task-2-0/5"}
    assert make(pivots=str(chosen), split="test").bench.source.ids() == ["todo/task-7-0/3"]
    with pytest.raises(UnknownPivot, match="is not in pivots.jsonl; leave `pivots` unset"):
        env.reset(options={"pivot_id": "todo/task-0-0/2"})
    with pytest.raises(UnknownPivot, match="belongs to another split"):
        env.reset(options={"pivot_id": "todo/task-7-0/3"})


def test_pivots_of_another_file_world_or_domain_are_refused(
    pivot_files: tuple[Path, Path, PivotHeader, list[Pivot]], tmp_path: Path
) -> None:
    file, chosen, header, pivots = pivot_files
    other = tmp_path / "other.jsonl"
    write_trajectories(other, list(read_trajectories(file))[:3])
    with pytest.raises(FingerprintMismatch, match="selected from runs.jsonl with SHA-256 .*, but .*other.jsonl has"):
        make(pivots=str(chosen), trajectories=str(other))
    write_pivots(chosen, replace(header, domain_fingerprint={"package": "todo", "version": "0"}), pivots)
    with pytest.raises(FingerprintMismatch, match='selected in todo .*"version":"0".* but here is .*"version":"1"'):
        make(pivots=str(chosen))
    write_pivots(chosen, replace(header, trajectories="gone.jsonl"), pivots)
    with pytest.raises(ConfigError, match="trajectories, as pivots.jsonl names them: there is no file .*gone.jsonl"):
        make(pivots=str(chosen))
    write_pivots(chosen, header, pivots)
    with pytest.raises(ConfigError, match="holds pivots of domain 'todo'; name that one, not 'todo-talking'"):
        make("todo-talking", pivots=str(chosen))


# --- rendering and tidiness ---


def test_ansi_shows_state_demonstration_action_and_difference() -> None:
    env = make(render_mode="ansi")
    assert env.render() is None
    env.reset(options={"pivot_id": CALL})
    shown = env.render()
    assert shown is not None and CALL in shown and "demonstrated:" in shown and "verdict" not in shown
    env.step(encode(Action(calls=(ToolCall("add_item", {"item": "\x1b[2Jbell\x07"}),))))
    shown = env.render()
    assert shown is not None
    assert "acted:" in shown and "verdict: rejected, reward 0, by execution: other_effect" in shown
    assert "\x1b" not in shown and "\x07" not in shown


def test_human_writes_and_returns_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    env = make(render_mode="human")
    env.reset(options={"pivot_id": CALL})
    env.step("not an action")
    out = capsys.readouterr().out
    assert out.count("demonstrated:") == 2 and "(no action) not an action" in out
    assert env.render() is None


def test_closing_twice_is_fine_and_a_closed_environment_can_be_reset() -> None:
    env = make()
    env.close()
    env.reset(seed=0)
    env.close()
    env.close()
    with pytest.raises(ResetNeeded):
        env.step("x")
    env.reset(seed=0)


@pytest.mark.parametrize("env_id", ["PivotTodo-v0", "PivotTau2-v0"])
def test_a_thousand_resets_leave_no_thread_and_no_memory(env_id: str) -> None:
    env = shipped(env_id)
    for seed in range(100):  # until what may be kept (reports, snapshots) is kept
        env.reset(seed=seed)
    threads = threading.active_count()
    tracemalloc.start()
    try:
        for _ in range(2):
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for seed in range(450):
                env.reset(seed=seed % 100)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert threading.active_count() == threads
    assert grown < 200_000, f"450 resets kept {grown:,} bytes"


@pytest.mark.parametrize("made", [PivotEnv, Scorer])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"domain_options": {"zz": 1}}, "unknown option zz=1; this domain takes seed"),
        ({"domain_options": {"sed": 1}}, "Did you mean 'seed'"),
        ({"domain_options": 5}, "domain_options is 5; expected a mapping"),
        ({"domain_options": {1: 2}}, "domain_options is .*; expected a mapping of option names"),
        ({"domain_options": {"snapshot_cache_mb": "x"}}, "cannot be opened with snapshot_cache_mb='x'"),
        ({"trajectories": 3}, "trajectories is 3; expected the path of a file"),
        ({"trajectories": "x" * 5000}, "there is no file"),
        ({"pivots": 3}, "pivots is 3; expected the path of a file"),
        ({"action_codec": 7}, "action_codec is 7; expected one of message"),
        ({"domain": ["retail"]}, "domain is .*; expected a string, got list"),
        ({"split": 5}, "split is 5; expected a string"),
        ({"verifier": []}, "verifier is .*; expected a string"),
        ({"sandbox": {}}, "sandbox is .*; expected a string"),
        ({"prompt_style": 9}, "prompt_style is 9; expected a string"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_with_its_value(made: Any, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        made("tau2", **arguments)


@pytest.mark.parametrize("pivot_ids", [5, [5], [[1]], {}, b"x"])
def test_pivot_ids_of_a_wrong_type_are_refused(pivot_ids: Any) -> None:
    with pytest.raises(ConfigError, match="pivot_ids is .*; expected a list of at least one id"):
        make(pivot_ids=pivot_ids)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (5, "reset options are 5; expected a mapping"),
        ([], "reset options are .*; expected a mapping"),
        ({1: 2}, "unknown reset option 1"),
        ({"trajectory_id": []}, "reset option trajectory_id is .*; expected a string"),
    ],
)
def test_reset_options_of_a_wrong_type_are_refused(options: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make().reset(options=options)


def test_a_pickled_environment_draws_what_the_first_one_draws_and_holds_no_episode() -> None:
    env = gymnasium.make("PivotTodo-v0", horizon=3, pivot_ids=[CALL, "todo/task-1-0/2", "todo/task-0-0/2"])
    env.reset(seed=4)
    again = pickle.loads(pickle.dumps(env))
    with pytest.raises(ResetNeeded):
        again.unwrapped.step("x")
    assert [again.reset()[1] for _ in range(8)] == [env.reset()[1] for _ in range(8)]
    assert (again.unwrapped.horizon, again.spec) == (3, env.spec)


@pytest.mark.parametrize("horizon", [1, 3, None])
def test_a_call_in_the_users_name_is_rejected_and_never_executed(horizon: int | None) -> None:
    env = make("todo-talking", horizon=horizon)
    env.reset(options={"pivot_id": "todo-talking/task-0-0/1"})
    message = json.loads(demonstration(env))
    message["tool_calls"][0]["requestor"] = "user"
    observation, reward, terminated, _, info = env.step(json.dumps(message))
    assert (reward, terminated, info["end_reason"]) == (0.0, True, "judged")
    assert (info["verdict"]["outcome"], info["verdict"]["reason"]) == ("rejected", "wrong_requestor")
    assert all(m["role"] != "user" or not m.get("tool_calls") for m in observation["messages"])


@pytest.mark.parametrize(("horizon", "reward"), [(2, "turn"), (2, "outcome"), (1, "outcome")])
def test_the_end_of_an_episode_tells_what_the_domain_found(horizon: int, reward: str) -> None:
    env = make("tau2", horizon=horizon, reward=reward)
    env.reset(options={"pivot_id": "helpdesk/train_001-0/7"})
    call = ToolCall("change_plan", {"customer_id": "C094", "line_id": "L119", "plan": "basic"})
    for _ in range(horizon):
        *_, ended, cut, info = env.step(encode(Action(calls=(call,))))
    assert ended or cut
    outcome = json.loads(json.dumps(info["outcome"]))
    assert (outcome["reward"], outcome["passed"]) == (0.0, False)
    assert {"unmet", "breaches"} <= {name for name, _ in outcome["details"]}


def test_a_malformed_end_still_tells_the_breaches_so_far() -> None:
    env = make("tau2", horizon=None)
    env.reset(options={"pivot_id": "helpdesk/train_001-0/7"})
    *_, info = env.step("no json")
    assert info["end_reason"] == "malformed" and info["outcome"]["reward"] == info["reward_outcome"] == 0.0
    assert "breaches" in dict(info["outcome"]["details"])


def test_pivot_ids_that_are_no_ids_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="pivot_ids has 'a'; expected ids like"):
        make(pivot_ids=[CALL, "a"])

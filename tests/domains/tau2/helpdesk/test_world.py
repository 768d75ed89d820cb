"""Data, tasks and demonstrations: consistent, the same everywhere, replayable, solvable, and not for free."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from pivot_envs.domains.tau2.helpdesk.compact import shorten_agent
from pivot_envs.domains.tau2.helpdesk.data import COUNTS, PLANS, build
from pivot_envs.domains.tau2.helpdesk.needs import INTENTS
from pivot_envs.domains.tau2.helpdesk.tasks import PAIRS, TRAIN_CUSTOMERS, UNSEEN_PAIRS
from pivot_envs.domains.tau2.helpdesk.world import HelpdeskWorld
from pivot_envs.errors import ConfigError
from pivot_envs.records import Task, Trajectory, content_hash

WORLD = HelpdeskWorld()
BASE = build(0)


@cache
def trajectories(split: str) -> tuple[Trajectory, ...]:
    return tuple(WORLD.default_trajectories(split))


def everything() -> tuple[Trajectory, ...]:
    return trajectories("train") + trajectories("test")


def test_the_tables_have_their_sizes_and_fit_in_little_room() -> None:
    assert {name: len(BASE[name]) for name in COUNTS} == COUNTS
    assert len(json.dumps(BASE)) <= 250_000


def test_records_refer_to_records_that_exist() -> None:
    for key, customer in BASE["customers"].items():
        assert customer["lines"]
        assert all(BASE["lines"][line]["customer"] == key for line in customer["lines"])
        assert all(BASE["lines"][line]["area"] == customer["area"] for line in customer["lines"])
    for key, line in BASE["lines"].items():
        assert key in BASE["customers"][line["customer"]]["lines"]
        assert line["serial"] == BASE["devices"][key]["serial"]
        assert PLANS[line["plan"]] <= PLANS[line["fastest"]]
    for invoice in BASE["invoices"].values():
        assert BASE["lines"][invoice["line"]]["customer"] == invoice["customer"]
    for key, visit in BASE["visits"].items():
        assert BASE["slots"][visit["slot"]]["visit"] == key
        assert BASE["slots"][visit["slot"]]["area"] == BASE["lines"][visit["line"]]["area"]
    for name in ("phone", "email"):
        assert len({c[name] for c in BASE["customers"].values()}) == COUNTS["customers"]


def test_another_process_builds_the_same_world() -> None:
    code = (
        "from pivot_envs.domains.tau2.helpdesk.world import HelpdeskWorld as W; w = W(); "
        "from pivot_envs.records import content_hash as h; t = w.demonstrate(w.tasks('train')[5], 1); "
        "print(w.fingerprint['data'], h([t.messages, dict(t.meta)]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
    )
    here = WORLD.demonstrate(WORLD.tasks("train")[5], 1)
    assert found.stdout.split() == [WORLD.fingerprint["data"], content_hash([here.messages, dict(here.meta)])]


def test_another_seed_is_another_world_with_its_own_fingerprint() -> None:
    other = HelpdeskWorld(seed=1)
    assert other.fingerprint["data"] != WORLD.fingerprint["data"]
    assert [len(other.tasks(split)) for split in ("train", "test")] == [120, 40]
    for task in other.tasks("all")[::8]:
        assert other.demonstrate(task, 0).outcome.passed


def test_train_and_test_share_no_customer_and_three_pairs_are_new_in_test() -> None:
    train, test = WORLD.tasks("train"), WORLD.tasks("test")
    assert (len(train), len(test)) == (120, 40)
    assert len({t.data["customer"] for t in train}) == 120
    assert not {t.data["customer"] for t in train} & {t.data["customer"] for t in test}
    assert all(int(t.data["customer"][1:]) <= TRAIN_CUSTOMERS for t in train)
    pairs = [
        {tuple(n["intent"] for n in t.data["needs"]) for t in tasks if len(t.data["needs"]) > 1}
        for tasks in (train, test)
    ]
    assert pairs[1] - pairs[0] == set(UNSEEN_PAIRS)
    assert pairs[0] == set(PAIRS)
    assert {n["intent"] for t in train for n in t.data["needs"]} == set(INTENTS)
    assert len(INTENTS) == 12


def test_what_a_task_says_of_its_person_stands_in_the_records() -> None:
    for task in WORLD.tasks("all"):
        customer = BASE["customers"][task.data["customer"]]
        assert task.data["line"] in customer["lines"]
        assert all(task.data[key] == customer[key] for key in ("name", "phone", "email", "street", "area"))
        for need in task.data["needs"]:
            if "slot" in need:
                slot = BASE["slots"][need["slot"]]
                assert (slot["day"], slot["part"], slot["area"]) == (need["day"], need["part"], customer["area"])


@pytest.mark.parametrize("task", WORLD.tasks("all"), ids=lambda task: task.task_id)
def test_a_task_is_solved_by_its_reference_and_by_nothing_less(task: Task) -> None:
    session = WORLD.open(task)
    shown: list[dict[str, Any]] = [{"role": "tool", "content": " ".join(task.data["facts"])}]
    told = [*shown, {"role": "assistant", "content": " and ".join(task.data["facts"]) or "Done."}]
    assert not WORLD.outcome(session, task, []).passed, "doing nothing must not pass"
    if task.data["assertions"]:
        assert not WORLD.outcome(session, task, told).passed, "talking alone must not pass"
    for requestor, name, arguments in task.data["reference"]:
        seen = session.call(name, arguments, requestor)
        assert not seen.failed, (name, seen.text)
    assert WORLD.outcome(session, task, told).passed
    if task.data["facts"]:
        assert not WORLD.outcome(session, task, []).passed, "facts must be told"
    other = next(
        k
        for k, r in BASE["lines"].items()
        if r["customer"] != task.data["customer"] and r["plan"] == "plus" and r["status"] == "active"
    )
    session.tables["lines"][other] = {**session.tables["lines"].peek(other), "plan": "basic"}
    assert WORLD.outcome(session, task, told).details["surplus"] == [f"lines/{other}"]


def test_a_world_whose_first_draw_leaves_a_task_without_customer_is_drawn_anew() -> None:
    """Seed 75 is one; the worlds that the first draw suits stay as they are."""
    tasks = HelpdeskWorld(seed=75).tasks("all")
    assert len(tasks) == 160
    assert len({task.data["customer"] for task in tasks}) == 160


TELLING = [task for task in WORLD.tasks("all") if task.data["facts"]]


@pytest.mark.parametrize("task", TELLING, ids=lambda task: task.task_id)
def test_facts_are_not_told_by_a_list_of_numbers_nor_by_a_guess(task: Task) -> None:
    session = WORLD.open(task)
    for requestor, name, arguments in task.data["reference"]:
        session.call(name, arguments, requestor)
    everything_seen = {"role": "tool", "content": " ".join(map(str, range(200))) + " ".join(task.data["facts"])}
    spray = {"role": "assistant", "content": "It is one of " + ", ".join([*map(str, range(100)), *task.data["facts"]])}
    assert WORLD.outcome(session, task, [everything_seen, spray]).details["untold"] == task.data["facts"]
    guess = {"role": "assistant", "content": " and ".join(task.data["facts"]) + " or 4711 euro"}
    assert WORLD.outcome(session, task, [guess]).details["untold"] == task.data["facts"]


def test_always_transferring_solves_only_what_has_to_be_transferred() -> None:
    solved = 0
    for task in WORLD.tasks("all"):
        session = WORLD.open(task)
        for reason in ("customer_request",):
            session.call("transfer_to_human", {"reason": reason, "summary": "x"}, "assistant")
        solved += bool(WORLD.outcome(session, task, []).passed)
    assert solved <= 0.05 * 160


def test_trajectories_are_as_many_and_as_long_as_they_should_be() -> None:
    train = trajectories("train")
    clean = [t for t in train if not t.meta["flaw"]]
    flawed = [t for t in train if t.meta["flaw"]]
    assert (len(clean), len(flawed), len(trajectories("test"))) == (360, 36, 40)
    assert len({t.trajectory_id for t in everything()}) == len(everything())
    lengths = [len(t.assistant_indices) for t in everything()]
    assert min(lengths) >= 8
    assert max(lengths) <= 20
    assert sum(len(t.assistant_indices) for t in clean) >= 4000
    assert {t.meta["flaw"] for t in flawed} == {"failing_call", "wrong_value", "skipped_confirmation"}
    assert all(t.meta["flawed_turns"] for t in flawed)
    assert all(t.outcome.passed for t in everything())
    assert all(bool(t.outcome.details["breaches"]) == (t.meta["flaw"] == "skipped_confirmation") for t in everything())
    assert len({content_hash([m["content"] for m in t.messages if m["role"] == "assistant"]) for t in clean}) > 350


def test_messages_have_the_openai_form() -> None:
    for trajectory in everything()[::9]:
        open_calls: list[str] = []
        for message in trajectory.messages:
            assert message["role"] in ("user", "assistant", "tool")
            if message["role"] == "tool":
                assert message["tool_call_id"] == open_calls.pop(0)
                json.loads(message["content"])
                continue
            assert not open_calls
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
                open_calls.append(call["id"])
            assert message.get("tool_calls") or message["content"].strip()
        assert trajectory.messages[0]["role"] == "user"


def replay(trajectory: Trajectory) -> tuple[Any, int]:
    """Run the recorded calls of both parties in a fresh session; return it and how many observations were compared."""
    session, pending, compared = WORLD.open(WORLD.task(trajectory.task_id)), {}, 0
    for message in trajectory.messages:
        requestor = "assistant" if message["role"] == "assistant" else "user"
        for call in message.get("tool_calls", ()):
            arguments = json.loads(call["function"]["arguments"])
            pending[call["id"]] = session.call(call["function"]["name"], arguments, requestor)
        if message["role"] == "tool":
            assert pending.pop(message["tool_call_id"]).text == message["content"]
            compared += 1
    return session, compared


def test_every_trajectory_replays_to_the_same_observations_and_the_same_state() -> None:
    compared = 0
    for trajectory in everything():
        session, n = replay(trajectory)
        compared += n
        assert content_hash(session.difference_from_start()) == trajectory.meta["delta_hash"]
    assert compared > 2500


def test_the_customer_reacts_in_replay_as_recorded_and_hears_the_compact_style_alike() -> None:
    turns = 0
    for trajectory in everything()[::3]:
        task = WORLD.task(trajectory.task_id)
        session = WORLD.open(task)
        for i, message in enumerate(trajectory.messages):
            if message["role"] != "assistant":
                continue
            for call in message.get("tool_calls", ()):
                session.call(call["function"]["name"], json.loads(call["function"]["arguments"]), "assistant")
            if message.get("tool_calls"):
                continue
            turns += 1
            short = WORLD.react(session.fork(), task, trajectory.messages[:i], shorten_agent(message["content"]))
            full = WORLD.react(session, task, trajectory.messages[:i], message["content"])
            assert (short.kind, short.reply, short.calls) == (full.kind, full.reply, full.calls), message["content"]
            replies = [m for m in trajectory.messages[i + 1 :] if m["role"] == "user" and not m.get("tool_calls")]
            assert replies[0]["content"] == full.reply
    assert turns > 1000


def test_the_compact_style_is_short_and_keeps_what_is_needed_to_act() -> None:
    for trajectory in everything()[::11]:
        compact = WORLD.compact(trajectory.messages)
        assert compact is not None
        words = [len((m["content"] or "").split()) for m in compact]
        assert max(words) <= 40
        assert sum(m["role"] == "assistant" for m in compact) == len(trajectory.assistant_indices)
        assert all(m["role"] != "system" for m in compact)
        seen = " ".join(m["content"] or "" for m in compact if m["role"] != "assistant")
        for message in compact:
            for call in message.get("tool_calls", ()):
                for name, value in json.loads(call["function"]["arguments"]).items():
                    if name.endswith("_id") or name in ("phone", "email"):
                        assert str(value) in seen or trajectory.meta["flaw"] == "failing_call", (name, value)


def test_the_policy_is_short_and_has_ten_rules() -> None:
    assert 1500 <= len(WORLD.policy.encode()) <= 2500
    assert [line.split(".")[0] for line in WORLD.policy.splitlines() if line[:1].isdigit()] == [
        str(i) for i in range(1, 11)
    ]


def test_unknown_names_are_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="no split 'dev'; expected train, test or all"):
        WORLD.tasks("dev")
    with pytest.raises(ConfigError, match="no task 'train_1'.*train_0"):
        WORLD.task("train_1")

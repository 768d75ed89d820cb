"""The scripted customer understands free English, acts on it, and nothing makes it raise."""

from __future__ import annotations

import json
import random
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pivot_envs.domains.tau2.helpdesk.clauses import MAX_TEXT
from pivot_envs.domains.tau2.helpdesk.compact import render, shorten_agent
from pivot_envs.domains.tau2.helpdesk.sayings import SAYINGS
from pivot_envs.domains.tau2.helpdesk.speech import understand
from pivot_envs.domains.tau2.helpdesk.world import HelpdeskWorld
from pivot_envs.domains.tau2.world import Reaction
from pivot_envs.records import Task

# Rows {situation, message, kind, calls}: a situation is intent/mode, calls read `tool` or `tool:argument`; `$plan`,
# `$slot`, `$line` and their kin stand for the values of the task that the situation picks.
BATTERY = [json.loads(line) for line in Path(__file__).with_name("battery.jsonl").read_text().splitlines()]


@cache
def world() -> HelpdeskWorld:
    return HelpdeskWorld()


@cache
def situation(name: str) -> Task:
    """A task whose last need is the wanted one, alone and known by phone where there is such a task."""
    intent, mode = name.split("/")
    fitting = [t for t in world().tasks("all") if (n := t.data["needs"][-1])["intent"] == intent and n["mode"] == mode]
    return min(fitting, key=lambda t: (t.data["identity"] != "phone", len(t.data["needs"]), t.split != "train"))


def filled(text: str, task: Task) -> str:
    need = task.data["needs"][-1]
    values = {key: str(need[key]) for key in ("plan", "price", "slot", "part", "amount", "month") if key in need}
    values |= {"line": task.data["line"], "visit": f"V-{task.data['customer']}-1"}
    if "day" in need:
        values["day"] = f"{int(need['day'][-2:])} June"
    return re.sub(r"\$(\w+)", lambda m: values.get(m.group(1), "7"), text)


def answer(name: str, message: str, history: list[dict[str, Any]] | None = None) -> Reaction:
    task = situation(name)
    opening = {"role": "user", "content": "Hello. " + task.data["needs"][-1]["texts"][0]}
    return world().react(world().open(task), task, [opening, *(history or [])], filled(message, task))


def written(reaction: Reaction) -> str:
    return " ".join(":".join([c.name, *map(str, c.arguments.values())]) for c in reaction.calls)


def test_the_battery_is_large_and_covers_what_it_must() -> None:
    assert len(BATTERY) >= 400
    assert len({row["kind"].partition(":")[0] for row in BATTERY}) >= 20


@pytest.mark.parametrize("row", BATTERY, ids=lambda row: ascii(row["message"])[:60])
def test_a_message_is_understood(row: dict[str, str]) -> None:
    reaction = answer(row["situation"], row["message"])
    kind = filled(row["kind"], situation(row["situation"]))
    assert (reaction.kind, written(reaction)) == (kind, row["calls"])
    assert all(not seen.failed for seen in reaction.observations)


PLAIN = [row for row in BATTERY[::2] if row["kind"] not in ("confused", "greets") and "$" not in row["message"]]


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: ascii(row["message"])[:60])
def test_letter_case_blanks_and_politeness_change_nothing(row: dict[str, str]) -> None:
    plain = answer(row["situation"], row["message"])
    for variant in (row["message"].upper(), f"  {row['message']}  ", f"Thank you. {row['message']}"):
        other = answer(row["situation"], variant)
        assert (other.kind, written(other)) == (plain.kind, written(plain)), variant


def test_a_negated_instruction_never_moves_a_device() -> None:
    for step in ("restart the router", "replug the fibre cable", "turn the wifi off", "set the DNS to primary"):
        for shape in ("Do not {}.", "Please don't {}!", "You must not {}.", "There is no need to {}.", "Never {}."):
            assert not answer("loose_cable/normal", shape.format(step)).calls, shape.format(step)


def test_an_answer_about_the_past_looks_at_the_history() -> None:
    call = {"id": "user_1", "type": "function", "function": {"name": "reboot_router", "arguments": "{}"}}
    done = [{"role": "user", "content": None, "tool_calls": [call]}]
    assert answer("loose_cable/normal", "Did you reboot the router?", done).kind == "answers:reboot_router:yes"
    after = answer("loose_cable/normal", "After restarting the router, please run a speed test.", done)
    assert written(after) == "run_speed_test"


def test_device_steps_change_the_session_and_the_report_says_what_was_seen() -> None:
    task = situation("loose_cable/normal")
    session = world().open(task)
    reaction = world().react(session, task, [], "Please replug the fibre cable and check the lights.")
    before, now = session.changes()[f"devices/{task.data['line']}"]
    assert (before["fibre"], now["fibre"]) == ("loose", "seated")
    assert len(session.changes()) == 1
    assert "fibre green" in reaction.reply
    assert [c.requestor for c in reaction.calls] == ["user", "user"]
    assert [c.id for c in reaction.calls] == ["user_1", "user_2"]


def test_the_same_message_in_the_same_state_gives_the_same_reaction() -> None:
    for row in BATTERY[::7]:
        assert answer(row["situation"], row["message"]) == answer(row["situation"], row["message"])


def test_messages_that_ask_for_different_things_have_different_kinds() -> None:
    kinds = [
        answer("change_plan/normal", text).kind
        for text in ("Your phone number, please?", "Your e-mail, please?", "Which plan?", "Is that okay?", "Goodbye.")
    ]
    assert len(set(kinds)) == len(kinds)


def test_every_saying_is_heard_as_more_than_noise() -> None:
    for name, ways in SAYINGS.items():
        kinds = {tuple(sorted({act.kind for act in understand(way)} - {"inform", "greet"})) for way in ways}
        assert (
            () not in kinds
            or name in ("fixed", "plan_changed", "credited", "invoice", "visit_booked")
            or all(understand(way) for way in ways)
        ), name


HOSTILE = [
    *(
        unit * (120_000 // len(unit))
        for unit in (
            "how ",
            "is ",
            "please reboot ",
            "[",
            "\ud800",
            "\ufdfa",
            "if ",
            ", and ",
            "which s12 or s13 ",
            "?",
            ".",
            "not ",
            "\n",
        )
    ),
    "9" * 5000,
    "\0" * 1000,
    json.dumps({"tool_calls": [{"name": "reset_port"}]}) * 500,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_hostile_text_neither_raises_nor_hangs(text: str) -> None:
    started = time.process_time()
    assert isinstance(answer("loose_cable/normal", text).kind, str)
    render([{"role": "user", "content": text}, {"role": "assistant", "content": text}])
    assert time.process_time() - started < 5, "a pattern backtracks without bound"


def test_random_words_of_the_trade_neither_raise_nor_act_on_other_people() -> None:
    words = sorted({word for row in BATTERY for word in row["message"].split()})
    draw = random.Random(7)
    task = situation("loose_cable/normal")
    for _ in range(700):
        text = " ".join(draw.choice(words) for _ in range(draw.randrange(1, 40)))
        session = world().open(task)
        reaction = world().react(session, task, [], text)
        assert len(reaction.calls) == len(reaction.observations)
        assert set(session.changes()) <= {f"devices/{task.data['line']}"}, text
        shorten_agent(text)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"role": 5},
        {"role": "user", "tool_calls": "x"},
        {"role": "user", "tool_calls": [None, {"function": 3}, {"function": {"name": []}}]},
        {"role": "user", "content": [1]},
        {"role": "tool", "tool_call_id": [], "content": "[" * 100_000},
        {"role": "tool", "content": "1" * 5000},
    ],
)
def test_a_broken_history_is_survived(message: dict[str, Any]) -> None:
    assert answer("loose_cable/normal", "Did you reboot the router?", [message]).kind == "answers:reboot_router:no"
    render([message])
    task = situation("loose_cable/normal")
    assert world().outcome(world().open(task), task, [message]).passed is False


def test_what_stands_beyond_the_attention_of_a_customer_is_not_heard() -> None:
    assert answer("loose_cable/normal", "x " * MAX_TEXT + "Please restart the router.").kind == "confused"

"""Splits by task, and prefixes that stand twice or nearly so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pivot_envs.cli import main
from pivot_envs.duplicates import duplicate_prefixes, lines, split, task_of
from pivot_envs.errors import ConfigError
from pivot_envs.records import Message, Trajectory
from pivot_envs.trajectories import read_trajectories, write_trajectories

FILE = Path(__file__).parent / "data" / "trajectories.jsonl"
DOORS, DESK = read_trajectories(FILE)
STORY = " ".join(f"word{n}" for n in range(200))


def renamed(trajectory: Trajectory, name: str, task: str = "") -> Trajectory:
    start = dataclasses.replace(trajectory.initial_state, ref=task or trajectory.task_id)
    return dataclasses.replace(trajectory, trajectory_id=name, task_id=start.ref, initial_state=start)


def saying(name: str, *texts: str, system: str = "") -> Trajectory:
    """User and assistant in turn."""
    roles = ("user", "assistant") * len(texts)
    messages: tuple[Message, ...] = tuple({"role": r, "content": t} for r, t in zip(roles, texts, strict=False))
    head: tuple[Message, ...] = ({"role": "system", "content": system},) if system else ()
    return dataclasses.replace(DOORS, trajectory_id=name, task_id=name, messages=head + messages)


# ---- split


def test_no_task_is_on_both_sides_and_the_share_is_met() -> None:
    runs = [renamed(DOORS, f"r{i}", f"t{i // 3}") for i in range(300)]
    train, test = split(runs, 0.2)
    assert {task_of(each) for each in train}.isdisjoint(task_of(each) for each in test)
    assert (len(train), len(test)) == (240, 60)
    assert sorted(train + test, key=runs.index) == runs and train == sorted(train, key=runs.index)


def test_a_split_is_repeated_by_its_seed_and_independent_of_order() -> None:
    runs = [renamed(DOORS, f"r{i}", f"t{i}") for i in range(50)]
    held_out = {each.task_id for each in split(runs)[1]}
    assert {each.task_id for each in split(runs[::-1])[1]} == held_out
    assert {each.task_id for each in split(runs, seed=1)[1]} != held_out


def test_each_side_has_a_task_however_few_there_are() -> None:
    pair = [renamed(DOORS, f"r{i}", f"t{i}") for i in range(2)]
    assert [len(side) for side in split(pair, 0.01)] == [len(side) for side in split(pair, 0.99)] == [1, 1]
    with pytest.raises(ConfigError, match="3 trajectories of 1 tasks cannot be split; two are needed"):
        split([renamed(DOORS, f"r{i}") for i in range(3)])


@pytest.mark.parametrize("share", [0, 1, -0.5, 7, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"held_out is {share}; expected a share between 0 and 1"):
        split([DOORS, DESK], share)


def test_trajectories_without_a_task_are_tasks_of_their_own() -> None:
    runs = [dataclasses.replace(DOORS, trajectory_id=f"r{i}", task_id="") for i in range(10)]
    assert [len(side) for side in split(runs, 0.3)] == [7, 3]


def test_the_command_writes_both_files_and_says_what_the_held_out_side_shares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, train, test = (tmp_path / f"{name}.jsonl" for name in ("all", "train", "test"))
    write_trajectories(source, [renamed(DOORS, f"r{i}", f"t{i // 2}") for i in range(10)])
    arguments = ["split", str(source), "--held-out", "0.4", "--train", str(train), "--test", str(test)]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "wrote 6 trajectories of 3 tasks" in told and "wrote 4 trajectories of 2 tasks" in told
    assert "8 of 8 held-out candidates have a prefix that training has too" in told
    tasks = [{json.loads(line)["task_id"] for line in path.read_text().splitlines()} for path in (train, test)]
    assert tasks[0] | tasks[1] == {f"t{i}" for i in range(5)} and not tasks[0] & tasks[1]
    assert main([*arguments[:-1], str(train)]) == 1
    assert main(["split", str(source), "--train", str(source), "--test", str(test)]) == 1


# ---- duplicates


def test_the_same_question_twice_is_counted() -> None:
    once = duplicate_prefixes([DOORS, DESK])
    assert (once.candidates, once.duplicates, once.near) == (5, 0, 0)
    twice = duplicate_prefixes([DOORS, renamed(DOORS, "again", "other")])
    assert (twice.candidates, twice.duplicates, twice.groups, twice.conflicting, twice.near) == (4, 4, 2, 0, 4)
    answer = {"role": "assistant", "content": "I cannot see it."}
    other = dataclasses.replace(renamed(DOORS, "other"), messages=(*DOORS.messages[:2], answer))
    mixed = duplicate_prefixes([DOORS, other])
    assert (mixed.duplicates, mixed.groups, mixed.conflicting) == (2, 1, 2)
    assert lines(mixed) == [
        "2 of 3 candidates have the prefix of another (1 different), 2 beside another demonstration; "
        "2 have nearly that of another trajectory"
    ]


def test_call_ids_reasoning_and_device_calls_make_no_difference_to_what_is_visible() -> None:
    messages = tuple(m for i, m in enumerate(DESK.messages) if i not in (3, 4))
    assert duplicate_prefixes([DESK, dataclasses.replace(DESK, messages=messages, trajectory_id="b")]).duplicates == 6
    call = DOORS.messages[2]
    renumbered = {**call, "reasoning_content": "hm", "tool_calls": [{**call["tool_calls"][0], "id": "z9"}]}
    result = {**DOORS.messages[3], "tool_call_id": "z9"}
    other = (*DOORS.messages[:2], renumbered, result, DOORS.messages[4])
    assert duplicate_prefixes([DOORS, dataclasses.replace(DOORS, messages=other, trajectory_id="b")]).duplicates == 4


def test_case_and_white_space_make_no_difference() -> None:
    found = duplicate_prefixes([saying("a", "Where is  it?\n", "x"), saying("b", "where is it?", "y")])
    assert (found.duplicates, found.conflicting) == (2, 2)


def test_one_changed_word_in_two_hundred_is_nearly_equal_and_a_shared_system_message_is_nothing() -> None:
    near = duplicate_prefixes([saying("a", STORY, "x"), saying("b", STORY.replace("word77", "other"), "x")])
    assert (near.duplicates, near.near) == (0, 2)
    apart = [saying("a", "My fan is loud.", "x", system=STORY), saying("b", "Cancel my flight.", "x", system=STORY)]
    assert duplicate_prefixes(apart).near == 0


def test_turns_of_one_trajectory_are_not_nearly_equal_to_each_other() -> None:
    assert duplicate_prefixes([saying("a", STORY, "Yes.", "ok", "Sure.", "ok", "Done.")]).near == 0


def test_held_out_turns_that_training_knows_are_counted() -> None:
    runs = [saying("a", STORY, "x"), saying("b", STORY + " end", "x"), saying("c", "Something else.", "x")]
    found = duplicate_prefixes(runs, held_out={"b", "c"})
    assert (found.held_out, found.known) == (2, 1)
    assert duplicate_prefixes(runs, held_out={"a", "b"}).known == 0
    assert lines(found)[1] == "1 of 2 held-out candidates have a prefix that training has too"


def test_only_the_named_candidates_are_looked_at() -> None:
    runs = [saying("a", STORY, "x", "y", "z"), saying("b", STORY, "x", "y", "z")]
    assert duplicate_prefixes(runs).duplicates == 4
    assert duplicate_prefixes(runs, only=["desk/a/0"]).candidates in (0, 1)
    assert duplicate_prefixes(runs, only=[f"{DOORS.domain}/a/0", f"{DOORS.domain}/a/1"]).duplicates == 0


def test_hostile_text_is_counted_like_any_other() -> None:
    texts = ["\ud800", "", "[" * 200_000, "x " * 500_000, None]
    runs = [saying(f"r{i}", *[text] * 2) for i, text in enumerate(texts)]  # type: ignore[list-item]
    assert duplicate_prefixes(runs).candidates == 5

"""Turns of trajectories, their ids, the plain reasons against them, and their splits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pivot_envs.candidates import (
    EMPTY_DEMONSTRATION,
    MALFORMED_DEMONSTRATION,
    SCRIPTED_GREETING,
    candidates_of,
    drop_reason,
    duplicate_prefixes,
    parse_candidate_id,
    split_of,
)
from pivot_envs.errors import RecordError
from pivot_envs.records import Candidate, Trajectory
from pivot_envs.trajectories import read_trajectories

FILE = Path(__file__).parent / "data" / "trajectories.jsonl"
DOORS, DESK = read_trajectories(FILE)


def renamed(trajectory: Trajectory, name: str, task: str = "") -> Trajectory:
    return dataclasses.replace(trajectory, trajectory_id=name, task_id=task or trajectory.task_id)


def test_every_assistant_turn_is_one_candidate() -> None:
    found = candidates_of(DESK)
    assert [each.candidate_id for each in found] == ["desk/desk-1/0", "desk/desk-1/1", "desk/desk-1/2"]
    assert [len(each.prefix) for each in found] == [0, 2, 6]
    assert [drop_reason(each) for each in found] == [SCRIPTED_GREETING, "", EMPTY_DEMONSTRATION]
    assert [drop_reason(each) for each in candidates_of(DOORS)] == ["", ""]


def test_a_turn_that_is_no_action_is_named_so() -> None:
    broken = dataclasses.replace(DOORS, messages=({"role": "assistant", "content": "<think>without end"},))
    assert drop_reason(Candidate(broken, 0)) == MALFORMED_DEMONSTRATION


def test_a_greeting_with_a_call_is_a_choice() -> None:
    message = DOORS.messages[2]
    assert drop_reason(Candidate(dataclasses.replace(DOORS, messages=(message,)), 0)) == ""


@pytest.mark.parametrize("candidate", [*candidates_of(DOORS), *candidates_of(DESK)])
def test_an_id_leads_back_to_its_turn(candidate: Candidate) -> None:
    trajectory = candidate.trajectory
    assert parse_candidate_id(candidate.candidate_id) == (trajectory.domain, trajectory.trajectory_id, candidate.turn)


@pytest.mark.parametrize(
    "name", ["", "a/b", "a/b/c", "a/b/c/1", "a//1", "/b/1", "a/b/-1", "a/b/²", "a/b/" + "9" * 5000]
)
def test_what_is_no_id_is_refused(name: str) -> None:
    with pytest.raises(RecordError, match="expected domain/trajectory_id/turn"):
        parse_candidate_id(name)


def test_trajectories_of_one_task_are_never_split() -> None:
    runs = [renamed(DOORS, f"r{i}", f"t{i // 3}") for i in range(3000)]
    splits = {run.task_id: {split_of(other, 0.2) for other in runs[int(run.task_id[1:]) * 3 :][:3]} for run in runs}
    assert all(len(found) == 1 for found in splits.values())
    share = sum(found == {"test"} for found in splits.values()) / len(splits)
    assert 0.16 < share < 0.24
    assert {split_of(run, 0.0) for run in runs} == {"train"}
    assert {split_of(run, 1.0) for run in runs} == {"test"}


def test_a_larger_test_share_only_adds_tasks_to_test() -> None:
    runs = [renamed(DOORS, f"r{i}", f"t{i}") for i in range(500)]
    small, large = ({run.task_id for run in runs if split_of(run, share) == "test"} for share in (0.1, 0.3))
    assert small < large
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_of(DOORS, 1.5)


def test_the_same_question_twice_is_counted() -> None:
    once = duplicate_prefixes([DOORS, DESK])
    assert (once.candidates, once.duplicates) == (5, 0)
    twice = duplicate_prefixes([DOORS, renamed(DOORS, "again", "other")])
    assert (twice.candidates, twice.duplicates, twice.groups, twice.conflicting) == (4, 4, 2, 0)
    answer = {"role": "assistant", "content": "I cannot see it."}
    other = dataclasses.replace(renamed(DOORS, "other"), messages=(*DOORS.messages[:2], answer))
    mixed = duplicate_prefixes([DOORS, other])
    assert (mixed.duplicates, mixed.groups, mixed.conflicting) == (2, 1, 2)


def test_call_ids_reasoning_and_device_calls_make_no_difference_to_what_is_visible() -> None:
    messages = tuple(m for i, m in enumerate(DESK.messages) if i not in (3, 4))
    assert duplicate_prefixes([DESK, dataclasses.replace(DESK, messages=messages, trajectory_id="b")]).duplicates == 6
    call = DOORS.messages[2]
    renumbered = {**call, "reasoning_content": "hm", "tool_calls": [{**call["tool_calls"][0], "id": "z9"}]}
    result = {**DOORS.messages[3], "tool_call_id": "z9"}
    other = (*DOORS.messages[:2], renumbered, result, DOORS.messages[4])
    assert duplicate_prefixes([DOORS, dataclasses.replace(DOORS, messages=other, trajectory_id="b")]).duplicates == 4

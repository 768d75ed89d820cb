"""Turns of trajectories, their ids, and the plain reasons against them."""

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
    parse_candidate_id,
)
from pivot_envs.errors import RecordError
from pivot_envs.records import Candidate
from pivot_envs.trajectories import read_trajectories

FILE = Path(__file__).parent / "data" / "trajectories.jsonl"
DOORS, DESK = read_trajectories(FILE)


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

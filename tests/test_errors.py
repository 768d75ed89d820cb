"""Errors keep what they say on the way between processes, and suggest only what helps."""

from __future__ import annotations

import pickle

import pytest

from pivot_envs.errors import MalformedAction, PivotEnvsError, RecordError, UnknownPivot, suggest


@pytest.mark.parametrize(
    "error",
    [
        RecordError("is broken", file="runs.jsonl", line=3, field="messages"),
        MalformedAction("bad_json", "a detail"),
        UnknownPivot("no such pivot"),
    ],
)
def test_an_error_reads_the_same_after_pickling(error: PivotEnvsError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_a_suggestion_is_neither_the_name_itself_nor_said_twice() -> None:
    assert suggest("bad", ["bad"]) == ""
    assert suggest("brows", ["browse", "browse", "swe"]) == " Did you mean 'browse'?"

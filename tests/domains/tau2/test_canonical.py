"""Canonical forms forgive number types, key order, white space, paired lists and minted ids, and nothing else."""

from __future__ import annotations

from pivot_envs.domains.tau2.canonical import (
    call_key,
    canonical_value,
    changed_fields,
    facts_of,
    rename_fresh,
)
from pivot_envs.domains.tau2.world import ToolSpec
from pivot_envs.records import ToolCall

EXCHANGE = ToolSpec(
    "exchange",
    "assistant",
    "write",
    {
        "function": {
            "parameters": {
                "properties": {
                    "item_ids": {"type": "array"},
                    "new_item_ids": {"type": "array"},
                    "gb": {"type": "number"},
                    "note": {"type": "string", "default": ""},
                }
            }
        }
    },
)


def key(**arguments: object) -> str:
    return call_key(ToolCall("exchange", arguments), EXCHANGE)


def test_integers_and_floats_of_equal_value_are_one() -> None:
    assert key(gb=2) == key(gb=2.0)
    assert key(gb=2) != key(gb=2.5)


def test_true_is_not_one() -> None:
    assert canonical_value(True) is True
    assert key(gb=True) != key(gb=1)


def test_huge_integers_stay_apart() -> None:
    assert canonical_value(10**30) != canonical_value(10**30 + 1)


def test_infinity_and_nan_do_not_raise() -> None:
    assert canonical_value(float("nan")) == canonical_value(float("nan"))
    assert canonical_value(float("inf")) != canonical_value(float("-inf"))


def test_a_default_made_explicit_is_no_difference() -> None:
    assert key(gb=1) == key(gb=1, note="")
    assert key(gb=1) != key(gb=1, note="x")


def test_paired_lists_may_be_permuted_together_but_not_against_each_other() -> None:
    assert key(item_ids=["1", "2"], new_item_ids=["8", "9"]) == key(item_ids=["2", "1"], new_item_ids=["9", "8"])
    assert key(item_ids=["1", "2"], new_item_ids=["8", "9"]) != key(item_ids=["1", "2"], new_item_ids=["9", "8"])


def test_only_changed_fields_stand_in_a_delta() -> None:
    before, after = {"status": "pending", "price": 2, "gone": 1}, {"status": "cancelled", "price": 2.0}
    assert changed_fields(before, after) == {"status": "cancelled", "gone": None}
    assert changed_fields(before, None) is None
    assert changed_fields(None, {"a": 1, "at": 5}, {"at"}) == {"a": 1.0}


def test_minted_ids_are_renamed_by_content_and_chosen_ids_are_not() -> None:
    first = {"bills/B1": {"id": "B1", "due": 4.0}, "people/C1": {"bills": ["B1"]}}
    second = {"bills/B2": {"id": "B2", "due": 4.0}, "people/C1": {"bills": ["B2"]}}
    renamed = rename_fresh(first, ["bills/B1"], ())
    assert renamed == rename_fresh(second, ["bills/B2"], ())
    assert rename_fresh(first, ["bills/B1"], {"B1"}) == first


def test_facts_are_a_bag_of_named_leaves() -> None:
    facts = facts_of('{"id": "x", "items": [{"price": 2}, {"price": 2.0}], "none": null}')
    assert facts[("price", 2.0)] == 2
    assert ("none", "null") not in facts
    assert not facts_of("") and not facts_of("[]")


def test_an_observation_that_is_no_json_is_one_fact() -> None:
    assert list(facts_of("sara_doe_496")) == [("", "sara_doe_496")]
    assert facts_of("[" * 100_000)

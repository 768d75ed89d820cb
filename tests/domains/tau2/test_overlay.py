"""Copy-on-write tables: nothing leaks into the base, a parent or a sibling, in whatever order they write."""

from __future__ import annotations

import copy
import random

import pytest

from pivot_envs.domains.tau2.overlay import Table

BASE = {"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}}


def content(table: Table) -> dict:
    return {key: dict(record) for key, record in table.items()}


def test_a_write_copies_the_record_and_leaves_the_base_alone() -> None:
    base = copy.deepcopy(BASE)
    table = Table(base)
    table["a"]["n"] = 10
    assert content(table)["a"] == {"n": 10}
    assert base == BASE


def test_a_parent_that_writes_after_forking_does_not_change_its_fork() -> None:
    table = Table(copy.deepcopy(BASE))
    table["a"]["n"] = 10
    fork = table.fork()
    table["a"]["n"] = 11
    fork["b"]["n"] = 20
    assert content(fork) == {"a": {"n": 10}, "b": {"n": 20}, "c": {"n": 3}}
    assert content(table) == {"a": {"n": 11}, "b": {"n": 2}, "c": {"n": 3}}


def test_deleted_and_added_records_are_seen_by_iteration_length_and_membership() -> None:
    table = Table(copy.deepcopy(BASE))
    del table["a"]
    table["d"] = {"n": 4}
    assert list(table) == ["b", "c", "d"]
    assert len(table) == 3
    assert "a" not in table
    with pytest.raises(KeyError):
        table["a"]
    assert table.changed() == {"d": (None, {"n": 4}), "a": ({"n": 1}, None)}


def test_what_was_touched_is_reported_against_the_mark_not_against_the_base() -> None:
    table = Table(copy.deepcopy(BASE))
    table["a"]["n"] = 10
    table.mark()
    table["a"]["n"] = 11
    del table["b"]
    assert table.touched() == {"a": ({"n": 10}, {"n": 11}), "b": ({"n": 2}, None)}


def test_reads_of_a_read_only_table_copy_nothing() -> None:
    table = Table(BASE)
    table.read_only = True
    assert table["a"] is BASE["a"]
    assert table.touched() == {}


def test_random_forks_and_writes_agree_with_deep_copies() -> None:
    rng = random.Random(0)
    base = {f"k{i}": {"n": i} for i in range(20)}
    pairs = [(Table(base), copy.deepcopy(base))]
    for _ in range(2_000):
        table, plain = rng.choice(pairs)
        key = f"k{rng.randrange(25)}"
        move = rng.random()
        if move < 0.2 and len(pairs) < 40:
            pairs.append((table.fork(), copy.deepcopy(plain)))
        elif move < 0.6 and key in plain:
            table[key]["n"] = plain[key]["n"] = rng.randrange(1000)
        elif move < 0.8:
            value = rng.randrange(1000)
            table[key], plain[key] = {"n": value}, {"n": value}
        elif key in plain:
            del table[key], plain[key]
        else:
            table.mark()
    assert base == {f"k{i}": {"n": i} for i in range(20)}
    for table, plain in pairs:
        assert content(table) == plain
        assert len(table) == len(plain)

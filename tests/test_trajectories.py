"""Files of trajectories: what is written is read, and what is wrong is named with file, line and field."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest

from pivot_envs import trajectories
from pivot_envs.errors import ConfigError, RecordError
from pivot_envs.records import Trajectory
from pivot_envs.trajectories import (
    SkippedLines,
    file_hash,
    from_record,
    read_trajectories,
    replace_lines,
    to_record,
    write_trajectories,
)

FILE = Path(__file__).parent / "data" / "trajectories.jsonl"


@pytest.fixture
def runs() -> list[Trajectory]:
    return list(read_trajectories(FILE))


@pytest.fixture
def record(runs: list[Trajectory]) -> dict[str, Any]:
    return copy.deepcopy(to_record(runs[0]))


def test_what_is_written_is_read_back_equal(runs: list[Trajectory], tmp_path: Path) -> None:
    path = tmp_path / "new" / "trajectories.jsonl"
    assert write_trajectories(path, runs) == 2
    assert list(read_trajectories(path)) == runs
    assert [each.trajectory_id for each in runs] == ["doors-1", "desk-1"]
    assert file_hash(path) == file_hash(FILE)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_calls_of_the_user_and_their_results_are_messages_like_others(runs: list[Trajectory]) -> None:
    assert runs[1].messages[3]["role"] == "user"
    assert runs[1].messages[3]["tool_calls"][0]["function"]["name"] == "reboot"


def call(arguments: Any = "{}", call_id: Any = "x", name: Any = "look") -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": call_id, "function": {"name": name, "arguments": arguments}}],
    }


RESULT = {"role": "tool", "tool_call_id": "x", "content": "ok"}
ASK = {"role": "user", "content": "?"}


@pytest.mark.parametrize(
    ("change", "field", "match"),
    [
        ({"schema_version": 2}, "schema_version", "newer than the 1 read here; upgrade"),
        ({"schema_version": "1"}, "schema_version", "valid integer"),
        ({"trajectory_id": "a/b"}, "trajectory_id", "without '/'"),
        ({"trajectory_id": ""}, "trajectory_id", "1 to 200"),
        ({"trajectory_id": 5}, "trajectory_id", "valid string, got 5"),
        ({"domain": "a b"}, "domain", "white space"),
        ({"task_id": None}, "task_id", "valid string, got None"),
        ({"initial_state": {"kind": "moon", "ref": "x"}}, "initial_state.kind", "'moon' is none of task, image"),
        ({"initial_state": {"kind": "task"}}, "initial_state.ref", "missing"),
        ({"task_id": "t9"}, "task_id", "'t9', but initial_state.ref says task 't1'; name one task in both"),
        ({"outcome": {"reward": "1"}}, "outcome.reward", "valid number"),
        ({"reward": 1}, "reward", "put what is yours under 'meta'"),
        ({"tools": {}}, "tools", "valid list"),
        ({"tools": [5]}, "tools[0]", "valid dictionary"),
        ({"messages": []}, "messages", "needs at least one"),
        ({"messages": "hi"}, "messages", "valid list"),
        ({"messages": [5]}, "messages[0]", "valid dictionary"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "'robot' is none of system"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "got 5"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]", "text part"),
        ({"messages": [RESULT]}, "messages[0].tool_call_id", "no call waits"),
        ({"messages": [call(), {**RESULT, "tool_call_id": "y"}]}, "messages[1].tool_call_id", "waiting are 'x'"),
        ({"messages": [call(), RESULT, RESULT]}, "messages[2].tool_call_id", "no call waits"),
        ({"messages": [call(), ASK]}, "messages[1]", "while call 'x' of messages\\[0\\] has no result"),
        (
            {"messages": [call(), {"role": "tool", "tool_call_id": "x"}]},
            "messages[1].content",
            "write '' for no output",
        ),
        ({"messages": [call({})]}, "messages[0].tool_calls[0].function.arguments", "expected a JSON string"),
        ({"messages": [call("{")]}, "messages[0].tool_calls[0].function.arguments", "no safe JSON: bad_json"),
        ({"messages": [call("[]")]}, "messages[0].tool_calls[0].function.arguments", "JSON of an object"),
        ({"messages": [call('{"a":1,"a":2}')]}, "messages[0].tool_calls[0].function.arguments", "duplicate_key"),
        ({"messages": [call('{"a":NaN}')]}, "messages[0].tool_calls[0].function.arguments", "not_finite"),
        ({"messages": [call("[" * 200_000)]}, "messages[0].tool_calls[0].function.arguments", "too_deep"),
        ({"messages": [call(call_id="")]}, "messages[0].tool_calls[0].id", "non-empty string"),
        ({"messages": [call(name=" ")]}, "messages[0].tool_calls[0].function.name", "1 to 256"),
        ({"messages": [{**ASK, "tool_calls": "x"}]}, "messages[0].tool_calls", "list of at most 64"),
        ({"messages": [{**ASK, "role": "system", "tool_calls": [1]}]}, "messages[0].tool_calls", "cannot call tools"),
        ({"messages": [{**ASK, "function_call": {"name": "a"}}]}, "messages[0].function_call", "write tool_calls"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(
    record: dict[str, Any], change: dict[str, Any], field: str, match: str
) -> None:
    with pytest.raises(RecordError, match=match) as raised:
        from_record({**record, **change}, file="f.jsonl", line=3)
    assert raised.value.field == field
    assert str(raised.value).startswith("f.jsonl, line 3, field ")
    assert len(str(raised.value)) < 500


def test_the_task_stands_in_one_place_or_in_both(record: dict[str, Any]) -> None:
    assert from_record({**record, "task_id": ""}).initial_state.ref == "t1"
    assert from_record({**record, "initial_state": {"kind": "task", "ref": ""}}).task_id == "t1"
    assert from_record({**record, "initial_state": {"kind": "image", "ref": "alpine:3"}}).task_id == "t1"


def test_a_run_may_end_with_a_call_that_has_no_result(record: dict[str, Any]) -> None:
    assert len(from_record({**record, "messages": [ASK, call()]}).messages) == 2


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"{", "no safe JSON: bad_json"),
        (b"[]", "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b"\xff\xfe", "is no UTF-8"),
        (b'{"a": 1, "a": 1}', "duplicate_key"),
        (b'{"a": "\\ud800"}', "lone_surrogate"),
        (b'{"a": Infinity}', "not_finite"),
        (b'{"a": ' + b"9" * 5000 + b"}", "huge_number"),
        (b"[" * 200_000, "too_deep"),
        (b"{}", "field is missing"),
    ],
)
def test_a_broken_line_is_reported_and_skipped_only_when_asked(line: bytes, match: str, tmp_path: Path) -> None:
    good = FILE.read_bytes().splitlines()
    path = tmp_path / "t.jsonl"
    path.write_bytes(good[0] + b"\n\n" + line + b"\n" + good[1] + b"\n")
    with pytest.raises(RecordError, match=match) as raised:
        list(read_trajectories(path))
    assert (raised.value.line, raised.value.file) == (3, str(path))
    skipped = SkippedLines()
    read = list(read_trajectories(path, skip_invalid=True, on_error=skipped))
    assert [each.trajectory_id for each in read] == ["doors-1", "desk-1"]
    assert [error.line for error in skipped.errors] == [3]


def test_an_id_stands_once_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(FILE.read_bytes() * 2)
    with pytest.raises(RecordError, match="'doors-1' stands in line 1 already"):
        list(read_trajectories(path))
    assert len(list(read_trajectories(path, skip_invalid=True))) == 2


def test_a_line_a_stopped_writer_left_is_named_and_cut_by_the_next(runs: list[Trajectory], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    whole = FILE.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(RecordError, match="line 2: the last line breaks off"):
        list(read_trajectories(path))
    assert write_trajectories(path, runs[1:], append=True) == 1
    assert path.read_bytes() == whole
    path.write_bytes(whole.splitlines()[0])
    write_trajectories(path, runs[1:], append=True)
    assert path.read_bytes() == whole
    path.unlink()
    assert write_trajectories(path, runs, append=True) == 2
    assert path.read_bytes() == whole


def test_a_line_longer_than_the_limit_is_skipped_without_reading_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectories, "MAX_LINE", 5000)
    path = tmp_path / "t.jsonl"
    lines = FILE.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"x" * 20_000 + b"\n" + lines[1])
    skipped = SkippedLines()
    assert len(list(read_trajectories(path, skip_invalid=True, on_error=skipped))) == 2
    assert "longer than 5,000 bytes" in str(skipped.errors[0])


def test_what_could_not_be_read_back_is_not_written(runs: list[Trajectory], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"old\n")
    for bad in (
        dataclasses.replace(runs[0], messages=()),
        dataclasses.replace(runs[0], meta={"a": float("nan")}),
        dataclasses.replace(runs[0], meta={"a": object()}),
        dataclasses.replace(runs[0], source="\ud800"),
    ):
        with pytest.raises(RecordError):
            write_trajectories(path, [runs[1], bad])
    assert path.read_bytes() == b"old\n"
    assert [file.name for file in tmp_path.iterdir()] == ["t.jsonl"]


def test_a_missing_file_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl is no file"):
        read_trajectories(tmp_path / "none.jsonl")


def test_a_thousand_damaged_files_raise_nothing_but_record_errors(tmp_path: Path) -> None:
    rng = random.Random(0)
    whole = FILE.read_bytes()
    path = tmp_path / "t.jsonl"
    parts = [b'"', b"{", b"}", b"[", b"null", b"NaN", b"\\ud800", b"\x00", b"\xff", b"1e999", b"\n", b"/", b"9" * 5000]
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randrange(3)] = rng.choice(parts)
        path.write_bytes(damaged)
        for trajectory in read_trajectories(path, skip_invalid=True, on_error=SkippedLines()):
            json.dumps(to_record(trajectory), ensure_ascii=False).encode()


@pytest.mark.parametrize("place", ["call", "function"])
def test_a_call_in_the_name_of_another_party_is_refused(place: str) -> None:
    record = json.loads(FILE.read_text(encoding="utf-8").splitlines()[0])
    call = next(m for m in record["messages"] if m.get("tool_calls"))["tool_calls"][0]
    (call if place == "call" else call["function"])["requestor"] = "user"
    with pytest.raises(RecordError, match=r"requestor.*a call of 'user' in a message of role 'assistant'"):
        from_record(record)
    (call if place == "call" else call["function"])["requestor"] = "assistant"
    from_record(record)


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real" / "link.jsonl").symlink_to("target.jsonl")
    assert replace_lines(tmp_path / "folder" / "link.jsonl", ["{}"]) == 1
    assert (tmp_path / "real" / "link.jsonl").is_symlink() and (tmp_path / "folder").is_symlink()
    assert (tmp_path / "real" / "target.jsonl").read_text(encoding="utf-8") == "{}\n"
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == ["link.jsonl", "target.jsonl"]


def test_a_file_with_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 249 + ".jsonl")
    assert replace_lines(path, ["{}"]) == 1
    assert path.is_file()

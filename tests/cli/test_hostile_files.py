"""Files and arguments that cannot be meant: each is refused with its name and a remedy, and nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pivot_envs.cli import main

DATA = Path(__file__).parent.parent / "data"
LOOK = [{"name": "get_account", "arguments": {"customer_id": "C094"}}]
PAIR = {"task_id": "train_001", "demonstrated": LOOK, "candidate": LOOK, "truth": "equal"}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(each) for each in arguments])
        told = capfd.readouterr()
        return code, told.out, told.err

    return call


def battery(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("option", ["--limit", "--seeds"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(run: Run, option: str, value: int) -> None:
    code, _, told = run("demonstrate", option, value, "--output", "t.jsonl")
    assert code == 1 and f"{option} {value}: expected at least 1" in told
    assert not os.path.exists("t.jsonl")


@pytest.mark.parametrize("content", ["", "\n \n"])
@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["candidates"],
        ["candidates", "--output", "o.jsonl"],
        ["audit", "--domain", "helpdesk"],
        ["import", "--format", "openai_chat", "--output", "o.jsonl"],
        ["import", "--format", "tau2", "--output", "o.jsonl"],
    ],
)
def test_a_file_without_a_row_is_an_error(run: Run, command: list[str], content: str) -> None:
    Path("empty.jsonl").write_text(content, encoding="utf-8")
    code, _, told = run(command[0], "empty.jsonl", *command[1:])
    assert code == 1 and ("holds no" in told or "is empty" in told) and "empty.jsonl" in told
    assert not os.path.exists("o.jsonl")


def test_a_file_of_which_every_line_is_skipped_is_an_error_too(run: Run) -> None:
    Path("broken.jsonl").write_text("{\n", encoding="utf-8")
    code, _, told = run("check", "broken.jsonl", "--skip-invalid")
    assert code == 1 and "1 invalid records skipped" in told and "no trajectory that can be read" in told


@pytest.mark.parametrize(
    ("format", "file"), [("tau2", DATA / "tau2_twin.json"), ("openai_chat", DATA / "trajectories.jsonl")]
)
def test_import_refuses_another_domain_than_the_file_names(run: Run, format: str, file: Path) -> None:
    code, _, told = run("import", file, "--format", format, "--domain", "airline", "--output", "o.jsonl")
    assert code == 1 and "'airline'" in told and "of domain '" in told
    assert not os.path.exists("o.jsonl")


def test_import_reads_the_folder_form_of_tau2(run: Run) -> None:
    Path("run").mkdir()
    Path("run/results.json").write_text((DATA / "tau2_twin.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert run("import", "run", "--format", "tau2", "--output", "o.jsonl")[0] == 0
    code, _, told = run("import", "run", "--format", "openai_chat", "--output", "o.jsonl")
    assert code == 1 and "run is a folder" in told


def test_a_folder_a_pipe_and_a_misspelt_name_are_told_apart(run: Run) -> None:
    Path("bad").mkdir()
    os.mkfifo("pipe")
    Path("runs.jsonl").touch()
    for name, expected in (
        ("bad", "bad is a folder; name a file in it"),
        ("pipe", "pipe is a pipe or device"),
        ("run.jsonl", "there is no file run.jsonl. Did you mean 'runs.jsonl'?"),
    ):
        code, _, told = run("check", name)
        assert code == 1 and expected in told, told


def test_outputs_are_written_through_links_and_a_link_without_an_end_is_refused(run: Run) -> None:
    Path("real").mkdir()
    os.symlink("real/t.jsonl", "t.jsonl")
    assert run("demonstrate", "--limit", 1, "--output", "t.jsonl")[0] == 0
    os.symlink("real/c.jsonl", "c.jsonl")
    assert run("candidates", "t.jsonl", "--output", "c.jsonl")[0] == 0
    assert Path("t.jsonl").is_symlink() and Path("c.jsonl").is_symlink()
    assert sorted(os.listdir("real")) == ["c.jsonl", "t.jsonl"]
    os.symlink("loop", "loop")
    os.symlink("absent/t.jsonl", "dangling")
    assert "leads back to itself" in run("demonstrate", "--limit", 1, "--output", "loop")[2]
    code, _, told = run("demonstrate", "--limit", 1, "--output", "dangling")
    assert code == 1 and "absent does not exist" in told


def test_check_says_which_turns_are_candidates_in_plain_lines(run: Run) -> None:
    run("demonstrate", "--limit", 1, "--output", "t.jsonl")
    rows = [json.loads(line) for line in Path("t.jsonl").read_text(encoding="utf-8").splitlines()]
    tool = next(m for m in rows[0]["messages"] if m["role"] == "tool")
    tool["content"] = "something else"
    Path("t.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    code, out, _ = run("check", "t.jsonl")
    assert code == 3
    assert " of them are candidates\n" in out and " dropped: prefix drifts" in out
    assert "━" not in out and "┃" not in out


def test_a_name_that_is_no_utf_8_breaks_no_output(run: Run) -> None:
    name = os.fsdecode(b"\xff.jsonl")
    code, out, _ = run("demonstrate", "--limit", 1, "--output", name)
    assert code == 0 and "wrote 1 trajectories" in out
    assert run("check", name)[0] == 0


def test_audit_refuses_an_id_that_stands_twice_and_names_rows_without_one(run: Run, tmp_path: Path) -> None:
    file = battery(tmp_path / "b.jsonl", {"id": "a", **PAIR}, PAIR, {"id": "a", **PAIR})
    code, _, told = run("audit", file, "--domain", "helpdesk")
    assert code == 1 and "line 3, field 'id': 'a' stands in line 1 already" in told
    file = battery(tmp_path / "b.jsonl", {"id": "a", **PAIR}, PAIR)
    code, out, _ = run("audit", file, "--domain", "helpdesk", "--json")
    assert code == 0 and [row["id"] for row in json.loads(out)["rows"]] == ["a", "line-2"]
    code, _, told = run("audit", battery(tmp_path / "b.jsonl", {"id": [1], **PAIR}), "--domain", "helpdesk")
    assert code == 1 and "field 'id': expected a string or a number" in told


def test_audit_reads_marks_and_line_breaks_of_other_systems(run: Run, tmp_path: Path) -> None:
    said = {"facts": ["a\u2028b"], "last_user": "x\x0by", "demonstrated": "Yes.", "candidate": "Yes.", "truth": "equal"}
    text = "\ufeff" + "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in (said, PAIR))
    (tmp_path / "b.jsonl").write_bytes(text.encode())
    code, out, told = run("audit", tmp_path / "b.jsonl", "--domain", "helpdesk", "--json")
    assert code == 0, told
    assert json.loads(out)["scored"] == 2


def test_audit_scores_no_row_whose_prefix_nobody_can_have_executed(run: Run, tmp_path: Path) -> None:
    file = battery(
        tmp_path / "b.jsonl",
        {"id": "good", **PAIR},
        {"id": "unknown", **PAIR, "prefix": [{"name": "no_such_tool", "arguments": {}}]},
        {"id": "party", **PAIR, "prefix": [{**LOOK[0], "requestor": "user"}]},
        {"id": "refused", **PAIR, "prefix": [{"name": "get_account", "arguments": {"customer_id": "C999"}}]},
    )
    code, out, told = run("audit", file, "--domain", "helpdesk", "--json")
    assert code == 3 and "not scored: 2 rows" in told and "refused call in their prefix: refused" in told
    report = json.loads(out)
    assert (report["scored"], report["not_restored"], report["prefix_failures"]) == (2, 2, ["refused"])
    outcomes = {row["id"]: row["outcome"] for row in report["rows"]}
    assert outcomes == {"good": "accepted", "unknown": "failed", "party": "failed", "refused": "accepted"}


def test_audit_judges_the_requestor_and_refuses_one_that_is_no_party(run: Run, tmp_path: Path) -> None:
    rows = [
        {**PAIR, "candidate": [{**LOOK[0], "requestor": party}], "truth": "different"} for party in ("user", "nobody")
    ]
    code, out, _ = run("audit", battery(tmp_path / "b.jsonl", *rows), "--domain", "helpdesk", "--json")
    assert code == 0
    found = [(row["outcome"], row["reason"]) for row in json.loads(out)["rows"]]
    assert found == [("rejected", "wrong_requestor"), ("malformed", "not_a_call")]


def test_audit_of_a_battery_without_a_scored_row_needs_a_look(run: Run, tmp_path: Path) -> None:
    file = battery(tmp_path / "b.jsonl", {**PAIR, "truth": "debatable"})
    code, out, told = run("audit", file, "--domain", "helpdesk")
    assert code == 3 and "no row was scored" in told and "judged by" in out


def test_an_empty_domain_is_a_domain_nobody_knows(run: Run) -> None:
    run("demonstrate", "--limit", "1", "--output", "one.jsonl")
    code, _, errors = run("check", "one.jsonl", "--domain", "")
    assert code != 0 and "unknown family or domain ''" in errors


def test_check_goes_on_behind_a_trajectory_of_a_task_nobody_knows(run: Run) -> None:
    run("demonstrate", "--limit", "2", "--output", "two.jsonl")
    first, second = Path("two.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(first)
    row["task_id"] = row["initial_state"]["ref"] = "train_999"
    Path("two.jsonl").write_text(json.dumps(row) + "\n" + second + "\n", encoding="utf-8")
    code, out, errors = run("check", "two.jsonl")
    assert code == 3 and "1 trajectories replayed, 1 could not be" in out and "train_999" in errors


def test_check_counts_prefixes_over_candidates_and_names_a_line_with_two_tasks(run: Run) -> None:
    run("demonstrate", "--output", "t.jsonl", "--limit", 1)
    row = json.loads(Path("t.jsonl").read_text(encoding="utf-8"))
    tool = next(message for message in row["messages"] if message["role"] == "tool")
    tool["content"] = tool["content"].replace("C0", "C9")
    battery(Path("drifts.jsonl"), row, {**row, "trajectory_id": "again"})
    code, out, _ = run("check", "drifts.jsonl", "--json")
    found = json.loads(out)
    assert code == 3 and found["dropped"] and found["prefixes"]["candidates"] == found["kept"] < found["turns"]
    assert found["prefixes"]["duplicates"] == found["kept"]
    battery(Path("two.jsonl"), {**row, "task_id": "test_001"})
    code, _, told = run("check", "two.jsonl")
    assert code == 1 and "two.jsonl, line 1, field 'task_id': 'test_001', but initial_state.ref says task" in told


def test_select_from_profiles_without_a_row_says_what_to_run_and_writes_nothing(run: Run) -> None:
    run("demonstrate", "--output", "t.jsonl", "--limit", 1)
    assert run("profile", "t.jsonl", "--output", "p.jsonl", "--k", 2)[0] == 0
    path = Path("p.jsonl")
    header = path.read_text(encoding="utf-8").splitlines()[0] + "\n"
    excluded = {"trajectory_id": "train_001-0", "candidates": [{"turn": 0, "excluded": "context_full"}], "cost": {}}
    for rows, why in (("", "no profile. Run"), (json.dumps(excluded) + "\n", "no profile; context_full: 1. Run")):
        path.write_text(header + rows, encoding="utf-8")
        code, out, told = run("select", "p.jsonl", "--trajectories", "t.jsonl", "--output", "pivots.jsonl")
        assert code == 1 and not out and "lambda" not in told
        assert f"nothing was profiled: p.jsonl holds {why} `pivot-envs profile t.jsonl --output p.jsonl`" in told
        assert not os.path.exists("pivots.jsonl")


@pytest.mark.parametrize(
    ("written", "instead"), [("train_001-0", "nope"), ('"turn":0', '"turn":999'), ('"helpdesk"', '"retail"')]
)
def test_select_refuses_profiles_of_turns_the_trajectory_file_does_not_hold(
    run: Run, written: str, instead: str
) -> None:
    run("demonstrate", "--output", "t.jsonl", "--limit", 1)
    assert run("profile", "t.jsonl", "--output", "p.jsonl", "--k", 2)[0] == 0
    text = Path("p.jsonl").read_text(encoding="utf-8").replace('": ', '":')
    assert written in text
    Path("p.jsonl").write_text(text.replace(written, instead), encoding="utf-8")
    code, _, told = run("select", "p.jsonl", "--trajectories", "t.jsonl", "--output", "pivots.jsonl")
    assert code == 1 and ("t.jsonl does not hold" in " ".join(told.split()) or "p.jsonl" in told)
    assert not Path("pivots.jsonl").exists()

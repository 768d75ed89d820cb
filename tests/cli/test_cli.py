"""The command line as a user meets it: real processes, real files, exit codes that mean something."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pivot_envs import __version__

RUN = [sys.executable, "-c", "import sys; from pivot_envs.cli import main; sys.exit(main())"]


def pivot_envs(*arguments: object, cwd: Path | None = None, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [*RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "trajectories.jsonl"
    done = pivot_envs("demonstrate", "--output", path, "--limit", 6)
    assert done.returncode == 0, done.stderr
    assert "wrote 6 trajectories of 6 helpdesk tasks" in done.stdout
    return path


@pytest.mark.parametrize(
    "command", ["", "demonstrate", "import", "check", "candidates", "profile", "select", "audit", "demo"]
)
def test_help_says_what_a_command_does(command: str) -> None:
    done = pivot_envs(*[*([command] if command else []), "--help"])
    assert done.returncode == 0
    assert "usage: pivot-envs" in done.stdout


def test_the_version_is_printed_and_a_bare_command_is_wrong_usage_with_its_help() -> None:
    done = pivot_envs("--version")
    assert (done.returncode, done.stdout) == (0, f"pivot-envs {__version__}\n")
    bare = subprocess.run([sys.executable, "-m", "pivot_envs"], capture_output=True, text=True, timeout=60)
    assert bare.returncode == 2 and "usage: pivot-envs" in bare.stdout and "evaluate" in bare.stdout


def test_a_misspelt_command_is_wrong_usage_and_a_misspelt_domain_an_error_with_a_suggestion(tmp_path: Path) -> None:
    assert pivot_envs("chek").returncode == 2
    done = pivot_envs("demonstrate", "--domain", "helpdsk", "--output", tmp_path / "x.jsonl")
    assert done.returncode == 1
    assert "Did you mean 'helpdesk'" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_counts_observations_and_candidates(recorded: Path) -> None:
    done = pivot_envs("check", recorded, "--twice", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["observations"]) == {"exact"}
    assert found["digests"] == {"same": found["turns"]}
    assert found["kept"] == found["turns"] > 40


def test_check_finds_a_changed_observation(recorded: Path, tmp_path: Path) -> None:
    lines = recorded.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0])
    tool = next(m for m in row["messages"] if m["role"] == "tool" and "customer_id" in m["content"])
    tool["content"] = tool["content"].replace("C0", "C9")
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join([json.dumps(row), *lines[1:]]) + "\n", encoding="utf-8")
    done = pivot_envs("check", changed)
    assert done.returncode == 3
    assert "1 drift" in done.stdout and "prefix drifts" in done.stdout


def test_a_broken_line_is_named_and_skipped_only_when_asked(recorded: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(recorded.read_text(encoding="utf-8") + '{"schema_version": 1, "traj\n', encoding="utf-8")
    strict = pivot_envs("check", broken)
    assert strict.returncode == 1
    assert "broken.jsonl, line 7" in strict.stderr
    lenient = pivot_envs("check", broken, "--skip-invalid")
    assert lenient.returncode == 3
    assert "1 invalid records skipped" in lenient.stderr


def test_candidates_are_listed_with_their_ids(recorded: Path) -> None:
    done = pivot_envs("candidates", recorded, "--kept-only")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[0]["candidate_id"].startswith("helpdesk/train_001-0/")
    assert {row["kind"] for row in rows} == {"calls", "text"}


def test_profile_is_resumed_after_a_kill_and_select_writes_pivots_with_reasons(recorded: Path) -> None:
    profiles, pivots = recorded.parent / "profiles.jsonl", recorded.parent / "pivots.jsonl"
    arguments = ["profile", recorded, "--output", profiles, "--k", "8", "--trajectories-per-batch", "1"]
    process = subprocess.Popen([*RUN, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (not profiles.exists() or profiles.read_bytes().count(b"\n") < 3) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = profiles.read_bytes().count(b"\n")
    done = pivot_envs(*arguments)
    assert done.returncode == 0, done.stderr
    assert before >= 3 and "trajectories were done before" in done.stdout
    done = pivot_envs("select", profiles, "--trajectories", recorded, "--output", pivots)
    assert done.returncode == 0, done.stderr
    assert "all_equal_one" in done.stdout
    header, *rows = [json.loads(line) for line in pivots.read_text(encoding="utf-8").splitlines()]
    assert header["trajectories"] == recorded.name and header["domain_fingerprint"]["world"] == "helpdesk"
    assert rows


def test_profiles_of_another_policy_or_k_are_refused(recorded: Path, tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.jsonl"
    assert pivot_envs("profile", recorded, "--output", profiles, "--k", 4, "--limit", 1).returncode == 0
    done = pivot_envs("profile", recorded, "--output", profiles, "--k", 8, "--limit", 1)
    assert done.returncode == 1
    assert "FingerprintMismatch" in done.stderr


def test_ctrl_c_is_a_quiet_end_with_its_own_code(recorded: Path, tmp_path: Path) -> None:
    arguments = ["profile", recorded, "--output", tmp_path / "p.jsonl", "--k", "64"]
    process = subprocess.Popen(
        [*RUN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=os.setsid
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "p.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in told and "Traceback" not in told


def test_audit_prints_agreement_beside_the_baselines(tmp_path: Path) -> None:
    battery = tmp_path / "battery.jsonl"
    look = [{"name": "get_account", "arguments": {"customer_id": "C094"}}]
    rows = [
        {"id": 1, "task_id": "train_001", "prefix": [], "demonstrated": look, "candidate": look, "truth": "equal"},
        {"id": 2, "task_id": "train_001", "demonstrated": look, "candidate": [], "truth": "different"},
        {"id": 3, "task_id": "train_001", "demonstrated": look, "candidate": "Hello!", "truth": "different"},
        {"id": 4, "task_id": "train_001", "demonstrated": look, "candidate": [{"tool": 3}], "truth": "different"},
        {"id": 5, "facts": ["credit: 20"], "last_user": "How much?", "demonstrated": "Your credit is 20 euro.",
         "candidate": "Your credit is 30 euro.", "truth": "different", "kind": "message"},
        {"id": 6, "demonstrated": look, "candidate": look, "truth": "debatable"},
    ]
    battery.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = pivot_envs("audit", battery, "--domain", "helpdesk", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["agreement"] == 1.0 and report["scored"] == 5
    assert report["left_out"] == {"debatable": 1}
    assert set(report["baselines"]) == {"exact", "tool_name", "word_overlap"}
    assert {row["id"]: row["decision"] for row in report["rows"]}[5] == "different"


def test_audit_names_the_row_and_field_that_cannot_be_read(tmp_path: Path) -> None:
    battery = tmp_path / "battery.jsonl"
    battery.write_text('{"id": 1, "task_id": "nobody", "demonstrated": [], "candidate": [], "truth": "equal"}\n')
    done = pivot_envs("audit", battery, "--domain", "helpdesk")
    assert done.returncode == 1
    assert "battery.jsonl, line 1, field 'task_id'" in done.stderr


def test_import_reads_a_tau2_results_file(tmp_path: Path) -> None:
    source = Path(__file__).resolve().parent.parent / "data"
    twin = next(source.glob("*tau2*"), None)
    assert twin is not None
    done = pivot_envs("import", twin, "--format", "tau2", "--output", tmp_path / "t.jsonl")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.jsonl").read_text(encoding="utf-8").count("\n") >= 1
    refused = pivot_envs("import", twin, "--format", "tau3", "--output", tmp_path / "t.jsonl")
    assert refused.returncode == 1 and "tau2" in refused.stderr


def test_train_refuses_a_server_and_a_random_policy(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = pivot_envs("train", recorded, "--policy", "http://127.0.0.1:1/v1", "--output", tmp_path / "run")
    assert done.returncode == 1 and "TRL" in done.stderr
    done = pivot_envs("train", recorded, "--policy", "tiny", "--output", tmp_path / "run")
    assert done.returncode == 1 and "--arm sft first" in done.stderr

"""`pivot-envs train` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pivot_envs.cli import main
from pivot_envs.domains import get_domain
from pivot_envs.trajectories import write_trajectories

WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "tokenizers", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from pivot_envs.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    domain = get_domain("tau2", "helpdesk")
    path = tmp_path_factory.mktemp("recorded") / "t.jsonl"
    write_trajectories(path, (domain.demonstrate(task, 0) for task in list(domain.tasks("train"))[:2]))
    return path


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_without_torch_the_help_shows_every_setting_and_training_says_what_to_install(
    recorded: Path, tmp_path: Path
) -> None:
    shown = without_torch("train", "--help")
    assert shown.returncode == 0, shown.stderr
    assert all(flag in shown.stdout for flag in ("--clip-low", "--sft.epochs", "--resume", "--group-size"))
    done = without_torch("train", recorded, "--policy", "tiny", "--arm", "sft", "--output", tmp_path / "run")
    assert done.returncode == 1
    assert "pip install 'pivot-envs[train]'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--sft.epochs", "0", "epochs is 0; it must be a whole number, at least 1"),
        ("--sft.lr", "nan", "lr is nan; it must be a finite number above 0"),
        ("--group-size", "1", "group_size is 1; it must be at least 2"),
        ("--clip-low", "1.5", "clip_low is 1.5; it must be between 0 and 1"),
    ],
)
def test_a_setting_that_cannot_be_meant_ends_with_its_name(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str, told: str
) -> None:
    given = ["train", str(recorded), "--policy", "tiny", "--arm", "sft", "--output", str(tmp_path / "run"), flag, value]
    try:
        code = main(given)
    except SystemExit as stopped:  # wrong usage
        code = int(str(stopped.code))
    assert code in (1, 2)
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_imitation_is_resumed_and_its_policy_trained_on_pivots_with_a_ledger(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    sft = ["train", str(recorded), "--policy", "tiny", "--arm", "sft", "--output", str(tmp_path / "sft")]
    sft += ["--prompt-style", "compact"]
    assert main([*sft, "--sft.epochs", "1"]) == 0
    assert main([*sft, "--sft.epochs", "1"]) == 1
    assert "already holds a run; resume it" in capsys.readouterr().err
    assert main([*sft, "--sft.epochs", "2", "--resume"]) == 0
    assert "2 steps on" in capsys.readouterr().out

    profiles, pivots = recorded.parent / "profiles.jsonl", recorded.parent / "pivots.jsonl"
    assert main(["profile", str(recorded), "--output", str(profiles), "--k", "4"]) == 0
    assert main(["select", str(profiles), "--trajectories", str(recorded), "--output", str(pivots)]) == 0
    train = ["train", str(pivots), "--output", str(tmp_path / "run"), "--steps", "2", "--group-size", "2"]
    train += ["--pivots-per-step", "2", "--max-tokens", "8", "--policy", str(tmp_path / "sft" / "policy")]
    assert main(train) == 1
    assert "the pivots were profiled for policy 'noisy-demonstration'" in capsys.readouterr().err
    train += ["--other-policy", "--profiles", str(profiles)]
    assert main([*train, "--device", "warp"]) == 1
    assert "cannot put the model on device 'warp'" in capsys.readouterr().err
    assert main(train) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["steps"] == len(rows) == 2
    assert ledger["rollouts"] == sum(row["rollouts"] for row in rows) == 8
    profiled = sum(row["cost"]["rollouts"] for row in map(json.loads, profiles.read_text().splitlines()[1:]))
    assert ledger["rollouts_profiling"] == profiled > 40
    assert ledger["rollouts_including_profiling"] == profiled + 8
    for key, total in ledger["tokens"].items():
        assert total == sum(row[f"tokens/{key}"] for row in rows)
    assert ledger["seconds"]["all"] == pytest.approx(sum(row["seconds"] for row in rows))
    assert ledger["tokens"]["sampled"] > 0 and ledger["tokens"]["prefilled"] > 0
    for row in rows:
        assert {"reward/mean", "dead_share", "lucky_share", "ratio_max", "clip_share", "kl", "entropy"} <= set(row)

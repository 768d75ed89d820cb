"""The demo, small: every stage runs, and the figures of this run stand on the screen and on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from pivot_envs.cli import main


@pytest.mark.slow
def test_the_demo_runs_every_stage_and_leaves_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    small = ["--tasks", "4", "--profiled", "4", "--k", "4", "--audited", "1", "--steps", "1", "--sft-epochs", "1"]
    assert main(["demo", "--output", str(tmp_path), *small, "--episodes", "4"]) == 0
    shown = capsys.readouterr().out
    assert "reward 1 (accepted, same_effect)" in shown
    assert "sft against base:" in shown
    assert "not run here:" in shown
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>base</td>" in page
    assert "<td>sft</td>" in page
    assert "http" not in page.replace("http://www.w3.org", ""), "the page must need nothing from elsewhere"
    assert {"train.jsonl", "test.jsonl", "profiles.jsonl", "pivots.jsonl"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_without_training_the_demo_profiles_the_scripted_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--output", str(tmp_path), "--no-training", "--tasks", "4", "--audited", "1"]) == 0
    shown = capsys.readouterr().out
    assert "left out by --no-training" in shown
    assert "profile and select (scripted test policy)" in shown

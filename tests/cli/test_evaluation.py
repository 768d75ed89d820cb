"""The command `evaluate`, with the policy that is shipped, and the refusals of its arguments."""

from __future__ import annotations

import json

import pytest

from pivot_envs.cli import main

pytest.importorskip("torch", reason="torch is not installed (extra 'train')")


def test_the_shipped_policy_is_evaluated_on_episodes_and_turns(capsys: pytest.CaptureFixture[str]) -> None:
    """It masters the work by half: most turns, and some whole episodes at most."""
    arguments = ["evaluate", "helpdesk-base", "--episodes", "4", "--max-turns", "8", "--turns", "30"]
    arguments += ["--max-tokens", "72"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["turns"]["effect"]["n"] == 30
    assert found["turns"]["exact"]["share"] <= found["turns"]["effect"]["share"]
    assert found["turns"]["effect"]["share"] > 0.4
    assert found["episodes"]["success"]["n"] == 4
    assert sum(found["episodes"]["endings"].values()) == 4
    assert main([*arguments, "--episodes", "0"]) == 0
    shown = capsys.readouterr().out
    assert "turns accepted by effect" in shown
    assert "whole episodes" not in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("helpdesk-base", "--turns", "-1"), "--turns -1: expected at least 0"),
        (("helpdesk-base", "--domain", "helpdsk"), "helpdesk"),
        (("http://127.0.0.1:1/v1",), "name its model with --model"),
        (("helpdesk-base", "--episodes", "0", "--turns", "0"), "leave nothing to evaluate"),
        (("helpdesk-base", "--episodes", "0", "--verifiers"), "no verifier is named"),
        (("helpdesk-base", "--temperature", "nan"), "temperature is nan"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) == 1
    assert told in " ".join(capsys.readouterr().err.split())


def test_turns_that_are_cut_at_the_limit_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "helpdesk-base", "--episodes", "0", "--turns", "20", "--max-tokens", "5"]
    assert main([*arguments, "--verifiers", "paper", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["turns"]["paper"]
    assert found["n"] + found["cut"] == 20 and found["cut"] == found["excluded"] > 0
    assert main([*arguments, "--verifiers", "paper"]) == 0
    assert f"cut at --max-tokens, as training masks them: {found['cut']}" in capsys.readouterr().out

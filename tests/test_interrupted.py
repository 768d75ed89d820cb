"""What stops a profiling run from outside: SIGKILL at any point, a full disk, input that has changed meanwhile."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_profiling import Adder, noisy

from pivot_envs.cli import main
from pivot_envs.errors import ConfigError, FingerprintMismatch
from pivot_envs.policy import check_sampling
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, profile
from pivot_envs.records import Sampling

KILLS = 10
RUN = [sys.executable, "-c", "import sys; from pivot_envs.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interrupted") / "trajectories.jsonl"
    assert main(["demonstrate", "--output", str(path), "--limit", "60"]) == 0
    return path


def command(recorded: Path, output: Path, *more: object) -> list[str]:
    return [*map(str, ["profile", recorded, "--output", output, "--trajectories-per-batch", 1, *more])]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_ten_times(arguments: Sequence[str], output: Path, rng: random.Random) -> list[int]:
    """Start the command ten times, kill it a random moment after it wrote; return the lines found each time."""
    found = []
    for _ in range(KILLS):
        before = lines(output)
        child = subprocess.Popen([*RUN, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while lines(output) <= before and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, f"over before it could be killed, with lines {[*found, lines(output)]}"
        found.append(lines(output))
    return found


def killed_equals_unbroken(recorded: Path, folder: Path, *more: object) -> None:
    killed, unbroken = folder / "killed.jsonl", folder / "unbroken.jsonl"
    found = kill_ten_times(command(recorded, killed, *more), killed, random.Random(4))
    assert found == sorted(found) and found[-1] > KILLS // 2
    for output in (killed, unbroken):
        assert main(command(recorded, output, *more)) == 0
    one, other = read_profiles(killed), read_profiles(unbroken)
    assert one.profiles == other.profiles and one.excluded == other.excluded
    assert one.cost["rollouts"] == other.cost["rollouts"] and list(one.profiles) == list(other.profiles)


@pytest.mark.slow
def test_ten_kills_of_a_scripted_policys_run_change_nothing(recorded: Path, tmp_path: Path) -> None:
    killed_equals_unbroken(recorded, tmp_path, "--k", 8)


@pytest.mark.slow
def test_ten_kills_of_a_run_with_a_local_model_change_nothing(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    from pivot_envs.trainer.tiny import tiny_model

    model = tmp_path / "tiny"
    tiny_model(["my router is down", "restart it"] * 10, width=32, layers=1, prompt_style="compact").save(model)
    options = ("--prompt-style", "compact", "--sampling.max-tokens", 24, "--limit", 45)
    killed_equals_unbroken(recorded, tmp_path, "--k", 2, "--policy", model, *options)


# ---- no room


def limited(arguments: Sequence[str], size: int) -> subprocess.CompletedProcess[str]:
    """Run the command where no file may grow beyond `size` bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run([*RUN, *arguments], capture_output=True, text=True, preexec_fn=limit, timeout=240)


def test_a_full_disk_is_told_with_file_and_remedy_and_loses_nothing_that_was_done(
    recorded: Path, tmp_path: Path
) -> None:
    output, whole = tmp_path / "profiles.jsonl", tmp_path / "whole.jsonl"
    arguments = command(recorded, output, "--k", 2, "--limit", 8)
    assert main(command(recorded, whole, "--k", 2, "--limit", 8)) == 0
    done = limited(arguments, whole.stat().st_size // 2)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    told = " ".join(done.stderr.split())
    assert f"{output}: a line could not be written (File too large)" in told and "Make room" in told
    kept = read_profiles(output)
    assert output.read_bytes().endswith(b"\n") and 0 < len(kept.profiles) < len(read_profiles(whole).profiles)
    assert main(arguments) == 0
    assert read_profiles(output).profiles == read_profiles(whole).profiles


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this platform")
def test_a_device_is_no_place_for_profiles(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(recorded, Path("/dev/full"))) == 1
    assert "/dev/full exists and is no regular file" in " ".join(capsys.readouterr().err.split())


# ---- input that does not fit


def test_pivots_of_another_trajectory_file_are_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profiles, other = tmp_path / "p.jsonl", tmp_path / "other.jsonl"
    assert main(command(recorded, profiles, "--k", 2, "--limit", 1)) == 0
    other.write_text(recorded.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    arguments = ["select", str(profiles), "--trajectories", str(other), "--output", str(tmp_path / "pivots.jsonl")]
    assert main(arguments) == 1
    assert "other.jsonl: trajectories_sha256 was" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "pivots.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--verifier", "tool_name"), "verifier was 'effect' when it was recorded and is 'tool_name' now"),
        (("--prompt-style", "compact"), "prompt_style was 'full' when it was recorded and is 'compact' now"),
        (("--adaptive", "exact"), "adaptive.adaptive was '(absent)' when it was recorded and is 'exact' now"),
        (("--sampling.temperature", "0.5"), "sampling.temperature was 1.0"),
    ],
)
def test_going_on_under_other_conditions_is_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str], told: str
) -> None:
    profiles = tmp_path / "p.jsonl"
    assert main(command(recorded, profiles, "--k", 2, "--limit", 1)) == 0
    before = profiles.read_bytes()
    assert main(command(recorded, profiles, "--k", 2, "--limit", 2, *option)) == 1
    assert told in " ".join(capsys.readouterr().err.split()) and profiles.read_bytes() == before


def test_another_template_is_refused(tmp_path: Path) -> None:
    policies = [noisy(), noisy()]
    for policy, template in zip(policies, ("t1", "t2"), strict=True):
        policy.template_hash = template  # type: ignore[attr-defined]
    profile(Adder(), policies[0], ProfileConfig(k=4), tmp_path / "p.jsonl")  # type: ignore[arg-type]
    with pytest.raises(FingerprintMismatch, match="template was 't1' when it was recorded and is 't2' now"):
        profile(Adder(), policies[1], ProfileConfig(k=4), tmp_path / "p.jsonl")  # type: ignore[arg-type]


def test_a_model_whose_context_is_too_short_is_told_with_the_tokens_and_a_way_out(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    from pivot_envs.trainer.tiny import tiny_model

    tiny_model(["my router is down"] * 10, width=32, layers=1, context_length=64).save(tmp_path / "tiny")
    arguments = command(recorded, tmp_path / "p.jsonl", "--k", 2, "--limit", 1, "--policy", tmp_path / "tiny")
    assert main(arguments) == 3
    told = capsys.readouterr()
    assert "context_full" in told.out and "shorter prompt_style" in told.out
    assert "no candidate has a profile" in told.err
    [warning] = [one for one in caplog.messages if "is left out" in one]
    assert "tokens, at most 63 fit" in warning and "longer context" in warning


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        (Sampling(temperature=-3), "temperature is -3; expected a number from 0"),
        (Sampling(temperature=float("nan")), "temperature is nan"),
        (Sampling(temperature=float("inf")), "temperature is inf"),
        (Sampling(top_p=7), "top_p is 7; expected a share above 0, at most 1"),
        (Sampling(top_p=0), "top_p is 0"),
        (Sampling(max_tokens=-5), "max_tokens is -5; expected a whole number from 1"),
        (Sampling(max_tokens=1.5), "max_tokens is 1.5"),  # type: ignore[arg-type]
    ],
)
def test_sampling_that_draws_nothing_is_refused(sampling: Sampling, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_sampling(sampling)
    with pytest.raises(ConfigError, match=told):
        ProfileConfig(sampling=sampling)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--k", "0"), "k is 0; expected at least 2"),
        (("--limit", "0"), "--limit 0: expected at least 1"),
        (("--limit", "-1"), "--limit -1: expected at least 1"),
        (("--retries", "-1"), "retries is -1"),
        (("--max-failed-share", "nan"), "max_failed_share is nan"),
        (("--adaptive", "exact", "--lambda-diff", "2"), "lambda_diff is 2.0; expected a number between 0 and 1"),
        (("--policy", "some/model", "--device", "qpu"), "cannot put the model on device 'qpu'"),
    ],
)
def test_nonsense_options_end_with_a_message_and_write_nothing(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], told: str
) -> None:
    if "--device" in options:
        pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    try:
        code = main(command(recorded, tmp_path / "p.jsonl", *options))
    except SystemExit as wrong_usage:
        code = int(str(wrong_usage.code))
    shown = capsys.readouterr()
    assert code in (1, 2) and told in " ".join((shown.err + shown.out).replace("│", " ").split())
    assert not (tmp_path / "p.jsonl").exists()


def test_a_random_control_says_so_in_its_header(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profiles = recorded.parent / "p.jsonl"
    assert main(command(recorded, profiles, "--k", 8, "--limit", 8)) == 0
    counts = []
    for more in ((), ("--random-control",)):
        output = recorded.parent / f"pivots{len(more)}.jsonl"
        arguments = ["select", str(profiles), "--trajectories", str(recorded), "--output", str(output), *more]
        assert main(arguments) == 0
        header, *rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        assert header["selector"]["random_control"] == bool(more)
        counts.append(len(rows))
    assert counts[0] == counts[1] > 0
    assert "drawn at random as a control" in capsys.readouterr().out

"""`pivot-envs train` in real processes: killed with SIGKILL, or out of space, and resumed to the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from pivot_envs.candidates import parse_candidate_id  # noqa: E402
from pivot_envs.cli.learning import open_scorer  # noqa: E402
from pivot_envs.cli.training import tiny_policy  # noqa: E402
from pivot_envs.domains import get_domain  # noqa: E402
from pivot_envs.pivots import PivotHeader, write_pivots  # noqa: E402
from pivot_envs.records import Pivot  # noqa: E402
from pivot_envs.trainer.config import SFTConfig  # noqa: E402
from pivot_envs.trainer.run import read_rows  # noqa: E402
from pivot_envs.trainer.sft import demonstrations, train_sft  # noqa: E402
from pivot_envs.trajectories import file_hash, write_trajectories  # noqa: E402

KILLS = 10
STEPS = 8
STARTER = """
import json, os, resource, sys, torch
torch.set_num_threads(1)
import pivot_envs.trainer.grpo
from pivot_envs.cli import main
for line in sys.stdin:
    size, errors, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
        os._exit(main(arguments))
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Starts one process per line of arguments, so that importing torch is paid once. It waits for a process when asked
to, so that its id stays its own until then."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A policy that solves some turns of four demonstrations sometimes, and those turns as pivots."""
    folder = tmp_path_factory.mktemp("prepared")
    domain = get_domain("tau2", "helpdesk")
    data = folder / "t.jsonl"
    write_trajectories(data, (domain.demonstrate(task, 0) for task in list(domain.tasks("train"))[:4]))
    scorer = open_scorer(data, "effect", "hermes", "compact", None)
    policy = tiny_policy(scorer, data, "compact")
    config = SFTConfig(epochs=30, batch_size=2, micro_batch=2, lr=2e-3)
    train_sft(policy, demonstrations(scorer, scorer.ids(), policy), config)
    policy.save(folder / "policy")
    header = PivotHeader(data.name, file_hash(data), domain.name, dict(domain.fingerprint), {})
    pivots = [Pivot(i, *parse_candidate_id(i)[1:], profile=None) for i in scorer.ids()]
    write_pivots(folder / "pivots.jsonl", header, pivots)
    return folder


class Starter:
    """Starts commands one after the other in processes of their own."""

    def __init__(self, errors):
        self.errors = errors
        """File with what the last command printed."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, *arguments, largest_file=-1):
        line = json.dumps([largest_file, str(self.errors), [str(a) for a in arguments]])
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self):
        self.process.stdin.write("wait\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="module")
def starter(tmp_path_factory):
    started = Starter(tmp_path_factory.mktemp("printed") / "printed.txt")
    yield started
    started.close()


def arguments(prepared, output, steps):
    words = f"--steps {steps} --group-size 4 --pivots-per-step 2 --lr 1e-3 --max-tokens 24 --checkpoint-every 2"
    given = ["train", prepared / "pivots.jsonl", "--policy", prepared / "policy", "--no-mask-truncated", *words.split()]
    resume = ["--resume"] if (output / "manifest.json").exists() else []
    return [*given, "--output", output, *resume]


@pytest.mark.slow
def test_training_killed_at_ten_random_points_ends_with_the_weights_of_an_unbroken_run(prepared, starter, tmp_path):
    rng, unbroken = random.Random(0), tmp_path / "unbroken"
    starter.start(*arguments(prepared, unbroken, STEPS))
    began = time.monotonic()
    assert starter.wait() == 0, starter.errors.read_text()
    whole = time.monotonic() - began
    kills, runs = 0, [tmp_path / "run-0"]
    while kills < KILLS:
        child = starter.start(*arguments(prepared, runs[-1], STEPS))
        time.sleep(rng.uniform(0, whole * 0.6))
        os.kill(child, signal.SIGKILL)
        code = starter.wait()
        kills += code == -signal.SIGKILL
        if code == 0:  # it was done before the signal came
            runs.append(tmp_path / f"run-{len(runs)}")
    starter.start(*arguments(prepared, runs[-1], STEPS))
    assert starter.wait() == 0, starter.errors.read_text()
    assert sum(row["optimizer_updates"] for row in read_rows(unbroken / "metrics.jsonl")) > STEPS / 2
    final = f"checkpoints/step-{STEPS:06d}/policy/model.safetensors"
    before = (prepared / "policy" / "model.safetensors").read_bytes()
    for run in runs:
        assert (run / final).read_bytes() == (unbroken / final).read_bytes() != before
        assert untimed(run) == untimed(unbroken)


@pytest.mark.slow
def test_a_run_out_of_space_ends_with_a_message_and_goes_on_when_there_is_some(prepared, starter, tmp_path):
    run = tmp_path / "run"
    starter.start(*arguments(prepared, run, 2))
    assert starter.wait() == 0, starter.errors.read_text()
    starter.start(*arguments(prepared, run, 4), largest_file=300_000)
    assert starter.wait() == 1
    told = starter.errors.read_text()
    assert "error: cannot write checkpoint" in told and "make space, then resume" in told and "Traceback" not in told
    assert [folder.name for folder in (run / "checkpoints").iterdir()] == ["step-000002"]
    for folder in (run, tmp_path / "unbroken"):
        starter.start(*arguments(prepared, folder, 4))
        assert starter.wait() == 0, starter.errors.read_text()
    assert untimed(run) == untimed(tmp_path / "unbroken")


def untimed(run):
    rows = read_rows(run / "metrics.jsonl")
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]

"""The folder of a run: what a kill, a full disk or a damaged file leaves, and how training goes on from it."""

from __future__ import annotations

import json
import logging
import os
import pickle
import resource
import shutil
import signal
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pivot_envs.errors import ConfigError, FingerprintMismatch, RecordError  # noqa: E402
from pivot_envs.trainer.checkpoints import Unwritten  # noqa: E402
from pivot_envs.trainer.config import SFTConfig  # noqa: E402
from pivot_envs.trainer.ledger import ledger  # noqa: E402
from pivot_envs.trainer.model import load_policy  # noqa: E402
from pivot_envs.trainer.run import read_rows  # noqa: E402
from pivot_envs.trainer.sft import SFTExample, train_sft  # noqa: E402

CONFIG = SFTConfig(epochs=3, batch_size=2, micro_batch=2, lr=1e-2, checkpoint_every=2)
"""Five examples: three steps an epoch, nine in all, checkpoints after 2, 4, 6, 8 and 9."""


@pytest.fixture
def examples(prompt):
    return [SFTExample(prompt(str(i), f"alpha {i} beta"), f"red {i}") for i in range(5)]


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def rows_without_time(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


class Stop(Exception):
    """What ends a run in the middle."""


def stop_after(step):
    def on_step(row):
        if row["step"] == step:
            raise Stop

    return on_step


@pytest.fixture
def unbroken(tiny, examples, tmp_path):
    """An unbroken run: its policy and its folder."""
    policy = tiny()
    train_sft(policy, examples, CONFIG, tmp_path / "unbroken")
    return policy, tmp_path / "unbroken"


@pytest.fixture
def stopped(tiny, examples, tmp_path):
    """The folder of a run stopped after five of nine steps, with checkpoints after four and five."""
    with pytest.raises(Stop):
        train_sft(tiny(), examples, CONFIG, tmp_path / "run", stop_after(5))
    assert names(tmp_path / "run") == ["step-000004", "step-000005"]
    return tmp_path / "run"


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def resumed_equals(tiny, examples, folder, unbroken, policy=None):
    policy = policy or tiny(seed=9)  # whatever is in memory, the checkpoint decides
    result = train_sft(policy, examples, CONFIG, folder, resume=True)
    whole, whole_folder = unbroken
    assert result.steps == 9
    assert torch.equal(weights(policy), weights(whole))
    assert rows_without_time(folder) == rows_without_time(whole_folder)
    assert load_policy(folder / "policy").fingerprint == whole.fingerprint


def test_a_resumed_imitation_equals_an_unbroken_one_bit_by_bit(tiny, examples, stopped, unbroken):
    resumed_equals(tiny, examples, stopped, unbroken)
    assert train_sft(tiny(), examples, CONFIG, stopped, resume=True).steps == 9  # a finished run stays finished


def test_ctrl_c_saves_the_step_it_came_in_and_says_how_to_go_on(tiny, examples, tmp_path, unbroken, caplog):
    def interrupt(row):
        if row["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_sft(tiny(), examples, CONFIG, tmp_path / "run", interrupt)
    assert "stopped after step 3" in caplog.text and "resume goes on from there" in caplog.text
    assert names(tmp_path / "run") == ["step-000002", "step-000003"]
    resumed_equals(tiny, examples, tmp_path / "run", unbroken)


def cut(folder):
    path = folder / "state.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(folder):
    path = folder / "policy" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "state.pt was changed": cut,
    "model.safetensors was changed": change,
    "config.json is missing": lambda folder: (folder / "policy" / "config.json").unlink(),
    "No such file": lambda folder: (folder / "checkpoint.json").unlink(),
    "checkpoint.json: bad_json": lambda folder: (folder / "checkpoint.json").write_text('{"step": 5'),
    "checkpoint.json: .*deep": lambda folder: (folder / "checkpoint.json").write_text("[" * 200_000),
    "checkpoint.json: .*step": lambda folder: (folder / "checkpoint.json").write_text("{}"),
    "was not saved with it": lambda folder: (folder / "policy" / "modeling_own.py").write_text("raise SystemExit"),
}


@pytest.mark.slow
@pytest.mark.parametrize("told", DAMAGES)
def test_a_damaged_checkpoint_is_named_once_and_the_one_before_it_used(
    tiny, examples, stopped, unbroken, caplog, told
):
    DAMAGES[told](stopped / "checkpoints" / "step-000005")
    with caplog.at_level(logging.WARNING):
        resumed_equals(tiny, examples, stopped, unbroken)
    [warning] = [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]
    assert "step-000005 is damaged" in warning and "trying the checkpoint before it" in warning
    assert not names(stopped)[0].endswith("partial")
    discarded = read_rows(stopped / "discarded.jsonl")
    assert [row["step"] for row in discarded] == [5]
    assert json.loads((stopped / "ledger.json").read_text())["discarded"]["steps"] == 1


def test_no_checkpoint_that_can_be_used_is_an_error_that_touches_nothing(tiny, examples, stopped):
    for name in names(stopped):
        cut(stopped / "checkpoints" / name)
    before = sorted(path.read_bytes() for path in stopped.rglob("*") if path.is_file())
    with pytest.raises(ConfigError, match="none of the 2 checkpoints in .* can be used: start a new run"):
        train_sft(tiny(), examples, CONFIG, stopped, resume=True)
    assert sorted(path.read_bytes() for path in stopped.rglob("*") if path.is_file()) == before


class Escape:
    def __reduce__(self):
        return os.mkdir, ("escaped",)


def test_a_checkpoint_that_would_run_code_is_damaged_and_runs_none(tiny, examples, stopped, tmp_path, monkeypatch):
    """Its hashes are right, as a hostile sender would make them."""
    from pivot_envs.trainer.checkpoints import _files

    monkeypatch.chdir(tmp_path)
    for name in names(stopped):
        folder = stopped / "checkpoints" / name
        (folder / "state.pt").write_bytes(pickle.dumps(Escape()))
        header = json.loads((folder / "checkpoint.json").read_text())
        (folder / "checkpoint.json").write_text(json.dumps({**header, "files": _files(folder)}))
    with pytest.raises(ConfigError, match="none of the 2 checkpoints"):
        train_sft(tiny(), examples, CONFIG, stopped, resume=True)
    assert not (tmp_path / "escaped").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_over_from_the_same_policy_only(
    tiny, examples, stopped, unbroken
):
    shutil.rmtree(stopped / "checkpoints")
    with pytest.raises(FingerprintMismatch, match="stopped before its first checkpoint and began with the policy"):
        train_sft(tiny(seed=9), examples, CONFIG, stopped, resume=True)
    resumed_equals(tiny, examples, stopped, unbroken, tiny())


def test_a_folder_is_resumed_only_where_it_holds_this_run(tiny, examples, stopped, tmp_path):
    with pytest.raises(ConfigError, match="already holds a run; resume it, or name another folder"):
        train_sft(tiny(), examples, CONFIG, stopped)
    with pytest.raises(ConfigError, match="holds no run to resume; start without resume"):
        train_sft(tiny(), examples, CONFIG, tmp_path / "nowhere", resume=True)
    with pytest.raises(ConfigError, match="without a folder cannot be resumed"):
        train_sft(tiny(), examples, CONFIG, resume=True)
    with pytest.raises(FingerprintMismatch, match="changed since: config"):
        train_sft(tiny(), examples, replace(CONFIG, lr=1e-3), stopped, resume=True)
    with pytest.raises(FingerprintMismatch, match="changed since: examples"):
        train_sft(tiny(), examples[1:], CONFIG, stopped, resume=True)


def test_a_metrics_line_that_a_kill_cut_off_is_dropped_and_a_broken_one_before_it_is_named(tiny, examples, stopped):
    path = stopped / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 6, "lo')
    assert train_sft(tiny(), examples, CONFIG, stopped, resume=True).steps == 9
    path.write_text("garbage\n" + path.read_text())
    with pytest.raises(RecordError, match=r"metrics.jsonl, line 1: no metrics row"):
        train_sft(tiny(), examples, CONFIG, stopped, resume=True)


def test_the_ledger_is_the_sum_of_the_rows():
    rows = [
        {"rollouts": 8, "tokens/forwarded": 10, "tokens/naive": 40, "tokens/sampled": 5, "tokens/prefilled": 6,
         "seconds": 3.0, "seconds/sampling": 1.0, "seconds/scoring": 0.5, "seconds/update": 1.5},
        {"rollouts": 8, "tokens/forwarded": 20, "tokens/naive": 80, "tokens/sampled": 7, "tokens/prefilled": 6,
         "seconds": 3.5, "seconds/sampling": 1.0, "seconds/scoring": 0.5, "seconds/update": 2.0},
    ]  # fmt: skip
    total = ledger(rows, rows[:1], profiling_rollouts=100)
    assert total["rollouts_including_profiling"] == 116
    assert total["tokens"] == {"sampled": 12, "prefilled": 12, "forwarded": 30, "naive": 120}
    assert total["seconds"] == {"sampling": 2.0, "scoring": 1.0, "update": 3.5, "all": 6.5}
    assert total["discarded"] == {"steps": 1, "rollouts": 8}
    unknown = ledger(rows)
    assert unknown["rollouts_including_profiling"] is None and "unknown" in unknown["rollouts_profiling"]


def test_metrics_go_to_tensorboard_when_asked(tiny, examples, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_sft(tiny(), examples, replace(CONFIG, epochs=1, tensorboard=True), tmp_path / "run")
    read = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    written = [(event.step, event.value) for event in read.Scalars("loss")]
    assert written == [(r["step"], pytest.approx(r["loss"])) for r in read_rows(tmp_path / "run" / "metrics.jsonl")]


def test_without_tensorboard_training_goes_on_with_a_warning(tiny, examples, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = train_sft(tiny(), examples, replace(CONFIG, epochs=1, tensorboard=True), tmp_path / "run")
    assert result.steps == 3
    assert "no TensorBoard files" in caplog.text and "pip install tensorboard" in caplog.text


@pytest.fixture
def small_files():
    """Let this process write no file beyond so many bytes, as on a full disk; lifted by calling it with None."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [50_000, 200])
def test_no_space_for_a_checkpoint_is_told_and_harms_no_earlier_one(
    tiny, examples, stopped, unbroken, small_files, size
):
    small_files(size)
    with pytest.raises(Unwritten, match="cannot write .*ake space, then resume"):
        train_sft(tiny(), examples, CONFIG, stopped, resume=True)
    small_files(None)
    assert names(stopped) == ["step-000004", "step-000005"]
    resumed_equals(tiny, examples, stopped, unbroken)

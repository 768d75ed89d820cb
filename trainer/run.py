"""One start of a training run: its folder, where it stands, and how it goes on after whatever stopped it.

GRPO and SFT train inside it. A step is done once its row is in metrics.jsonl; Ctrl-C and errors outside an update save
a checkpoint. A run is bound to the hashes of whatever decides its course; going on with another config, data, policy or
verifier is refused.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from pivot_envs import strict_json
from pivot_envs.errors import ConfigError, FingerprintMismatch, RecordError
from pivot_envs.trainer.checkpoints import Damaged, Unwritten, load_checkpoint, read_header, write_checkpoint
from pivot_envs.trainer.ledger import ledger
from pivot_envs.trainer.model import TransformersPolicy

logger = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay on disk: the last, and the one before in case the last is lost."""
MANIFEST, METRICS, DISCARDED, LEDGER = "manifest.json", "metrics.jsonl", "discarded.jsonl", "ledger.json"


class Run:
    """A policy and its optimizer in training, with the folder that the run writes to; without a folder it keeps none.

    `identity` maps what must not change between two starts to its hash.
    """

    def __init__(
        self,
        path: str | Path | None,
        policy: TransformersPolicy,
        optimizer: torch.optim.Optimizer,
        identity: Mapping[str, str],
        checkpoint_every: int,
        profiling_rollouts: int | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.policy, self.optimizer, self.identity = policy, optimizer, dict(identity)
        self.checkpoint_every, self.profiling_rollouts = checkpoint_every, profiling_rollouts
        self.step = 0
        """Steps done, those of earlier starts included."""
        self.rows: list[dict[str, Any]] = []
        """Metrics of the steps of this start."""
        self._whole = True
        """The weights are those after `step` steps, not those of a half-done update."""
        self._board: Any = None

    # Beginning ------------------------------------------------------------------------------------------------------

    def begin(self, manifest: Mapping[str, Any], resume: bool = False, tensorboard: bool = False) -> None:
        """Start a new run in a folder without one, or go on where an earlier start stopped.

        Raises:
            ConfigError: the folder holds a run and `resume` is off; or it is on, and there is none to go on with.
            FingerprintMismatch: it is a run of another identity.
        """
        if self.path is None:
            if resume:
                raise ConfigError("a run without a folder cannot be resumed; name the folder it was written to")
            return
        held = (self.path / MANIFEST).exists()
        if held and not resume:
            raise ConfigError(f"{self.path} already holds a run; resume it, or name another folder")
        if resume and not held:
            raise ConfigError(f"{self.path} holds no run to resume; start without resume")
        if held:
            self._restore()
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            start = {"identity": self.identity, "start_fingerprint": self.policy.fingerprint, "versions": versions()}
            self._replace(MANIFEST, json.dumps({**manifest, **start}, indent=1, sort_keys=True, default=str))
        if tensorboard:
            self._board = _tensorboard(self.path / "tensorboard", self.step)

    def _restore(self) -> None:
        """Load the newest whole checkpoint; where the run was killed before its first, start it over."""
        assert self.path is not None
        self._check(self.manifest(), self.path / MANIFEST)
        found = self.checkpoints()
        for folder in reversed(found):
            try:
                header = read_header(folder)
                self._check(header, folder)
                self.step = load_checkpoint(folder, header, self.policy, self.optimizer)
            except Damaged as error:
                logger.warning("%s; trying the checkpoint before it", error)
                continue
            break
        else:
            if found:
                told = f"none of the {len(found)} checkpoints in {self.path} can be used"
                raise ConfigError(f"{told}: start a new run in another folder")
            start = self.manifest().get("start_fingerprint")
            if start != self.policy.fingerprint:
                raise FingerprintMismatch(
                    f"{self.path} was stopped before its first checkpoint and began with the policy {start}, not with "
                    f"{self.policy.fingerprint}: give that one, or start a new run in another folder"
                )
        self._discard_later_rows()

    def _check(self, header: Mapping[str, Any], where: Path) -> None:
        saved = header.get("identity")
        saved = saved if isinstance(saved, dict) else {}
        changed = [key for key in self.identity if saved.get(key) != self.identity[key]]
        if changed:
            told = ", ".join(f"{key} {saved.get(key)} -> {self.identity[key]}" for key in changed)
            told = f"changed since: {told}. Start a new run in another folder"
            raise FingerprintMismatch(f"cannot resume {where}: {told}")

    def manifest(self) -> dict[str, Any]:
        """Return manifest.json."""
        assert self.path is not None
        path = self.path / MANIFEST
        try:
            loaded = strict_json.parse(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RecordError(f"no JSON: {error}", file=str(path)) from error
        if not isinstance(loaded, dict):
            raise RecordError(f"a {type(loaded).__name__}; expected an object", file=str(path))
        return loaded

    def note(self, key: str, value: Any) -> None:
        """Add something to manifest.json."""
        if self.path is not None:
            self._replace(MANIFEST, json.dumps({**self.manifest(), key: value}, indent=1, sort_keys=True, default=str))

    # Going on -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def saved_on_error(self) -> Iterator[None]:
        """Save a checkpoint when the block is left by Ctrl-C or by an error, unless an update is half done."""
        try:
            yield
        except BaseException as error:
            if self._whole and self.path is not None and not isinstance(error, Unwritten):
                with uninterrupted():
                    self._save_what_there_is()
            raise
        finally:
            if self._board is not None:
                self._board.close()

    def _save_what_there_is(self) -> None:
        try:
            saved = self.save()
        except Unwritten as error:
            logger.error("%s", error.strerror)
        else:
            logger.warning("stopped after step %d, saved in %s; resume goes on from there", self.step, saved)

    @contextlib.contextmanager
    def update(self) -> Iterator[None]:
        """Change the weights and record the step in one piece; Ctrl-C waits for its end."""
        with uninterrupted():
            self._whole = False
            yield

    def record(self, row: Mapping[str, Any]) -> None:
        """Count a step as done: its row to metrics.jsonl, and a checkpoint where one is due."""
        self.step, self._whole = self.step + 1, True
        self.rows.append(dict(row))
        if self.path is None:
            return
        append_rows(self.path / METRICS, [row])
        if self._board is not None:
            for key, value in row.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(key, value, self.step)
        if self.step % self.checkpoint_every == 0:
            self.save()

    def save(self) -> Path:
        """Write the checkpoint of this step and the ledger, and remove all checkpoints but the last two."""
        assert self.path is not None
        target = self.path / "checkpoints" / f"step-{self.step:06d}"
        if not _is_whole(target):
            write_checkpoint(target, self.step, self.policy, self.optimizer, self.identity)
        rows, discarded = read_rows(self.path / METRICS), read_rows(self.path / DISCARDED)
        self._replace(LEDGER, json.dumps(ledger(rows, discarded, self.profiling_rollouts), indent=1))
        for old in self.checkpoints()[:-KEPT]:
            shutil.rmtree(old)
        return target

    def all_rows(self) -> list[dict[str, Any]]:
        """Return the metrics of every step, those of earlier starts included."""
        return self.rows if self.path is None else read_rows(self.path / METRICS)

    def checkpoints(self) -> list[Path]:
        """Return the folders of checkpoints, oldest first; a damaged one is among them."""
        assert self.path is not None
        found = (self.path / "checkpoints").glob("step-*")
        return sorted(folder for folder in found if folder.suffix != ".partial")

    def _discard_later_rows(self) -> None:
        """Move the rows of steps that will be done again out of metrics.jsonl."""
        assert self.path is not None
        rows = read_rows(self.path / METRICS)
        later = [row for row in rows if row["step"] > self.step]
        if later:
            append_rows(self.path / DISCARDED, later)
        self._replace(METRICS, "\n".join(json.dumps(row) for row in rows if row["step"] <= self.step))

    def _replace(self, name: str, text: str) -> None:
        """Write a small file whole."""
        assert self.path is not None
        target = self.path / name
        partial = target.with_name(name + ".partial")
        try:
            partial.write_text(text + "\n" if text else "", encoding="utf-8")
            os.replace(partial, target)
        except OSError as error:
            raise Unwritten(error.errno, f"cannot write {target}: {error.strerror}. Make space, then resume") from error


def append_rows(path: Path, rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> None:
    """Add JSON lines to a file and bring them to disk."""
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("".join(json.dumps(row) + "\n" for row in rows))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise Unwritten(error.errno, f"cannot write {path}: {error.strerror}. Make space, then resume") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file; a last line that a kill cut off is none.

    Raises:
        RecordError: another line is broken.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row["step"] + 0
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if number == len(lines):
                break
            raise RecordError(f"no metrics row: {error}", file=str(path), line=number) from error
        rows.append(row)
    return rows


def versions() -> dict[str, str]:
    """Return the versions a run depends on."""
    found = {"python": platform.python_version()}
    for package in ("pivot-envs", "torch", "transformers", "tokenizers", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed (run from a checkout)"
    return found


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C until the block is done, then raise KeyboardInterrupt. Only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        logger.warning("interrupted: finishing this update and saving first")

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if asked:
        raise KeyboardInterrupt


def _is_whole(folder: Path) -> bool:
    try:
        return folder.is_dir() and bool(read_header(folder))
    except Damaged:
        return False


def _tensorboard(folder: Path, step: int) -> Any:
    """Return a writer that hides rows of steps to be done again, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        logger.warning("no TensorBoard files: %s. Install it with: pip install tensorboard", error)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)

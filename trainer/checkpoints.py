"""The folder of one training run: manifest, metrics, checkpoints, and going on from them.

A checkpoint appears whole or not at all: it is written beside its place and renamed. It is bound to the hashes of
whatever decides the run's course; going on with another config, pivot set, reference or verifier is refused.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import random
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from pivot_envs.errors import ConfigError, FingerprintMismatch, RecordError
from pivot_envs.trainer.model import TransformersPolicy

logger = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay on disk: the last, and the one before in case the last is lost."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes. `identity` maps what must not change between two starts to its hash."""

    path: Path
    identity: Mapping[str, str]

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Begin a new run here.

        Raises:
            ConfigError: the folder already holds a run.
        """
        if (self.path / "manifest.json").exists():
            raise ConfigError(f"{self.path} already holds a run; resume it, or name another folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_manifest({**manifest, "identity": dict(self.identity), "versions": versions()})

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write manifest.json whole."""
        target = self.path / "manifest.json"
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(manifest, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
        os.replace(partial, target)

    def read_manifest(self) -> dict[str, Any]:
        """Return manifest.json as written."""
        loaded = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        assert isinstance(loaded, dict)
        return loaded

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl and bring it to disk."""
        append_row(self.path / "metrics.jsonl", row)

    def save(self, step: int, policy: TransformersPolicy, optimizer: torch.optim.Optimizer) -> Path:
        """Write the checkpoint after `step` steps, then remove all but the last two."""
        target = self.path / "checkpoints" / f"step-{step:06d}"
        if target.exists():
            return target
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        policy.save(partial / "policy")
        torch.save({"optimizer": optimizer.state_dict(), "rng": _rng_states()}, partial / "state.pt")
        header = {"step": step, "policy_fingerprint": policy.fingerprint, "identity": dict(self.identity)}
        (partial / "checkpoint.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
        _sync(partial)
        os.replace(partial, target)
        _sync_folder(target.parent)
        for old in self.checkpoints()[:-KEPT]:
            shutil.rmtree(old)
        return target

    def checkpoints(self) -> list[Path]:
        """Return the whole checkpoints, oldest first."""
        found = (self.path / "checkpoints").glob("step-*")
        return sorted(folder for folder in found if folder.suffix != ".partial")

    def restore(self, policy: TransformersPolicy, optimizer: torch.optim.Optimizer) -> int:
        """Load the last checkpoint into policy and optimizer, drop later metric rows, and return its step.

        Raises:
            ConfigError: there is no checkpoint.
            FingerprintMismatch: the checkpoint belongs to another run, or its weights are not what was saved.
        """
        if not self.checkpoints():
            raise ConfigError(f"{self.path} holds no checkpoint to resume from; start without resume")
        folder = self.checkpoints()[-1]
        header = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        changed = [key for key in self.identity if header["identity"].get(key) != self.identity[key]]
        if changed:
            told = ", ".join(f"{key} {header['identity'].get(key)} -> {self.identity[key]}" for key in changed)
            raise FingerprintMismatch(
                f"cannot resume {folder}: changed since: {told}. Start a new run in another folder"
            )
        policy.load_weights(folder / "policy")
        if policy.fingerprint != header["policy_fingerprint"]:
            raise FingerprintMismatch(f"{folder}: weights hash to {policy.fingerprint}, not to what was saved")
        state = torch.load(folder / "state.pt", map_location=policy.device, weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        _set_rng_states(state["rng"])
        step = int(header["step"])
        self._cut_metrics(step)
        return step

    def _cut_metrics(self, step: int) -> None:
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                if number == len(lines):  # the write that a kill cut off
                    break
                raise RecordError(f"not JSON: {error}", file=str(path), line=number) from error
            if row["step"] <= step:
                kept.append(line + "\n")
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        os.replace(partial, path)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add one JSON line to a file and bring it to disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


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


def _rng_states() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    numpy_state = [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)]
    states: dict[str, Any] = {"python": random.getstate(), "numpy": numpy_state, "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _set_rng_states(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""One checkpoint of a training run: a folder that appears whole or not at all, and that says when it is damaged.

It is written beside its place and renamed. `checkpoint.json` comes last and lists every other file with size and
SHA-256, so that what a cut power line or a full disk leaves behind is told from what was saved. What a run does with
its checkpoints is `run.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from pivot_envs import strict_json
from pivot_envs.errors import ConfigError, FingerprintMismatch, PolicyError
from pivot_envs.trainer.model import TransformersPolicy

HEADER = "checkpoint.json"
STATE = "state.pt"
READ_ERRORS = (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)
"""What torch raises on a file that is no checkpoint of ours."""


class Unwritten(OSError):
    """A file of a run could not be written, most often for want of space; what stood before is untouched."""


class Damaged(ConfigError):
    """A checkpoint that is not what was saved."""


def write_checkpoint(
    target: Path, step: int, policy: TransformersPolicy, optimizer: torch.optim.Optimizer, identity: Mapping[str, str]
) -> None:
    """Write the checkpoint after `step` steps, in place of a damaged one of that name.

    Raises:
        Unwritten: no space, no permission; nothing of it stays behind.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        policy.save(partial / "policy")
        torch.save({"optimizer": optimizer.state_dict(), "rng": _rng_states()}, partial / STATE)
        header = {"step": step, "policy_fingerprint": policy.fingerprint, "identity": dict(identity)}
        text = json.dumps({**header, "files": _files(partial)}, indent=1)
        (partial / HEADER).write_text(text + "\n", encoding="utf-8")
        _sync(partial)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        _sync_folder(target.parent)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors wrap what the system said
        shutil.rmtree(partial, ignore_errors=True)
        told = f"cannot write checkpoint {target}: {error}. Earlier checkpoints are untouched: make space, then resume"
        raise Unwritten(getattr(error, "errno", None) or 0, told) from error


def read_header(folder: Path) -> dict[str, Any]:
    """Return checkpoint.json of a whole checkpoint.

    Raises:
        Damaged: a file is missing, cut or changed.
    """
    try:
        header = strict_json.parse((folder / HEADER).read_text(encoding="utf-8"))
        step, files, identity = header["step"], header["files"], header["identity"]
        if isinstance(step, bool) or not isinstance(step, int) or not isinstance(files | identity, dict):
            raise TypeError(f"step is {strict_json.shown(step)}")
        found = _files(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder} is damaged: {HEADER}: {error}") from error
    for name in sorted(set(files) | set(found) - {HEADER}):
        if files.get(name) != found.get(name):
            how = "is missing" if name not in found else "was not saved with it" if name not in files else "was changed"
            raise Damaged(f"{folder} is damaged: {name} {how}")
    assert isinstance(header, dict)
    return header


def load_checkpoint(
    folder: Path, header: Mapping[str, Any], policy: TransformersPolicy, optimizer: torch.optim.Optimizer
) -> int:
    """Take over weights, optimizer and random states of a whole checkpoint, and return its step.

    Raises:
        Damaged: its files hold something else than a run saves.
        FingerprintMismatch: its weights are not those that were saved, or of another model.
    """
    try:
        state = torch.load(folder / STATE, map_location=policy.device, weights_only=True)
        rng, slots = state["rng"], state["optimizer"]
        policy.load_weights(folder / "policy")
        optimizer.load_state_dict(slots)
        _set_rng_states(rng)
    except (*READ_ERRORS, PolicyError) as error:
        raise Damaged(f"{folder} is damaged: {error}") from error
    if policy.fingerprint != header["policy_fingerprint"]:
        raise FingerprintMismatch(f"{folder}: weights hash to {policy.fingerprint}, not to what was saved")
    return int(header["step"])


def _files(folder: Path) -> dict[str, list[Any]]:
    """Return size and SHA-256 of every file but the header, by relative name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != HEADER:
            with path.open("rb") as stream:
                found[name] = [path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()]
    return found


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

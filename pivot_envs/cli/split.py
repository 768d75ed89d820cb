"""The command that splits a trajectory file by task, before anything is profiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from pivot_envs.cli.screen import console, existing, writable
from pivot_envs.duplicates import duplicate_prefixes, lines, split, task_of
from pivot_envs.errors import ConfigError
from pivot_envs.trajectories import read_trajectories, write_trajectories


@dataclass(frozen=True)
class SplitCommand:
    """Split a trajectory file in two, no task on both sides: one to profile and train on, one to measure on.

    Says how many turns of the held-out side have a prefix that the other side has too.
    """

    trajectories: tyro.conf.Positional[Path]
    """A trajectories.jsonl."""
    train: Path
    """The trajectories.jsonl to write for training."""
    test: Path
    """The trajectories.jsonl to write of what is held out."""
    held_out: float = 0.2
    """Share of the tasks that is held out."""
    seed: int = 0
    """Which tasks."""

    def run(self) -> int:
        """Write both files."""
        existing(self.trajectories, "TRAJECTORIES")
        writable(self.train, "--train", self.trajectories)
        writable(self.test, "--test", self.trajectories)
        if self.train.resolve() == self.test.resolve():
            raise ConfigError(f"--train and --test are both {self.train}; name two files")
        read = list(read_trajectories(self.trajectories))
        sides = split(read, self.held_out, self.seed)
        for path, side in zip((self.train, self.test), sides, strict=True):
            write_trajectories(path, side)
            console().print(f"wrote {len(side)} trajectories of {len({task_of(t) for t in side})} tasks to {path}")
        for line in lines(duplicate_prefixes(read, held_out={each.trajectory_id for each in sides[1]})):
            console().print(line)
        return 0

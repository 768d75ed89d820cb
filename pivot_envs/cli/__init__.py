"""The command line `pivot-envs`: one subcommand per stage, in the order of the work.

Results go to standard output, progress and warnings to standard error. Exit codes: 0 done; 1 an error that names its
remedy; 2 wrong usage; 3 done, but something was found that needs a look; 130 interrupted; `profile` goes on
when run again, `train --arm pivot` with --resume.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tyro

from pivot_envs.cli.audit import Audit
from pivot_envs.cli.demo import Demo
from pivot_envs.cli.learning import ProfileCommand, SelectCommand
from pivot_envs.cli.recordings import Candidates, Check, Demonstrate, Import
from pivot_envs.cli.screen import Command, error_console
from pivot_envs.errors import MissingDependency, PivotEnvsError

DESCRIPTION = """PivotRL on executable state: recorded agent trajectories become one-turn training problems.

The order of the work: demonstrate or import trajectories, check that they replay, profile every turn with a frozen
policy, select the pivots (turns with mixed outcomes), train on them. audit measures a verifier on labelled pairs;
demo runs the whole road on built-in data."""


@dataclass(frozen=True)
class _TrainWithoutTorch:
    """Train a local policy: PivotRL on a pivots.jsonl, or supervised fine-tuning on a trajectories.jsonl."""

    def run(self) -> int:
        """Unreachable: `train` as first argument loads the real command."""
        raise AssertionError("train is loaded by name")


def commands(first: str) -> dict[str, Callable[..., Command]]:
    """Return the subcommands. `train` imports torch, so it is loaded only where it is the one asked for."""
    train: Callable[..., Command] = _TrainWithoutTorch
    if first == "train":
        try:
            from pivot_envs.cli.training import TrainCommand
        except ModuleNotFoundError as error:
            raise MissingDependency(f"train needs torch and transformers ({error}): pip install '.[train]'") from error
        train = TrainCommand
    return {
        "demonstrate": Demonstrate,
        "import": Import,
        "check": Check,
        "candidates": Candidates,
        "profile": ProfileCommand,
        "select": SelectCommand,
        "train": train,
        "audit": Audit,
        "demo": Demo,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        command: Command = tyro.extras.subcommand_cli_from_dict(
            commands(arguments[0] if arguments else ""),
            prog="pivot-envs",
            description=DESCRIPTION,
            args=arguments or ["--help"],
        )
        return command.run()
    except PivotEnvsError as error:
        return _tell(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        error_console().print("interrupted; run `profile` again to go on, or `train --arm pivot` with --resume")
        return 130
    except BrokenPipeError:  # `pivot-envs ... | head`
        sys.stderr.close()
        return 0
    except OSError as error:
        return _tell(f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else ""))


def _tell(message: str) -> int:
    error_console().print("error:", style="bold red", end=" ")
    error_console().print(message)
    return 1

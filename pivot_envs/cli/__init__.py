"""The command line `pivot-envs`: one subcommand per stage, in the order of the work.

Results go to standard output, progress and warnings to standard error. Exit codes: 0 done; 1 an error that names its
remedy; 2 wrong usage; 3 done, but something was found that needs a look; 130 interrupted; `profile` goes on
when run again, `train` with --resume.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Sequence

import tyro

from pivot_envs import __version__
from pivot_envs.cli.audit import Audit
from pivot_envs.cli.demo import Demo
from pivot_envs.cli.evaluation import Evaluate
from pivot_envs.cli.learning import ProfileCommand, SelectCommand
from pivot_envs.cli.recordings import Candidates, Check, Demonstrate, Import
from pivot_envs.cli.screen import Command, console, error_console
from pivot_envs.cli.split import SplitCommand
from pivot_envs.cli.training import TrainCommand
from pivot_envs.errors import PivotEnvsError

DESCRIPTION = """PivotRL on executable state: recorded agent trajectories become one-turn training problems.

The order of the work: demonstrate or import trajectories, check that they replay, split them by task, profile every
turn with a frozen policy, select the pivots (turns with mixed outcomes), train on them, evaluate the policy. audit
measures a verifier on labelled pairs; demo runs the whole road on built-in data. --version prints the version."""

WRONG_USAGE = 2

COMMANDS: dict[str, Callable[..., Command]] = {
    "demonstrate": Demonstrate,
    "import": Import,
    "check": Check,
    "candidates": Candidates,
    "split": SplitCommand,
    "profile": ProfileCommand,
    "select": SelectCommand,
    "train": TrainCommand,
    "evaluate": Evaluate,
    "audit": Audit,
    "demo": Demo,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names and texts hold what a terminal's encoding may not
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        console().print(f"pivot-envs {__version__}")
        return 0
    try:
        command: Command = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="pivot-envs",
            description=DESCRIPTION,
            args=arguments or ["--help"],
        )
        return command.run()
    except SystemExit:
        if arguments:
            raise
        return WRONG_USAGE  # the help was printed, but nothing was asked for
    except PivotEnvsError as error:
        return _tell(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        error_console().print("interrupted; run `profile` again to go on, or `train` with --resume")
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

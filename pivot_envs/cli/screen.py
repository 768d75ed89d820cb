"""What commands share: the console, progress bars, tables, and how a domain is opened from its arguments."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import tyro
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pivot_envs.contracts import Domain
from pivot_envs.domains import get_domain, resolve
from pivot_envs.errors import ConfigError, suggest
from pivot_envs.kinds import expect_kind

Item = TypeVar("Item")
FOUND = 3
"""Exit code: done, but something needs a look."""
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A switch that is off unless given."""


class Command(Protocol):
    """One subcommand: a dataclass of its arguments with a `run`."""

    def run(self) -> int:
        """Do it and return the exit code."""


@functools.cache
def console() -> Console:
    """Return where results go."""
    return Console(soft_wrap=True, highlight=False, markup=False)


@functools.cache
def error_console() -> Console:
    """Return where progress, warnings and errors go."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def print_json(value: Any) -> None:
    """Write a value as indented JSON to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Progress]:
    """Show a bar with an estimate on a terminal, nothing elsewhere; its one task has id 0."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=error_console(),
        transient=True,
        disable=not error_console().is_terminal,
    )
    with bar:
        bar.add_task(title, total=total)
        yield bar


def tracked(items: Sequence[Item] | Iterable[Item], title: str) -> Iterator[Item]:
    """Yield items while a bar shows how far we are."""
    total = len(items) if isinstance(items, Sequence) else None
    with progress(title, total) as bar:
        for item in items:
            yield item
            bar.advance(bar.task_ids[0])


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; all columns but the first are aligned right."""
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for n, column in enumerate(columns):
        drawn.add_column(column, justify="left" if n == 0 else "right")
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    console().print(drawn)


def open_domain(name: str, tau2_path: str | None) -> Domain:
    """Return a domain by its own name or its family's; `tau2_path` names a tau2-bench checkout."""
    family, domain = resolve(name)
    return get_domain(family, domain, **world_options(family, domain, tau2_path))


def world_options(family: str, domain: str, tau2_path: str | None) -> dict[str, Any]:
    """Return what opening the domain takes beside its name.

    Raises:
        ConfigError: a checkout is named for a domain that is not tau2's own.
    """
    if tau2_path is None:
        return {}
    if family != "tau2" or domain == "helpdesk":
        raise ConfigError(f"--tau2-path is for the official tau2 domains; {domain!r} needs none")
    return {"path": tau2_path}


def at_least(value: float | None, least: float, argument: str) -> None:
    """Refuse a number below the least that can be meant; None is an option that was left out.

    Raises:
        ConfigError: naming the argument, its value and the least.
    """
    if value is not None and not value >= least:
        raise ConfigError(f"{argument} {value}: expected at least {least}")


def existing(path: Path, argument: str, kind: str = "") -> Path:
    """Return the path if it is a file, of this kind (see `kinds.py`) if one is named; else say what is near."""
    if path.is_file():
        if kind:
            expect_kind(path, kind)
        return path
    if path.exists():
        what = "a folder; name a file in it" if path.is_dir() else "a pipe or device; write its content to a file first"
        raise ConfigError(f"{argument}: {path} is {what}")
    here = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
    raise ConfigError(f"{argument}: there is no file {path}.{suggest(path.name, here)}")


def writable(path: Path, argument: str, *inputs: Path) -> Path:
    """Return a path to write to if its folder exists, it is no device, and it is none of the files that are read."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"{argument}: {path} exists and is no regular file; name a file")
    for read in inputs:
        if path.exists() and read.exists() and path.samefile(read):
            raise ConfigError(f"{argument}: {path} is one of the files to be read; name another file")
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise ConfigError(f"{argument}: {path} is a link that leads back to itself; name a file")
    if real.parent.is_dir():
        return path
    raise ConfigError(f"{argument}: the folder {real.parent} does not exist; make it first")

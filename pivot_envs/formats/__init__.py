"""Foreign trajectory formats, by name. Each is one module with `read` and, where another tool reads it, `write`.

    read(path, *, domain=None, skip_invalid=False, on_error=None) -> Iterator[Trajectory]
    write(path, trajectories) -> int

Modules load on first use, so that naming a format costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

from pivot_envs.errors import ConfigError, suggest
from pivot_envs.records import Trajectory
from pivot_envs.trajectories import OnError

READERS: Mapping[str, str] = {
    "openai_chat": "pivot_envs.formats.openai_chat:read",
    "tau2": "pivot_envs.formats.tau2_results:read",
}
WRITERS: Mapping[str, str] = {
    "openai_chat": "pivot_envs.formats.openai_chat:write",
    "tau2": "pivot_envs.formats.tau2_results:write",
}


class Reader(Protocol):
    """Reads one foreign file."""

    def __call__(
        self, path: Path, *, domain: str | None = None, skip_invalid: bool = False, on_error: OnError | None = None
    ) -> Iterator[Trajectory]:
        """Yield its trajectories, checked; raise RecordError at the first broken one, or report it to `on_error`."""


Writer = Callable[[Path, Iterable[Trajectory]], int]


def reader(name: str) -> Reader:
    """Return the reader of a format; raise ConfigError for an unknown name."""
    return cast(Reader, _load(name, READERS, "read"))


def writer(name: str) -> Writer:
    """Return the writer of a format; raise ConfigError for an unknown name."""
    return cast(Writer, _load(name, WRITERS, "written"))


def _load(name: str, table: Mapping[str, str], done: str) -> object:
    if name not in table:
        known = ", ".join(table)
        raise ConfigError(f"format {name[:80]!r} cannot be {done}; known are {known}.{suggest(name[:80], table)}")
    module, _, function = table[name].partition(":")
    return getattr(importlib.import_module(module), function)

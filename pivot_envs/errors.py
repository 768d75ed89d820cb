"""The error tree. Each error belongs to one boundary; messages name the thing, the value and the remedy.

PivotEnvsError
├── ConfigError (ValueError)            an argument, option or file header that cannot be meant
├── RecordError (ValueError)            a broken line of a trajectory, pivot, battery or foreign file: file, line, field
├── MalformedAction (ValueError)        what a policy wrote is no action: becomes a `malformed` verdict, never a crash
├── UnknownPivot (KeyError)             a pivot, trajectory or domain id nobody knows; names its neighbours
├── MissingDependency (ImportError)     an optional package is absent, or is the wrong package of that name
├── FingerprintMismatch (RuntimeError)  data recorded against another version of the world, policy or verifier
├── RestoreError (RuntimeError)         a state could not be rebuilt, or its replay drifted from the recording
├── SandboxError (RuntimeError)         the box failed, not what ran in it
├── VerifierError (RuntimeError)        a verifier could not decide for a reason of ours
└── PolicyError (RuntimeError)          a policy endpoint or model failed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class PivotEnvsError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(PivotEnvsError, ValueError):
    """An argument or setting is wrong; the message says what is allowed."""


class RecordError(PivotEnvsError, ValueError):
    """A broken record in a file; knows where it stands."""

    def __init__(self, problem: str, *, file: str = "", line: int | None = None, field: str = "") -> None:
        self.problem, self.file, self.line, self.field = problem, file, line, field
        place = file or "record"
        if line is not None:
            place += f", line {line}"
        if field:
            place += f", field {field!r}"
        super().__init__(f"{place}: {problem}")

    def __reduce__(self) -> Any:
        """Pickle by fields, so that an error reads the same after its way back from a worker process."""
        return _record_error, (self.problem, self.file, self.line, self.field)


def _record_error(problem: str, file: str, line: int | None, field: str) -> RecordError:
    return RecordError(problem, file=file, line=line, field=field)


class MalformedAction(PivotEnvsError, ValueError):
    """A policy's output that is no action. `reason` is a short code such as `unclosed_think` or `bad_json`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}" if detail else reason)

    def __reduce__(self) -> Any:
        """Pickle by fields."""
        return MalformedAction, (self.reason, self.detail)


class UnknownPivot(PivotEnvsError, KeyError):
    """An id that is not in the set at hand; the message names near ones."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependency(PivotEnvsError, ImportError):
    """An optional package is absent or wrong; the message holds the install line."""


class FingerprintMismatch(PivotEnvsError, RuntimeError):
    """Something was recorded against another version of what is installed here."""


class RestoreError(PivotEnvsError, RuntimeError):
    """A turn's state could not be rebuilt."""


class SandboxError(PivotEnvsError, RuntimeError):
    """A box failed."""


class VerifierError(PivotEnvsError, RuntimeError):
    """A verifier failed for a reason of ours."""


class PolicyError(PivotEnvsError, RuntimeError):
    """A policy failed for a reason of ours."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x' or 'y'?` for the nearest known names, or an empty string."""
    others = [other for other in dict.fromkeys(known) if other != name]
    near = difflib.get_close_matches(name, others, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""

"""Copy-on-write tables over one frozen base, so that a fork costs microseconds and a base is never touched.

One layer only: a fork shares its parent's changed records and both stop owning them, so whoever writes next copies
first. Depth therefore never grows with the length of a trajectory. Measured on retail: reference tau2, section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import date
from enum import Enum
from typing import Any

_SCALARS = frozenset({str, int, float, bool, type(None)})
_CONSTANTS = (Enum, date)


def copy_record(value: Any) -> Any:
    """Copy a record deeply: dictionaries, lists, models and scalars by hand, whatever else by `copy.deepcopy`.

    Twice as fast as `copy.deepcopy` on the orders of retail, because records are trees and need no memo.
    """
    kind = type(value)
    if kind in _SCALARS or isinstance(value, _CONSTANTS):
        return value
    if kind is dict:
        return {key: copy_record(item) for key, item in value.items()}
    if kind is list:
        return [copy_record(item) for item in value]
    if hasattr(kind, "model_fields"):
        twin = copy.copy(value)
        fields = twin.__dict__
        for name, item in fields.items():
            fields[name] = copy_record(item)
        return twin
    return copy.deepcopy(value)


class Table(MutableMapping[str, Any]):
    """A mapping of records over a frozen base.

    `table[key]` copies a record on first access unless the table is `read_only`; iteration over values and items
    hands out shared records, because tools that search read thousands of records and write none of them.
    """

    __slots__ = ("_base", "_changed", "_fresh", "_owned", "_removed", "read_only")

    def __init__(self, base: Mapping[str, Any]) -> None:
        self._base = base
        self._changed: dict[str, Any] = {}
        self._removed: frozenset[str] = frozenset()
        self._owned: set[str] = set()
        self._fresh: dict[
            str, Any
        ] = {}  # records as they were when `mark` was called, by key of what was touched since
        self.read_only = False

    def __getitem__(self, key: str) -> Any:
        if key in self._owned:
            return self._changed[key]
        record = self._shared(key)
        if self.read_only:
            return record
        record = copy_record(record)
        self._own(key, record)
        return record

    def _shared(self, key: str) -> Any:
        if key in self._changed:
            return self._changed[key]
        if key in self._removed:
            raise KeyError(key)
        return self._base[key]

    def _own(self, key: str, record: Any) -> None:
        if key not in self._fresh:
            self._fresh[key] = self.peek(key)
        self._changed[key] = record
        self._owned.add(key)

    def peek(self, key: str) -> Any:
        """Return the shared record without copying, or None if there is none."""
        try:
            return self._shared(key)
        except KeyError:
            return None

    def __setitem__(self, key: str, record: Any) -> None:
        self._own(key, record)
        self._removed -= {key}

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        if key not in self._fresh:
            self._fresh[key] = self.peek(key)
        self._changed.pop(key, None)
        self._owned.discard(key)
        if key in self._base:
            self._removed |= {key}

    def __contains__(self, key: object) -> bool:
        return key in self._changed or (key in self._base and key not in self._removed)

    def __iter__(self) -> Iterator[str]:
        if not self._changed and not self._removed:
            yield from self._base
            return
        for key in self._base:
            if key not in self._removed:
                yield key
        for key in self._changed:
            if key not in self._base:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # Views of MutableMapping go through __getitem__ and would copy every record: hand out shared ones instead.
    def values(self) -> Any:
        """Iterate over shared records."""
        if not self._changed and not self._removed:
            return self._base.values()
        return [self._shared(key) for key in self]

    def items(self) -> Any:
        """Iterate over keys and shared records."""
        if not self._changed and not self._removed:
            return self._base.items()
        return [(key, self._shared(key)) for key in self]

    def fork(self) -> Table:
        """Return an independent table with the same content. Both sides copy before their next write."""
        other = Table.__new__(Table)
        other._base = self._base
        other._changed = dict(self._changed)
        other._removed = self._removed
        other._owned = set()
        other._fresh = {}
        other.read_only = False
        self._owned = set()
        return other

    def mark(self) -> None:
        """Start recording what is touched from here on; see `touched`. Whoever writes next copies first."""
        self._fresh = {}
        self._owned = set()

    def touched(self) -> dict[str, tuple[Any, Any]]:
        """Return key -> (record at the mark, record now) of everything handed out for writing since the mark."""
        return {key: (before, self.peek(key)) for key, before in self._fresh.items()}

    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Return key -> (base record, record now) of everything that may differ from the base."""
        keys = [*self._changed, *self._removed]
        return {key: (self._base.get(key), self.peek(key)) for key in keys}

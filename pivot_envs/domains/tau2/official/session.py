"""Sessions of the official domains: real tau2 tools over copy-on-write databases.

A tau2 toolkit holds its database in one attribute. Each session has shallow copies of the environment and its
toolkits whose attribute points to the session's own fork, so sessions share code and base data and nothing else.

Databases of tables (dictionaries of records: retail, airline, mock) get an overlay; databases of lists (telecom) are
small and are copied whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pivot_envs.domains.tau2.canonical import replace_strings
from pivot_envs.domains.tau2.official.arithmetic import is_bounded
from pivot_envs.domains.tau2.overlay import Table, copy_record
from pivot_envs.domains.tau2.world import MINTED_ID
from pivot_envs.records import Observation, Requestor

_PARTIES: tuple[tuple[str, Requestor], ...] = (("agent", "assistant"), ("user", "user"))


@dataclass(frozen=True)
class Toolset:
    """What of an environment never changes: which tools there are and which may write."""

    writes: frozenset[tuple[str, str]]
    """(requestor, name) of tools that may change a database."""
    arithmetic: frozenset[tuple[str, str]]
    """(requestor, name) of tools that evaluate an expression."""


class OfficialSession:
    """A `Session` over a real tau2 environment."""

    def __init__(self, environment: Any, toolset: Toolset, start: Mapping[str, Any]) -> None:
        self._environment = environment
        self._toolset = toolset
        self._start = start
        self._mark: dict[str, Any] = {}
        self._listed: dict[str, Any] | None = None
        """Records of the list databases as they stand now; None once a call may have changed them."""

    @classmethod
    def open(cls, base: Any, toolset: Toolset, start: Mapping[str, Any]) -> OfficialSession:
        """Return a session over a fork of a base environment. `start` is the base's records, path -> JSON."""
        session = cls(_fork_environment(base, wrap=True), toolset, start)
        session.mark()
        return session

    @property
    def environment(self) -> Any:
        """The tau2 environment of this session; for initialisation and evaluators."""
        return self._environment

    def call(self, name: str, arguments: Mapping[str, Any], requestor: Requestor) -> Observation:
        """Run one official tool the way `Environment.get_response` does, without its logging of whole records."""
        if (requestor, name) in self._toolset.arithmetic and not is_bounded(arguments.get("expression")):
            return Observation("Error: expression is too large to evaluate", failed=True)
        environment = self._environment
        self._listed = None
        self._read_only((requestor, name) not in self._toolset.writes)
        try:
            response = environment.make_tool_call(name, requestor=requestor, **copy_record(dict(arguments)))
            environment.sync_tools()
            return Observation(environment.to_json_str(response))
        except Exception as error:  # tools refuse by raising whatever they like; tau2 shows it to the agent as text
            return Observation(f"Error: {error}", failed=True)
        finally:
            self._read_only(False)

    def _read_only(self, on: bool) -> None:
        for _, database in self._databases():
            for _, value in _fields(database):
                if isinstance(value, Table):
                    value.read_only = on

    def _databases(self) -> list[tuple[str, Any]]:
        kits = (("agent", self._environment.tools), ("user", self._environment.user_tools))
        return [(party, kit.db) for party, kit in kits if kit is not None and kit.db is not None]

    def fork(self) -> OfficialSession:
        """Return an independent session."""
        twin = OfficialSession(_fork_environment(self._environment), self._toolset, self._start)
        twin._listed = self._listed
        return twin

    def mark(self) -> None:
        """Start recording changes."""
        for table, *_ in self._tables():
            table.mark()
        self._mark = self._list_records()

    def _tables(self) -> Iterator[tuple[Table, str, str]]:
        for party, database in self._databases():
            for name, value in _fields(database):
                if isinstance(value, Table):
                    yield value, party, name

    def _list_records(self) -> dict[str, Any]:
        """Return the records of what is not a table; dumped once between calls, for forks of one state share it."""
        if self._listed is None:
            self._listed = {}
            for party, database in self._databases():
                for name, value in _fields(database):
                    if not isinstance(value, Table):
                        self._listed.update(_records(party, name, value))
        return self._listed

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Return path -> (record at the mark, record now)."""
        touched = ((party, name, table.touched()) for table, party, name in self._tables())
        return _changed(touched, self._mark, self._list_records())

    def difference_from_start(self) -> dict[str, tuple[Any, Any]]:
        """Return path -> (base record, record now)."""
        changed = ((party, name, table.changed()) for table, party, name in self._tables())
        return _changed(changed, self._start, self._list_records())

    def random_ids(self) -> list[str]:
        """Return ids of records that a tool minted at random."""
        keys = [path.partition("/")[2] for path, (before, _) in self.difference_from_start().items() if before is None]
        return [key for key in keys if MINTED_ID.fullmatch(key)]

    def rename(self, names: Mapping[str, str]) -> None:
        """Replace ids everywhere in the list databases, which are the only ones that mint random ids."""
        for kit in (self._environment.tools, self._environment.user_tools):
            if kit is not None and kit.db is not None and not any(isinstance(v, Table) for _, v in _fields(kit.db)):
                self._listed = None
                kit.db = type(kit.db).model_validate(replace_strings(kit.db.model_dump(), names))

    def full(self) -> dict[str, Any]:
        """Return every record of both databases: what tests compare with the official environment."""
        return environment_records(self._environment)


def _changed(
    tables: Iterable[tuple[str, str, Mapping[str, tuple[Any, Any]]]], before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    changed = {
        _path(party, name, key): (_plain(old), _plain(new))
        for party, name, records in tables
        for key, (old, new) in records.items()
    }
    for path in [*before, *(p for p in now if p not in before)]:
        if before.get(path) != now.get(path):
            changed[path] = (before.get(path), now.get(path))
    return changed


def _fork_environment(environment: Any, wrap: bool = False) -> Any:
    twin = _shallow(environment)
    for attribute in ("tools", "user_tools"):
        kit = getattr(environment, attribute)
        if kit is not None:
            kit = _shallow(kit)
            kit.db = _fork_database(kit.db, wrap)
            setattr(twin, attribute, kit)
    return twin


def _shallow(thing: Any) -> Any:
    """Return a shallow copy of a plain object; `copy.copy` takes ten times as long."""
    twin = object.__new__(type(thing))
    twin.__dict__.update(thing.__dict__)
    return twin


def _fork_database(database: Any, wrap: bool) -> Any:
    if database is None:
        return None
    fields = _fields(database)
    if wrap and fields and all(isinstance(value, dict) for _, value in fields):
        return type(database).model_construct(**{name: Table(value) for name, value in fields})
    if any(isinstance(value, Table) for _, value in fields):
        twin = copy.copy(database)
        twin.__dict__.update({name: value.fork() for name, value in fields})
        return twin
    return copy_record(database)


def _fields(database: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(database, name)) for name in type(database).model_fields]


def _plain(record: Any) -> Any:
    return record.model_dump(mode="json") if hasattr(record, "model_dump") else copy_record(record)


def _path(party: str, table: str, key: str) -> str:
    return f"{table}/{key}" if party == "agent" else f"user.{table}/{key}"


def _records(party: str, name: str, value: Any) -> dict[str, Any]:
    """Return the records of one database field: list items by their id field, a single model as one record."""
    if isinstance(value, Table | dict):
        return {_path(party, name, key): _plain(record) for key, record in value.items()}
    if isinstance(value, list):
        return {_path(party, name, _list_key(record, n)): _plain(record) for n, record in enumerate(value)}
    return {_path(party, name, ""): _plain(value)}


def _list_key(record: Any, position: int) -> str:
    for field in type(record).model_fields if hasattr(type(record), "model_fields") else ():
        if field.endswith("_id"):
            return str(getattr(record, field))
    return f"#{position}"


def environment_records(environment: Any) -> dict[str, Any]:
    """Return every record of a tau2 environment's databases, path -> JSON."""
    records: dict[str, Any] = {}
    for party, kit in (("agent", environment.tools), ("user", environment.user_tools)):
        if kit is not None and kit.db is not None:
            for name, value in _fields(kit.db):
                records.update(_records(party, name, value))
    return records

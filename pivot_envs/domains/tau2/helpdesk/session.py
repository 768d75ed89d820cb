"""The live world of one conversation: overlay tables, and the router of the customer who is calling."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pivot_envs.domains.tau2.helpdesk.arguments import Refusal, check, show
from pivot_envs.domains.tau2.helpdesk.data import Tables
from pivot_envs.domains.tau2.helpdesk.tools import (
    AGENT_FUNCTIONS,
    AGENT_TOOLS,
    CUSTOMER_FUNCTIONS,
    CUSTOMER_TOOLS,
)
from pivot_envs.domains.tau2.overlay import Table, copy_record
from pivot_envs.records import Observation, Requestor


class HelpdeskSession:
    """Implements `world.Session` over copy-on-write tables."""

    def __init__(self, base: Tables, line: str, setup: Iterable[tuple[str, str, Mapping[str, Any]]] = ()) -> None:
        """Open a session for the customer of `line`; `setup` rows (table, key, fields) break or add it needs."""
        self.tables = {name: Table(records) for name, records in base.items()}
        self.line = line
        for table, key, fields in setup:
            self.tables[table][key] = {**(self.tables[table].peek(key) or {}), **copy.deepcopy(dict(fields))}
        self.mark()

    def call(self, name: str, arguments: Mapping[str, Any], requestor: Requestor) -> Observation:
        """Run one tool of one party; whatever is wrong with the call comes back as a failed observation."""
        try:
            return Observation(json.dumps(self._run(name, arguments, requestor)))
        except Refusal as refusal:
            return Observation(json.dumps({"error": str(refusal)}), failed=True)

    def _run(self, name: str, arguments: Mapping[str, Any], requestor: Requestor) -> dict[str, Any]:
        specs = CUSTOMER_TOOLS if requestor == "user" else AGENT_TOOLS
        if not isinstance(name, str) or name not in specs:
            party = "customer" if requestor == "user" else "agent"
            raise Refusal(f"the {party} has no tool {show(name)}; there are {', '.join(specs)}")
        checked = check(name, specs[name].parameters, arguments)
        if requestor == "user":
            return CUSTOMER_FUNCTIONS[name](self.tables, self.line, **checked)
        return AGENT_FUNCTIONS[name](self.tables, **checked)

    def fork(self) -> HelpdeskSession:
        """Return an independent session in the same state; its changes count from here."""
        other = HelpdeskSession.__new__(HelpdeskSession)
        other.tables = {name: table.fork() for name, table in self.tables.items()}
        other.line = self.line
        return other

    def mark(self) -> None:
        """Start recording changes."""
        for table in self.tables.values():
            table.mark()

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Return `table/key` -> (record at the mark, record now) of everything that differs."""
        return self._differences({name: table.touched() for name, table in self.tables.items()})

    def difference_from_start(self) -> dict[str, tuple[Any, Any]]:
        """Return the same against the generated data, the task's own setup included."""
        return self._differences({name: table.changed() for name, table in self.tables.items()})

    def random_ids(self) -> list[str]:
        """Return none: ids are counted here, never drawn."""
        return []

    def rename(self, names: Mapping[str, str]) -> None:
        """Nothing to do: ids are counted here, never drawn."""

    def _differences(self, pairs: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> dict[str, tuple[Any, Any]]:
        return {
            f"{table}/{key}": (copy_record(before), copy_record(now))
            for table, touched in pairs.items()
            for key, (before, now) in touched.items()
            if before != now
        }

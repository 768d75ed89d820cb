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
from pivot_envs.domains.tau2.overlay import Table
from pivot_envs.records import Observation, Requestor


class HelpdeskSession:
    """Implements `world.Session` over copy-on-write tables."""

    def __init__(self, base: Tables, line: str, setup: Iterable[tuple[str, str, Mapping[str, Any]]] = ()) -> None:
        """Open a session for the customer of `line`; `setup` rows (table, key, fields) break or add what the task needs."""
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

    def changes(self) -> dict[str, Any]:
        """Return `table/key` -> record of everything that differs from the mark."""
        return self._differences({name: table.touched() for name, table in self.tables.items()})

    def difference_from_start(self) -> dict[str, Any]:
        """Return the same against the generated data, the task's own setup included."""
        return self._differences({name: table.changed() for name, table in self.tables.items()})

    def rename(self, names: Mapping[str, str]) -> None:
        """Nothing to do: ids are counted here, never drawn."""

    def _differences(self, pairs: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> dict[str, Any]:
        return {
            f"{table}/{key}": copy.deepcopy(now)
            for table in sorted(pairs)
            for key, (before, now) in sorted(pairs[table].items())
            if before != now
        }

"""Labels for variants of official calls: tau2's own environment on deep copies, with its own full database hash.

Nothing here touches overlays, canonical forms or comparisons of ours, so that labels and what they test share no fault.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import re
from collections.abc import Mapping
from typing import Any

from pivot_envs.domains.tau2.mutants import Calls, Run, Tables
from pivot_envs.domains.tau2.official.world import OfficialWorld
from pivot_envs.records import Observation, Task, ToolCall

_MINTED = re.compile(r'"B[0-9a-f]{8}"')
"""Ids of telecom's draft bills: random, so the official hash of a state differs from itself without them masked."""


class OfficialOracle:
    """Runs calls on deep copies of tau2's environment."""

    def __init__(self, world: OfficialWorld) -> None:
        self._world = world
        self._message_type = importlib.import_module("tau2.data_model.message").ToolCall
        self._pristine = world.environment()
        self._tables = _tables(self._pristine)
        self._environment = self._pristine
        self._present: Run | None = None

    def open(self, task: Task) -> None:
        """Go to the start of a task."""
        self._environment = copy.deepcopy(self._pristine)
        self._present = None
        initial = self._world.model_of(task).initial_state
        if initial is not None:
            self._environment.set_state(
                initialization_data=initial.initialization_data,
                initialization_actions=initial.initialization_actions,
                message_history=list(initial.message_history or []),
            )

    def step(self, calls: Calls) -> None:
        """Move on by a demonstrated batch."""
        self._call_all(self._environment, calls)
        self._present = None

    def run(self, calls: Calls) -> Run:
        """Run a batch on a deep copy of the present state."""
        if not calls:
            if self._present is None:
                self._present = Run((), _hash(self._environment))
            return self._present
        environment = copy.deepcopy(self._environment)
        observations = self._call_all(environment, calls)
        # A refused call makes a variant different whatever it changed: no need of the hash, which takes 40 to 190 ms.
        failed = any(o.failed for o in observations)
        return Run(observations, "refused" if failed else _hash(environment))

    def _call_all(self, environment: Any, calls: Calls) -> tuple[Observation, ...]:
        return tuple(self._call(environment, call) for call in calls)

    def _call(self, environment: Any, call: ToolCall) -> Observation:
        arguments = copy.deepcopy(dict(call.arguments))
        message = self._message_type(id="", name=call.name, arguments=arguments, requestor=call.requestor)
        response = environment.get_response(message)
        return Observation(str(response.content), bool(response.error))

    def tables(self) -> Tables:
        """Return the records of the domain's base."""
        return self._tables


def _hash(environment: Any) -> str:
    if environment.user_tools is None or environment.user_tools.db is None:
        return str(environment.get_db_hash())
    dumps = [kit.db.model_dump_json() for kit in (environment.tools, environment.user_tools)]
    return hashlib.sha256(_MINTED.sub('"B?"', "\n".join(dumps)).encode()).hexdigest()


def _tables(environment: Any) -> Tables:
    """Return table -> key -> record; lists are keyed by the first field that ends in `_id`."""
    dump: dict[str, Any] = environment.tools.db.model_dump(mode="json")
    return {name: _keyed(value) for name, value in dump.items() if isinstance(value, dict | list)}


def _keyed(records: Any) -> Mapping[str, Any]:
    if isinstance(records, dict):
        return records
    keyed = {}
    for record in records:
        key = next((record[name] for name in record if name.endswith("_id")), None)
        if key is not None:
            keyed[str(key)] = record
    return keyed

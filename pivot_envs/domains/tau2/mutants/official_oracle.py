"""Labels for variants of official calls: tau2's own environment on whole copies, hashing its whole databases.

Nothing here touches overlays, canonical forms or comparisons of ours, so that labels and what they test share no fault.
Copies go through pickle and hashes through the JSON dump: 2 and 4 times faster than a deep copy and the official hash
of the airline database, and as complete.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import importlib
import pickle
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pivot_envs.domains.tau2.mutants.variants import Calls, Run, Tables
from pivot_envs.domains.tau2.official.world import OfficialWorld
from pivot_envs.records import Observation, Task, ToolCall

_MINTED = re.compile(r'"B[0-9a-f]{8}"')
"""Ids of telecom's draft bills: random, so the official hash of a state differs from itself without them masked."""


class OfficialOracle:
    """Runs calls on whole copies of tau2's environment."""

    def __init__(self, world: OfficialWorld) -> None:
        self._world = world
        self._message_type = importlib.import_module("tau2.data_model.message").ToolCall
        self._pristine = world.environment()
        self._tables = _tables(self._pristine)
        self._environment = self._pristine
        self._saved: bytes | None = None
        self._state: str | None = None

    def open(self, task: Task) -> None:
        """Go to the start of a task."""
        self._check_unchanged()
        self._environment = copy.deepcopy(self._pristine)
        initial = self._world.model_of(task).initial_state
        if initial is not None:
            self._environment.set_state(
                initialization_data=initial.initialization_data,
                initialization_actions=initial.initialization_actions,
                message_history=list(initial.message_history or []),
            )
        self._saved = self._state = None

    def step(self, calls: Calls) -> None:
        """Move on by a demonstrated batch."""
        self._check_unchanged()
        for call in calls:
            self._call(self._environment, call)
        self._saved = self._state = None

    def run(self, calls: Calls) -> Run:
        """Run a batch on a copy of the present state; tools that tau2 marks as reads need none."""
        if self._state is None:
            self._state = state_hash(self._environment)
        if not any(self._may_write(call) for call in calls):
            return Run(tuple(self._call(self._environment, call) for call in calls), self._state)
        environment = self._copy()
        observations = tuple(self._call(environment, call) for call in calls)
        failed = any(o.failed for o in observations)  # different whatever it changed: spare the hash
        return Run(observations, "refused" if failed else state_hash(environment))

    def _check_unchanged(self) -> None:
        if self._state is not None and self._state != state_hash(self._environment):
            raise RuntimeError(f"a tool of tau2 {self._world.name!r} that is marked as a read changed the database")

    def _may_write(self, call: ToolCall) -> bool:
        kits = (self._environment.tools, self._environment.user_tools)
        types = [str(kit.tool_type(call.name).value) for kit in kits if kit is not None and kit.has_tool(call.name)]
        return "write" in types

    def _copy(self) -> Any:
        kits = {name: getattr(self._environment, name) for name in ("tools", "user_tools")}
        if self._saved is None:
            self._saved = pickle.dumps({name: kit and kit.db for name, kit in kits.items()}, pickle.HIGHEST_PROTOCOL)
        with _without_collector():
            databases = pickle.loads(self._saved)
        twin = copy.copy(self._environment)
        for name, kit in kits.items():
            if kit is not None:
                kit = copy.copy(kit)
                kit.db = databases[name]
                setattr(twin, name, kit)
        return twin

    def _call(self, environment: Any, call: ToolCall) -> Observation:
        arguments = copy.deepcopy(dict(call.arguments))
        message = self._message_type(id="", name=call.name, arguments=arguments, requestor=call.requestor)
        response = environment.get_response(message)
        return Observation(str(response.content), bool(response.error))

    def tables(self) -> Tables:
        """Return the records of the domain's base."""
        return self._tables


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Loading a million small objects is three times slower with the cyclic collector running."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def state_hash(environment: Any) -> str:
    """Return the hash of both databases of a tau2 environment, minted ids masked."""
    kits = (environment.tools, environment.user_tools)
    dumps = [kit.db.model_dump_json() for kit in kits if kit is not None and kit.db is not None]
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

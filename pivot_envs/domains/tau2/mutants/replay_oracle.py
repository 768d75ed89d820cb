"""The oracle of worlds of our own: labels for variants by replaying everything from the start."""

from __future__ import annotations

from pivot_envs.domains.tau2.mutants.variants import Calls, Run, Tables
from pivot_envs.domains.tau2.world import World
from pivot_envs.records import Task, canonical_json


class ReplayOracle:
    """Labels of a world of our own: each run opens the task anew and replays its calls, without forks or marks.

    It shares the tools and the tables with what is audited, but neither snapshots nor canonical forms nor comparisons.
    """

    def __init__(self, world: World, tables: Tables) -> None:
        self._world = world
        self._tables = tables
        self._task: Task | None = None
        self._done: Calls = ()

    def open(self, task: Task) -> None:
        """Go to the start of a task."""
        self._task, self._done = task, ()

    def step(self, calls: Calls) -> None:
        """Move on by a demonstrated batch."""
        self._done += calls

    def run(self, calls: Calls) -> Run:
        """Replay the way to the present state and then the batch."""
        if self._task is None:
            raise RuntimeError("an oracle is opened at a task before it runs calls")
        session = self._world.open(self._task)
        for call in self._done:
            session.call(call.name, call.arguments, call.requestor)
        observations = tuple(session.call(call.name, call.arguments, call.requestor) for call in calls)
        now = {path: after for path, (_, after) in session.difference_from_start().items()}
        return Run(observations, canonical_json(now))

    def tables(self) -> Tables:
        """Return the records of the world's base."""
        return self._tables

"""The helpdesk as a world of the tau2 family: tasks, sessions, customer, demonstrations, outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import resources
from typing import Any

from pivot_envs import errors
from pivot_envs.domains.tau2.helpdesk import compact, customer, demonstrations, episode
from pivot_envs.domains.tau2.helpdesk.data import build
from pivot_envs.domains.tau2.helpdesk.session import HelpdeskSession
from pivot_envs.domains.tau2.helpdesk.tasks import NAME, all_tasks
from pivot_envs.domains.tau2.helpdesk.tools import AGENT_TOOLS, CUSTOMER_TOOLS
from pivot_envs.domains.tau2.world import Reaction, ToolSpec
from pivot_envs.records import InitialState, Message, Outcome, Task, Trajectory, content_hash

VERSION = "1"
"""Changes whenever data, tools or the customer's ear change what a recorded turn does."""
VARIANTS = 3
"""Demonstrations of each train task."""
FLAWED_EVERY = 10
"""Of ten train tasks three are shown once more with a flaw: 36 trajectories, a tenth of the clean ones."""


class HelpdeskWorld:
    """Implements `world.World`; everything follows from the seed."""

    name = NAME
    copied_bytes = 0
    masked_fields: frozenset[str] = frozenset()
    has_customer = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._base = build(seed)
        self._tasks = {task.task_id: task for task in all_tasks(seed)}
        self.tool_specs: Mapping[str, Sequence[ToolSpec]] = {
            spec.name: (spec,) for spec in (*AGENT_TOOLS.values(), *CUSTOMER_TOOLS.values())
        }

    @cached_property
    def policy(self) -> str:
        """The agent's rules."""
        return resources.files(__package__).joinpath("policy.md").read_text(encoding="utf-8")

    @cached_property
    def fingerprint(self) -> Mapping[str, Any]:
        """Version, seed and a hash of data and tasks."""
        data = content_hash([self._base, [task.data for task in self._tasks.values()], self.policy])
        return {"world": NAME, "version": VERSION, "seed": self.seed, "data": data}

    def tasks(self, split: str) -> Sequence[Task]:
        """Return the tasks of `train`, `test` or `all`."""
        if split not in ("train", "test", "all"):
            raise errors.ConfigError(f"helpdesk has no split {split!r}; expected train, test or all")
        return [task for task in self._tasks.values() if split in ("all", task.split)]

    def task(self, task_id: str) -> Task:
        """Return one task, or raise ConfigError naming near ids."""
        if task_id not in self._tasks:
            near = errors.suggest(str(task_id), self._tasks)
            raise errors.ConfigError(f"helpdesk has no task {task_id!r}; ids run train_001, test_001, ...{near}")
        return self._tasks[task_id]

    def open(self, task: Task) -> HelpdeskSession:
        """Return a fresh session with the task's setup applied."""
        return HelpdeskSession(self._base, task.data["line"], task.data["setup"])

    def react(self, session: HelpdeskSession, task: Task, history: Sequence[Message], text: str) -> Reaction:
        """Let the task's customer answer, acting in the session. `history` ends before `text`."""
        return customer.react(session, task, history, text)

    def demonstrate(self, task: Task, seed: int) -> Trajectory:
        """Record a demonstration; seeds from 1000 on hold one marked flaw."""
        session = self.open(task)
        recording = demonstrations.record(session, task, seed)
        flawed = seed >= demonstrations.FLAWED
        meta = {
            "seed": seed,
            "split": task.split,
            "intents": [need["intent"] for need in task.data["needs"]],
            "detours": recording.detours,
            "flawed_turns": recording.flawed_turns,
            "flaw": demonstrations.flaw_of(task, seed) if flawed else "",
            "delta_hash": content_hash(session.difference_from_start()),
        }
        return Trajectory(
            trajectory_id=f"{task.task_id}-{seed}",
            domain=NAME,
            task_id=task.task_id,
            source="scripted",
            messages=tuple(recording.messages),
            tools=tuple(dict(spec.schema) for spec in AGENT_TOOLS.values()),
            initial_state=InitialState("task", task.task_id, dict(self.fingerprint)),
            outcome=self.outcome(session, task, recording.messages),
            meta=meta,
        )

    def default_trajectories(self, split: str) -> Iterator[Trajectory]:
        """Yield the trajectories this world ships: train 360 and 36 flawed, test 40."""
        for i, task in enumerate(self.tasks(split)):
            for seed in range(VARIANTS if task.split == "train" else 1):
                yield self.demonstrate(task, seed)
            if task.split == "train" and i % FLAWED_EVERY in (0, 3, 6):
                yield self.demonstrate(task, demonstrations.FLAWED + i)

    def outcome(self, session: HelpdeskSession, task: Task, messages: Sequence[Message]) -> Outcome:
        """Judge the whole episode."""
        return episode.judge(session, self.open(task), task, messages)

    def is_record_id(self, text: str) -> bool:
        """Say whether a text is the id of a record of the generated data."""
        return any(text in records for records in self._base.values())

    def compact(self, messages: Sequence[Message]) -> list[Message] | None:
        """Return the short rendering."""
        return compact.render(messages)

"""What a service desk world offers to the tau2 family: tools of two parties, sessions that fork, a customer or none.

The official tau2 domains (`official/`) and our own `helpdesk/` both implement this page; `domain.py`, `state.py` and
`compare.py` know nothing else of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pivot_envs.records import Message, Observation, Outcome, Requestor, Task, ToolCall, Trajectory

ToolKind = Literal["read", "write", "generic"]
MINTED_ID = re.compile(r"B[0-9a-f]{8}")
"""Draft bills of telecom get `B` + 8 hex digits of a uuid4; nothing else in these worlds is random."""


@dataclass(frozen=True)
class ToolSpec:
    """One tool: who may call it, whether it may change the world, and its function schema (OpenAI form)."""

    name: str
    requestor: Requestor
    kind: ToolKind
    schema: Mapping[str, Any]
    terminal: bool = False
    """Ends the conversation (transfer to a person): its name alone decides equality (reference tau2, 5.2 rule 7)."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of the arguments object."""
        parameters: Mapping[str, Any] = self.schema.get("function", {}).get("parameters", {})
        return parameters


@dataclass(frozen=True)
class Reaction:
    """What a scripted customer makes of an agent's message."""

    kind: str
    """How the message was understood, several joined by `+`: `gives_identity:phone`, `confirms:change_plan`,
    `device_step`, `acknowledges`, `confused`; `closes` where the conversation is over."""
    reply: str
    """What the customer says."""
    calls: tuple[ToolCall, ...] = ()
    """Device calls the customer made, in order; requestor is `user`."""
    observations: tuple[Observation, ...] = ()
    """What each device call showed, same order."""


ANSWERS = frozenset(
    {
        "gives_identity",
        "chooses",
        "answers",
        "describes",
        "device_step",
        "lacks",
        "withholds",
        "cannot",
        "corrects",
        "rejects",
        "no_preference",
    }
)
"""Reactions in which the customer says or does just what was asked: equal reactions prove equal requests."""
HEARD = frozenset({"acknowledges", "confused"})
"""Reactions that show nothing of what was heard: the message itself must be compared."""


class Session(Protocol):
    """The live world of one conversation. Cheap to fork."""

    def call(self, name: str, arguments: Mapping[str, Any], requestor: Requestor) -> Observation:
        """Run one tool. A tool that refuses gives `Observation(failed=True)`; nothing is raised."""

    def fork(self) -> Session:
        """Return an independent session in the same state."""

    def mark(self) -> None:
        """Start recording changes."""

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Return record path -> (record at the mark, record now) of whatever may have changed since the mark.

        Paths read `table/key`. Records are plain JSON with their own field names; None where there is no record.
        Records that turn out equal do no harm.
        """

    def difference_from_start(self) -> dict[str, tuple[Any, Any]]:
        """Return the same against the world's frozen base: what a digest hashes."""

    def random_ids(self) -> list[str]:
        """Return the ids that tools minted at random since the start, newest last; none where ids are deterministic."""

    def rename(self, names: Mapping[str, str]) -> None:
        """Replace minted ids in this session, so that it speaks of them as the recording does."""


class World(Protocol):
    """A service desk world."""

    name: str
    masked_fields: frozenset[str]
    """Record fields that never count in a delta (time stamps the tools take from the clock)."""
    copied_bytes: int
    """Bytes that one session copies whole; 0 where sessions are overlays."""
    has_customer: bool
    """Whether `react` works: a scripted customer answers messages by acting in the world."""

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """Package, version and data hash."""

    @property
    def policy(self) -> str:
        """The agent's rules, given to the policy model as the system message."""

    @property
    def tool_specs(self) -> Mapping[str, Sequence[ToolSpec]]:
        """Tool name -> its specs, one for each party that has a tool of that name."""

    def tasks(self, split: str) -> Sequence[Task]:
        """Return the tasks of a split."""

    def task(self, task_id: str) -> Task:
        """Return one task from any split, raising ConfigError with near ids."""

    def open(self, task: Task) -> Session:
        """Return a fresh session at the start of the task."""

    def react(self, session: Any, task: Task, history: Sequence[Message], text: str) -> Reaction:
        """Let the scripted customer of the task answer the agent's text, acting in the session."""

    def demonstrate(self, task: Task, seed: int) -> Trajectory:
        """Record a scripted demonstration, executed for real."""

    def outcome(self, session: Any, task: Task, messages: Sequence[Message]) -> Outcome:
        """Judge the whole episode."""

    def default_trajectories(self, split: str) -> Iterable[Trajectory]:
        """Return the demonstrations that an environment without files draws from."""

    def is_record_id(self, text: str) -> bool:
        """Say whether a text is the id of some record: an observation that shows one says what it is about."""

    def compact(self, messages: Sequence[Message]) -> list[Message] | None:
        """Return a short rendering of the visible messages for very small models, or None if there is none."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what one action may do; beyond them it is rejected, not failed."""

    max_surplus_reads: int = 3
    """Reads beyond the demonstrated ones (reference tau2, 5.2 rule 5)."""
    max_reading_ratio: float = 3.0
    """How many times the demonstrated amount of text an action may read (rule 6) ..."""
    reading_floor: int = 8_000
    """... but always this many characters, so that a short look-up may be followed by a prudent one."""
    allow_failed_reads: bool = False
    """Whether a failed read beside the right calls is forgiven (rule 4)."""

"""The records that travel between the parts: frozen dataclasses, no behaviour beyond what follows from their fields.

Trajectories come in, candidates are their turns, profiles and pivots say which turns are worth training on, effects
say what an action did, verdicts what it is worth. Reading and writing files is `trajectories.py` and `pivots.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

SCHEMA_VERSION = 1

Message = dict[str, Any]
"""One OpenAI chat message. Tool arguments are JSON strings. A user message may hold `tool_calls` of its own (dual
control); such calls and their results are part of the world, not of what the policy sees."""

Outcome5 = Literal["accepted", "rejected", "malformed", "abstained", "failed"]
Level = Literal["parse", "canonical", "execution", "rules", "judge"]
Requestor = Literal["assistant", "user"]


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def canonical_json(value: Any) -> str:
    """Serialise with sorted keys and no spaces, the form that hashes and identity tests use."""
    try:
        return _CANONICAL.encode(value)
    except (ValueError, RecursionError):  # integers of over 4,300 digits, or nesting that our readers refuse
        return _CANONICAL.encode(_bounded(value))


def _bounded(value: Any, depth: int = 64) -> Any:
    """Return a value that can be serialised, still different from others: huge integers in hex, deep nesting cut."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int:{value:x}"
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): _bounded(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(item, depth - 1) for item in value]
    return value


def content_hash(value: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


@dataclass(frozen=True)
class ToolCall:
    """One call inside an action; `arguments` is the parsed JSON object."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""
    requestor: Requestor = "assistant"

    @cached_property
    def key(self) -> str:
        """Identity of the call without its id."""
        return canonical_json([self.name, self.arguments, self.requestor])


@dataclass(frozen=True)
class Action:
    """What a policy does at one turn: text to a person, tool calls, or both. Reasoning is never compared."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""

    @property
    def is_empty(self) -> bool:
        """Neither a call nor a visible character of text."""
        return not self.calls and not self.text.strip()

    @cached_property
    def key(self) -> str:
        """Identity for caching: calls if there are any (text beside calls is ignored), else the text."""
        return canonical_json([call.key for call in self.calls]) if self.calls else "text:" + self.text.strip()


@dataclass(frozen=True)
class InitialState:
    """Where a trajectory starts: `kind` task, image, sdist or corpus; `ref` names it; `fingerprint` pins it."""

    kind: str
    ref: str
    fingerprint: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a whole episode ended. `reward` is None where it could not be evaluated; `details` says by which check."""

    reward: float | None
    passed: bool | None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One task of a domain: an id, its split, and whatever the domain needs to start it (JSON-able)."""

    task_id: str
    domain: str
    split: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trajectory:
    """A recorded run. One line of `trajectories.jsonl`."""

    trajectory_id: str
    domain: str
    task_id: str
    source: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    initial_state: InitialState
    outcome: Outcome = Outcome(None, None)
    meta: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @cached_property
    def assistant_indices(self) -> tuple[int, ...]:
        """Message index of each turn; `turn` in an id is the position in this tuple."""
        return tuple(i for i, m in enumerate(self.messages) if m.get("role") == "assistant")

    @cached_property
    def content_hash(self) -> str:
        """Hash of what decides the states of this trajectory: messages and initial state."""
        return content_hash([self.domain, self.messages, self.initial_state.kind, self.initial_state.ref])


@dataclass(frozen=True)
class Candidate:
    """One assistant turn of a trajectory with the state before it."""

    trajectory: Trajectory
    turn: int

    @property
    def candidate_id(self) -> str:
        """`domain/trajectory_id/turn`; a pivot keeps the id of its candidate."""
        return f"{self.trajectory.domain}/{self.trajectory.trajectory_id}/{self.turn}"

    @property
    def message_index(self) -> int:
        """Index of the demonstrated message in the trajectory."""
        return self.trajectory.assistant_indices[self.turn]

    @property
    def prefix(self) -> tuple[Message, ...]:
        """Everything recorded before the turn, calls of the user included."""
        return self.trajectory.messages[: self.message_index]

    @property
    def message(self) -> Message:
        """The demonstrated assistant message as recorded."""
        return self.trajectory.messages[self.message_index]


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. Defaults are ours: the paper does not print its own."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512


@dataclass(frozen=True)
class Profile:
    """K verified one-turn rollouts of a frozen policy at one candidate, with all that makes it comparable."""

    rewards: tuple[float | None, ...]
    """One per rollout; None where we failed. Mean and variance leave None out."""
    outcomes: tuple[str, ...]
    """The verdict's outcome of each rollout."""
    provenance: Mapping[str, Any]
    """policy, policy_fingerprint, sampling, template, verifier, verifier_hash, domain_fingerprint, seed."""
    tools: tuple[str, ...] = ()
    """First tool of each rollout's action, `` for text: what the report by tool counts."""
    stopped_early: bool = False
    """Fewer than K were drawn because those decided; mean and variance are None then, not those of K."""
    demonstrated_tool: str | None = None
    """First tool of the demonstration, `` for text, None where it was not recorded."""

    @property
    def valid(self) -> tuple[float, ...]:
        """Rewards that exist."""
        return tuple(r for r in self.rewards if r is not None)

    @property
    def mean(self) -> float | None:
        """Mean reward over valid rollouts; None if there is none, or drawing stopped early."""
        return sum(self.valid) / len(self.valid) if self.valid and not self.stopped_early else None

    @property
    def variance(self) -> float | None:
        """Population variance, None where the mean is; exactly 0.0 if all valid rewards are equal."""
        if not self.valid or self.stopped_early:
            return None
        if max(self.valid) == min(self.valid):
            return 0.0
        mean = sum(self.valid) / len(self.valid)
        return sum((r - mean) ** 2 for r in self.valid) / len(self.valid)


@dataclass(frozen=True)
class Pivot:
    """A kept candidate: where it stands and the profile that chose it."""

    pivot_id: str
    trajectory_id: str
    turn: int
    profile: Profile | None = None


@dataclass(frozen=True)
class Observation:
    """What one call showed. `failed` is what execution said, not what a recording claims."""

    text: str
    failed: bool = False


@dataclass(frozen=True)
class Effect:
    """What an action did: shown, changed, ended."""

    observations: tuple[Observation, ...] = ()
    delta: Mapping[str, Any] = field(default_factory=dict)
    """Canonical and small: path of a changed record -> its new value, None if deleted. Fresh ids are renamed."""
    ended: Literal["ok", "failed", "timed_out"] = "ok"
    details: Mapping[str, Any] = field(default_factory=dict)
    """What a domain adds: the customer's reaction, an exit status, surviving processes."""


@dataclass(frozen=True)
class Difference:
    """What a domain says of two effects. `equal` is None where it cannot decide."""

    equal: bool | None
    level: Level
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What a verdict cost. Seconds are wall time of this process."""

    seconds: float = 0.0
    sandbox_seconds: float = 0.0
    calls: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Verdict:
    """What an action is worth. `reward` is None exactly when the outcome is abstained or failed."""

    outcome: Outcome5
    reward: float | None
    level: Level
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = Cost()

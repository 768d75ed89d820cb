"""The contracts on one page: Domain, State, Verifier, Policy, Sandbox. Everything else implements or calls these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pivot_envs.records import (
    Action,
    Candidate,
    Difference,
    Effect,
    InitialState,
    Message,
    Outcome,
    Sampling,
    Task,
    Trajectory,
    Verdict,
)


@runtime_checkable
class State(Protocol):
    """Live state of one turn. A fork never leaks into its parent or its siblings."""

    def execute(self, action: Action) -> Effect:
        """Run the action here, changing this state, and return what it did. Never raises on what a model wrote."""

    def fork(self) -> State:
        """Return an independent second state equal to this one."""

    def digest(self) -> str:
        """Return a hash of the canonical state; equal states have equal digests in every process."""

    def close(self) -> None:
        """Free what the state holds. Calling it twice is fine."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the action, the fork it ran in (still open), and its effect."""

    action: Action
    state: State
    effect: Effect


class Domain(Protocol):
    """A world trajectories are recorded in, and the knowledge of when two effects in it are equal."""

    name: str
    family: str
    fingerprint: Mapping[str, Any]
    """Package, version and data hash of the world; stands in every trajectory and profile."""
    noise_runs: int
    """How often a demonstration runs before it is compared: 1 where execution is deterministic, else 2."""

    def tasks(self, split: str) -> Sequence[Task]:
        """Return the tasks of a split (`train`, `test`, `all`, or one the domain names)."""

    def start(self, initial_state: InitialState) -> State:
        """Return a fresh state at the beginning of an episode."""

    def tools(self, initial_state: InitialState) -> list[dict[str, Any]]:
        """Return the function schemas the policy may call."""

    def restore(self, candidate: Candidate) -> State:
        """Return the state before the candidate's turn: `start` plus replay, or a fork of a cached snapshot.

        Raises:
            RestoreError: the replay drifts from the recording, or cannot be run.
            FingerprintMismatch: the trajectory was recorded against another version of this world.
        """

    def check(self, trajectory: Trajectory) -> ReplayReport:
        """Replay a whole trajectory and compare each observation with the recorded one."""

    def demonstration(self, candidate: Candidate) -> Action:
        """Return the recorded turn as an action, read the way this domain writes its messages."""

    def compare(self, candidate: Candidate, demonstrated: Side, other: Side, noise: Sequence[Effect]) -> Difference:
        """Say whether two effects from the same state are equal. Both forks are open until this returns.

        `noise` holds the effects of further runs of the demonstration; what differs between them counts for nothing.
        """

    def demonstrate(self, task: Task, seed: int) -> Trajectory:
        """Record a scripted demonstration of the task, executed for real."""

    def outcome(self, state: State, trajectory: Trajectory) -> Outcome:
        """Judge a whole episode by the domain's own checks."""

    def visible(self, messages: Sequence[Message], style: str = "full") -> list[Message]:
        """Return what of these messages a policy sees. `style` is `full`, or a shorter one the domain offers.

        Raises:
            ConfigError: the domain has no such style.
        """


@dataclass(frozen=True)
class TurnReport:
    """How one recorded turn replays."""

    turn: int
    kind: str
    """calls, text, or scripted (a greeting the policy never chose)."""
    observations: tuple[str, ...]
    """exact, normalised or drift, for each observation before it that was new since the previous turn."""
    dropped: str = ""
    """Why the turn is no candidate by default; empty if it is one."""


@dataclass(frozen=True)
class ReplayReport:
    """The replay of one trajectory."""

    trajectory_id: str
    turns: tuple[TurnReport, ...]
    trailing: tuple[str, ...] = ()
    """Comparisons of observations after the last assistant turn."""


@dataclass(frozen=True)
class Response:
    """What the world answers after an action, beyond the observations of its calls."""

    messages: tuple[Message, ...] = ()
    """As a trajectory would record them, the user's own calls and their results included; empty hands the turn back."""
    done: bool = False
    """The episode is over."""


@runtime_checkable
class SelfDemonstrating(Protocol):
    """A domain with recorded demonstrations of its own, so that its environment needs no file."""

    def default_trajectories(self, split: str) -> Iterable[Trajectory]:
        """Return the demonstrations of a split: the same ones, in the same order, in every process."""


@runtime_checkable
class Responding(Protocol):
    """A domain with dynamics of its own (a scripted customer, a shell), for episodes of more than one turn."""

    def respond(self, state: State, action: Action, candidate: Candidate) -> Response | None:
        """Answer an action that was executed in `state`, changing `state` where the answer does.

        `candidate.trajectory.messages` is the live conversation up to the action and the observations of its calls,
        `candidate.turn` the ordinal of the action in it. None says: no dynamics here, replay the recording.
        """


@runtime_checkable
class Terminating(Protocol):
    """A domain in which some calls end the episode, such as a transfer to a person."""

    @property
    def terminal_tools(self) -> Sequence[str]:
        """Names of the tools whose call ends the episode, sorted."""


@dataclass(frozen=True)
class Case:
    """One row of a battery of labelled pairs, brought to life."""

    candidate: Candidate
    """Holds what was said before; its own recorded turn is not used."""
    state: State
    demonstrated: Action
    action: Action
    prefix_failed: str = ""
    """The first call of the row's prefix that a tool refused, and what it said; empty if none was."""


@runtime_checkable
class Auditable(Protocol):
    """A domain whose verifier can be audited on labelled pairs."""

    def case(self, row: Mapping[str, Any]) -> Case:
        """Bring a battery row to life: the state it speaks of and its two actions.

        Raises:
            RecordError: the row lacks a field or names something unknown.
            RestoreError: the row's state cannot be built; the row is reported and not scored.
            MalformedAction: the candidate is no action.
        """


class Verifier(Protocol):
    """Judges an action at a candidate."""

    name: str
    version: str
    config: Mapping[str, Any]

    def verify(self, candidate: Candidate, state: State, action: Action) -> Verdict:
        """Judge one action. Accepts the demonstration, rejects an empty action, never raises on what a model wrote."""

    def verify_group(self, candidate: Candidate, state: State, actions: Sequence[Action]) -> list[Verdict]:
        """Judge many actions from one state; the demonstration and identical actions run once."""


@dataclass(frozen=True)
class Prompt:
    """What a policy sees at one turn."""

    prompt_id: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Completion:
    """One sampled turn. Token ids are the truth in training; text is for verifiers."""

    text: str
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """Log-probability of each token under the distribution it was drawn from."""
    finish_reason: str = "stop"
    """stop, length, or error (then text is empty and the sample is excluded, never scored 0)."""
    error: str = ""
    prompt_tokens: int = 0
    """Where a server gives counts and no ids: those of the request this came with, 0 at the others of that request."""
    completion_tokens: int = 0
    """Likewise."""


@dataclass(frozen=True)
class SampleRequest:
    """So many completions of a prompt, drawn from random streams made of seed, prompt id and index."""

    prompt: Prompt
    n: int
    seed: int
    first: int = 0
    """Index of the first."""


class Policy(Protocol):
    """Something that writes actions."""

    name: str
    context_length: int
    action_codec: str
    """How its text is read as an action (see `actions.py`)."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights or the script; profiles of another fingerprint are refused."""

    def sample(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, first: int = 0
    ) -> Iterable[list[Completion]]:
        """Draw n completions for each prompt, in order. Seeds derive from `seed`, prompt id and sample index.

        `first` is the index of the first sample: drawing 4 and then 4 with `first=4` gives what drawing 8 gives.
        """


@runtime_checkable
class Batching(Protocol):
    """A policy that draws for prompts of any trajectories in as few batches as possible."""

    def sample_together(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[list[Completion]]:
        """Draw what is asked, in order; which requests come together may change the last bits of what is drawn."""


class Sandbox(Protocol):
    """A running box. Deadlines in seconds stand on every call."""

    backend: str
    fingerprint: Mapping[str, Any]

    def exec(self, command: Sequence[str], *, deadline: float, stdin: bytes = b"") -> Effect:
        """Run a command without a shell in between and return its effect."""

    def read(self, path: str, *, deadline: float) -> bytes:
        """Return a file's bytes."""

    def write(self, path: str, data: bytes, *, deadline: float) -> None:
        """Write a file."""

    def changes(self, *, deadline: float) -> Mapping[str, Any]:
        """Return path -> new content hash, mode, type or deletion, from a walk of the upper layer."""

    def snapshot(self, *, deadline: float) -> str:
        """Freeze the current layer and return its id."""

    def restore(self, snapshot: str, *, deadline: float) -> None:
        """Go to a snapshot."""

    def fork(self, *, deadline: float) -> Sandbox:
        """Return a second box from the current snapshot."""

    def ping(self, *, deadline: float) -> bool:
        """Say whether the box answers."""

    def close(self) -> None:
        """Remove the box. Calling it twice is fine."""

"""The tau2 family behind the `Domain` contract: restore by replay with snapshots, compare by executed effect."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pivot_envs.actions import from_message
from pivot_envs.candidates import visible_messages
from pivot_envs.contracts import Case, ReplayReport, Response, Side, State, TurnReport
from pivot_envs.domains.tau2.battery import BatteryStates, read_case
from pivot_envs.domains.tau2.canonical import strings_of
from pivot_envs.domains.tau2.compare import compare_calls, compare_texts
from pivot_envs.domains.tau2.replay import Replay, turn_report
from pivot_envs.domains.tau2.state import Tau2State, spec_of
from pivot_envs.domains.tau2.world import Limits, World
from pivot_envs.errors import ConfigError, FingerprintMismatch, MalformedAction, RestoreError, suggest
from pivot_envs.records import (
    Action,
    Candidate,
    Difference,
    Effect,
    InitialState,
    Message,
    Outcome,
    Task,
    Trajectory,
)
from pivot_envs.snapshots import SnapshotCache

logger = logging.getLogger(__name__)

_SHOWN = ("role", "content", "tool_calls", "tool_call_id", "name")
STYLES = ("full", "compact")
_SNAPSHOT_BYTES = 4_000
"""Bookkeeping of one overlay snapshot; what its changed records take is added."""


class Tau2Domain:
    """One world of the tau2 family.

    Args:
        world: The world.
        limits: Bounds of the comparison.
        snapshot_cache_mb: Memory for restored states; evicted ones are replayed.
        allow_drift: Restore turns whose prefix drifts too (they are no candidates by default).
    """

    family = "tau2"
    noise_runs = 1
    """Tools are deterministic but for minted ids, which the delta renames."""

    def __init__(
        self,
        world: World,
        limits: Limits | None = None,
        snapshot_cache_mb: float = 256.0,
        allow_drift: bool = False,
    ) -> None:
        self.world = world
        self.name = world.name
        self.fingerprint: Mapping[str, Any] = world.fingerprint
        self.limits = limits or Limits()
        self.allow_drift = allow_drift
        specs = [spec for group in world.tool_specs.values() for spec in group]
        self._schemas = [dict(spec.schema) for spec in specs if spec.requestor == "assistant"]
        self.terminal_tools = sorted(spec.name for spec in specs if spec.terminal)
        self._battery = BatteryStates(world)
        self.snapshots: SnapshotCache[Tau2State] = SnapshotCache(snapshot_cache_mb)

    def tasks(self, split: str) -> Sequence[Task]:
        """Return the tasks of a split."""
        return self.world.tasks(split)

    def start(self, initial_state: InitialState) -> Tau2State:
        """Return the state at the start of a task."""
        return self._start(self.world.task(initial_state.ref))

    def _start(self, task: Task) -> Tau2State:
        return Tau2State(self.world, task, self.world.open(task))

    def tools(self, initial_state: InitialState) -> list[dict[str, Any]]:
        """Return the agent's function schemas; the customer's own tools are not among them."""
        return list(self._schemas)

    def _task_of(self, trajectory: Trajectory) -> Task:
        """Prefer the task as the recording carries it: ids are reused across versions."""
        carried = trajectory.meta.get("task")
        if isinstance(carried, Mapping) and carried and not self.world.has_customer:
            return Task(trajectory.task_id, self.name, "recorded", carried)
        return self.world.task(trajectory.initial_state.ref or trajectory.task_id)

    def _check_fingerprint(self, trajectory: Trajectory) -> None:
        if trajectory.domain != self.name:
            raise ConfigError(
                f"trajectory {trajectory.trajectory_id!r} is of domain {trajectory.domain!r}, not {self.name!r}"
            )
        recorded = trajectory.initial_state.fingerprint
        differing = {k: (v, self.fingerprint.get(k)) for k, v in recorded.items() if self.fingerprint.get(k) != v}
        if differing:
            told = ", ".join(f"{k}: recorded {a!r}, here {b!r}" for k, (a, b) in differing.items())
            raise FingerprintMismatch(
                f"trajectory {trajectory.trajectory_id!r} was recorded against another {self.name!r} ({told}). "
                "Install that version, or import the file again to have its replay checked here"
            )

    def _replay(self, trajectory: Trajectory) -> Replay:
        self._check_fingerprint(trajectory)
        return Replay(self.world, trajectory, self._start(self._task_of(trajectory)))

    def restore(self, candidate: Candidate) -> Tau2State:
        """Return the state before a turn. One replay caches every turn of the trajectory.

        Raises:
            RestoreError: the prefix drifts, or the recording cannot be replayed.
            FingerprintMismatch: another version of the world.
        """
        key = (candidate.trajectory.content_hash, candidate.turn)
        cached = self.snapshots.get(key)
        if cached is not None:
            return cached.fork()
        return self._restore_by_replay(candidate)

    def _restore_by_replay(self, candidate: Candidate) -> Tau2State:
        found: Tau2State | None = None
        try:
            for met in self._replay(candidate.trajectory).turns():
                if met.drifted and not self.allow_drift:
                    if met.turn == candidate.turn:
                        raise RestoreError(
                            f"{candidate.candidate_id}: its prefix drifts from the recording at {met.drifted}"
                        )
                    continue
                snapshot = met.state.fork()
                self.snapshots.put((candidate.trajectory.content_hash, met.turn), snapshot, self._size_of(snapshot))
                if met.turn == candidate.turn:
                    found = snapshot.fork()
        except RestoreError:
            if found is None:  # what breaks after the turn does not concern it
                raise
        if found is None:
            turns = len(candidate.trajectory.assistant_indices)
            raise RestoreError(f"{candidate.candidate_id}: the trajectory has turns 0 to {turns - 1}")
        return found

    def _size_of(self, state: Tau2State) -> int:
        if self.world.copied_bytes:
            return self.world.copied_bytes
        changed = state.session.difference_from_start()
        return _SNAPSHOT_BYTES + sum(len(text) for _, now in changed.values() for text in strings_of(now)) * 4

    def check(self, trajectory: Trajectory) -> ReplayReport:
        """Replay a whole trajectory; the report names each turn's comparisons and why it is no candidate."""
        replay = self._replay(trajectory)
        reports: list[TurnReport] = []
        pending = None
        for met in replay.turns():
            if pending is not None:
                reports.append(turn_report(self.world, replay, pending, _read(pending.message)))
            pending = met
        if pending is not None:
            reports.append(turn_report(self.world, replay, pending, _read(pending.message)))
        return ReplayReport(trajectory.trajectory_id, tuple(reports), tuple(replay.comparisons))

    def demonstration(self, candidate: Candidate) -> Action:
        """Return the recorded turn as an action."""
        try:
            return from_message(candidate.message)
        except MalformedAction as error:
            raise RestoreError(f"{candidate.candidate_id}: the recorded turn is no action: {error}") from error

    def compare(self, candidate: Candidate, demonstrated: Side, other: Side, noise: Sequence[Effect]) -> Difference:
        """Compare two actions by the rules of `compare.py`."""
        if demonstrated.action.calls:
            return compare_calls(self.world, self.limits, demonstrated, other)
        policy = candidate.trajectory.meta.get("policy")
        return compare_texts(policy if isinstance(policy, str) else self.world.policy, candidate, demonstrated, other)

    def case(self, row: Mapping[str, Any]) -> Case:
        """Bring a battery row to life; see `battery.py`."""
        return read_case(self.world, self._battery, row)

    def demonstrate(self, task: Task, seed: int) -> Trajectory:
        """Record a scripted demonstration."""
        return self.world.demonstrate(task, seed)

    def default_trajectories(self, split: str) -> Iterable[Trajectory]:
        """Return the demonstrations that an environment without files draws from."""
        return self.world.default_trajectories(split)

    def respond(self, state: State, action: Action, candidate: Candidate) -> Response | None:
        """Return what the scripted customer answered; None where there is none and the recording must answer."""
        if not self.world.has_customer or not isinstance(state, Tau2State):
            return None
        if action.calls:
            specs = [spec_of(self.world, call) for call in action.calls]
            return Response(done=any(spec is not None and spec.terminal for spec in specs))
        history = state.history
        said = next((n for n in range(len(history), 0, -1) if history[n - 1].get("role") == "assistant"), 0)
        return Response(tuple(history[said:]), done="closes" in state.reaction.split("+"))

    def outcome(self, state: State, trajectory: Trajectory) -> Outcome:
        """Judge a whole episode: the trajectory's messages, continued by what happened in the state."""
        if not isinstance(state, Tau2State):
            raise ConfigError(f"outcome needs a state of the tau2 family, got {type(state).__name__}")
        return self.world.outcome(state.session, state.task, state.history)

    def visible(self, messages: Sequence[Message], style: str = "full") -> list[Message]:
        """Return the policy text and what of the conversation the agent sees, without the customer's own calls."""
        if style not in STYLES:
            raise ConfigError(f"prompt style {style!r} is unknown; known: {list(STYLES)}.{suggest(style, STYLES)}")
        seen = _agent_view(messages)
        if style == "compact":
            short = self.world.compact(seen)
            if short is None:
                raise ConfigError(f"domain {self.name!r} has no compact prompt style; use 'full'")
            return short
        if seen and seen[0].get("role") == "system":
            return seen
        return [{"role": "system", "content": self.world.policy}, *seen]


def _read(message: Message) -> Action | None:
    try:
        return from_message(message)
    except MalformedAction:
        return None


def _agent_view(messages: Sequence[Message]) -> list[Message]:
    """Drop the customer's own calls and their results, recorded reasoning, and what chat templates cannot take."""
    return [
        {key: "" if key == "content" and value is None else value for key, value in message.items() if key in _SHOWN}
        for message in visible_messages(messages)
    ]


def _opened(world: Callable[..., World], *named: str, **options: Any) -> World:
    """Open a world, refusing options it does not take by name."""
    known = [*inspect.signature(world).parameters][len(named) :] + ["snapshot_cache_mb", "allow_drift"]
    for option, value in options.items():
        if option not in known:
            hint = suggest(option, known)
            raise ConfigError(f"unknown option {option}={value!r:.80}; this domain takes {', '.join(known)}.{hint}")
    return world(*named, **options)


def _helpdesk(**options: Any) -> World:
    from pivot_envs.domains.tau2.helpdesk.world import HelpdeskWorld

    return _opened(HelpdeskWorld, **options)


def _official(name: str) -> Callable[..., World]:
    def make(**options: Any) -> World:
        from pivot_envs.domains.tau2.official.world import OfficialWorld

        return _opened(OfficialWorld, name, **options)

    return make


WORLDS: dict[str, Callable[..., World]] = {
    "helpdesk": _helpdesk,
    **{name: _official(name) for name in ("retail", "airline", "telecom", "mock")},
}
"""Domain name -> its world; nothing of tau2 is imported before one of them is asked for."""


def load(
    domain: str = "helpdesk", *, snapshot_cache_mb: float = 256.0, allow_drift: bool = False, **options: Any
) -> Tau2Domain:
    """Return a domain of the family by name.

    Args:
        domain: helpdesk, retail, airline, telecom or mock.
        snapshot_cache_mb: See `Tau2Domain`.
        allow_drift: See `Tau2Domain`.
        options: Passed to the world: `path` of a tau2-bench checkout, `seed` of the helpdesk.

    Raises:
        ConfigError: no such domain.
        MissingDependency: an official domain without tau2.
    """
    if domain not in WORLDS:
        raise ConfigError(f"the tau2 family has no domain {domain!r}; it has {list(WORLDS)}.{suggest(domain, WORLDS)}")
    return Tau2Domain(WORLDS[domain](**options), snapshot_cache_mb=snapshot_cache_mb, allow_drift=allow_drift)

"""The effect verifier: run the demonstration and the candidate action from the same state, compare what they did.

The ladder is call-or-talk, identity, execution, then whatever rules the domain has for what execution cannot show.
It knows nothing of any domain: equality of effects is `Domain.compare`. Malformed text never gets here (`actions.py`).

Known limits: an action equal by coincidence in this one state is accepted (`perturb`, used by audits, exposes that);
a demonstration that itself fails is matched only by the identical action.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pivot_envs.contracts import Domain, Side, State
from pivot_envs.errors import PivotEnvsError
from pivot_envs.records import Action, Candidate, Cost, Difference, Effect, Level, Verdict

logger = logging.getLogger(__name__)


def accepted(level: Level, reason: str, evidence: Mapping[str, Any] | None = None) -> Verdict:
    """Return a verdict of reward 1."""
    return Verdict("accepted", 1.0, level, reason, evidence or {})


def rejected(level: Level, reason: str, evidence: Mapping[str, Any] | None = None) -> Verdict:
    """Return a verdict of reward 0."""
    return Verdict("rejected", 0.0, level, reason, evidence or {})


def malformed(reason: str, detail: str = "") -> Verdict:
    """Return the verdict of an output that is no action."""
    return Verdict("malformed", 0.0, "parse", reason, {"detail": detail[:200]} if detail else {})


def failed(level: Level, reason: str) -> Verdict:
    """Return the verdict of a failure of ours: no reward at all."""
    return Verdict("failed", None, level, reason)


def from_difference(difference: Difference) -> Verdict:
    """Turn a domain's comparison into a verdict; undecided becomes `abstained`."""
    if difference.equal is None:
        return Verdict("abstained", None, difference.level, difference.reason, difference.evidence)
    make = accepted if difference.equal else rejected
    return make(difference.level, difference.reason, difference.evidence)


@dataclass(frozen=True)
class _Demonstration:
    """The demonstration's run at one pivot, kept while its group is judged."""

    side: Side
    noise: tuple[Effect, ...]


class EffectVerifier:
    """Accepts actions whose executed effect equals that of the demonstration (Eq. 6 with an executed M(s))."""

    name = "effect"
    version = "1"

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.config: Mapping[str, Any] = {"noise_runs": domain.noise_runs}

    def verify(self, candidate: Candidate, state: State, action: Action) -> Verdict:
        """Judge one action; see `verify_group`."""
        return self.verify_group(candidate, state, [action])[0]

    def verify_group(self, candidate: Candidate, state: State, actions: Sequence[Action]) -> list[Verdict]:
        """Judge actions from one state. The demonstration and identical actions run once; `state` is left as it was.

        A failure of ours gives every action the outcome `failed` with reward None, never 0.
        """
        try:
            demonstration = self.domain.demonstration(candidate)
        except PivotEnvsError as error:
            logger.warning("%s", error)
            return [failed("execution", str(error)) for _ in actions]
        return self.judge_group(candidate, demonstration, state, actions)

    def judge_group(
        self, candidate: Candidate, demonstration: Action, state: State, actions: Sequence[Action]
    ) -> list[Verdict]:
        """Judge actions against a demonstration given apart: audits have labelled pairs instead of recordings."""
        with contextlib.ExitStack() as stack:
            try:
                shown = self._run_demonstration(demonstration, state, stack)
            except Exception as error:  # recorded: the group is masked, the run goes on
                logger.exception("%s: the demonstration could not be executed", candidate.candidate_id)
                return [failed("execution", f"demonstration not executable: {error}") for _ in actions]
            known: dict[str, Verdict] = {}
            verdicts = []
            for action in actions:
                key = f"{action.is_empty}{action.key}"
                if key in known:
                    verdicts.append(replace(known[key], cost=Cost()))  # a repetition costs nothing
                else:
                    known[key] = self._judge(candidate, state, shown, action)
                    verdicts.append(known[key])
            return verdicts

    def _run_demonstration(self, action: Action, state: State, stack: contextlib.ExitStack) -> _Demonstration:
        fork = stack.enter_context(_closing(state.fork()))
        side = Side(action, fork, fork.execute(action))
        noise = []
        for _ in range(self.domain.noise_runs - 1):
            with _closing(state.fork()) as again:
                noise.append(again.execute(action))
        return _Demonstration(side, tuple(noise))

    def _judge(self, candidate: Candidate, state: State, shown: _Demonstration, action: Action) -> Verdict:
        start = time.perf_counter()
        demonstrated = shown.side.action
        if action.is_empty:
            verdict = rejected("canonical", "empty_action")
        elif bool(demonstrated.calls) != bool(action.calls):
            verdict = rejected("canonical", "call_expected" if demonstrated.calls else "message_expected")
        else:
            verdict = self._execute_and_compare(candidate, state, shown, action)
        cost = Cost(seconds=time.perf_counter() - start, calls=len(action.calls))
        return replace(verdict, cost=cost)

    def _execute_and_compare(
        self, candidate: Candidate, state: State, shown: _Demonstration, action: Action
    ) -> Verdict:
        with contextlib.ExitStack() as stack:
            try:
                fork = stack.enter_context(_closing(state.fork()))
                side = Side(action, fork, fork.execute(action))
            except Exception as error:  # whose fault it was is found out by asking a fresh fork
                logger.exception("%s: executing %r failed", candidate.candidate_id, action.key[:200])
                return self._blame(state, shown, error)
            try:
                return from_difference(self.domain.compare(candidate, shown.side, side, shown.noise))
            except Exception as error:  # comparing is our work alone: never a reward
                logger.exception("%s: comparing %r failed", candidate.candidate_id, action.key[:200])
                return failed("execution", f"comparison failed: {type(error).__name__}: {error}")

    def _blame(self, state: State, shown: _Demonstration, error: Exception) -> Verdict:
        """A policy cannot buy None: if the demonstration still runs in a fresh fork, the action broke its own box."""
        try:
            with _closing(state.fork()) as fork:
                healthy = fork.execute(shown.side.action).ended != "timed_out"
        except Exception as second:  # the state itself is gone
            return failed("execution", f"state does not answer: {second}")
        if healthy:
            return rejected("execution", f"action broke its fork: {type(error).__name__}")
        return failed("execution", f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _closing(state: State) -> Iterator[State]:
    try:
        yield state
    finally:
        try:
            state.close()
        except Exception:  # what was found out stands; the reaper takes what is left
            logger.exception("a fork could not be closed")

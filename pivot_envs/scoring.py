"""Scorer: many (pivot, action) pairs become verdicts. Every trainer and adapter calls this and nothing below it.

Pairs are grouped by pivot: one restore and one demonstration a group, identical actions once, malformed ones never.
It draws nothing at random and keeps no episode; that is `env.py`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pivot_envs.actions import Codec
from pivot_envs.bench import Bench, Written, failure, open_bench
from pivot_envs.contracts import Prompt
from pivot_envs.errors import ConfigError, RestoreError
from pivot_envs.records import Action, Candidate, Cost, Verdict
from pivot_envs.strict_json import shown

logger = logging.getLogger(__name__)

ATTEMPTS = 2
"""A group whose state or verifier failed is restored and judged once more, then it is `failed`."""


@dataclass(frozen=True)
class ScorerCounts:
    """What a scorer has done so far."""

    groups: int = 0
    restores: int = 0
    """States asked for, second attempts included."""
    judged: int = 0
    """Distinct actions handed to the verifier, second attempts included."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Verdicts returned, by outcome."""


class Scorer:
    """Judges actions at the turns of one domain. The arguments mean what they mean in `PivotEnv`.

    Args:
        family: A family or a domain.
        split: `all` by default: a scorer is asked about ids, it draws none.
        workers: Groups judged at the same time, in threads. 1 suits domains whose work is Python in this process
            (tau2, browse); boxes want more.
    """

    def __init__(
        self,
        family: str,
        domain: str | None = None,
        trajectories: str | Path | None = None,
        pivots: str | Path | None = None,
        split: str = "all",
        verifier: str = "effect",
        action_codec: str | Codec = "message",
        sandbox: str = "auto",
        judge: Mapping[str, str] | None = None,
        workers: int = 1,
        prompt_style: str = "full",
        domain_options: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ConfigError(f"workers is {workers!r}; expected a number of threads from 1")
        opened: dict[str, Any] = {
            "family": family, "domain": domain, "trajectories": trajectories, "pivots": pivots, "split": split,
            "verifier": verifier, "action_codec": action_codec, "sandbox": sandbox, "judge": judge,
            "prompt_style": prompt_style, "domain_options": domain_options,
        }
        self.bench: Bench = open_bench(**opened)
        self._arguments = {**opened, "workers": workers}
        self.workers = workers
        self._slots = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()

    def __reduce__(self) -> Any:
        """Pickle by the arguments: what is open here, locks and counters stay behind."""
        return functools.partial(type(self), **self._arguments), ()

    def candidate(self, pivot_id: str) -> Candidate:
        """Return the candidate of an id, or raise UnknownPivot."""
        return self.bench.source.get(pivot_id)

    def prompt(self, pivot_id: str, style: str | None = None) -> Prompt:
        """Return what a policy sees at a pivot; `style` overrides the scorer's own."""
        return self.bench.prompt(self.candidate(pivot_id), style)

    def ids(self) -> list[str]:
        """Return every id that can be scored."""
        return self.bench.source.ids()

    def score(self, pivot_ids: Sequence[str], actions: Sequence[Written | Action]) -> list[Verdict]:
        """Judge `actions[i]` at `pivot_ids[i]`; verdicts come in the same order.

        Nothing in `actions` raises. A failure of ours is the outcome `failed` with reward None, never 0.

        Raises:
            ConfigError: the two lists differ in length.
            UnknownPivot: an id nobody knows; nothing was executed.
            FingerprintMismatch: a trajectory was recorded against another version of its world.
        """
        for argument, value in (("pivot_ids", pivot_ids), ("actions", actions)):
            if isinstance(value, str | Mapping) or not isinstance(value, Sized) or not isinstance(value, Iterable):
                raise ConfigError(f"{argument} is {shown(value)}; expected a list, one entry for each action")
        if len(pivot_ids) != len(actions):
            raise ConfigError(f"{len(pivot_ids)} pivot ids for {len(actions)} actions; expected one id for each action")
        groups: dict[str, list[int]] = {}
        for i, pivot_id in enumerate(map(str, pivot_ids)):
            groups.setdefault(pivot_id, []).append(i)
        candidates = {pivot_id: self.candidate(pivot_id) for pivot_id in groups}
        verdicts: list[Verdict | None] = [None] * len(actions)

        def judge(pivot_id: str) -> None:
            places = groups[pivot_id]
            with self._slots:
                found = self._group(candidates[pivot_id], [actions[i] for i in places])
            for i, verdict in zip(places, found, strict=True):
                verdicts[i] = verdict

        if self.workers == 1 or len(groups) == 1:
            for pivot_id in groups:
                judge(pivot_id)
        else:
            with ThreadPoolExecutor(min(self.workers, len(groups)), "pivot-envs-score") as pool:
                list(pool.map(judge, groups))
        done = [verdict for verdict in verdicts if verdict is not None]
        with self._lock:
            self._outcomes.update(verdict.outcome for verdict in done)
        return done

    async def score_async(self, pivot_ids: Sequence[str], actions: Sequence[Written | Action]) -> list[Verdict]:
        """Do what `score` does without blocking the event loop; calls at the same time share the `workers`."""
        return await asyncio.to_thread(self.score, pivot_ids, actions)

    @property
    def counts(self) -> ScorerCounts:
        """The counters at this moment."""
        with self._lock:
            found = self._counts
            return ScorerCounts(found["groups"], found["restores"], found["judged"], dict(self._outcomes))

    def _group(self, candidate: Candidate, written: Sequence[Written | Action]) -> list[Verdict]:
        """Judge one pivot's actions: read all, then restore and judge those that reading does not decide."""
        self._count(groups=1)
        readings = [self.bench.read(each, candidate) for each in written]
        undecided = {_identity(r.action): r.action for r in readings if r.verdict is None and r.action is not None}
        judged = self._judge(candidate, undecided) if undecided else {}
        verdicts, paid = [], set()
        for reading in readings:
            if reading.verdict is not None:
                verdicts.append(reading.verdict)
                continue
            key = _identity(reading.action)
            verdicts.append(judged[key] if key not in paid else replace(judged[key], cost=Cost()))
            paid.add(key)
        return verdicts

    def _judge(self, candidate: Candidate, actions: Mapping[str, Action]) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for attempt in range(ATTEMPTS):
            left = {key: action for key, action in actions.items() if _undone(verdicts.get(key))}
            if not left:
                break
            if attempt:
                logger.warning("%s: %d verdicts failed and are tried once more", candidate.candidate_id, len(left))
            verdicts.update(zip(left, self._attempt(candidate, list(left.values())), strict=True))
        return verdicts

    def _attempt(self, candidate: Candidate, actions: Sequence[Action]) -> list[Verdict]:
        self._count(restores=1)
        try:
            state = self.bench.restore_once(candidate)
        except RestoreError as error:
            return [failure(str(error)) for _ in actions]
        try:
            self._count(judged=len(actions))
            return self.bench.judge(candidate, state, actions)
        finally:
            state.close()

    def _count(self, **by: int) -> None:
        with self._lock:
            self._counts.update(by)


def _undone(verdict: Verdict | None) -> bool:
    return verdict is None or verdict.outcome == "failed"


def _identity(action: Action | None) -> str:
    """Return what makes two actions the same for every verifier; an empty one equals no other."""
    assert action is not None
    return f"{action.is_empty}{action.key}"

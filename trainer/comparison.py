"""The second half of the demo: a base policy, and what imitation and pivots make of it, on tasks neither has seen.

The arms themselves are `arms.py`; `benchmarks/helpdesk_learning.py` runs more of them, more often.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pivot_envs import selection
from pivot_envs.candidates import of_first_trajectories
from pivot_envs.pivots import Selection, make_header, select, write_pivots
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, profile
from pivot_envs.records import Sampling
from pivot_envs.scoring import Scorer
from pivot_envs.selectors import SelectorConfig
from pivot_envs.trainer.arms import Arm, imitate, practise
from pivot_envs.trainer.config import GRPOConfig, SFTConfig
from pivot_envs.trainer.evaluate import Share, evaluate_episodes, held_out
from pivot_envs.trainer.model import BASE, TransformersPolicy, load_policy

STYLE = "compact"
SAMPLING = Sampling(max_tokens=72)
"""The longest demonstrated turn has 60 tokens."""
SFT_LR = 5e-4
GRPO_LR = 5e-5
"""At 3e-4 the policy overfits its pivots: whole episodes fell from .28 to .04 in 30 steps on 70 of them."""
SHOWN = 3
"""Pivots written out for the report."""
Stage = Callable[..., Any]
"""stage(name, work, seconds): prints a line around `work`, which returns (what to tell, value); returns the value."""


@dataclass(frozen=True)
class Row:
    """One policy in the table."""

    arm: str
    episodes: Share
    """Whole episodes of test tasks that succeed."""
    turns: Share
    """Turns of test demonstrations at which one sampled action is accepted by effect."""
    exact: Share
    """The same sampled actions under exact match, which is stricter."""
    dead_share: float | None
    """Of the groups drawn: while profiling for the base, while training for the others."""
    rollouts: int
    """Drawn to make this policy, profiling included."""
    seconds: float
    """Spent on making it, profiling included."""


@dataclass
class Comparison:
    """What was found."""

    rows: list[Row] = field(default_factory=list)
    selection: selection.SelectionReport | None = None
    curve: Sequence[Mapping[str, Any]] = ()
    pivots: list[str] = field(default_factory=list)
    """A few pivots with the base's actions there, as text."""
    missing: str = ""
    """Why an arm is missing, if one is."""


@dataclass(frozen=True)
class Comparing:
    """How much of everything."""

    folder: Path
    trajectories: Path
    held_out: Path
    profiled: int
    k: int
    steps: int
    sft_epochs: int
    episodes: int
    seed: int = 0

    def run(self, stage: Stage) -> Comparison:
        """Profile, select, train both arms and evaluate all three policies."""
        found, base = Comparison(), load_policy(BASE)
        scorer = Scorer(
            "tau2", "helpdesk", trajectories=str(self.trajectories), action_codec=base.action_codec, prompt_style=STYLE
        )
        estimate = 0.06 * self.profiled * self.k
        cost, chosen = stage("profile the base", lambda: self._profile(base, scorer), estimate)
        found.selection = selection.report(chosen)
        found.pivots = [_looked_at(base, scorer, pivot.pivot_id) for pivot in chosen.kept[:: _stride(chosen)][:SHOWN]]
        arms = [Arm("base", base, dead_share=found.selection.dead_share)]
        arms.append(stage("imitate (sft)", lambda: self._imitate(base, scorer), 14 * self.sft_epochs))
        kept = [pivot.pivot_id for pivot in chosen.kept]
        if len(kept) < 2:
            found.missing = f"GRPO: {len(kept)} pivots are too few; raise --profiled"
        else:
            arms.append(stage("practise (pivot)", lambda: self._practise(base, scorer, kept, cost), 3.5 * self.steps))
            found.curve = arms[-1].curve
        for arm in arms:
            told = f"evaluate {arm.name}"
            found.rows.append(stage(told, lambda arm=arm: self._evaluate(arm, cost), 0.4 * self.episodes))
        return found

    def _profile(self, base: TransformersPolicy, scorer: Scorer) -> tuple[str, tuple[_Cost, Selection]]:
        path = self.folder / "profiles.jsonl"
        path.unlink(missing_ok=True)
        ids = of_first_trajectories(scorer.ids(), self.profiled)
        config = ProfileConfig(k=self.k, prompt_style=STYLE, sampling=SAMPLING, seed=self.seed)
        started = time.perf_counter()
        summary = profile(scorer, base, config, path, candidates=ids, trajectories=self.trajectories)
        seconds = time.perf_counter() - started
        profiles = read_profiles(path)
        chosen = select(profiles.profiles, SelectorConfig(), excluded=profiles.excluded)
        header = make_header(profiles.provenance, SelectorConfig(), self.trajectories)
        write_pivots(self.folder / "pivots.jsonl", header, chosen.kept)
        told = f"{summary.candidates} turns x {self.k} = {summary.rollouts} rollouts; {len(chosen.kept)} pivots (Eq. 5)"
        return told, (_Cost(summary.rollouts, seconds), chosen)

    def _imitate(self, base: TransformersPolicy, scorer: Scorer) -> tuple[str, Arm]:
        config = SFTConfig(epochs=self.sft_epochs, batch_size=8, micro_batch=4, lr=SFT_LR, seed=self.seed)
        arm = imitate(base, scorer, config, _emptied(self.folder / "sft"))
        return f"{len(scorer.ids())} demonstrated turns, {self.sft_epochs} times", arm

    def _practise(
        self, base: TransformersPolicy, scorer: Scorer, pivots: Sequence[str], cost: _Cost
    ) -> tuple[str, Arm]:
        config = GRPOConfig(
            steps=self.steps, pivots_per_step=16, group_size=8, lr=GRPO_LR, max_tokens=SAMPLING.max_tokens,
            seed=self.seed,
        )  # fmt: skip
        arm = practise(base, scorer, pivots, config, _emptied(self.folder / "grpo"), profiling=cost.rollouts)
        first, last = arm.curve[0]["reward/mean"] or 0.0, arm.curve[-1]["reward/mean"] or 0.0
        return f"{self.steps} steps x 16 pivots x 8, reward {first:.2f} -> {last:.2f}", arm

    def _evaluate(self, arm: Arm, cost: _Cost) -> tuple[str, Row]:
        shared: dict[str, Any] = {"trajectories": str(self.held_out), "split": "test", "prompt_style": STYLE}
        codec = arm.policy.action_codec
        scorers = {v: Scorer("tau2", "helpdesk", verifier=v, action_codec=codec, **shared) for v in ("effect", "exact")}
        turns = held_out(arm.policy, scorers, sampling=SAMPLING)
        report = evaluate_episodes(
            arm.policy, "tau2", "helpdesk", episodes=self.episodes, sampling=SAMPLING, seed=self.seed, **shared
        )
        row = Row(
            arm.name, report.success, turns["effect"], turns["exact"], arm.dead_share,
            arm.rollouts + arm.profiling, arm.seconds + (cost.seconds if arm.profiling else 0.0),
        )  # fmt: skip
        return f"{report.success.share:.2f} of {self.episodes} episodes, {turns['effect'].share:.2f} of turns", row


@dataclass(frozen=True)
class _Cost:
    """Of profiling."""

    rollouts: int
    seconds: float


def _stride(chosen: Selection) -> int:
    return max(1, len(chosen.kept) // SHOWN)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _looked_at(base: TransformersPolicy, scorer: Scorer, pivot_id: str) -> str:
    """Return a pivot as text: the last words, the demonstrated action, and four of the base's with their verdicts."""
    prompt = scorer.prompt(pivot_id, STYLE)
    heard = "\n".join(f"{m['role']}: {m.get('content') or '(call)'}" for m in prompt.messages[-3:])
    [drawn] = base.sample([prompt], 4, SAMPLING, 0)
    texts = [completion.text for completion in drawn]
    verdicts = scorer.score([pivot_id] * len(texts), texts)
    tried = "\n".join(
        f"{'unknown' if v.reward is None else f'{v.reward:g}'} ({v.reason}): {' '.join(text.split())}"
        for v, text in zip(verdicts, texts, strict=True)
    )
    shown = scorer.bench.domain.demonstration(scorer.candidate(pivot_id))
    return f"{pivot_id}\n{heard}\n\ndemonstrated: {shown.text or [c.name for c in shown.calls]}\n{tried}"


def words(rows: Sequence[Row]) -> list[str]:
    """Say in words what the figures show and what they do not."""
    by_name = {row.arm: row for row in rows}
    told = []
    for name in ("sft", "pivot"):
        if name in by_name:
            told.append(f"{name} against base: {_against(by_name[name].episodes, by_name['base'].episodes)}.")
    if {"sft", "pivot"} <= set(by_name):
        sft, pivot = by_name["sft"].episodes, by_name["pivot"].episodes
        if sft.share > pivot.share:
            told.append(f"sft beats pivot here: {_against(sft, pivot)}.")
        else:
            told.append(f"pivot against sft: {_against(pivot, sft)}.")
    return told


def _against(one: Share, other: Share) -> str:
    told = f"{one.share:.2f} of whole episodes against {other.share:.2f}"
    if one.low > other.high:
        return f"{told}, better beyond the intervals"
    if one.high < other.low:
        return f"{told}, worse beyond the intervals"
    return f"{told}, a difference within the intervals"

"""Does training on pivots help, and which part of it? Base, sft, pivot, unfiltered and exact on helpdesk, by seed.

    python benchmarks/helpdesk_learning.py --output runs/learning.jsonl

Every arm starts from the shipped base policy and is evaluated on whole episodes of test tasks. GRPO arms draw equally
many training rollouts; what profiling drew stands beside. Rows are appended as they are found, so a run that was
stopped goes on. An arm with fewer pivots than a step wants draws fewer rollouts.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import tyro

from pivot_envs.domains import get_domain
from pivot_envs.pivots import Selection, select
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, profile
from pivot_envs.records import Sampling
from pivot_envs.scoring import Scorer
from pivot_envs.selectors import SelectorConfig
from pivot_envs.trainer.arms import Arm, imitate, practise
from pivot_envs.trainer.config import GRPOConfig, SFTConfig
from pivot_envs.trainer.evaluate import evaluate_episodes, held_out, wilson
from pivot_envs.trainer.model import BASE, load_policy
from pivot_envs.trajectories import write_trajectories

STYLE = "compact"
SAMPLING = Sampling(max_tokens=72)
"""The longest demonstrated turn has 60 tokens."""


@dataclass(frozen=True)
class Study:
    """How much of everything."""

    output: Path = Path("runs/learning.jsonl")
    """Rows, one an arm and seed; those that stand there are not run again."""
    arms: tuple[str, ...] = ("base", "sft", "pivot", "unfiltered", "exact")
    seeds: int = 3
    episodes: int = 1000
    turns: int = 400
    tasks: int = 120
    """Train tasks whose one demonstration each every arm may use."""
    k: int = 8
    steps: int = 40
    pivots_per_step: int = 16
    group_size: int = 8
    lr: float = 5e-5
    sft_epochs: int = 3
    sft_lr: float = 5e-4


class Arms:
    """What the arms share: trajectories, scorers, and profiles of the base under each verifier."""

    def __init__(self, study: Study, folder: Path) -> None:
        self.study, self.folder, self.base = study, folder, load_policy(BASE)
        domain = get_domain("tau2", "helpdesk")
        self.trajectories = folder / "train.jsonl"
        tasks = list(domain.tasks("train"))[: study.tasks]
        write_trajectories(self.trajectories, (domain.demonstrate(task, 0) for task in tasks))
        self._profiles: dict[str, tuple[Selection, int]] = {}

    def scorer(self, verifier: str) -> Scorer:
        """Return a scorer over the train trajectories."""
        return Scorer(
            "tau2",
            "helpdesk",
            trajectories=str(self.trajectories),
            verifier=verifier,
            action_codec=self.base.action_codec,
            prompt_style=STYLE,
        )

    def profiled(self, verifier: str) -> tuple[Selection, int]:
        """Return the pivots of the base under a verifier, and how many rollouts finding them took."""
        if verifier not in self._profiles:
            path = self.folder / f"profiles-{verifier}.jsonl"
            config = ProfileConfig(k=self.study.k, prompt_style=STYLE, sampling=SAMPLING)
            summary = profile(self.scorer(verifier), self.base, config, path, trajectories=self.trajectories)
            found = read_profiles(path)
            chosen = select(found.profiles, SelectorConfig(), excluded=found.excluded)
            self._profiles[verifier] = chosen, summary.rollouts
        return self._profiles[verifier]

    def sft(self, seed: int) -> Arm:
        """Imitate every demonstration."""
        config = SFTConfig(epochs=self.study.sft_epochs, batch_size=8, micro_batch=4, lr=self.study.sft_lr, seed=seed)
        return imitate(self.base, self.scorer("effect"), config, self.folder / f"sft-{seed}")

    def grpo(self, name: str, seed: int) -> Arm:
        """Practise on pivots, on turns drawn at random, or on pivots of exact match."""
        study, verifier = self.study, "exact" if name == "exact" else "effect"
        chosen, rollouts = self.profiled(verifier)
        if name == "unfiltered":
            chosen = select(chosen.profiles, SelectorConfig(random_control=True, seed=seed))
            rollouts = 0  # any turn will do, so nothing has to be profiled
        config = GRPOConfig(
            steps=study.steps, pivots_per_step=study.pivots_per_step, group_size=study.group_size, lr=study.lr,
            max_tokens=SAMPLING.max_tokens, seed=seed, checkpoint_every=1000,
        )  # fmt: skip
        pivots = [pivot.pivot_id for pivot in chosen.kept]
        folder = self.folder / f"{name}-{seed}"
        return practise(self.base, self.scorer(verifier), pivots, config, folder, name, rollouts)

    def evaluated(self, arm: Arm, seed: int) -> dict[str, Any]:
        """Return the row of an arm."""
        began, shared = time.perf_counter(), {"split": "test", "prompt_style": STYLE}
        report = evaluate_episodes(
            arm.policy, "tau2", "helpdesk", episodes=self.study.episodes, sampling=SAMPLING, seed=seed, **shared
        )
        codec = arm.policy.action_codec
        scorers = {v: Scorer("tau2", "helpdesk", verifier=v, action_codec=codec, **shared) for v in ("effect", "exact")}
        turns = held_out(arm.policy, scorers, sampling=SAMPLING, seed=seed, most=self.study.turns)
        return {
            "arm": arm.name, "seed": seed, "success": report.successes, "episodes": report.episodes,
            "endings": dict(report.endings), "by_task": {task: list(n) for task, n in report.by_task.items()},
            "turns": {name: share.share for name, share in turns.items()},
            "pivots": arm.pivots, "rollouts": arm.rollouts, "profiling": arm.profiling, "dead_share": arm.dead_share,
            "reward": [row["reward/mean"] for row in arm.curve], "dead": [row["dead_groups"] for row in arm.curve],
            "seconds": arm.seconds, "seconds_evaluation": time.perf_counter() - began, "study": asdict(self.study),
        }  # fmt: skip


def run(study: Study) -> None:
    """Run what is missing and print the table."""
    torch.set_num_threads(1)
    study.output.parent.mkdir(parents=True, exist_ok=True)
    done = _rows(study.output)
    folder = Path(tempfile.mkdtemp(prefix="helpdesk-learning-"))
    try:
        arms = Arms(study, folder)
        for seed in range(study.seeds):
            for name in study.arms:
                if any((row["arm"], row["seed"]) == (name, seed) for row in done):
                    continue
                row = arms.evaluated(_arm(arms, name, seed), seed)
                with study.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, default=str) + "\n")
                done.append(row)
                print(f"{name} seed {seed}: {row['success']} of {row['episodes']}, {row['seconds']:.0f} s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _print(done, study)


def _arm(arms: Arms, name: str, seed: int) -> Arm:
    makers: Mapping[str, Callable[[], Arm]] = {
        "base": lambda: Arm("base", arms.base),
        "sft": lambda: arms.sft(seed),
    }
    return makers.get(name, lambda: arms.grpo(name, seed))()


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _print(rows: list[dict[str, Any]], study: Study) -> None:
    print("arm | whole episodes, all seeds | 95 % | by seed | turns effect / exact | dead share | rollouts + profiling")
    for name in study.arms:
        mine = [row for row in rows if row["arm"] == name]
        if not mine:
            continue
        share = wilson(sum(row["success"] for row in mine), sum(row["episodes"] for row in mine))
        by_seed = " ".join(f"{row['success'] / row['episodes']:.3f}" for row in mine)
        turns = " / ".join(f"{fmean(row['turns'][v] for row in mine):.3f}" for v in ("effect", "exact"))
        dead = "-" if mine[0]["dead_share"] is None else f"{fmean(row['dead_share'] for row in mine):.2f}"
        print(
            f"{name} | {share.share:.3f} | {share.low:.3f}-{share.high:.3f} | {by_seed} | {turns} | {dead} | "
            f"{mine[0]['rollouts']} + {mine[0]['profiling']}"
        )


if __name__ == "__main__":
    run(tyro.cli(Study))

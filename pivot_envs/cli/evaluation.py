"""The command that evaluates a policy: whole episodes to their end, and held-out turns under one or more verifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from pivot_envs.cli.learning import open_policy
from pivot_envs.cli.screen import Flag, at_least, console, existing, print_json, progress, table, world_options
from pivot_envs.domains import resolve
from pivot_envs.errors import ConfigError
from pivot_envs.records import Sampling
from pivot_envs.scoring import Scorer
from pivot_envs.trainer.evaluate import EpisodeReport, Share, evaluate_episodes, held_out


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a policy: whole episodes from their first turn, and held-out turns judged one by one.

    Whole episodes need a domain that answers by itself, as helpdesk does with its scripted customer. Turns are sampled
    once and judged by every verifier named, so that a share under the trained verifier stands beside a stricter one.
    Shares come with Wilson 95 % intervals; what failed on our side is left out and counted. A policy is given as for
    `profile`, except that the test policy is not one here.
    """

    policy: tyro.conf.Positional[str]
    """Folder, hub name, http(s) URL (several replicas: commas between), or helpdesk-base (small, shipped)."""
    domain: str = "helpdesk"
    """The domain to act in."""
    split: str = "test"
    """Whose tasks."""
    trajectories: Path | None = None
    """A trajectories.jsonl to take starts and turns from; default: the domain's own demonstrations."""
    episodes: int = 200
    """Whole episodes; 0 leaves them out."""
    max_turns: int = 40
    """Longest episode."""
    turns: int = 300
    """Held-out turns, evenly spread; 0 leaves them out."""
    verifiers: tuple[str, ...] = ("effect", "exact")
    """Each judges the same sampled turns."""
    temperature: float = 1.0
    """Of the draws."""
    max_tokens: int = 512
    """Of one turn. A held-out turn that is cut there is left out and counted, as training masks it."""
    seed: int = 0
    """Of the draws."""
    prompt_style: str | None = None
    """How prompts are written; default: as the policy was saved with."""
    model: str = ""
    """Model name at the server, where the policy is a URL."""
    device: str = "cpu"
    """Where a transformers model runs: cpu, cuda, ..."""
    tau2_path: str | None = None
    """A tau2-bench checkout."""
    json: Flag = False
    """Print the figures as JSON."""

    def run(self) -> int:
        """Evaluate and print."""
        at_least(self.episodes, 0, "--episodes")
        at_least(self.turns, 0, "--turns")
        if not self.turns and not self.episodes:
            raise ConfigError("--episodes 0 and --turns 0 leave nothing to evaluate")
        if self.trajectories is not None:
            existing(self.trajectories, "--trajectories")
        family, domain = resolve(self.domain)
        policy = open_policy(self.policy, self.model, device=self.device)
        style = self.prompt_style or getattr(policy, "prompt_style", "full")
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
        shared: dict[str, Any] = {
            "split": self.split,
            "trajectories": str(self.trajectories) if self.trajectories else None,
            "domain_options": world_options(family, domain, self.tau2_path),
            "prompt_style": style,
        }
        shares: Mapping[str, Share] = {}
        if self.turns:
            scorers = {
                name: Scorer(family, domain, verifier=name, action_codec=policy.action_codec, **shared)
                for name in self.verifiers
            }
            shares = held_out(policy, scorers, sampling=sampling, seed=self.seed, most=self.turns)
        report = None
        if self.episodes:
            with progress("episodes", self.episodes) as bar:
                report = evaluate_episodes(
                    policy, family, domain, episodes=self.episodes, max_turns=self.max_turns, sampling=sampling,
                    seed=self.seed, progress=lambda done: bar.update(bar.task_ids[0], completed=done), **shared,
                )  # fmt: skip
        if self.json:
            print_json({"turns": {n: asdict(s) for n, s in shares.items()}, "episodes": report and asdict(report)})
        else:
            _print(shares, report)
        return 0


def _print(shares: Mapping[str, Share], report: EpisodeReport | None) -> None:
    rows = [(f"turns accepted by {name}", *_cells(share)) for name, share in shares.items()]
    if report is not None:
        rows.append(("whole episodes that succeed", *_cells(report.success)))
    table("evaluation", ["", "share", "95 % interval", "of", "left out"], rows)
    if cut := max((share.cut for share in shares.values()), default=0):
        console().print(f"left out because cut at --max-tokens, as training masks them: {cut}")
    if report is not None:
        console().print(
            f"{report.rollouts} turns sampled in {report.seconds:.0f} s, {report.mean_turns:.1f} an episode; endings: "
            + ", ".join(f"{name} {count}" for name, count in report.endings.items())
        )


def _cells(share: Share) -> tuple[str, str, int, int]:
    return f"{share.share:.3f}", f"{share.low:.3f} to {share.high:.3f}", share.n, share.excluded

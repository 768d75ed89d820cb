"""The command that trains: PivotRL on a pivot file, or supervised fine-tuning on a trajectory file."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pivot_envs.actions import encode, from_message
from pivot_envs.cli.learning import open_scorer
from pivot_envs.cli.screen import Flag, console, existing, progress
from pivot_envs.errors import ConfigError, FingerprintMismatch
from pivot_envs.pivots import read_pivots
from pivot_envs.records import Message, content_hash
from pivot_envs.scoring import Scorer
from pivot_envs.trainer.evaluate import Share, held_out
from pivot_envs.trainer.grpo import GRPOConfig, TrainResult, train
from pivot_envs.trainer.model import TransformersPolicy, load_policy, tiny_model
from pivot_envs.trainer.sft import SFTConfig, SFTExample, train_sft
from pivot_envs.trajectories import read_trajectories

TINY = "tiny"
TINY_SHAPE = {"layers": 2, "width": 96, "heads": 4, "vocab_size": 768, "context_length": 1024}
"""0.3 M parameters: after ten passes over 120 demonstrations a third of its held-out turns are right."""
TINY_SFT = SFTConfig(epochs=10, batch_size=4, micro_batch=4, lr=2e-3)
TINY_GRPO_LR = 3e-4


@dataclass(frozen=True)
class TrainCommand:
    """Train a local policy: arm `pivot` runs GRPO on a pivots.jsonl, arm `sft` imitates whole conversations.

    A policy is a folder or hub name of a transformers model; `tiny` builds a random one of 0.3 M parameters from
    the file's own text (arm sft only). Servers are refused: train there with TRL or verl. Ctrl-C saves a checkpoint;
    --resume goes on from the last one.
    """

    data: tyro.conf.Positional[Path]
    """A pivots.jsonl (arm pivot) or trajectories.jsonl (arm sft)."""
    output: Path
    """Folder of the run: manifest.json, metrics.jsonl, checkpoints."""
    policy: str
    """Folder or hub name of the policy to train, or `tiny`."""
    arm: Literal["pivot", "sft"] = "pivot"
    """What to train on."""
    grpo: Annotated[GRPOConfig, tyro.conf.arg(name="")] = field(default_factory=GRPOConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    verifier: str = "effect"
    """effect, exact, tool_name, word_overlap or paper."""
    prompt_style: str | None = None
    """How prompts are written; default: as the policy was saved with."""
    other_policy: Flag = False
    """Train on pivots that another policy was profiled for. Difficulty does not transfer between policies."""
    resume: Flag = False
    """Go on from the last checkpoint in the output folder."""
    device: str = "cpu"
    """cpu, cuda, ..."""
    tau2_path: str | None = None
    """A tau2-bench checkout."""

    def run(self) -> int:
        """Train and print what came of it."""
        existing(self.data, "DATA")
        if self.policy.startswith(("http://", "https://")):
            raise ConfigError(
                f"--policy {self.policy} is a server: its weights are elsewhere. Train there with TRL or verl"
            )
        return self._sft() if self.arm == "sft" else self._pivot()

    def _pivot(self) -> int:
        if self.policy == TINY:
            raise ConfigError("a random tiny policy solves nothing, so it has no pivots; train it with --arm sft first")
        policy = load_policy(self.policy, device=self.device)
        reference = load_policy(self.policy, device=self.device) if self.grpo.beta > 0 else None
        header, pivots = read_pivots(self.data)
        self._check_profile(header.profile or {}, policy)
        trajectories = self.data.parent / header.trajectories
        scorer = open_scorer(
            trajectories, self.verifier, policy.action_codec, self._style(policy), self.tau2_path, pivots=str(self.data)
        )
        prompts = {pivot.pivot_id: scorer.prompt(pivot.pivot_id) for pivot in pivots}
        with progress("training steps", self.grpo.steps) as bar:

            def show(row: Mapping[str, Any]) -> None:
                told = f"training steps, reward {_shown(row['reward/mean'])}"
                bar.update(bar.task_ids[0], completed=row["step"], description=told)

            result = train(
                policy,
                reference,
                prompts,
                scorer.score,
                self.grpo,
                self.output,
                self.resume,
                provenance=_provenance(scorer),
                on_step=show,
            )
        console().print(f"{result.steps} steps; the policy is in {result.checkpoint / 'policy'}")
        return 0

    def _style(self, policy: TransformersPolicy) -> str:
        return self.prompt_style or policy.prompt_style

    def _check_profile(self, profile: Mapping[str, Any], policy: TransformersPolicy) -> None:
        profiled = profile.get("policy_fingerprint")
        if profiled and profiled != policy.fingerprint and not self.other_policy:
            raise FingerprintMismatch(
                f"the pivots were profiled for policy {profile.get('policy')!r} ({profiled}), not for {self.policy!r} "
                f"({policy.fingerprint}): profile this policy and select again, or pass --other-policy"
            )

    def _sft(self) -> int:
        style = self.prompt_style or "full"
        scorer = open_scorer(self.data, "effect", "message", style, self.tau2_path)
        policy = (
            tiny_policy(scorer, self.data, style)
            if self.policy == TINY
            else load_policy(self.policy, device=self.device)
        )
        examples = demonstrations(scorer, scorer.ids(), policy)
        with progress("sft steps", None) as bar:
            result = train_sft(
                policy,
                examples,
                self.sft,
                self.output,
                on_step=lambda row: bar.update(
                    bar.task_ids[0], completed=row["step"], description=f"sft, loss {row['loss']:.3f}"
                ),
            )
        console().print(
            f"{result.steps} steps on {len(examples) - result.excluded} turns, loss {result.first_loss:.3f} -> "
            f"{result.last_loss:.3f}; the policy is in {self.output / 'policy'}"
        )
        return 0


def _provenance(scorer: Scorer) -> dict[str, Any]:
    verifier = scorer.bench.verifier
    return {
        "domain": scorer.bench.domain.name,
        "domain_fingerprint": content_hash(dict(scorer.bench.domain.fingerprint)),
        "verifier": f"{verifier.name} {verifier.version} {content_hash(dict(verifier.config))}",
    }


def demonstrations(scorer: Scorer, ids: list[str], policy: TransformersPolicy) -> list[SFTExample]:
    """Return the demonstrated turns of some candidates as a policy of this codec and prompt style would write them."""
    domain, examples = scorer.bench.domain, []
    for candidate_id in ids:
        candidate = scorer.candidate(candidate_id)
        shown = domain.visible([*candidate.prefix, candidate.message], policy.prompt_style)[-1]
        examples.append(
            SFTExample(
                scorer.prompt(candidate_id, policy.prompt_style), encode(from_message(shown), policy.action_codec)
            )
        )
    return examples


def tiny_policy(scorer: Scorer, trajectories: Path, style: str) -> TransformersPolicy:
    """Return a random tiny model whose tokenizer is trained on what the policy will read and write."""
    first = next(iter(read_trajectories(trajectories)))
    candidates = [scorer.candidate(i) for i in scorer.ids()]
    whole = {c.trajectory.trajectory_id: c.trajectory.messages for c in candidates}
    texts = [_text(message) for messages in whole.values() for message in scorer.bench.domain.visible(messages, style)]
    return tiny_model(texts, name=f"tiny-{first.domain}", prompt_style=style, **TINY_SHAPE)


def _text(message: Message) -> str:
    return encode(from_message(message), "hermes") if message.get("tool_calls") else str(message.get("content") or "")


def warm_up(policy: TransformersPolicy, scorer: Scorer, epochs: int, folder: Path) -> tuple[str, None]:
    """Imitate the demonstrations for some epochs; the demo's way to a policy that solves some turns and not others."""
    shutil.rmtree(folder, ignore_errors=True)
    examples = demonstrations(scorer, scorer.ids(), policy)
    result = train_sft(policy, examples, replace(TINY_SFT, epochs=epochs), folder)
    size = sum(p.numel() for p in policy.model.parameters())
    return (
        f"{size / 1e6:.2f} M parameters, {len(examples)} turns, loss {result.first_loss:.2f} -> {result.last_loss:.2f}",
        None,
    )


def held_out_turns(policy: TransformersPolicy, scorer: Scorer) -> tuple[str, Share]:
    """Return the share of turns at which one sampled action is accepted, and the demo's words for it."""
    share = held_out(policy, scorer)
    return f"{share.share:.3f} of {share.n} accepted", share


def demo_grpo(
    policy: TransformersPolicy, pivots: Path, trajectories: Path, style: str, steps: int, folder: Path
) -> tuple[str, TrainResult]:
    """Train the policy on its pivots for a few steps."""
    shutil.rmtree(folder, ignore_errors=True)
    scorer = open_scorer(trajectories, "effect", policy.action_codec, style, None, pivots=str(pivots))
    prompts = {pivot_id: scorer.prompt(pivot_id) for pivot_id in scorer.ids()}
    config = GRPOConfig(steps=steps, pivots_per_step=16, group_size=8, lr=TINY_GRPO_LR, max_tokens=64)
    result = train(policy, copy.deepcopy(policy), prompts, scorer.score, config, folder, provenance=_provenance(scorer))
    first, last = (_shown(row["reward/mean"]) for row in (result.metrics[0], result.metrics[-1]))
    return (
        f"{result.steps} steps x {config.pivots_per_step} pivots x {config.group_size}, reward {first} -> {last}",
        result,
    )


def _shown(reward: float | None) -> str:
    return "none" if reward is None else f"{reward:.3f}"

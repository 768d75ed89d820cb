"""The command that trains: PivotRL on a pivot file, or supervised fine-tuning on a trajectory file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pivot_envs.actions import encode
from pivot_envs.cli.learning import open_scorer
from pivot_envs.cli.screen import Flag, console, existing, progress
from pivot_envs.contracts import Prompt
from pivot_envs.errors import ConfigError, FingerprintMismatch
from pivot_envs.pivots import read_pivots
from pivot_envs.records import content_hash
from pivot_envs.scoring import Scorer
from pivot_envs.trainer.grpo import GRPOConfig, train
from pivot_envs.trainer.model import TransformersPolicy, load_policy, tiny_model
from pivot_envs.trainer.sft import SFTConfig, SFTExample, train_sft
from pivot_envs.trajectories import read_trajectories

TINY = "tiny"


@dataclass(frozen=True)
class TrainCommand:
    """Train a local policy: arm `pivot` runs GRPO on single turns of a pivots.jsonl, arm `sft` imitates a trajectories.jsonl.

    A policy is a folder or hub name of a transformers model; `tiny` builds a random one of about 0.1 M parameters from
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
            raise ConfigError(f"--policy {self.policy} is a server: its weights are elsewhere. Train there with TRL or verl")
        return self._sft() if self.arm == "sft" else self._pivot()

    def _pivot(self) -> int:
        if self.policy == TINY:
            raise ConfigError("a random tiny policy solves nothing, so it has no pivots; train it with --arm sft first")
        policy = load_policy(self.policy, device=self.device)
        reference = load_policy(self.policy, device=self.device) if self.grpo.beta > 0 else None
        header, pivots = read_pivots(self.data)
        self._check_profile(header.profile or {}, policy)
        trajectories = self.data.parent / header.trajectories
        scorer = open_scorer(trajectories, self.verifier, policy.action_codec, self._style(policy), self.tau2_path, pivots=str(self.data))
        prompts = {pivot.pivot_id: scorer.prompt(pivot.pivot_id) for pivot in pivots}
        with progress("training steps", self.grpo.steps) as bar:

            def show(row: Mapping[str, Any]) -> None:
                told = f"training steps, reward {row.get('reward/mean', float('nan')):.3f}"
                bar.update(bar.task_ids[0], completed=row["step"], description=told)

            result = train(
                policy, reference, prompts, scorer.score, self.grpo, self.output, self.resume,
                provenance=_provenance(scorer), on_step=show,
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
        policy = tiny_policy(scorer, self.data, style) if self.policy == TINY else load_policy(self.policy, device=self.device)
        examples = demonstrations(scorer, scorer.ids(), policy.action_codec)
        with progress("sft steps", None) as bar:
            result = train_sft(
                policy, examples, self.sft, self.output,
                on_step=lambda row: bar.update(bar.task_ids[0], completed=row["step"], description=f"sft, loss {row['loss']:.3f}"),
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


def demonstrations(scorer: Scorer, ids: list[str], codec: str) -> list[SFTExample]:
    """Return the demonstrated turns of some candidates as examples, written in a codec."""
    domain = scorer.bench.domain
    return [SFTExample(scorer.prompt(i), encode(domain.demonstration(scorer.candidate(i)), codec)) for i in ids]


def tiny_policy(scorer: Scorer, trajectories: Path, style: str) -> TransformersPolicy:
    """Return a random tiny model whose tokenizer is trained on what the policy will read and write."""
    first = next(iter(read_trajectories(trajectories)))
    texts = [text for i in scorer.ids()[:400] for text in _texts(scorer.prompt(i))]
    texts += [example.text for example in demonstrations(scorer, scorer.ids()[:400], "hermes")]
    return tiny_model(texts, name=f"tiny-{first.domain}", prompt_style=style)


def _texts(prompt: Prompt) -> list[str]:
    return [str(message.get("content") or "") for message in prompt.messages[-3:]]


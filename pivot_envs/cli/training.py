"""The command that trains: PivotRL on a pivot file, or supervised fine-tuning on a trajectory file.

Torch is imported when something is trained, so that the help shows where it is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pivot_envs.actions import encode, from_message
from pivot_envs.cli.learning import open_scorer
from pivot_envs.cli.screen import Flag, console, existing, progress
from pivot_envs.errors import ConfigError, FingerprintMismatch
from pivot_envs.pivots import PivotHeader, read_pivots
from pivot_envs.profiles import check_provenance, read_profiles
from pivot_envs.records import Message
from pivot_envs.scoring import Scorer
from pivot_envs.trainer.config import GRPOConfig, SFTConfig
from pivot_envs.trajectories import read_trajectories

if TYPE_CHECKING:
    from pivot_envs.trainer.model import TransformersPolicy

TINY = "tiny"
TINY_SHAPE = {"layers": 2, "width": 96, "heads": 4, "vocab_size": 768, "context_length": 1024}
"""0.3 M parameters, random: some passes over many demonstrations have to come before anything else."""


@dataclass(frozen=True)
class TrainCommand:
    """Train a local policy: arm `pivot` runs GRPO on a pivots.jsonl, arm `sft` imitates whole conversations.

    A policy is a folder or hub name of a transformers model, or `helpdesk-base`, the small one that is shipped; `tiny`
    builds a random one of 0.3 M parameters from the file's own text (arm sft only). Servers are refused: train there
    with TRL or verl. Ctrl-C saves a checkpoint; --resume goes on from the last one.
    """

    data: tyro.conf.Positional[Path]
    """A pivots.jsonl (arm pivot) or trajectories.jsonl (arm sft)."""
    output: Path
    """Folder of the run: manifest.json, metrics.jsonl, ledger.json, checkpoints."""
    policy: str
    """Folder or hub name of the policy to train, helpdesk-base, or tiny."""
    arm: Literal["pivot", "sft"] = "pivot"
    """What to train on."""
    grpo: Annotated[GRPOConfig, tyro.conf.arg(name="")] = field(default_factory=GRPOConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    verifier: str = "effect"
    """effect, exact, tool_name, word_overlap or paper."""
    prompt_style: str | None = None
    """How prompts are written; default: as the policy was saved with."""
    profiles: Path | None = None
    """The profiles.jsonl that the pivots were selected from; its rollouts are charged in ledger.json."""
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
        if self.policy == TINY and self.arm == "pivot":
            raise ConfigError("a random tiny policy solves nothing, so it has no pivots; train it with --arm sft first")
        existing(self.data, "DATA", "pivots" if self.arm == "pivot" else "trajectories")
        import pivot_envs.trainer.model  # noqa: F401  # says what to install where torch is missing

        return self._sft() if self.arm == "sft" else self._pivot()

    def _pivot(self) -> int:
        from pivot_envs.trainer.arms import provenance
        from pivot_envs.trainer.grpo import train
        from pivot_envs.trainer.model import load_policy

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
                told = f"training steps, reward {_shown(row['reward/mean'])}, dead {row['dead_share']:.0%}"
                bar.update(bar.task_ids[0], completed=row["step"], description=told)

            result = train(
                policy,
                reference,
                prompts,
                scorer.score,
                self.grpo,
                self.output,
                self.resume,
                provenance=provenance(scorer),
                profiling_rollouts=self._profiled(header),
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

    def _profiled(self, header: PivotHeader) -> int | None:
        """Return how many rollouts found the pivots, or None where nobody says."""
        if self.profiles is None:
            return None
        found = read_profiles(existing(self.profiles, "--profiles", "profiles"))
        check_provenance(found.provenance, header.profile or {}, str(self.profiles))
        return int(found.cost.get("rollouts", 0))

    def _sft(self) -> int:
        from pivot_envs.trainer.model import load_policy
        from pivot_envs.trainer.sft import demonstrations, train_sft

        style = {"prompt_style": self.prompt_style} if self.prompt_style else {}
        scorer = open_scorer(self.data, "effect", "message", self.prompt_style or "full", self.tau2_path)
        policy = (
            tiny_policy(scorer, self.data, self.prompt_style or "full")
            if self.policy == TINY
            else load_policy(self.policy, device=self.device, **style)
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
                resume=self.resume,
            )
        console().print(
            f"{result.steps} steps on {len(examples) - result.excluded} turns, loss {result.first_loss:.3f} -> "
            f"{result.last_loss:.3f}; the policy is in {self.output / 'policy'}"
        )
        return 0


def tiny_policy(scorer: Scorer, trajectories: Path, style: str) -> TransformersPolicy:
    """Return a random tiny model whose tokenizer is trained on what the policy will read and write."""
    from pivot_envs.trainer.tiny import tiny_model

    first = next(iter(read_trajectories(trajectories)))
    candidates = [scorer.candidate(i) for i in scorer.ids()]
    whole = {c.trajectory.trajectory_id: c.trajectory.messages for c in candidates}
    texts = [_text(message) for messages in whole.values() for message in scorer.bench.domain.visible(messages, style)]
    return tiny_model(texts, name=f"tiny-{first.domain}", prompt_style=style, **TINY_SHAPE)


def _text(message: Message) -> str:
    return encode(from_message(message), "hermes") if message.get("tool_calls") else str(message.get("content") or "")


def _shown(reward: float | None) -> str:
    return "none" if reward is None else f"{reward:.3f}"

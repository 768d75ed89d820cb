"""Commands from trajectories to pivots: profile and select. Training is `training.py`, which needs torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from pivot_envs import selection
from pivot_envs.candidates import candidates_of, of_first_trajectories
from pivot_envs.cli.screen import (
    Flag,
    at_least,
    console,
    error_console,
    existing,
    print_json,
    progress,
    world_options,
    writable,
)
from pivot_envs.contracts import Policy
from pivot_envs.domains import resolve
from pivot_envs.duplicates import duplicate_prefixes
from pivot_envs.duplicates import lines as duplicate_lines
from pivot_envs.endpoint import EndpointConfig, EndpointPolicy
from pivot_envs.errors import ConfigError
from pivot_envs.pivots import make_header, select, write_pivots
from pivot_envs.policy import CONTEXT_FULL, NoisyDemonstrationPolicy
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import SHORTER, ProfileConfig, ProfileSummary, Progress, profile
from pivot_envs.scoring import Scorer
from pivot_envs.selectors import SelectorConfig
from pivot_envs.trajectories import read_trajectories

NOISY = "noisy-demonstration"
NOTHING_KEPT = 3
NOTHING_PROFILED = 3


def first_domain(trajectories: Path) -> str:
    """Return the domain of the first trajectory of a file."""
    for trajectory in read_trajectories(trajectories):
        return trajectory.domain
    raise ConfigError(f"{trajectories} holds no trajectory")


def open_scorer(
    trajectories: Path, verifier: str, codec: str, style: str, tau2_path: str | None, **files: Any
) -> Scorer:
    """Return a scorer over a trajectory file."""
    family, domain = resolve(first_domain(trajectories))
    return Scorer(
        family,
        domain,
        trajectories=str(trajectories),
        verifier=verifier,
        action_codec=codec,
        prompt_style=style,
        domain_options=world_options(family, domain, tau2_path),
        **files,
    )


@dataclass(frozen=True)
class ProfileCommand:
    """Draw K one-turn rollouts of a frozen policy at every candidate and verify each.

    Appends to the output, one trajectory at a time; the same command goes on where it was interrupted. A policy is a
    folder or hub name of a transformers model, `helpdesk-base` (small, shipped for the demo), the URL of an
    OpenAI-compatible server (with --model; the key comes from OPENAI_API_KEY), or `noisy-demonstration`, a test policy
    that sees the answer.
    """

    trajectories: tyro.conf.Positional[Path]
    """A trajectories.jsonl."""
    output: Path
    """The profiles.jsonl to write or go on with."""
    policy: str = NOISY
    """Folder, hub name, helpdesk-base, http(s) URL (several replicas: commas between), or noisy-demonstration."""
    model: str = ""
    """Model name at the server, where the policy is a URL."""
    revision: str = ""
    """Revision or weights hash of that model, as you know it; part of its fingerprint."""
    verifier: str = "effect"
    """effect, exact, tool_name, word_overlap or paper."""
    config: Annotated[ProfileConfig, tyro.conf.arg(name="")] = field(default_factory=ProfileConfig)
    limit: int | None = None
    """At most so many trajectories."""
    device: str = "cpu"
    """Where a transformers model runs: cpu, cuda, ..."""
    tau2_path: str | None = None
    """A tau2-bench checkout."""

    def run(self) -> int:
        """Profile and print a summary."""
        at_least(self.limit, 1, "--limit")
        existing(self.trajectories, "TRAJECTORIES")
        writable(self.output, "--output", self.trajectories)
        make, codec = self._policy()
        scorer = open_scorer(self.trajectories, self.verifier, codec, self.config.prompt_style, self.tau2_path)
        chosen = of_first_trajectories(scorer.ids(), self.limit)
        with progress("profiling trajectories", None) as bar:

            def show(state: Progress) -> None:
                bar.update(bar.task_ids[0], completed=state.done, total=state.total)

            summary = profile(
                scorer,
                make(scorer),
                self.config,
                self.output,
                candidates=chosen,
                trajectories=self.trajectories,
                progress=show,
            )
        _print_summary(summary)
        read = read_trajectories(self.trajectories)
        for line in duplicate_lines(duplicate_prefixes(read, only=chosen)):
            console().print(line)
        if summary.rollouts == 0:
            error_console().print("no candidate has a profile: see the reasons above")
        return 0 if summary.rollouts else NOTHING_PROFILED

    def _policy(self) -> tuple[Any, str]:
        """Return a function that makes the policy of a scorer, and the codec it writes."""
        if self.policy == NOISY:
            return noisy, NoisyDemonstrationPolicy.action_codec
        policy = open_policy(self.policy, self.model, self.revision, self.device)
        return (lambda _: policy), policy.action_codec


def noisy(scorer: Scorer) -> Policy:
    """Return the test policy for a scorer's candidates."""
    return NoisyDemonstrationPolicy(lambda pivot_id: scorer.bench.domain.demonstration(scorer.candidate(pivot_id)))


def open_policy(name: str, model: str = "", revision: str = "", device: str = "cpu", **settings: Any) -> Policy:
    """Return a policy by folder, hub name, the name of a shipped one, or the URL of a server (commas between several).

    Raises:
        ConfigError: a server without the name of its model, or no such device.
        PolicyError: no such model.
    """
    if name.startswith(("http://", "https://")):
        if not model:
            raise ConfigError(f"--policy {name} is a server; name its model with --model")
        servers = tuple(url.strip() for url in name.split(",") if url.strip())
        return EndpointPolicy(EndpointConfig(base_url=servers, model=model, revision=revision))
    from pivot_envs.trainer.model import load_policy  # torch and transformers, only where a model is asked for

    return load_policy(name, device=device, **settings)


def _print_summary(summary: ProfileSummary) -> None:
    console().print(
        f"{summary.candidates} candidates of {summary.trajectories} trajectories profiled, "
        f"{summary.rollouts} rollouts: {summary.failed} failed, {summary.abstained} abstained, "
        f"{summary.stopped_early} candidates stopped early; "
        f"{summary.resumed} trajectories were done before"
    )
    for reason, count in {**summary.excluded, **summary.failures}.items():
        console().print(f"  {reason}: {count}" + (f". {SHORTER}" if reason == CONTEXT_FULL else ""))


@dataclass(frozen=True)
class SelectCommand:
    """Keep the pivots of a profiles file: Eq. 5 (variance above 0 and mean below lambda_diff), a reason for the rest.

    With --random-control as many are kept, but drawn from all profiled candidates: what filtering has to beat. Exit
    code 3 if nothing was kept.
    """

    profiles: tyro.conf.Positional[Path]
    """A profiles.jsonl."""
    trajectories: Path
    """The trajectory file the profiles were made from; it must stand beside the output."""
    output: Path
    """The pivots.jsonl to write."""
    config: Annotated[SelectorConfig, tyro.conf.arg(name="")] = field(default_factory=SelectorConfig)
    json: Flag = False
    """Print the report as JSON."""

    def run(self) -> int:
        """Select, write and report."""
        existing(self.trajectories, "--trajectories")
        writable(self.output, "--output", self.trajectories, self.profiles)
        if self.trajectories.resolve().parent != self.output.resolve().parent:
            raise ConfigError(
                f"--output {self.output} must stand beside {self.trajectories}: pivots refer to it by file name"
            )
        found = read_profiles(existing(self.profiles, "PROFILES", "profiles"))
        if not found.profiles:
            why = "".join(f"; {reason}: {count}" for reason, count in Counter(found.excluded.values()).items())
            raise ConfigError(
                f"nothing was profiled: {self.profiles} holds no profile{why}. Run `pivot-envs profile "
                f"{self.trajectories} --output {self.profiles}` to its end first, with the policy you mean to train"
            )
        self._check_ids(found.profiles)
        header = make_header(found.provenance, self.config, self.trajectories)
        chosen = select(found.profiles, self.config, excluded=found.excluded)
        write_pivots(self.output, header, chosen.kept)
        figures = selection.report(chosen)
        if self.json:
            print_json(figures.as_dict())
        else:
            for line in selection.lines(figures):
                console().print(line)
            console().print(f"wrote {len(chosen.kept)} pivots to {self.output}")
        if not chosen.kept:
            error_console().print(
                "nothing was kept: look at the histogram, raise --lambda-diff, or profile another policy"
            )
        return 0 if chosen.kept else NOTHING_KEPT

    def _check_ids(self, profiled: Collection[str]) -> None:
        """Refuse profiles of turns that the trajectory file does not hold."""
        read = read_trajectories(self.trajectories, skip_invalid=True, on_error=lambda _: None)
        held = {each.candidate_id for trajectory in read for each in candidates_of(trajectory)}
        if strange := sorted(set(profiled) - held):
            raise ConfigError(
                f"{self.profiles} profiles {len(strange)} turns that {self.trajectories} does not hold, such as "
                f"{strange[0]!r}; name the file they were made from"
            )

"""The command that shows the whole road on built-in data: restore, judge, profile, select, train, evaluate, report.

It draws its own figures and prints them whatever they say. What this machine lacks is said, not faked: without torch
there is no training, without tau2 no official domain.
"""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pivot_envs.audit import audit
from pivot_envs.candidates import of_first_trajectories
from pivot_envs.cli.first_look import show_judgement
from pivot_envs.cli.learning import noisy, open_scorer
from pivot_envs.cli.report import COLUMNS, cells, write_report
from pivot_envs.cli.screen import Flag, at_least, console, existing, table
from pivot_envs.contracts import Domain
from pivot_envs.domains import get_domain
from pivot_envs.domains.tau2.mutants.battery import battery
from pivot_envs.errors import MissingDependency
from pivot_envs.formats import reader
from pivot_envs.pivots import make_header, select, write_pivots
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, profile
from pivot_envs.selectors import SelectorConfig
from pivot_envs.trajectories import write_trajectories

OFFICIAL = ("retail", "airline", "telecom")


@dataclass
class _Findings:
    """What the stages found, for the table and the report."""

    started: float = field(default_factory=time.perf_counter)
    stages: list[tuple[str, str, float]] = field(default_factory=list)
    """(stage, result, seconds)."""
    turns: list[str] = field(default_factory=list)
    """Judged turns, rendered."""
    comparison: Any = None
    """`comparison.Comparison`, where torch is installed."""
    not_run: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Demo:
    """Run the whole road on the embedded helpdesk domain and write a report; some minutes on two idle cores.

    A small policy that is shipped with the package is profiled, improved by imitation and by pivots, and evaluated on
    tasks that neither saw. Exit code 0 whatever the figures say.
    """

    output: Path = Path("runs/demo")
    """Folder for the files of every stage and report.html; files of those names are replaced."""
    tasks: int = 120
    """Train tasks to demonstrate."""
    profiled: int = 120
    """Trajectories whose turns are profiled."""
    k: int = 8
    """Rollouts per candidate."""
    audited: int = 8
    """Tasks whose reference actions are varied for the audit."""
    steps: int = 30
    """GRPO steps."""
    sft_epochs: int = 3
    """Passes of the sft arm over the demonstrations."""
    episodes: int = 200
    """Whole episodes to evaluate each policy on."""
    recorded: Path | None = None
    """A tau2 results.json of the retail domain to restore as well, where the official domains are installed."""
    no_training: Flag = False
    """Leave the models out: profile with the scripted test policy and stop after selection."""

    def run(self) -> int:
        """Run every stage."""
        for name, least in (("tasks", 1), ("profiled", 1), ("k", 2), ("steps", 1), ("sft_epochs", 1), ("episodes", 1)):
            at_least(getattr(self, name), least, f"--{name.replace('_', '-')}")
        if self.recorded is not None:
            existing(self.recorded, "--recorded")
        self.output.mkdir(parents=True, exist_ok=True)
        found = _Findings()
        trained = not self.no_training and _has_torch()
        console().print("a turn restored, and three actions judged by what they do")
        found.turns = show_judgement()
        console().print("\nthe stages; estimates are for two idle cores\n")
        trajectories = _stage(found, "demonstrate", lambda: self._demonstrate("train", self.tasks))
        held_out = _stage(found, "demonstrate test tasks", lambda: self._demonstrate("test", None))
        _stage(found, "replay and check", lambda: _check(trajectories))
        _stage(found, "audit on varied actions", lambda: _audit(self.audited), 0.4 * self.audited)
        for name in OFFICIAL:
            _stage(found, f"official domain {name}", partial(_official, name, self.recorded, found))
        if trained:
            self._compare(found, trajectories, held_out)
        else:
            found.not_run.append("training: " + ("left out by --no-training" if self.no_training else _no_torch()))
            _stage(found, "profile and select (scripted test policy)", lambda: self._profile(trajectories))
        found.not_run += [
            "docker sandboxes, search and a language model judge: not part of this version",
            "GPU: this run used the CPU only",
        ]
        self._finish(found)
        return 0

    def _demonstrate(self, split: str, limit: int | None) -> tuple[str, Path]:
        domain = get_domain("tau2", "helpdesk")
        path = self.output / f"{split}.jsonl"
        tasks = list(domain.tasks(split))[:limit]
        count = write_trajectories(path, (domain.demonstrate(task, 0) for task in tasks))
        return f"{count} trajectories", path

    def _profile(self, trajectories: Path) -> tuple[str, None]:
        scorer = open_scorer(trajectories, "effect", "message", "full", None)
        path = self.output / "profiles.jsonl"
        path.unlink(missing_ok=True)
        chosen = of_first_trajectories(scorer.ids(), self.profiled)
        profile(scorer, noisy(scorer), ProfileConfig(k=self.k), path, candidates=chosen, trajectories=trajectories)
        profiles = read_profiles(path)
        kept = select(profiles.profiles, SelectorConfig(), excluded=profiles.excluded).kept
        write_pivots(
            self.output / "pivots.jsonl", make_header(profiles.provenance, SelectorConfig(), trajectories), kept
        )
        return f"{len(kept)} pivots of {len(chosen)} turns (Eq. 5)", None

    def _compare(self, found: _Findings, trajectories: Path, held_out: Path) -> None:
        from pivot_envs.trainer import comparison  # torch, known to be installed here

        comparing = comparison.Comparing(
            self.output, trajectories, held_out, self.profiled, self.k, self.steps, self.sft_epochs, self.episodes
        )
        found.comparison = comparing.run(partial(_stage, found))
        if found.comparison.missing:
            found.not_run.append(found.comparison.missing)

    def _finish(self, found: _Findings) -> None:
        seconds = time.perf_counter() - found.started
        table("what came of it", ["stage", "result", "s"], [(n, r, f"{s:.1f}") for n, r, s in found.stages])
        told: Sequence[str] = ()
        if found.comparison is not None:
            from pivot_envs.trainer import comparison

            console().print()
            table("on test tasks, whose customers no policy has seen", COLUMNS, map(cells, found.comparison.rows))
            told = comparison.words(found.comparison.rows)
            for line in told:
                console().print(line)
        console().print("\nnot run here:")
        for line in found.not_run:
            console().print(f"  {line}")
        report = self.output / "report.html"
        write_report(report, found.stages, found.turns, found.not_run, seconds, found.comparison, told)
        console().print(f"\n{_shown(seconds)}; report: {report}")


def _stage(found: _Findings, name: str, work: Callable[[], tuple[str, Any]], seconds: float = 0.0) -> Any:
    """Run one stage, print one line with its estimate where it is long, and return its value."""
    console().print(f"{name}{f' (about {_shown(seconds)})' if seconds >= 5 else ''} ...", end=" ")
    started = time.perf_counter()
    told, value = work()
    seconds = time.perf_counter() - started
    found.stages.append((name, told, seconds))
    console().print(f"{told} ({seconds:.1f} s)")
    return value


def _shown(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _audit(tasks: int) -> tuple[str, None]:
    """Vary reference actions of some tasks and count what each verifier gets wrong."""
    world = get_domain("tau2", "helpdesk").world  # type: ignore[attr-defined]  # the helpdesk is a Tau2Domain
    report = audit(battery(world, tasks=list(world.tasks("train"))[:tasks]), "tau2", "helpdesk")
    wrong = [("effect", report.total), *report.baselines.items()]
    told = ", ".join(f"{name} {t.false_accepts} + {t.false_rejects}" for name, t in wrong)
    return f"{report.total.rows} pairs; false accepts + false rejects: {told}", None


def _has_torch() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def _no_torch() -> str:
    return "torch is not installed: pip install 'pivot-envs[train]'"


def _check(path: Path) -> tuple[str, None]:
    from pivot_envs.trajectories import read_trajectories

    domain = get_domain("tau2", "helpdesk")
    observations, turns, dropped = _replay(domain, list(read_trajectories(path)))
    lost = f", dropped: {dict(dropped)}" if dropped else ""
    return f"{observations['exact']} of {observations.total()} observations exact, {turns} turns{lost}", None


def _replay(domain: Domain, trajectories: list[Any]) -> tuple[Counter[str], int, Counter[str]]:
    observations: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    turns = 0
    for trajectory in trajectories:
        report = domain.check(trajectory)
        observations.update(report.trailing)
        for turn in report.turns:
            turns += 1
            observations.update(turn.observations)
            if turn.dropped:
                dropped[turn.dropped] += 1
    return observations, turns, dropped


def _official(name: str, recorded: Path | None, found: _Findings) -> tuple[str, None]:
    """Restore recorded retail runs where a file is given, else scripted demonstrations of the reference actions."""
    try:
        domain = get_domain("tau2", name)
    except MissingDependency as error:
        found.not_run.append(f"official domain {name}: tau2 is not installed")
        return f"skipped: {str(error).split('. ')[0]}; install with: {_install()}", None
    if recorded is not None and name == "retail":
        trajectories, source = list(reader("tau2")(recorded)), recorded.name
    else:
        trajectories = [domain.demonstrate(task, 0) for task in list(domain.tasks("base"))[:40]]
        source = "scripted reference actions"
    observations, turns, _ = _replay(domain, trajectories)
    return f"{observations['exact']} of {observations.total()} observations exact, {turns} turns ({source})", None


def _install() -> str:
    from pivot_envs.domains.tau2.official.package import INSTALL

    return INSTALL

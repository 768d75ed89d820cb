"""The command that shows the whole road on built-in data: restore, judge, profile, select, train, evaluate, report.

It draws its own figures and prints them whatever they say. What this machine lacks is said, not faked: without torch
there is no training, without tau2 no official domain.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pivot_envs import selection
from pivot_envs.audit import audit
from pivot_envs.cli.learning import noisy, open_scorer
from pivot_envs.cli.report import write_report
from pivot_envs.cli.screen import Flag, console, existing, table
from pivot_envs.contracts import Domain, Policy
from pivot_envs.domains import get_domain
from pivot_envs.domains.tau2.mutants.battery import battery
from pivot_envs.env import PivotEnv
from pivot_envs.errors import ConfigError, MissingDependency
from pivot_envs.formats import reader
from pivot_envs.pivots import SelectorConfig, make_header, select, write_pivots
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, profile
from pivot_envs.records import Action, Candidate, Sampling, ToolCall
from pivot_envs.scoring import Scorer
from pivot_envs.trajectories import write_trajectories

OFFICIAL = ("retail", "airline", "telecom")
STYLE = "compact"


@dataclass
class _Findings:
    """What the stages found, for the table and the report."""

    started: float = field(default_factory=time.perf_counter)
    stages: list[tuple[str, str, float]] = field(default_factory=list)
    """(stage, result, seconds)."""
    arms: list[dict[str, Any]] = field(default_factory=list)
    selection: selection.SelectionReport | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    """Judged turns, rendered."""
    not_run: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Demo:
    """Run the whole road on the embedded helpdesk domain and write a report; about two minutes on two idle cores."""

    output: Path = Path("runs/demo")
    """Folder for the files of every stage and report.html; files of those names are replaced."""
    tasks: int = 120
    """Train tasks to demonstrate."""
    profiled: int = 40
    """Trajectories whose turns are profiled."""
    k: int = 8
    """Rollouts per candidate."""
    audited: int = 8
    """Tasks whose reference actions are varied for the audit."""
    steps: int = 8
    """GRPO steps."""
    sft_epochs: int = 10
    """Passes over the demonstrations that give the small policy its competence."""
    recorded: Path | None = None
    """A tau2 results.json of the retail domain to restore as well, where the official domains are installed."""
    no_training: Flag = False
    """Leave the model out: profile with the scripted test policy and stop after selection."""

    def run(self) -> int:
        """Run every stage; exit 0 whatever the figures say."""
        if self.recorded is not None:
            existing(self.recorded, "--recorded")
        self.output.mkdir(parents=True, exist_ok=True)
        found = _Findings()
        trained = not self.no_training and _has_torch()
        console().print("1. a turn restored, and two actions judged by what they do")
        found.turns = _show_judgement()
        console().print(
            f"\nnext: {13 if trained else 9} stages, about {_shown(self._seconds(trained))} on two idle cores\n"
        )
        trajectories = _stage(found, "2. demonstrate", lambda: self._demonstrate("train", self.tasks))
        held_out = _stage(found, "3. held-out tasks", lambda: self._demonstrate("test", None))
        _stage(found, "4. replay and check", lambda: _check(trajectories))
        _stage(found, "5. audit on varied actions", lambda: _audit(self.audited), seconds=0.4 * self.audited)
        if trained:
            self._train(found, trajectories, held_out)
        else:
            found.not_run.append("training: " + ("left out by --no-training" if self.no_training else _no_torch()))
            scorer = open_scorer(trajectories, "effect", "message", "full", None)
            _stage(found, "6. profile (scripted test policy)", lambda: self._profile(scorer, noisy(scorer), "full"))
            _stage(found, "7. select", lambda: self._select(found, trajectories, scorer))
        for name in OFFICIAL:
            _stage(found, f"official domain {name}", partial(_official, name, self.recorded, found))
        found.not_run += [
            "docker sandboxes, search and a language model judge: not part of this version",
            "GPU: this run used the CPU only",
        ]
        self._finish(found)
        return 0

    def _seconds(self, trained: bool) -> float:
        """Estimate the whole run; seconds per unit measured on two cores."""
        model = self._sft_seconds + self._profile_seconds + self._grpo_seconds + 30
        return 15 + 0.4 * self.audited + (model if trained else 10)

    @property
    def _sft_seconds(self) -> float:
        return 0.04 * self.tasks * self.sft_epochs

    @property
    def _profile_seconds(self) -> float:
        return 0.08 * self.profiled * self.k

    @property
    def _grpo_seconds(self) -> float:
        return 2.5 * self.steps

    def _demonstrate(self, split: str, limit: int | None) -> tuple[str, Path]:
        domain = get_domain("tau2", "helpdesk")
        path = self.output / f"{split}.jsonl"
        tasks = list(domain.tasks(split))[:limit]
        count = write_trajectories(path, (domain.demonstrate(task, 0) for task in tasks))
        return f"{count} trajectories", path

    def _profile(self, scorer: Scorer, policy: Policy, style: str) -> tuple[str, int]:
        path = self.output / "profiles.jsonl"
        path.unlink(missing_ok=True)
        names = list(dict.fromkeys(i.rpartition("/")[0] for i in scorer.ids()))[: self.profiled]
        chosen = [i for i in scorer.ids() if i.rpartition("/")[0] in set(names)]
        config = ProfileConfig(k=self.k, prompt_style=style, sampling=Sampling(max_tokens=64))
        summary = profile(scorer, policy, config, path, candidates=chosen, trajectories=self.output / "train.jsonl")
        told = f"{summary.candidates} turns x {self.k} = {summary.rollouts} rollouts, {summary.failed} failed"
        return told, summary.rollouts

    def _select(self, found: _Findings, trajectories: Path, scorer: Scorer) -> tuple[str, int]:
        profiles = read_profiles(self.output / "profiles.jsonl")
        chosen = select(profiles.profiles, SelectorConfig(), excluded=profiles.excluded)
        found.selection = selection.report(chosen)
        header = make_header(profiles.provenance, SelectorConfig(), trajectories)
        write_pivots(self.output / "pivots.jsonl", header, chosen.kept)
        return f"{len(chosen.kept)} pivots of {found.selection.candidates} turns (Eq. 5)", len(chosen.kept)

    def _train(self, found: _Findings, trajectories: Path, held_out: Path) -> None:
        from pivot_envs.cli import training  # torch, known to be installed here

        scorer = open_scorer(trajectories, "effect", "hermes", STYLE, None)
        judge = open_scorer(held_out, "effect", "hermes", STYLE, None, split="test")
        policy = training.tiny_policy(scorer, trajectories, STYLE)
        sft = self.output / "sft"
        work = lambda: training.warm_up(policy, scorer, self.sft_epochs, sft)  # noqa: E731
        _stage(found, "6. imitate (SFT)", work, self._sft_seconds)
        rollouts = _stage(found, "7. profile", lambda: self._profile(scorer, policy, STYLE), self._profile_seconds)
        kept = _stage(found, "8. select", lambda: self._select(found, trajectories, scorer))
        before = _stage(found, "9. held-out turns, before", lambda: training.held_out_turns(policy, judge), 15)
        found.arms.append({"arm": "sft", "held-out turns accepted": before, "rollouts": 0})
        if kept < 2:
            found.not_run.append(f"GRPO: {kept} pivots are too few; raise --profiled or --sft-epochs")
            return
        pivots = self.output / "pivots.jsonl"
        run = self.output / "grpo"
        result = _stage(
            found,
            "10. GRPO",
            lambda: training.demo_grpo(policy, pivots, trajectories, STYLE, self.steps, run),
            self._grpo_seconds,
        )
        found.curve = list(result.metrics)
        after = _stage(found, "11. held-out turns, after", lambda: training.held_out_turns(policy, judge), 15)
        trained = sum(int(row["rollouts"]) for row in result.metrics)
        found.arms.append({"arm": "sft then pivot", "held-out turns accepted": after, "rollouts": rollouts + trained})

    def _finish(self, found: _Findings) -> None:
        seconds = time.perf_counter() - found.started
        table("what came of it", ["stage", "result", "s"], [(n, r, f"{s:.1f}") for n, r, s in found.stages])
        for arm in found.arms:
            accepted = arm["held-out turns accepted"]
            console().print(
                f"{arm['arm']}: {accepted.share:.3f} of held-out turns accepted "
                f"(95 % {accepted.low:.3f}-{accepted.high:.3f}), {arm['rollouts']} rollouts including profiling"
            )
        if len(found.arms) == 2:
            console().print(_words(found.arms))
        console().print("\nnot run here:")
        for line in found.not_run:
            console().print(f"  {line}")
        report = self.output / "report.html"
        write_report(report, {**vars(found), "seconds": seconds})
        console().print(f"\n{seconds:.0f} s; report: {report}")


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


def _show_judgement() -> list[str]:
    """Restore a turn that changes the world and judge a prudent, a wrong and an empty action there."""
    env = PivotEnv("tau2", render_mode="ansi")
    shown = []
    try:
        turn = _writing_turn(env)
        demonstrated = env.bench.domain.demonstration(turn)
        for told, action in _variants(env.bench.domain, demonstrated):
            env.reset(options={"pivot_id": turn.candidate_id})
            _, reward, *_ = env.step(action)
            verdict = env.verdict
            assert verdict is not None
            console().print(f"  {told}: reward {reward:g} ({verdict.outcome}, {verdict.reason})")
            if verdict.evidence:
                console().print(f"    {json.dumps(dict(verdict.evidence), default=str)[:300]}")
            shown.append(env.render() or "")
    finally:
        env.close()
    return shown


def _writing_turn(env: PivotEnv) -> Candidate:
    """Return the first recorded turn whose call changes the world."""
    for pivot_id in env.bench.source.ids():
        candidate = env.bench.source.get(pivot_id)
        state = env.bench.restore(candidate)
        changed = (
            state.execute(env.bench.domain.demonstration(candidate)).delta
            if candidate.message.get("tool_calls")
            else {}
        )
        state.close()
        if changed:
            return candidate
    raise ConfigError("no recorded turn changes anything")


def _variants(domain: Domain, demonstrated: Action) -> list[tuple[str, dict[str, Any]]]:
    """Return named assistant messages: the demonstration after a prudent read, with one argument changed, and none."""
    call = demonstrated.calls[0]
    read = ToolCall("get_account", {"customer_id": call.arguments.get("customer_id", "")})
    name, value = next((n, v) for n, v in reversed(list(call.arguments.items())) if n != "customer_id")
    wrong = replace(call, arguments={**call.arguments, name: _other(value)})
    return [
        ("the demonstrated call after a prudent look-up", _message(read, call)),
        (f"the same call with another {name}", _message(wrong)),
        ("a friendly message instead", {"role": "assistant", "content": "All done!"}),
    ]


def _other(value: Any) -> Any:
    if isinstance(value, int | float):
        return value + 1
    return {"basic": "fast", "fast": "max", "max": "giga", "giga": "basic"}.get(value, f"{str(value)[:-1]}9")


def _message(*calls: ToolCall) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": f"call_{n}",
                "type": "function",
                "function": {"name": c.name, "arguments": json.dumps(dict(c.arguments))},
            }
            for n, c in enumerate(calls)
        ],
    }


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


def _words(arms: Sequence[Mapping[str, Any]]) -> str:
    before, after = (arm["held-out turns accepted"] for arm in arms)
    if before.low <= after.share <= before.high:
        return "The difference lies within the interval: this short run shows that the road works, not a gain."
    moved = "raised" if after.share > before.share else "lowered"
    return f"PivotRL {moved} the share of accepted held-out turns in this run."

"""Commands on trajectory files: demonstrate, import, check, candidates."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tyro

from pivot_envs import duplicates
from pivot_envs.candidates import candidates_of
from pivot_envs.cli.screen import (
    FOUND,
    Flag,
    at_least,
    console,
    error_console,
    existing,
    open_domain,
    print_json,
    tracked,
    writable,
)
from pivot_envs.contracts import Domain, ReplayReport
from pivot_envs.errors import ConfigError, PivotEnvsError, RecordError
from pivot_envs.formats import reader
from pivot_envs.records import Candidate, Trajectory
from pivot_envs.trajectories import SkippedLines, read_trajectories, replace_lines, write_trajectories


@dataclass(frozen=True)
class Demonstrate:
    """Record scripted demonstrations of a domain's tasks, executed for real."""

    output: Path
    """The trajectories.jsonl to write."""
    domain: str = "helpdesk"
    """A domain (helpdesk, retail, airline, telecom, mock) or a family (tau2)."""
    split: str = "train"
    """Which tasks: train, test, all, or one the domain names (tau2: base, small, full)."""
    seeds: int = 1
    """Demonstrations of each task, with seeds 0, 1, ..."""
    limit: int | None = None
    """At most so many tasks."""
    tau2_path: str | None = None
    """A tau2-bench checkout, for official domains; else PIVOT_TAU2_PATH, else the installed package."""

    def run(self) -> int:
        """Write the file."""
        writable(self.output, "--output")
        at_least(self.seeds, 1, "--seeds")
        at_least(self.limit, 1, "--limit")
        domain = open_domain(self.domain, self.tau2_path)
        tasks = list(domain.tasks(self.split))[: self.limit]
        if not tasks:
            raise ConfigError(f"domain {domain.name!r} has no task in split {self.split!r}")
        made = (
            domain.demonstrate(task, seed) for task in tracked(tasks, "demonstrating") for seed in range(self.seeds)
        )
        count = write_trajectories(self.output, made)
        console().print(f"wrote {count} trajectories of {len(tasks)} {domain.name} tasks to {self.output}")
        return 0


@dataclass(frozen=True)
class Import:
    """Convert a file of another tool into trajectories.jsonl."""

    file: tyro.conf.Positional[Path]
    """The foreign file; for tau2 also the folder that holds results.json and simulations/."""
    format: str
    """Its format: tau2 (a results.json), openai_chat (JSONL with `messages`)."""
    output: Path
    """The trajectories.jsonl to write."""
    domain: str | None = None
    """The domain, where the file does not name it; one that names another is refused."""
    skip_invalid: Flag = False
    """Leave broken records out, each reported, instead of stopping at the first."""

    def run(self) -> int:
        """Convert the file."""
        read = reader(self.format)
        if not (self.format == "tau2" and self.file.is_dir()):
            existing(self.file, "FILE")
        writable(self.output, "--output", self.file)
        skipped = SkippedLines()
        options: dict[str, Any] = {"skip_invalid": True, "on_error": skipped} if self.skip_invalid else {}
        turns: Counter[str] = Counter()

        def counted() -> Iterator[Trajectory]:
            for trajectory in read(self.file, domain=self.domain, **options):
                if self.domain not in (None, trajectory.domain):
                    raise ConfigError(
                        f"{self.file}: {trajectory.trajectory_id!r} is of domain {trajectory.domain!r}, not of "
                        f"{self.domain!r}; leave --domain out, or name that one"
                    )
                turns["trajectories"] += 1
                turns["turns"] += len(trajectory.assistant_indices)
                turns["calls"] += sum(
                    bool(trajectory.messages[i].get("tool_calls")) for i in trajectory.assistant_indices
                )
                yield trajectory
            _refuse_empty(self.file, turns["trajectories"], skipped)

        write_trajectories(self.output, counted())
        console().print(
            f"wrote {turns['trajectories']} trajectories, {turns['turns']} assistant turns "
            f"({turns['calls']} with calls) to {self.output}"
        )
        return _report_skipped(skipped)


def _refuse_empty(path: Path, rows: int, skipped: SkippedLines) -> None:
    """Refuse a file of which nothing was read: that is no result of 0."""
    if not rows:
        _report_skipped(skipped)
        raise RecordError("it holds no trajectory" + (" that can be read" if len(skipped) else ""), file=str(path))


def _report_skipped(skipped: SkippedLines) -> int:
    for error in skipped.errors:
        error_console().print(f"skipped: {error}")
    if len(skipped):
        error_console().print(f"{len(skipped)} invalid records skipped")
    return FOUND if len(skipped) else 0


@dataclass
class _Counts:
    """What a check found, summed over trajectories."""

    trajectories: int = 0
    unreadable: int = 0
    turns: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    observations: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    digests: Counter[str] = field(default_factory=Counter)

    def add(self, report: ReplayReport) -> None:
        """Count one trajectory."""
        self.trajectories += 1
        self.observations.update(report.trailing)
        for turn in report.turns:
            self.turns += 1
            self.kinds[turn.kind] += 1
            self.observations.update(turn.observations)
            if turn.dropped:
                self.dropped[turn.dropped] += 1

    @property
    def kept(self) -> int:
        """Turns that are candidates."""
        return self.turns - self.dropped.total()


@dataclass(frozen=True)
class Check:
    """Replay trajectories and compare every observation with the recorded one.

    Prints how many observations are exact, normalised (numbers, key order, null fields) or drifted, which turns are
    candidates, and how many of them share their prefix with another turn. Exit code 3 if anything drifted or could not
    be replayed.
    """

    trajectories: tyro.conf.Positional[Path]
    """A trajectories.jsonl."""
    domain: str | None = None
    """The domain; default: the one each trajectory names."""
    twice: Flag = False
    """Also restore every turn twice and compare digests."""
    skip_invalid: Flag = False
    """Leave broken lines out, each reported."""
    json: Flag = False
    """Print JSON."""
    tau2_path: str | None = None
    """A tau2-bench checkout."""

    def run(self) -> int:
        """Replay the file."""
        skipped = SkippedLines()
        options: dict[str, Any] = {"skip_invalid": True, "on_error": skipped} if self.skip_invalid else {}
        counts = _Counts()
        read = list(read_trajectories(existing(self.trajectories, "TRAJECTORIES"), **options))
        _refuse_empty(self.trajectories, len(read), skipped)
        kept: set[str] = set()
        for trajectory in tracked(read, "replaying"):
            domain = open_domain(trajectory.domain if self.domain is None else self.domain, self.tau2_path)
            try:
                report = domain.check(trajectory)
            except PivotEnvsError as error:
                if isinstance(error, ImportError):
                    raise
                counts.unreadable += 1
                error_console().print(f"{trajectory.trajectory_id}: {error}")
                continue
            counts.add(report)
            kept |= {Candidate(trajectory, turn.turn).candidate_id for turn in report.turns if not turn.dropped}
            if self.twice:
                _compare_digests(domain, trajectory, counts)
        self._print(counts, duplicates.duplicate_prefixes(read, only=kept))
        found = counts.unreadable or counts.observations["drift"] or counts.digests["different"]
        return max(_report_skipped(skipped), FOUND if found else 0)

    def _print(self, counts: _Counts, prefixes: duplicates.PrefixReport) -> None:
        if self.json:
            print_json(
                {
                    **{k: v for k, v in vars(counts).items() if not isinstance(v, Counter)},
                    "prefixes": asdict(prefixes),
                    "kept": counts.kept,
                    **{k: dict(v) for k, v in vars(counts).items() if isinstance(v, Counter)},
                }
            )
            return
        total = counts.observations.total()
        shown = ", ".join(
            f"{counts.observations[name]} {name}" for name in ("normalised", "drift") if counts.observations[name]
        )
        console().print(f"{counts.trajectories} trajectories replayed, {counts.unreadable} could not be")
        console().print(
            f"{counts.observations['exact']} of {total} observations exact" + (f", {shown}" if shown else "")
        )
        kinds = counts.kinds
        console().print(
            f"{counts.turns} assistant turns: {kinds['calls']} with calls, {kinds['text']} text, "
            f"{kinds['scripted']} scripted"
        )
        console().print(f"{counts.kept} of them are candidates")
        for reason, turns in counts.dropped.most_common():
            console().print(f"  {turns} dropped: {reason}")
        if counts.digests:
            console().print(
                f"restored twice: {counts.digests['same']} same digest, {counts.digests['different']} different"
            )
        for line in duplicates.lines(prefixes):
            console().print(line)


def _compare_digests(domain: Domain, trajectory: Trajectory, counts: _Counts) -> None:
    for candidate in candidates_of(trajectory):
        try:
            first, second = domain.restore(candidate), domain.restore(candidate)
        except PivotEnvsError:
            counts.digests["not restored"] += 1
            continue
        counts.digests["same" if first.digest() == second.digest() else "different"] += 1
        first.close()
        second.close()


@dataclass(frozen=True)
class Candidates:
    """List every assistant turn of a trajectory file: its id, kind, tools, and why it is no candidate if it is none."""

    trajectories: tyro.conf.Positional[Path]
    """A trajectories.jsonl."""
    output: Path | None = None
    """Write JSONL here instead of standard output."""
    kept_only: Flag = False
    """Leave dropped turns out."""
    tau2_path: str | None = None
    """A tau2-bench checkout."""

    def run(self) -> int:
        """Write one JSON line per turn."""
        if self.output:
            writable(self.output, "--output", self.trajectories)
        lines = self._lines()
        if self.output:
            count = replace_lines(self.output, lines)
            console().print(f"wrote {count} turns to {self.output}")
        else:
            for line in lines:
                sys.stdout.write(line + "\n")
        return 0

    def _lines(self) -> Iterator[str]:
        read = 0
        for trajectory in read_trajectories(existing(self.trajectories, "TRAJECTORIES")):
            read += 1
            domain = open_domain(trajectory.domain, self.tau2_path)
            for turn in domain.check(trajectory).turns:
                if not (self.kept_only and turn.dropped):
                    yield json.dumps(_candidate_row(Candidate(trajectory, turn.turn), turn.kind, turn.dropped))
        _refuse_empty(self.trajectories, read, SkippedLines())


def _candidate_row(candidate: Candidate, kind: str, dropped: str) -> dict[str, Any]:
    calls = candidate.message.get("tool_calls") or []
    row: dict[str, Any] = {
        "candidate_id": candidate.candidate_id,
        "task_id": candidate.trajectory.task_id,
        "kind": kind,
        "tools": [call.get("function", {}).get("name", "") for call in calls],
        "prefix_messages": candidate.message_index,
    }
    return {**row, "dropped": dropped} if dropped else row

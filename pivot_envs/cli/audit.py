"""The command that audits a verifier on labelled pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from pivot_envs.audit import AuditReport, audit, read_battery
from pivot_envs.cli.screen import (
    FOUND,
    Flag,
    console,
    error_console,
    existing,
    print_json,
    progress,
    table,
    world_options,
)
from pivot_envs.domains import resolve
from pivot_envs.errors import ConfigError


@dataclass(frozen=True)
class Audit:
    """Judge labelled action pairs and compare with their truth, beside the string baselines.

    Rows are `{id, demonstrated, candidate, truth, kind?}` plus what the domain needs; see docs/formats.md. Ids are
    unique; a row without one is named by its line. A row whose prefix calls a tool that is not there is reported and
    not scored, and so is one on which the verifier fails: exit code 3.
    """

    battery: tyro.conf.Positional[Path]
    """A JSONL file of labelled pairs."""
    domain: str
    """The domain of rows that name none, or their family."""
    setup: Path | None = None
    """A script that builds the state of every row (domains with a file system)."""
    tree: Path | None = None
    """A JSON file tree that is the state of every row (domains with a file system)."""
    json: Flag = False
    """Print the whole report as JSON, with the verdict of each row."""
    tau2_path: str | None = None
    """A tau2-bench checkout."""

    def run(self) -> int:
        """Audit and print."""
        family, domain = resolve(self.domain)
        if family == "tau2" and (self.setup or self.tree):
            raise ConfigError(f"--setup and --tree are for domains with a file system; {domain!r} has none")
        rows = read_battery(existing(self.battery, "BATTERY"))
        with progress("auditing", len(rows)) as bar:
            report = audit(
                rows,
                family,
                domain,
                file=str(self.battery),
                progress=lambda done: bar.update(bar.task_ids[0], completed=done),
                **world_options(family, domain, self.tau2_path),
            )
        if self.json:
            print_json(report.as_dict())
        else:
            _print(report)
        _tell_unusual(report)
        return FOUND if report.not_restored or report.total.failed or not report.total.rows else 0


def _tell_unusual(report: AuditReport) -> None:
    if report.not_restored:
        error_console().print(f"not scored: {report.not_restored} rows whose state cannot be built")
    if report.prefix_failures:
        shown = ", ".join(report.prefix_failures[:5]) + (", ..." if len(report.prefix_failures) > 5 else "")
        error_console().print(f"{len(report.prefix_failures)} scored rows have a refused call in their prefix: {shown}")
    if not report.total.rows:
        error_console().print("no row was scored")


def _print(report: AuditReport) -> None:
    columns = ["rows", "agreement", "false accepts", "false rejects", "abstained", "failed"]
    tallies = [("effect", report.total), *report.baselines.items()]
    rows = [
        (name, t.rows, _share(t.agreement), t.false_accepts, t.false_rejects, t.abstained, t.failed)
        for name, t in tallies
    ]
    table("agreement with the labels", ["judged by", *columns], rows)
    if len(report.by_kind) > 1:
        kinds = sorted(report.by_kind.items(), key=lambda item: (item[1].agreement or 0, item[0]))
        table(
            "the effect verifier by kind",
            ["kind", *columns],
            [
                (name, t.rows, _share(t.agreement), t.false_accepts, t.false_rejects, t.abstained, t.failed)
                for name, t in kinds
            ],
        )
    if report.left_out:
        console().print(
            "left out: " + ", ".join(f"{n} rows of truth {truth!r}" for truth, n in report.left_out.items())
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

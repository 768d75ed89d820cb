"""How often are the tau2 rules wrong? Labelled variants of reference actions, judged like an audit judges them.

    python benchmarks/tau2_mutants.py                        # helpdesk, and official domains where installed
    python benchmarks/tau2_mutants.py --domains retail --tasks 114 --json retail.json
    python benchmarks/tau2_mutants.py --write battery.jsonl   # rows for `pivot-envs audit`

Prints false accepts and false rejects of the effect verifier beside exact match, tool name and word overlap, then every
kind that is wrong somewhere and the kinds whose label is arguable, and what an always-transfer policy would score.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pivot_envs.audit import AuditReport, audit
from pivot_envs.domains.tau2 import domain as tau2
from pivot_envs.domains.tau2.mutants.battery import battery
from pivot_envs.domains.tau2.world import World
from pivot_envs.errors import MissingDependency

TASKS = {"helpdesk": 160, "retail": 12, "airline": 12, "telecom": 25, "mock": 9}
"""Tasks varied by default: some 27,000 rows. Airline takes longest: its database is copied for each write."""
BOUNDS = {"false accepts": 0.001, "false rejects": 0.005}
ZERO_KINDS = (
    "demonstration + other write", "other write + demonstration", "empty arguments", "wrong requestor", "no call",
    "transfer instead", "transfer too",
)  # fmt: skip
"""Kinds of which not one may be accepted, debatable ones included."""

Row = Mapping[str, Any]


def main() -> int:
    """Generate, judge, print; exit 1 if a bound is passed."""
    arguments = _arguments()
    results = {}
    for name in arguments.domains:
        try:
            world = tau2.load(name).world
        except MissingDependency as error:
            print(f"{name}: skipped: {error}")
            continue
        count = arguments.tasks or TASKS[name]
        start = time.perf_counter()
        split = "all" if name == "helpdesk" else "base"
        rows = list(battery(world, tasks=world.tasks(split)[:count], seed=arguments.seed, per_kind=arguments.per_kind))
        generated = time.perf_counter()
        results[name] = judge(rows, world)
        results[name]["seconds"] = {
            "generate": round(generated - start, 1),
            "judge": round(time.perf_counter() - generated, 1),
        }
        print_result(name, results[name])
        if arguments.write:
            _append(arguments.write, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"JSON {json.dumps({name: result['summary'] for name, result in results.items()})}")
    return int(any(result["over_bounds"] for result in results.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--tasks", type=int, default=0, help="tasks varied in each domain (0: a default for each)")
    parser.add_argument("--per-kind", type=int, default=1, help="variants of one kind at one place, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the whole result here")
    parser.add_argument("--write", type=Path, help="append the rows here")
    return parser.parse_args()


def judge(rows: Sequence[Row], world: World) -> dict[str, Any]:
    """Return counts of one domain's rows; debatable rows are judged too, and counted apart."""
    domain = world.name
    decided = [row for row in rows if row["truth"] != "debatable"]
    # An audit leaves debatable rows out; labelled `different`, a false accept of them is just an accept.
    debatable = [{**row, "truth": "different"} for row in rows if row["truth"] == "debatable"]
    report, open_report = audit(decided, "tau2", domain), audit(debatable, "tau2", domain)
    equal = sum(row["truth"] == "equal" for row in decided)
    sizes = {"equal": equal, "different": len(decided) - equal, "debatable": len(debatable)}
    effect = report.total.as_dict()
    rates = {
        "false accepts": effect["false_accepts"] / max(1, sizes["different"]),
        "false rejects": (effect["false_rejects"] + effect["abstained"] + effect["failed"]) / max(1, equal),
    }
    accepted = _accepted_by_kind((*report.rows, *open_report.rows), (*decided, *debatable))
    arguable = _accepted_by_kind(open_report.rows, debatable)
    over = [name for name, bound in BOUNDS.items() if rates[name] > bound]
    over += [f"{kind} accepted {accepted[kind]} times" for kind in ZERO_KINDS if accepted[kind]]
    transfers, score = always_transfer(rows, world)
    if score > transfers:
        over.append(f"always transferring scores {score:.3f}, {transfers:.3f} of the demonstrations transfer")
    return {
        "summary": {**sizes, **effect, **{k: round(v, 6) for k, v in rates.items()}, "baselines": _baselines(report)},
        "wrong": _wrong(report, decided),
        "debatable": {kind: [arguable[kind], n] for kind, n in sorted(Counter(r["kind"] for r in debatable).items())},
        "always_transfer": {"share of transfer demonstrations": transfers, "mean reward": score},
        "over_bounds": over,
    }


def _accepted_by_kind(results: Iterable[Row], rows: Iterable[Row]) -> Counter[str]:
    kinds = {row["id"]: row["kind"] for row in rows}
    return Counter(kinds[result["id"]] for result in results if result["decision"] == "equal")


def _baselines(report: AuditReport) -> dict[str, list[int]]:
    return {name: [tally.false_accepts, tally.false_rejects] for name, tally in report.baselines.items()}


def _wrong(report: AuditReport, rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """Return up to three examples of each kind that is judged otherwise than labelled."""
    by_id = {row["id"]: row for row in rows}
    wrong: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in report.rows:
        row = by_id[result["id"]]
        if result["decision"] != row["truth"] and len(wrong[row["kind"]]) < 3:
            wrong[row["kind"]].append({**{k: row[k] for k in ("id", "truth", "demonstrated", "candidate")}, **result})
    return dict(wrong)


def always_transfer(rows: Sequence[Row], world: World) -> tuple[float, float]:
    """Return the share of transfer demonstrations, and the mean reward of a policy that transfers at every turn."""
    tool = next(spec for group in world.tool_specs.values() for spec in group if spec.terminal)
    values = {"reason": "customer_request", "summary": "The customer needs a person."}
    call = {"name": tool.name, "arguments": {k: values[k] for k in tool.parameters["required"]}}
    single = [{**row, "candidate": [call], "truth": "equal"} for row in rows if row["kind"] == "identical"]
    share = sum(row["demonstrated"][0]["name"] == tool.name for row in single) / max(1, len(single))
    report = audit(single, "tau2", world.name)
    return round(share, 4), round(sum(r["decision"] == "equal" for r in report.rows) / max(1, len(single)), 4)


def print_result(name: str, result: Mapping[str, Any]) -> None:
    """Print one domain's table."""
    summary = result["summary"]
    sizes = ", ".join(f"{summary[truth]} {truth}" for truth in ("equal", "different", "debatable"))
    print(f"\n{name}: {sizes} rows")
    print(f"  {'verifier':14}{'false accepts':>16}{'false rejects':>16}")
    lost = summary["false_rejects"] + summary["abstained"] + summary["failed"]
    for verifier, accepts, rejects in (
        ("effect", summary["false_accepts"], lost),
        *((baseline, *counts) for baseline, counts in summary["baselines"].items()),
    ):
        print(f"  {verifier:14}{accepts:>16}{rejects:>16}")
    for kind, examples in result["wrong"].items():
        print(f"  WRONG {kind}: {json.dumps(examples[0])[:600]}")
    for kind, (accepted, total) in result["debatable"].items():
        print(f"  debatable {kind}: accepted {accepted} of {total}")
    print(f"  always transfer: {result['always_transfer']}; over bounds: {result['over_bounds'] or 'none'}")


def _append(path: Path, rows: Iterable[Row]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""What does one judged action cost on the official retail domain, beside what it replaces, in the same run?

    python benchmarks/tau2_fork_and_compare.py [--domain retail] [--tasks 40] [--repeats 3]

Ours: fork + execute demonstration and candidate + compare, and a reset to a cached turn. Beside them: a deep copy of
the database, the official full hash, and the word-overlap comparison of strings. All are process seconds on one thread.
Targets: fork + execute both + compare p50 <= 0.5 ms, cached reset p50 <= 2 ms.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from pivot_envs.contracts import Side
from pivot_envs.domains.tau2.compare import compare_calls
from pivot_envs.domains.tau2.domain import Tau2Domain, load
from pivot_envs.domains.tau2.state import Tau2State
from pivot_envs.errors import MissingDependency
from pivot_envs.records import Action, Candidate, Trajectory
from pivot_envs.verifiers.text import word_overlap_match

TARGETS_MS = {"fork + execute both + compare": 0.5, "reset to a cached turn": 2.0}
_COPIES = 10
"""Deep copies and full hashes measured: each takes some 100 ms."""


def main() -> int:
    """Measure and print; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", default="retail")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    try:
        domain = load(arguments.domain)
    except MissingDependency as error:
        print(f"skipped: {error}")
        return 0
    milliseconds = measure(domain, arguments.tasks, arguments.repeats)
    missed = print_table(arguments.domain, milliseconds)
    return int(missed)


def measure(domain: Tau2Domain, tasks: int, repeats: int) -> dict[str, list[float]]:
    """Return milliseconds of every operation."""
    names = (*TARGETS_MS, "first restore (replay)", "word overlap of strings")
    times: dict[str, list[float]] = {name: [] for name in names}
    for task in list(domain.tasks("base"))[:tasks]:
        trajectory = domain.demonstrate(task, 0)
        for candidate in _tool_turns(trajectory):
            _measure_turn(domain, candidate, repeats, times)
    times.update(_measure_whole(domain))
    return times


def _tool_turns(trajectory: Trajectory) -> list[Candidate]:
    turns = range(len(trajectory.assistant_indices))
    candidates = [Candidate(trajectory, turn) for turn in turns]
    return [candidate for candidate in candidates if candidate.message.get("tool_calls")]


def _measure_turn(domain: Tau2Domain, candidate: Candidate, repeats: int, times: dict[str, list[float]]) -> None:
    demonstration = domain.demonstration(candidate)
    first = _timed(lambda: domain.restore(candidate))
    times["first restore (replay)"].append(first)
    state = domain.restore(candidate)
    # The same call with its arguments in another order: equal, whatever is compared.
    other = Action(calls=tuple(_reordered(call) for call in demonstration.calls))
    for _ in range(repeats):
        times["reset to a cached turn"].append(_timed(lambda: domain.restore(candidate)))
        times["fork + execute both + compare"].append(_timed(lambda: _judge(domain, state, demonstration, other)))
        overlap = _timed(lambda: word_overlap_match(demonstration, other, 0.1))
        times["word overlap of strings"].append(overlap)


def _reordered(call: Any) -> Any:
    return type(call)(call.name, dict(reversed(call.arguments.items())), call.id, call.requestor)


def _judge(domain: Tau2Domain, state: Tau2State, demonstration: Action, other: Action) -> bool | None:
    left, right = state.fork(), state.fork()
    shown = Side(demonstration, left, left.execute(demonstration))
    tried = Side(other, right, right.execute(other))
    return compare_calls(domain.world, domain.limits, shown, tried).equal


def _measure_whole(domain: Tau2Domain) -> dict[str, list[float]]:
    """Measure what the copy-on-write state replaces: official databases copied and hashed whole."""
    environment = domain.world.environment()  # type: ignore[attr-defined]  # official worlds only
    return {
        "deep copy of the database": [_timed(lambda: copy.deepcopy(environment.tools.db)) for _ in range(_COPIES)],
        "official full hash": [_timed(environment.get_db_hash) for _ in range(_COPIES)],
    }


def _timed(operation: Callable[[], Any]) -> float:
    start = time.process_time_ns()
    operation()
    return (time.process_time_ns() - start) / 1e6


def print_table(domain: str, milliseconds: dict[str, list[float]]) -> bool:
    """Print p50, p95, n and the ratio to our p50; return whether a target was missed."""
    ours = statistics.median(milliseconds["fork + execute both + compare"])
    print(f"{domain}: milliseconds of CPU; ratio = p50 / p50 of fork + execute both + compare")
    print(f"{'operation':34}{'p50':>10}{'p95':>10}{'n':>7}{'ratio':>10}{'target':>9}")
    summary = {}
    missed = False
    for name, values in milliseconds.items():
        p50, p95 = statistics.median(values), percentile(values, 0.95)
        target = TARGETS_MS.get(name)
        missed |= target is not None and p50 > target
        print(f"{name:34}{p50:>10.4f}{p95:>10.4f}{len(values):>7}{p50 / ours:>10.2f}{target or '':>9}")
        ratio = round(p50 / ours, 3)
        summary[name] = {"p50_ms": round(p50, 5), "p95_ms": round(p95, 5), "n": len(values), "ratio": ratio}
    print(f"JSON {json.dumps({'domain': domain, **summary})}")
    return missed


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())

"""What a training run has cost so far: the sums of its step rows, with profiling charged where its cost is known.

`ledger.json` stands beside metrics.jsonl and is written with every checkpoint. Steps that a kill undid are done again;
their rows are moved to discarded.jsonl, and the ledger counts them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "unknown: the run was given no count of profiling rollouts"


def ledger(
    rows: Sequence[Mapping[str, Any]],
    discarded: Sequence[Mapping[str, Any]] = (),
    profiling_rollouts: int | None = None,
) -> dict[str, Any]:
    """Return the totals of a run's step rows.

    Args:
        rows: of metrics.jsonl.
        discarded: rows of steps that were undone by a kill and done again.
        profiling_rollouts: drawn to find the pivots; None where nobody knows.
    """
    trained = int(_sum(rows, "rollouts"))
    return {
        "steps": len(rows),
        "rollouts": trained,
        "rollouts_profiling": UNKNOWN if profiling_rollouts is None else profiling_rollouts,
        "rollouts_including_profiling": None if profiling_rollouts is None else trained + profiling_rollouts,
        "tokens": {
            "sampled": int(_sum(rows, "tokens/sampled")),
            "prefilled": int(_sum(rows, "tokens/prefilled")),
            "forwarded": int(_sum(rows, "tokens/forwarded")),
            "naive": int(_sum(rows, "tokens/naive")),
        },
        "seconds": {
            "sampling": _sum(rows, "seconds/sampling"),
            "scoring": _sum(rows, "seconds/scoring"),
            "update": _sum(rows, "seconds/update"),
            "all": _sum(rows, "seconds"),
        },
        "discarded": {"steps": len(discarded), "rollouts": int(_sum(discarded, "rollouts"))},
    }


def _sum(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(row.get(key) or 0 for row in rows)

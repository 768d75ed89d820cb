"""The page the demo leaves behind: one self-contained HTML file with its figures, two plots and a few judged turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2430}
table{border-collapse:collapse;margin:.5rem 0}
td,th{padding:.25rem .8rem;border-bottom:1px solid #dde2ea;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}pre{background:#f4f6f9;padding:.8rem;overflow-x:auto;
white-space:pre-wrap;font-size:13px}h2{margin-top:2rem}svg text{font:11px system-ui,sans-serif;fill:#445}
"""


def write_report(path: Path, found: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        path: Where to.
        found: stages [(name, result, seconds)], arms, selection, curve, turns, not_run, seconds.
    """
    parts = [
        "<h1>pivot-envs: the whole road once</h1>",
        f"<p>Every figure on this page was measured in this run, in {found['seconds']:.0f} seconds.</p>",
        "<h2>Stages</h2>",
        _table(["stage", "result", "seconds"], [(n, r, f"{s:.1f}") for n, r, s in found["stages"]]),
    ]
    if found["arms"]:
        parts += ["<h2>Held-out turns accepted</h2>", _arms(found["arms"])]
    if found["selection"]:
        counts = found["selection"].histogram
        parts += ["<h2>Mean reward of the profiled turns</h2>", _bars(list(counts), list(counts.values()))]
        parts.append("<p>" + "; ".join(escape(f"{r}: {n}") for r, n in found["selection"].rejected.items()) + "</p>")
    if found["curve"]:
        rewards = [float(row["reward/mean"]) for row in found["curve"]]
        parts += ["<h2>Reward while training</h2>", _bars([str(row["step"]) for row in found["curve"]], rewards)]
    parts += ["<h2>Judged turns</h2>", *(f"<pre>{escape(turn)}</pre>" for turn in found["turns"])]
    parts += ["<h2>Not run here</h2><ul>", *(f"<li>{escape(line)}</li>" for line in found["not_run"]), "</ul>"]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>pivot-envs demo</title><style>{_STYLE}</style>'
    path.write_text(page + "\n".join(parts) + "</html>\n", encoding="utf-8")


def _arms(arms: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for arm in arms:
        accepted = arm["held-out turns accepted"]
        interval = f"{accepted.low:.3f} to {accepted.high:.3f}"
        rows.append((arm["arm"], f"{accepted.share:.3f}", interval, str(arm["rollouts"])))
    return _table(["arm", "accepted", "95 % interval", "rollouts including profiling"], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th{_side(n, len(columns))}>{escape(c)}</th>" for n, c in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(f"<td{_side(n, len(columns))}>{escape(cell)}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _side(position: int, columns: int) -> str:
    return ' class="n"' if position == columns - 1 and columns > 2 else ""


def _bars(labels: Sequence[str], values: Sequence[float]) -> str:
    """Draw a bar chart as SVG."""
    width, height, top = 52, 140, max([*values, 1e-9])
    parts = []
    for n, (label, value) in enumerate(zip(labels, values, strict=True)):
        tall = height * value / top
        x = n * width
        shown = f"{value:.2f}" if isinstance(value, float) and not value.is_integer() else f"{value:g}"
        parts.append(
            f'<rect x="{x + 6}" y="{20 + height - tall:.1f}" width="{width - 12}" height="{tall:.1f}" fill="#4a7fb5"/>'
        )
        parts.append(
            f'<text x="{x + width / 2}" y="{16 + height - tall:.1f}" text-anchor="middle">{escape(shown)}</text>'
        )
        parts.append(f'<text x="{x + width / 2}" y="{height + 36}" text-anchor="middle">{escape(label)}</text>')
    return f'<svg width="{width * len(labels)}" height="{height + 44}" role="img">{"".join(parts)}</svg>'

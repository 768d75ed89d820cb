"""The page the demo leaves behind: one self-contained HTML file with its figures, plots and a few judged turns."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pivot_envs.trainer.comparison import Comparison, Row
    from pivot_envs.trainer.evaluate import Share

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2430}
table{border-collapse:collapse;margin:.5rem 0}
td,th{padding:.25rem .8rem;border-bottom:1px solid #dde2ea;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}pre{background:#f4f6f9;padding:.8rem;overflow-x:auto;
white-space:pre-wrap;font-size:13px}h2{margin-top:2rem}svg text{font:11px system-ui,sans-serif;fill:#445}
"""


COLUMNS = (
    "policy", "whole episodes", "95 % interval", "turns by effect", "by exact match", "dead share", "rollouts", "s",
)  # fmt: skip
"""Of the table of policies; rollouts and seconds include profiling."""


def cells(row: Row) -> tuple[str, ...]:
    """Return a policy's row of the table."""
    return (
        row.arm,
        f"{row.episodes.share:.3f}",
        _interval(row.episodes),
        f"{row.turns.share:.3f}",
        f"{row.exact.share:.3f}",
        "-" if row.dead_share is None else f"{row.dead_share:.2f}",
        f"{row.rollouts:,}",
        f"{row.seconds:.0f}",
    )


def _interval(share: Share) -> str:
    return f"{share.low:.3f} to {share.high:.3f}"


def write_report(
    path: Path,
    stages: Sequence[tuple[str, str, float]],
    turns: Sequence[str],
    not_run: Sequence[str],
    seconds: float,
    found: Comparison | None,
    told: Sequence[str],
) -> None:
    """Write the page.

    Args:
        path: Where to.
        stages: (name, result, seconds).
        turns: Judged turns, rendered.
        not_run: What this run left out.
        seconds: Of the whole run.
        found: The policies that were compared; None without torch.
        told: What the figures say, in words.
    """
    parts = [
        "<h1>pivot-envs: the whole road once</h1>",
        f"<p>Every figure on this page was measured in this run, in {seconds:.0f} seconds.</p>",
    ]
    if found is not None:
        parts += _compared(found, told)
    rows = [(name, result, f"{took:.1f}") for name, result, took in stages]
    parts += ["<h2>Stages</h2>", _table(["stage", "result", "seconds"], rows, numbers_from=2)]
    parts += ["<h2>A turn restored, and three actions judged there</h2>", *(_pre(turn) for turn in turns)]
    parts += ["<h2>Not run here</h2><ul>", *(f"<li>{escape(line)}</li>" for line in not_run), "</ul>"]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>pivot-envs demo</title><style>{_STYLE}</style>'
    path.write_text(page + "\n".join(parts) + "</html>\n", encoding="utf-8")


def _compared(found: Comparison, told: Sequence[str]) -> list[str]:
    parts = ["<h2>Policies on test tasks, whose customers none has seen</h2>"]
    parts += [_table(COLUMNS, [cells(row) for row in found.rows]), _intervals(found.rows)]
    parts += [f"<p>{escape(line)}</p>" for line in told]
    if found.selection:
        counts = found.selection.histogram
        parts += ["<h2>Mean reward of the profiled turns</h2>", _bars(list(counts), list(counts.values()))]
        parts.append(f"<p>{found.selection.kept} of {found.selection.candidates} turns are pivots; the others: ")
        parts.append("; ".join(escape(f"{r} {n}") for r, n in found.selection.rejected.items()) + "</p>")
    if found.curve:
        steps = [str(row["step"]) for row in found.curve]
        parts += ["<h2>Reward on pivots while training</h2>"]
        parts.append(_bars(steps, [float(row["reward/mean"] or 0) for row in found.curve]))
        parts += ["<h2>Share of groups without signal while training</h2>"]
        parts.append(_bars(steps, [row["dead_groups"] / row["groups"] for row in found.curve]))
    if found.pivots:
        parts += ["<h2>Some pivots, and what the base does there</h2>", *(_pre(pivot) for pivot in found.pivots)]
    return parts


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 1) -> str:
    def line(tag: str, row: Sequence[str]) -> str:
        sides = ['' if n < numbers_from else ' class="n"' for n in range(len(row))]
        return "<tr>" + "".join(f"<{tag}{s}>{escape(c)}</{tag}>" for s, c in zip(sides, row, strict=True)) + "</tr>"

    return f"<table>{line('th', columns)}{''.join(line('td', row) for row in rows)}</table>"


def _intervals(rows: Sequence[Row]) -> str:
    """Draw the share of whole episodes of each policy with its interval, as SVG."""
    parts, width = [], 420
    for n, row in enumerate(rows):
        y, share = 18 + 26 * n, row.episodes
        low, high = 90 + width * share.low, 90 + width * share.high
        parts.append(f'<text x="0" y="{y + 4}">{escape(row.arm)}</text>')
        parts.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="#4a7fb5" stroke-width="3"/>')
        parts.append(f'<circle cx="{90 + width * share.share:.1f}" cy="{y}" r="5" fill="#1d4f80"/>')
    floor = 18 + 26 * len(rows)
    ticks = [
        f'<text x="{90 + width * tick / 4:.0f}" y="{floor + 8}" text-anchor="middle">{tick / 4:g}</text>'
        for tick in range(5)
    ]
    return f'<svg width="{width + 110}" height="{floor + 14}" role="img">{"".join(parts + ticks)}</svg>'


def _bars(labels: Sequence[str], values: Sequence[float]) -> str:
    """Draw a bar chart as SVG."""
    width, height, top = max(24, min(52, 900 // max(1, len(labels)))), 140, max([*values, 1e-9])
    parts = []
    for n, (label, value) in enumerate(zip(labels, values, strict=True)):
        tall, middle = height * value / top, n * width + width / 2
        shown = f"{value:.2f}".lstrip("0") if isinstance(value, float) and not value.is_integer() else f"{value:g}"
        parts.append(
            f'<rect x="{n * width + 2}" y="{20 + height - tall:.1f}" width="{width - 4}" height="{tall:.1f}" '
            'fill="#4a7fb5"/>'
        )
        parts.append(f'<text x="{middle}" y="{16 + height - tall:.1f}" text-anchor="middle">{escape(shown)}</text>')
        parts.append(f'<text x="{middle}" y="{height + 36}" text-anchor="middle">{escape(label)}</text>')
    return f'<svg width="{width * len(labels)}" height="{height + 44}" role="img">{"".join(parts)}</svg>'

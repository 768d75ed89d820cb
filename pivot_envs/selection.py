"""What a selection looks like, and what to be wary of: the report on pivots that `pivots.py` chose.

Counts, the histogram of means, shares by tool and by turn, the share of dead groups, alarms, and how many pivots a
verifier with a stated false positive rate would have made up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import comb
from typing import TypeVar

from pivot_envs.pivots import Selection
from pivot_envs.profiles import count_outcomes
from pivot_envs.records import Profile
from pivot_envs.selectors import SelectorConfig, k_of, main_tool, rejection

ALARM_SHARE = 0.5
"""A larger kept share points at the verifier: 3 to 15 % is what others expect; the paper found 29 % of turns mixed."""
BINS = ("0", *(f"{i / 10:.1f}-{(i + 1) / 10:.1f}" for i in range(10)), "1")
"""Labels of the histogram: exactly 0, ten bins closed below, exactly 1."""
Label = TypeVar("Label", str, int)
MESSAGE = "(message)"
"""How a turn without a tool call stands in the counts by tool."""


@dataclass(frozen=True)
class SelectionReport:
    """The figures of one selection."""

    candidates: int
    """Excluded ones included."""
    kept: int
    kept_share: float
    rejected: Mapping[str, int]
    """Reason -> candidates."""
    histogram: Mapping[str, int]
    """Mean reward -> candidates, over profiles with a mean; labels are `BINS`."""
    dead_share: float
    """Share of profiles whose rewards are all equal: no group-normalised signal (Prop. 3.1; the paper reports 71 %).
    Those that were stopped early before two rewards differed count as dead: most are."""
    by_tool: Mapping[str, Mapping[str, int]]
    """Tool -> {candidates, kept}, most candidates first."""
    by_turn: Mapping[int, Mapping[str, int]]
    """Turn -> {candidates, kept}."""
    rollouts: int
    """Profiling rollouts behind this selection, failed ones included."""
    stopped_early: int
    """Profiles with fewer than K rollouts, because those decided; they have no mean and are not in the histogram."""
    random_control: bool
    """The kept are a random draw of the size that the selector would keep."""
    failed: int
    abstained: int
    verifier_fpr: float
    false_pivot_chance: float
    """Chance that a candidate the policy never solves is kept at that false positive rate."""
    expected_false_pivots: float
    """At most so many of the kept are made up by the verifier, if no all-zero candidate can be solved."""
    alarms: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON-able values."""
        return asdict(self)


def report(selection: Selection) -> SelectionReport:
    """Count a selection."""
    profiles, kept = selection.profiles, {pivot.pivot_id for pivot in selection.kept}
    candidates = len(kept) + len(selection.rejected)
    outcomes = count_outcomes(profiles.values())
    chance, expected = false_pivots(profiles, selection.config)
    measured = [profile.valid for profile in profiles.values() if profile.valid]
    return SelectionReport(
        candidates=candidates,
        kept=len(kept),
        kept_share=len(kept) / candidates if candidates else 0.0,
        rejected={reason: len(ids) for reason, ids in selection.rejected_by_reason.items()},
        histogram=histogram(profiles),
        dead_share=sum(min(p) == max(p) for p in measured) / len(measured) if measured else 0.0,
        by_tool=_shares({i: main_tool(p) or MESSAGE for i, p in profiles.items()}, kept),
        by_turn=dict(sorted(_shares({i: int(i.rpartition("/")[2]) for i in profiles}, kept).items())),
        rollouts=outcomes.total(),
        stopped_early=sum(profile.stopped_early for profile in profiles.values()),
        random_control=selection.config.random_control,
        failed=outcomes["failed"],
        abstained=outcomes["abstained"],
        verifier_fpr=selection.config.verifier_fpr,
        false_pivot_chance=chance,
        expected_false_pivots=min(expected, float(len(kept))),
        alarms=tuple(_alarms(len(kept), candidates, outcomes)),
    )


def histogram(profiles: Mapping[str, Profile]) -> dict[str, int]:
    """Count the means; exactly 0 and exactly 1 stand apart, since they are what Eq. 5 drops."""
    counted = dict.fromkeys(BINS, 0)
    for profile in profiles.values():
        mean = profile.mean
        if mean is not None:
            counted["0" if mean == 0 else "1" if mean == 1 else BINS[1 + min(9, max(0, int(mean * 10 + 1e-9)))]] += 1
    return counted


def selection_chance(p: float, k: int, config: SelectorConfig) -> float:
    """Return the chance that Eq. 5 keeps a candidate whose K binary rewards are 1 with probability p (exact)."""
    return sum(
        comb(k, successes) * p**successes * (1 - p) ** (k - successes)
        for successes in range(k + 1)
        if _keeps(successes, k, config)
    )


def false_pivots(profiles: Mapping[str, Profile], config: SelectorConfig) -> tuple[float, float]:
    """Return the chance that a state without any success is kept, and an upper bound of how many are.

    The number of such states is taken from the all-zero profiles: at a false positive rate f each of N stays all-zero
    with probability (1 - f)^K. Some all-zero states are only hard, so this bounds from above.
    """
    fpr = config.verifier_fpr
    sizes = Counter(k_of(profile) for profile in profiles.values() if profile.rewards)
    if not sizes or fpr == 0:
        return 0.0, 0.0
    k = sizes.most_common(1)[0][0]
    chance = selection_chance(fpr, k, replace(config, keep_all_zero=False))
    zero = sum(bool(profile.valid) and not any(profile.valid) for profile in profiles.values())
    unchanged = (1 - fpr) ** k
    return chance, zero * chance / unchanged if unchanged else float(zero)


def lines(figures: SelectionReport) -> list[str]:
    """Return the report as a few lines of text."""
    drawn = ", drawn at random as a control" if figures.random_control else ""
    written = [f"kept {figures.kept} of {figures.candidates} candidates ({figures.kept_share:.1%}){drawn}"]
    written += [f"  {reason}: {count}" for reason, count in figures.rejected.items()]
    written.append(f"dead groups: {figures.dead_share:.1%} of profiles")
    written.append("means: " + "  ".join(f"{label}: {count}" for label, count in figures.histogram.items() if count))
    written.append("kept by tool:")
    written += [f"  {tool}: {counts['kept']} of {counts['candidates']}" for tool, counts in figures.by_tool.items()]
    turns = (f"{turn}: {counts['kept']}/{counts['candidates']}" for turn, counts in figures.by_turn.items())
    written.append("kept by turn: " + "  ".join(turns))
    written.append(f"profiling rollouts: {figures.rollouts}, failed {figures.failed}, abstained {figures.abstained}")
    if figures.stopped_early:
        written.append(f"stopped early: {figures.stopped_early} profiles, which have no mean and stand in no bin")
    if figures.verifier_fpr:
        written.append(
            f"at a verifier FPR of {figures.verifier_fpr:.1%} a state that is never solved is kept with "
            f"{figures.false_pivot_chance:.1%}: at most {figures.expected_false_pivots:.1f} false pivots expected"
        )
    return written + [f"ALARM: {alarm}" for alarm in figures.alarms]


def _keeps(successes: int, k: int, config: SelectorConfig) -> bool:
    """Whether Eq. 5 keeps so many successes of K."""
    outcomes = ("accepted",) * successes + ("rejected",) * (k - successes)
    return not rejection(Profile((1.0,) * successes + (0.0,) * (k - successes), outcomes, {}), config)


def _shares(labels: Mapping[str, Label], kept: set[str]) -> dict[Label, dict[str, int]]:
    seen = Counter(labels.values())
    chosen = Counter(label for candidate_id, label in labels.items() if candidate_id in kept)
    return {label: {"candidates": count, "kept": chosen[label]} for label, count in seen.most_common()}


def _alarms(kept: int, candidates: int, outcomes: Counter[str]) -> list[str]:
    alarms = []
    if candidates and kept == 0:
        alarms.append("0 % kept: policy or verifier is all or nothing; look at the histogram and audit the verifier")
    if candidates and kept / candidates > ALARM_SHARE:
        alarms.append(f"{kept / candidates:.0%} kept, more than {ALARM_SHARE:.0%}: suspect a noisy verifier; audit it")
    total = outcomes.total()
    if total and outcomes["failed"] / total > 0.02:
        alarms.append(f"{outcomes['failed'] / total:.1%} of the profiling rollouts failed for a reason of ours")
    return alarms

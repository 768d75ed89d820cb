"""Which profiles are kept: Eq. 5 (reward variance > 0 and mean < lambda_diff), its variants, and what stays open.

`rejection` judges one profile, `crowded_out` what is kept beside what; both name a reason. `Curtailment` says which
decision is certain before all K rollouts are drawn. `pivots.py` applies them to a set of profiles.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pivot_envs.candidates import parse_candidate_id
from pivot_envs.errors import ConfigError
from pivot_envs.records import Profile, content_hash

REJECTIONS = {
    "mean_too_high": "mean reward is not below lambda_diff",
    "off_target_rate": "mean reward is farther than band from target_rate",
    "low_std": "standard deviation of the rewards is not above std_threshold",
    "too_few_successes": "fewer accepted rollouts than min_successes",
    "all_equal_zero": "no rollout was rewarded: variance 0",
    "all_equal_one": "every rollout had the full reward: variance 0",
    "all_equal": "every rollout had the same graded reward: variance 0",
    "failed_rollouts": "more than max_invalid_share of the rollouts have no reward, mostly because we failed",
    "abstained_rollouts": "more than max_invalid_share of the rollouts have no reward, mostly abstentions",
    "not_best_of_trajectory": "one_per_trajectory kept another turn of its trajectory",
    "below_top_variance": "top_variance kept others",
    "tool_share": "over max_share_per_tool of the kept",
    "terminal_share": "over max_share_terminal of the kept",
    "not_drawn": "not drawn into the random control",
}
"""Reason -> what it means. An excluded candidate keeps the reason it was excluded for, such as `context_full`."""

LARGEST_EXACT_K = 128
"""Curtailment goes through K^3 / 6 counts."""


@dataclass(frozen=True)
class SelectorConfig:
    """Which candidates are kept. Every field stands in the header of `pivots.jsonl`.

    One profile is judged by variance, mean, deviation and successes. What is left is thinned out, in this order, by
    one_per_trajectory, top_variance, and the shares of tools. Ties are broken by a hash of seed and id.
    """

    lambda_diff: float = 0.6
    """Keep where the mean is strictly below. The paper does not print its value; 0.6 is said of its tau2 data."""
    keep_all_zero: bool = False
    """Also keep candidates no rollout solved, whatever min_successes: not Eq. 5, but what was reported for tau2."""
    min_successes: int = 1
    """Fewest accepted rollouts. 2 removes most states that only the verifier's false accepts made mixed."""
    target_rate: float | None = None
    """Keep where the mean is within `band` of this, in place of lambda_diff; the signal is strongest near 0.5."""
    band: float = 0.25
    """Half width around target_rate, both ends kept."""
    std_threshold: float = 0.0
    """Keep where the population standard deviation is above; 0 is Eq. 5."""
    max_invalid_share: float = 0.5
    """Largest share of rollouts without a reward (failed or abstained) that a profile may have."""
    one_per_trajectory: bool = False
    """Keep of each trajectory only the turn of highest variance."""
    top_variance: int | None = None
    """Keep only so many, those of highest variance."""
    max_share_per_tool: float | None = None
    """Largest share of the kept that one tool may have, by the first tool demonstrated."""
    max_share_terminal: float | None = 0.05
    """Largest share of the kept that calls which end the episode may have, such as transfers to a person."""
    random_control: bool = False
    """Keep as many as all the above would, but drawn from every candidate with a profile: the control."""
    seed: int = 0
    """Of the random control and of ties."""
    verifier_fpr: float = 0.0
    """False positive rate stated for the verifier; changes the report and nothing else."""

    def __post_init__(self) -> None:
        for name in ("lambda_diff", "target_rate", "band", "std_threshold", "max_invalid_share", "verifier_fpr"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value!r}; expected a number between 0 and 1")
        for name in ("max_share_per_tool", "max_share_terminal"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"{name} is {value!r}; expected a share above 0, at most 1, or None for no bound")
        if self.min_successes < 0:
            raise ConfigError(f"min_successes is {self.min_successes}; expected at least 0")
        if self.top_variance is not None and self.top_variance < 1:
            raise ConfigError(f"top_variance is {self.top_variance}; expected at least 1, or None for all")


def rejection(profile: Profile, config: SelectorConfig) -> str:
    """Return why one profile is no pivot by Eq. 5 or the variant configured, or an empty string.

    Raises:
        ConfigError: the profile was stopped early and what was drawn does not decide under this selector.
    """
    if profile.stopped_early:
        return _settled(profile, config)
    if reason := unusable(profile, config):
        return reason
    mean, variance = profile.mean, profile.variance
    assert mean is not None and variance is not None
    if variance == 0:
        if mean == 0:
            return "" if config.keep_all_zero else "all_equal_zero"
        return "all_equal_one" if mean == 1 else "all_equal"
    if config.target_rate is None:
        if mean >= config.lambda_diff:
            return "mean_too_high"
    elif abs(mean - config.target_rate) > config.band + 1e-9:
        return "off_target_rate"
    if variance**0.5 <= config.std_threshold:
        return "low_std"
    return "too_few_successes" if profile.outcomes.count("accepted") < config.min_successes else ""


def unusable(profile: Profile, config: SelectorConfig) -> str:
    """Return why a profile says nothing of its candidate, or an empty string."""
    if profile.stopped_early:
        return ""
    invalid = profile.rewards.count(None)
    if invalid > config.max_invalid_share * len(profile.rewards) or invalid == len(profile.rewards):
        return "failed_rollouts" if 2 * profile.outcomes.count("failed") >= invalid else "abstained_rollouts"
    return ""


def crowded_out(kept: Sequence[str], profiles: Mapping[str, Profile], config: SelectorConfig) -> dict[str, str]:
    """Return candidate id -> reason for what is left out only because others are kept.

    Raises:
        ConfigError: a share that cannot be met, or a variance asked of profiles that were stopped early.
    """
    dropped: dict[str, str] = {}
    left = sorted(kept, key=lambda i: content_hash([config.seed, i]))
    if config.one_per_trajectory or config.top_variance is not None:
        _refuse_early(left, profiles)
        left.sort(key=lambda i: -(profiles[i].variance or 0.0))  # stable: ties stay in the order of the hash
    if config.one_per_trajectory:
        best = {parse_candidate_id(i)[:2]: i for i in reversed(left)}
        left = _keep(left, set(best.values()), "not_best_of_trajectory", dropped)
    if config.top_variance is not None:
        left = _keep(left, set(left[: config.top_variance]), "below_top_variance", dropped)
    dropped |= _over_share(left, profiles, config)
    return dropped


def main_tool(profile: Profile) -> str:
    """Return the tool a candidate is about, empty for a message to a person.

    That is the demonstrated one; where it was not recorded, the commonest of the accepted rollouts, else of all.
    """
    if profile.demonstrated_tool is not None:
        return profile.demonstrated_tool
    accepted = [t for t, outcome in zip(profile.tools, profile.outcomes, strict=False) if outcome == "accepted"]
    counted = Counter(accepted or profile.tools)
    return min(counted, key=lambda tool: (-counted[tool], tool)) if counted else ""


def k_of(profile: Profile) -> int:
    """Return K, the rollouts that a whole profile of this provenance has."""
    return int(profile.provenance.get("k", len(profile.rewards)))


class Curtailment:
    """What can still become of a candidate after some of its K rollouts, all rewards being 0 or 1.

    Exact: every way in which the rollouts left may end is gone through, those without a reward included.
    """

    def __init__(self, config: SelectorConfig, k: int) -> None:
        if k > LARGEST_EXACT_K:
            raise ConfigError(f"k is {k}; exact stopping is offered for k up to {LARGEST_EXACT_K}")
        self.config, self.k = config, k
        self._reasons: dict[tuple[int, int, int], frozenset[str]] = {}
        self._needed: dict[tuple[int, int, int], int] = {}

    def reasons(self, ones: int, zeros: int, invalid: int) -> frozenset[str]:
        """Return the rejections (empty: kept) that are still possible."""
        state = ones, zeros, invalid
        if state not in self._reasons:
            if sum(state) >= self.k:
                self._reasons[state] = frozenset({rejection(_binary(*state), self.config)})
            else:
                self._reasons[state] = frozenset().union(*(self.reasons(*after) for after in _after(*state)))
        return self._reasons[state]

    def is_decided(self, ones: int, zeros: int, invalid: int) -> bool:
        """Say whether the candidate is kept, or rejected, whatever the rollouts left are."""
        left = self.reasons(ones, zeros, invalid)
        return "" not in left or len(left) == 1

    def draws_needed(self, ones: int, zeros: int, invalid: int) -> int:
        """Return the fewest further rollouts that can decide: so many may be drawn at once without a waste."""
        state = ones, zeros, invalid
        if state not in self._needed:
            decided = sum(state) >= self.k or self.is_decided(*state)
            self._needed[state] = 0 if decided else 1 + min(self.draws_needed(*after) for after in _after(*state))
        return self._needed[state]


@functools.lru_cache(maxsize=32)
def curtailment(config: SelectorConfig, k: int) -> Curtailment:
    """Return the curtailment of a selector and K, made once."""
    return Curtailment(config, k)


def counts_of(rewards: Iterable[float | None]) -> tuple[int, int, int] | None:
    """Return how many rewards are 1, 0 and absent; None where one is graded."""
    counted = Counter(rewards)
    ones, zeros, invalid = counted.pop(1.0, 0), counted.pop(0.0, 0), counted.pop(None, 0)
    return None if counted else (ones, zeros, invalid)


def _after(ones: int, zeros: int, invalid: int) -> tuple[tuple[int, int, int], ...]:
    return (ones + 1, zeros, invalid), (ones, zeros + 1, invalid), (ones, zeros, invalid + 1)


def _binary(ones: int, zeros: int, invalid: int) -> Profile:
    outcomes = ("accepted",) * ones + ("rejected",) * zeros + ("failed",) * invalid
    return Profile((1.0,) * ones + (0.0,) * zeros + (None,) * invalid, outcomes, {})


def _settled(profile: Profile, config: SelectorConfig) -> str:
    """Return the decision on a profile that was stopped early: the one that every end of it shares."""
    counts = counts_of(profile.rewards)
    table = curtailment(config, k_of(profile))
    if counts is None or not table.is_decided(*counts):
        raise ConfigError(
            f"a profile was stopped after {len(profile.rewards)} of K {k_of(profile)} rollouts because lambda_diff, "
            "min_successes and keep_all_zero of its profiling decided it, and these selector settings do not follow "
            "from it: select with those of the profiles' header, or profile with adaptive 'off'"
        )
    left = table.reasons(*counts)
    return next((reason for reason in REJECTIONS if reason in left), "")


def _refuse_early(ids: Iterable[str], profiles: Mapping[str, Profile]) -> None:
    early = next((i for i in ids if profiles[i].stopped_early), None)
    if early is not None:
        raise ConfigError(
            f"one_per_trajectory and top_variance compare variances, and the profile of {early} was stopped early and "
            "has none: profile with adaptive 'off'"
        )


def _keep(ids: Sequence[str], within: set[str], reason: str, dropped: dict[str, str]) -> list[str]:
    dropped |= {i: reason for i in ids if i not in within}
    return [i for i in ids if i in within]


def _over_share(ids: Sequence[str], profiles: Mapping[str, Profile], config: SelectorConfig) -> dict[str, str]:
    """Return the fewest ids whose leaving brings every tool, and the terminal ones together, within their share."""
    members: dict[str, list[str]] = {}
    terminal: set[str] = set()
    for i in ids:
        tool = main_tool(profiles[i])
        members.setdefault(tool, []).append(i)
        if tool in _terminal_tools(profiles[i]):
            terminal.add(tool)

    def caps(total: int) -> tuple[int, int]:
        shares = (config.max_share_per_tool, config.max_share_terminal)
        each, ending = (len(ids) if share is None else int(share * total + 1e-9) for share in shares)
        return each, ending

    def possible(total: int) -> int:
        each, ending = caps(total)
        sizes = {tool: min(len(named), each) for tool, named in members.items()}
        return sum(sizes.values()) - max(0, sum(sizes[tool] for tool in terminal) - ending)

    total = len(ids)
    # Downwards to the greatest fixed point: a smaller total never allows a tool more.
    while (fewer := possible(total)) < total:
        total = fewer
    if total == 0 and members.keys() - terminal:
        raise ConfigError(
            f"max_share_per_tool {config.max_share_per_tool} cannot be met by {len(members)} tools among {len(ids)} "
            f"kept candidates; it must be at least {1 / len(members):.3g}"
        )
    each, ending = caps(total)
    dropped = {i: "tool_share" for named in members.values() for i in named[each:]}
    ending_ids = {i for tool in terminal for i in members[tool][:each]}
    ends = [i for i in ids if i in ending_ids]
    return dropped | {i: "terminal_share" for i in ends[ending:]}


def _terminal_tools(profile: Profile) -> Sequence[str]:
    named = profile.provenance.get("terminal_tools", ())
    return named if isinstance(named, list | tuple) else ()

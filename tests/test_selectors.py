"""The variants of Eq. 5, what thins out the kept, and exact early stopping, against fixed numbers and brute force."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_profiling import Adder, demonstration

from pivot_envs.actions import encode
from pivot_envs.contracts import Prompt, Terminating
from pivot_envs.domains import get_domain
from pivot_envs.errors import ConfigError, FingerprintMismatch, PolicyError, RecordError
from pivot_envs.pivots import Selection, select
from pivot_envs.policy import ScriptedPolicy
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, profile, provenance
from pivot_envs.records import Profile, Verdict
from pivot_envs.selection import lines, report
from pivot_envs.selectors import REJECTIONS, Curtailment, SelectorConfig, curtailment, rejection

MADE = {"domain": "d", "k": 16, "terminal_tools": ["transfer"]}


def binary(successes: int, k: int = 16, tool: str = "t") -> Profile:
    rewards = (1.0,) * successes + (0.0,) * (k - successes)
    outcomes = ("accepted",) * successes + ("rejected",) * (k - successes)
    return Profile(rewards, outcomes, MADE | {"k": k}, (tool,) * k, demonstrated_tool=tool)


def early(ones: int, zeros: int, k: int = 16) -> Profile:
    outcomes = ("accepted",) * ones + ("rejected",) * zeros
    return replace(
        binary(0, k), rewards=(1.0,) * ones + (0.0,) * zeros, outcomes=outcomes, tools=("t",) * (ones + zeros),
        stopped_early=True,
    )  # fmt: skip


def ladder(k: int = 16) -> dict[str, Profile]:
    return {f"d/a/{n}": binary(n, k) for n in range(k + 1)}


def chosen(profiles: dict[str, Profile], **fields: Any) -> Selection:
    return select(profiles, SelectorConfig(**fields))


def turns(selection: Selection) -> list[int]:
    return [pivot.turn for pivot in selection.kept]


# ---- one profile


def test_a_target_rate_keeps_its_band_with_both_ends_in_place_of_lambda() -> None:
    found = chosen(ladder(), target_rate=0.5)
    assert turns(found) == list(range(4, 13))
    assert found.rejected["d/a/3"] == found.rejected["d/a/13"] == "off_target_rate"
    assert found.rejected["d/a/0"] == "all_equal_zero" and found.rejected["d/a/16"] == "all_equal_one"
    assert turns(chosen(ladder(), target_rate=0.75, band=0.125)) == [10, 11, 12, 13, 14]


def test_a_target_rate_never_keeps_what_has_no_variance() -> None:
    assert turns(chosen(ladder(), target_rate=0.0, band=0.25)) == [1, 2, 3, 4]
    assert turns(chosen(ladder(), target_rate=1.0, band=0.25)) == [12, 13, 14, 15]


def test_a_std_threshold_is_strict_and_zero_is_eq5() -> None:
    assert turns(chosen(ladder(), lambda_diff=1.0, std_threshold=0.4)) == list(range(4, 13))
    assert chosen(ladder(), lambda_diff=1.0, std_threshold=0.4).rejected["d/a/3"] == "low_std"
    assert turns(chosen(ladder(), lambda_diff=1.0, std_threshold=0.5)) == []
    assert turns(chosen(ladder(), std_threshold=0.0)) == turns(chosen(ladder()))


# ---- one beside others


def test_top_variance_keeps_the_n_of_highest_variance_and_breaks_ties_by_seed() -> None:
    found = chosen(ladder(), lambda_diff=1.0, top_variance=3)
    assert turns(found) == [7, 8, 9] and found.rejected["d/a/6"] == "below_top_variance"
    tied = {f"d/t{i}/0": binary(4) for i in range(40)}
    kept = [{p.pivot_id for p in chosen(tied, top_variance=10, seed=seed).kept} for seed in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2] and len(kept[2]) == 10
    assert {p.pivot_id for p in chosen(dict(reversed(tied.items())), top_variance=10).kept} == kept[0]
    assert len(chosen(tied, top_variance=1000).kept) == 40


def test_one_per_trajectory_keeps_the_turn_of_highest_variance() -> None:
    profiles = {f"d/{name}/{turn}": binary(n) for name, ns in (("a", (2, 7, 1)), ("b", (16, 3))) for turn, n in
                enumerate(ns)}  # fmt: skip
    found = chosen(profiles, one_per_trajectory=True)
    assert [pivot.pivot_id for pivot in found.kept] == ["d/a/1", "d/b/1"]
    assert found.rejected == {"d/a/0": "not_best_of_trajectory", "d/a/2": "not_best_of_trajectory",
                              "d/b/0": "all_equal_one"}  # fmt: skip


def test_calls_that_end_the_episode_are_at_most_a_twentieth_of_the_kept_by_default() -> None:
    profiles = {f"d/t{i}/0": binary(4, tool="transfer" if i < 50 else f"tool{i % 7}") for i in range(150)}
    found = chosen(profiles)
    assert report(found).by_tool["transfer"] == {"candidates": 50, "kept": 5}
    assert len(found.kept) == 105 and list(found.rejected.values()) == ["terminal_share"] * 45
    assert len(chosen(profiles, max_share_terminal=None).kept) == 150
    unnamed = {i: replace(one, provenance={"k": 16}) for i, one in profiles.items()}
    assert len(chosen(unnamed).kept) == 150


def test_nothing_but_terminal_calls_leaves_nothing_and_says_why() -> None:
    found = chosen({f"d/t{i}/0": binary(4, tool="transfer") for i in range(5)})
    assert not found.kept and set(found.rejected.values()) == {"terminal_share"}


def test_the_shares_hold_together_and_no_larger_set_meets_them() -> None:
    sizes = {"transfer": 9, "a": 30, "b": 12, "c": 11}
    names = [tool for tool, n in sizes.items() for _ in range(n)]
    profiles = {f"d/t{i}/0": binary(4, tool=tool) for i, tool in enumerate(names)}
    kept = Counter(
        p.profile.demonstrated_tool
        for p in chosen(profiles, max_share_per_tool=0.4, max_share_terminal=0.1).kept
        if p.profile
    )

    def allowed(counts: tuple[int, ...]) -> bool:
        total = sum(counts)
        return counts[0] <= 0.1 * total and all(n <= 0.4 * total for n in counts)

    best = max(sum(counts) for counts in itertools.product(*(range(n + 1) for n in sizes.values())) if allowed(counts))
    assert kept.total() == best and allowed(tuple(kept[tool] for tool in sizes))


def test_a_million_candidates_with_shares_take_no_quadratic_time() -> None:
    profiles = dict.fromkeys((f"d/t{i}/0" for i in range(20_000)), binary(4, tool="transfer"))
    assert not chosen(profiles).kept


def test_the_random_control_is_as_large_as_what_the_same_fields_keep() -> None:
    profiles = {f"d/t{i}/0": binary(i % 17) for i in range(340)}
    fields: dict[str, Any] = {"target_rate": 0.5, "top_variance": 50}
    control = chosen(profiles, random_control=True, **fields)
    assert len(control.kept) == len(chosen(profiles, **fields).kept) == 50
    assert {p.profile.mean for p in control.kept if p.profile} & {0.0, 1.0}
    figures = report(control)
    assert figures.random_control and lines(figures)[0].endswith("drawn at random as a control")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target_rate": 1.5}, "target_rate is 1.5; expected a number between 0 and 1"),
        ({"band": -0.1}, "band is -0.1"),
        ({"std_threshold": float("nan")}, "std_threshold is nan"),
        ({"lambda_diff": float("nan")}, "lambda_diff is nan"),
        ({"top_variance": 0}, "top_variance is 0; expected at least 1, or None for all"),
        ({"max_share_terminal": 0}, "max_share_terminal is 0; expected a share above 0, at most 1, or None"),
        ({"max_share_per_tool": 7}, "max_share_per_tool is 7"),
        ({"min_successes": -1}, "min_successes is -1; expected at least 0"),
    ],
)
def test_senseless_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SelectorConfig(**fields)


def test_helpdesk_and_profiles_name_the_calls_that_end_an_episode() -> None:
    desk = get_domain("tau2", "helpdesk")
    assert isinstance(desk, Terminating) and list(desk.terminal_tools) == ["transfer_to_human"]
    scorer = Adder()
    assert "terminal_tools" not in provenance(scorer, coins({}), ProfileConfig())  # type: ignore[arg-type]


# ---- missing and early-stopped profiles


def test_a_missing_repetition_is_refused_and_an_early_stopped_profile_is_not() -> None:
    with pytest.raises(ConfigError, match="profile of d/a/1 has 15 rollouts of K 16 and calls itself whole"):
        select({"d/a/0": binary(3), "d/a/1": replace(binary(3, 15), provenance=MADE)})
    with pytest.raises(ConfigError, match="has 16 rollouts of K 16 and calls itself stopped early"):
        select({"d/a/1": replace(binary(3), stopped_early=True)})
    assert turns(select({"d/a/1": early(1, 7), "d/a/2": early(10, 0)})) == [1]


def test_an_early_stopped_profile_has_no_mean_and_stands_in_no_bin() -> None:
    assert (early(1, 7).mean, early(1, 7).variance) == (None, None)
    figures = report(select({"d/a/1": early(1, 7), "d/a/2": early(10, 0), "d/a/3": binary(0)}))
    assert figures.stopped_early == 2 and sum(figures.histogram.values()) == 1
    assert figures.dead_share == pytest.approx(2 / 3) and figures.rollouts == 34
    assert any("stopped early: 2 profiles" in line for line in lines(figures))


@pytest.mark.parametrize("fields", [{"lambda_diff": 0.25}, {"min_successes": 3}, {"lambda_diff": 0.7}])
def test_a_selector_that_what_was_drawn_does_not_decide_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"stopped after \d+ of K 16 rollouts because lambda_diff.*adaptive 'off'"):
        chosen({"d/a/1": early(1, 7), "d/a/2": early(10, 1)}, **fields)


@pytest.mark.parametrize("fields", [{"top_variance": 1}, {"one_per_trajectory": True}])
def test_variances_are_not_asked_of_early_stopped_profiles(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="d/a/1 was stopped early and has none"):
        chosen({"d/a/1": early(1, 7)}, **fields)


# ---- exact curtailment


@pytest.mark.parametrize(
    "fields",
    [{}, {"lambda_diff": 0.25}, {"lambda_diff": 1.0}, {"keep_all_zero": True}, {"min_successes": 3},
     {"min_successes": 3, "keep_all_zero": True}],
)  # fmt: skip
def test_curtailment_agrees_with_every_way_in_which_the_rollouts_left_may_end(fields: dict[str, Any]) -> None:
    k, config = 6, SelectorConfig(**fields)
    table = Curtailment(config, k)
    for drawn in range(k + 1):
        for rewards in itertools.product((1.0, 0.0, None), repeat=drawn):
            counts = rewards.count(1.0), rewards.count(0.0), rewards.count(None)
            ends = {rejection(whole([*rewards, *rest]), config) for rest in itertools.product(
                (1.0, 0.0, None), repeat=k - drawn)}  # fmt: skip
            assert table.reasons(*counts) == ends
            assert table.is_decided(*counts) == (ends == {""} or "" not in ends)
            assert (table.draws_needed(*counts) == 0) == (table.is_decided(*counts) or drawn == k)


def whole(rewards: list[float | None]) -> Profile:
    names = {1.0: "accepted", 0.0: "rejected", None: "failed"}
    return Profile(tuple(rewards), tuple(names[r] for r in rewards), {})


def test_with_k_16_and_lambda_06_eight_are_drawn_at_once_and_the_tenth_success_ends_it() -> None:
    table = curtailment(SelectorConfig(), 16)
    assert table.draws_needed(0, 0, 0) == 8
    assert table.reasons(1, 7, 0) == {""} and not table.is_decided(0, 15, 0)
    assert table.reasons(10, 1, 0) == {"mean_too_high"}
    assert table.reasons(10, 0, 0) == {"mean_too_high", "all_equal_one"} <= set(REJECTIONS)
    with pytest.raises(ConfigError, match="k is 129; exact stopping is offered for k up to 128"):
        Curtailment(SelectorConfig(), 129)


# ---- exact adaptive profiling


def coins(chances: dict[str, float], seed: int = 0) -> ScriptedPolicy:
    """Right with the chance of the candidate; the k-th draw depends on seed, candidate and k alone."""

    def write(prompt: Prompt, rng: random.Random) -> str:
        return encode(demonstration(prompt.prompt_id)) if rng.random() < chances[prompt.prompt_id] else "{}"

    return ScriptedPolicy(write, name="coins", fingerprint=f"c{seed}")


def mixture(scorer: Adder, seed: int) -> dict[str, float]:
    """A third never solved, nearly a half always, the rest anywhere: 71 % dead, as the paper says of random turns."""
    rng = random.Random(seed)
    return {i: rng.choices((0.0, 1.0, rng.random()), (0.26, 0.45, 0.29))[0] for i in scorer.ids()}


def both(tmp_path: Path, seed: int, scorer: Adder | None = None, **fields: Any) -> tuple[Any, Any, SelectorConfig]:
    scorer = scorer or Adder(trajectories=3, turns=12)
    decided = {name: fields[name] for name in ("lambda_diff", "min_successes", "keep_all_zero") if name in fields}
    policy = coins(mixture(scorer, seed), seed)
    found = []
    for mode in ("off", "exact"):
        path = tmp_path / f"{mode}-{seed}.jsonl"
        profile(scorer, policy, ProfileConfig(seed=seed, adaptive=mode, **fields), path)  # type: ignore[arg-type]
        found.append(read_profiles(path))
    return *found, SelectorConfig(**decided)


@pytest.mark.parametrize(
    "fields",
    [{}, {"k": 8}, {"lambda_diff": 0.25}, {"lambda_diff": 1.0, "k": 8}, {"min_successes": 2}, {"keep_all_zero": True}],
)
def test_exact_selects_as_full_k_on_every_seed_from_fewer_rollouts(tmp_path: Path, fields: dict[str, Any]) -> None:
    drawn = Counter[str]()
    for seed in range(6):
        full, stopped, config = both(tmp_path, seed, **fields)
        one, other = select(full.profiles, config), select(stopped.profiles, config)
        assert [p.pivot_id for p in one.kept] == [p.pivot_id for p in other.kept]
        for candidate_id, profiled in stopped.profiles.items():
            assert full.profiles[candidate_id].rewards[: len(profiled.rewards)] == profiled.rewards
            assert profiled.stopped_early == (len(profiled.rewards) < len(full.profiles[candidate_id].rewards))
        drawn.update(full=full.outcomes.total(), stopped=stopped.outcomes.total())
    assert drawn["stopped"] < drawn["full"]


def test_exact_draws_less_than_four_fifths_of_16_in_the_mixture(tmp_path: Path) -> None:
    shares = []
    for seed in range(4):
        full, stopped, _ = both(tmp_path, seed)
        assert full.cost["rollouts"] == full.outcomes.total() and stopped.cost["rollouts"] == stopped.outcomes.total()
        shares.append(stopped.outcomes.total() / full.outcomes.total())
    assert 0.65 < sum(shares) / len(shares) <= 0.80


def test_exact_selects_as_full_k_where_samples_are_lost_and_verdicts_abstain(tmp_path: Path) -> None:
    def spoil(pivot_id: str, call: int) -> Verdict | None:
        return Verdict("abstained", None, "rules", "cannot say") if pivot_id.endswith("/2") else None

    for seed in range(5):
        full, stopped, config = both(tmp_path, seed, Adder(3, 12, spoil=spoil))
        kept = [[p.pivot_id for p in select(found.profiles, config).kept] for found in (full, stopped)]
        assert kept[0] == kept[1] and kept[0]


def test_graded_rewards_are_never_stopped_early(tmp_path: Path) -> None:
    graded = Adder(spoil=lambda pivot_id, call: Verdict("rejected", 0.5, "rules", "half"))
    policy = coins(mixture(graded, 0))
    path = tmp_path / "p.jsonl"
    assert profile(graded, policy, ProfileConfig(adaptive="exact"), path).stopped_early == 0  # type: ignore[arg-type]
    assert {len(one.rewards) for one in read_profiles(path).profiles.values()} == {16}


def test_an_exact_run_is_resumed_only_as_such_and_is_written_down(tmp_path: Path) -> None:
    scorer, path = Adder(), tmp_path / "p.jsonl"
    policy = coins(mixture(scorer, 0))
    summary = profile(scorer, policy, ProfileConfig(adaptive="exact"), path)  # type: ignore[arg-type]
    assert summary.stopped_early > 0 and summary.rollouts < 18 * 16
    assert read_profiles(path).provenance["adaptive"] == {
        "adaptive": "exact", "lambda_diff": 0.6, "min_successes": 1, "keep_all_zero": False
    }  # fmt: skip
    again = profile(scorer, policy, ProfileConfig(adaptive="exact"), path)  # type: ignore[arg-type]
    assert (again.resumed, again.stopped_early) == (6, summary.stopped_early)
    with pytest.raises(FingerprintMismatch, match=r"adaptive.adaptive was 'exact'"):
        profile(scorer, policy, ProfileConfig(), path)  # type: ignore[arg-type]
    with pytest.raises(FingerprintMismatch, match=r"adaptive.lambda_diff was 0.6 .* is 0.5 now"):
        profile(scorer, policy, ProfileConfig(adaptive="exact", lambda_diff=0.5), path)  # type: ignore[arg-type]


def test_a_file_with_a_repetition_missing_is_refused_with_line_field_and_remedy(tmp_path: Path) -> None:
    scorer, path = Adder(), tmp_path / "p.jsonl"
    policy = coins(mixture(scorer, 0))
    profile(scorer, policy, ProfileConfig(k=4), path)  # type: ignore[arg-type]
    head, first, *rest = path.read_text().splitlines(keepends=True)
    row = json.loads(first)
    for name in ("rewards", "outcomes", "tools"):
        del row["candidates"][1]["profile"][name][2]
    path.write_text(head + json.dumps(row) + "\n" + "".join(rest))
    with pytest.raises(RecordError, match=r"p.jsonl, line 2, field 'candidates.1.profile.rewards': turn 1 has 3 "
                       r"rollouts, expected 4: .* Remove the line and run `pivot-envs profile` again"):  # fmt: skip
        read_profiles(path)
    path.write_text(head + "".join(rest))
    again = profile(scorer, policy, ProfileConfig(k=4), path)  # type: ignore[arg-type]
    assert (again.resumed, again.trajectories) == (5, 6)


def test_a_dead_policy_still_stops_an_exact_run(tmp_path: Path) -> None:
    def crash(prompt: Prompt, rng: random.Random) -> str:
        raise ZeroDivisionError

    with pytest.raises(PolicyError, match="rollouts failed"):
        policy = ScriptedPolicy(crash, name="x", fingerprint="1")
        profile(Adder(), policy, ProfileConfig(adaptive="exact"), tmp_path / "p.jsonl")  # type: ignore[arg-type]

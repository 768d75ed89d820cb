"""Eq. 5, the random control, `pivots.jsonl` and the report, against fixed numbers."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pivot_envs.errors import ConfigError, FingerprintMismatch, RecordError
from pivot_envs.pivots import (
    PivotHeader,
    make_header,
    read_pivots,
    select,
    write_pivots,
)
from pivot_envs.records import Pivot, Profile
from pivot_envs.selection import false_pivots, histogram, lines, report, selection_chance
from pivot_envs.selectors import REJECTIONS, SelectorConfig, main_tool, rejection

PROVENANCE = {"domain": "d", "k": 16, "policy_fingerprint": "p1", "verifier_hash": "v1", "sampling": {"top_p": 1.0}}


def binary(successes: int, k: int = 16, tool: str = "t", provenance: dict[str, Any] | None = None) -> Profile:
    """A complete profile with so many accepted rollouts."""
    made_with = PROVENANCE | {"k": k} if provenance is None else provenance
    rewards = (1.0,) * successes + (0.0,) * (k - successes)
    outcomes = ("accepted",) * successes + ("rejected",) * (k - successes)
    return Profile(rewards, outcomes, made_with, (tool,) * k)


def ladder(k: int) -> dict[str, Profile]:
    """One profile for each number of successes, which is its turn."""
    return {f"d/a/{n}": binary(n, k) for n in range(k + 1)}


def kept_turns(profiles: dict[str, Profile], **fields: Any) -> list[int]:
    return [pivot.turn for pivot in select(profiles, SelectorConfig(**fields)).kept]


@pytest.mark.parametrize(("lambda_diff", "most"), [(0.25, 1), (0.5, 3), (0.75, 5), (1.0, 7)])
def test_eq5_with_k_8_keeps_one_success_up_to_the_strict_bound(lambda_diff: float, most: int) -> None:
    assert kept_turns(ladder(8), lambda_diff=lambda_diff) == list(range(1, most + 1))


def test_eq5_with_k_16_and_lambda_06_keeps_1_to_9_successes_and_drops_10() -> None:
    selection = select(ladder(16))
    assert [pivot.turn for pivot in selection.kept] == list(range(1, 10))
    assert selection.rejected["d/a/10"] == "mean_too_high"


def test_a_mean_equal_to_lambda_is_dropped() -> None:
    assert rejection(binary(6, 10), SelectorConfig(lambda_diff=0.6)) == "mean_too_high"
    assert rejection(binary(3, 5), SelectorConfig(lambda_diff=0.6)) == "mean_too_high"


def test_keep_all_zero_adds_zero_and_nothing_else() -> None:
    assert kept_turns(ladder(16), keep_all_zero=True) == list(range(10))
    assert kept_turns(ladder(16), keep_all_zero=True, min_successes=2) == [0, *range(2, 10)]


def test_min_successes_counts_accepted_rollouts() -> None:
    assert kept_turns(ladder(16), min_successes=2) == list(range(2, 10))


@pytest.mark.parametrize(
    ("p", "k", "share"),
    [(0.05, 8, 33.7), (0.05, 16, 56.0), (0.6, 8, 40.5), (0.6, 16, 47.3), (0.9, 8, 0.5), (0.9, 16, 0.1)],
)
def test_selection_rates_are_the_exact_binomials_and_simulation_agrees_within_a_point(
    p: float, k: int, share: float
) -> None:
    config = SelectorConfig(lambda_diff=0.6)
    assert 100 * selection_chance(p, k, config) == pytest.approx(share, abs=0.05)
    rng = random.Random(0)
    keeps = [not rejection(binary(n, k), config) for n in range(k + 1)]
    drawn = sum(keeps[sum(rng.random() < p for _ in range(k))] for _ in range(20_000))
    assert drawn / 200 == pytest.approx(share, abs=1.0)


@pytest.mark.parametrize(
    ("fpr", "k", "min_successes", "share"),
    [
        (0.01, 8, 1, 7.7),
        (0.01, 16, 1, 14.9),
        (0.01, 16, 2, 1.1),
        (0.05, 8, 1, 34),
        (0.05, 16, 1, 56),
        (0.05, 16, 2, 19),
    ],
)
def test_unsolvable_states_pass_by_verifier_noise_as_often_as_computed(
    fpr: float, k: int, min_successes: int, share: float
) -> None:
    config = SelectorConfig(verifier_fpr=fpr, min_successes=min_successes)
    chance, _ = false_pivots({"d/a/0": binary(0, k)}, config)
    assert 100 * chance == pytest.approx(share, abs=0.05 if share % 1 else 0.5)


def test_expected_false_pivots_follow_from_the_all_zero_profiles() -> None:
    rng = random.Random(1)
    successes = [sum(rng.random() < 0.05 for _ in range(16)) for _ in range(4000)]
    profiles = {f"d/t{i}/0": binary(n) for i, n in enumerate(successes)}
    figures = report(select(profiles, SelectorConfig(verifier_fpr=0.05)))
    assert figures.expected_false_pivots == pytest.approx(figures.kept, rel=0.06)
    unstated = report(select(profiles))
    assert (unstated.false_pivot_chance, unstated.expected_false_pivots) == (0.0, 0.0)


def test_every_rejection_has_a_reason_with_a_meaning() -> None:
    none, abstained = (None,) * 9, ("abstained",) * 9
    profiles = {
        "d/a/0": binary(0),
        "d/a/1": binary(16),
        "d/a/2": replace(binary(4), rewards=(0.5,) * 16),
        "d/a/3": binary(12),
        "d/a/4": binary(1),
        "d/a/7": Profile((*none, *(1.0, 0.0) * 3, 0.0), (*("failed",) * 9, *("accepted", "rejected") * 3, "rejected"),
                         PROVENANCE, ("t",) * 16),
        "d/a/8": Profile((*none, *(1.0, 0.0) * 3, 0.0), (*abstained, *("accepted", "rejected") * 3, "rejected"),
                         PROVENANCE, ("t",) * 16),
        "d/a/9": binary(5),
    }  # fmt: skip
    selection = select(profiles, SelectorConfig(min_successes=2), excluded={"d/b/0": "context_full"})
    assert selection.rejected == {
        "d/a/0": "all_equal_zero",
        "d/a/1": "all_equal_one",
        "d/a/2": "all_equal",
        "d/a/3": "mean_too_high",
        "d/a/4": "too_few_successes",
        "d/a/7": "failed_rollouts",
        "d/a/8": "abstained_rollouts",
        "d/b/0": "context_full",
    }
    assert set(selection.rejected.values()) - {"context_full"} <= set(REJECTIONS)
    assert [pivot.pivot_id for pivot in selection.kept] == ["d/a/9"]
    assert selection.rejected_by_reason["mean_too_high"] == ["d/a/3"]


def test_a_few_failures_leave_the_mean_of_the_rest() -> None:
    profile = Profile((None, None, 1.0, 0.0), ("failed", "abstained", "accepted", "rejected"), {"k": 4}, ("t",) * 4)
    assert (profile.mean, rejection(profile, SelectorConfig())) == (0.5, "")


def test_profiles_of_another_policy_verifier_or_sampling_are_refused_with_field_values_and_remedy() -> None:
    for field, value in {"policy_fingerprint": "p2", "verifier_hash": "v2", "sampling": {"top_p": 0.9}}.items():
        other = binary(3, provenance=PROVENANCE | {field: value})
        with pytest.raises(FingerprintMismatch, match=rf"profile of d/b/0: {field}.*was .* now.*profile again"):
            select({"d/a/0": binary(3), "d/b/0": other})


def test_profiles_are_refused_where_a_named_field_is_not_as_expected() -> None:
    assert len(select({"d/a/0": binary(3)}, expected={"policy_fingerprint": "p1"}).kept) == 1
    with pytest.raises(FingerprintMismatch, match="policy_fingerprint was 'p1' .* and is 'p9' now"):
        select({"d/a/0": binary(3)}, expected={"policy_fingerprint": "p9"})
    with pytest.raises(FingerprintMismatch, match=r"weights was '\(absent\)'"):
        select({"d/a/0": binary(3)}, expected={"weights": "x"})


def test_the_random_control_is_as_large_as_eq5_drawn_from_all_complete_profiles_and_repeatable() -> None:
    rng = random.Random(2)
    profiles = {f"d/t{i}/0": binary(rng.choice((0, 0, 4, 16))) for i in range(200)}
    profiles["d/broken/0"] = Profile((None,) * 16, ("failed",) * 16, PROVENANCE, ("",) * 16)
    eq5 = select(profiles)
    control = select(profiles, SelectorConfig(random_control=True, seed=3))
    assert len(control.kept) == len(eq5.kept)
    assert {p.profile.mean for p in control.kept if p.profile} == {0.0, 0.25, 1.0}
    assert control == select(profiles, SelectorConfig(random_control=True, seed=3))
    assert control.kept != select(profiles, SelectorConfig(random_control=True, seed=4)).kept
    assert control.rejected["d/broken/0"] == "failed_rollouts"
    assert set(control.rejected.values()) == {"failed_rollouts", "not_drawn"}


def test_max_share_per_tool_keeps_as_many_as_it_can_within_the_share() -> None:
    profiles = {f"d/t{i}/0": binary(4, tool="big" if i < 80 else f"small{i % 2}") for i in range(100)}
    selection = select(profiles, SelectorConfig(max_share_per_tool=0.5))
    counts = report(selection).by_tool
    assert counts["big"] == {"candidates": 80, "kept": 20}
    assert len(selection.kept) == 40
    assert list(selection.rejected.values()) == ["tool_share"] * 60
    with pytest.raises(ConfigError, match=r"max_share_per_tool 0.2 cannot be met by 3 tools.*at least 0.333"):
        select(profiles, SelectorConfig(max_share_per_tool=0.2))


def test_a_candidates_tool_is_the_demonstrated_one_or_what_its_accepted_rollouts_call() -> None:
    profile = Profile((1.0, 0.0, 0.0), ("accepted", "rejected", "rejected"), {}, ("look_up", "close", "close"))
    assert main_tool(profile) == "look_up"
    assert main_tool(replace(profile, rewards=(0.0,) * 3, outcomes=("rejected",) * 3)) == "close"
    assert main_tool(replace(profile, demonstrated_tool="")) == ""


def test_kept_pivots_stand_in_the_order_of_trajectory_and_turn() -> None:
    profiles = {f"d/b/{turn}": binary(4) for turn in (10, 2)} | {"d/a/3": binary(4)}
    assert [pivot.pivot_id for pivot in select(profiles).kept] == ["d/a/3", "d/b/2", "d/b/10"]


def test_two_profiles_of_a_candidate_and_senseless_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="'d/a/0' has two profiles"):
        select([("d/a/0", binary(3)), ("d/a/0", binary(4))])
    with pytest.raises(ConfigError, match=r"lambda_diff is 1.5; expected a number between 0 and 1"):
        SelectorConfig(lambda_diff=1.5)


def test_nothing_in_nothing_out() -> None:
    figures = report(select({}))
    assert (figures.candidates, figures.kept, figures.kept_share, figures.alarms) == (0, 0, 0.0, ())


# ------------------------------------------------------------------------------------------------ report


def test_the_report_counts_what_was_selected() -> None:
    profiles = {
        "d/a/0": binary(0, tool=""),
        "d/a/1": binary(4, tool="pay"),
        "d/b/1": binary(9, tool="pay"),
        "d/b/2": binary(15, tool="close"),
        "d/b/3": binary(16, tool="close"),
    }
    figures = report(select(profiles, excluded={"d/c/0": "context_full"}))
    assert (figures.candidates, figures.kept, figures.kept_share) == (6, 2, pytest.approx(1 / 3))
    assert figures.dead_share == pytest.approx(2 / 5)
    expected = {"0": 1, "0.2-0.3": 1, "0.5-0.6": 1, "0.9-1.0": 1, "1": 1}
    assert {label: n for label, n in figures.histogram.items() if n} == expected
    assert figures.by_tool["pay"] == {"candidates": 2, "kept": 2}
    assert figures.by_tool["(message)"] == {"candidates": 1, "kept": 0}
    assert figures.by_turn == {0: {"candidates": 1, "kept": 0}, 1: {"candidates": 2, "kept": 2},
                               2: {"candidates": 1, "kept": 0}, 3: {"candidates": 1, "kept": 0}}  # fmt: skip
    assert figures.rejected == {"all_equal_zero": 1, "mean_too_high": 1, "all_equal_one": 1, "context_full": 1}
    assert figures.rollouts == 80 and figures.alarms == ()
    json.dumps(figures.as_dict())
    assert lines(figures)[0] == "kept 2 of 6 candidates (33.3%)"


def test_bins_take_their_lower_edge() -> None:
    counted = histogram({f"d/a/{n}": binary(n, 10) for n in range(11)})
    assert counted == {"0": 1, "0.0-0.1": 0, "1": 1} | {f"{n / 10:.1f}-{(n + 1) / 10:.1f}": 1 for n in range(1, 10)}


def test_alarms_ring_at_none_kept_more_than_half_kept_and_failures() -> None:
    [nothing] = report(select({"d/a/0": binary(0)})).alarms
    assert nothing.startswith("0 % kept")
    [most] = report(select({"d/a/0": binary(3), "d/a/1": binary(4), "d/a/2": binary(0)})).alarms
    assert "67% kept" in most and "verifier" in most
    failed = replace(binary(3), rewards=(None, *(0.0,) * 15), outcomes=("failed", *("rejected",) * 15))
    assert "rollouts failed" in report(select({"d/a/0": failed, "d/a/1": binary(2), "d/a/2": binary(0)})).alarms[-1]


# ------------------------------------------------------------------------------------------------ file

HEADER = PivotHeader(
    trajectories="trajectories.jsonl",
    trajectories_sha256="ab" * 32,
    domain="d",
    domain_fingerprint={"package": "toy", "version": "1"},
    selector={"selector": "eq5", "lambda_diff": 0.6},
    profile={"k": 2, "policy": "m"},
)
GOLDEN = """\
{"schema_version": 1, "kind": "pivots", "trajectories": "trajectories.jsonl", "trajectories_sha256": "%s", \
"domain": "d", "domain_fingerprint": {"package": "toy", "version": "1"}, \
"selector": {"selector": "eq5", "lambda_diff": 0.6}, "profile": {"k": 2, "policy": "m"}}
{"pivot_id": "d/a/3", "trajectory_id": "a", "turn": 3, "profile": {"rewards": [1.0, null], \
"outcomes": ["accepted", "abstained"], "tools": ["pay", ""]}}
{"pivot_id": "d/\\u00e4/0", "trajectory_id": "\\u00e4", "turn": 0, "profile": null}
""" % ("ab" * 32)
PIVOTS = [
    Pivot("d/a/3", "a", 3, Profile((1.0, None), ("accepted", "abstained"), {"k": 2, "policy": "m"}, ("pay", ""))),
    Pivot("d/ä/0", "ä", 0),
]


def test_the_written_file_is_the_golden_one_and_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "pivots.jsonl"
    write_pivots(path, HEADER, PIVOTS)
    assert path.read_text() == GOLDEN
    assert read_pivots(path) == (HEADER, PIVOTS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pivots.jsonl"]


def test_the_header_is_made_of_the_profiles_provenance_and_only_for_the_file_that_was_profiled(tmp_path: Path) -> None:
    source = tmp_path / "trajectories.jsonl"
    source.write_text("{}\n")
    sha = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"
    made_with = PROVENANCE | {"domain_fingerprint": {"version": "1"}, "trajectories_sha256": sha}
    header = make_header(made_with, SelectorConfig(lambda_diff=0.5), source)
    assert (header.trajectories, header.trajectories_sha256, header.domain) == ("trajectories.jsonl", sha, "d")
    assert header.selector["lambda_diff"] == 0.5 and header.profile == made_with
    write_pivots(tmp_path / "pivots.jsonl", header, select({"d/a/1": binary(3, provenance=made_with)}).kept)
    assert read_pivots(tmp_path / "pivots.jsonl")[0] == header
    source.write_text("{ }\n")
    with pytest.raises(FingerprintMismatch, match="trajectories.jsonl: trajectories_sha256 was 'ca3d"):
        make_header(made_with, SelectorConfig(), source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"schema_version": 1', '"schema_version": 2'), r"pivots.jsonl, line 1, field 'schema_version'.*reads 1"),
        (('"kind": "pivots"', '"kind": "profiles"'), r"line 1, field 'kind': kind is 'profiles', expected 'pivots'"),
        (('"domain": "d", ', ""), r"line 1, field 'domain'"),
        (('"trajectories.jsonl"', '"../../etc/passwd"'), r"line 1, field 'trajectories'"),
        (('"lambda_diff": 0.6', '"lambda_diff": NaN'), r"line 1: .*NaN"),
        (('"turn": 3', '"turn": "3"'), r"line 2, field 'turn'"),
        (('"turn": 3', '"turn": 3, "colour": 1'), r"line 2, field 'colour'"),
        (('"turn": 3', '"turn": 4'), r"line 2, field 'pivot_id': 'd/a/3' does not fit.*expected 'd/a/4'"),
        (('"turn": 3', '"turn": 3, "turn": 3'), r"line 2: .*stands twice"),
        (("[1.0, null]", "[1.0, 0.0]"), r"line 2, field 'profile': outcome abstained with reward 0.0"),
        (("[1.0, null]", "[7.0, null]"), r"line 2, field 'profile': outcome accepted with reward 7.0"),
        (("[1.0, null]", "[0.0, null]"), r"line 2, field 'profile': outcome accepted with reward 0.0"),
        (("[1.0, null]", "[1.0]"), r"line 2, field 'profile': rewards, outcomes and tools have 1, 2 and 2"),
        (("[1.0, null]", "[1e999, null]"), r"line 2"),
        (('"accepted"', '"won"'), r"line 2, field 'profile.outcomes.0'"),
        (('"turn": 3', '"turn": 3, "x": ' + "[" * 200_000), r"line 2"),
        (('"turn": 3', '"turn": ' + "9" * 5000), r"line 2"),
    ],
)
def test_a_broken_file_is_refused_with_file_line_and_field(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = tmp_path / "pivots.jsonl"
    assert change[0] in GOLDEN
    path.write_text(GOLDEN.replace(*change, 1))
    with pytest.raises(RecordError, match=message):
        read_pivots(path)


def test_other_things_that_are_no_pivot_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pivots.jsonl"
    with pytest.raises(ConfigError, match=r"no pivot file .*pivots.jsonl.*pivot-envs select"):
        read_pivots(path)
    for content in (b"", b"\xff\xfe\n", b"[]\n", b"null", GOLDEN.encode()[:-20]):
        path.write_bytes(content)
        with pytest.raises(RecordError, match="pivots.jsonl, line"):
            read_pivots(path)
    path.write_text(GOLDEN + GOLDEN.splitlines()[1] + "\n")
    with pytest.raises(RecordError, match="line 4, field 'pivot_id': pivot 'd/a/3' stands there twice"):
        read_pivots(path)


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "pivots.jsonl"
    path.write_text("old\n")
    with pytest.raises(FingerprintMismatch, match="pivot d/a/3: policy was 'm'"):
        write_pivots(path, replace(HEADER, profile={"k": 2, "policy": "n"}), PIVOTS)
    with pytest.raises(RecordError, match="field 'pivot_id'"):
        write_pivots(path, HEADER, [Pivot("d/a/1", "a", 2)])
    with pytest.raises(RecordError, match="field 'trajectories_sha256'"):
        write_pivots(path, replace(HEADER, trajectories_sha256="?"), [])
    assert path.read_text() == "old\n"

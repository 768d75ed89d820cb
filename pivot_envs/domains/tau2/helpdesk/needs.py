"""The twelve intents: what a customer may need, what breaks or is booked beforehand, and what solves it.

`plan_need` turns (intent, mode) into a need for one customer and line, or None where the data does not allow it.
Assertions and facts are written from the intent, not from the reference actions, so that executing these proves them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pivot_envs.domains.tau2.helpdesk.data import PLANS, Draw, Tables

MONTH_NAMES = {"2025-05": "May", "2025-04": "April", "2025-03": "March"}
FAULTS = ("loose_cable", "hung_router", "wifi_off", "bad_dns", "stuck_port", "book_visit")
"""Needs that start from a fault at the line."""

TEXTS: dict[str, tuple[str, str, str]] = {
    "change_plan": (
        "I would like to switch to the {plan} plan.",
        "Could you move my line to the {plan} plan?",
        "Please put me on {plan} from now on.",
    ),
    "outage_credit": (
        "I want a credit for the outage we had.",
        "We were offline during the outage in our area, and I think I should get some money back.",
        "What about a refund for the outage?",
    ),
    "outage_credit_over": (
        "I want {asked} euro back for the outage we had.",
        "We were offline during the outage and I expect {asked} euro for it.",
        "What about a refund of {asked} euro for the outage?",
    ),
    "invoice_query": (
        "How much was my invoice for {month_name}?",
        "I lost my {month_name} bill, what was the amount?",
        "Can you tell me what I was charged in {month_name}?",
    ),
    "book_visit": (
        "My internet has been completely dead since yesterday.",
        "There is no connection at all any more at my place.",
        "Nothing works, the line is down since last night.",
    ),
    "cancel_visit": (
        "I do not need the technician any more, please cancel the visit.",
        "The technician's visit can be cancelled.",
        "I have a visit booked and want to call it off.",
    ),
    "move_visit": (
        "I will not be at home for the technician, so I need another day for the visit.",
        "Could the technician's visit be moved to another day?",
        "The booked visit does not suit me any more, I need a new date.",
    ),
    "loose_cable": (
        "My internet is completely dead since this morning.",
        "I moved the furniture and now there is no connection at all.",
        "The line seems down, nothing loads on any machine.",
    ),
    "hung_router": (
        "My internet has become awfully slow.",
        "Everything crawls here since the weekend.",
        "The speed is nowhere near what I pay for.",
    ),
    "wifi_off": (
        "My phone and my laptop do not find the wireless network.",
        "The name of our wireless network has vanished from all our devices.",
        "There is no wireless signal in the house any more.",
    ),
    "bad_dns": (
        "I am connected, but no page opens.",
        "The browser says that names cannot be resolved.",
        "All pages fail with a name error since I changed some settings.",
    ),
    "stuck_port": (
        "My internet went dead and did not come back.",
        "No connection at all here, since the storm.",
        "We are offline and the lights look odd.",
    ),
    "router_check": (
        "I bought the house with the router in it and want to know whether it is the right one.",
        "Is the router here the one you have on file for me?",
        "I got a letter about router exchanges, please check whether mine is the registered one.",
    ),
}
INTENTS = tuple(name for name in TEXTS if name != "outage_credit_over")


@dataclass
class Plan:
    """A need being worked out for one customer and line."""

    need: dict[str, Any]
    setup: list[list[Any]] = field(default_factory=list)
    """Rows (table, key, fields) applied when the session opens."""
    reference: list[list[Any]] = field(default_factory=list)
    """Rows (requestor, tool, arguments)."""
    assertions: list[list[Any]] = field(default_factory=list)
    """Rows (table/key, fields): what the records must hold at the end; other fields keep their start values."""
    facts: list[str] = field(default_factory=list)
    """What the agent has to tell."""


def plan_need(tables: Tables, draw: Draw, intent: str, mode: str, customer: str, line: str) -> Plan | None:
    """Return the need of one customer, or None if the data does not allow it for this line."""
    record = tables["lines"][line]
    if record["status"] != "active" or (intent in FAULTS and _outage(tables, record["area"], "ongoing")):
        return None
    plan = Plan({"intent": intent, "mode": mode})
    builder = _BUILDERS.get(intent, _fault)
    if not builder(tables, draw, plan, customer, line):
        return None
    key = "outage_credit_over" if mode.startswith("over") else intent
    values = {k: v for k, v in plan.need.items() if isinstance(v, (str, int))}
    plan.need["texts"] = [text.format(**values) for text in TEXTS[key]]
    plan.need.update(assertions=plan.assertions, facts=plan.facts)
    return plan


def _change_plan(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    record = tables["lines"][line]
    options = [p for p in PLANS if p != record["plan"] and PLANS[p] <= PLANS[record["fastest"]]]
    wanted = draw.pick(options)
    mine = [key for key, invoice in tables["invoices"].items() if invoice["line"] == line]
    if any(tables["invoices"][key]["status"] == "open" for key in mine):
        return False
    plan.need.update(plan=wanted, price=PLANS[wanted])
    if plan.need["mode"] == "blocked":
        plan.setup.append(["invoices", mine[0], {"status": "open"}])
        plan.facts.append(str(tables["invoices"][mine[0]]["amount"]))
        return True
    plan.facts.append(str(PLANS[wanted]))
    if plan.need["mode"] == "normal":
        arguments = {"customer_id": customer, "line_id": line, "plan": wanted}
        plan.reference.append(["assistant", "change_plan", arguments])
        plan.assertions.append([f"lines/{line}", {"plan": wanted}])
    return True


def _outage_credit(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    area, mode = tables["lines"][line]["area"], plan.need["mode"]
    outage = _outage(tables, area, "ended")
    if mode == "none_human":
        if outage or _outage(tables, area, "ongoing"):
            return False
    elif not outage:
        return False
    if mode.startswith("over"):
        plan.need["asked"] = 25 + 5 * draw.below(6)
    if mode.endswith("human"):
        _transfer(plan, "customer_request")
        return True
    assert outage is not None
    amount = min(20, tables["outages"][outage]["hours"])
    plan.need.update(outage=outage, day=tables["outages"][outage]["day"], amount=amount)
    credit = {"customer": customer, "line": line, "outage": outage, "amount": amount}
    arguments = {"customer_id": customer, "line_id": line, "outage_id": outage, "amount": amount}
    plan.reference.append(["assistant", "issue_credit", arguments])
    plan.assertions.append([f"credits/K-{customer}-1", credit])
    plan.facts.append(str(amount))
    return True


def _invoice_query(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    mine = [invoice for invoice in tables["invoices"].values() if invoice["line"] == line]
    invoice = draw.pick(mine)
    plan.need.update(month=invoice["month"], month_name=MONTH_NAMES[invoice["month"]], amount=invoice["amount"])
    plan.facts.append(str(invoice["amount"]))
    plan.reference.append(["assistant", "list_invoices", {"customer_id": customer}])
    return True


def _free_slots(tables: Tables, line: str) -> list[str]:
    area = tables["lines"][line]["area"]
    return [key for key, slot in tables["slots"].items() if slot["area"] == area and slot["visit"] is None]


def _prefer(tables: Tables, plan: Plan, slot: str) -> None:
    plan.need.update(slot=slot, day=tables["slots"][slot]["day"], part=tables["slots"][slot]["part"])


def _propose(plan: Plan, customer: str, line: str, slot: str, n: int) -> None:
    visit = f"V-{customer}-{n}"
    arguments = {"customer_id": customer, "line_id": line, "slot_id": slot}
    plan.reference.append(["assistant", "schedule_visit", arguments])
    plan.reference.append(["user", "accept_visit", {"visit_id": visit}])
    record = {"customer": customer, "line": line, "slot": slot, "status": "accepted"}
    plan.assertions.append([f"visits/{visit}", record])
    plan.assertions.append([f"slots/{slot}", {"visit": visit}])


def _book_visit(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    slot = draw.pick(_free_slots(tables, line))
    _prefer(tables, plan, slot)
    plan.setup.append(["lines", line, {"fibre": "damaged"}])
    plan.reference.append(["user", "check_lights", {}])
    plan.reference.append(["user", "replug_cable", {"cable": "fibre"}])
    _propose(plan, customer, line, slot, 1)
    return True


def _booked(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> str:
    """Set a visit up, and plan its cancelling. Return the slot it holds."""
    visit, slot = f"V-{customer}-1", draw.pick(_free_slots(tables, line))
    record = {"customer": customer, "line": line, "slot": slot, "status": "accepted"}
    plan.setup.append(["visits", visit, record])
    plan.setup.append(["slots", slot, {"visit": visit}])
    plan.reference.append(["assistant", "cancel_visit", {"customer_id": customer, "visit_id": visit}])
    plan.assertions.append([f"visits/{visit}", {"status": "cancelled"}])
    plan.assertions.append([f"slots/{slot}", {"visit": None}])
    return slot


def _cancel_visit(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    _booked(tables, draw, plan, customer, line)
    return True


def _move_visit(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    held = _booked(tables, draw, plan, customer, line)
    slot = draw.pick([key for key in _free_slots(tables, line) if key != held])
    _prefer(tables, plan, slot)
    _propose(plan, customer, line, slot, 2)
    return True


def _fault(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    broken, step, healed = _FAULTS[plan.need["intent"]]
    plan.setup.append(["devices", line, broken])
    plan.reference += [["user", "check_lights", {}], ["user", *step], ["user", "run_speed_test", {}]]
    plan.assertions.append([f"devices/{line}", healed])
    return True


_FAULTS: dict[str, tuple[dict[str, Any], list[Any], dict[str, Any]]] = {
    "loose_cable": ({"fibre": "loose"}, ["replug_cable", {"cable": "fibre"}], {"fibre": "seated"}),
    "hung_router": ({"state": "hung"}, ["reboot_router", {}], {"state": "ok"}),
    "wifi_off": ({"wifi": False}, ["toggle_wifi", {"on": True}], {"wifi": True}),
    "bad_dns": ({"dns": "manual"}, ["set_dns", {"server": "automatic"}], {"dns": "automatic"}),
}


def _stuck_port(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    plan.setup.append(["lines", line, {"port": "stuck"}])
    plan.reference += [
        ["assistant", "reset_port", {"customer_id": customer, "line_id": line}],
        ["user", "reboot_router", {}],
        ["user", "run_speed_test", {}],
    ]
    plan.assertions += [[f"lines/{line}", {"port": "ok"}], [f"devices/{line}", {"state": "ok"}]]
    return True


def _router_check(tables: Tables, draw: Draw, plan: Plan, customer: str, line: str) -> bool:
    plan.reference.append(["user", "read_serial", {}])
    if plan.need["mode"] == "mismatch":
        other = f"R{1000 + draw.below(9000)}"
        plan.setup.append(["devices", line, {"serial": other}])
        _transfer(plan, "router_mismatch")
        return bool(other != tables["lines"][line]["serial"])
    plan.facts.append(tables["lines"][line]["serial"])
    return True


def _transfer(plan: Plan, reason: str) -> None:
    arguments = {"reason": reason, "summary": f"{plan.need['intent']}: needs a person"}
    plan.reference.append(["assistant", "transfer_to_human", arguments])
    plan.assertions.append(["cases/T-1", {"reason": reason}])


def _outage(tables: Tables, area: str, status: str) -> str | None:
    found = (k for k, o in tables["outages"].items() if o["area"] == area and o["status"] == status)
    return next(found, None)


_BUILDERS = {
    "change_plan": _change_plan,
    "outage_credit": _outage_credit,
    "invoice_query": _invoice_query,
    "book_visit": _book_visit,
    "cancel_visit": _cancel_visit,
    "move_visit": _move_visit,
    "stuck_port": _stuck_port,
    "router_check": _router_check,
}

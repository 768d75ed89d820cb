"""The agent's twelve tools: what each reads or writes in the provider's records.

Arguments arrive checked for type. A write checks its conditions first and stores copies, so a refusal changes nothing.
"""

from __future__ import annotations

from typing import Any

from pivot_envs.domains.tau2.helpdesk.arguments import Refusal, show
from pivot_envs.domains.tau2.helpdesk.data import PLANS, TODAY
from pivot_envs.domains.tau2.overlay import Table

Tables = dict[str, Table]
MAX_CREDIT = 20
"""Euro for one outage (policy rule 5)."""


def find_customer_by_phone(tables: Tables, phone: str) -> dict[str, Any]:
    """Digits decide; blanks and dashes do not."""
    wanted = "".join(ch for ch in phone if ch in "0123456789")
    for key, record in tables["customers"].items():
        if record["phone"].replace("-", "") == wanted:
            return {"customer_id": key, "name": record["name"]}
    raise Refusal(f"no customer has the phone number {show(phone)}")


def find_customer_by_email(tables: Tables, email: str) -> dict[str, Any]:
    """Letter case and outer blanks do not count."""
    wanted = email.strip().lower()
    for key, record in tables["customers"].items():
        if record["email"] == wanted:
            return {"customer_id": key, "name": record["name"]}
    raise Refusal(f"no customer has the e-mail address {show(email)}")


def get_account(tables: Tables, customer_id: str) -> dict[str, Any]:
    """The customer with lines, open visits and credits."""
    record = _customer(tables, customer_id)
    visits = [
        {"visit_id": key, **{k: visit[k] for k in ("line", "slot", "status")}, **_day(tables, visit["slot"])}
        for key, visit in tables["visits"].items()
        if visit["customer"] == customer_id and visit["status"] != "cancelled"
    ]
    credits = [
        {"credit_id": key, "line": credit["line"], "outage": credit["outage"], "amount": credit["amount"]}
        for key, credit in tables["credits"].items()
        if credit["customer"] == customer_id
    ]
    lines = [
        {"line_id": key, "plan": tables["lines"].peek(key)["plan"], "status": tables["lines"].peek(key)["status"]}
        for key in record["lines"]
    ]
    shown = {k: record[k] for k in ("name", "phone", "email", "street", "area")}
    return {"customer_id": customer_id, **shown, "lines": lines, "visits": visits, "credits": credits}


def get_line(tables: Tables, line_id: str) -> dict[str, Any]:
    """The line with its port, signal and the free visit slots of its area."""
    record = tables["lines"].peek(line_id)
    if record is None:
        raise Refusal(f"line {show(line_id)} does not exist")
    device = tables["devices"].peek(line_id)
    lost = record["port"] == "stuck" or record["fibre"] == "damaged" or device["fibre"] == "loose"
    visit = _open_visit(tables, line_id)
    slots = [
        {"slot_id": key, "day": slot["day"], "part": slot["part"]}
        for key, slot in tables["slots"].items()
        if slot["area"] == record["area"] and slot["visit"] is None
    ]
    shown = {k: record[k] for k in ("customer", "area", "plan", "fastest", "status", "port")}
    return {
        "line_id": line_id, **shown, "price": PLANS[record["plan"]], "signal": "lost" if lost else "ok",
        "serial": record["serial"], "visit": visit, "free_slots": slots,
    }  # fmt: skip


def list_invoices(tables: Tables, customer_id: str) -> dict[str, Any]:
    """All invoices of the customer, newest month first."""
    _customer(tables, customer_id)
    found = [
        {"invoice_id": key, **{k: record[k] for k in ("line", "month", "amount", "status")}}
        for key, record in tables["invoices"].items()
        if record["customer"] == customer_id
    ]
    return {"customer_id": customer_id, "invoices": found}


def get_outage(tables: Tables, area: str) -> dict[str, Any]:
    """Outages of an area, ended or not."""
    found = [
        {"outage_id": key, **{k: record[k] for k in ("day", "hours", "status")}}
        for key, record in tables["outages"].items()
        if record["area"].lower() == area.strip().lower()
    ]
    return {"area": area.strip().title(), "outages": found}


def change_plan(tables: Tables, customer_id: str, line_id: str, plan: str) -> dict[str, Any]:
    """Put a line on another plan."""
    record = _own_active_line(tables, customer_id, line_id)
    if record["plan"] == plan:
        raise Refusal(f"line {line_id} is on plan {plan!r} already")
    if PLANS[plan] > PLANS[record["fastest"]]:
        raise Refusal(f"plan {plan!r} is not available on line {line_id}; the fastest there is {record['fastest']!r}")
    for key, invoice in tables["invoices"].items():
        if invoice["line"] == line_id and invoice["status"] == "open":
            raise Refusal(f"line {line_id} has the open invoice {key} of {invoice['amount']}; it must be paid first")
    tables["lines"][line_id] = {**record, "plan": plan}
    return {"line_id": line_id, "plan": plan, "price": PLANS[plan]}


def issue_credit(tables: Tables, customer_id: str, line_id: str, outage_id: str, amount: float) -> dict[str, Any]:
    """Credit an ended outage, one euro for each hour at most."""
    record = _own_active_line(tables, customer_id, line_id)
    outage = tables["outages"].peek(outage_id)
    if outage is None:
        raise Refusal(f"outage {show(outage_id)} does not exist")
    if outage["area"] != record["area"]:
        raise Refusal(f"outage {outage_id} was in {outage['area']}; line {line_id} is in {record['area']}")
    if outage["status"] != "ended":
        raise Refusal(f"outage {outage_id} is {outage['status']}; credit needs one that has ended")
    limit = min(MAX_CREDIT, outage["hours"])
    if not 0 < amount <= limit:
        raise Refusal(f"amount {show(amount)} is not in 1..{limit} (1 for each of {outage['hours']} hours, at most 20)")
    for key, credit in tables["credits"].items():
        if credit["line"] == line_id and credit["outage"] == outage_id:
            raise Refusal(f"line {line_id} has the credit {key} for outage {outage_id} already")
    credit_id = _next_id(tables["credits"], "K", customer_id)
    tables["credits"][credit_id] = {
        "customer": customer_id, "line": line_id, "outage": outage_id, "amount": amount,
    }  # fmt: skip
    return {"credit_id": credit_id, "amount": amount}


def schedule_visit(tables: Tables, customer_id: str, line_id: str, slot_id: str) -> dict[str, Any]:
    """Propose a technician's visit; the customer accepts it in the app."""
    record = _own_active_line(tables, customer_id, line_id)
    slot = tables["slots"].peek(slot_id)
    if slot is None:
        raise Refusal(f"slot {show(slot_id)} does not exist")
    if slot["area"] != record["area"]:
        raise Refusal(f"slot {slot_id} is in {slot['area']}; line {line_id} is in {record['area']}")
    if slot["visit"] is not None:
        raise Refusal(f"slot {slot_id} is taken")
    if (visit := _open_visit(tables, line_id)) is not None:
        raise Refusal(f"line {line_id} has the open visit {visit} already")
    visit_id = _next_id(tables["visits"], "V", customer_id)
    tables["visits"][visit_id] = {"customer": customer_id, "line": line_id, "slot": slot_id, "status": "proposed"}
    tables["slots"][slot_id] = {**slot, "visit": visit_id}
    return {"visit_id": visit_id, "slot": slot_id, **_day(tables, slot_id), "status": "proposed"}


def cancel_visit(tables: Tables, customer_id: str, visit_id: str) -> dict[str, Any]:
    """Cancel an open visit and free its slot."""
    _customer(tables, customer_id)
    visit = tables["visits"].peek(visit_id)
    if visit is None:
        raise Refusal(f"visit {show(visit_id)} does not exist")
    if visit["customer"] != customer_id:
        raise Refusal(f"visit {visit_id} does not belong to customer {customer_id}")
    if visit["status"] == "cancelled":
        raise Refusal(f"visit {visit_id} is cancelled already")
    slot = tables["slots"].peek(visit["slot"])
    if slot["day"] <= TODAY:
        raise Refusal(f"visit {visit_id} is on {slot['day']}; it can be cancelled before that day only")
    if slot["visit"] != visit_id:
        raise Refusal(f"slot {visit['slot']} is not held by visit {visit_id}")
    tables["visits"][visit_id] = {**visit, "status": "cancelled"}
    tables["slots"][visit["slot"]] = {**slot, "visit": None}
    return {"visit_id": visit_id, "status": "cancelled"}


def reset_port(tables: Tables, customer_id: str, line_id: str) -> dict[str, Any]:
    """Reset the provider's end of a line. The router has to reboot afterwards."""
    record = _own_active_line(tables, customer_id, line_id)
    if record["port"] != "stuck":
        raise Refusal(f"port of line {line_id} is {record['port']!r}; only a stuck port is reset")
    for key, outage in tables["outages"].items():
        if outage["area"] == record["area"] and outage["status"] == "ongoing":
            raise Refusal(f"outage {key} in {outage['area']} is ongoing; no port is reset until it ends")
    tables["lines"][line_id] = {**record, "port": "ok"}
    device = tables["devices"].peek(line_id)
    tables["devices"][line_id] = {**device, "state": "unsynced"}
    return {"line_id": line_id, "port": "ok", "next": "reboot the router"}


def transfer_to_human(tables: Tables, reason: str, summary: str) -> dict[str, Any]:
    """Hand the conversation to a person. The summary is for people and enters no record."""
    if not summary.strip():
        raise Refusal("summary must say what the case is about, got an empty text")
    if len(tables["cases"]):
        raise Refusal("this conversation has been transferred already")
    tables["cases"]["T-1"] = {"reason": reason}
    return {"case_id": "T-1", "status": "transferred"}


def _customer(tables: Tables, customer_id: str) -> dict[str, Any]:
    record: dict[str, Any] | None = tables["customers"].peek(customer_id)
    if record is None:
        raise Refusal(f"customer {show(customer_id)} does not exist")
    return record


def _own_active_line(tables: Tables, customer_id: str, line_id: str) -> dict[str, Any]:
    _customer(tables, customer_id)
    record: dict[str, Any] | None = tables["lines"].peek(line_id)
    if record is None:
        raise Refusal(f"line {show(line_id)} does not exist")
    if record["customer"] != customer_id:
        raise Refusal(f"line {line_id} does not belong to customer {customer_id}")
    if record["status"] != "active":
        raise Refusal(f"line {line_id} is {record['status']}; only an active line can be changed")
    return record


def _open_visit(tables: Tables, line_id: str) -> str | None:
    for key, visit in tables["visits"].items():
        if visit["line"] == line_id and visit["status"] in ("proposed", "accepted"):
            return str(key)
    return None


def _day(tables: Tables, slot_id: str) -> dict[str, Any]:
    slot = tables["slots"].peek(slot_id)
    return {"day": slot["day"], "part": slot["part"]}


def _next_id(table: Table, letter: str, customer_id: str) -> str:
    n = sum(record["customer"] == customer_id for record in table.values())
    return f"{letter}-{customer_id}-{n + 1}"

"""The tools of both parties: who may call what, whether it writes, and its function schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pivot_envs.domains.tau2.helpdesk import desk, router
from pivot_envs.domains.tau2.helpdesk.data import AREAS, PLANS
from pivot_envs.domains.tau2.world import ToolKind, ToolSpec
from pivot_envs.records import Requestor

TRANSFER_REASONS = ("customer_request", "router_mismatch", "billing_dispute", "out_of_scope")
DNS_SERVERS = ("automatic", "primary", "secondary")
CABLES = ("fibre", "ethernet")

_PARAMETERS: dict[str, dict[str, Any]] = {
    "phone": {"type": "string", "description": "Phone number on the account, such as 555-1234."},
    "email": {"type": "string", "description": "E-mail address on the account."},
    "customer_id": {"type": "string", "description": "Customer id, such as C001."},
    "line_id": {"type": "string", "description": "Line id, such as L001."},
    "area": {"type": "string", "description": "Area of the line.", "enum": list(AREAS)},
    "plan": {"type": "string", "description": "The new plan.", "enum": list(PLANS)},
    "outage_id": {"type": "string", "description": "Outage id, such as O1."},
    "amount": {"type": "number", "description": "Euro to credit: 1 for each hour of the outage, at most 20."},
    "slot_id": {"type": "string", "description": "A free slot of the line's area, such as S01."},
    "visit_id": {"type": "string", "description": "Visit id, such as V-C001-1."},
    "reason": {"type": "string", "description": "Why a person is needed.", "enum": list(TRANSFER_REASONS)},
    "summary": {"type": "string", "description": "What the case is about, in a sentence.", "maxLength": 1000},
    "cable": {"type": "string", "description": "Which cable.", "enum": list(CABLES)},
    "on": {"type": "boolean", "description": "True switches the wifi on, false off."},
    "server": {"type": "string", "description": "Which name server.", "enum": list(DNS_SERVERS)},
}
_AGENT: tuple[tuple[str, ToolKind, str, str], ...] = (
    ("find_customer_by_phone", "read", "phone", "Find a customer by phone number."),
    ("find_customer_by_email", "read", "email", "Find a customer by e-mail address."),
    ("get_account", "read", "customer_id", "Show an account: person, area, lines, visits, credits."),
    ("get_line", "read", "line_id", "Show a line: plan, price, port, signal, router serial, free visit slots."),
    ("list_invoices", "read", "customer_id", "Show the invoices of a customer."),
    ("get_outage", "read", "area", "Show the outages of an area."),
    ("change_plan", "write", "customer_id line_id plan", "Put a line on another plan."),
    ("issue_credit", "write", "customer_id line_id outage_id amount", "Credit an ended outage to a line."),
    ("schedule_visit", "write", "customer_id line_id slot_id", "Propose a technician's visit in a free slot."),
    ("cancel_visit", "write", "customer_id visit_id", "Cancel a visit."),
    ("reset_port", "write", "customer_id line_id", "Reset the stuck port of a line."),
    ("transfer_to_human", "write", "reason summary", "Hand the conversation over to a person and end it."),
)
_CUSTOMER: tuple[tuple[str, ToolKind, str, str], ...] = (
    ("check_lights", "read", "", "Look at the lights of the router."),
    ("replug_cable", "write", "cable", "Unplug a cable and plug it in again."),
    ("reboot_router", "write", "", "Restart the router."),
    ("toggle_wifi", "write", "on", "Switch the wifi on or off."),
    ("run_speed_test", "read", "", "Measure the download speed."),
    ("read_serial", "read", "", "Read the serial number on the router."),
    ("set_dns", "write", "server", "Choose the name server."),
    ("accept_visit", "write", "visit_id", "Accept a proposed visit in the app."),
)


def _spec(row: tuple[str, ToolKind, str, str], requestor: Requestor) -> ToolSpec:
    name, kind, parameters, description = row
    names = parameters.split()
    schema = {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {n: _PARAMETERS[n] for n in names},
                "required": names,
                "additionalProperties": False,
            },
        },
    }
    return ToolSpec(name, requestor, kind, schema, terminal=name == "transfer_to_human")


AGENT_TOOLS: Mapping[str, ToolSpec] = {row[0]: _spec(row, "assistant") for row in _AGENT}
CUSTOMER_TOOLS: Mapping[str, ToolSpec] = {row[0]: _spec(row, "user") for row in _CUSTOMER}
AGENT_FUNCTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {name: getattr(desk, name) for name in AGENT_TOOLS}
CUSTOMER_FUNCTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {n: getattr(router, n) for n in CUSTOMER_TOOLS}

"""The customer's eight device tools: the router of one line, and the visit the customer accepts in the app."""

from __future__ import annotations

from typing import Any

from pivot_envs.domains.tau2.helpdesk.arguments import Refusal, show
from pivot_envs.domains.tau2.helpdesk.data import SPEEDS
from pivot_envs.domains.tau2.overlay import Table

Tables = dict[str, Table]


def check_lights(tables: Tables, line: str) -> dict[str, Any]:
    """What the lights of the router show."""
    device = tables["devices"].peek(line)
    dark = _is_dark(tables, line)
    return {
        "power": "green",
        "fibre": "red" if dark else "green",
        "internet": "off" if dark else "green" if device["state"] == "ok" else "orange",
        "wifi": "green" if device["wifi"] else "off",
    }


def replug_cable(tables: Tables, line: str, cable: str) -> dict[str, Any]:
    """Pull a cable and seat it again."""
    _store(tables, line, {cable: "seated"})
    return {"cable": cable, "seated": True}


def reboot_router(tables: Tables, line: str) -> dict[str, Any]:
    """Restart the router; it synchronises with the port again unless there is no signal."""
    if not _is_dark(tables, line):
        _store(tables, line, {"state": "ok"})
    return {"router": "restarted"}


def toggle_wifi(tables: Tables, line: str, on: bool) -> dict[str, Any]:
    """Switch the wireless network."""
    _store(tables, line, {"wifi": on})
    return {"wifi": "on" if on else "off"}


def run_speed_test(tables: Tables, line: str) -> dict[str, Any]:
    """Measure the download speed in Mbit/s."""
    device, record = tables["devices"].peek(line), tables["lines"].peek(line)
    speed = SPEEDS[record["plan"]]
    if _is_dark(tables, line) or device["state"] == "unsynced" or device["ethernet"] == "loose":
        return {"result": "offline", "mbit": 0}
    if not device["wifi"]:
        return {"result": "no wifi", "mbit": 0}
    if device["dns"] not in ("automatic", "primary", "secondary"):
        return {"result": "no names", "mbit": 0}
    if device["state"] == "hung":
        return {"result": "slow", "mbit": speed // 10}
    return {"result": "ok", "mbit": speed}


def read_serial(tables: Tables, line: str) -> dict[str, Any]:
    """The serial number on the router's label."""
    return {"serial": tables["devices"].peek(line)["serial"]}


def set_dns(tables: Tables, line: str, server: str) -> dict[str, Any]:
    """Choose the name server in the router's menu."""
    _store(tables, line, {"dns": server})
    return {"dns": server}


def accept_visit(tables: Tables, line: str, visit_id: str) -> dict[str, Any]:
    """Accept a proposed visit in the app."""
    visit = tables["visits"].peek(visit_id)
    if visit is None or visit["customer"] != tables["lines"].peek(line)["customer"]:
        raise Refusal(f"the app shows no visit {show(visit_id)}")
    if visit["status"] != "proposed":
        raise Refusal(f"visit {visit_id} is {visit['status']}; only a proposed visit can be accepted")
    tables["visits"][visit_id] = {**visit, "status": "accepted"}
    return {"visit_id": visit_id, "status": "accepted"}


def _is_dark(tables: Tables, line: str) -> bool:
    device, record = tables["devices"].peek(line), tables["lines"].peek(line)
    return bool(device["fibre"] == "loose" or record["fibre"] == "damaged" or record["port"] == "stuck")


def _store(tables: Tables, line: str, fields: dict[str, Any]) -> None:
    device = tables["devices"].peek(line)
    if any(device[name] != value for name, value in fields.items()):
        tables["devices"][line] = {**device, **fields}

"""The scripted demonstrator: plays the agent by the policy, against the scripted customer, and records what happened.

It decides from observations; from the task it knows only what the customer has said. A seed chooses words, routes and
detours; seeds from FLAWED on make one marked mistake. Every call is executed, every reply comes from the customer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pivot_envs.domains.tau2.helpdesk.customer import react
from pivot_envs.domains.tau2.helpdesk.data import PLANS, Draw
from pivot_envs.domains.tau2.helpdesk.needs import FAULTS, MONTH_NAMES
from pivot_envs.domains.tau2.helpdesk.sayings import SAYINGS
from pivot_envs.domains.tau2.helpdesk.session import HelpdeskSession
from pivot_envs.domains.tau2.world import Reaction
from pivot_envs.errors import VerifierError
from pivot_envs.records import Message, Task

FLAWED = 1000
"""Seeds from here on give flawed demonstrations."""
FLAWS = ("failing_call", "wrong_value", "skipped_confirmation")
GREETINGS = ("Hello. ", "Hi, ", "Good morning. ", "", "Hi there. ")


@dataclass
class Recording:
    """What a demonstration leaves behind."""

    session: HelpdeskSession
    task: Task
    draw: Draw
    flaw: str = ""
    """The mistake still to be made; empty once it is made, or if there is none."""
    messages: list[Message] = field(default_factory=list)
    flawed_turns: list[int] = field(default_factory=list)
    detours: int = 0
    _calls: int = 0

    @property
    def turns(self) -> int:
        """Assistant messages so far."""
        return sum(m["role"] == "assistant" for m in self.messages)

    def open(self) -> None:
        """Record the customer's first words."""
        text = self.draw.pick(self.task.data["needs"][0]["texts"])
        self.messages.append({"role": "user", "content": self.draw.pick(GREETINGS) + text})

    def say(self, saying: str, expect: Sequence[str], **facts: Any) -> Reaction:
        """Say something in one of its ways and record how the customer reacts.

        Raises:
            VerifierError: the customer took it for something else than what the demonstrator meant.
        """
        text = self.draw.pick(SAYINGS[saying]).format(**facts)
        reaction = react(self.session, self.task, self.messages, text)
        if "+" in reaction.kind or not reaction.kind.startswith(tuple(expect)):
            raise VerifierError(
                f"{self.task.task_id}: the customer took {text!r} as {reaction.kind!r}; the demonstrator meant {expect}"
            )
        self.messages.append({"role": "assistant", "content": text})
        if reaction.calls:
            self._record_customer(reaction)
        self.messages.append({"role": "user", "content": reaction.reply})
        return reaction

    def _record_customer(self, reaction: Reaction) -> None:
        calls = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(dict(c.arguments))}}
            for c in reaction.calls
        ]
        self.messages.append({"role": "user", "content": None, "tool_calls": calls})
        for call, seen in zip(reaction.calls, reaction.observations, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": call.id, "name": call.name, "content": seen.text})

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Call an agent tool and return what it showed."""
        self._calls += 1
        call_id = f"call_{self._calls}"
        function = {"name": name, "arguments": json.dumps(arguments)}
        tool_call = {"id": call_id, "type": "function", "function": function}
        self.messages.append({"role": "assistant", "content": None, "tool_calls": [tool_call]})
        seen = self.session.call(name, arguments, "assistant")
        self.messages.append({"role": "tool", "tool_call_id": call_id, "name": name, "content": seen.text})
        result: dict[str, Any] = json.loads(seen.text)
        return result

    def due(self, flaw: str) -> bool:
        """Whether the flaw is to be made now; the next turn is marked."""
        if self.flaw != flaw:
            return False
        self.flaw = ""
        self.flawed_turns.append(self.turns)
        return True

    def chance(self, percent: int) -> bool:
        """Draw whether to take a detour; flawed demonstrations and long ones take none."""
        limit = 10 if len(self.task.data["needs"]) == 1 else 6
        taken = self.draw.below(100) < percent and not self.flawed_turns and self.turns < limit
        self.detours += taken
        return taken


@dataclass
class _Desk:
    """What the agent has learnt so far."""

    customer: str = ""
    line: str = ""
    account: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


def record(session: HelpdeskSession, task: Task, seed: int) -> Recording:
    """Play the whole task."""
    recording = Recording(session, task, Draw(f"{task.task_id}-{seed}"), flaw_of(task, seed))
    recording.open()
    desk = _identify(recording)
    current = 0
    while True:
        if not _solve(recording, desk, task.data["needs"][current]):
            return recording
        reaction = recording.say("anything_else", ("next_need", "nothing_else"))
        if reaction.kind == "nothing_else":
            recording.say("goodbye", ("closes",))
            return recording
        current = int(reaction.kind.partition(":")[2])


def flaw_of(task: Task, seed: int) -> str:
    """Return the flaw a seed stands for, empty below FLAWED."""
    possible = flaws_of(task)
    return possible[seed % len(possible)] if seed >= FLAWED else ""


def flaws_of(task: Task) -> tuple[str, ...]:
    """Return the flaws a demonstration of this task can have."""
    found = ["failing_call"]
    for need in task.data["needs"]:
        if (
            need["intent"] == "change_plan"
            and need["mode"] == "normal"
            or need["intent"] == "outage_credit"
            and "amount" in need
        ):
            found.append("wrong_value")
        if (
            need["intent"] in ("change_plan", "outage_credit", "cancel_visit", "stuck_port")
            and need["mode"] == "normal"
        ):
            found.append("skipped_confirmation")
    return tuple(flaw for flaw in FLAWS if flaw in found)


def _identify(recording: Recording) -> _Desk:
    """Ask who is calling, find the account and the line (rules 1 and 3)."""
    reaction = recording.say(recording.draw.pick(("ask_any", "ask_any", "ask_phone", "ask_email")), ("gives_identity",))
    desk = _Desk()
    how = reaction.kind.partition(":")[2]
    given = recording.task.data[how]
    if recording.due("failing_call"):
        wrong = given[:-1] + str((int(given[-1]) + 1) % 10) if how == "phone" else given.replace("@", "@mail.")
        recording.call(f"find_customer_by_{how}", **{how: wrong})
    found = recording.call(f"find_customer_by_{how}", **{how: given})
    desk.customer = found["customer_id"]
    desk.account = recording.call("get_account", customer_id=desk.customer)
    transfers = recording.task.data["needs"][-1]["mode"] in ("mismatch", "over_human", "none_human")
    if transfers or recording.chance(30):
        recording.say("wait", ("waits",), name=found["name"].split()[0])
    lines = [line["line_id"] for line in desk.account["lines"]]
    desk.line = lines[0]
    if len(lines) > 1:
        shown = {"lines": ", ".join(lines), "lines_or": " or ".join(lines)}
        desk.line = recording.say("ask_line", ("chooses:line=",), **shown).kind.partition("=")[2]
    desk.record = recording.call("get_line", line_id=desk.line)
    return desk


def _solve(recording: Recording, desk: _Desk, need: Mapping[str, Any]) -> bool:
    """Meet one need; False if the conversation went to a person."""
    if recording.chance(15):  # a harmless read that nothing asked for
        if recording.draw.below(2):
            recording.call("get_outage", area=desk.account["area"])
        else:
            recording.call("list_invoices", customer_id=desk.customer)
    if need["intent"] in FAULTS:
        return _repair(recording, desk)
    return _SOLVERS[need["intent"]](recording, desk, need)


def _change_plan(recording: Recording, desk: _Desk, need: Mapping[str, Any]) -> bool:
    invoices = recording.call("list_invoices", customer_id=desk.customer)["invoices"]
    unpaid = next((i for i in invoices if i["line"] == desk.line and i["status"] == "open"), None)
    facts = {"line": desk.line, "plan": need["plan"], "price": PLANS[need["plan"]]}
    if unpaid:
        told = {"line": desk.line, "invoice": unpaid["invoice_id"], "amount": unpaid["amount"]}
        recording.say("plan_blocked", ("satisfied:change_plan",), **told)
        return True
    if need["mode"] == "normal" and recording.due("wrong_value"):
        other = next(plan for plan in PLANS if plan not in (need["plan"], desk.record["plan"]))
        recording.say("wrong_plan", ("corrects:plan",), line=desk.line, plan=other, price=PLANS[other])
    if not recording.due("skipped_confirmation"):
        reaction = recording.say("confirm_plan", ("confirms:change_plan", "declines:change_plan"), **facts)
        if reaction.kind.startswith("declines"):
            recording.say("plan_kept", ("satisfied", "acknowledges"), **facts)
            return True
    recording.call("change_plan", customer_id=desk.customer, line_id=desk.line, plan=need["plan"])
    recording.say("plan_changed", ("satisfied:change_plan",), **facts)
    return True


def _outage_credit(recording: Recording, desk: _Desk, need: Mapping[str, Any]) -> bool:
    outages = recording.call("get_outage", area=desk.account["area"])["outages"]
    outage = next((o for o in outages if o["status"] == "ended"), None)
    if outage is None:
        recording.say("no_outage", ("asks_human",), area=desk.account["area"])
        return _transfer(recording, "customer_request", "The customer wants a credit without an outage.")
    facts = {
        "line": desk.line, "outage": outage["outage_id"], "hours": outage["hours"], "day": _spoken(outage["day"]),
        "amount": min(20, outage["hours"]), "asked": need.get("asked"),
    }  # fmt: skip
    call = {"customer_id": desk.customer, "line_id": desk.line, "outage_id": outage["outage_id"]}
    if not recording.due("skipped_confirmation"):
        saying = "confirm_less" if "asked" in need else "confirm_credit"
        reaction = recording.say(saying, ("confirms:issue_credit", "asks_human"), **facts)
        if reaction.kind == "asks_human":
            return _transfer(recording, "customer_request", "The customer wants more credit than the rules allow.")
    if recording.due("wrong_value"):
        recording.call("issue_credit", **call, amount=facts["amount"] + 5)
    credit = recording.call("issue_credit", **call, amount=facts["amount"])
    recording.say("credited", ("satisfied:outage_credit",), credit=credit["credit_id"], **facts)
    return True


def _transfer(recording: Recording, reason: str, summary: str) -> bool:
    recording.call("transfer_to_human", reason=reason, summary=summary)
    return False


def _invoice_query(recording: Recording, desk: _Desk, need: Mapping[str, Any]) -> bool:
    invoices = recording.call("list_invoices", customer_id=desk.customer)["invoices"]
    invoice = next(i for i in invoices if i["line"] == desk.line and i["month"] == need["month"])
    facts = {"line": desk.line, "invoice": invoice["invoice_id"], "amount": invoice["amount"]}
    recording.say("invoice", ("satisfied:invoice_query",), month=MONTH_NAMES[invoice["month"]], **facts)
    return True


def _cancel_visit(recording: Recording, desk: _Desk, need: Mapping[str, Any]) -> bool:
    visit = next(v for v in desk.account["visits"] if v["line"] == desk.line)
    facts = {"visit": visit["visit_id"], "day": _spoken(visit["day"]), "part": visit["part"]}
    if not recording.due("skipped_confirmation"):
        recording.say("confirm_cancel", ("confirms:cancel_visit",), **facts)
    recording.call("cancel_visit", customer_id=desk.customer, visit_id=visit["visit_id"])
    recording.say("cancelled", ("satisfied:cancel_visit",), **facts)
    return True


def _move_visit(recording: Recording, desk: _Desk, need: Mapping[str, Any]) -> bool:
    visit = next(v for v in desk.account["visits"] if v["line"] == desk.line)["visit_id"]
    slot = _choose(recording, desk)
    recording.say("confirm_move", ("confirms:move_visit",), visit=visit, **slot)
    recording.call("cancel_visit", customer_id=desk.customer, visit_id=visit)
    return _schedule(recording, desk, slot)


def _choose(recording: Recording, desk: _Desk) -> dict[str, Any]:
    """Offer the free slots and return the chosen one."""
    free = {s["slot_id"]: s for s in desk.record["free_slots"]}
    offers = [f"{key} on {_spoken(s['day'])} in the {s['part']}" for key, s in free.items()]
    reaction = recording.say("offer_slots", ("chooses:slot=",), slots=", ".join(offers[:-1]) + " or " + offers[-1])
    slot = free[reaction.kind.partition("=")[2]]
    return {"slot": slot["slot_id"], "day": _spoken(slot["day"]), "part": slot["part"], "line": desk.line}


def _schedule(recording: Recording, desk: _Desk, slot: Mapping[str, Any]) -> bool:
    booked = recording.call("schedule_visit", customer_id=desk.customer, line_id=desk.line, slot_id=slot["slot"])
    recording.say("ask_accept", ("device_step",), visit=booked["visit_id"])
    recording.say("visit_booked", ("satisfied",), visit=booked["visit_id"], **slot)
    return True


def _repair(recording: Recording, desk: _Desk) -> bool:
    """Find and mend a fault (rule 7), with a visit where the fibre light stays red (rule 6)."""
    if desk.record["port"] == "stuck":
        if not recording.due("skipped_confirmation"):
            recording.say("confirm_reset", ("confirms:reset_port",), line=desk.line)
        recording.call("reset_port", customer_id=desk.customer, line_id=desk.line)
        recording.say("reboot_router", ("device_step",))
        return _finish_repair(recording, desk)
    lights = _lights(recording.say("check_lights", ("device_step",)))
    if lights["fibre"] == "red":
        recording.say("replug_cable", ("device_step",))
        if recording.flawed_turns or recording.draw.below(3) == 0 or not _mended(recording):
            lights = _lights(recording.say("check_again", ("device_step",)))
            if lights["fibre"] == "red":
                slot = _choose(recording, desk)
                recording.say("confirm_visit", ("confirms:schedule_visit",), **slot)
                return _schedule(recording, desk, slot)
    elif lights["internet"] == "orange":
        recording.say("reboot_router", ("device_step",))
    elif lights["wifi"] == "off":
        recording.say("toggle_wifi", ("device_step",))
    else:
        recording.say("set_dns", ("device_step",))
    return _finish_repair(recording, desk)


def _mended(recording: Recording) -> bool:
    """Whether the cable was all that was wrong; otherwise the agent looks at the lights once more."""
    return bool(recording.session.tables["lines"].peek(recording.session.line)["fibre"] == "ok")


def _finish_repair(recording: Recording, desk: _Desk) -> bool:
    if recording.chance(15):
        recording.say("check_again", ("device_step",))
    reaction = recording.say("run_speed_test", ("device_step",))
    mbit = json.loads(reaction.observations[-1].text)["mbit"]
    recording.say("fixed", ("satisfied",), mbit=mbit, line=desk.line)
    return True


def _lights(reaction: Reaction) -> dict[str, str]:
    lights: dict[str, str] = json.loads(reaction.observations[-1].text)
    return lights


def _router_check(recording: Recording, desk: _Desk, need: Mapping[str, Any]) -> bool:
    reaction = recording.say("read_serial", ("device_step",))
    serial = json.loads(reaction.observations[-1].text)["serial"]
    if serial == desk.record["serial"]:
        recording.say("serial_matches", ("satisfied:router_check",), serial=serial, line=desk.line)
        return True
    recording.say("confirm_transfer", ("confirms:transfer_to_human",), serial=serial)
    return _transfer(recording, "router_mismatch", f"Router {serial} is not the one on record.")


def _spoken(day: str) -> str:
    return f"{int(day[-2:])} June"


_SOLVERS = {
    "change_plan": _change_plan,
    "outage_credit": _outage_credit,
    "invoice_query": _invoice_query,
    "cancel_visit": _cancel_visit,
    "move_visit": _move_visit,
    "router_check": _router_check,
}

"""The scripted customer: how the person of a task reacts to an agent's message, acting at the router of the session.

Deterministic, and without memory of its own: what was said stands in the history, what was done in the session.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pivot_envs.domains.tau2.helpdesk.acts import Act
from pivot_envs.domains.tau2.helpdesk.clauses import normalise
from pivot_envs.domains.tau2.helpdesk.needs import FAULTS, MONTH_NAMES
from pivot_envs.domains.tau2.helpdesk.session import HelpdeskSession
from pivot_envs.domains.tau2.helpdesk.speech import understand
from pivot_envs.domains.tau2.helpdesk.transcript import called, spoken
from pivot_envs.domains.tau2.world import Reaction
from pivot_envs.records import Message, Observation, Task, ToolCall

PHRASES: dict[str, tuple[str, ...]] = {
    "confirms": ("Yes, please.", "Yes, go ahead.", "Yes, that is fine."),
    "declines:change_plan": ("No, that is too expensive for me.", "No, then I will keep what I have."),
    "declines": ("No, I do not want that.",),
    "acknowledges": ("All right.", "I see, thank you.", "Okay."),
    "satisfied": ("Great, thank you.", "Thank you, that is what I needed.", "Perfect, thanks."),
    "waits": ("Sure, I will wait.", "Okay, take your time."),
    "greets": ("Hello.",),
    "hears_transfer": ("All right, I will hold.",),
    "accepts_refusal": ("I see. Then it cannot be helped.", "That is a pity, but I understand."),
    "asks_human": ("I do not accept that. I want to speak to a person.", "Then connect me with a human, please."),
    "nothing_else": ("No, that was all, thank you.", "No, nothing else."),
    "closes": ("Goodbye.", "Thanks, bye."),
    "confused": ("Sorry, I do not understand. Can you say that in other words?",),
    "asks:price": ("What would it cost a month?",),
    "cannot:accept_visit": ("I see no visit in the app.",),
    "lacks": ("I do not know that number.",),
    "withholds": ("I would rather not tell you that.",),
    "describes": ("I cannot say exactly.",),
    "holds_back": ("Wait, I am not done yet. {text}",),
    "next_need": ("Yes, one more thing. {text}", "Yes, there is something else. {text}"),
    "repeats_need": ("But this is not settled yet. {text}", "We are not done. {text}"),
    "states_need": ("{text}",),
}
"""Kind, or its part before the colon -> what the customer says. `compact.py` knows these too."""
_WANTED: dict[str, tuple[str, ...]] = {
    "change_plan": ("change_plan",),
    "outage_credit": ("issue_credit",),
    "book_visit": ("schedule_visit", "reset_port"),
    "cancel_visit": ("cancel_visit",),
    "move_visit": ("move_visit", "cancel_visit", "schedule_visit"),
}
"""Intent -> operations the customer says yes to; the first is meant where the agent names none."""


@dataclass
class _Turn:
    """One reaction being put together."""

    session: HelpdeskSession
    task: Task
    history: Sequence[Message]
    text: str
    kinds: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)

    @property
    def data(self) -> Mapping[str, Any]:
        return self.task.data

    def say(self, kind: str, reply: str = "", **values: str) -> None:
        """Add a kind with its reply; without one, a phrase of the kind, the same for the same task."""
        if kind in self.kinds:
            return
        options = PHRASES.get(kind) or PHRASES.get(kind.partition(":")[0], ("",))
        chosen = reply or options[zlib.crc32(f"{self.task.task_id}{kind}".encode()) % len(options)]
        self.kinds.append(kind)
        self.replies.append(chosen.format(**values) if values else chosen)

    def act(self, tool: str, arguments: Mapping[str, Any]) -> Observation:
        """Use a device tool for real."""
        n = len(self.calls) + 1 + sum(len(called(m)) for m in self.history if m.get("role") == "user")
        self.calls.append(ToolCall(tool, dict(arguments), f"user_{n}", "user"))
        self.observations.append(self.session.call(tool, arguments, "user"))
        return self.observations[-1]

    def agentspoken(self) -> list[str]:
        """Everything the agent has said, this message included."""
        return [*spoken(self.history, "assistant"), self.text]


def react(session: HelpdeskSession, task: Task, history: Sequence[Message], text: str) -> Reaction:
    """Answer the agent's text as the task's customer would."""
    turn = _Turn(session, task, history, text if isinstance(text, str) else "")
    acts = understand(turn.text)
    needs = task.data["needs"]
    current = voiced(task, history)
    if any(act.kind == "refuse" for act in acts) and _insists(turn, needs[current]):
        turn.say("asks_human")
        acts = tuple(act for act in acts if act.kind == "step")
    for act in acts:
        if act.is_demanding:
            _ANSWERS[act.kind](turn, act, current)
    if not turn.kinds:
        _listen(turn, acts, needs[current])
    kind = "+".join(sorted(set(turn.kinds)))
    return Reaction(kind, " ".join(r for r in turn.replies if r), tuple(turn.calls), tuple(turn.observations))


def voiced(task: Task, history: Sequence[Message]) -> int:
    """Return the index of the latest need the customer has spoken of."""
    said = spoken(history, "user")
    needs = task.data["needs"]
    known = [i for i, need in enumerate(needs) if any(text in words for text in need["texts"] for words in said)]
    return max(known, default=0)


def tells(text: str, fact: str) -> bool:
    """Whether a text states a fact, such as an amount, as a word of its own."""
    return bool(
        re.search(
            rf"(?<![\w.,-]){re.escape(fact)}(?:[.,]0+)?(?![\w-]|[.,]\d|\s*(?:june|hours?)\b)",
            text[:20_000],
            re.IGNORECASE,
        )
    )


def holds(session: HelpdeskSession, path: str, fields: Mapping[str, Any]) -> bool:
    """Whether a record of the session has these field values."""
    table, _, key = path.partition("/")
    record = session.tables[table].peek(key)
    return record is not None and all(record.get(name) == value for name, value in fields.items())


def is_settled(session: HelpdeskSession, need: Mapping[str, Any], agent_texts: Sequence[str]) -> bool:
    """Whether a need is met: its records stand as wanted and its facts have been told."""
    told = all(any(tells(text, fact) for text in agent_texts) for fact in need["facts"])
    return told and all(holds(session, path, fields) for path, fields in need["assertions"])


def _insists(turn: _Turn, need: Mapping[str, Any]) -> bool:
    return bool(need["mode"].endswith("human")) and not len(turn.session.tables["cases"])


def _listen(turn: _Turn, acts: Sequence[Act], need: Mapping[str, Any]) -> None:
    """React to a message that asks for nothing."""
    kinds = {act.kind for act in acts}
    texts = turn.agentspoken()
    news = "inform" in kinds or "refuse" in kinds and need["mode"] == "blocked"
    news = news and is_settled(turn.session, need, texts) and _is_about(need, turn.text)
    if "transfer" in kinds:
        turn.say("hears_transfer")
    elif news and "wait" not in kinds:
        turn.say(f"satisfied:{need['intent']}")
    elif "refuse" in kinds:
        turn.say("accepts_refusal")
    elif "wait" in kinds:
        turn.say("waits")
    elif "inform" in kinds:
        turn.say("acknowledges")
    else:
        turn.say("greets" if kinds else "confused")


def _is_about(need: Mapping[str, Any], text: str) -> bool:
    """Whether news fits what was done: a cancelled visit is none that was booked, a kept plan is no new one."""
    plain = normalise(text)
    kept = bool(_UNCHANGED.search(plain))
    if need["intent"] == "change_plan":
        return kept != bool(need["mode"] == "normal")
    topic = _NEWS.get(need["intent"], _NEWS["fault"] if need["intent"] in FAULTS else "")
    return bool(re.search(topic, plain)) and not kept


_UNCHANGED = re.compile(
    r"\b(?:unchanged|nothing changes|keeps?|leave|stays?|remains?|not changed?|cannot|not possible|unable|only)\b"
)
_NEWS = {
    "cancel_visit": r"\bcancel|\bcalled off\b|\bno technician\b|\bnobody\b",
    "book_visit": r"\b(?:june|booked|scheduled|fixed|comes?|coming|confirmed|accepted)\b",
    "move_visit": r"\b(?:june|booked|rebooked|moved|scheduled|fixed|comes?|coming|confirmed|accepted)\b",
    "outage_credit": r"\bcredit|\brefund|\beuro\b|\bmoney\b",
    "router_check": r"\b(?:serial|router|match\w*|registered|right|records?|file|r\d{4})\b",
    "fault": r"\b(?:work\w*|fixed|mbit|speed\w*|solved|resolved|fine|internet|connect\w*|line|back|online|fault)\b",
}
"""What news about an intent has to speak of for the customer to take the need as met."""


def _step(turn: _Turn, act: Act, current: int) -> None:
    """Do what the agent asks for at the router, and report it."""
    if act.topic == "accept_visit":
        _accept(turn, act)
        return
    if act.condition == "unless_done":
        if _has_done(turn, act.topic):
            return
    elif act.condition and not _light_is(turn, act.condition):
        turn.kinds.append("device_step")
        return
    arguments: dict[str, Any] = dict(act.slots)
    if "on" in arguments:
        on = turn.session.tables["devices"].peek(turn.session.line)["wifi"]
        arguments["on"] = not on if arguments["on"] == "flip" else arguments["on"] == "true"
    seen = json.loads(turn.act(act.topic, arguments).text)
    turn.kinds.append("device_step")
    turn.replies.append(_report(act.topic, seen))


def _light_is(turn: _Turn, condition: str) -> bool:
    """Look at the lights, unless this turn has done so, and say whether the condition holds."""
    last = turn.calls[-1].name if turn.calls else ""
    if last != "check_lights":
        turn.act("check_lights", {})
    lights = json.loads(turn.observations[-1].text)
    if last != "check_lights":
        turn.replies.append(_report("check_lights", lights))
    name, _, colour = condition.partition("=")
    return bool(lights[name.rstrip("!")] == colour) != name.endswith("!")


def _report(tool: str, seen: Mapping[str, Any]) -> str:
    if "error" in seen:
        return f"That did not work: {seen['error']}."
    if tool == "check_lights":
        return "The lights are: " + ", ".join(f"{name} {colour}" for name, colour in seen.items()) + "."
    if tool == "run_speed_test":
        return f"The speed test says {seen['result']}, {seen['mbit']} Mbit/s."
    return {
        "replug_cable": "I have unplugged the {cable} cable and plugged it in again.",
        "reboot_router": "The router has restarted.",
        "toggle_wifi": "The wifi is {wifi} now.",
        "read_serial": "The serial number is {serial}.",
        "set_dns": "DNS is set to {dns} now.",
        "accept_visit": "I have accepted the visit {visit_id}.",
    }[tool].format(**seen)


def _accept(turn: _Turn, act: Act) -> None:
    proposed = [
        key
        for key, visit in turn.session.tables["visits"].items()
        if visit["customer"] == turn.data["customer"] and visit["status"] == "proposed"
    ]
    visit = act.slot("visit_id") or (proposed[0] if proposed else "")
    if not visit:
        turn.say("cannot:accept_visit")
        return
    turn.kinds.append("device_step")
    turn.replies.append(_report("accept_visit", json.loads(turn.act("accept_visit", {"visit_id": visit}).text)))


def _ask_done(turn: _Turn, act: Act, current: int) -> None:
    done = _has_done(turn, act.topic)
    answer = "yes" if done else "no"
    turn.say(f"answers:{act.topic}:{answer}", "Yes, I have done that." if done else "No, not yet.")


def _has_done(turn: _Turn, tool: str) -> bool:
    return any(name == tool for m in turn.history if m.get("role") == "user" for _, name in called(m))


def _ask_identity(turn: _Turn, act: Act, current: int) -> None:
    field_name = turn.data["identity"] if act.topic == "any" else act.topic
    if field_name == "customer_id":
        turn.say("lacks:customer_id")
    elif field_name == "secret":
        turn.say("withholds")
    elif field_name == "name":
        turn.say("gives_identity:name", f"My name is {turn.data['name']}.")
    else:
        words = {"phone": f"My phone number is {turn.data['phone']}.", "email": f"My e-mail is {turn.data['email']}."}
        turn.say(
            f"gives_identity:{field_name}",
            " ".join(words[name] for name in sorted(field_name.split("+"), reverse=True)),
        )


def _ask_yes(turn: _Turn, act: Act, current: int) -> None:
    needs = turn.data["needs"][: current + 1]
    need, operation = _meant(turn, act, needs)
    if operation == "transfer_to_human":
        wanted = _insists(turn, needs[-1]) or needs[-1]["mode"] == "mismatch"
        turn.say(f"{'confirms' if wanted else 'declines'}:{operation}")
    elif operation in ("look", "unspecified"):
        turn.say(f"confirms:{operation}")
    elif need is None:
        turn.say(f"declines:{operation}")
    elif _insists(turn, need):
        turn.say("asks_human")
    elif act.slot("line") and turn.data["line"] not in act.slot("line").split("/"):
        turn.say("corrects:line", f"No, I mean line {turn.data['line']}.")
    elif operation == "change_plan":
        _weigh_plan(turn, act, need)
    elif operation in ("schedule_visit", "move_visit") and not _suits(act, need):
        turn.say("corrects:slot", f"No, that does not suit me. I need {_when(need)}.")
    else:
        turn.say(f"confirms:{operation}")


def _meant(turn: _Turn, act: Act, needs: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any] | None, str]:
    """Return the need a question belongs to, and the operation it asks for."""
    texts = spoken(turn.history, "assistant")
    if act.topic:
        for need in reversed(needs):
            wanted = _WANTED.get(need["intent"], ("reset_port",) if need["intent"] in FAULTS else ())
            if act.topic in wanted:
                return need, act.topic
        return None, act.topic
    for need in reversed(needs):
        wanted = _WANTED.get(need["intent"], ("reset_port",) if need["intent"] == "stuck_port" else ())
        if wanted and not is_settled(turn.session, need, texts):
            return need, wanted[0]
    return None, "unspecified"


def _weigh_plan(turn: _Turn, act: Act, need: Mapping[str, Any]) -> None:
    if act.slot("plan") and need["plan"] not in act.slot("plan").split("/"):
        turn.say("corrects:plan", f"No, I want the {need['plan']} plan.")
    elif need["mode"] != "declines":
        turn.say("confirms:change_plan")
    elif any(tells(text, str(need["price"])) for text in turn.agentspoken()):
        turn.say("declines:change_plan")
    else:
        turn.say("asks:price")


def _suits(act: Act, need: Mapping[str, Any]) -> bool:
    if "slot" not in need:
        return True
    if act.slot("slot"):
        return need["slot"] in act.slot("slot").split("/")
    day = not act.slot("day") or need["day"] in act.slot("day").split("/")
    return day and (not act.slot("part") or need["part"] in act.slot("part").split("/"))


def _when(need: Mapping[str, Any]) -> str:
    return f"{int(need['day'][-2:])} June in the {need['part']}"


def _ask_choice(turn: _Turn, act: Act, current: int) -> None:
    needs = turn.data["needs"][: current + 1]
    if act.topic == "line":
        turn.say(f"chooses:line={turn.data['line']}", f"It is line {turn.data['line']}.")
        return
    if act.topic == "since":
        turn.say("describes")
        return
    key = {"slot": "slot", "plan": "plan", "month": "month", "amount": "asked", "outage": "outage"}[act.topic]
    need = next((n for n in reversed(needs) if key in n), None)
    if need is None:
        turn.say(f"no_preference:{act.topic}", "I have no preference there.")
    elif act.topic == "slot":
        _choose_slot(turn, act, need)
    elif act.topic == "plan":
        turn.say(f"chooses:plan={need['plan']}", f"The {need['plan']} plan, please.")
    elif act.topic == "month":
        turn.say(f"chooses:month={need['month']}", f"The one for {MONTH_NAMES[need['month']]}.")
    elif act.topic == "amount":
        turn.say(f"chooses:amount={need['asked']}", f"I expect {need['asked']} euro.")
    else:
        turn.say("chooses:outage", f"The one on {int(need['day'][-2:])} June.")


def _choose_slot(turn: _Turn, act: Act, need: Mapping[str, Any]) -> None:
    offered = act.slot("slot").split("/") if act.slot("slot") else []
    if offered and need["slot"] not in offered:
        turn.say("rejects:slots", f"None of these suits me. I need {_when(need)}.")
    else:
        named = f"{need['slot']}, " if offered else ""
        turn.say(f"chooses:slot={need['slot']}", f"{named}{_when(need)}, please.")


def _ask_more(turn: _Turn, act: Act, current: int) -> None:
    needs = turn.data["needs"]
    texts = turn.agentspoken()
    variant = zlib.crc32(turn.task.task_id.encode()) % 3
    blunt = act.kind == "close" and act.topic != "asked"
    for i, need in enumerate(needs[: current + 1]):
        if not is_settled(turn.session, need, texts) and not _gave_up(turn, need):
            turn.say(f"holds_back:{i}" if blunt else f"repeats_need:{i}", text=need["texts"][variant])
            return
    if current + 1 < len(needs):
        turn.say(f"{'holds_back' if blunt else 'next_need'}:{current + 1}", text=needs[current + 1]["texts"][variant])
    else:
        turn.say("closes" if act.kind == "close" else "nothing_else")


def _gave_up(turn: _Turn, need: Mapping[str, Any]) -> bool:
    """The customer has accepted a refusal, or declined after hearing the price."""
    phrases = (*PHRASES["accepts_refusal"], *PHRASES["declines:change_plan"])
    accepted = any(text in phrases for text in spoken(turn.history, "user"))
    return accepted and need["intent"] in ("change_plan", "outage_credit")


def _ask_need(turn: _Turn, act: Act, current: int) -> None:
    turn.say(f"states_need:{current}", text=turn.data["needs"][current]["texts"][0])


_ANSWERS = {
    "step": _step,
    "ask_done": _ask_done,
    "ask_identity": _ask_identity,
    "ask_yes": _ask_yes,
    "ask_choice": _ask_choice,
    "ask_more": _ask_more,
    "close": _ask_more,
    "ask_need": _ask_need,
}

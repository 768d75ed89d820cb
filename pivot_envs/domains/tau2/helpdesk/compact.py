"""The compact prompt style: a conversation in so few words that a model of a million parameters can learn it.

No policy, observations as key=value words, messages as short sentences; ids, amounts, days and plan names stay whole
and calls stay calls. A shortened agent message is one the customer hears as the same (a test holds every
demonstration to that), so a model may write in this style. Words and signs of a prompt over the shipped
demonstrations: 108 on average and 311 at most, against 405 and 1,081 in full without policy and tools; of a
demonstrated turn 8 and 32.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pivot_envs.domains.tau2.helpdesk.acts import Act
from pivot_envs.domains.tau2.helpdesk.clauses import normalise
from pivot_envs.domains.tau2.helpdesk.customer import PHRASES
from pivot_envs.domains.tau2.helpdesk.data import AREAS
from pivot_envs.domains.tau2.helpdesk.needs import MONTH_NAMES
from pivot_envs.domains.tau2.helpdesk.speech import understand
from pivot_envs.domains.tau2.helpdesk.transcript import called
from pivot_envs.records import Message

MAX_WORDS = 14
"""Words kept of a message that no pattern knows."""

_ID = r"v-c\d+-\d+|k-c\d+-\d+|[csloi]\d{1,3}|r\d{4}|t-\d"
_KEPT = re.compile(
    rf"\b(?:{_ID}|{'|'.join(AREAS).lower()}|\d+(?:\.\d+)?|basic|plus|max|giga|may|april|march|june|morning|"
    r"afternoon|euro|hours|mbit|a month|charged|line|plan|invoice|visit|technician|credit|serial|outage|cancelled|"
    r"canceled|fixed|works|working|changed|unchanged|open|matches|registered|automatic|keeps?|nothing changes|comes?|"
    r"coming|booked|scheduled|moved|solved|resolved|online|speed)\b"
)
_FILLER = frozenset(
    "a an the i we you it is am are was were be been to of in on at for and or so my our your me us that this there "
    "here with from do does did have has had not.. would could can will shall just very any please then since".split()
)


def render(messages: Sequence[Message]) -> list[Message]:
    """Return the short rendering of messages; device calls of the customer, their results and the policy fall away."""
    rendered: list[Message] = []
    tools: dict[str, str] = {}
    hidden: set[str] = set()
    for message in messages:
        role, content, names = message.get("role"), message.get("content"), dict(called(message))
        text = content if isinstance(content, str) else ""
        if role == "user" and names:
            hidden.update(names)
        elif role == "user":
            rendered.append({"role": "user", "content": shorten_customer(text)})
        elif role == "assistant" and names:
            tools.update(names)
            rendered.append({**message, "content": None})
        elif role == "assistant":
            rendered.append({"role": "assistant", "content": shorten_agent(text)})
        elif role == "tool" and str(message.get("tool_call_id")) not in hidden:
            name = tools.get(str(message.get("tool_call_id")), str(message.get("name", "")))
            rendered.append({**message, "content": shorten_observation(name, text)})
    return rendered


def shorten_agent(text: str) -> str:
    """Return a short sentence that a customer hears as the same; what no act is known for is cut to its first words."""
    acts = understand(text)
    plain = normalise(text)
    facts = _facts(plain)
    pieces = [_ACTS[act.kind](act, plain, facts) for act in acts if act.kind not in ("inform", "greet")]
    kinds = {act.kind for act in acts}
    if not pieces and "inform" in kinds:
        return "done " + facts if facts else _words(plain)
    if not pieces:
        return "hello" if "greet" in kinds else _words(plain)
    short = " . ".join(dict.fromkeys(pieces))
    if "ask_yes" not in kinds:
        return short
    unsaid = [word for word in dict.fromkeys(_FACT.findall(plain)) if word not in short.lower()]
    return f"{_upper(' '.join(unsaid))} . {short}" if unsaid else short


_FACT = re.compile(rf"\b(?:{_ID}|\d+ (?:euro|hours|mbit)|\d+ june)\b")
"""What a question for consent names as its grounds."""


def _facts(plain: str) -> str:
    found = dict.fromkeys(match.group(0) for match in _KEPT.finditer(_days(plain)))
    # A month before a number would read as a date.
    months = [word for word in found if word in ("may", "april", "march")]
    return _upper(" ".join([word for word in found if word not in months] + months))


def _upper(words: str) -> str:
    return " ".join(word.upper() if re.fullmatch(_ID, word) else word for word in words.split())


def _days(plain: str) -> str:
    return re.sub(r"\b(\d{1,2})(?:st|nd|rd|th)?(?: of)? june\b", lambda m: f"{m.group(1)} june", plain)


def _words(plain: str) -> str:
    words = [w for w in re.findall(r"[\w@.+-]*\w", plain) if w not in _FILLER]
    return _upper(" ".join(words[:MAX_WORDS]))


def _ask_yes(act: Act, plain: str, facts: str) -> str:
    line = f" on {act.slot('line')}" if act.slot("line") else ""
    visit = next(iter(re.findall(r"\bv-c\d+-\d+\b", plain)), "visit").upper().replace("VISIT", "visit")
    euros = re.findall(r"\b(\d+(?:\.\d+)?) (?:euro|eur)\b", plain)
    amount = f" {euros[-1]} euro" if euros else ""
    when = " ".join(filter(None, (act.slot("slot").replace("/", " "), _short_day(act.slot("day")), act.slot("part"))))
    month = " a month" if amount and "month" in plain else ""
    plan = act.slot("plan") or next(iter(re.findall(r"\b(basic|plus|max|giga)\b", plain)), "")
    return {
        "change_plan": f"shall i put{line.replace(' on', '')} on {plan.replace('/', ' ')} plan{amount}{month} ?",
        "issue_credit": f"shall i credit{amount}{line} ?",
        "cancel_visit": f"shall i cancel {visit} ?",
        "schedule_visit": f"shall i book visit {when} ?",
        "move_visit": f"shall i cancel {visit} and book {when} ?",
        "reset_port": f"shall i reset port{line} ?",
        "transfer_to_human": "shall i transfer you to a colleague ?",
        "look": "shall i check your account ?",
    }.get(act.topic, "is that okay ?")


def _short_day(days: str) -> str:
    return " ".join(f"{int(day[-2:])} june" for day in days.split("/") if day)


def _ask_choice(act: Act, plain: str, facts: str) -> str:
    slots = " or ".join(act.slot("slot").split("/")) if act.slot("slot") else ""
    return {
        "slot": f"which slot {slots} ?".replace("  ", " "),
        "line": "which line ?",
        "plan": "which plan ?",
        "month": "which month ?",
        "amount": "how much credit do you expect ?",
        "outage": "which outage ?",
        "since": "since when ?",
    }[act.topic]


_STEPS: dict[str, str] = {
    "reboot_router": "reboot router",
    "check_lights": "check lights",
    "run_speed_test": "run speedtest",
    "read_serial": "read serial",
    "replug_cable": "replug {cable} cable",
    "toggle_wifi": "turn wifi {on}",
    "set_dns": "set dns {server}",
    "accept_visit": "accept visit {visit_id} in the app",
}
_IDENTITY = {
    "any": "phone or email ?",
    "phone": "your phone number ?",
    "email": "your email ?",
    "email+phone": "your phone number and your email , both ?",
    "name": "your name ?",
    "customer_id": "your customer number ?",
    "secret": "your password ?",
}


def _step(act: Act, plain: str, facts: str) -> str:
    values = {"visit_id": "", **dict(act.slots)}
    if "on" in values:
        values["on"] = {"true": "on", "false": "off"}.get(values["on"], "over")
    text = "please " + " ".join(_STEPS[act.topic].format(**values).split())
    if "=" in act.condition:
        light, _, colour = act.condition.partition("=")
        unlike = " not" if light.endswith("!") else ""
        text = f"if {light.rstrip('!')} is{unlike} {colour}, {text}"
    return text


_ACTS: dict[str, Callable[[Act, str, str], str]] = {
    "step": _step,
    "ask_done": lambda act, plain, facts: f"did you {_STEPS[act.topic].split(' {')[0]} ?",
    "ask_identity": lambda act, plain, facts: _IDENTITY[act.topic],
    "ask_yes": _ask_yes,
    "ask_choice": _ask_choice,
    "ask_more": lambda act, plain, facts: "anything else ?",
    "ask_need": lambda act, plain, facts: "how can i help ?",
    "close": lambda act, plain, facts: "anything else ? if not goodbye" if act.topic == "asked" else "goodbye",
    "wait": lambda act, plain, facts: "one moment",
    "transfer": lambda act, plain, facts: "transferring you to a colleague",
    "refuse": lambda act, plain, facts: f"sorry not possible {facts}".rstrip(),
}

_HEARD: tuple[tuple[str, str], ...] = (
    (r"^my phone number is (\S+?)\.", r"phone \1."), (r"\bmy e-mail is (\S+@\S+?)\.(?=\s|$)", r"email \1."),
    (r"\bmy name is ", "name "), (r"\bit is line ", "line "), (r"\bthe lights are: power \w+,", "lights"),
    (r"\bthe speed test says ([\w ]+), (\d+) mbit/s", r"speedtest \1 \2"),
    (r"\bi have unplugged the (\w+) cable and plugged it in again", r"replugged \1"),
    (r"\bthe router has restarted", "restarted"), (r"\bthe wifi is (\w+) now", r"wifi \1"),
    (r"\bthe serial number is ", "serial "), (r"\bdns is set to (\w+) now", r"dns \1"),
    (r"\bi have accepted the visit ", "accepted "), (r"\b(?:that|this) does not suit me\. i need ", "need "),
    (r"\bnone of these suits me\. i need ", "none need "), (r", please\.", "."),
    (r"\bin the (morning|afternoon)", r"\1"),
)  # fmt: skip
_SHORT_PHRASES: dict[str, str] = {
    "confirms": "yes", "declines": "no", "declines:change_plan": "no too expensive", "acknowledges": "ok",
    "satisfied": "thanks", "waits": "ok wait", "greets": "hello", "hears_transfer": "ok hold",
    "accepts_refusal": "ok pity", "asks_human": "no want person", "nothing_else": "nothing else", "closes": "bye",
    "confused": "what", "asks:price": "price", "cannot:accept_visit": "no visit in app", "lacks": "do not know",
    "withholds": "no secret", "describes": "do not know",
}  # fmt: skip
_KNOWN = {
    phrase.lower(): _SHORT_PHRASES[kind]
    for kind, phrases in PHRASES.items()
    if kind in _SHORT_PHRASES
    for phrase in phrases
}
_LEADS = tuple(
    (phrase.partition("{")[0].lower(), kind)
    for kind in ("next_need", "repeats_need", "holds_back")
    for phrase in PHRASES[kind]
)


def shorten_customer(text: str) -> str:
    """Return the customer's words without what a small model does not need."""
    plain = " ".join(text[:2000].lower().split())
    if plain in _KNOWN:
        return _KNOWN[plain]
    for lead, kind in _LEADS:
        if plain.startswith(lead):
            return ("more " if kind == "next_need" else "still ") + _words(normalise(plain[len(lead) :]))
    for pattern, short in _HEARD:
        plain = re.sub(pattern, short, plain)
    return _words(plain)


def shorten_observation(tool: str, text: str) -> str:
    """Return what a tool showed as words; text that is no observation of ours is cut."""
    try:
        seen = json.loads(text)
        if "error" in seen:
            return "error " + _words(normalise(str(seen["error"])))
        return _OBSERVED.get(tool, _plain_observation)(seen)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return _words(normalise(text))


def _plain_observation(seen: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in seen.values())


def _date(day: str) -> str:
    return f"{int(day[-2:])} june"


def _account(seen: Mapping[str, Any]) -> str:
    parts = [seen["customer_id"], f"area={seen['area']}"]
    parts += [f"{line['line_id']}={line['plan']}" for line in seen["lines"]]
    parts += [f"{v['visit_id']} {v['line']} {_date(v['day'])} {v['part']}" for v in seen["visits"]]
    parts += [f"{c['credit_id']} {c['amount']}" for c in seen["credits"]]
    return " ".join(parts)


def _line(seen: Mapping[str, Any]) -> str:
    parts = [seen["line_id"]] + [f"{key}={seen[key]}" for key in ("plan", "fastest", "port", "signal", "serial")]
    parts += [f"visit={seen['visit'] or 'none'}"]
    parts += [f"{s['slot_id']} {_date(s['day'])} {s['part']}" for s in seen["free_slots"]]
    return " ".join(parts)


def _invoices(seen: Mapping[str, Any]) -> str:
    rows = [
        f"{i['invoice_id']} {i['line']} {MONTH_NAMES[i['month']].lower()} {i['amount']} {i['status']}"
        for i in seen["invoices"]
    ]
    return " ; ".join(rows) or "none"


def _outages(seen: Mapping[str, Any]) -> str:
    rows = [f"{o['outage_id']} {_date(o['day'])} hours={o['hours']} {o['status']}" for o in seen["outages"]]
    return " ; ".join(rows) or "none"


_OBSERVED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "get_account": _account,
    "get_line": _line,
    "list_invoices": _invoices,
    "get_outage": _outages,
    "find_customer_by_phone": lambda seen: str(seen["customer_id"]),
    "find_customer_by_email": lambda seen: str(seen["customer_id"]),
    "change_plan": lambda seen: f"ok {seen['line_id']} plan={seen['plan']} price={seen['price']}",
    "issue_credit": lambda seen: f"ok {seen['credit_id']} amount={seen['amount']}",
    "schedule_visit": lambda seen: f"ok {seen['visit_id']} proposed",
    "cancel_visit": lambda seen: f"ok {seen['visit_id']} cancelled",
    "reset_port": lambda seen: f"ok {seen['line_id']} port=ok reboot router",
    "transfer_to_human": lambda seen: "ok transferred",
}

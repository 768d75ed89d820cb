"""What one clause wants done at the router, or asks about having been done there.

A verb counts as an instruction only in the frame of one: at the start of a clause, after `please`, `could you`,
`you need to` and their kin, and outside negation, the past, and what the agent does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pivot_envs.domains.tau2.helpdesk.acts import Act
from pivot_envs.domains.tau2.helpdesk.clauses import Clause

# Words before a verb that make it a request to the customer.
_ADVERBS = (
    r"(?:(?:please|kindly|now|just|simply|first|next|then|also|quickly|briefly|once|again|both|carefully|"
    r"fully|maybe|perhaps|only|therefore|instead|okay|so|finally|and|afterwards|directly|really|for me|to|"
    r"a moment to|second to|minute to|i ask you to|i ask that you|i have you) ?){0,5}"
)
_OPENERS = (
    r"^(?:(?:okay|great|good|thanks|thank you|alright|well|sure|perfect|fine|yes|no problem|no|"
    r"in that case|understood|hello|hi|dear \w+|step \d+|\d+|the next step is|next step is|"
    r"the first step is|next up|from here|from your side|at your end|on your side|meanwhile|as a (?:next|"
    r"first|last) step|to fix this|and|but|or|so|for this|for now|for that|at home|task|"
    r"instruction)[\s,:.)-]*){0,4}"
)
_FRAMES = (
    r"\b(?:please|kindly|(?:can|could|would|will|may|might) you|(?:need|want|like|ask|asking|request|"
    r"have|get|advise|invite|urge|encourage) you|"
    r"you (?:should|need|must|have|can|could|may|might want|will need|will have|would need|ought|"
    r"might|will want|are asked|might need|just need|only need|only have)|let us|(?:shall|should|can|"
    r"could) we|go ahead and|go and|make sure|be sure|remember|"
    r"not forget|not hesitate|(?:help|good|great|nice|best|useful|wonderful|appreciate it|grateful|"
    r"glad) if you(?: could| would| can)?|"
    r"necessary|important|time|would like you|try|why (?:do you not|do not you|not|do not we)|"
    r"(?:have|do) to|all (?:you need|that is left) (?:to do )?is|is for you|able|willing|"
    r"necessary for you|you to|ready,?|you mind|"
    r"how about|what about|suggest|recommend|propose|start by|begin by|begin with|start with|by|worth|"
    r"would help|ask for|(?:suggest|recommend|propose)(?: that)? (?:you|we)|proceed with|"
    r"continue with|do|perform|give it|give (?:the|your) (?:router|box|modem)|try with)\s*"
)
_DIRECTIVE = re.compile(
    rf"(?:{_OPENERS}|{_FRAMES}){_ADVERBS}(?:(?:a|an|the|another|one more|quick|full|short|simple) ){{0,2}}$"
)
_BY_AGENT = re.compile(
    r"\b(?:(?:i|we) (?:will|can|could|would|have|had|am|are|was|did|shall|may|must|need to|want to|"
    r"also|just|then|now)\b(?!.*\byou\b(?! (?:r|while|when)))|"
    r"(?:let|allow) me\b|(?:shall|should|may|can|could) i\b(?! ask)(?! have you)|"
    r"(?:^|and |so )(?:i|we)(?: just| now| already)?(?= (?:reset|restarted|rebooted|replugged|"
    r"unplugged|ran|set|checked|turned|switched)\b)|"
    r"(?:the|your|our|this|that|a) (?!lights?\b)\w+ (?:will|should|may|might|can|has|had|was|is|gets|"
    r"got)\b|it (?:will|should|may|might|can|has|had|was)\b|"
    r"(?:technician|colleague|team|system|engineer)\b.*\b(?:will|can|to|should)\b)"
)
_PERFECT = re.compile(r"\b(?:have|has|had|was|were|been|already|got|having|after|since)\s+(?:\w+\s+){0,2}$")
_ASK_DONE = re.compile(r"\b(?:did|have|has|had|were|was|are|is) (?:you|the|that|your|it|this)\b")
_STILL_ASKS = re.compile(
    r"\byou to $|\byou (?:able|willing|ready|in a position) to $|\byou mind\b|\bwhy do\b|\byou (?:please|kindly) $|"
    r"\bis (?:it|that) (?:okay|possible|alright) (?:if you|to|for you)|\b(?:is|are) (?:the|your|it|this|that)\b"
)
"""What looks like a question about the past and is a request, or asks how things stand."""

_ROUTER = r"\b(?:router|modem|box|gateway|device|it|hub|equipment)\b"
_OTHER_MACHINE = r"\b(?:computer|laptop|phone|pc|television|tv|tablet|printer|browser|port|app)\b"
_CABLE = (
    r"\b(?:cables?|cords?|connectors?|(?:the|your|fibre|lan) plugs?|wires?|patch leads?|leads?|(?:fibre|"
    r"ethernet|lan)(?! (?:light|lamp|led|service|line|internet|network|connection|provider|signal|"
    r"customer|router|box))(?! is (?:red|green)))\b"
)
_LIGHT = r"\b(?:lights?|lamps?|leds?|indicators?)\b"
_WIFI = r"\b(?:wifi|wireless(?: network)?|wlan)\b"
_POWER = (
    r"\b(?:power (?:cable|cord|plug|supply|adapter|lead|connector)|mains|(?:from|off|into|"
    r"to) (?:the )?(?:power|socket|outlet)|wall socket|socket|the power|power off|electricity)\b"
)
# tool -> (verbs, what must stand in the clause, what must not)
_STEPS: tuple[tuple[str, str, str, str], ...] = (
    ("reboot_router", r"\b(?:reboot|restart|powercycle)(?:ing|ed|s)?\b", "", rf"{_OTHER_MACHINE}|\bspeedtest\b"),
    (
        "reboot_router",
        r"\b(?:reset(?:ting)?)\b",
        r"\b(?:router|modem|box|gateway|hub)\b",
        r"\b(?:port|factory|dns|password|settings)\b",
    ),
    (
        "reboot_router",
        r"\b(?:turn|switch|power)(?:ing|ed)?\b(?!.*\bwifi\b)",
        rf"{_ROUTER}.*\b(?:off|on|down|up)\b|\b(?:off|on|down|up)\b.*{_ROUTER}|"
        rf"\boff and (?:back )?on\b",
        rf"{_WIFI}|{_OTHER_MACHINE}|\bdns\b|{_LIGHT}|\bplan\b",
    ),
    (
        "reboot_router",
        r"\b(?:unplug|pull|disconnect|remov|tak|plug)(?:e|ing|ging|ged|ed)?\b",
        _POWER,
        r"\b(?:fibre|ethernet|lan)\b",
    ),
    (
        "toggle_wifi",
        r"\b(?:turn|switch|toggl|reenabl|reactivat|enabl|disabl|activat|deactivat|put|set|bring|tak|press|"
        r"restart|reset)(?:e|ing|ed|d|ting|ting)?\b",
        _WIFI,
        rf"\bdns\b|{_LIGHT}",
    ),
    (
        "replug_cable",
        r"\b(?:replug|unplug|detach|reseat|reconnect|plug|push|disconnect|remov|pull|reinsert|insert|"
        r"tighten|unscrew|reattach|attach|connect|tak|put|press|seat)(?:e|ing|ging|ged|ting|ed)?\b",
        _CABLE,
        rf"{_POWER}",
    ),
    (
        "replug_cable",
        r"\b(?:check|see|confirm|verify|make sure|ensure|look|test|examine|inspect)(?:ing|ed|s)?\b",
        rf"{_CABLE}",
        rf"{_LIGHT}|{_POWER}|\bspeed",
    ),
    (
        "check_lights",
        r"\b(?:check|look|tell|read|describ|see|inspect|verify|report|observ|examin|have a look|"
        r"take a look|watch|note|give|say|name|list|need|let me know|go)(?:e|ing|ed|s)?\b",
        rf"{_LIGHT}",
        "",
    ),
    (
        "run_speed_test",
        r"\b(?:run|do|perform|start|mak|measur|carry|repeat|try|launch|execut|tak|begin|conduct|use|redo|"
        r"rerun|give)(?:e|ing|ning|ed|s)?\b",
        r"\b(?:speedtest|measurement|speed measurement)\b|\bmeasur\w* .*\bspeed\b",
        "",
    ),
    (
        "run_speed_test",
        r"\b(?:measur|test|check)(?:e|ing|ed|s)?\b",
        r"\b(?:speed|connection|internet|line speed|download rate|throughput)\b",
        rf"\b(?:from here|your line|our end|account|plan|records?)\b|{_LIGHT}|{_CABLE}",
    ),
    (
        "run_speed_test",
        r"\b(?:open|load|visit|browse|try|refresh|reload|go|call up)(?:ing|ed)?\b",
        r"\b(?:web ?(?:page|site)s?|pages?|sites?|internet|online|to connect|browser|browsing|again|"
        r"connection|on the web)\b",
        rf"\b(?:router|cable|wifi|invoice|dns|reboot\w*|replug\w*|restart\w*|menu|label|sticker)\b|"
        rf"{_LIGHT}",
    ),
    (
        "read_serial",
        r"\b(?:read|tell|give|send|look|find|provide|check|share|report|need|want|have|spell|say|see|"
        r"state|note|enter|let me know|name|type)(?:ing|s)?\b",
        r"\bserial\b|\b(?:label|sticker)\b",
        rf"{_LIGHT}|\b(?:match(?:es|ed)?|differs?|records? show)\b",
    ),
    (
        "set_dns",
        r"\b(?:set|chang|correct|adjust|switch|reset|put|configur|select|choos|us|restor|return|turn|"
        r"revert|bring|pick|mov)(?:e|ing|ting|ed)?\b",
        r"\b(?:dns|name ?servers?)\b",
        "",
    ),
    (
        "accept_visit",
        r"\b(?:accept|approve|confirm|acknowledge|press accept|tap accept|click accept|tap|"
        r"press)(?:ing)?\b",
        r"\b(?:in|on|through|via|using|with) (?:the|your|our) app\b|\bin-app\b|\bv-c\d+-\d+\b",
        r"\bshall i\b|\bshould i\b|\bmay i\b|\bcancel|\bthat i\b|\bi should\b",
    ),
    (
        "accept_visit",
        r"\baccept(?:ing)?\b",
        r"\b(?:visit|appointment|proposal|proposed)\b",
        r"\bshall i\b|\bshould i\b",
    ),
)
_COMPILED_STEPS = tuple(
    (tool, re.compile(verb), re.compile(need) if need else None, re.compile(bar) if bar else None)
    for tool, verb, need, bar in _STEPS
)
_MORE_HELP = re.compile(r"\b(?:anything|something|else|any other|further|what else)\b")
TRY_THAT = re.compile(r"\b(?:(?:can|could|would|will) you|please|let us) (?:\w+ )?(?:try|do) (?:that|this|it|so)\b")
NAMED_STEPS = (
    ("reboot_router", re.compile(r"\b(?:reboot|restart|powercycl)\w*\b")),
    ("run_speed_test", re.compile(r"\bspeedtest\b")),
    ("check_lights", re.compile(r"\bcheck\w* (?:of )?the lights\b")),
    ("replug_cable", re.compile(r"\b(?:replugg|reseat)\w* (?:of )?the (?:fibre )?cable\b")),
)
_LIGHT_QUESTION = re.compile(
    rf"\b(?:what|which|how|is|are|do|does|any|can you see|did)\b.*{_LIGHT}|{_LIGHT}.*\b(?:red|green|"
    rf"orange|off|on|show|blink\w*|flash\w*|look\w*)\b|^(?:the )?{_LIGHT}$|"
    rf"what do you see on the router|\bis (?:the )?(?:wifi|fibre|power|internet) (?:red|green|orange)\b"
)
_RESULT_QUESTION = re.compile(
    r"\b(?:do|does|did|is|are|has|have|can|how|what|any|will)\b.*\b(?:work|works|working|back|better|"
    r"faster|fixed|solved|resolved|sorted|settled|gone|online|improved?|improvements?|help|helped|"
    r"helps|restored|up again|up and running|load|loads|loading|mbit|megabits?|how fast|speed|success|"
    r"difference|internet again|connection again|speedtest|connected again|browse|stable|surf)\b|"
    r"\b(?:is|are) (?:your |the )?(?:internet|connection|line|wifi|speed|everything|all)\b.*\b(?:okay|"
    r"fine|good|alright)\b|how fast is|^better$"
)
_OTHER_QUESTION = re.compile(
    r"\b(?:plan|invoice|credit|visit|slot|help you|i help|which one|suit|s\d\d|time|day|date)\b"
)
REPORT = re.compile(
    r"^(?:and |then |please |also )*(?:tell|let|say|see|report|inform|check|verify|note|confirm|"
    r"write)\b(?: \w+){0,3}? ?\b(?:if|whether|what|how|when|once|which|back|the (?:result|outcome|number|"
    r"speed))\b"
)
TELL_ME = re.compile(r"\b(?:let me know|tell me|inform me|give me a shout|report back)\b")


@dataclass
class Scope:
    """What holds over the clauses of a sentence that hang together."""

    negated: bool = False
    agent: bool = False
    """The agent is the one acting."""
    asked: bool = False
    """A question about the past runs on."""
    condition: str = ""

    def enter(self, clause: Clause) -> None:
        """Forget what a new start, or a word such as `just`, ends."""
        if clause.link not in ("and", "or", "nor"):
            self.negated = self.agent = self.asked = False
        if clause.link == "and" and re.search(r"\b(?:please|just|instead|you|but)\b", clause.text):
            self.negated = self.agent = False

    def leave(self, clause: Clause, result: list[Act]) -> None:
        """Note what runs on into the next clause."""
        self.negated = (
            self.negated or not result and bool(re.search(r"\b(?:not|never|no need|avoid|without)\b", clause.text))
        )
        self.agent = self.agent or bool(_BY_AGENT.search(clause.text))
        self.asked = self.asked or any(act.kind == "ask_done" for act in result)


_THINGS = re.compile(
    r"\b(?:(?:fibre|ethernet|lan|optical|network|power) (?:cable|cord|connector|plug)|cable|wifi|"
    r"wireless network|router|modem|box|dns(?: server)?|serial number)\b"
)
_PRONOUN = re.compile(
    r"\b(?P<verb>(?:unplug|plug|turn|switch|activate|enable|disable|deactivate|push|pull|replug|"
    r"reseat|reconnect|toggle|reset|restart|reboot|set|change|correct|adjust|read|reenable|reattach|"
    r"detach|remove|disconnect|insert|reinsert|put|take)(?:ging|ing|ting)?) (?:it|them|that)\b"
)


def resolve_pronouns(sentence: str, before: str) -> str:
    """Put the thing last spoken of in the place of `it` after a verb of handling."""

    def named(match: re.Match[str]) -> str:
        things = _THINGS.findall(f"{before} {sentence[: match.start()]}")
        return f"{match.group('verb')} the {things[-1]}" if things else match.group(0)

    return _PRONOUN.sub(named, sentence)


def read_prerequisites(clause: Clause) -> Iterator[Act]:
    """`After restarting the router, run a speedtest`: the first is done too, unless the customer has done it."""
    text = re.sub(r"^(?:and |but |so )?(?:after|once|as soon as) (?:you (?:have )?(?:already )?)?", "", clause.text)
    text = re.sub(r"^(\w+?)(t|g|d)?\2?(?:ing|ed)\b", lambda m: m.group(1) + (m.group(2) or ""), text)
    if re.match(r"(?:restart|reboot|replug|unplug|plug|turn|switch|reset|check|reconnect|reseat|power)", text):
        for act in read_steps(Clause(text, False), Scope()):
            yield Act(act.kind, act.topic, act.slots, "unless_done")


def read_steps(clause: Clause, scope: Scope) -> Iterator[Act]:
    """Yield what one clause wants done at the router, or asks about having been done there."""
    text = clause.text
    done: set[str] = set()
    for tool, verb, need, bar in _COMPILED_STEPS:
        if tool in done or (need and not need.search(text)) or (bar and bar.search(text)):
            continue
        for match in verb.finditer(text):
            mood = _mood(clause, match, scope)
            if mood:
                done.add(tool)
                yield from _acts_of(tool, text, mood, scope.condition)
                break
    reporting = bool(REPORT.search(text))
    if not done and not scope.negated and (clause.question or reporting) and not clause.negated(len(text)):
        if _LIGHT_QUESTION.search(text) or (reporting and re.search(_LIGHT, text)):
            yield Act("step", "check_lights", (), scope.condition)
        elif re.search(r"\bserial\b", text) and not re.search(r"\b(?:i|we) (?:have|see|found)\b", text):
            yield Act("step", "read_serial", (), scope.condition)
        elif (
            _RESULT_QUESTION.search(re.sub(r"^.*?\b(?:if|whether)\b", "is", text) if reporting else text)
            and not _MORE_HELP.search(text)
            and not _OTHER_QUESTION.search(text)
        ):
            yield Act("step", "run_speed_test", (("implicit", "yes"),), scope.condition)


def _mood(clause: Clause, match: re.Match[str], scope: Scope) -> str:
    """Say what a verb is in its clause: `step` (do it), `ask_done` (was it done), or nothing of either."""
    text, prefix, word = clause.text, clause.text[: match.start()], match.group(0)
    if scope.negated or clause.negated(match.start()) and not re.search(r"\bask(?:ing)? you not\b", prefix):
        return ""
    if re.search(r"\b(?:what|how) (?:happens|happened)\b|\bdo you (?:know|remember) how\b", prefix):
        return ""
    if scope.asked or clause.question and _ASK_DONE.search(prefix) and not _STILL_ASKS.search(prefix):
        return "ask_done"
    if word.endswith("ed") and not word.endswith("need"):
        if re.search(r"(?:^|please |you |and )(?:make sure|ensure)\b", prefix):
            return "step"
        if re.search(
            r"\b(?:confirm|check|verify|make sure|ensure|see|tell me|let me know) (?:that|if|whether)\b", prefix
        ):
            return ""
        return "ask_done" if clause.question and re.search(r"\b(?:is|was|has|have|did)\b", prefix) else ""
    if scope.agent or _PERFECT.search(prefix) and not re.search(r"\b(?:you|we) have to $|\bhave to (?:\w+ )?$", prefix):
        return ""
    if _BY_AGENT.search(prefix):
        return ""
    if re.search(
        r"\b(?:do|perform|try|give it|give (?:the|your) (?:router|box|modem)|run|start|ask for|need|"
        r"proceed with|continue with|make) (?:a|the|another)(?: quick| full| short| simple)? $",
        prefix,
    ):
        return (
            "step" if _DIRECTIVE.search(prefix) or re.match(r"(?:do|perform|try|give|run|start|make)\b", prefix) else ""
        )
    if re.search(r"\b(?:a|the|this|that|your|another) $", prefix):
        return ""
    if word.endswith("ing") and re.fullmatch(_OPENERS[1:] + _ADVERBS, prefix):
        return ""
    if re.match(
        r"\s+(?:of|is|was|has|will|takes|helped|did|should|may|went|worked|completed|finished|looks|"
        r"show)\b",
        text[match.end() :],
    ) and not word.startswith(("look",)):
        return ""
    return "step" if _DIRECTIVE.search(prefix) else _needed(prefix, word)


def _needed(prefix: str, word: str) -> str:
    """`I need the serial number`, `I would need to know the lights`: requests with the agent as subject."""
    return (
        "step"
        if word in ("need", "want")
        and re.search(r"\b(?:i|we)(?: will| would| also| still| only| just| now)* $", prefix)
        else ""
    )


def _acts_of(tool: str, text: str, mood: str, condition: str) -> Iterator[Act]:
    """Yield one act for each value the clause names: both cables, off and on again."""
    if mood == "ask_done":
        yield Act("ask_done", tool)
        return
    for slots in step_values(tool, text):
        yield Act("step", tool, slots, condition)


def step_values(tool: str, text: str) -> list[tuple[tuple[str, str], ...]]:
    """Return the values of each call a clause asks for: both cables, off and on again."""
    if tool == "replug_cable":
        both = bool(re.search(r"\b(?:all|both|every|each|the cables|cables)\b", text))
        fibre = bool(re.search(r"\b(?:fibre|optical|glass)\b(?! (?:light|lamp|led))", text))
        ethernet = bool(re.search(r"\b(?:ethernet|lan|network cable|patch)\b", text))
        names = [
            n for n, hit in (("fibre", fibre or not ethernet), ("ethernet", ethernet or (both and not fibre))) if hit
        ]
        return [(("cable", name),) for name in names]
    if tool == "toggle_wifi":
        off = re.search(r"\b(?:off|disabl\w*|deactivat\w*)\b", text)
        on = re.search(r"\b(?:on|enabl\w*|activat\w*|back on)\b", re.sub(r"\bon (?:the|your|my|a|this)\b", "", text))
        if re.search(r"\b(?:restart|reset)", text):
            return [(("on", "false"),), (("on", "true"),)]
        if off and on:
            order = [("on", "false"), ("on", "true")] if off.start() < on.start() else [("on", "true"), ("on", "false")]
            return [(value,) for value in order]
        return [(("on", "false" if off else "true" if on else "flip"),)]
    if tool == "set_dns":
        for pattern, server in (
            (r"\b(?:secondary|backup|second)\b", "secondary"),
            (r"\b(?:primary|main|first server)\b", "primary"),
        ):
            if re.search(pattern, text):
                return [(("server", server),)]
        return [(("server", "automatic"),)]
    if tool == "accept_visit":
        visit = re.search(r"\bv-c\d+-\d+\b", text)
        return [(("visit_id", visit.group(0).upper()),) if visit else ()]
    return [()]


def read_condition(clause: Clause) -> str:
    """Return the light a conditional clause speaks of, or an empty string."""
    light = re.search(r"\b(fibre|internet|wifi|power)\b", clause.text)
    if not light:
        return ""
    for word in ("red", "orange", "off", "green"):
        if re.search(rf"\b{word}\b", clause.text):
            unlike = "!" if re.search(r"\bnot\b", clause.text) or clause.subordinate == "unless" else ""
            return f"{light.group(1)}{unlike}={word}"
    return ""

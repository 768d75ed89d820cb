"""What an agent's message does: speech acts read from free English, before any customer reacts to them.

`understand(text)` returns acts in textual order. It knows the words of this desk and router; it looks at no state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pivot_envs.domains.tau2.helpdesk.clauses import MAX_TEXT, Clause, clauses, normalise, sentences

PLAN_NAMES = ("basic", "plus", "max", "giga")


@dataclass(frozen=True)
class Act:
    """One speech act. `topic` is a device tool, an operation or a field, by kind; `slots` its values."""

    kind: str
    """step, ask_done, ask_identity, ask_yes, ask_choice, ask_more, ask_need, close, wait, transfer, refuse, greet, inform."""
    topic: str = ""
    slots: tuple[tuple[str, str], ...] = ()
    condition: str = ""
    """For a step: the light it depends on, such as `fibre=red`."""

    def slot(self, name: str) -> str:
        """Return a slot's value or an empty string."""
        return dict(self.slots).get(name, "")


# Words before a verb that make it a request to the customer.
_ADVERBS = r"(?:(?:please|kindly|now|just|simply|first|next|then|also|quickly|briefly|once|again|both|carefully|fully|maybe|perhaps|only|therefore|instead|okay|so|finally|and|afterwards|directly|really|for me|to|a moment to|second to|minute to|i ask you to|i ask that you|i have you) ?){0,5}"
_OPENERS = r"^(?:(?:okay|great|good|thanks|thank you|alright|well|sure|perfect|fine|yes|no problem|no|in that case|understood|hello|hi|dear \w+|step \d+|\d+|the next step is|next step is|the first step is|next up|from here|from your side|at your end|on your side|meanwhile|as a (?:next|first|last) step|to fix this|and|but|or|so|for this|for now|for that|at home|task|instruction)[\s,:.)-]*){0,4}"
_FRAMES = (
    r"\b(?:please|kindly|(?:can|could|would|will|may|might) you|(?:need|want|like|ask|asking|request|have|get|advise|invite|urge|encourage) you|"
    r"you (?:should|need|must|have|can|could|may|might want|will need|will have|would need|ought|might|will want|are asked|might need|just need|only need|only have)|let us|(?:shall|should|can|could) we|go ahead and|go and|make sure|be sure|remember|"
    r"not forget|not hesitate|(?:help|good|great|nice|best|useful|wonderful|appreciate it|grateful|glad) if you(?: could| would| can)?|"
    r"necessary|important|time|would like you|try|why (?:do you not|do not you|not|do not we)|"
    r"(?:have|do) to|all (?:you need|that is left) (?:to do )?is|is for you|able|willing|necessary for you|you to|ready,?|you mind|"
    r"how about|what about|suggest|recommend|propose|start by|begin by|begin with|start with|by|worth|would help|ask for|(?:suggest|recommend|propose)(?: that)? (?:you|we)|proceed with|continue with|do|perform|give it|give the router|try with)\s*"
)
_DIRECTIVE = re.compile(rf"(?:{_OPENERS}|{_FRAMES}){_ADVERBS}(?:a |an |the |another |one more |quick |full |short )?$")
_BY_AGENT = re.compile(
    r"\b(?:(?:i|we) (?:will|can|could|would|have|had|am|are|was|did|shall|may|must|need to|want to|also|just|then|now)\b(?!.*\byou\b(?! (?:r|while|when)))|"
    r"(?:let|allow) me\b|(?:shall|should|may|can|could) i\b(?! ask)(?! have you)|"
    r"(?:^|and |so )(?:i|we)(?: just| now| already)?(?= (?:re|un|ran|set|check|turn|switch|replug))|"
    r"(?:the|your|our|this|that|a) (?!lights?\b)\w+ (?:will|should|may|might|can|has|had|was|is|gets|got)\b|it (?:will|should|may|might|can|has|had|was)\b|"
    r"(?:technician|colleague|team|system|engineer)\b.*\b(?:will|can|to|should)\b)"
)
_PERFECT = re.compile(r"\b(?:have|has|had|was|were|been|already|got|having|after|since)\s+(?:\w+\s+){0,2}$")
_ASK_DONE = re.compile(r"\b(?:did|have|has|had|were|was|are|is|do) (?:you|the|that|your|it|this)\b")

_ROUTER = r"\b(?:router|modem|box|gateway|device|it|hub|equipment)\b"
_OTHER_MACHINE = r"\b(?:computer|laptop|phone|pc|television|tv|tablet|printer|browser|port|app)\b"
_CABLE = r"\b(?:cables?|cords?|connectors?|plugs?|wires?|patch leads?|leads?|(?:fibre|ethernet|lan)(?! (?:light|lamp|led|service|line|internet|network|connection|provider|signal|customer|router|box))(?! is (?:red|green)))\b"
_LIGHT = r"\b(?:lights?|lamps?|leds?|indicators?)\b"
_WIFI = r"\b(?:wifi|wireless(?: network)?|wlan)\b"
_POWER = r"\b(?:power (?:cable|cord|plug|supply|adapter|lead|connector)|mains|(?:from|off|into|to) (?:the )?(?:power|socket|outlet)|wall socket|socket|the power|power off|electricity)\b"
# tool -> (verbs, what must stand in the clause, what must not)
_STEPS: tuple[tuple[str, str, str, str], ...] = (
    ("reboot_router", r"\b(?:reboot|restart|powercycle)(?:ing|ed|s)?\b", "", rf"{_OTHER_MACHINE}|\bspeedtest\b"),
    ("reboot_router", r"\b(?:reset(?:ting)?)\b", r"\b(?:router|modem|box|gateway|hub)\b", r"\b(?:port|factory|dns|password|settings)\b"),
    ("reboot_router", r"\b(?:turn|switch|power)(?:ing|ed)?\b(?!.*\bwifi\b)", rf"{_ROUTER}.*\b(?:off|on|down|up)\b|\b(?:off|on|down|up)\b.*{_ROUTER}|\boff and (?:back )?on\b", rf"{_WIFI}|{_OTHER_MACHINE}|\bdns\b|{_LIGHT}|\bplan\b"),
    ("reboot_router", r"\b(?:unplug|pull|disconnect|remov|tak|plug)(?:e|ing|ging|ged|ed)?\b", _POWER, r"\b(?:fibre|ethernet|lan)\b"),
    ("toggle_wifi", r"\b(?:turn|switch|toggl|enabl|disabl|activat|deactivat|put|set|bring|tak|press|restart|reset)(?:e|ing|ed|d|ting|ting)?\b", _WIFI, rf"\bdns\b|{_LIGHT}"),
    ("replug_cable", r"\b(?:replug|unplug|reseat|reconnect|plug|push|disconnect|remov|pull|reinsert|insert|tighten|unscrew|reattach|attach|connect|tak|put|press|seat)(?:e|ing|ging|ged|ting|ed)?\b", _CABLE, rf"{_POWER}"),
    ("replug_cable", r"\b(?:check|see|verify|make sure|ensure|look|test|examine|inspect)(?:ing|ed|s)?\b", rf"{_CABLE}", rf"{_LIGHT}|{_POWER}|\bspeed"),
    ("check_lights", r"\b(?:check|look|tell|read|describ|see|inspect|verify|report|observ|examin|have a look|take a look|watch|note|give|say|name|list|need|let me know|go)(?:e|ing|ed|s)?\b", rf"{_LIGHT}", ""),
    ("run_speed_test", r"\b(?:run|do|perform|start|mak|measur|carry|repeat|try|launch|execut|tak|begin|conduct|use|redo|rerun|give)(?:e|ing|ning|ed|s)?\b", r"\b(?:speedtest|measurement|speed measurement)\b|\bmeasur\w* .*\bspeed\b", ""),
    ("run_speed_test", r"\b(?:measur|test|check)(?:e|ing|ed|s)?\b", r"\b(?:speed|connection|internet|line speed|download rate|throughput)\b", rf"\b(?:from here|your line|our end|account|plan|records?)\b|{_LIGHT}|{_CABLE}"),
    ("run_speed_test", r"\b(?:open|load|visit|browse|try|refresh|reload|go|call up)(?:ing|ed)?\b", r"\b(?:web ?(?:page|site)s?|pages?|sites?|internet|online|to connect|browser|browsing|again|connection|on the web)\b", rf"\b(?:router|cable|wifi|invoice|dns|reboot\w*|replug\w*|restart\w*|menu|label|sticker)\b|{_LIGHT}"),
    ("read_serial", r"\b(?:read|tell|give|send|look|find|provide|check|share|report|need|want|have|spell|say|see|state|note|enter|let me know|name|type)(?:ing|s)?\b", r"\bserial\b|\b(?:label|sticker)\b", rf"{_LIGHT}|\b(?:match(?:es|ed)?|differs?|records? show)\b"),
    ("set_dns", r"\b(?:set|chang|switch|reset|put|configur|select|choos|us|restor|return|turn|revert|bring|pick|mov)(?:e|ing|ting|ed)?\b", r"\b(?:dns|name ?servers?)\b", ""),
    ("accept_visit", r"\b(?:accept|approve|confirm|acknowledge|press accept|tap accept|click accept|tap|press)(?:ing)?\b", r"\b(?:in|on|through|via|using|with) (?:the|your|our) app\b|\bin-app\b|\bv-c\d+-\d+\b", r"\bshall i\b|\bshould i\b|\bmay i\b|\bcancel|\bthat i\b|\bi should\b"),
    ("accept_visit", r"\baccept(?:ing)?\b", r"\b(?:visit|appointment|proposal|proposed)\b", r"\bshall i\b|\bshould i\b"),
)  # fmt: skip
_COMPILED_STEPS = tuple(
    (tool, re.compile(verb), re.compile(need) if need else None, re.compile(bar) if bar else None)
    for tool, verb, need, bar in _STEPS
)
_LIGHT_QUESTION = re.compile(
    rf"\b(?:what|which|how|is|are|do|does|any|can you see|did)\b.*{_LIGHT}|{_LIGHT}.*\b(?:red|green|orange|off|on|show|blink\w*|flash\w*|look\w*)\b|^(?:the )?{_LIGHT}$|what do you see on the router|\bis (?:the )?(?:wifi|fibre|power|internet) (?:red|green|orange)\b"
)
_RESULT_QUESTION = re.compile(
    r"\b(?:do|does|did|is|are|has|have|can|how|what|any|will)\b.*\b(?:work|works|working|back|better|faster|fixed|solved|gone|online|improved?|help|helped|helps|restored|up again|up and running|load|loads|loading|mbit|megabits?|how fast|speed|success|difference|internet again|connection again|connected again|browse|stable|surf)\b|how fast is|^better$"
)
_REPORT = re.compile(r"^(?:and |then |please |also )*(?:tell|let|say|see|report|inform|check|verify|note|confirm|write)\b(?: \w+){0,3}? ?\b(?:if|whether|what|how|when|once|which|back|the (?:result|outcome|number|speed))\b")
_OPERATION_WORDS: tuple[tuple[str, str], ...] = (
    ("transfer_to_human", r"\b(?:transfer|hand|forward|pass|connect|put)\w*\b.*\b(?:human|colleague|person|agent|specialist|someone|representative|supervisor|team)\b|\btransfer you\b"),
    ("move_visit", r"\b(?:mov|reschedul|rebook|postpon|shift)\w*\b.*\b(?:visit|appointment|technician|it|slot|s\d\d)\b|\bcancel\w*\b.*\b(?:book|schedul|arrang)\w*\b|\b(?:book|schedul)\w*\b.*\bcancel\w*\b|\bvisit\b.*\binstead\b"),
    ("cancel_visit", r"\b(?:cancel\w*|call(?:ed)? off|drop)\b"),
    ("reset_port", r"\bports?\b"),
    ("issue_credit", r"\b(?:credit\w*|refund\w*|compensat\w*|money back|reimburs\w*|pay back)\b"),
    ("schedule_visit", r"\b(?:book|schedul\w*|arrang\w*|reserv\w*|slots?|s\d\d|technician|visit|appointment|engineer)\b"),
    ("change_plan", r"\b(?:plan|tariff|basic|plus|max|giga|upgrad\w*|downgrad\w*|switch|package|subscription)\b"),
    ("look", r"\b(?:look|check|search|see|open|review)\b.*\b(?:account|invoices?|line|records?|details|outages?)\b"),
)  # fmt: skip
_OPERATIONS = tuple((op, re.compile(pattern)) for op, pattern in _OPERATION_WORDS)
_OFFER = re.compile(
    r"\b(?:shall|should|may|can|could|must) (?:i|we)\b(?! (?:help|assist|have|ask|get|do anything|be of|know|see your|take your|offer you anything))|"
    r"\b(?:do|would) you (?:want|like|wish|prefer)\b(?: (?:me|us|that i|if i|to))|\bwant me to\b|\blike me to\b|"
    r"\bdo you want (?:the|a|this|that|it)\b|\bwould you like (?:the|a|this|that|it|to)\b"
)
_AGREE = re.compile(
    r"\b(?:is|would|are|does|do|will|sounds?) (?:that|this|it|you|everything|these|s\d\d|the (?:slot|date|time|day|price|amount|change|plan)\b.*?)\s?(?:be |still )?(?:okay|fine|alright|good|acceptable|correct|right|agreed?|happy|work|suit|sound|convenient|accept|confirm|consent|approve|sure|in order|in agreement)\b|"
    r"^(?:okay|correct|agreed|right|deal|yes|yes or no|alright|proceed|go ahead)$|\byes or no\b|\bgo ahead\?|\b(?:do|would) you (?:agree|accept|confirm|consent|approve|want to (?:go ahead|proceed|continue))\b|"
    r"\b(?:can|could|may|would|will) you (?:please )?confirm\b|^(?:please |kindly |just )*confirm\b|\bsay yes\b|\breply (?:with )?yes\b|\banswer (?:with )?yes\b|\bwith a yes\b|"
    r"\b(?:i|we) (?:need|require|want|would like) your (?:yes|okay|approval|permission|consent|confirmation|go-ahead|agreement)\b|\bmay i have your (?:yes|okay|approval|permission|consent|confirmation)\b|\b(?:do|have) i have your (?:okay|approval|permission|consent|confirmation)\b|\bdo i have your\b|\blet me know if (?:that|this) is (?:okay|fine|alright|right|correct)\b|\bneed you to confirm\b"
)
_BARE_OPERATION = re.compile(r"^(?:so |then |now |please )*(?:change|switch|upgrade|downgrade|book|schedule|cancel|issue|move|reset|credit|transfer|reschedule|put|proceed|go ahead)\b")
_ASK_MORE = re.compile(
    r"\b(?:(?:any|some)thing (?:else|more|further)|any (?:other|more|further) (?:\w+ )?(?:questions?|issues?|requests?|help|concerns?|problems?|matters?|thing)|"
    r"further (?:questions?|help|assistance|requests?|issues?)|what else|else i can|else you need|more i can do|other questions?|other way i can help|need more help|need other help|something left|additional (?:questions?|help|requests?))\b"
)
_CLOSE = re.compile(
    r"\b(?:good ?bye|bye|have a (?:nice|good|great|lovely|pleasant|wonderful) (?:day|evening|one|afternoon|morning|weekend|time)|take care|farewell|closing (?:this|the) (?:chat|conversation|case|call)|enjoy your (?:day|evening|weekend)|until next time|all the best|see you)\b"
)
_THANK_CALLER = re.compile(r"\bthank(?:s| you) (?:so much |very much )?for (?:calling|contacting|your call|reaching out|getting in touch)\b")
_ASK_NEED = re.compile(
    r"\b(?:how (?:can|may|could) i (?:help|assist|be of)|what (?:can|may|could) i (?:do|help)|what (?:is|seems to be|exactly is) (?:the|your) (?:problem|issue|matter|concern|request|trouble|reason)|what brings you|describe (?:the|your) (?:problem|issue)|tell me (?:more )?(?:about )?(?:the|your) (?:problem|issue|request|concern)|"
    r"what do you need|how i can help|what is wrong|what (?:is|has) happen\w*|what would you like (?:me )?to do|can i help you|may i help you|what exactly (?:do|does)|please explain|explain (?:the|your))\b"
)
_WAIT = re.compile(
    r"\b(?:(?:one|a|just a) (?:moment|second|minute)|moment please|bear with me|hold on|hang on|please wait|wait a|let me (?:check|look|see|find|pull|open|verify|review|get|take|search|go|do|have)|allow me to|"
    r"i (?:will|am going to|shall|need to) (?:now |just |quickly |first )*(?:check|look|see|find|pull|open|verify|review|get|search|go|do|take|reset|change|issue|book|schedule|cancel|prepare|credit)|i am (?:now )?(?:checking|looking|opening|searching|pulling|reviewing|verifying)|give me a|stay on the line|right away|in a moment)\b"
)
_TRANSFER = re.compile(r"\b(?:transferr?(?:ing|ed)?|(?:connect|hand|forward|pass|put)\w* you)\b.*\b(?:human|colleague|person|agent|specialist|someone|representative|supervisor|team|you|through)\b")
_REFUSE = re.compile(
    r"\b(?:(?:i|we) (?:am|are)? ?(?:cannot|can not|could not|unable|not able|not allowed|not permitted|may not|do not offer|must not)|(?:is|are|was) not (?:possible|allowed|available|permitted|eligible|entitled)|not possible|not eligible|unfortunately|not entitled|no credit|impossible|have to (?:decline|refuse)|must (?:decline|refuse)|cannot (?:be|give|grant|offer|change|credit|do|issue)|there was no outage|no outage|at most|no more than|only up to|open invoice|unpaid|will not be able)\b"
)
_GREET = re.compile(r"^(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|welcome|greetings|dear)\b|\bwelcome to\b")
_THANK = re.compile(r"\b(?:thank(?:s| you)|you are welcome|my pleasure|glad to|happy to help|great|perfect|excellent|wonderful|good|okay|sure|alright|certainly|of course|understood|i see|got it|noted|no problem|sorry|apolog\w+|i understand)\b")
_DOMAIN = re.compile(
    r"\b(?:lines?|plans?|invoices?|bills?|amounts?|euros?|eur|visits?|technicians?|outages?|credits?|ports?|routers?|cables?|lights?|speed|internet|accounts?|slots?|appointments?|serial|dns|wifi|fibre|done|changed|reset|booked|cancell?ed|fixed|solved|working|works|connection|signal|customer|month|price|charged?|hours?|day|may|april|march|june|morning|afternoon|tariff|restart\w*|reboot\w*|found|registered|records?|matches|match|refund\w*|open|paid|issued|scheduled|identity|verified|mbit|damaged|phone|email|case|transfer\w*|[clsiorv]\d{1,4}|v-c\d+-\d+|problem|issue|fault|resolved|complete\w*|everything|updated?|confirmed)\b|\d"
)
_DEMANDING = ("step", "ask_done", "ask_identity", "ask_yes", "ask_choice", "ask_more", "ask_need", "close")


def understand(text: str) -> tuple[Act, ...]:
    """Return the acts of an agent's message in textual order, without repeats. Empty if nothing makes sense."""
    return _understand(text[:MAX_TEXT])


@lru_cache(maxsize=4096)
def _understand(text: str) -> tuple[Act, ...]:
    plain = normalise(text)
    acts: list[Act] = []
    before = ""
    for sentence, question in sentences(plain):
        for act in _sentence(sentence, question, before, acts):
            if act not in acts:
                acts.append(act)
        before = f"{before} {sentence}"[-600:]
    return _settle(acts)


def _settle(acts: list[Act]) -> tuple[Act, ...]:
    """Drop what another act of the message makes pointless."""
    # Thanks for the call open as many conversations as they end.
    if any(act.kind in _DEMANDING and act != Act("close", "thanks") or act.kind in ("greet", "wait") for act in acts):
        acts = [act for act in acts if act != Act("close", "thanks")]
    kinds = {act.kind for act in acts}
    if "close" in kinds:
        acts = [act for act in acts if act.kind != "ask_more"]
    if "ask_more" in kinds or "ask_identity" in kinds:
        acts = [act for act in acts if act.kind != "ask_need"]
    choices = {act.topic for act in acts if act.kind == "ask_choice"}
    if "slot" in choices or "plan" in choices:  # "which suits you?" after an offer is one question, not two
        acts = [act for act in acts if not (act.kind == "ask_yes" and act.topic in ("", "schedule_visit", "move_visit", "change_plan"))]
    named = [act for act in acts if act.kind == "ask_yes" and act.topic]
    if named:
        acts = [act for act in acts if not (act.kind == "ask_yes" and not act.topic)]
    topics: set[str] = set()
    settled = []
    for act in acts:  # one question for one operation, however often it is repeated
        if act.kind == "ask_yes" and act.topic in topics:
            continue
        topics.add(act.topic if act.kind == "ask_yes" else "")
        settled.append(act)
    return tuple(settled)


def _sentence(sentence: str, question: bool, before: str, acts: list[Act]) -> Iterator[Act]:
    """Yield the acts of one sentence: router steps clause by clause, everything else on the whole."""
    pieces = clauses(sentence, question)
    found: list[Act] = []
    condition, negated, agent, asked = "", False, False, False
    for clause in pieces:
        if clause.link not in ("and", "or", "nor"):
            negated = agent = asked = False
        if clause.link == "and" and re.search(r"\b(?:please|just|instead|you|but)\b", clause.text):
            negated = agent = False
        if clause.subordinate in ("if", "unless", "in case", "should the", "when"):
            condition = condition or _condition(clause)
            if found and found[-1].kind == "step" and condition and clause is pieces[-1]:
                found[-1] = Act("step", found[-1].topic, found[-1].slots, condition)
            if re.search(r"^if (?:not|so)\b", clause.text):
                condition = ""
            continue
        if clause.subordinate in ("before", "because", "since", "while", "until"):
            continue
        result = list(_steps(clause, negated, agent, asked, condition))
        said_no = bool(re.search(r"\b(?:not|never|no need|avoid|without)\b", clause.text)) and not result
        negated = negated or said_no
        agent = agent or bool(_BY_AGENT.search(clause.text))
        asked = asked or any(act.kind == "ask_done" for act in result)
        for act in result:
            reported = act.slot("implicit") and any(a.kind == "step" and a.topic != "check_lights" for a in [*acts, *found])
            if not (reported and _REPORT.search(clause.text)):
                found.append(act)
    yield from (Act(a.kind, a.topic, tuple(s for s in a.slots if s[0] != "implicit"), a.condition) for a in found)
    yield from _talk(sentence, question, before, any(a.kind in ("step", "ask_done") for a in found))


def _steps(clause: Clause, negated: bool, agent: bool, asked: bool, condition: str) -> Iterator[Act]:
    """Yield what one clause wants done at the router, or asks about having been done there."""
    text = clause.text
    done: set[str] = set()
    for tool, verb, need, bar in _COMPILED_STEPS:
        if tool in done or (need and not need.search(text)) or (bar and bar.search(text)):
            continue
        for match in verb.finditer(text):
            mood = _mood(clause, match, negated, agent, asked)
            if mood == "step" and clause.subordinate in ("once", "after", "as soon as"):
                continue
            if mood:
                done.add(tool)
                yield from _acts_of(tool, text, mood, condition)
                break
    reporting = bool(_REPORT.search(text))
    if not done and not negated and (clause.question or reporting) and not clause.negated(len(text)):
        if _LIGHT_QUESTION.search(text) or (reporting and re.search(_LIGHT, text)):
            yield Act("step", "check_lights", (), condition)
        elif re.search(r"\bserial\b", text) and not re.search(r"\b(?:i|we) (?:have|see|found)\b", text):
            yield Act("step", "read_serial", (), condition)
        elif _RESULT_QUESTION.search(re.sub(r"^.*?\b(?:if|whether)\b", "is", text) if reporting else text) and not re.search(
            r"\b(?:plan|invoice|credit|visit|slot|help you|i help|suit|s\d\d|time|day|date)\b", text
        ):
            yield Act("step", "run_speed_test", (("implicit", "yes"),), condition)


def _mood(clause: Clause, match: re.Match[str], negated: bool, agent: bool, asked: bool) -> str:
    """Say what a verb is in its clause: `step` (do it), `ask_done` (was it done), or nothing of either."""
    text, prefix, word = clause.text, clause.text[: match.start()], match.group(0)
    if negated or clause.negated(match.start()) and not re.search(r"\bask(?:ing)? you not\b", prefix):
        return ""
    if re.search(r"\b(?:what|how) (?:happens|happened)\b|\bdo you (?:know|remember) how\b", prefix):
        return ""
    if clause.question and (_ASK_DONE.search(prefix) and not re.search(r"\byou to $|\byou mind\b|\bwhy do\b|\byou (?:please|kindly) $|\bis (?:it|that) (?:okay|possible|alright) (?:if you|to|for you)", prefix)):
        if match.start() and not re.search(r"\b(?:is|are|do) (?:the|your|it|this|that)\b", prefix):
            return "ask_done"
    if asked:
        return "ask_done"
    if word.endswith("ed") and not word.endswith("need"):
        return "ask_done" if clause.question and re.search(r"\b(?:is|was|has|have|did)\b", prefix) else ""
    if agent or _PERFECT.search(prefix) and not re.search(r"\b(?:you|we) have to $|\bhave to (?:\w+ )?$", prefix):
        return ""
    if _BY_AGENT.search(prefix):
        return ""
    if re.search(r"\b(?:a|the|this|that|your|another) $", prefix) and not re.search(
        r"\b(?:do|perform|try|give it|give the router|run|start|ask for|need|proceed with|continue with|make) (?:a|the|another) $", prefix
    ):
        return ""
    if re.match(r"\s+(?:of|is|was|has|will|takes|helped|did|should|may|went|worked|completed|finished|looks|show)\b", text[match.end() :]) and not word.startswith(("look",)):
        return ""
    return "step" if _DIRECTIVE.search(prefix) else _needed(prefix, word)


def _needed(prefix: str, word: str) -> str:
    """`I need the serial number`, `I would need to know the lights`: requests with the agent as subject."""
    return "step" if word in ("need", "want") and re.search(r"\b(?:i|we)(?: will| would| also| still| only| just| now)* $", prefix) else ""


def _acts_of(tool: str, text: str, mood: str, condition: str) -> Iterator[Act]:
    """Yield one act for each value the clause names: both cables, off and on again."""
    if mood == "ask_done":
        yield Act("ask_done", tool)
        return
    for slots in _values(tool, text):
        yield Act("step", tool, slots, condition)


def _values(tool: str, text: str) -> list[tuple[tuple[str, str], ...]]:
    if tool == "replug_cable":
        both = bool(re.search(r"\b(?:all|both|every|each|the cables|cables)\b", text))
        fibre = bool(re.search(r"\b(?:fibre|optical|glass)\b(?! (?:light|lamp|led))", text))
        ethernet = bool(re.search(r"\b(?:ethernet|lan|network cable|patch)\b", text))
        names = [n for n, hit in (("fibre", fibre or not ethernet), ("ethernet", ethernet or (both and not fibre))) if hit]
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
        for pattern, server in ((r"\b(?:secondary|backup|second)\b", "secondary"), (r"\b(?:primary|main|first server)\b", "primary")):
            if re.search(pattern, text):
                return [(("server", server),)]
        return [(("server", "automatic"),)]
    if tool == "accept_visit":
        visit = re.search(r"\bv-c\d+-\d+\b", text)
        return [(("visit_id", visit.group(0).upper()),) if visit else ()]
    return [()]


def _condition(clause: Clause) -> str:
    """Return the light a conditional clause speaks of, or an empty string."""
    light = re.search(r"\b(fibre|internet|wifi|power)\b", clause.text)
    if not light:
        return ""
    for word in ("red", "orange", "off", "green"):
        if re.search(rf"\b{word}\b", clause.text):
            unlike = "!" if re.search(r"\bnot\b", clause.text) or clause.subordinate == "unless" else ""
            return f"{light.group(1)}{unlike}={word}"
    return ""


def _talk(sentence: str, question: bool, before: str, stepped: bool) -> Iterator[Act]:
    """Yield the acts of a sentence that are about talking rather than the router."""
    found: list[Act] = []
    ask_more = _ASK_MORE.search(sentence)
    if ask_more and (question or not re.search(r"^if\b|\bif you\b", sentence) or re.search(r"\blet me know\b|\btell me\b", sentence)):
        if not re.search(r"\b(?:i can(?:not)? (?:do )?nothing|nothing else)\b", sentence):
            found.append(Act("ask_more"))
    if _CLOSE.search(sentence):
        found.append(Act("close"))
    elif _THANK_CALLER.search(sentence):
        found.append(Act("close", "thanks"))
    identity = None if found else _identity(sentence, question)
    if identity:
        found.append(identity)
    if not found and not stepped:
        found += _questions(sentence, question, before)
    if not found and not stepped and _ASK_NEED.search(sentence):
        found.append(Act("ask_need"))
    if not found and not stepped:
        found += _statement(sentence, question)
    yield from found


_FIELDS: tuple[tuple[str, str], ...] = (
    ("phone", r"\b(?:(?:tele)?phone|mobile|contact number|cell|callback number|your number)\b"),
    ("email", r"\bemail\b|\bmail address\b"),
    ("customer_id", r"\b(?:customer|account|contract|client) (?:id|number)\b"),
    ("secret", r"\b(?:password|pin|date of birth|birthday|card number|credit card|bank details|iban|passport)\b"),
    ("name", r"\b(?:your (?:full |last |first )?name|name please|full name|last name|surname|who am i (?:speaking|talking|chatting))\b"),
    ("any", r"\b(?:identify (?:you|yourself)|verify (?:you\b|your (?:identity|account))|identification|authenticate|confirm your identity|your identity|who you are|proof of identity|verify that you)\b"),
    ("any", r"\b(?:look up|find|locate|pull up|access|open) (?:you\b|your account|your record|your file|the account)"),
)  # fmt: skip
_ASKING = re.compile(
    r"\b(?:may|can|could|might) i (?:please |also |just |first )*(?:have|get|ask|know|take|see|verify|confirm|identify|look|find|locate|pull)\b|"
    r"\b(?:please|kindly|could you|can you|would you|will you|you to|first|then|now|and|just|need to|have to|i ask you to|mind)\b (?:\w+ )?(?:give|giving|tell|telling|provide|providing|share|sharing|confirm|confirming|state|stating|send|sending|enter|verify|verifying|spell|type|write|name|let me)\b|"
    r"^(?:give|tell|provide|share|confirm|state|send|enter|verify|spell|type|write|name)\b|\b(?:i|we) (?:will |would |first |also |still |just |do )*(?:need|require|like|want|have to|must)\b|\bneeded\b|\brequired\b|"
    r"\b(?:what|which|who)\b|\bbefore we\b"
)
_GIVEN = re.compile(r"\b(?:i|we) (?:have )?(?:found|see|located|verified|identified|looked up|have found|have verified|have located)\b|\bthank(?:s| you)\b.*\b(?:verif|identif)|\b(?:is|are|has been|have been) (?:verified|confirmed|on file|correct|updated)\b|^(?!.*\b(?:please|give|tell|provide|share|need|what|which|may|could|confirm|with your|by your|if you)\b).*\bi (?:will|can|am going to) (?:now )?(?:look|find|send|email|call|phone|pull|open)\b|\bif you\b.*\bcall\b")


def _identity(sentence: str, question: bool) -> Act | None:
    if _GIVEN.search(sentence) or re.search(r"\b(?:no need|not need|do not|never|without)\b", sentence):
        return None
    fields = list(dict.fromkeys(name for name, pattern in _FIELDS if re.search(pattern, sentence)))
    if re.search(r"\bphone\b.*\b(?:wifi|wireless|network|internet)\b", sentence) or not fields:
        return None
    short = len(sentence.split()) <= 9 and (question or "please" in sentence)
    if not (short or _ASKING.search(sentence)):
        return None
    if "any" in fields and len(fields) > 1:
        fields.remove("any")
    if {"phone", "email"} <= set(fields):
        both = re.search(r"(?:phone|number)\b.{0,40}\band\b.{0,30}\bemail|\bemail\b.{0,30}\band\b.{0,30}\b(?:phone|number)|\bboth\b", sentence)
        return Act("ask_identity", "email+phone" if both and not re.search(r"\bor\b", sentence) else "any")
    order = [name for name in ("phone", "email", "any", "name", "customer_id", "secret") if name in fields]
    return Act("ask_identity", order[0])


def _slots(text: str) -> tuple[tuple[str, str], ...]:
    """Return what a question names: the plan moved to, slots, lines, days, parts of the day, and whether a number."""
    plans = re.findall(r"\b(?:to|onto|on) (?:the )?(?:plan )?(basic|plus|max|giga)\b", text)
    plans = plans or [p for p in PLAN_NAMES if re.search(rf"\b{p}\b", text)]
    days = re.findall(r"\b(\d{1,2})(?:st|nd|rd|th)?(?: of)? june\b|\bjune (?:the )?(\d{1,2})\b|\b2025-06-(\d\d)\b", text)
    bare = re.sub(r"\b[a-z]-?[a-z]?\d[\w-]*|\d{4}-\d\d(?:-\d\d)?|\b\d{1,2}(?:st|nd|rd|th)?(?: of)? june|june \d+", "", text)
    values = {
        "plan": plans,
        "slot": [s.upper() for s in re.findall(r"\bs\d\d\b", text)],
        "line": [s.upper() for s in re.findall(r"\bl\d{3}\b", text)],
        "day": [f"2025-06-{int(next(filter(None, groups))):02d}" for groups in days],
        "part": [part for part in ("morning", "afternoon") if re.search(rf"\b{part}\b", text)],
        "number": ["yes"] if re.search(r"\d", bare) else [],
    }
    return tuple((name, "/".join(dict.fromkeys(found))) for name, found in values.items() if found)


def _operation(sentence: str, before: str) -> str:
    """Which operation a yes is asked for: named in the sentence, else what the message spoke of last."""
    for op, pattern in _OPERATIONS:
        if pattern.search(sentence):
            return op
    for previous in reversed([s for s, _ in sentences(before)][-3:]):
        for op, pattern in _OPERATIONS:
            if op != "look" and pattern.search(previous):
                return op
    return ""


_CHOICES: tuple[tuple[str, str], ...] = (
    ("line", r"\bwhich (?:of (?:your|the|these|those) )?(?:\w+ )?(?:lines?|connections?)\b|\bwhat line\b|\b(?:is it|do you mean|about|for) (?:line )?l\d+ or (?:line )?l\d+|\bl\d+,? or (?:line )?l\d+\b|\bwhich one of l\d+|\bline (?:id|number)\b"),
    ("plan", r"\b(?:which|what) (?:of (?:the|these|our) )?(?:\w+ )?(?:plans?|tariffs?|packages?|speeds? would)\b|\b(?:basic|plus|max|giga)(?:,| or)(?: or)? (?:basic|plus|max|giga)\b"),
    ("slot", r"\b(?:which|what|when) .*\b(?:slots?|times?|dates?|days?|appointments?|suits?|prefer|convenient|technician|visit|at home|works?)\b|\bmorning or (?:the |in the )?afternoon\b|\bwhen (?:would|should|shall|can|are|do)\b|\bs\d\d\b.*\bor\b.*\bs\d\d\b|\bprefer\b.*\bs\d\d\b.*\bs\d\d\b|\bpreferred (?:day|date|time|slot)\b|\b(?:choose|pick|select)\b.*\b(?:slots?|days?|dates?|s\d\d)\b"),
    ("month", r"\b(?:which|what) (?:month|invoice|bill)\b|\bfor which month\b"),
    ("amount", r"\b(?:how much|what amount|which amount)\b.*\b(?:credit|refund|expect|want|like|ask|hope|money)\b"),
    ("outage", r"\b(?:which|what) outage\b|\bwhen (?:was|were|did) .*\b(?:outage|offline|down|out)\b|\bday of the outage\b"),
    ("since", r"\bsince when\b|\bwhen did .*\b(?:start|begin|happen|notice)\b|\bhow long\b"),
)  # fmt: skip
_CHOICE_PATTERNS = tuple((topic, re.compile(pattern)) for topic, pattern in _CHOICES)


def _questions(sentence: str, question: bool, before: str) -> list[Act]:
    directive = bool(re.search(r"\b(?:please|tell me|let me know|choose|pick|select|i need to know)\b", sentence))
    asks = question or directive or bool(re.match(r"(?:so |and |now |okay )*(?:which|what|when|how)\b", sentence))
    if asks and not re.search(r"\bwhich of the two\b.*\bnothing\b", sentence):
        ordered = ("outage", "since") if re.search(r"\boutage|\bstart|\bhow long|\bsince when", sentence) else ()
        for topic, pattern in sorted(_CHOICE_PATTERNS, key=lambda row: row[0] not in ordered):
            if pattern.search(sentence):
                return [Act("ask_choice", topic, _slots(f"{before} {sentence}") if topic in ("slot", "plan") else ())]
    offered = re.search(r"\b(?:free|available|offer|options?|next slots?)\b", sentence)
    if offered and len(set(re.findall(r"\bs\d\d\b", sentence))) > 1:
        return [Act("ask_choice", "slot", _slots(sentence))]
    agree, offer = _AGREE.search(sentence), _OFFER.search(sentence)
    if (offer and question) or agree or (question and _BARE_OPERATION.search(sentence)) or (offer and directive):
        op = _operation(sentence, before if agree or not offer or _vague(sentence) else "")
        return [Act("ask_yes", op, _slots(f"{before[-300:]} {sentence}" if _vague(sentence) else sentence))]
    return []


def _vague(sentence: str) -> bool:
    """The question names no operation itself: `Shall I do that?`, `Is that okay?`"""
    return not any(pattern.search(sentence) for op, pattern in _OPERATIONS)


def _statement(sentence: str, question: bool) -> list[Act]:
    if question:
        return []
    if _TRANSFER.search(sentence):
        return [Act("transfer")]
    if _REFUSE.search(sentence):
        return [Act("refuse")]
    if _WAIT.search(sentence):
        return [Act("wait")]
    if _GREET.search(sentence) and len(sentence.split()) <= 12:
        return [Act("greet")]
    if _DOMAIN.search(sentence):
        return [Act("inform")]
    return [Act("greet")] if _THANK.search(sentence) and len(sentence.split()) <= 12 else []


def is_demanding(act: Act) -> bool:
    """Whether the act asks the customer for something."""
    return act.kind in _DEMANDING

"""The acts of a sentence that are about talking rather than the router: identity, consent, choices, news, endings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pivot_envs.domains.tau2.helpdesk.acts import Act
from pivot_envs.domains.tau2.helpdesk.clauses import sentences

PLAN_NAMES = ("basic", "plus", "max", "giga")
_OPERATION_WORDS: tuple[tuple[str, str], ...] = (
    ("transfer_to_human", 
        r"\b(?:transfer|hand|forward|pass|connect|put)\w*\b.*\b(?:human|colleague|person|agent|specialist|"
        r"someone|representative|supervisor|team)\b|\btransfer you\b|\b(?:speak|talk) (?:to|with) (?:a|"
        r"one of|someone|my)\b"),
    ("move_visit", 
        r"\b(?:mov|reschedul|rebook|postpon|shift)\w*\b.*\b(?:visit|appointment|technician|it|slot|"
        r"s\d\d)\b|\bcancel\w*\b.*\b(?:book|schedul|arrang)\w*\b|\b(?:book|schedul)\w*\b.*\bcancel\w*\b|"
        r"\bvisit\b.*\binstead\b"),
    ("cancel_visit", r"\b(?:cancel\w*|call(?:ed)? off|drop)\b"),
    ("reset_port", r"\bports?\b"),
    ("issue_credit", r"\b(?:credit\w*|refund\w*|compensat\w*|money back|reimburs\w*|pay back)\b"),
    ("schedule_visit", 
        r"\b(?:book|schedul\w*|arrang\w*|reserv\w*|slots?|s\d\d|technician|visit|appointment|"
        r"engineer)\b"),
    ("change_plan", r"\b(?:plan|tariff|basic|plus|max|giga|upgrad\w*|downgrad\w*|switch|package|subscription)\b"),
    ("look", 
        r"\b(?:look|check|search|see|open|review)\b.*\b(?:account|invoices?|line|records?|details|"
        r"outages?)\b"),
)  # fmt: skip
_OPERATIONS = tuple((op, re.compile(pattern)) for op, pattern in _OPERATION_WORDS)
_OFFER = re.compile(
    r"\b(?:shall|should|may|can|could|must) (?:i|we)\b(?! (?:help|assist|have|ask|get|do anything|"
    r"be of|know|see your|take your|offer you anything))|"
    r"\b(?:do|would) you (?:want|like|wish|prefer)\b(?: (?:me|us|that i|if i|to))|\bwant me to\b|\blike me to\b|"
    r"\bdo you want (?:the|a|this|that|it)\b|\bwould you like (?:the|a|this|that|it|to)\b"
)
_AGREE = re.compile(
    r"\b(?:is|would|are|does|do|will|sounds?) (?:that|this|it|you|everything|these|s\d\d|the (?:slot|"
    r"date|time|day|price|amount|change|plan)\b.*?)\s?(?:be |still )?(?:okay|fine|alright|good|"
    r"acceptable|correct|right|agreed?|happy|work|suit|sound|convenient|accept|confirm|consent|"
    r"approve|sure|in order|in agreement)\b|"
    r"\b(?:is|would|are|does|do|will) (?:a |an |the )?(?:credit|refund|visit|slot|day|date|time|price|"
    r"amount|change|plan|appointment|reset|\d[\w.]*)(?: [\w.]+){0,8}? (?:okay|fine|alright|good|"
    r"acceptable|work|suit|sound|convenient)\b|"
    r"\b(?:right|correct|okay|agreed|alright)$|\bdo you (?:still |really )?want (?:it|that|this)\b|"
    r"\bare you (?:available|free|at home|home|in)\b|"
    r"^(?:okay|correct|agreed|right|deal|yes|yes or no|alright|proceed|go ahead)$|\byes or no\b|"
    r"\bgo ahead\?|\b(?:do|would) you (?:agree|accept|confirm|consent|approve|want to (?:go ahead|"
    r"proceed|continue))\b|"
    r"\b(?:can|could|may|would|will) you (?:please )?confirm\b|^(?:please |kindly |just )*confirm\b|"
    r"\bsay yes\b|\breply (?:with )?yes\b|\banswer (?:with )?yes\b|\bwith a yes\b|"
    r"\b(?:i|we) (?:need|require|want|would like) your (?:yes|okay|approval|permission|consent|"
    r"confirmation|go-ahead|agreement)\b|\bmay i have your (?:yes|okay|approval|permission|consent|"
    r"confirmation)\b|\b(?:do|have) i have your (?:okay|approval|permission|consent|confirmation)\b|"
    r"\bdo i have your\b|\blet me know if (?:that|this) is (?:okay|fine|alright|right|correct)\b|"
    r"\bneed you to confirm\b|\bwith your (?:okay|permission|consent|approval|agreement|yes)\b"
)
_BARE_OPERATION = re.compile(
    r"^(?:so |then |now |please )*(?:change|switch|upgrade|downgrade|book|schedule|cancel|issue|move|"
    r"reset|credit|transfer|reschedule|put|proceed|go ahead)\b"
)
_ASK_MORE = re.compile(
    r"\b(?:(?:any|some)thing (?:else|more|further)|any (?:other|more|further) (?:\w+ )?(?:questions?|"
    r"issues?|requests?|help|concerns?|problems?|matters?|thing)|"
    r"further (?:questions?|help|assistance|requests?|issues?)|what else|else i can|else you need|"
    r"more i can do|other questions?|other way i can help|need more help|need other help|"
    r"something left|additional (?:questions?|help|requests?))\b"
)
_CLOSE = re.compile(
    r"\b(?:good ?bye|bye|have a (?:nice|good|great|lovely|pleasant|wonderful) (?:day|evening|one|"
    r"afternoon|morning|weekend|time)|take care|farewell|closing (?:this|the) (?:chat|conversation|"
    r"case|call)|enjoy your (?:day|evening|weekend)|wish(?:ing)? you (?:a|all)|until next time|"
    r"all the best|see you(?: soon| later| next time| around)|^see you)\b"
)
_THANK_CALLER = re.compile(
    r"\bthank(?:s| you) (?:so much |very much )?for (?:calling|contacting|your call|reaching out|"
    r"getting in touch)\b"
)
_ASK_NEED = re.compile(
    r"\b(?:how (?:can|may|could) i (?:help|assist|be of)|what (?:can|may|could) i (?:do|help)|"
    r"what (?:is|seems to be|exactly is) (?:the|your) (?:problem|issue|matter|concern|request|trouble|"
    r"reason)|what brings you|describe (?:the|your) (?:problem|issue)|"
    r"tell me (?:more )?(?:about )?(?:the|your) (?:problem|issue|request|concern)|"
    r"what do you need|how i can help|what is wrong|what is going on|elaborate|tell me (?:a bit |"
    r"a little )?more|what (?:is|has) happen\w*|what would you like (?:me )?to do|can i help you|"
    r"may i help you|what exactly (?:do|does)|please explain|explain (?:the|your))\b"
)
_LOOKUP = re.compile(
    r"\b(?:while|as soon as|let me|i will|i am going to|i can)\b.*\b(?:look up|find|locate|pull up|access|"
    r"open)\b"
)
_WAIT = re.compile(
    r"\b(?:(?:one|a|just a) (?:moment|second|minute)|moment please|bear with me|hold on|hang on|"
    r"please wait|wait a|let me (?:check|look|see|find|pull|open|verify|review|get|take|search|go|do|"
    r"have)|allow me to|"
    r"i (?:will|am going to|shall|need to) (?:now |just |quickly |first )*(?:check|look|see|find|pull|"
    r"open|verify|review|get|search|go|do|take|reset|change|issue|book|schedule|cancel|prepare|"
    r"credit)|i am (?:now )?(?:checking|looking|opening|searching|pulling|reviewing|verifying)|"
    r"give me a|stay on the line|right away|in a moment)\b"
)
_TRANSFER = re.compile(
    r"\b(?:transferr?(?:ing|ed)?|(?:connect|hand|forward|pass|put)\w* you)\b.*\b(?:human|colleague|person|"
    r"agent|specialist|someone|representative|supervisor|team|you|through)\b"
)
_REFUSE = re.compile(
    r"\b(?:(?:i|we) (?:am|are)? ?(?:cannot|can not|could not|unable|not able|not allowed|"
    r"not permitted|may not|do not offer|must not)|(?:is|are|was) not (?:possible|allowed|available|"
    r"permitted|eligible|entitled)|not possible|not eligible|unfortunately|not entitled|no credit|"
    r"impossible|regrettabl\w*|do(?:es)? not (?:permit|allow)|against (?:our|the) (?:rules?|policy)|"
    r"have to (?:decline|refuse)|must (?:decline|refuse)|cannot (?:be|give|grant|offer|change|credit|"
    r"do|issue)|there was no outage|no outage|at most|no more than|only up to|open invoice|unpaid|"
    r"will not be able)\b|\b(?:apologi[sz]e|sorry|afraid)\b.*\b(?:maximum|limit|most)\b|"
    r"\bmaximum (?:credit|amount|compensation)\b|\bmost i can\b"
)
_GREET = re.compile(r"^(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|welcome|greetings|dear)\b|\bwelcome to\b")
_THANK = re.compile(
    r"\b(?:thank(?:s| you)|you are welcome|my pleasure|glad to|happy to help|great|perfect|excellent|"
    r"wonderful|good|okay|sure|alright|certainly|of course|understood|i see|got it|noted|no problem|sorry|"
    r"apolog\w+|i understand)\b"
)
_DOMAIN = re.compile(
    r"\b(?:lines?|plans?|invoices?|bills?|amounts?|euros?|eur|visits?|technicians?|outages?|credits?|"
    r"ports?|routers?|cables?|lights?|speed|internet|accounts?|slots?|appointments?|serial|dns|wifi|"
    r"fibre|done|changed|reset|booked|cancell?ed|fixed|solved|working|works|connection|signal|"
    r"customer|month|price|charged?|hours?|day|may|april|march|june|morning|afternoon|tariff|found|"
    r"registered|records?|matches|match|refund\w*|open|paid|issued|scheduled|identity|verified|mbit|"
    r"damaged|phone|email|case|transfer\w*|[clsiorv]\d{1,4}|v-c\d+-\d+|problem|issue|fault|resolved|"
    r"all set|basic|plus|max|giga|complete\w*|everything|updated?|confirmed)\b|\d"
)


def _asks_for_more(sentence: str, question: bool) -> bool:
    """`If you need anything else, call again` asks nothing."""
    if not _ASK_MORE.search(sentence) or re.search(r"\bnothing else\b", sentence):
        return False
    return question or not re.search(r"^if\b|\bif you\b", sentence) or bool(re.search(r"\b(?:let|tell) me\b", sentence))


def read_talk(sentence: str, question: bool, before: str, stepped: bool) -> Iterator[Act]:
    """Yield the acts of a sentence that are about talking rather than the router."""
    found: list[Act] = []
    if _asks_for_more(sentence, question):
        found.append(Act("ask_more"))
    if _CLOSE.search(sentence):
        found.append(Act("close"))
    elif _THANK_CALLER.search(sentence):
        found.append(Act("close", "thanks"))
    identity = None if found else _identity(sentence, question)
    if identity:
        found.append(identity)
    if not found and not stepped and _ASK_NEED.search(sentence):
        found.append(Act("ask_need"))
    if not found and not stepped:
        found += _questions(sentence, question, before)
    if not found and not stepped:
        found += _statement(sentence, question)
    yield from found


_FIELDS: tuple[tuple[str, str], ...] = (
    ("phone", r"\b(?:(?:tele)?phone|mobile|contact number|cell|callback number|your number)\b"),
    ("email", r"\bemail\b|\bmail address\b"),
    ("customer_id", r"\b(?:customer|account|contract|client) (?:id|number)\b"),
    ("secret", r"\b(?:password|pin|date of birth|birthday|card number|credit card|bank details|iban|passport)\b"),
    ("name", 
        r"\b(?:your (?:full |last |first )?name|name please|full name|last name|surname|who (?:am i|"
        r"i am) (?:speaking|talking|chatting)|may i address you)\b"),
    ("any", 
        r"\b(?:identify (?:you|yourself)|verify (?:you\b|your (?:identity|account))|identification|"
        r"authenticate|confirm your identity|your identity|who you are|proof of identity|"
        r"verify that you)\b"),
    ("any", 
        r"\b(?:look up|find|locate|pull up|access|open) (?:you\b|your account|your record|your file|"
        r"the account)"),
)  # fmt: skip
_ASKING = re.compile(
    r"\b(?:may|can|could|might) i (?:please |also |just |first )*(?:have|get|ask|know|take|see|verify|"
    r"confirm|identify|look|find|locate|pull)\b|"
    r"\b(?:please|kindly|could you|can you|would you|will you|you to|first|then|now|and|just|need to|"
    r"have to|i ask you to|mind)\b (?:\w+ )?(?:give|giving|tell|telling|provide|providing|share|"
    r"sharing|confirm|confirming|state|stating|send|sending|enter|verify|verifying|spell|type|write|"
    r"name|let me)\b|"
    r"^(?:give|tell|provide|share|confirm|state|send|enter|verify|spell|type|write|name)\b|\b(?:i|"
    r"we) (?:will |would |first |also |still |just |do )*(?:need|require|like|want|have to|must)\b|"
    r"\bneeded\b|\brequired\b|"
    r"\b(?:what|which|who)\b|\bbefore we\b|\bhow (?:can|may|shall|do) i (?:find|reach|look up|"
    r"identify|verify|access)\b"
)
_GIVEN = re.compile(
    r"\b(?:i|we) (?:have )?(?:found|see|located|verified|identified|looked up|have found|have verified|"
    r"have located)\b|\bthank(?:s| you)\b.*\b(?:verif|identif)|\b(?:is|are|has been|"
    r"have been) (?:verified|confirmed|on file|correct|updated)\b|^(?!.*\b(?:please|give|tell|provide|"
    r"share|need|what|which|may|could|confirm|with your|by your|if you|can i (?:get|have|ask|"
    r"take))\b).*\bi (?:will|can|am going to) (?:now )?(?:look|find|send|email|call|phone|pull|open)\b|"
    r"\bif you\b.*\bcall\b"
)


def _identity(sentence: str, question: bool) -> Act | None:
    if _GIVEN.search(sentence) or re.search(r"\b(?:no need|not need|do not|never|without)\b", sentence):
        return None
    fields = list(dict.fromkeys(name for name, pattern in _FIELDS if re.search(pattern, sentence)))
    if re.search(r"\bphone\b.*\b(?:wifi|wireless|network|internet)\b", sentence) or not fields:
        return None
    short = len(sentence.split()) <= 9 and (question or "please" in sentence)
    if not (short or _ASKING.search(sentence)):
        return None
    if fields == ["any"] and _LOOKUP.search(sentence) and not re.search(r"\b(?:verify|identi|need|who)", sentence):
        return None
    if "any" in fields and len(fields) > 1:
        fields.remove("any")
    if {"phone", "email"} <= set(fields):
        both = re.search(
            r"(?:phone|number)\b.{0,40}\band\b.{0,30}\bemail|\bemail\b.{0,30}\band\b.{0,30}\b(?:phone|"
            r"number)|\bboth\b",
            sentence,
        )
        return Act("ask_identity", "email+phone" if both and not re.search(r"\bor\b", sentence) else "any")
    order = [name for name in ("phone", "email", "any", "name", "customer_id", "secret") if name in fields]
    return Act("ask_identity", order[0])


def _slots(text: str) -> tuple[tuple[str, str], ...]:
    """Return what a question names: the plan moved to, slots, lines, days, parts of the day, and whether a number."""
    plans = re.findall(r"\b(?:to|onto|on) (?:the )?(?:plan )?(basic|plus|max|giga)\b", text)
    plans = plans or [p for p in PLAN_NAMES if re.search(rf"\b{p}\b", text)]
    days = re.findall(
        r"\b(\d{1,2})(?:st|nd|rd|th)?(?: of)? june\b|\bjune (?:the )?(\d{1,2})\b|\b2025-06-(\d\d)\b", text
    )
    bare = re.sub(
        r"\b[a-z]-?[a-z]?\d[\w-]*|\d{4}-\d\d(?:-\d\d)?|\b\d{1,2}(?:st|nd|rd|th)?(?: of)? june|june \d+", "", text
    )
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
    ("line", 
        r"\bwhich (?:of (?:your|the|these|those) )?(?:\w+ )?(?:lines?|connections?)\b|\bwhat line\b|"
        r"\b(?:is it|do you mean|about|for) (?:line )?l\d+ or (?:line )?l\d+|\bl\d+,? or (?:line )?l\d+\b|"
        r"\bwhich one of l\d+|\bline (?:id|number)\b"),
    ("plan", 
        r"\b(?:which|what) (?:of (?:the|these|our) )?(?:\w+ )?(?:plans?|tariffs?|packages?|"
        r"speeds? would)\b|\b(?:basic|plus|max|giga)(?:,| or)(?: or)? (?:basic|plus|max|giga)\b"),
    ("slot", 
        r"\bwhich (?:one|of (?:these|those|them))\b|\b(?:which|what|when) .*\b(?:slots?|times?|dates?|"
        r"days?|appointments?|suits?|prefer|convenient|technician|visit|at home|works?)\b|"
        r"\bmorning or (?:the |in the )?afternoon\b|\bwhen (?:would|should|shall|can|are|do)\b|"
        r"\bs\d\d\b.*\bor\b.*\bs\d\d\b|\bprefer\b.*\bs\d\d\b.*\bs\d\d\b|\byour (?:pick|choice|"
        r"preference)\b|\bpreferred (?:day|date|time|slot)\b|\b(?:choose|pick|select)\b.*\b(?:slots?|"
        r"days?|dates?|s\d\d)\b"),
    ("month", r"\b(?:which|what) (?:month|invoice|bill)\b|\bfor which month\b"),
    ("amount", r"\b(?:how much|what amount|which amount)\b.*\b(?:credit|refund|expect|want|like|ask|hope|money)\b"),
    ("outage", 
        r"\b(?:which|what) outage\b|\bwhen (?:was|were|did) .*\b(?:outage|offline|down|out)\b|"
        r"\bday of the outage\b"),
    ("since", r"\bsince when\b|\bwhen did .*\b(?:start|begin|happen|notice)\b|\bhow long\b"),
)  # fmt: skip
_CHOICE_PATTERNS = tuple((topic, re.compile(pattern)) for topic, pattern in _CHOICES)


def _questions(sentence: str, question: bool, before: str) -> list[Act]:
    directive = bool(
        re.search(
            r"\b(?:please|tell me|let me know|choose|pick|select|i need to know|your (?:pick|choice|"
            r"preference))\b",
            sentence,
        )
    )
    asks = question or directive or bool(re.match(r"(?:so |and |now |okay )*(?:which|what|when|how)\b", sentence))
    if asks and not re.search(r"\bwhich of the two\b.*\bnothing\b", sentence):
        ordered = ("outage", "since") if re.search(r"\boutage|\bstart|\bhow long|\bsince when", sentence) else ()
        for topic, pattern in sorted(_CHOICE_PATTERNS, key=lambda row: row[0] not in ordered):
            if pattern.search(sentence):
                return [_choice(topic, sentence, before)]
    offered = re.search(r"\b(?:free|available|offer|options?|next slots?)\b", sentence)
    if offered and len(set(re.findall(r"\bs\d\d\b", sentence))) > 1:
        return [Act("ask_choice", "slot", _slots(sentence))]
    agree, offer = _AGREE.search(sentence), _OFFER.search(sentence)
    if (
        agree
        and not question
        and re.fullmatch(r"right|correct|okay|agreed|alright", agree.group(0))
        and agree.end() == len(sentence)
    ):
        agree = None
    if (offer and question) or agree or (question and _BARE_OPERATION.search(sentence)) or (offer and directive):
        op = _operation(sentence, before if agree or not offer or _vague(sentence) else "")
        return [Act("ask_yes", op, _slots(f"{before[-300:]} {sentence}" if _vague(sentence) else sentence))]
    return []


def _choice(topic: str, sentence: str, before: str) -> Act:
    """`Which one do you prefer?` asks about what was listed before."""
    if topic == "slot" and not re.search(
        r"\b(?:slots?|times?|dates?|days?|appointments?|technician|visit|home|morning|when|s\d\d)\b", sentence
    ):
        if len(set(re.findall(r"\b(?:basic|plus|max|giga)\b", before))) > 1:
            topic = "plan"
        elif len(set(re.findall(r"\bl\d{3}\b", before))) > 1:
            topic = "line"
    return Act("ask_choice", topic, _slots(f"{before} {sentence}") if topic in ("slot", "plan") else ())


def _vague(sentence: str) -> bool:
    """Whether the question names no operation itself, as in `Is that okay?`."""
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

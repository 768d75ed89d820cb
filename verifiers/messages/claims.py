"""Rungs on claims: what is done, offered or told to be done, opposites, denials, hedges and conditions."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from pivot_envs.verifiers.messages import cues, vocabulary
from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.decision import ASKS, Finding, Pair, denies, different, has
from pivot_envs.verifiers.messages.patterns import holds
from pivot_envs.verifiers.messages.reading import Reading, canonical, is_negated, members_in, operations_in

_FINISHED = re.compile(
    r"\b(?:(?:i|we) (?:have )?(?:now |already |just |also )*(?:completed|done|processed|submitted|finished"
    r"|executed|performed|carried out|taken care)"
    r"|(?<!once )(?<!when )(?<!after )(?<!as soon as )(?<!until )(?:it|this|that|everything) (?:is|has been|was) "
    r"(?:now |already |all )*(?:done|completed|processed"
    r"|submitted|taken care of))\b"
)


_OTHER = re.compile(
    r"\b(?:your|the|an)? ?(?:other|another|second|remaining) (?:order|reservation|booking|line|account|item|visit"
    r"|flight|card|contract)s?\b"
)


_PAYMENTS = frozenset({"credit", "refund", "charge", "certificate", "benefit"})


def _paid_beside(pair: Pair) -> list[str]:
    """Amounts, known or not, that a sentence of its own pays or charges beside what was demonstrated."""
    for sentence in pair.other.sentences:
        numbers = re.findall(r"§(\d+)", sentence.text)
        money = [a for a in (pair.other.atoms[int(n)] for n in numbers) if a.kind == "money"]
        paid = {operation for operation, _ in operations_in(sentence.text)} & _PAYMENTS
        if money and paid and not sentence.negated and not any(has(pair.shown, a) for a in money):
            return [a.text for a in money]
    return []


def operations(pair: Pair) -> Finding:
    """What is claimed done was demonstrated done; nothing is left out, promised or offered on top."""
    shown, other = pair.shown, pair.other
    aside = meant_otherwise(pair)
    known_done = shown.operations("done") | _past_status(shown) | aside
    if false_report := other.operations("done") & lex.EFFECTIVE - known_done:
        return different("claims_done", operations=false_report)
    second = _OTHER.search(other.text)
    if second and not _OTHER.search(shown.text) and other.operations("done", "will"):
        return different("claim_added", found=second.group())
    if (
        ("ask_confirm" in shown.acts or not shown.operations("done"))
        and (deed := _FINISHED.search(other.text))
        and not _FINISHED.search(shown.text)
    ):
        return different("claims_done", found=deed.group())
    generic = bool(cues.DONE_WORDS.search(other.text))
    if state := _state_for_offer(pair):
        return different("claims_done", found=state[:120])
    undone = shown.operations("done") & lex.EFFECTIVE - other.operations("done", "mention", "state") - {"on", "off"}
    undone -= aside
    if undone and not (generic and not other.operations("ask") & undone):
        return different("not_done", operations=undone)
    required = (shown.operations() | shown.operations(negated=True)) - {
        "fix",
        "on",
        "off",
        "found",
        "book",
        "modify",
        "speed_test",
        "charge",
        "credit",
    }
    present = other.operations() | other.operations(negated=True)
    if any("certificate" in a.text for a in other.atoms):
        required -= {"certificate"}
    if missing := required - present - _soft(shown, "mention", "purpose"):
        return different("operation_missing", operations=missing)
    known = shown.operations() | shown.operations(negated=True)
    if amounts := _paid_beside(pair):
        return different("claim_added", amounts=amounts)
    gifts = (other.operations() & lex.BENEFITS) - known
    if gifts:
        return different("benefit_added", operations=gifts)
    extra = (other.operations("done", "will", "told", "ask", "can") & (lex.EFFECTIVE | lex.DEVICE)) - known - aside
    if extra - _soft(other, "mention", "condition", "purpose"):
        return different("other_step" if _are_steps(extra, pair) else "operation_added", operations=extra)
    return _told(pair)


def _are_steps(operations: frozenset[str], pair: Pair) -> bool:
    """Whether operations stand only in what the customer is asked to do, and no more is asked than was demonstrated."""
    told = {m.sentence for m in pair.other.mentions if m.operation in operations}
    asked = [sum(bool(s.acts & (ASKS | {"instruct"})) for s in r.sentences) for r in (pair.shown, pair.other)]
    return asked[1] <= max(1, asked[0]) and all("instruct" in pair.other.sentences[k].acts for k in told)


def meant_otherwise(pair: Pair) -> frozenset[str]:
    """Operations that another word for the same state stands for: `works again`, a fixed date, a billed amount."""
    texts = (pair.shown.text, pair.other.text)
    found = {"fix"} if any(_RESTORED.search(text) for text in texts) else set()
    if any(_SETTLED.search(text) for text in texts):
        found |= {"fix", "book"}
    billed = pair.shown.exclusive.get("document", frozenset()) | pair.other.exclusive.get("document", frozenset())
    if "invoice" in billed and not pair.shown.acts & ASKS:
        found.add("charge")
    if _CHANGED.search(pair.shown.text) and not pair.shown.acts & ASKS:
        found.add("modify")
    return frozenset(found)


_CHANGED = re.compile(
    r"\b(?:is|are) (?:now )?on (?:the )?\w+ (?:plan|tariff|package) now\b"
    r"|^done\b.*\bhas (?:the )?\w+ (?:plan|tariff|package)"
)
"""A plan that is there now has been changed."""
_RESTORED = re.compile(r"\b(?:works?|working|up|back|online) again\b")
_SETTLED = re.compile(r"\b(?:visit|appointment|slot|date|day)\b[^.?!\n]{0,60}\bfixed\b")


def _state_for_offer(pair: Pair) -> str:
    """Return a sentence that states as fact what was demonstrated as an offer (`It is on it. Is that okay?`)."""
    offered = pair.shown.operations("ask", "can", "will", "mention") & lex.EFFECTIVE
    if "ask_confirm" not in pair.shown.acts or not offered or pair.other.operations() & lex.EFFECTIVE:
        return ""
    consent = {canonical(w) for w in vocabulary.CONSENT}
    for sentence in pair.other.sentences:
        words = {canonical(w) for w in re.findall(r"[^\W\d_]+", sentence.text) if w not in vocabulary.COURTEOUS}
        if sentence.acts & ASKS and not words <= consent:
            return ""
    return next((s.text for s in pair.other.sentences if not s.acts & ASKS and _STANDS.search(s.text)), "")


_STANDS = re.compile(r"^(?!.*\b(?:would|will|can|could|costs?|means?|to)\b).*\b(?:is|are|has|have|runs?)\b")


def _past_status(reading: Reading) -> frozenset[str]:
    """Operations the demonstration names in a state that amounts to done (`status: cancelled`)."""
    if "ask_confirm" in reading.acts:
        return frozenset()
    return frozenset(
        m.operation
        for m in reading.mentions
        if m.mode == "mention" and not m.negated and m.operation not in ("refund", "credit", "charge")
    )


def _soft(reading: Reading, *modes: str) -> frozenset[str]:
    """Operations named in these modes only."""
    named = frozenset(m.operation for m in reading.mentions if m.mode in modes and m.operation != "free")
    return named - frozenset(m.operation for m in reading.mentions if m.mode not in modes)


def _told(pair: Pair) -> Finding:
    def steps(reading: Reading) -> frozenset[str]:
        return frozenset(
            m.operation
            for m in reading.mentions
            if "instruct" in reading.sentences[m.sentence].acts
            and m.operation in lex.DEVICE
            and m.mode in ("told", "ask")
        )

    a, b = steps(pair.shown), steps(pair.other)
    if a != b:
        return different("other_step", demonstrated=a, candidate=b)
    here, there = _handled(pair.shown), _handled(pair.other)
    if here - there and there - here:
        return different("other_step", demonstrated=here, candidate=there)
    return None


def _handled(reading: Reading) -> frozenset[str]:
    """Things the customer is told to handle."""
    texts = [s.text for s in reading.sentences if "instruct" in s.acts]
    return frozenset(
        m for text in texts for group in ("setting", "part", "network", "cable") for m in members_in(text, group)
    )


def opposites(pair: Pair) -> Finding:
    """No claim is turned into its opposite word."""
    for name, left, right in lex.OPPOSITES:
        shown = _sides(pair.shown, name)
        if shown[0] == shown[1]:
            continue
        here, there = (left, right) if shown[0] else (right, left)
        if name in _ALONE and not (shown[0] and _unheard(there, pair)):
            continue
        if holds(there, pair.other.text) and (name in _ALONE or not holds(here, pair.other.text)):
            if name in ("edge", "sequence", "gain", "work", "move", "always") and denies(pair.shown) != denies(
                pair.other
            ):
                continue
            return different("opposite", pair=name)
    return None


_ALONE = frozenset({"give", "hold"})
"""Opposites whose left side is so common that the right one decides, if nobody spoke of it before."""


def _unheard(pattern: re.Pattern[str], pair: Pair) -> bool:
    found = pattern.search(pair.other.text)
    return found is not None and not pair.ground.words.issuperset(found.group().split())


@lru_cache(maxsize=4096)
def _sides(reading: Reading, name: str) -> tuple[bool, bool]:
    left, right = _PAIRS[name]
    return holds(left, reading.text), holds(right, reading.text)


_PAIRS = {name: (left, right) for name, left, right in lex.OPPOSITES}


def polarity(pair: Pair) -> Finding:
    """No answer, operation, option or sentence is denied on one side only."""
    yes = re.compile(r"^\W*(yes|yep|yeah|no|nope)\b(?! (?:problem|worries|need))")
    first, second = yes.match(pair.shown.text), yes.match(pair.other.text)
    if first and second and first[1][0] != second[1][0]:
        return different("answer_flipped", demonstrated=first[1], candidate=second[1])
    for operation in pair.shown.operations() | pair.shown.operations(negated=True):
        a = {m.negated for m in pair.shown.mentions if m.operation == operation}
        b = {m.negated for m in pair.other.mentions if m.operation == operation}
        if a and b and not a & b and not _refused_after(pair, operation):
            return different("negated", operation=operation)
    return _things_denied(pair) or _denial(pair) or _sentences_denied(pair)


_GENERIC_REFUSAL = re.compile(
    r"\b(?:cannot|not able to|not allowed to|unable to) (?:do|help with|make|offer|arrange) (?:this|that|it|so)\b"
)


def _refused_after(pair: Pair, operation: str) -> bool:
    """`Changes are only possible if ... I cannot do this`: the denial stands in a sentence of its own."""
    modes = {m.mode for m in pair.other.mentions if m.operation == operation}
    denied = all(m.negated for m in pair.shown.mentions if m.operation == operation)
    return denied and modes <= {"can", "mention", "condition"} and bool(_GENERIC_REFUSAL.search(pair.other.text))


def _sentences_denied(pair: Pair) -> Finding:
    """Each sentence against the one it repeats: the same words with another count of negations is another claim."""
    if max(len(pair.shown.sentences), len(pair.other.sentences)) > MAX_SENTENCES:
        return None
    here = _bags(pair.shown)
    for text, bag, count in _bags(pair.other):
        size = sum(bag.values())
        if size < 2:
            continue
        rivals = [(_overlap(bag, other), n) for _, other, n in here + _halves(pair.shown)]
        best = max((score for score, _ in rivals), default=0.0)
        if best >= (0.75 if size > 2 else 0.9) and all(n != count for score, n in rivals if score >= best - 0.1):
            return different("negated", sentence=text[:160])
    return None


@lru_cache(maxsize=512)
def _bags(reading: Reading) -> list[tuple[str, Counter[str], int]]:
    """Sentences with their words and the number of negations."""
    return [(s.text, _bag(s.text), _negations(s.text)) for s in reading.sentences]


@lru_cache(maxsize=512)
def _halves(reading: Reading) -> list[tuple[str, Counter[str], int]]:
    """What stands behind a colon, and two sentences running, each as one sentence."""
    texts = [half for s in reading.sentences for half in s.text.split(": ")[1:]]
    texts += [f"{a.text} {b.text}" for a, b in pairwise(reading.sentences)]
    return [(text, _bag(text), _negations(text)) for text in texts]


MAX_SENTENCES = 150


def _negations(text: str) -> int:
    return len(cues.NEGATION.findall(cues.NOT_NEGATION.sub(" ", text))) if cues.NEGATION.search(text) else 0


def _bag(text: str) -> Counter[str]:
    words = re.findall(r"§\d+|[^\W\d_]{2,}", text)
    return Counter(
        "§" if w[0] == "§" else canonical(w) for w in words if not cues.NEGATION.fullmatch(w) and w not in _WEAK
    )


_WEAK = frozenset(
    "is are was were be been has have had do does did the a an to of can will would i you your we not".split()
)


def _overlap(a: Counter[str], b: Counter[str]) -> float:
    total = sum(a.values()) + sum(b.values())
    return 2 * sum(min(n, b[word]) for word, n in a.items() if word in b) / total if total else 0.0


def _things_denied(pair: Pair) -> Finding:
    """`X but not Y` against `Y but not X`: each named option with its polarity."""
    for group in ("payment", "cabin", "document", "setting", "trip"):
        if group not in pair.shown.exclusive or group not in pair.other.exclusive:
            continue
        shown, other = _polarities(pair.shown, group), _polarities(pair.other, group)
        flipped = [m for m in shown if m in other and not shown[m] & other[m]]
        if flipped and (len(shown) > 1 or group == "document"):
            return different("negated", options=flipped)
    return None


@lru_cache(maxsize=2048)
def _polarities(reading: Reading, group: str) -> dict[str, set[bool]]:
    found: dict[str, set[bool]] = {}
    for sentence in reading.sentences:
        for clause in re.split(r", | and | but | or | because | while |: ", sentence.text):
            for member in members_in(clause, group):
                found.setdefault(member, set()).add(is_negated(clause))
    return found


def _denial(pair: Pair) -> Finding:
    shown, other = _denied_clauses(pair.shown), _denied_clauses(pair.other)
    if bool(shown) == bool(other) or _unspoken(pair):
        return None
    if " only " in pair.shown.text and " only " in pair.other.text and "refuse" in pair.shown.acts:
        return None  # `can only be given to the customer` refuses without a negation
    if other and not all(_status_denied(c, pair) for c in other):
        return different("denial_added", clause=other[0][:120])
    rest = pair.other
    for clause in shown:
        words = {
            canonical(w)
            for w in re.findall(r"[^\W\d_]{3,}", clause)
            if w not in vocabulary.STOP and not cues.NEGATION.search(w)
        }
        if is_negated(clause) and (words & rest.lemmas or "§" in clause):
            return different("negated", clause=clause[:120])
    return None


def _status_denied(clause: str, pair: Pair) -> bool:
    """`not yet processed` says `pending`, which both messages name."""
    same = members_in(clause, "status") & pair.shown.exclusive.get("status", frozenset())
    return bool(same) and not is_negated(re.sub(r"\bnot (?:yet )?(?:been )?(?:shipped|processed)\b", "", clause))


def _unspoken(pair: Pair) -> bool:
    return not (pair.shown.acts & {"inform", "refuse", "told", "instruct", "ask_confirm"})


@lru_cache(maxsize=512)
def _denied_clauses(reading: Reading) -> list[str]:
    return [
        c
        for s in reading.sentences
        if not s.acts & ASKS
        for c in re.split(r", | and | but | because |: ", s.text)
        if is_negated(c) or _DIFFERS.search(c)
    ]


_DIFFERS = re.compile(r"\b(?:differs?|different|another|other) (?:\w+ )?(?:from|than)\b|\bunchanged\b")
"""Wording that denies a match without a negation."""


def hedged(pair: Pair) -> Finding:
    """No doubt or condition is added."""
    for name, pattern in (("hedged", cues.HEDGE), ("conditional", cues.CONDITION), ("conditional", cues.IF_CLAUSE)):
        found = pattern.search(pair.other.text)
        excuse = cues.HEDGE_FREE if name == "hedged" else cues.CONDITION_FREE
        if found and not pattern.search(pair.shown.text) and not excuse.search(pair.shown.text):
            return different(name, found=found.group())
    return None

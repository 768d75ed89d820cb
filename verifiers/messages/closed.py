"""The closed world: where everything a desk can say is known, each word of a candidate must be explained.

A word is explained if the demonstration uses it or one of its family, if it names the kind of a fact beside it, or if
it claims nothing (`families.py`). One that is not is an objection no customer's reaction outweighs: the customer hears
what they know, a verifier must hear the rest. Beside the words it weighs what is asked and denied, facts joined to the
demonstrated ones, who acts, whose a thing is, and time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from pivot_envs.verifiers.messages import cues
from pivot_envs.verifiers.messages.atoms import NUMERIC
from pivot_envs.verifiers.messages.decision import ASKS, Finding, Pair, different, has, unique
from pivot_envs.verifiers.messages.families import (
    CLASS_WORDS,
    FAMILIES,
    IMPLIED,
    NEUTRAL,
    OUTSIDE_COURTESY,
    OWN,
    PAST,
    PHRASES,
    STATES,
    TO_COME,
)
from pivot_envs.verifiers.messages.reading import Reading, Sentence, operations_in, stem
from pivot_envs.verifiers.messages.vocabulary import COURTEOUS


def unexplained(pair: Pair) -> Finding:
    """Return what a candidate says that the demonstration does not explain, or None."""
    return next((found for check in _CHECKS if (found := check(pair))), None)


@lru_cache(maxsize=4096)
def _keys(word: str) -> frozenset[str]:
    """Return what a word can be explained by: its stem and its families."""
    root = stem(word)
    return _STEMMED.get(root, frozenset()) | {root}


def _by_stem() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name, words in FAMILIES.items():
        for word in words:
            found.setdefault(stem(word), set()).add("=" + name)
    return {word: frozenset(names) for word, names in found.items()}


_STEMMED = _by_stem()
_IMPLIED = tuple(
    (frozenset(w if w[0] in "=@" else stem(w) for w in needed.split()), frozenset(stem(w) for w in words.split()))
    for needed, words in IMPLIED
)


@lru_cache(maxsize=512)
def _level(text: str) -> str:
    """Return text with its phrases levelled."""
    for pattern, word in PHRASES:
        text = pattern.sub(word, text)
    return re.sub(r" {2,}", " ", text).strip()


@lru_cache(maxsize=512)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"§|[^\W\d_]+", re.sub(r"§\d+", "§", text)))


@lru_cache(maxsize=512)
def _known(reading: Reading) -> frozenset[str]:
    """Return the keys of everything a demonstration explains."""
    words = {*_tokens(_level(reading.text)), *_tokens(reading.text)}
    found = {key for word in words for key in _keys(word)}
    found |= {"@" + act for act in reading.acts}
    found |= {"@ask"} if reading.acts & ASKS or _wants(reading) else set()
    found |= {"@report"} if not reading.acts & ASKS else set()
    return frozenset(found.union(*(words for needed, words in _IMPLIED if needed <= found)))


@lru_cache(maxsize=512)
def _wants(reading: Reading) -> bool:
    """Whether a message asks the customer to do something."""
    return bool(reading.acts & {"instruct", "told"}) or "please" in _level(reading.text)


def _spoken(reading: Reading) -> Iterator[Sentence]:
    """Yield the sentences that say something; courtesy by itself says nothing."""
    return (s for s in reading.sentences if not _courteous(s.text, COURTEOUS))


def _courteous(text: str, allowed: frozenset[str]) -> bool:
    return "§" not in text and all(w in allowed for w in re.findall(r"[^\W\d_]+", text))


def _words(pair: Pair) -> Finding:
    known = _known(pair.shown)
    shared = frozenset(m.operation for m in pair.shown.mentions)
    fine = _WEIGHED | {n for n, kind in pair.other.names.items() if kind == "vocative" and n in pair.ground.words}
    fine |= _DENYING if _denies(pair.shown) else frozenset()  # whether the same is denied is weighed elsewhere
    for sentence in _spoken(pair.other):
        for clause in re.split(r"[,:;()]|\.(?=\s|$)| - ", _level(sentence.text)):
            if _courteous(clause, _BESIDE):
                continue
            said = fine | _deeds(clause, shared)
            new = [w for w in _tokens(_NAMED.sub("§", clause)) if w not in said and not _keys(w) & known]
            if new:
                return different("unexplained_words", words=new)
    return None


def _deeds(clause: str, shared: Collection[str]) -> set[str]:
    """Return the first and the last word of what names a demonstrated deed; those between stand for themselves."""
    named = [words.split() for _, words in operations_in(clause, shared)]
    return {word for words in named for word in (words[0], words[-1])}


_WEIGHED = NEUTRAL | PAST | TO_COME | {"my", "our"}
_BESIDE = COURTEOUS - OUTSIDE_COURTESY
_NAMED = re.compile(
    rf"\b(?:{'|'.join(sorted(CLASS_WORDS))})s?(?: (?:number|no|id|is))?:? (?=§)|(?<=§) (?:line|slot|visit|plan)s?\b"
)


def _asked(pair: Pair) -> Finding:
    """A step for the customer where none was demonstrated."""
    if _wants(pair.shown) or pair.shown.acts & (ASKS | {"hold"}):
        return None
    for sentence in _spoken(pair.other):
        if sentence.acts & {"instruct", "told"} or _PLEASE.search(sentence.text):
            return different("act_added", found=sentence.text[:160])
    return None


_PLEASE = re.compile(r"\bplease\b(?!\W*$)")


def _denied(pair: Pair) -> Finding:
    """A denial where the demonstration denies nothing."""
    if _denies(pair.shown):
        return None
    for sentence in pair.other.sentences:
        if found := cues.NEGATION.search(cues.NOT_NEGATION.sub(" ", sentence.text)):
            return different("denial_added", found=found.group())
    return None


_DENYING = frozenset("not no never cannot without nothing none unable impossible".split())
_DENIES = re.compile(
    rf"\b(?:{'|'.join(sorted(_DENYING))}|unfortunately|differs?|another|other than|unchanged|still open|unpaid)\b"
)


@lru_cache(maxsize=512)
def _denies(reading: Reading) -> bool:
    return _DENIES.search(reading.text) is not None


def _joined(pair: Pair) -> Finding:
    """A fact joined to the demonstrated ones, or an amount with another sign or an `about`."""
    atoms = pair.other.atoms
    for match in _CHANGED.finditer(pair.other.text):
        if atoms[int(match[1])].kind in NUMERIC and not _CHANGED.search(pair.shown.text):
            return different("fact_added", found=match.group())
    extra = [a for a in unique(atoms) if a.kind in ("id", "money", "date") and not has(pair.shown, a)]
    for match in _JOINED.finditer(pair.other.text):
        if atoms[int(match[1])] in extra:
            return different("fact_added", found=atoms[int(match[1])].text)
    return None


_CHANGED = re.compile(r"(?:(?<![^\s(])-|\babout )§(\d+)")
_JOINED = re.compile(r"(?:\b(?:and|or|plus|also|with|than)|,)(?: (?:the|your|also|for|on))* (?:\w+ )?§(\d+)")


def _other_agent(pair: Pair) -> Finding:
    """What the desk does is done by the customer or to the desk, or what the customer does by the desk."""
    here, there = _agents(pair.shown), _agents(pair.other)
    asks = _wants(pair.shown) or pair.shown.acts & {"ask_identity", "ask_info"}
    desks = frozenset() if asks else _known(pair.shown) - _STATES
    for who, what in sorted(there - here):
        if (_OTHER_PARTY[who], what) in here or (who != "i" and what in desks):
            return different("other_agent", who=who, what=what)
    return None


_OTHER_PARTY = {"i": "you", "you": "i", "to me": ""}
_STATES = frozenset(key for word in STATES for key in _keys(word))


@lru_cache(maxsize=512)
def _agents(reading: Reading) -> frozenset[tuple[str, str]]:
    """Return who does what: (`i`, `you` or `to me`, key of the verb)."""
    found = {("to me", m[1]) for m in _SUFFERS.finditer(reading.text)}
    found |= {("you", m[1]) for m in _BY_YOU.finditer(reading.text)}
    for match in _AGENT.finditer(_level(reading.text)):
        if match[2] not in NEUTRAL or match[2] == "have":
            found.add(("you" if match[1] == "you" else "i", match[2]))
    return frozenset((who, key) for who, verb in found for key in _keys(verb) if key[0] != "=" or key in _DEEDS)


_DEEDS = frozenset(
    "=" + name for name in "plan_change credited agreed moved accepted handed carried_out restart replug".split()
)
_SUFFERS = re.compile(r"\b(?:i|we) (?:was|were|am|are|have been) (?!pleased|delighted|transferr)(\w+ed)\b")
_BY_YOU = re.compile(r"\b(\w+ed) (?:\w+ )?by you\b")
_AGENT = re.compile(
    r"\b(i|we|you) (?:(?:can|could|may|shall|should|would|will|must|please|now|just|also|already|"
    r"(?:have|am|are|do)(?= \w+(?:ed|ing|en|ut)\b)) )*"
    r"(?!have (?!any|other|more|further|no\b|questions?))([a-z]+)"
)


def _other_owner(pair: Pair) -> Finding:
    """What was the customer's becomes the desk's or anybody's."""
    for match in _DESKS.finditer(pair.other.text):
        if match[1] not in OWN and not re.search(rf"\b(?:my|our) {match[1]}\b", pair.shown.text):
            return different("other_owner", found=match.group())
    found = _ANYBODYS.search(pair.other.text) if "ask_identity" in pair.shown.acts else None
    return different("other_owner", found=found.group()) if found and found.group() not in pair.shown.text else None


_DESKS = re.compile(r"\b(?:my|our) (?:own )?([a-z]+)")
_ANYBODYS = re.compile(r"\b(?:an?|any|some|this|that) (?:e ?mail|phone|telephone|number|serial|address|account)\b")


def _other_time(pair: Pair) -> Finding:
    """A report becomes a promise, a guess or a memory."""
    told = pair.shown.text
    said = frozenset(_tokens(_level(told)))
    perfect = bool(_PERFECT.search(told))
    past = frozenset() if perfect or said & PAST or _BYGONE.search(told) else PAST
    to_come = TO_COME if _settled(pair.shown) and not said & (TO_COME | {"come"}) else frozenset()
    strange = (past | to_come | {"had"}) - said
    for sentence in _spoken(pair.other):
        if sentence.text.endswith("?"):
            continue
        text = _FINDING.sub(" ", _level(sentence.text))
        finite = () if perfect else (w for w in _FINITE.findall(text) if w not in said | FAMILIES["billed"])
        unreal = _UNREAL.search(text)
        if found := [*([unreal.group()] if unreal else []), *(w for w in _tokens(text) if w in strange), *finite]:
            return different("tense", found=found[0])
    return None


def _settled(reading: Reading) -> bool:
    """Whether a message reports, and neither asks nor offers."""
    return not reading.acts & (ASKS | {"instruct", "told", "hold", "offer_help", "close"})


_UNREAL = re.compile(r"\b(?:would|could|should|might|must|may) (?:not )?have \w+|\bbeing\b|\bused to (?!\w+ing)\b")
_FINDING = re.compile(
    r"\bthere (?:was|were)\b|\boutage (?:§\d+ )?(?:\w+ )?(?:was|were)\b"
    r"|\byou (?:will|should|would|can|may) (?:now |also )?(?:find|see|notice|get|have)\b"
)
_PERFECT = re.compile(
    r"\b(?:have|has|had|was|were|been|is|are) (?:now |just |been )*(?:\w+ed|done|paid|sent)\b|\b(?:i|we) \w+ed\b"
)
_BYGONE = re.compile(r"\b(?:invoice|amount|bill)\b")
_FINITE = re.compile(
    r"(?<!have )(?<!has )(?<!be )(?<!been )(?<!is )(?<!are )(?<!was )(?<!were )(?<!now )(?<!an )(?<!your )(?<!you )"
    r"\b(?!need|unchanged|registered|printed)([a-z]{3,}ed)\b(?= (?:again|the|your|§|to|on|now))"
)
_CHECKS: tuple[Callable[[Pair], Finding], ...] = (
    _asked,
    _denied,
    _joined,
    _other_agent,
    _other_owner,
    _other_time,
    _words,
)

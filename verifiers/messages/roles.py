"""Who does what to whom in the closed world: agents, owners, objects, and which of two things waits for the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pivot_envs.verifiers.messages.atoms import Atom
from pivot_envs.verifiers.messages.decision import Finding, Pair, different
from pivot_envs.verifiers.messages.glossary import NEUTRAL, Glossary, known, tokens, wants
from pivot_envs.verifiers.messages.reading import Reading, is_negated


def other_agent(pair: Pair, glossary: Glossary) -> Finding:
    """What the desk does is done by the customer or to the desk, or what the customer does by the desk."""
    here, there = _agents(pair.shown, glossary), _agents(pair.other, glossary)
    asks = wants(pair.shown, glossary) or pair.shown.acts & {"ask_identity", "ask_info"}
    desks = frozenset() if asks else known(pair.shown, glossary) - glossary.state_keys
    for who, what in sorted(there - here):
        if (_OTHER_PARTY[who], what) in here or (who in ("you", "to me") and what in desks):
            return different("other_agent", who=who, what=what)
    return _taken_over(pair, glossary, here) or _served(pair)


_OTHER_PARTY = {"i": "you", "you": "i", "it": "i", "to me": ""}


@lru_cache(maxsize=512)
def _agents(reading: Reading, glossary: Glossary) -> frozenset[tuple[str, str]]:
    """Return who does what: (`i`, `you`, `it` or `to me`, key of the verb)."""
    found = {("to me", m[1]) for m in _SUFFERS.finditer(reading.text)}
    found |= {("you", m[1]) for m in _BY_YOU.finditer(reading.text)}
    found |= {("it", m[1]) for m in _BY_ITSELF.finditer(reading.text)}
    for match in _AGENT.finditer(glossary.level(reading.text)):
        if match[2] not in NEUTRAL or match[2] == "have":
            found.add(("you" if match[1] == "you" else "i", match[2]))
    keyed = ((who, key) for who, verb in found for key in glossary.keys(verb))
    return frozenset((who, key) for who, key in keyed if key[0] != "=" or key in glossary.deed_keys)


_SUFFERS = re.compile(r"\b(?:i|we) (?:was|were|am|are|have been) (?!pleased|delighted|transferr)(\w+ed)\b")
_BY_YOU = re.compile(r"\b(\w+ed) (?:\w+ )?by you\b")
_BY_ITSELF = re.compile(r"§\d+ (?:has|have|had) (?:(?:now|just|already) )*(?!been)(\w+ed)\b")
_AGENT = re.compile(
    r"\b(i|we|you) (?:(?:can|could|may|shall|should|would|will|must|not|please|now|just|also|already|"
    r"(?:want|like|wish|prefer|need) to|(?:have|am|are|do)(?= \w+(?:ed|ing|en|ut)\b)) )*"
    r"(?!have (?!any|other|more|further|no\b|questions?))([a-z]+)"
)


def _taken_over(pair: Pair, glossary: Glossary, here: frozenset[tuple[str, str]]) -> Finding:
    """The desk does what the customer was asked to do; what a subordinate clause says the desk does is a reason."""
    if pair.shown.acts & {"ask_confirm", "offer_transfer"}:
        return None
    asked = not pair.shown.atoms and (wants(pair.shown, glossary) or "ask_info" in pair.shown.acts)
    if asked or pair.shown.acts & {"instruct", "told"}:
        theirs = known(pair.shown, glossary)
    else:
        theirs = frozenset({"=told"}) if "ask_identity" in pair.shown.acts else frozenset()
    for match in _DESK.finditer(glossary.level(pair.other.text)):
        keys = glossary.keys(match[1])
        if match[1] not in _SOFT and keys & theirs and not any(("i", key) in here for key in keys):
            return different("other_agent", who="i", what=match[1])
    return None


_DESK = re.compile(
    r"(?<!so )(?<!that )(?<!before )(?<!while )(?<!if )\b(?:(?:i|we) "
    r"(?:(?:can|could|may|shall|should|would|will|must|now|just|also|first|do(?! an?\b| the\b)|"
    r"(?:am|are)(?= \w+ing\b)|(?:want|like|need) to|going to) )*|let (?:me|us) )"
    r"(?:do (?:an?|the) )?([a-z]+)"
)
_SOFT = NEUTRAL | frozenset(
    "see know need like want get find have help ask talk speak mean confirm verify use receive register suggest".split()
)


def _served(pair: Pair) -> Finding:
    """An offer of help that asks for help or turns on the customer, or one to do something that asks them to do it."""
    found = _SERVES_DESK.search(pair.other.text) if "offer_help" in pair.shown.acts else None
    found = found or (_YOU_DO.search(pair.other.text) if "ask_confirm" in pair.shown.acts else None)
    return different("other_agent", found=found.group()) if found else None


_YOU_DO = re.compile(r"\byou (?:still )?(?:want|like|wish|prefer) to do (?:it|that|this|so)\b")
_SERVES_DESK = re.compile(
    r"\b(?:for|help|assist|serve) (?:me|us)\b|\bdo (?:to|with|about) you\b"
    r"|\byou (?:can|could|may|shall) (?:do|help|assist)\b"
)


def other_object(pair: Pair, glossary: Glossary) -> Finding:
    """A deed is done to another thing, a state said of another, or a fact stands in another relation."""
    text = glossary.level(pair.other.text)
    for pattern, things in glossary.done_to:
        for match in pattern.finditer(text):
            named = [w for w in tokens(match[1]) if w in glossary.things]
            if named and named[-1] not in things:
                return different("other_object", found=match.group())
    for pattern, things in glossary.said_of:
        for match in pattern.finditer(text):
            named = [w for w in tokens(match[1]) if w in glossary.things]
            if named and not things & frozenset(named):
                return different("other_object", found=match.group())
    return _other_kind(pair, glossary) or _other_relation(pair) or _misdirected(pair, glossary)


def _other_kind(pair: Pair, glossary: Glossary) -> Finding:
    """A fact stands beside the name of another kind of thing: `line R1401` for `router R1401`."""
    shapes: dict[str, set[str]] = {}
    for word, atom in _kinds(pair.shown, glossary):
        shapes.setdefault(word, set()).add(atom.shape)
    for word, atom in _kinds(pair.other, glossary):
        if word in shapes and atom.shape not in shapes[word] and atom in pair.shown.facts:
            return different("other_object", found=f"{word} {atom.text}")
    return None


def _kinds(reading: Reading, glossary: Glossary) -> Iterator[tuple[str, Atom]]:
    found = ((m[1], reading.atoms[int(m[2])]) for m in _KIND.finditer(reading.text))
    return ((word, atom) for word, atom in found if word in glossary.things and atom.kind == "id")


_KIND = re.compile(r"\b([a-z]+?)s? (?:number )?§(\d+)")


def _other_relation(pair: Pair) -> Finding:
    """A demonstrated fact is what something is done by or from, or is left for what it was moved to."""
    stood = {(m[1], pair.shown.atoms[int(m[2])].values) for m in _BY.finditer(pair.shown.text)}
    for match in _BY.finditer(pair.other.text):
        atom = pair.other.atoms[int(match[2])]
        if atom in pair.shown.facts and (match[1], atom.values) not in stood:
            return different("other_object", found=f"{match[1]} {atom.text}")
    placed = ((pair.shown.atoms[int(m[1])], m[2]) for m in _MOVED.finditer(pair.shown.text))
    moved = {(atom.values, word) for atom, place in placed if atom.kind == "id" for word in (place, *_PLACES)}
    for match in _LEFT.finditer(pair.other.text):
        if (pair.other.atoms[int(match[1])].values, match[2]) in moved:
            return different("other_object", found=match.group())
    return None


_BY = re.compile(r"\b(by|from|against) (?:(?:the|your|my|our) )?(?:[a-z]+ )?§(\d+)")
_MOVED = re.compile(r"§(\d+) (?:to|on|onto|into) (?:the )?(\w+)")
_LEFT = re.compile(r"§(\d+) (?:for|with|by|from|off|of) (?:the )?(\w+)")
_PLACES = ("it", "that", "this", "plan")


def _misdirected(pair: Pair, glossary: Glossary) -> Finding:
    """Something else than the customer is handed to somebody."""
    handed = frozenset(key for m in _HANDS_YOU.finditer(pair.shown.text) for key in glossary.keys(m[1]))
    for match in _HANDS.finditer(pair.other.text) if handed else ():
        if glossary.keys(match[1]) & handed:
            return different("other_object", found=match.group())
    return None


_HANDS_YOU = re.compile(r"\b([a-z]+) you (?:\w+ )?(?:to|with)\b")
_HANDS = re.compile(r"\b([a-z]+) (?:the|an?|my|our|me|us|them|your(?! call\b| case\b))\b")


def other_owner(pair: Pair, glossary: Glossary) -> Finding:
    """What was the customer's becomes the desk's or anybody's."""
    for match in _DESKS.finditer(pair.other.text):
        if match[1] not in glossary.own and not re.search(rf"\b(?:my|our) {match[1]}\b", pair.shown.text):
            return different("other_owner", found=match.group())
    found = _ANYBODYS.search(pair.other.text) if "ask_identity" in pair.shown.acts else None
    return different("other_owner", found=found.group()) if found and found.group() not in pair.shown.text else None


_DESKS = re.compile(r"\b(?:my|our) (?:own )?([a-z]+)")
_ANYBODYS = re.compile(r"\b(?:an?|any|some|this|that) (?:e ?mail|phone|telephone|number|serial|address|account)\b")


def reversed_order(pair: Pair, glossary: Glossary) -> Finding:
    """What waits for or follows from something now comes before it (`until`, `because`, `so`)."""
    for first, then in _orders(pair.shown, glossary):
        for other_first, other_then in _orders(pair.other, glossary):
            if (first - then) & (other_then - other_first) and (then - first) & (other_first - other_then):
                return different("order_reversed")
    return None


@lru_cache(maxsize=512)
def _orders(reading: Reading, glossary: Glossary) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Return for each sentence that says so what comes first and what then, as keys."""
    parts = (part for sentence in reading.sentences for part in _parts(sentence.text))
    return tuple((_bag(first, reading, glossary), _bag(then, reading, glossary)) for first, then in parts)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    if match := _LEADS.match(text):
        yield match[1], match[2]
    elif match := _FOLLOWS.match(text):
        yield match[2], match[1]
    elif match := _PRECEDES.match(text):
        yield match[1], match[2]
    elif (halves := text.split(": ", 1))[1:] and is_negated(halves[0]) and not is_negated(halves[1]):
        yield halves[1], halves[0]


_WAITS = "until|as long as|while|because|since|once|when|after|unless"
_LEADS = re.compile(rf"\W*(?:{_WAITS}) ([^,]+), (.+)")
_FOLLOWS = re.compile(rf"(.+?),? (?:{_WAITS}) (.+)")
_PRECEDES = re.compile(r"(.+?),? (?:so(?! that\b)|before) (.+)")


def _bag(text: str, reading: Reading, glossary: Glossary) -> frozenset[str]:
    words = frozenset(key for w in tokens(text) if w not in NEUTRAL for key in glossary.keys(w))
    return words | {str(reading.atoms[int(n)].values[0]) for n in re.findall(r"§(\d+)", text)}

"""What a candidate says beyond the demonstration: sentences and clauses that are neither courtesy nor repetition.

A sentence without which the candidate still does the same says something of its own. It is forgiven where all its words
belong to a closed vocabulary of courtesy, or to the demonstration; everything else is `surplus_statement`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

from pivot_envs.verifiers.messages import cues, vocabulary
from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.atoms import Atom
from pivot_envs.verifiers.messages.decision import ASKS, MINOR, Finding, MessageDecision, Pair, different
from pivot_envs.verifiers.messages.reading import (
    Mention,
    Reading,
    Sentence,
    canonical,
    is_negated,
    members_in,
    operations_in,
    stem,
)

MOST_UNKNOWN = 0.49
"""Share of new words a repetition may have; a sentence of which half is new says something else."""
MOST_COPIED = 0.6
"""Share of demonstrated sentences found word for word that makes a candidate a copy."""
MAX_TRIED = 4
"""Sentences left out one by one before a message is taken as it is; each costs one climb of the ladder."""


def surplus(pair: Pair, climb: Callable[[Pair], MessageDecision], found: MessageDecision) -> Finding:
    """Return a rejection if a sentence of its own stands beside what makes the candidate acceptable."""
    known = _known(pair)
    if (changed := _copied(pair)) is not None:
        return _beside_copy(pair, *changed)
    if not pair.shown.acts - MINOR:
        odd = [k for k, s in enumerate(pair.other.sentences) if not _forgiven(s, pair, known, 0.0)]
        return _rejection(pair, odd) if odd else None
    odd = [k for k, s in enumerate(pair.other.sentences) if not _forgiven(s, pair, known, MOST_UNKNOWN)]
    spare = sorted((k for k in odd if _is_spare(k, pair)), key=lambda k: -_unknown(pair.other.sentences[k].text, known))
    for left_out in _trials(spare):
        rest = Pair(pair.shown, without(pair.other, left_out), pair.ground)
        if rest.other.sentences and _as_good(climb(rest), found):
            return _rejection(pair, left_out)
    return None


def _copied(pair: Pair) -> tuple[list[Sentence], list[Sentence]] | None:
    """Return what a copy leaves and adds, sentence by sentence; None where most sentences are no copies."""
    here, there = ([_spelled(s.text, r.atoms) for s in r.sentences] for r in (pair.shown, pair.other))
    same = sum((Counter(here) & Counter(there)).values())
    if same < MOST_COPIED * len(here):
        return None
    left = [s for s, key in zip(pair.shown.sentences, here, strict=True) if key not in there]
    added = [s for s, key in zip(pair.other.sentences, there, strict=True) if key not in here]
    return left, added


def _spelled(text: str, atoms: list[Atom]) -> str:
    return re.sub(r"§(\d+)", lambda m: str(atoms[int(m[1])].values[0]), text).strip(" .,:;!?")


def _beside_copy(pair: Pair, left: list[Sentence], added: list[Sentence]) -> Finding:
    """In a copy, a sentence is changed in no word that says something, and none is put in but courtesy."""
    for sentence in added:
        bag = claims(sentence.text)
        source = max(left, key=lambda s: len(claims(s.text) & bag), default=None)
        if source is not None and 2 * len(claims(source.text) & bag) >= len(bag):
            if new := bag - claims(source.text) - _LIGHT:
                return different("claim_added", words=new)
            if _denied(sentence.text) != _denied(source.text):
                return different("negated", sentence=sentence.text[:160])
            if lost := _deeds(source.text) - _deeds(sentence.text):
                return different("operation_missing", operations=lost)
        elif not left and not _repeats(sentence, pair) and not _forgiven(sentence, pair, _special(pair), 0.0):
            return different("surplus_statement", sentence=sentence.text[:160])
    return None


def _denied(text: str) -> tuple[bool, int]:
    return is_negated(text), len(re.findall(r"\b(?:not|cannot)\b", text))


def _deeds(text: str) -> frozenset[str]:
    return frozenset(operation for operation, _ in operations_in(text))


def _repeats(sentence: Sentence, pair: Pair) -> bool:
    """Whether one demonstrated sentence holds two words or more of this one, and all that say something."""
    words = _surface(sentence.text)
    sources = (s for s in pair.shown.sentences if _denied(s.text) == _denied(sentence.text))
    return len(words) >= 2 and any(words <= _surface(s.text) for s in sources)


@lru_cache(maxsize=4096)
def _surface(text: str) -> frozenset[str]:
    return frozenset(stem(w) for w in re.findall(r"[^\W\d_]+", text) if w not in vocabulary.COURTEOUS)


def _trials(spare: list[int]) -> Iterator[list[int]]:
    if len(spare) > 1:
        yield spare
    yield from ([k] for k in spare[:MAX_TRIED])


def _as_good(rest: MessageDecision, found: MessageDecision) -> bool:
    return rest.equal is True or (not found.equal and rest.reason == found.reason)


def _rejection(pair: Pair, indices: list[int]) -> MessageDecision:
    return different("surplus_statement", sentence=pair.other.sentences[indices[0]].text[:160])


def _is_spare(index: int, pair: Pair) -> bool:
    """Whether the rest of the message holds every demonstrated fact and speech act this sentence holds."""
    sentence = pair.other.sentences[index]
    numbers = {int(n) for n in re.findall(r"§(\d+)", sentence.text)}
    rest = [int(n) for k, s in enumerate(pair.other.sentences) if k != index for n in re.findall(r"§(\d+)", s.text)]
    atoms = pair.other.atoms
    if any(atoms[n] in pair.shown.facts and not any(atoms[n].same(atoms[m]) for m in rest) for n in numbers):
        return False
    acts = frozenset(act for k, s in enumerate(pair.other.sentences) if k != index for act in s.acts)
    return not (sentence.acts & pair.shown.acts) - MINOR - acts - {"told"}


def _known(pair: Pair) -> frozenset[str]:
    """Lemmas a sentence may use without saying anything new."""
    return _special(pair) | {canonical(w) for w in pair.shown.spoken}


def _special(pair: Pair) -> frozenset[str]:
    """Lemmas that say nothing new beside what the demonstration does."""
    known = {canonical(n) for n, kind in pair.other.names.items() if kind == "vocative"}
    known |= {canonical(n) for n in pair.other.names if n in pair.ground.words}
    if "ask_identity" in pair.shown.acts:
        known |= _WHY
    if "ask_confirm" in pair.shown.acts:
        known |= {canonical(w) for w in vocabulary.CONSENT}
    if "hold" in pair.shown.acts:
        known |= {canonical(w) for w in vocabulary.RECORDS}
    if not pair.shown.acts & (ASKS | {"refuse"}) or "instruct" in pair.shown.acts or pair.shown.operations("done"):
        known |= {canonical(w) for w in ("done", "set", "completed")}
    return frozenset(known)


@lru_cache(maxsize=4096)
def claims(text: str) -> frozenset[str]:
    """Return the words of a text that say something, as lemmas."""
    return frozenset(
        canonical(w)
        for w in re.findall(r"[^\W\d_]+", text)
        if w not in vocabulary.COURTEOUS and stem(w) not in vocabulary.COURTEOUS and not cues.NEGATION.fullmatch(w)
    )


def _unknown(text: str, known: frozenset[str]) -> float:
    words = claims(text)
    return len(words - known) / len(words) if words else 0.0


def _forgiven(sentence: Sentence, pair: Pair, known: frozenset[str], most: float) -> bool:
    """Whether a sentence is courtesy, or repeats; `most` is the share of its words that may be new."""
    text = sentence.text
    if any(text == s.text for s in pair.shown.sentences) or not re.search(r"[^\W\d_]{2,}", text):
        return True
    if _ANSWER.fullmatch(text):
        return bool(_ANSWER.match(pair.shown.text))
    if members_in(text, "status") & pair.shown.exclusive.get("status", frozenset()):
        return True
    text = _SPARED.sub(" ", cues.NOT_NEGATION.sub(" ", text))
    words = claims(text)
    if is_negated(text):
        denied = (claims(s.text) for s in pair.shown.sentences if s.negated)
        if not words or not any(words & other for other in denied):
            return False
    if sentence.acts and sentence.acts <= ASKS and sentence.asked and sentence.asked <= pair.shown.asked:
        return True
    if "ask_identity" in pair.shown.acts and words & _WHY:
        known |= pair.ground.lemmas
    return _unknown(text, known) <= most or _unknown(_without_deeds(text, pair), known) <= most


def _without_deeds(text: str, pair: Pair) -> str:
    """Take out the words for what the demonstration does too, whatever words it uses."""
    shared = pair.shown.operations() | pair.shown.operations(negated=True)
    for _, surface in operations_in(text, [name for name in lex.OPERATIONS if name in shared]):
        text = re.sub(rf"(?<!\w){re.escape(surface)}(?!\w)", " ", text)
    return text


_LIGHT = frozenset(canonical(w) for w in vocabulary.LIGHT)
_WHY = frozenset(canonical(w) for w in vocabulary.VERIFYING)
"""What a sentence that says why identity is asked may speak of."""
_SPARED = re.compile(
    r"\bthank(?:s| you)(?: so much| very much| a lot)? for (?:(?!nothing)[a-z]+ing\b ?)?"
    r"(?:(?:me|us|out|that|it|the|your|this|our|to|know|with|details|"
    r"information|confirmation|payment|question|customer) ?){0,4}"
    r"|\b(?:sorry|apolog\w+) (?:for|about|to hear) (?:about )?(?:the|that|this|your|any|all)(?: \w+){0,2}(?=\W*$)"
    r"|\b(?:look|watch) out for\b|\b(?:this|that|it) must (?:be|have been|feel)\b"
)
"""Thanks and apologies that name what they are for."""
_ANSWER = re.compile(
    r"\W*(?:yes|yep|no|nope)\b"
    r"(?:\W+(?:you|i|we|it|that) (?:do|did|will|can|have|is|are|am|would|should)(?: not)?\b)?\W*"
)


def without(reading: Reading, indices: list[int]) -> Reading:
    """Return a reading without some of its sentences and the facts only they hold."""
    kept = [k for k in range(len(reading.sentences)) if k not in indices]
    order = sorted({int(n) for k in kept for n in re.findall(r"§(\d+)", reading.sentences[k].text)})
    atoms: list[Atom] = [reading.atoms[n] for n in order]
    number = {old: new for new, old in enumerate(order)}

    def renumber(text: str) -> str:
        return re.sub(r"§(\d+)", lambda m: f"§{number[int(m[1])]}", text)

    sentences = [replace(reading.sentences[k], text=renumber(reading.sentences[k].text)) for k in kept]
    position = {old: new for new, old in enumerate(kept)}
    mentions: list[Mention] = [
        replace(m, sentence=position[m.sentence]) for m in reading.mentions if m.sentence in position
    ]
    return Reading(reading.plain, " ".join(s.text for s in sentences), atoms, sentences, mentions)


def conditions(pair: Pair) -> Finding:
    """No condition, time or owner is put in that the demonstration does not know."""
    known = _known(pair)
    if len(found := _depends(pair.other, known)) > len(_WHEN.findall(pair.shown.text)):
        return different("conditional", found=found[0][:80])
    dated = any(atom.kind == "date" for atom in pair.shown.atoms)
    for match in _TIME.finditer(pair.other.text):
        if match.group() not in pair.shown.text and not dated:
            return different("other_time", found=match.group())
    for match in _IN.finditer(pair.other.text):
        atom = pair.other.atoms[int(match[1])]
        if atom.unit in _SPANS and not any(a.unit == atom.unit and a.same(atom) for a in pair.shown.atoms):
            return different("other_time", found=atom.text)
    for owner in pair.other.spoken:
        if owner in vocabulary.PERSONS and owner not in pair.shown.spoken and owner not in pair.ground.words:
            return different("other_owner", found=owner)
    return None


def _depends(reading: Reading, known: frozenset[str]) -> list[str]:
    """Return the clauses that make something depend on what is not known."""
    found = []
    for match in _CLAUSE.finditer(reading.text):
        if not _POLITE.match(match.group()) and _unknown(match[2], known) > MOST_UNKNOWN:
            found.append(match.group())
    return found


_WHEN = re.compile(r"\b(?:if|unless|once|when|whenever|after|before(?! (?:we|i)\b)|until|as soon as|as long as)\b")
_CLAUSE = re.compile(
    r"(?<!know )(?<!tell me )(?<!check )(?<!see )(?<!tell us )(?<!okay )(?<!ok )(?<!fine )(?<!right )\b"
    r"(if|unless|once|when|whenever|after|before|until|as soon as|as long as) (?!that\b|this\b|which\b)"
    r"([^.,;:!?\n]{2,80})"
)
_TIME = re.compile(
    r"\b(next|this coming|in a few|in some|in a couple of) (?:week|month|year|day|hour|weekend|summer|winter)s?\b"
    r"|\b(in) an? (?:week|month|year|day|hour)s?\b"
)
_IN = re.compile(r"\b(?:in|after|for|until) §(\d+)")
_SPANS = frozenset({"day", "business day", "week", "month", "year", "hour", "minute"})
_POLITE = re.compile(
    r"(?:if|when|whenever|once|before|after|until|as soon as) (?:i|we|possible|needed|not|so|"
    r"(?:that|this|it) is (?:ok|okay|fine|all right|alright|right|correct|possible|convenient|done)|it clicks|"
    r"you (?:would|want|wish|like|agree|prefer|do not (?:mind|have)|can|could|have a|"
    r"are (?:ready|happy|okay|ok|sure|fine)|"
    r"need|have (?:any|a|further|more|other))|there is|anything|everything (?:is|looks))\b"
)
"""Clauses that make nothing depend on anything."""

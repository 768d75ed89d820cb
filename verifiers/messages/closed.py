"""The closed world: where everything a desk can say is known, each word of a candidate must be explained.

A word is explained if the demonstration uses it or one of its family, if it names the kind of a fact beside it, or if
it claims nothing. One that is not is an objection no customer's reaction outweighs: the customer hears what they know,
a verifier must hear the rest. Beside the words it weighs what is asked and denied, facts joined to the demonstrated
ones, time and mood, and who does what to whom (`roles.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from pivot_envs.verifiers.messages import cues
from pivot_envs.verifiers.messages.atoms import NUMERIC
from pivot_envs.verifiers.messages.decision import ASKS, Finding, Pair, different, has, unique
from pivot_envs.verifiers.messages.glossary import NEUTRAL, Glossary, known, tokens, wants
from pivot_envs.verifiers.messages.reading import Reading, Sentence, operations_in, stem
from pivot_envs.verifiers.messages.roles import other_agent, other_object, other_owner, reversed_order
from pivot_envs.verifiers.messages.vocabulary import COURTEOUS

PAST = frozenset("was were had did".split())
"""Auxiliaries of a past that a demonstration in the present does not tell."""

TO_COME = frozenset("will would could should might shall may can".split())
"""Auxiliaries that make a report into a promise or a guess."""


def unexplained(pair: Pair, glossary: Glossary) -> Finding:
    """Return what a candidate says that the demonstration does not explain, or None."""
    return next((found for check in _CHECKS if (found := check(pair, glossary))), None)


def _spoken(reading: Reading) -> Iterator[Sentence]:
    """Yield the sentences that say something; courtesy by itself says nothing."""
    return (s for s in reading.sentences if not _courteous(s.text, COURTEOUS))


def _courteous(text: str, allowed: frozenset[str]) -> bool:
    return "§" not in text and all(w in allowed for w in re.findall(r"[^\W\d_]+", text))


def _words(pair: Pair, glossary: Glossary) -> Finding:
    explained, beside = known(pair.shown, glossary), COURTEOUS - glossary.weighty
    shared = frozenset(m.operation for m in pair.shown.mentions)
    fine = _WEIGHED | {n for n, kind in pair.other.names.items() if kind == "vocative" and n in pair.ground.words}
    fine |= _DENYING if _denies(pair.shown) else frozenset()  # whether the same is denied is weighed elsewhere
    for sentence in _spoken(pair.other):
        for clause in re.split(r"[,:;()]|\.(?=\s|$)| - ", glossary.level(sentence.text)):
            if _courteous(clause, beside):
                continue
            said = fine | _deeds(clause, shared)
            words = tokens(glossary.named.sub("§", clause))
            new = [w for w in words if w not in said and not glossary.keys(w) & explained]
            if new:
                return different("unexplained_words", words=new)
    return None


def _deeds(clause: str, shared: Collection[str]) -> set[str]:
    """Return the first and the last word of what names a demonstrated deed; those between stand for themselves."""
    named = [words.split() for _, words in operations_in(clause, shared)]
    return {word for words in named for word in (words[0], words[-1])}


_WEIGHED = NEUTRAL | PAST | TO_COME | {"my", "our"}


def _asked(pair: Pair, glossary: Glossary) -> Finding:
    """A step for the customer where none was demonstrated."""
    if wants(pair.shown, glossary):
        return None
    if "refuse" not in pair.shown.acts and (must := _YOU_MUST.search(glossary.level(pair.other.text))):
        return different("act_added", found=must.group())
    if pair.shown.acts & (ASKS | {"hold"}):
        return None
    for sentence in _spoken(pair.other):
        if sentence.acts & {"instruct", "told"} or _PLEASE.search(sentence.text):
            return different("act_added", found=sentence.text[:160])
    return None


_YOU_MUST = re.compile(
    r"\byou (?:must|should) (?!now\b|also\b|be\b|have\b|see\b|find\b|get\b|confirm|agree|approve|know|decide|choose"
    r"|pay\b)\w+"
)
_PLEASE = re.compile(r"\bplease\b(?!\W*$)")


def _denied(pair: Pair, glossary: Glossary) -> Finding:
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


def _joined(pair: Pair, glossary: Glossary) -> Finding:
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


def _dated(pair: Pair, glossary: Glossary) -> Finding:
    """A day the demonstration does not name, unless it is told as the day of what happened."""
    shown = pair.shown.text
    for match in _DAY.finditer(_DAY_OF.sub(r"\1", pair.other.text)):
        atom = pair.other.atoms[int(match[2])]
        its_day = match[1] in glossary.happened and match[1] in shown
        if atom.kind == "date" and not its_day and not has(pair.shown, atom):
            return different("fact_added", found=atom.text)
    return None


_DAY_OF = re.compile(r"(\b(?:visit|appointment) §\d+) (?:on|of) (?:the )?§\d+")
_DAY = re.compile(r"(?:\b(\w+) )?(?:(?:on|of|from) )?(?:the )?§(\d+)")


def _paid(pair: Pair, glossary: Glossary) -> Finding:
    """What is open is told as settled."""
    if not _OPEN.search(pair.shown.text):
        return None
    for sentence in pair.other.sentences:
        if found := _SETTLED.search(_UNTIL.sub(" ", sentence.text)):
            return different("status_reversed", found=found.group())
    return None


_OPEN = re.compile(r"\b(?:open|unpaid|outstanding)\b")
_SETTLED = re.compile(r"(?<!not )(?<!never )(?<!not been )(?<!not yet )(?<!not yet been )\b(?:paid|settled|cleared)\b")
_UNTIL = re.compile(r"\b(?:until|unless|once|when|after|before|if|as soon as|has to be|must be|needs? to be|to be)\b.*")

_CHANGED = re.compile(r"(?:(?<![^\s(])-|\babout )§(\d+)")
_JOINED = re.compile(r"(?:\b(?:and|or|plus|also|with|than)|,)(?: (?:the|your|also|for|on))* (?:\w+ )?§(\d+)")


def _other_time(pair: Pair, glossary: Glossary) -> Finding:
    """A report or a question in another time or mood: a promise, a guess or a memory."""
    told = pair.shown.text
    said = frozenset(tokens(glossary.level(told)))
    perfect = bool(_PERFECT.search(told))
    past = frozenset() if perfect or said & (PAST | glossary.bygone) else PAST
    to_come = TO_COME if _settled(pair.shown) and not said & (TO_COME | {"come"}) else frozenset()
    strange = (past | to_come | {"had"}) - said
    states = _states(pair.shown)
    for sentence in _spoken(pair.other):
        text = glossary.finding.sub(" ", glossary.level(sentence.text))
        text = _WILL_NOT.sub(lambda m: f"do not {m[1]}" if f"do not {m[1]}" in told else m.group(), text)
        if sentence.text.endswith("?"):
            supposed = () if pair.shown.acts & _ANY_MOOD else _SUPPOSED.findall(text)
            found = [*(w for w in tokens(text) if w in strange & PAST), *(m for m in supposed if m not in told)]
        else:
            found = [m.group() for m in _UNREAL.finditer(text)]
            found += [m.group() for m in _GUESS.finditer(text) if stem(m[1]) in states and m.group() not in told]
            found += [w for w in tokens(text) if w in strange]
            found += [w for w in _FINITE.findall(text) if not perfect and w not in said | glossary.charged]
        if found:
            return different("tense", found=found[0])
    return None


_WILL_NOT = re.compile(r"\bwill not (\w+)")
_ANY_MOOD = frozenset({"ask_confirm", "offer_transfer", "offer_help", "ask_identity"})
_SUPPOSED = re.compile(
    r"(?<!\bi )(?<!\bwe )(?<!\byou )\b(?:would|should|must|will|might|could|may|can) "
    r"(?!i\b|we\b|you\b|consent\b|please\b|(?:it|that|this) be\b|suit|be (?:best|better)\b)\w+"
)
"""A question about what would be, where the demonstration asks what is."""
_GUESS = re.compile(r"\b(?:would|could|should|might|may|must|can|will(?= be\b)) (?:not )?(?:be )?(\w+)")


@lru_cache(maxsize=512)
def _states(reading: Reading) -> frozenset[str]:
    """Return the stems of what a message states as fact: `is stuck`, `hangs`, `costs`."""
    told = " . ".join(re.sub(r"\b(?:until|if|whether) .*", "", s.text) for s in reading.sentences if s.text[-1:] != "?")
    words = {*re.findall(r"\b(?:is|are) (?:still |now |also )?(\w+)", told), *re.findall(r"\b([a-z]{3,}s)\b", told)}
    return frozenset(stem(w) for w in words - {"possible", "able"})


def _settled(reading: Reading) -> bool:
    """Whether a message reports, and neither asks nor offers."""
    return not reading.acts & (ASKS | {"instruct", "told", "hold", "offer_help", "close"})


_UNREAL = re.compile(
    r"\b(?:would|could|should|might|must|may) (?:not )?have \w+|\bbeing\b|\bused to (?!\w+ing)\b"
    r"|\b(?:plan|it|that|this) cost(?= (?:you )?§)"
)
_PERFECT = re.compile(
    r"\b(?:have|has|had|was|were|been|is|are) (?:now |just |been )*(?:\w+ed|done|paid|sent)\b|\b(?:i|we) \w+ed\b"
)
_FINITE = re.compile(
    r"(?<!have )(?<!has )(?<!be )(?<!been )(?<!is )(?<!are )(?<!was )(?<!were )(?<!now )(?<!an )(?<!your )(?<!you )"
    r"\b(?!need|unchanged|registered|printed)([a-z]{3,}ed)\b(?= (?:again|the|your|§|to|on|now))"
)


def _hollow(pair: Pair, glossary: Glossary) -> Finding:
    """A sentence of function words only that the demonstration does not hold, or words said twice running."""
    said = frozenset(tokens(pair.shown.text))
    for sentence in pair.other.sentences:
        words = tokens(sentence.text)
        empty = len(words) > 1 and _FUNCTION.issuperset(words) and not said.issuperset(words)
        consents = not _settled(pair.shown) and (sentence.text[-1] == "?" or _I_DO.match(sentence.text))
        if empty and not consents and not _HERE.match(sentence.text):
            return different("surplus_statement", sentence=sentence.text[:160])
        if (tag := _TAG.search(sentence.text)) or _stutters(words):
            return different("surplus_statement", sentence=tag.group() if tag else sentence.text[:160])
    return None


def _stutters(words: tuple[str, ...]) -> bool:
    """Whether two to five words come twice running."""
    return any(
        words[k : k + n] == words[k + n : k + 2 * n] and "§" not in words[k : k + n]
        for n in range(2, 6)
        for k in range(len(words) - 2 * n + 1)
    )


_FUNCTION = (NEUTRAL | PAST | {"my", "our", "not"}) - frozenset(
    "please kindly okay ok consent thank thanks sure step first § one ones".split()
)
_I_DO = re.compile(
    r"\W*(?:so |and )?(?:i|we) (?:can|could|will|would) (?:also |just )?do (?:that|this|it|so)(?: for you)?\W*$"
)
_HERE = re.compile(r"\W*here (?:you|it|they) (?:are|is)\W*$")
_TAG = re.compile(
    r", (?:and |so )*(?:it|they|we|i|you) (?:is|are|am|do|does|did|has|have|had|will|would|can|could)(?: not)?[.! ]*$"
)
_CHECKS: tuple[Callable[[Pair, Glossary], Finding], ...] = (
    _asked,
    _denied,
    _joined,
    _dated,
    other_agent,
    other_object,
    other_owner,
    reversed_order,
    _paid,
    _other_time,
    _hollow,
    _words,
)

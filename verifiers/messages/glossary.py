"""What a domain hands in so that its world is closed: the words everything said there is made of.

A glossary belongs to a domain (`domains/tau2/helpdesk/glossary.py`); `closed.py` and `roles.py` weigh candidates by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pivot_envs.verifiers.messages.decision import ASKS
from pivot_envs.verifiers.messages.reading import Reading, stem

NEUTRAL = frozenset(
    "a an the this that these those it its of to in on at by for from with about as into onto and or but so if because "
    "i we you us me your is are am be been do does have has can could may shall should would will which what who how "
    "here there now please kindly just also next then thus first ok okay consent § one ones thank thanks sure step"
    "".split()
)
"""Words that claim nothing in a sentence that says something; verbs of mood among them are weighed by themselves."""


@dataclass(frozen=True, eq=False)
class Glossary:
    """The words of one domain, lower case; two glossaries are equal only if they are the same object."""

    families: Mapping[str, frozenset[str]]
    """Words of which each may stand for another where the demonstration uses one of the family."""
    implied: tuple[tuple[str, str], ...]
    """What a demonstration that has all the first words (`=` names a family, `@` a speech act) explains besides."""
    phrases: tuple[tuple[str, str], ...]
    """Patterns -> the word they stand for; applied in this order."""
    deeds: frozenset[str]
    """Families of what the desk or the customer does."""
    states: frozenset[str]
    """Verbs of which it does not matter whether the desk or the customer is their subject."""
    weighty: frozenset[str]
    """Words of courtesy that weigh something beside a claim."""
    own: frozenset[str]
    """What is the desk's own."""
    classes: frozenset[str]
    """Names of kinds of things: one beside an id says what the id says."""
    things: frozenset[str]
    """Things that something can be done to or said of."""
    objects: tuple[tuple[str, str], ...]
    """What is done -> the things, of all `things`, that it is done to."""
    subjects: tuple[tuple[str, str], ...]
    """What is said of a thing -> the things, of all `things`, that it is said of."""
    bygone: frozenset[str]
    """What is told in the past without being past: an invoice was 25 euro."""
    happened: frozenset[str]
    """What happened: a past beside it changes no tense."""
    charged: frozenset[str]
    """Participles that are no report of a deed."""

    def keys(self, word: str) -> frozenset[str]:
        """Return what a word can be explained by: its stem and its families."""
        return _keys(self, word)

    def level(self, text: str) -> str:
        """Return text with its phrases levelled."""
        return _level(self, text)

    @cached_property
    def stemmed(self) -> Mapping[str, frozenset[str]]:
        """The families of each stem."""
        found: dict[str, set[str]] = {}
        for name, words in self.families.items():
            for word in words:
                found.setdefault(stem(word), set()).add("=" + name)
        return {word: frozenset(names) for word, names in found.items()}

    @cached_property
    def explained(self) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
        """`implied` as keys."""
        return tuple(
            (frozenset(w if w[0] in "=@" else stem(w) for w in needed.split()), frozenset(map(stem, words.split())))
            for needed, words in self.implied
        )

    @cached_property
    def patterns(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """`phrases`, compiled."""
        return tuple(
            (re.compile(rf"(?<!\w)(?:{pattern})(?!\w)"), f" {word} " if word else " ")
            for pattern, word in self.phrases
        )

    @cached_property
    def state_keys(self) -> frozenset[str]:
        """The keys of `states`."""
        return frozenset(key for word in self.states for key in self.keys(word))

    @cached_property
    def deed_keys(self) -> frozenset[str]:
        """The keys of `deeds`."""
        return frozenset("=" + name for name in self.deeds)

    @cached_property
    def named(self) -> re.Pattern[str]:
        """The name of a kind of thing beside an id."""
        return re.compile(
            rf"\b(?:{'|'.join(sorted(self.classes))})s?(?: (?:number|no|id|is))?:? (?=§)"
            r"|(?<=§) (?:line|slot|visit|plan)s?\b"
        )

    @cached_property
    def finding(self) -> re.Pattern[str]:
        """What is told in another tense and says the same."""
        return re.compile(
            rf"\bthere (?:was|were)\b|\b(?:{'|'.join(self.happened)}) (?:§\d+ )?(?:\w+ )?(?:was|were)\b"
            r"|\byou (?:will|should|would|can|may) (?:now |also )?(?:find|see|notice|get|have)\b"
        )

    @cached_property
    def done_to(self) -> tuple[tuple[re.Pattern[str], frozenset[str]], ...]:
        """`objects`: what is done with the words that follow it up to a preposition -> the things it is done to."""
        return tuple(
            (
                re.compile(rf"\b(?:{'|'.join(verbs.split())})(?:s|t?ing|t?ed)?({_NOUN_PHRASE})"),
                frozenset(things.split()),
            )
            for verbs, things in self.objects
        )

    @cached_property
    def said_of(self) -> tuple[tuple[re.Pattern[str], frozenset[str]], ...]:
        """`subjects`: the clause before what is said -> the things it is said of."""
        return tuple(
            (
                re.compile(
                    rf"([^.,:;?!]{{0,80}})\b(?:{words.replace(' ', '|')})\b(?! (?:{things.replace(' ', '|')})\b)"
                ),
                frozenset(things.split()),
            )
            for words, things in self.subjects
        )


_NOUN_PHRASE = r"(?: (?!(?:in|on|at|of|for|to|from|with|by|and|or|so|if|that|which)\b)\w+| §\d+){1,6}"


@lru_cache(maxsize=4096)
def _keys(glossary: Glossary, word: str) -> frozenset[str]:
    root = stem(word)
    return glossary.stemmed.get(root, frozenset()) | {root}


@lru_cache(maxsize=1024)
def _level(glossary: Glossary, text: str) -> str:
    for pattern, word in glossary.patterns:
        text = pattern.sub(word, text)
    return re.sub(r" {2,}", " ", text).strip()


@lru_cache(maxsize=1024)
def tokens(text: str) -> tuple[str, ...]:
    """Return the words of a marked text, each fact as `§`."""
    return tuple(re.findall(r"§|[^\W\d_]+", re.sub(r"§\d+", "§", text)))


@lru_cache(maxsize=512)
def known(reading: Reading, glossary: Glossary) -> frozenset[str]:
    """Return the keys of everything a demonstration explains."""
    words = {*tokens(glossary.level(reading.text)), *tokens(reading.text)}
    found = {key for word in words for key in glossary.keys(word)}
    found |= {"@" + act for act in reading.acts}
    found |= {"@ask"} if reading.acts & ASKS or wants(reading, glossary) else set()
    found |= {"@report"} if not reading.acts & ASKS else set()
    return frozenset(found.union(*(words for needed, words in glossary.explained if needed <= found)))


@lru_cache(maxsize=512)
def wants(reading: Reading, glossary: Glossary) -> bool:
    """Whether a message asks the customer to do something."""
    return bool(reading.acts & {"instruct", "told"}) or "please" in glossary.level(reading.text)

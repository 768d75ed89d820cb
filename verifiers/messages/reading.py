"""What one message says, as far as rules can read it; comparing two is `rules.py`.

Sentences with their speech acts, what is done, offered or asked, hard facts, names, and the words left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from pivot_envs.verifiers.messages import cues, vocabulary
from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.atoms import Atom, Pool, mark
from pivot_envs.verifiers.messages.patterns import holds
from pivot_envs.verifiers.messages.units import MONTHS, UNITS, WEEKDAYS
from pivot_envs.verifiers.messages.wording import clean, letters, lower

_SENTENCE = re.compile(r"(?<=[.!?])(?=\s|$)|\n+|;\s+")
_LIST = re.compile(
    r"((?:need|provide|share|send|tell|give|these|following|either|one of|know|have)[^\n:.?!]{0,80}):((?:[ "
    r"]*\n[^\n.?!:]{1,120}(?=\n|$)){1,12}\n?)"
)
"""A list that continues a request: its lines belong to the sentence before the colon."""
_SEGMENT = re.compile(
    r",? (?:and|then|but)(?: then| also)? (?=(?:please|tell|let me|check|run|could you|do you|would you|shall|i "
    r"(?:have|will|would|can(?:not)?|am))\b)"
    r"|, (?=(?:would|do|did|have|are|shall|should|may|is|does) (?:you|i|we|that|this|it)\b[^,]{0,80}\?)"
)
_CLAUSE = re.compile(
    r", | and (?!then|(?:back )?on\b|off\b)| but | because | since | so | as (?=it|you|the|order|our|policy)|: | - "
    r"|\(|\)| however | "
    r"although | while | who | which (?=is|was|has|can|will)"
)
_QUESTION_START = re.compile(
    r"^\W*(?:(?:so|and|also|just to be sure|just to confirm|then|sure|great|thanks|of course|okay"
    r"|ok)\W+)*(?:would|do|does|did|shall|should|may|can|could|is|are|will|have|has|want|"
    r"which|what|when|where|who|how|why)\b"
)
_IRREGULAR_DONE = frozenset("sent put set got gave paid found swapped given placed made".split())
_STATES = frozenset("enabled disabled activated deactivated disconnected".split())
_SUPPORT = re.compile(
    r"\b(?:placed|submitted|issued|processed|applied|initiated|requested|completed|added|made|filed|granted"
    r"|created|opened|logged|escalated|given|sent|gone|run|performed|transferred)\b"
)


@dataclass(frozen=True)
class Mention:
    """An operation named in a clause: denied or not, and whether done, to come, possible, asked or told."""

    operation: str
    negated: bool
    mode: str
    sentence: int


@dataclass(frozen=True)
class Sentence:
    """One sentence or list line (marked text) with its speech acts and the things it asks for."""

    text: str
    acts: frozenset[str]
    asked: frozenset[str]
    negated: bool


@dataclass(eq=False)
class Reading:
    """A message read. `text` is lower case with atoms masked; `plain` is the cleaned text in its own case."""

    plain: str
    text: str
    atoms: list[Atom]
    sentences: list[Sentence] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)

    @cached_property
    def facts(self) -> Pool:
        """The atoms, for looking one up."""
        return Pool(self.atoms)

    @cached_property
    def acts(self) -> frozenset[str]:
        """All speech acts."""
        return frozenset(act for sentence in self.sentences for act in sentence.acts)

    @cached_property
    def asked(self) -> frozenset[str]:
        """Everything asked for."""
        return frozenset(item for sentence in self.sentences for item in sentence.asked)

    def operations(self, *modes: str, negated: bool = False) -> frozenset[str]:
        """Operations mentioned in one of these modes (any if none given) with this polarity."""
        return frozenset(m.operation for m in self.mentions if m.negated == negated and (not modes or m.mode in modes))

    @cached_property
    def spoken(self) -> list[str]:
        """All words."""
        return re.findall(r"[^\W\d_]+", self.text)

    @cached_property
    def english(self) -> float:
        """Share of words that are common English ones; 1 for a text too short to tell."""
        words = self.spoken
        return (
            sum(w in vocabulary.STOP or w in vocabulary.FILLER for w in words) / len(words) if len(words) >= 5 else 1.0
        )

    @cached_property
    def names(self) -> dict[str, str]:
        """Lower-cased capitalised words inside sentences and all-capital codes -> `name`, `code` or `vocative`."""
        return dict(_names(self.plain))

    @cached_property
    def lemmas(self) -> frozenset[str]:
        """Content words, stemmed, synonyms merged; fillers, stop words and atoms left out."""
        return frozenset(lemma for word in _words(self.text) if (lemma := canonical(word)) and not _is_filler(word))

    @cached_property
    def exclusive(self) -> dict[str, frozenset[str]]:
        """Members of each exclusive group that are named."""
        known = " ".join(re.sub(r"[\d_#-]+", " ", a.text) for a in self.atoms if a.kind == "id" and "_" in a.text)
        weighty = (
            known
            + " . "
            + " . ".join(s.text for s in self.sentences if not s.acts or s.acts - {"offer_help", "close", "apology"})
        )
        found = {group: members_in(weighty, group) for group in lex.EXCLUSIVE}
        return {group: members for group, members in found.items() if members}


@lru_cache(maxsize=256)
def read(text: str) -> Reading:
    """Read a message of at most `MAX_TEXT` characters, already unwrapped."""
    plain = clean(text)
    marked = mark(lower(letters(plain)))
    reading = Reading(plain, marked.text, marked.atoms)
    listed = _LIST.sub(
        lambda m: m[1] + ":" + m[2].rstrip("\n").replace(";", ",").replace("\n", ", ") + "\n", marked.text
    )
    present = _Present(
        tuple(name for name, pattern in lex.OPERATIONS.items() if holds(pattern, listed)),
        tuple(name for name, pattern in lex.ASKED.items() if holds(pattern, listed)),
    )
    for raw in _SENTENCE.split(listed):
        for segment in _segments(raw):
            sentence, named = _read_sentence(segment, present)
            reading.mentions.extend(Mention(*deed, sentence=len(reading.sentences)) for deed in named)
            reading.sentences.append(sentence)
    return reading


def _segments(raw: str) -> Iterator[str]:
    question = raw.rstrip().endswith("?")
    parts = [part.strip() for part in _SEGMENT.split(raw) if part.strip(" .,;:!?")]
    for position, part in enumerate(parts):
        yield part + "?" if question and position < len(parts) - 1 and _QUESTION_START.match(part) else part


@dataclass(frozen=True)
class _Present:
    """What the whole text names: the only patterns worth trying on its clauses."""

    operations: tuple[str, ...]
    asked: tuple[str, ...]


@lru_cache(maxsize=4096)
def _read_sentence(text: str, present: _Present) -> tuple[Sentence, tuple[tuple[str, bool, str], ...]]:
    """Return the sentence and what it says of operations: (operation, denied, mode)."""
    asking = (
        text.endswith("?")
        or bool(_QUESTION_START.match(text) and cues.REQUEST.search(text))
        or bool(cues.CONFIRM.search(text))
    )
    told = bool(cues.IMPERATIVE.match(text))
    negated_any = False
    named: list[tuple[str, bool, str]] = []
    for clause in _CLAUSE.split(text):
        negated = is_negated(clause)
        negated_any |= negated
        for operation, surface in operations_in(clause, present.operations):
            denied = negated and not (operation == "free" and "charge" in surface)
            mode = _mode(clause, text, surface, asking, bool(cues.IMPERATIVE.match(clause)))
            named.append((operation, denied, mode))
    asked = _asked(text, asking, present.asked)
    acts = _acts(text, asking, told, frozenset(operation for operation, _, _ in named), asked, negated_any)
    if not acts & {"ask_identity", "ask_info", "ask_confirm"}:
        asked = frozenset()
    return Sentence(text, acts, asked, negated_any), tuple(named)


def is_negated(clause: str) -> bool:
    """Say whether a clause denies: an odd number of negations, set phrases left out."""
    if not cues.NEGATION.search(clause):
        return False
    return len(cues.NEGATION.findall(cues.NOT_NEGATION.sub(" ", clause))) % 2 == 1


def operations_in(text: str, names: Iterable[str] = tuple(lex.OPERATIONS)) -> list[tuple[str, str]]:
    """Return (operation, words) in order of the table; words taken by one operation are not read again."""
    found = []
    for operation in names:
        hit = False

        def take(match: re.Match[str]) -> str:
            nonlocal hit
            if not hit:
                found.append((operation, match.group()))  # noqa: B023
                hit = True
            return " ~ " if operation not in _SHARED else match.group()  # noqa: B023

        if holds(lex.OPERATIONS[operation], text):
            text = lex.OPERATIONS[operation].sub(take, text)
    return found


_SHARED = frozenset({"on", "off"})
"""Words such as `reseat` name both."""


@lru_cache(maxsize=8192)
def members_in(text: str, group: str) -> frozenset[str]:
    """Return the members of an exclusive group a text names."""
    return frozenset(name for name, pattern in lex.EXCLUSIVE[group].items() if holds(pattern, text))


def _mode(clause: str, sentence: str, surface: str, asking: bool, told: bool) -> str:
    if asking:
        return "ask"
    if told:
        return "purpose" if _PURPOSE.search(clause.partition(surface)[0]) else "told"
    if surface.split()[0] in _STATES and not re.search(r"\b(?:i|we)\b", clause):
        return "state"
    if re.search(r"\b(?:help|assist|support)(?:ing)?\b", clause) and "§" not in sentence:
        return "mention"
    before, _, behind = clause.partition(surface)
    if _YOU_DID.search(before):
        return "mention"
    if _BEING.search(before):
        return "will"
    if re.match(r"\W*(?:if|once|when|before|after(?! that| this)|should you|in case)\b", clause):
        return "condition"
    first = surface.split()[0]
    participle = (
        first.endswith("ed")
        or first in _IRREGULAR_DONE
        or any(word.endswith("ed") for word in surface.split())
        or bool(_SUPPORT.search(clause))
    )
    if first in ("turned", "switched") and _IS.search(before) and not behind.partition(" for ")[0]:
        return "state"
    if re.search(r"\b(?:is|are) (?:now |already |immediately |right )*(?:available|on your|in your)\b", clause) and (
        first[0] == "§" or first in ("refund", "reimbursement", "credit", "certificate")
    ):
        return "done"
    if surface.startswith("set") and re.search(r"\b(?:is|are|was|were) (?:currently |still )?set to", clause):
        return "state"
    if re.search(r"\b(?:can|could|may|cannot|might) (?:only |not |just |also )?be\b", clause):
        return "can"
    if cues.FUTURE.search(_FINDING.sub(" ", clause)):
        return "will"
    if (
        first.endswith("ed")
        and _WE_AND.search(sentence.partition(f"and {surface}")[0])
        and f"and {surface}" in sentence
    ):
        return "will" if cues.FUTURE.search(sentence) else "done"
    if first == "put" and cues.ABILITY.search(before):
        return "can"
    if participle and (cues.PAST.search(clause) or cues.DONE_WORDS.search(sentence)):
        return "done"
    if cues.ABILITY.search(clause):
        return "can"
    return "mention"


_PURPOSE = re.compile(r"\b(?:to|so that (?:it|you)(?: can)?) $")
_YOU_DID = re.compile(r"\byou (?:have |had )?(?:already |just |also |only )?$")
_BEING = re.compile(r"\bbeing (?:\w+ )?$")
_IS = re.compile(r"\b(?:is|are|was) (?:currently |still |already )?$")
_WE_AND = re.compile(r"\b(?:i|we|technician|engineer|colleague|team)\b")
"""What stands before an operation's words."""

_FINDING = re.compile(r"\byou (?:will|should|would) (?:now |also |already )?(?:find|see|notice)\b")
"""`You will find a credit on your bill`: the credit is there."""


def _asked(text: str, asking: bool, names: Iterable[str]) -> frozenset[str]:
    if not (asking or cues.REQUEST.search(text) or cues.GIVE.search(text) or text.rstrip().endswith(", please.")):
        return frozenset()
    return frozenset(name for name in names if lex.ASKED[name].search(text))


def _acts(
    text: str, asking: bool, told: bool, operations: frozenset[str], asked: frozenset[str], negated: bool
) -> frozenset[str]:
    if cues.WAITING.search(text) and not operations and not asking and "§" not in text:
        return frozenset({"hold"})
    if cues.HOLD.search(text) and not (operations or asking or asked or cues.WANTS.search(text)) and "§" not in text:
        return frozenset({"hold"})
    politely = bool(re.search(r"\bplease\b", text))
    refused = cues.REFUSAL.search(text) and not re.search(r"\b(?:could you|can you|need|without)\b", text)
    request = asking or told or politely or bool(cues.REQUEST.search(text) and not refused)
    if "transfer" in operations and (cues.PERSON.search(text) or "transferring you" in text or "connect you" in text):
        return frozenset({_transfer(text, asking, negated)})
    if (
        not asked
        and not re.match(r"\W*which\b", text)
        and cues.OFFER_HELP.search(text)
        and not operations - {"fix"}
        and (request or "feel free" in text or "hesitate" in text)
    ):
        return frozenset({"offer_help"})
    acts: set[str] = set()
    if request:
        acts |= _request(text, asking, told, operations, asked)
    if not acts & {"ask_confirm", "ask_info", "ask_identity"} and cues.REFUSAL.search(cues.NOT_NEGATION.sub(" ", text)):
        acts.add("refuse")
    if acts:
        return frozenset(acts)
    if cues.HOLD.search(text) and not operations:
        return frozenset({"hold"})
    if cues.CLOSING.search(text) and not operations:
        return frozenset({"close"})
    if cues.APOLOGY.search(text) and not operations and "§" not in text:
        return frozenset({"apology"})
    content = [w for w in _words(text) if not _is_filler(w)]
    return frozenset({"inform"}) if content or "§" in text or operations else frozenset()


def _transfer(text: str, asking: bool, negated: bool) -> str:
    if asking or re.search(
        r"\bif you (?:would like|want|wish|prefer)|would you like|(?:can|could) (?:also |then |gladly )?(?:transfer"
        r"|connect|hand|put|pass)",
        text,
    ):
        return "offer_transfer" if not negated or asking else "refuse"
    return "refuse" if negated else "transfer"


def _request(text: str, asking: bool, told: bool, operations: frozenset[str], asked: frozenset[str]) -> set[str]:
    parts = {m for group in ("device", "part", "setting", "network", "cable") for m in members_in(text, group)}
    if (
        (told or re.search(r"\b(?:could|can|would) you|please\b", text))
        and (operations & lex.DEVICE or (parts and told))
        and not re.search(r"\b(?:should|shall|may) i\b|like me to|\b(?:would|do) you (?:like|want) to\b", text)
    ):
        return {"instruct"}
    choice = bool(
        re.search(
            r"\bwhether\b.* or (?!not)|(?:would|do) you (?:like|want|prefer)\b(?! me to proceed).* or (?!no\b|not\b)",
            text,
        )
    )
    confirm = bool(cues.CONFIRM.search(text)) and not choice and not _OUTCOME.search(text)
    give = bool(cues.GIVE.search(text))
    if asked & lex.IDENTITY and give and not (confirm and operations):
        return {"ask_identity"}
    wh_first = re.match(
        r"\W*(?:(?:and|so|also|great|sure|thanks|okay)\W+)?(?:which|what|when|where|who|how|why)\b", text
    )
    if (
        confirm
        and not (cues.WH.search(text) and not re.search(r"shall i|should i|proceed|go ahead|confirm", text))
        and not wh_first
    ):
        return {"ask_confirm"}
    if asked and (give or asking or text.rstrip(" .!").endswith("please")):
        return {"ask_info"}
    if told and not asked and not cues.WH.search(text):
        return {"told"}
    if asking or re.search(
        r"\b(?:tell me|let me know|need to know|choose|select|specify|share|provide|pick|indicate|read me)\b", text
    ):
        return {"ask_info"}
    return {"told"} if told else set()


_OUTCOME = re.compile(
    r"\b(?:does|do|is|are|did|has) (?:it|that|they|everything|(?:the|your) \w+)(?: \w+)? "
    r"(?:work(?:ing|ed)?|help(?:ed)?|go(?:ne)? through|connect\w*|back|load\w*)\b(?!.* for you)"
)
"""`Does it work now?` asks how a step turned out; it asks for no consent."""


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{2,40}", re.sub(r"§\d+", " ", text))


def _is_filler(word: str) -> bool:
    return word in vocabulary.STOP or word in vocabulary.FILLER or stem(word) in vocabulary.FILLER


def canonical(word: str) -> str:
    """Return the lemma of a word with synonyms merged."""
    root = stem(word)
    return vocabulary.SYNONYMS.get(word) or vocabulary.SYNONYMS.get(root) or _stemmed_synonyms().get(root, root)


@lru_cache(maxsize=1)
def _stemmed_synonyms() -> dict[str, str]:
    return {stem(word): head for word, head in vocabulary.SYNONYMS.items()}


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Return a crude English stem: enough to join cancel, cancels, cancelled, cancelling, cancellation."""
    for suffix in (
        "ization",
        "isation",
        "ations",
        "ation",
        "ements",
        "ement",
        "ness",
        "ities",
        "ity",
        "ingly",
        "edly",
        "ings",
        "ing",
        "ied",
        "ies",
        "ed",
        "es",
        "ly",
        "s",
        "e",
    ):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not (suffix == "s" and word.endswith("ss")):
            word = word[: -len(suffix)] + ("y" if suffix in ("ied", "ies") else "")
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiousz":
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


_VOCATIVE = re.compile(
    r"(?:^|[.!?]\s+|\n)(?:thank you(?: so much| very much)?|thanks(?: so much| a lot)?|hi|hello|hey|dear|great"
    r"|sorry|perfect|okay|ok|alright|sure|got it|good (?:morning|afternoon|evening))[, ]+([A-Z][\w'-]{1,30})(?:[ "
    r"][A-Z][\w'-]{1,30})?(?=[,.!\s]|$)",
    re.IGNORECASE,
)
_CAPITAL = re.compile(r"(?<=[a-z0-9,:;(\"'/>$€-] )[\"'(]?([A-Z][a-z]{1,30})\b|(?<![\w-])([A-Z]{3,8})\b(?![-_ ]?\d)")
_COMMON_CODES = frozenset(
    "sim vpn dns los apn usd eur gbp faq pin led leds ont pon lan wan url zip usb tv pc id ssid sms mms yes no "
    "not and ok the for you are wifi lte nfc gps pdf asap eta fyi esim mac ip wlan".split()
)


def _names(plain: str) -> Iterator[tuple[str, str]]:
    shouting = sum(w.isupper() for w in plain.split()) > 0.5 * max(1, len(plain.split()))
    for match in _CAPITAL.finditer(plain):
        word = (match[1] or match[2]).lower()
        if match[2] and (shouting or word in _COMMON_CODES):
            continue
        if not _known_word(word):
            yield word, "name" if match[1] else "code"
    for match in _VOCATIVE.finditer(plain):
        if (
            match[1][0].isupper()
            and not match[1].startswith("I'")
            and not re.search(r"\d", match[1])
            and not _known_word(match[1].lower())
        ):
            yield match[1].lower(), "vocative"


_CALENDAR = frozenset([*MONTHS, *(m[:3] for m in MONTHS), "sept", *(d[:3] for d in WEEKDAYS)]) | frozenset(
    "mr mrs ms miss dr sir madam mx".split()
)


@lru_cache(maxsize=4096)
def _known_word(word: str) -> bool:
    return (
        _is_filler(word)
        or word in _CALENDAR
        or word in WEEKDAYS
        or any(pattern.fullmatch(word) for group in lex.EXCLUSIVE.values() for pattern in group.values())
        or any(re.fullmatch(unit, word) for unit in UNITS.values())
    )

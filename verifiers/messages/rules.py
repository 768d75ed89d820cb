"""The ladder that compares two messages: each rung may decide; what no rung decides is equal, or abstained.

Order: empty, identical, aimed at the judge, speech acts, hard facts, names, operations, opposites, polarity, what is
asked, who gets what, near copies, then the wording that is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from pivot_envs.verifiers.messages import cues, vocabulary
from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.acts import asked_for, open_ended, speech_acts
from pivot_envs.verifiers.messages.atoms import Pool, mark
from pivot_envs.verifiers.messages.claims import hedged, meant_otherwise, operations, opposites, polarity
from pivot_envs.verifiers.messages.closed import unexplained
from pivot_envs.verifiers.messages.decision import MINOR, Finding, Ground, MessageDecision, Pair, different, has, unique
from pivot_envs.verifiers.messages.facts import assigned, exclusive, hard_facts, names
from pivot_envs.verifiers.messages.glossary import Glossary
from pivot_envs.verifiers.messages.reading import Reading, canonical, members_in, operations_in, read, stem
from pivot_envs.verifiers.messages.surplus import conditions, surplus
from pivot_envs.verifiers.messages.wording import MAX_TEXT, clean, facts_text, letters, lower, strange_sign, unwrap


def judge_message(
    demonstrated: str,
    candidate: str,
    *,
    facts: Any = (),
    last_user: str = "",
    policy: str = "",
    world: Glossary | None = None,
) -> MessageDecision:
    """Say whether a candidate message is functionally the demonstrated one.

    Args:
        demonstrated: the recorded message.
        candidate: the message to judge; hostile text is expected.
        facts: any JSON value: observations and user messages before the turn; strings that are JSON are opened.
        last_user: the message being answered.
        policy: the desk's rules; numbers in it may be cited, amounts only if the demonstration cites them.
        world: what all that can be said is made of, where that is known, so that a word nothing explains is an
            objection.
    """
    demonstrated, candidate = str(demonstrated), str(candidate)
    if demonstrated == candidate and candidate.strip():
        return MessageDecision(True, "identical")
    shown_text, other_text = unwrap(demonstrated), unwrap(candidate)
    if len(other_text) > MAX_TEXT:
        return different("too_long", characters=len(other_text))
    if len(shown_text) > MAX_TEXT:
        return MessageDecision(None, "too_long", {"demonstrated_characters": len(shown_text)})
    if world and (sign := strange_sign(shown_text, other_text)):
        return different("strange_sign", found=sign)
    finding = _same_text(clean(shown_text), clean(other_text))
    if finding is not None:
        return finding
    try:
        shown = read(shown_text)
        ground = _ground(_facts_text(facts), str(last_user), str(policy))
    except _UNREADABLE as error:
        return MessageDecision(None, "unreadable", {"error": f"{type(error).__name__}: {str(error)[:200]}"})
    try:
        return _judge(Pair(shown, read(other_text), ground), world)
    except _UNREADABLE as error:  # a candidate nobody can read must not buy an abstention
        return different("unreadable", error=f"{type(error).__name__}: {str(error)[:200]}")


_UNREADABLE = (RecursionError, ValueError, OverflowError, MemoryError, LookupError, TypeError)


def _judge(pair: Pair, world: Glossary | None) -> MessageDecision:
    """Climb, then see whether what is said beside the demonstrated message is harmless."""
    found = _climb(pair)
    if found.equal is False and not found.is_formal:
        return found
    if world and (objection := unexplained(pair, world)):
        return objection
    beside = surplus(pair, _climb, found)
    if beside is not None and found.equal is None:
        return MessageDecision(None, found.reason, {**found.evidence, "beside": beside.evidence["sentence"]})
    return beside or found


def _climb(pair: Pair) -> MessageDecision:
    """Return what the first rung says; an objection of form notes what a later rung holds against the candidate."""
    formal: Finding = None
    for rung in _LADDER:
        finding = rung(pair)
        if finding is None or (formal is not None and (finding.equal is not False or finding.is_formal)):
            continue
        if formal is not None:
            return MessageDecision(formal.equal, formal.reason, {**formal.evidence, "against": finding.reason})
        if not finding.is_formal or finding.equal is True:
            return finding
        formal = finding
    return _noted(formal, pair) if formal else _wording(pair)


def _noted(formal: MessageDecision, pair: Pair) -> MessageDecision:
    """Add to an objection of form whether the demonstrated facts are told."""
    told = unique(pair.shown.atoms)
    kept = sum(has(pair.other, atom) for atom in told)
    related = pair.shown.lemmas & pair.other.lemmas or pair.shown.acts & pair.other.acts
    if not told and len(pair.shown.lemmas) > 1 and not related:
        return MessageDecision(formal.equal, formal.reason, {**formal.evidence, "told": "nothing"})
    if kept == len(told):
        return formal
    return MessageDecision(formal.equal, formal.reason, {**formal.evidence, "told": "some" if kept else "none"})


def _facts_text(facts: Any) -> str:
    plain = isinstance(facts, list | tuple) and all(type(fact) is str for fact in facts)
    return _joined(tuple(facts)) if plain else facts_text(facts)


@lru_cache(maxsize=64)
def _joined(facts: tuple[str, ...]) -> str:
    return facts_text(list(facts))


@lru_cache(maxsize=64)
def _ground(facts: str, last_user: str, policy: str) -> Ground:
    known = lower(letters(clean(facts + "\n" + last_user[:10_000])))
    rules, more = _rules(policy[:30_000])
    words = frozenset(re.findall(r"[^\W\d_]{2,40}", known)) | more
    return Ground(Pool(mark(known).atoms), rules, words, frozenset(canonical(w) for w in words))


@lru_cache(maxsize=16)
def _rules(policy: str) -> tuple[Pool, frozenset[str]]:
    text = lower(letters(clean(policy)))
    return Pool(mark(text).atoms), frozenset(re.findall(r"[^\W\d_]{2,40}", text))


def _same_text(shown: str, other: str) -> Finding:
    """Decide what needs no reading: nothing said, or the same said with other spaces, marks and letter case."""
    if not re.search(r"[^\W_]", other):
        return different("empty_message")
    if len(other) > 2 * len(shown) + 50 or len(shown) > 2 * len(other) + 50:
        return None
    return MessageDecision(True, "identical") if _level(shown) == _level(other) else None


@lru_cache(maxsize=256)
def _level(text: str) -> str:
    return _MARKS.sub(" ", lower(text)).strip()


_MARKS = re.compile(r"(?:[\s!?;'\"]|[.,:-](?!\d))+")


def _aimed_at_judge(pair: Pair) -> Finding:
    found = cues.GRADER.search(pair.other.plain)
    if found and not cues.GRADER.search(pair.shown.plain):
        return different("aimed_at_judge", found=found.group()[:80])
    taken_back = cues.RETRACTION.search(pair.other.text)
    if taken_back and not cues.RETRACTION.search(pair.shown.text):
        return different("retracted", found=taken_back.group())
    return None


def _language(pair: Pair) -> Finding:
    strange = frozenset(pair.other.spoken) & vocabulary.FOREIGN
    if len(strange - pair.ground.words - frozenset(pair.shown.spoken)) >= 2:
        return different("other_language", words=strange)
    if pair.shown.english > 0.25 and pair.other.english < 0.12 and len(_foreign(pair)) >= 4:
        return different("other_language", words=sorted(_foreign(pair))[:8])
    return None


def _foreign(pair: Pair) -> frozenset[str]:
    return frozenset(
        w
        for w in re.findall(r"[^\W\d_]{2,}", pair.other.text)
        if w not in pair.ground.words and w not in pair.shown.text
    )


_Blocks = Sequence[tuple[str, int, int, int, int]]
"""`difflib` opcodes."""


def _near_copy(pair: Pair) -> Finding:
    """A near copy with a content word replaced is a changed claim; a real rewording changes more."""
    a, b = _tokens(pair.shown), _tokens(pair.other)
    if not 4 <= len(a) <= 600 or len(b) > 1200:
        return None
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    kept = sum(i2 - i1 for tag, i1, i2, _, _ in blocks if tag == "equal")
    if kept < 0.7 * len(a):
        return _halved(pair, a, b, blocks) if kept >= 0.8 * len(b) else None
    deeds = _same_deeds(pair)
    if lost := _only_shortened(pair, a, b, blocks):
        return different("words_missing", words=lost)
    for tag, i1, i2, j1, j2 in blocks:
        left, right = _content(a[i1:i2]) - _content(b), _content(b[j1:j2]) - _content(a)
        if tag == "replace" and left - deeds and right - deeds - _LIGHT:
            return different("word_replaced", demonstrated=left, candidate=right)
        if tag == "replace" and _exchanged(a, b, blocks, _same_order(pair)):
            return different("words_exchanged", around=a[i1:i2])
        if tag != "delete" and not left and (new := _news(b[j1:j2], pair) - deeds):
            return different("claim_added", words=new)
        if turned := _turned(a[i1:i2], b[j1:j2]):
            return different("opposite", words=turned)
    return _sentence_added(pair, _content(a))


def _news(words: list[str], pair: Pair) -> frozenset[str]:
    """Content words put into a copy: one is enough for another claim, unless it is courtesy or known."""
    new = _content([w for w in words if w not in vocabulary.COURTEOUS]) - {canonical(w) for w in pair.shown.spoken}
    new -= _LIGHT | _CLASS_WORDS
    return new if len(new) >= 2 else new - pair.ground.lemmas


def _same_deeds(pair: Pair) -> frozenset[str]:
    """Return the first and the last word of what names a deed of both messages in each: `reboot`, `turn ... off`."""
    shared = pair.shown.operations() & pair.other.operations() | meant_otherwise(pair)
    named = [words.split() for r in (pair.shown, pair.other) for _, words in operations_in(r.text, shared)]
    return frozenset(canonical(w) for words in named for w in (words[0], words[-1]))


_LIGHT = frozenset(canonical(w) for w in vocabulary.LIGHT)


def _turned(left: list[str], right: list[str]) -> list[str]:
    """Particles that changed to their opposite in a copy: `on the plan`, `off the plan`."""
    return [*left, *right] if len(left) == len(right) == 1 and frozenset((*left, *right)) in _PARTICLES else []


_PARTICLES = frozenset(
    frozenset(pair) for pair in (("on", "off"), ("in", "out"), ("to", "from"), ("up", "down"), ("with", "without"))
)


def _sentence_added(pair: Pair, known: frozenset[str]) -> Finding:
    """A near copy with a sentence of its own that says something, however short ("Your account will be closed")."""
    shown = {sentence.text for sentence in pair.shown.sentences}
    for position, sentence in enumerate(pair.other.sentences):
        words = re.findall(r"[^\W\d_]+", sentence.text)
        pleasantry = position == 0 and len(words) <= 5 and not sentence.negated and not operations_in(sentence.text)
        if pleasantry or sentence.text in shown or not sentence.acts or sentence.acts <= MINOR:
            continue
        new = _content(words) - known
        if new and not any(SequenceMatcher(None, sentence.text, text).ratio() > 0.6 for text in shown):
            return different("claim_added", words=new)
    return None


def _only_shortened(pair: Pair, a: list[str], b: list[str], blocks: _Blocks) -> frozenset[str]:
    """Content words a copy leaves out while it adds none."""
    if any(_content(b[j1:j2]) - _content(a) for tag, _, _, j1, j2 in blocks if tag != "equal"):
        return frozenset()
    spare = frozenset(canonical(w) for w in vocabulary.VERIFYING) if "ask_identity" in pair.shown.acts else frozenset()
    lost = (_content(a[i1:i2]) for tag, i1, i2, _, _ in blocks if tag == "delete")
    return frozenset(w for words in lost for w in words) - _content(b) - spare - _CLASS_WORDS


_CLASS_WORDS = frozenset(
    canonical(w) for w in "cost price plan total item amount card account line number order visit".split()
)
"""What a value beside it says anyway."""


def _halved(pair: Pair, a: list[str], b: list[str], blocks: _Blocks) -> Finding:
    """A copy of one half of the demonstration."""
    lost = _only_shortened(pair, a, b, blocks)
    return different("words_missing", words=lost) if len(lost) >= 2 else None


def _exchanged(a: list[str], b: list[str], blocks: _Blocks, same_order: bool) -> bool:
    """Two spots traded their content words, and not merely around an `and` or an `or`."""
    spots = [(i1, i2, _content(a[i1:i2]), _content(b[j1:j2])) for tag, i1, i2, j1, j2 in blocks if tag == "replace"]
    for n, (_, end, left, right) in enumerate(spots):
        for start, _, other_left, other_right in spots[n + 1 :]:
            between = a[end:start]
            plain = all(w in ("and", "or", "the", "a", "your") for w in between)
            if (
                left
                and right
                and left == other_right
                and right == other_left
                and not plain
                and (same_order or "§" not in between)
            ):
                return True
    return False


def _same_order(pair: Pair) -> bool:
    """Both messages state the same facts in the same order, so words that moved now stand with another fact."""
    a, b = pair.shown.atoms, pair.other.atoms
    return len(a) == len(b) and all(x.same(y) for x, y in zip(a, b, strict=True))


def _tokens(reading: Reading) -> list[str]:
    return re.findall(r"§|[^\W\d_]+", re.sub(r"§\d+", "§", reading.text))


def _content(words: list[str]) -> frozenset[str]:
    return frozenset(
        canonical(w)
        for w in words
        if w != "§" and w not in vocabulary.STOP and w not in vocabulary.FILLER and stem(w) not in vocabulary.FILLER
    )


def _wording(pair: Pair) -> MessageDecision:
    """Nothing contradicts. Equal where facts, operations or questions anchor the message and little else is said."""
    shown, other = pair.shown.lemmas, pair.other.lemmas
    anchors = (
        len(unique(pair.shown.atoms))
        + len(pair.shown.operations() | pair.shown.operations(negated=True))
        + len(pair.shown.asked)
    )
    anchors += sum(
        len(m) for group, m in pair.shown.exclusive.items() if group not in ("day", "channel", "device", "status")
    )
    unsaid, added = shown - other, other - shown
    coverage = len(shown & other) / len(shown) if shown else 1.0
    strange = added - pair.ground.lemmas
    evidence = {
        "anchors": anchors,
        "coverage": round(coverage, 2),
        "unsaid": sorted(unsaid)[:8],
        "added": sorted(added)[:8],
    }
    said = other | pair.other.operations() | pair.other.operations(negated=True)
    if len(shown) >= 2 and not said and pair.shown.acts & {"inform", "refuse"}:
        return different("no_claim", words=shown)
    if _same_question(pair, strange):
        return MessageDecision(True, "same_question", evidence)
    dropped = _dropped(pair)
    half = _half_left(pair) if not added else ""
    if half or (dropped and len(added) < 2 and not _answered_by_act(pair, dropped)):
        return different("sentence_missing", sentence=(half or dropped)[:160])
    if anchors == 0:
        enough = coverage >= (0.6 if len(shown) > 3 else 0.5) and len(added) <= max(2, 0.5 * len(shown))
        return MessageDecision(True if enough else None, "same_wording" if enough else "open_wording", evidence)
    if anchors >= 2 and not strange and len(added) <= 1:
        return MessageDecision(True, "same_content", evidence)
    if (
        len(strange) > 6 + 3 * anchors
        or (coverage < 0.2 and len(shown) >= 3 and anchors < 3)
        or (coverage < 0.34 and len(shown) > 4 and anchors < 3)
    ):
        return MessageDecision(None, "open_wording", evidence)
    return MessageDecision(True, "same_content", evidence)


def _same_question(pair: Pair, strange: frozenset[str]) -> bool:
    """Both only ask who the customer is, by the same items; the words around the question do not matter."""
    if not pair.shown.asked or pair.shown.asked != pair.other.asked or not pair.shown.asked & lex.IDENTITY:
        return False
    if any(
        "ask_identity" not in r.acts or r.acts - MINOR - {"ask_identity", "inform"} for r in (pair.shown, pair.other)
    ):
        return False
    told = [s for s in pair.shown.sentences if s.acts == {"inform"} and not s.asked]
    why = {canonical(w) for w in vocabulary.VERIFYING}
    said = {canonical(w) for s in told for w in re.findall(r"[^\W\d_]{3,}", s.text)} & pair.shown.lemmas
    return len(said - why - pair.other.lemmas) <= 1 and len(strange - why) <= 6


def _half_left(pair: Pair) -> str:
    """Return the second half of a demonstrated sentence (`..., and there are chargers`) nothing of which is kept."""
    for sentence in pair.shown.sentences:
        for part in re.split(r", and |, but |; | and there ", sentence.text)[1:]:
            words = {canonical(w) for w in re.findall(r"[^\W\d_]{3,}", part)} & pair.shown.lemmas
            if (
                len(words) >= 2
                and "§" not in part
                and sentence.acts & {"inform", "refuse"}
                and not words & pair.other.lemmas
            ):
                return part
    return ""


def _answered_by_act(pair: Pair, dropped: str) -> bool:
    """The candidate tells the customer to do something in words of its own where a demonstrated `told` seems lost."""
    acts = next((s.acts for s in pair.shown.sentences if s.text == dropped), frozenset())
    fresh = [s for s in pair.other.sentences if s.acts == acts == {"told"} and not s.negated]
    return any(len(re.findall(r"[^\W\d_]{4,}", s.text)) >= 3 for s in fresh)


def _dropped(pair: Pair) -> str:
    """Return a demonstrated sentence of weight nothing of which is in the candidate."""
    for sentence in pair.shown.sentences:
        words = {canonical(w) for w in re.findall(r"[^\W\d_]{3,}", sentence.text) if canonical(w) in pair.shown.lemmas}
        kept = any(members_in(sentence.text, group) & members for group, members in pair.other.exclusive.items())
        if (
            len(words) >= 2
            and not kept
            and "§" not in sentence.text
            and sentence.acts - MINOR
            and not words & pair.other.lemmas
        ):
            return sentence.text
    return ""


_LADDER: tuple[Callable[[Pair], Finding], ...] = (
    _aimed_at_judge,
    _language,
    open_ended,
    speech_acts,
    hard_facts,
    names,
    operations,
    exclusive,
    opposites,
    polarity,
    hedged,
    conditions,
    asked_for,
    assigned,
    _near_copy,
)

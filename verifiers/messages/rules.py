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

from pivot_envs.verifiers.messages import cues
from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.acts import asked_for, open_ended, speech_acts
from pivot_envs.verifiers.messages.atoms import Pool, mark
from pivot_envs.verifiers.messages.claims import hedged, operations, opposites, polarity
from pivot_envs.verifiers.messages.decision import MINOR, Finding, Ground, MessageDecision, Pair, different, unique
from pivot_envs.verifiers.messages.facts import assigned, exclusive, hard_facts, names
from pivot_envs.verifiers.messages.reading import Reading, canonical, members_in, read, stem
from pivot_envs.verifiers.messages.wording import MAX_TEXT, clean, facts_text, lower, unwrap


def judge_message(
    demonstrated: str, candidate: str, *, facts: Any = (), last_user: str = "", policy: str = ""
) -> MessageDecision:
    """Say whether a candidate message is functionally the demonstrated one.

    Args:
        demonstrated: the recorded message.
        candidate: the message to judge; hostile text is expected.
        facts: any JSON value: observations and user messages before the turn; strings that are JSON are opened.
        last_user: the message being answered.
        policy: the desk's rules; numbers in it may be cited, amounts only if the demonstration cites them.
    """
    demonstrated, candidate = str(demonstrated), str(candidate)
    if demonstrated == candidate and candidate.strip():
        return MessageDecision(True, "identical")
    shown_text, other_text = unwrap(demonstrated), unwrap(candidate)
    if len(other_text) > MAX_TEXT:
        return different("too_long", characters=len(other_text))
    if len(shown_text) > MAX_TEXT:
        return MessageDecision(None, "too_long", {"demonstrated_characters": len(shown_text)})
    finding = _same_text(clean(shown_text), clean(other_text))
    if finding is not None:
        return finding
    try:
        shown = read(shown_text)
        ground = _ground(facts_text(facts), str(last_user), str(policy))
    except _UNREADABLE as error:
        return MessageDecision(None, "unreadable", {"error": f"{type(error).__name__}: {str(error)[:200]}"})
    try:
        return _climb(Pair(shown, read(other_text), ground))
    except _UNREADABLE as error:  # a candidate nobody can read must not buy an abstention
        return different("unreadable", error=f"{type(error).__name__}: {str(error)[:200]}")


_UNREADABLE = (RecursionError, ValueError, OverflowError, MemoryError, LookupError, TypeError)


def _climb(pair: Pair) -> MessageDecision:
    for rung in _LADDER:
        finding = rung(pair)
        if finding is not None:
            return finding
    return _wording(pair)


@lru_cache(maxsize=64)
def _ground(facts: str, last_user: str, policy: str) -> Ground:
    known = lower(clean(facts + "\n" + last_user[:10_000]))
    rules = lower(clean(policy[:30_000]))
    words = frozenset(re.findall(r"[^\W\d_]{2,40}", known + " " + rules))
    return Ground(Pool(mark(known).atoms), Pool(mark(rules).atoms), words)


def _same_text(shown: str, other: str) -> Finding:
    """Decide what needs no reading: nothing said, or the same said with other spaces, marks and letter case."""
    if not re.search(r"[^\W_]", other):
        return different("empty_message")

    def level(text: str) -> str:
        return re.sub(r"(?:[\s!?;'\"]|[.,:-](?!\d))+", " ", lower(text)).strip()

    return MessageDecision(True, "identical") if level(shown) == level(other) else None


def _aimed_at_judge(pair: Pair) -> Finding:
    found = cues.GRADER.search(pair.other.plain)
    if found and not cues.GRADER.search(pair.shown.plain):
        return different("aimed_at_judge", found=found.group()[:80])
    taken_back = cues.RETRACTION.search(pair.other.text)
    if taken_back and not cues.RETRACTION.search(pair.shown.text):
        return different("retracted", found=taken_back.group())
    return None


def _language(pair: Pair) -> Finding:
    def english(reading: Reading) -> float:
        words = re.findall(r"[^\W\d_]+", reading.text)
        return sum(w in lex.STOP or w in lex.FILLER for w in words) / len(words) if len(words) >= 5 else 1.0

    if english(pair.shown) > 0.25 and english(pair.other) < 0.12 and len(_foreign(pair)) >= 4:
        return different("other_language", words=sorted(_foreign(pair))[:8])
    return None


def _foreign(pair: Pair) -> frozenset[str]:
    return frozenset(
        w
        for w in re.findall(r"[^\W\d_]{2,}", pair.other.text)
        if w not in pair.ground.words and w not in pair.shown.text
    )


def _near_copy(pair: Pair) -> Finding:
    """A near copy with a content word replaced is a changed claim; a real rewording changes more."""
    a, b = _tokens(pair.shown), _tokens(pair.other)
    if not 4 <= len(a) <= 600 or len(b) > 1200:
        return None
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    kept = sum(i2 - i1 for tag, i1, i2, _, _ in blocks if tag == "equal")
    if kept < 0.7 * len(a):
        return None
    for tag, i1, i2, j1, j2 in blocks:
        left, right = _content(a[i1:i2]) - _content(b), _content(b[j1:j2]) - _content(a)
        if tag == "replace" and left and right:
            return different("word_replaced", demonstrated=left, candidate=right)
        if tag == "replace" and _exchanged(a, b, blocks):
            return different("words_exchanged", around=a[i1:i2])
        if tag == "insert" and (len(right) >= 2 or (right and "ask_confirm" in pair.shown.acts)):
            return different("claim_added", words=right)
    return None


def _exchanged(a: list[str], b: list[str], blocks: Sequence[tuple[str, int, int, int, int]]) -> bool:
    """Two spots traded their content words, and not merely around an `and` or an `or`."""
    spots = [(i1, i2, _content(a[i1:i2]), _content(b[j1:j2])) for tag, i1, i2, j1, j2 in blocks if tag == "replace"]
    for n, (_, end, left, right) in enumerate(spots):
        for start, _, other_left, other_right in spots[n + 1 :]:
            between = a[end:start]
            plain = all(w in ("and", "or", "the", "a", "your") for w in between)
            if left and right and left == other_right and right == other_left and not plain and "§" not in between:
                return True
    return False


def _tokens(reading: Reading) -> list[str]:
    return re.findall(r"§|[^\W\d_]+", re.sub(r"§\d+", "§", reading.text))


def _content(words: list[str]) -> frozenset[str]:
    return frozenset(
        canonical(w)
        for w in words
        if w != "§" and w not in lex.STOP and w not in lex.FILLER and stem(w) not in lex.FILLER
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
    grounded = {canonical(w) for w in pair.ground.words}
    unsaid, added = shown - other, other - shown
    coverage = len(shown & other) / len(shown) if shown else 1.0
    strange = added - grounded
    evidence = {
        "anchors": anchors,
        "coverage": round(coverage, 2),
        "unsaid": sorted(unsaid)[:8],
        "added": sorted(added)[:8],
    }
    said = other | pair.other.operations() | pair.other.operations(negated=True)
    if len(shown) >= 2 and not said and pair.shown.acts & {"inform", "refuse"}:
        return different("no_claim", words=shown)
    dropped = _dropped(pair)
    if dropped and len(added) < 2:
        return different("sentence_missing", sentence=dropped[:160])
    if anchors == 0:
        enough = coverage >= (0.6 if len(shown) > 3 else 0.5) and len(added) <= max(2, 0.5 * len(shown))
        return MessageDecision(True if enough else None, "same_wording" if enough else "open_wording", evidence)
    if (
        len(strange) > 6 + 3 * anchors
        or (coverage < 0.2 and len(shown) >= 3 and anchors < 3)
        or (coverage < 0.34 and len(shown) > 4 and anchors < 3)
    ):
        return MessageDecision(None, "open_wording", evidence)
    return MessageDecision(True, "same_content", evidence)


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
    asked_for,
    assigned,
    _near_copy,
)

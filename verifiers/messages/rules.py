"""The ladder that compares two messages: each rung may decide; what no rung decides is equal, or abstained.

Order: empty, identical, aimed at the judge, speech acts, hard facts, names, operations, opposites, polarity, what is
asked, who gets what, then the wording that is left. Every rung that is not sure of equality rejects or passes on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.atoms import Atom, Pool, mark
from pivot_envs.verifiers.messages.pairing import crossed
from pivot_envs.verifiers.messages.reading import Reading, canonical, is_negated, members_in, read, stem
from pivot_envs.verifiers.messages.wording import clean, facts_text, lower

ASKS = frozenset({"ask_identity", "ask_confirm", "ask_info", "offer_transfer"})
MINOR = frozenset({"apology", "close", "offer_help", "hold", "told"})


@dataclass(frozen=True)
class MessageDecision:
    """Whether two messages do the same for a customer; `equal` is None where rules cannot tell."""

    equal: bool | None
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Ground:
    """What was known before the turn."""

    pool: Pool
    policy: Pool
    words: frozenset[str]


@dataclass(frozen=True)
class _Pair:
    shown: Reading
    other: Reading
    ground: _Ground


Finding = MessageDecision | None


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
    try:
        ground = _ground(facts_text(facts), str(last_user), str(policy))
        pair = _Pair(read(str(demonstrated)), read(str(candidate)), ground)
        for rung in _LADDER:
            finding = rung(pair)
            if finding is not None:
                return finding
        return _wording(pair)
    except (RecursionError, ValueError, OverflowError, MemoryError, UnicodeError) as error:
        return MessageDecision(None, "unreadable", {"error": f"{type(error).__name__}: {str(error)[:200]}"})


@lru_cache(maxsize=64)
def _ground(facts: str, last_user: str, policy: str) -> _Ground:
    known = lower(clean(facts + "\n" + last_user[:20_000]))
    rules = lower(clean(policy[:100_000]))
    words = frozenset(re.findall(r"[^\W\d_]{2,40}", known + " " + rules))
    return _Ground(Pool(mark(known).atoms), Pool(mark(rules).atoms), words)


def _different(reason: str, **evidence: Any) -> MessageDecision:
    return MessageDecision(
        False, reason, {k: sorted(v) if isinstance(v, set | frozenset) else v for k, v in evidence.items()}
    )


# --- rungs


def _empty(pair: _Pair) -> Finding:
    if not re.search(r"[^\W_]", pair.other.plain):
        same = pair.shown.plain == pair.other.plain and bool(pair.shown.plain)
        return MessageDecision(True, "identical") if same else _different("empty_message")
    return None


def _identical(pair: _Pair) -> Finding:
    def level(reading: Reading) -> str:
        return re.sub(r"[\s.!?,;:'\"-]+", " ", lower(reading.plain)).strip()

    return MessageDecision(True, "identical") if level(pair.shown) == level(pair.other) else None


def _aimed_at_judge(pair: _Pair) -> Finding:
    found = lex.GRADER.search(pair.other.plain)
    if found and not lex.GRADER.search(pair.shown.plain):
        return _different("aimed_at_judge", found=found.group()[:80])
    taken_back = lex.RETRACTION.search(pair.other.text)
    if taken_back and not lex.RETRACTION.search(pair.shown.text):
        return _different("retracted", found=taken_back.group())
    return None


def _language(pair: _Pair) -> Finding:
    def english(reading: Reading) -> float:
        words = re.findall(r"[^\W\d_]+", reading.text)
        return sum(w in lex.STOP or w in lex.FILLER for w in words) / len(words) if len(words) >= 5 else 1.0

    if english(pair.shown) > 0.25 and english(pair.other) < 0.12 and len(_foreign(pair)) >= 4:
        return _different("other_language", words=sorted(_foreign(pair))[:8])
    return None


def _foreign(pair: _Pair) -> frozenset[str]:
    return frozenset(
        w
        for w in re.findall(r"[^\W\d_]{2,}", pair.other.text)
        if w not in pair.ground.words and w not in pair.shown.text
    )


def _open_ended(pair: _Pair) -> Finding:
    """Advice, explanation or sympathy on both sides in different words: rules cannot weigh the one against the other."""
    shown, other = pair.shown.lemmas, pair.other.lemmas
    if not (_is_open(pair.shown) and _is_open(pair.other)) or len(shown) < 4 or len(other) < 3:
        return None
    shared = len(shown & other) / len(shown)
    related = shown & other or other & {canonical(w) for w in pair.ground.words} or _unique(pair.shown.atoms)
    if shared >= 0.5 or not related or _denies(pair.other) > _denies(pair.shown):
        return None
    return MessageDecision(None, "open_wording", {"shared": round(shared, 2)})


def _is_open(reading: Reading) -> bool:
    """No fact, no deed, nothing asked, nothing asked to be done."""
    settled = reading.operations("done", "will", "ask") | reading.operations("done", "will", "ask", negated=True)
    return (
        not reading.acts - {"inform", "apology", "instruct", "told", "hold"}
        and not (settled & lex.EFFECTIVE or reading.operations() & lex.BENEFITS)
        and all(a.unit == "g-network" for a in reading.atoms)
        and not re.search(r"\b(?:please|could you|tell me|let me know|welcome)\b", reading.text)
    )


def _speech_acts(pair: _Pair) -> Finding:
    shown, other = _level_acts(pair.shown), _level_acts(pair.other)
    major_shown, major_other = shown - MINOR, other - MINOR
    if not major_shown:
        return _minor_acts(pair, shown, other, major_other)
    missing = {a for a in major_shown & (ASKS | {"instruct", "transfer", "refuse"}) if a not in other}
    if missing & {"refuse"} and _denies(pair.other):
        missing -= {"refuse"}
    if missing and not _excused(missing, major_other, pair):
        return _different("act_missing", demonstrated=shown, candidate=other, missing=missing)
    surplus = {a for a in major_other & (ASKS | {"instruct", "transfer", "refuse"}) if a not in shown}
    if "refuse" in surplus and _denies(pair.shown):
        surplus.discard("refuse")
    offered = (
        surplus == {"ask_info"}
        and "inform" in major_shown
        and "?" not in pair.other.text
        and pair.other.asked <= pair.shown.asked
    )
    if surplus and not offered and not _excused(surplus, major_shown, pair):
        return _different("act_added", demonstrated=shown, candidate=other, added=surplus)
    if "close" in other - shown and shown - other & (ASKS | {"offer_help"}):
        return _different("closes_early", demonstrated=shown, candidate=other)
    if major_shown == {"inform"} and not major_other:
        return _different("act_missing", demonstrated=shown, candidate=other)
    return None


def _level_acts(reading: Reading) -> frozenset[str]:
    acts = set(reading.acts)
    if "instruct" in acts:
        acts.discard("ask_info")
    return frozenset(acts)


def _denies(reading: Reading) -> bool:
    return any(s.negated for s in reading.sentences)


def _excused(acts: set[str], counterpart: frozenset[str], pair: _Pair) -> bool:
    """Two readings of one request: a choice may be put as a confirmation, an identity question as a plain one."""
    if acts == {"ask_info"} and pair.shown.asked and pair.shown.asked == pair.other.asked:
        return True
    if acts == {"ask_info"} and counterpart & {"ask_confirm", "ask_identity"}:
        return pair.shown.asked == pair.other.asked and _questions(pair.shown) == _questions(pair.other)
    if acts == {"ask_confirm"} and "ask_info" in counterpart:
        return pair.shown.asked == pair.other.asked and _questions(pair.shown) == _questions(pair.other)
    return acts == {"ask_identity"} and "ask_info" in counterpart and pair.shown.asked == pair.other.asked


def _questions(reading: Reading) -> int:
    return sum(bool(s.acts & ASKS) for s in reading.sentences)


_FINISHED = re.compile(
    r"\b(?:(?:i|we) (?:have )?(?:now |already |just |also )*(?:completed|done|processed|submitted|finished|executed|performed|carried out|taken care)"
    r"|(?:it|this|that|everything) (?:is|has been|was) (?:now |already |all )*(?:done|completed|processed|submitted|taken care of))\b"
)
_OTHER = re.compile(
    r"\b(?:your|the|an)? ?(?:other|another|second|remaining) (?:order|reservation|booking|line|account|item|visit|flight|card|contract)s?\b"
)
_DEED = re.compile(
    r"\b(?:i|we) (?:have )?(?:now |just |also |already )?(?!understand|wanted|hoped|enjoyed|helped)[a-z]{3,}ed (?:your|the|a|an|all)\b"
)


def _minor_acts(pair: _Pair, shown: frozenset[str], other: frozenset[str], major_other: frozenset[str]) -> Finding:
    if major_other - {"inform"} or pair.other.operations("done", "will", "can") - pair.shown.operations():
        return _different("act_added", demonstrated=shown, candidate=other)
    if not shown & other:
        return _different("act_missing", demonstrated=shown, candidate=other) if other else None
    if pair.other.atoms and not pair.shown.atoms:
        return _different("invented_fact", invented=[a.text for a in pair.other.atoms][:5])
    added = pair.other.lemmas - pair.shown.lemmas
    deed = _DEED.search(pair.other.text)
    if deed and not _DEED.search(pair.shown.text):
        return _different("claim_added", words=[deed.group()])
    if major_other == {"inform"} and len(added) >= 2:
        return _different("claim_added", words=added)
    return MessageDecision(True, "same_courtesy") if shown & other else None


def _hard_facts(pair: _Pair) -> Finding:
    missing = [a for a in pair.shown.atoms if not _has(pair.other, a) and not _implied(a, pair.other)]
    if missing:
        return _different("fact_missing", missing=[a.text for a in missing][:5])
    surplus = _unique(a for a in pair.other.atoms if not _has(pair.shown, a) and not _implied(a, pair.shown))
    invented = [a for a in surplus if a not in pair.ground.pool and (a.kind == "money" or a not in pair.ground.policy)]
    if invented:
        return _different("invented_fact", invented=[a.text for a in invented][:5])
    shapes = {a.shape for a in pair.shown.atoms if a.kind == "id"}
    rivals = [a for a in surplus if a.kind == "id" and a.shape in shapes]
    if rivals:
        return _different("other_entity", added=[a.text for a in rivals][:5])
    if len(surplus) > max(2, len(_unique(pair.shown.atoms)) // 2):
        return _different("facts_dumped", added=[a.text for a in surplus][:8])
    return None


def _has(reading: Reading, atom: Atom) -> bool:
    return any(atom.same(other) for other in reading.atoms)


def _unique(atoms: Iterator[Atom] | list[Atom]) -> list[Atom]:
    kept: list[Atom] = []
    for atom in atoms:
        if not any(atom.same(k) for k in kept):
            kept.append(atom)
    return kept


def _implied(atom: Atom, reading: Reading) -> bool:
    """A small count needs no figure where the other message lists that many things; one is the default count."""
    if atom.kind != "number" or atom.unit or not 1 <= float(atom.values[0]) <= 12:
        return False
    count = int(float(atom.values[0]))
    if count == 1:
        return not any(a.kind == "number" and not a.unit and 1 < float(a.values[0]) <= 12 for a in reading.atoms)
    kinds = [sum(a.kind == kind for a in _unique(reading.atoms)) for kind in ("id", "money", "date", "time")]
    return count in kinds or (count == 2 and bool(re.search(r"\bboth\b| or ", reading.text)))


def _names(pair: _Pair) -> Finding:
    said = frozenset(re.findall(r"[^\W\d_]{2,40}", pair.other.text))
    told = frozenset(re.findall(r"[^\W\d_]{2,40}", pair.shown.text))
    stems = {stem(w) for w in said}
    missing = {
        n for n, kind in pair.shown.names.items() if kind != "vocative" and n not in said and stem(n) not in stems
    }
    added = {n for n in pair.other.names if n not in told and n not in pair.ground.words}
    strangers = {
        n for n, kind in pair.other.names.items() if kind == "vocative" and n not in told and n not in pair.ground.words
    }
    swapped_in = {n for n in pair.other.names if n not in told}
    if strangers or (missing and swapped_in):
        return _different("other_name", missing=missing, added=strangers or swapped_in)
    grounded = {n for n in missing if n in pair.ground.words or pair.shown.names[n] == "code"}
    heads = {n for n in grounded if not _part_of_kept(n, pair) and not _named_by_id(n, pair)}
    if heads:
        return _different("name_missing", missing=heads)
    codes = {n for n in added if pair.other.names[n] == "code"}
    return (
        _different("other_name", added=codes) if codes and any(k == "code" for k in pair.shown.names.values()) else None
    )


def _part_of_kept(name: str, pair: _Pair) -> bool:
    """A word of a longer name may go (`Mastercard` of a card named by its digits) while a neighbour stays."""
    found = re.search(rf"(?i)\b(?:([A-Z]\w+) )?{re.escape(name)}(?: ([A-Z]\w+))?", pair.shown.plain)
    neighbours = [w.lower() for w in (found.groups() if found else ()) if w and w[0].isupper()]
    return any(w in pair.other.text for w in neighbours)


def _named_by_id(name: str, pair: _Pair) -> bool:
    """A product whose item number follows its name needs no name: the number is required anyway."""
    return bool(re.search(rf"(?i)\b{re.escape(name)}\b(?:[ ,(:-]+[a-z]+){{0,5}}[ ,(:#-]+\d{{8,}}", pair.shown.plain))


def _operations(pair: _Pair) -> Finding:
    shown, other = pair.shown, pair.other
    if false_report := other.operations("done") & lex.EFFECTIVE - shown.operations("done") - _past_status(shown):
        return _different("claims_done", operations=false_report)
    if other_one := _OTHER.search(other.text):
        if not _OTHER.search(shown.text) and other.operations("done", "will"):
            return _different("claim_added", found=other_one.group())
    if (
        ("ask_confirm" in shown.acts or not shown.operations("done"))
        and (deed := _FINISHED.search(other.text))
        and not _FINISHED.search(shown.text)
    ):
        return _different("claims_done", found=deed.group())
    generic = bool(lex.DONE_WORDS.search(other.text))
    undone = shown.operations("done") & lex.EFFECTIVE - other.operations("done", "mention", "state") - {"on", "off"}
    if undone and not (generic and not other.operations("ask") & undone):
        return _different("not_done", operations=undone)
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
        return _different("operation_missing", operations=missing)
    known = shown.operations() | shown.operations(negated=True)
    gifts = (other.operations() & lex.BENEFITS) - known
    if gifts:
        return _different("benefit_added", operations=gifts)
    extra = (other.operations("done", "will", "told", "ask", "can") & (lex.EFFECTIVE | lex.DEVICE)) - known
    if extra - _soft(other, "mention", "condition", "purpose"):
        return _different("operation_added", operations=extra)
    return _told(pair)


def _past_status(reading: Reading) -> frozenset[str]:
    """Operations the demonstration names in a state that amounts to done (`status: cancelled`)."""
    return frozenset(
        m.operation
        for m in reading.mentions
        if m.mode == "mention" and not m.negated and m.operation not in ("refund", "credit", "charge")
    )


def _soft(reading: Reading, *modes: str) -> frozenset[str]:
    """Operations named in these modes only."""
    named = frozenset(m.operation for m in reading.mentions if m.mode in modes and m.operation != "free")
    return named - frozenset(m.operation for m in reading.mentions if m.mode not in modes)


def _told(pair: _Pair) -> Finding:
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
        return _different("other_step", demonstrated=a, candidate=b)
    here, there = _handled(pair.shown), _handled(pair.other)
    if here - there and there - here:
        return _different("other_step", demonstrated=here, candidate=there)
    return None


def _handled(reading: Reading) -> frozenset[str]:
    """Things the customer is told to handle."""
    texts = [s.text for s in reading.sentences if "instruct" in s.acts]
    return frozenset(
        m for text in texts for group in ("setting", "part", "network", "cable") for m in members_in(text, group)
    )


def _exclusive(pair: _Pair) -> Finding:
    asks = pair.shown.acts & (ASKS | {"instruct"})
    for group in lex.EXCLUSIVE:
        shown, other = pair.shown.exclusive.get(group, frozenset()), pair.other.exclusive.get(group, frozenset())
        missing, added = shown - other, other - shown
        if missing and added:
            return _different("other_value", group=group, demonstrated=shown, candidate=other)
        if group == "day":
            missing &= frozenset(lex.WEEKDAYS)
        if missing and (
            group in ("payment", "cabin", "colour", "day", "period", "trip", "document")
            or (asks and group in ("setting", "part", "cable", "network"))
        ):
            return _different("value_missing", group=group, missing=missing)
        if added and shown and group not in ("device", "part", "channel", "status"):
            return _different("value_added", group=group, added=added)
        if group == "status" and "paid" in added - pair.ground.words:
            return _different("value_added", group=group, added=added)
        if added and group in ("period", "basis", "trip", "cabin"):
            return _different("value_added", group=group, added=added)
    return None


def _opposites(pair: _Pair) -> Finding:
    for name, left, right in lex.OPPOSITES:
        shown = (bool(left.search(pair.shown.text)), bool(right.search(pair.shown.text)))
        other = (bool(left.search(pair.other.text)), bool(right.search(pair.other.text)))
        if shown in ((True, False), (False, True)) and other == (shown[1], shown[0]):
            if name in ("edge", "sequence", "gain", "work", "move", "always") and _denies(pair.shown) != _denies(
                pair.other
            ):
                continue
            return _different("opposite", pair=name)
    return None


def _polarity(pair: _Pair) -> Finding:
    yes = re.compile(r"^\W*(yes|yep|yeah|no|nope)\b(?! (?:problem|worries|need))")
    first, second = yes.match(pair.shown.text), yes.match(pair.other.text)
    if first and second and first[1][0] != second[1][0]:
        return _different("answer_flipped", demonstrated=first[1], candidate=second[1])
    for operation in pair.shown.operations() | pair.shown.operations(negated=True):
        a = {m.negated for m in pair.shown.mentions if m.operation == operation}
        b = {m.negated for m in pair.other.mentions if m.operation == operation}
        if a and b and not a & b:
            return _different("negated", operation=operation)
    return _things_denied(pair) or _denial(pair) or _sentences_denied(pair)


def _sentences_denied(pair: _Pair) -> Finding:
    """Each sentence against the one it repeats: the same words with another count of negations is another claim."""
    if max(len(pair.shown.sentences), len(pair.other.sentences)) > MAX_SENTENCES:
        return None
    here = [(s, _bag(s.text)) for s in pair.shown.sentences]
    for sentence in pair.other.sentences:
        bag = _bag(sentence.text)
        if sum(bag.values()) < 2:
            continue
        rivals = [(_overlap(bag, other), _negations(shown.text), shown) for shown, other in here]
        best = max((r[0] for r in rivals), default=0.0)
        count = _negations(sentence.text)
        if best >= (0.75 if sum(bag.values()) > 2 else 0.9) and all(
            n != count for score, n, _ in rivals if score >= best - 0.1
        ):
            return _different("negated", sentence=sentence.text[:160])
    return None


MAX_SENTENCES = 150


def _negations(text: str) -> int:
    return len(lex.NEGATION.findall(lex.NOT_NEGATION.sub(" ", text)))


def _bag(text: str) -> Counter[str]:
    words = re.findall(r"§\d+|[^\W\d_]{2,}", text)
    return Counter(
        "§" if w[0] == "§" else canonical(w) for w in words if not lex.NEGATION.fullmatch(w) and w not in _WEAK
    )


_WEAK = frozenset(
    "is are was were be been has have had do does did the a an to of can will would i you your we not".split()
)


def _overlap(a: Counter[str], b: Counter[str]) -> float:
    total = sum(a.values()) + sum(b.values())
    return 2 * sum((a & b).values()) / total if total else 0.0


def _things_denied(pair: _Pair) -> Finding:
    """`X but not Y` against `Y but not X`: each named option with its polarity."""
    for group in ("payment", "cabin", "document", "setting", "trip"):
        shown, other = _polarities(pair.shown, group), _polarities(pair.other, group)
        flipped = [m for m in shown if m in other and not shown[m] & other[m]]
        if flipped and (len(shown) > 1 or group == "document"):
            return _different("negated", options=flipped)
    return None


def _polarities(reading: Reading, group: str) -> dict[str, set[bool]]:
    found: dict[str, set[bool]] = {}
    for sentence in reading.sentences:
        for clause in re.split(r", | and | but | or |: ", sentence.text):
            for member in members_in(clause, group):
                found.setdefault(member, set()).add(is_negated(clause))
    return found


def _denial(pair: _Pair) -> Finding:
    shown, other = _denied_clauses(pair.shown), _denied_clauses(pair.other)
    if bool(shown) == bool(other) or _unspoken(pair):
        return None
    if other:
        return _different("denial_added", clause=other[0][:120])
    rest = pair.other
    for clause in shown:
        words = {
            canonical(w)
            for w in re.findall(r"[^\W\d_]{3,}", clause)
            if w not in lex.STOP and not lex.NEGATION.search(w)
        }
        if words & rest.lemmas or "§" in clause:
            return _different("negated", clause=clause[:120])
    return None


def _unspoken(pair: _Pair) -> bool:
    return not (pair.shown.acts & {"inform", "refuse", "told", "instruct", "ask_confirm"})


def _denied_clauses(reading: Reading) -> list[str]:
    return [
        c
        for s in reading.sentences
        if not s.acts & ASKS
        for c in re.split(r", | and | but | because |: ", s.text)
        if is_negated(c)
    ]


def _hedged(pair: _Pair) -> Finding:
    for name, pattern in (("hedged", lex.HEDGE), ("conditional", lex.CONDITION), ("conditional", lex.IF_CLAUSE)):
        found = pattern.search(pair.other.text)
        excuse = lex.HEDGE_FREE if name == "hedged" else lex.CONDITION_FREE
        if found and not pattern.search(pair.shown.text) and not excuse.search(pair.shown.text):
            return _different(name, found=found.group())
    return None


def _asked(pair: _Pair) -> Finding:
    shown, other = pair.shown.asked, pair.other.asked
    if added := (other - shown) & lex.IDENTITY:
        return _different("asks_more", added=added)
    if missing := shown - other:
        return _different("asks_less", missing=missing)
    if (added := other - shown - {"reason", "variant", "address"}) and shown:
        return _different("asks_more", added=added)
    return None


def _assigned(pair: _Pair) -> Finding:
    swap = crossed(pair.shown, pair.other)
    return _different("swapped", values=list(swap)) if swap else None


def _near_copy(pair: _Pair) -> Finding:
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
            return _different("word_replaced", demonstrated=left, candidate=right)
        if tag == "replace" and _exchanged(a, b, blocks):
            return _different("words_exchanged", around=a[i1:i2])
        if tag == "insert" and (len(right) >= 2 or (right and "ask_confirm" in pair.shown.acts)):
            return _different("claim_added", words=right)
    return None


def _exchanged(a: list[str], b: list[str], blocks: list[tuple[str, int, int, int, int]]) -> bool:
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


def _wording(pair: _Pair) -> MessageDecision:
    """Nothing contradicts. Equal where facts, operations or questions anchor the message and little else is said."""
    shown, other = pair.shown.lemmas, pair.other.lemmas
    anchors = (
        len(_unique(pair.shown.atoms))
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
        return _different("no_claim", words=shown)
    dropped = _dropped(pair)
    if dropped and len(added) < 2:
        return _different("sentence_missing", sentence=dropped[:160])
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


def _dropped(pair: _Pair) -> str:
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


_LADDER: tuple[Callable[[_Pair], Finding], ...] = (
    _empty,
    _identical,
    _aimed_at_judge,
    _language,
    _open_ended,
    _speech_acts,
    _hard_facts,
    _names,
    _operations,
    _exclusive,
    _opposites,
    _polarity,
    _hedged,
    _asked,
    _assigned,
    _near_copy,
)

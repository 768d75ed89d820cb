"""Rungs on speech acts: asking, confirming, telling, refusing, handing over, closing, and what is asked for."""

from __future__ import annotations

import re

from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.decision import (
    ASKS,
    MINOR,
    Finding,
    MessageDecision,
    Pair,
    denies,
    different,
    unique,
)
from pivot_envs.verifiers.messages.reading import Reading, canonical


def open_ended(pair: Pair) -> Finding:
    """Advice, explanation or sympathy on both sides in different words: rules cannot weigh one against the other."""
    shown, other = pair.shown.lemmas, pair.other.lemmas
    if not (_is_open(pair.shown) and _is_open(pair.other)) or len(shown) < 4 or len(other) < 3:
        return None
    shared = len(shown & other) / len(shown)
    related = shown & other or other & pair.ground.lemmas or unique(pair.shown.atoms)
    denied = {canonical(w) for s in pair.other.sentences if s.negated for w in re.findall(r"[^\W\d_]{3,}", s.text)}
    words = {canonical(w) for s in pair.shown.sentences if s.negated for w in re.findall(r"[^\W\d_]{3,}", s.text)}
    words &= shown
    if denies(pair.shown) and not denies(pair.other) and len(words & other) >= max(2, 0.5 * len(words)):
        return None
    if shared >= 0.5 or not related or (denied & shown and denies(pair.other) > denies(pair.shown)):
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


def speech_acts(pair: Pair) -> Finding:
    """The demonstrated acts are matched and no other is added."""
    shown, other = _level_acts(pair.shown), _level_acts(pair.other)
    major_shown, major_other = shown - MINOR, other - MINOR
    if not major_shown:
        return _minor_acts(pair, shown, other, major_other)
    missing = {a for a in major_shown & (ASKS | {"instruct", "transfer", "refuse"}) if a not in other}
    only = " only " in pair.shown.text and " only " in pair.other.text
    if missing & {"refuse"} and (denies(pair.other) or only):
        missing -= {"refuse"}
    if missing and not _excused(missing, major_other, pair):
        return different("act_missing", demonstrated=shown, candidate=other, missing=missing)
    surplus = {a for a in major_other & (ASKS | {"instruct", "transfer", "refuse"}) if a not in shown}
    if "refuse" in surplus and denies(pair.shown):
        surplus.discard("refuse")
    offered = (
        surplus == {"ask_info"}
        and "inform" in major_shown
        and "?" not in pair.other.text
        and pair.other.asked <= pair.shown.asked
    )
    if surplus and not offered and not _excused(surplus, major_shown, pair):
        return different("act_added", demonstrated=shown, candidate=other, added=surplus)
    if "close" in other - shown and shown - other & (ASKS | {"offer_help"}):
        return different("closes_early", demonstrated=shown, candidate=other)
    if major_shown == {"inform"} and not major_other:
        return different("act_missing", demonstrated=shown, candidate=other)
    return None


def _level_acts(reading: Reading) -> frozenset[str]:
    acts = set(reading.acts)
    if "instruct" in acts:
        acts.discard("ask_info")
    if "offer_transfer" in acts:
        acts.discard("ask_confirm")
    return frozenset(acts)


def _excused(acts: set[str], counterpart: frozenset[str], pair: Pair) -> bool:
    """Two readings of one request: a choice may be put as a confirmation, an identity question as a plain one."""
    if acts == {"ask_info"} and pair.shown.asked and pair.shown.asked == pair.other.asked:
        return True
    if acts == {"ask_info"} and "ask_confirm" in counterpart and _CHOICE.search(pair.shown.text):
        return bool(_CHOICE.search(pair.other.text)) and pair.shown.asked == pair.other.asked
    if acts == {"ask_info"} and counterpart & {"ask_confirm", "ask_identity"}:
        return pair.shown.asked == pair.other.asked and _questions(pair.shown) == _questions(pair.other)
    if acts == {"ask_confirm"} and "ask_info" in counterpart:
        return pair.shown.asked == pair.other.asked and _questions(pair.shown) == _questions(pair.other)
    return acts == {"ask_identity"} and "ask_info" in counterpart and pair.shown.asked == pair.other.asked


_CHOICE = re.compile(r"\b(?:which|either|prefer|rather|or)\b")


def _questions(reading: Reading) -> int:
    return sum(bool(s.acts & ASKS) for s in reading.sentences)


_DEED = re.compile(
    r"\b(?:i|we) (?:have )?(?:now |just |also |already )?(?!understand|wanted|hoped|enjoyed|helped)[a-z]{3,}ed "
    r"(?:your|the|a|an|all)\b"
)


def _minor_acts(pair: Pair, shown: frozenset[str], other: frozenset[str], major_other: frozenset[str]) -> Finding:
    if major_other - {"inform"} or pair.other.operations("done", "will", "can") - pair.shown.operations():
        return different("act_added", demonstrated=shown, candidate=other)
    if not shown & other:
        return different("act_missing", demonstrated=shown, candidate=other) if other else None
    if pair.other.atoms and not pair.shown.atoms:
        return different("invented_fact", invented=[a.text for a in pair.other.atoms][:5])
    added = pair.other.lemmas - pair.shown.lemmas
    deed = _DEED.search(pair.other.text)
    if deed and not _DEED.search(pair.shown.text):
        return different("claim_added", words=[deed.group()])
    if major_other == {"inform"} and len(added) >= 2:
        return different("claim_added", words=added)
    return MessageDecision(True, "same_courtesy") if shown & other else None


def asked_for(pair: Pair) -> Finding:
    """Exactly what the demonstration asks for is asked for."""
    shown, other = pair.shown.asked, pair.other.asked
    if "passenger" in pair.shown.text:
        other -= {"passengers"} - shown
    if added := (other - shown) & lex.IDENTITY:
        return different("asks_more", added=added)
    if missing := shown - other:
        return different("asks_less", missing=missing)
    if (added := other - shown - {"reason", "variant", "address"}) and shown:
        return different("asks_more", added=added)
    return None

"""Rungs on facts: ids, amounts and dates recalled and none invented, names, options, and who gets what."""

from __future__ import annotations

import re

from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.atoms import Atom
from pivot_envs.verifiers.messages.decision import ASKS, Finding, Pair, different, has, unique
from pivot_envs.verifiers.messages.pairing import crossed
from pivot_envs.verifiers.messages.reading import Reading, is_negated, members_in, stem
from pivot_envs.verifiers.messages.units import WEEKDAYS


def hard_facts(pair: Pair) -> Finding:
    """Every demonstrated fact is recalled, in any spelling; no other is invented, swapped in, or dumped."""
    if len(pair.other.atoms) > 20 * max(10, len(pair.shown.atoms)):
        return different("facts_dumped", count=len(pair.other.atoms))
    missing = [a for a in unique(pair.shown.atoms) if not has(pair.other, a) and not _implied(a, pair.other)]
    surplus = [a for a in unique(pair.other.atoms) if not has(pair.shown, a) and not _implied(a, pair.shown)]
    if missing:
        others = [a.text for a in surplus if any(a.kind == m.kind and a.unit == m.unit for m in missing)]
        instead = {"against": "other_value", "instead": others[:5]} if others else {}
        return different("fact_missing", missing=[a.text for a in missing][:5], **instead)
    invented = [a for a in surplus if a not in pair.ground.pool and (a.kind == "money" or a not in pair.ground.policy)]
    if invented:
        return different("invented_fact", invented=[a.text for a in invented][:5])
    shapes = {a.shape for a in pair.shown.atoms if a.kind == "id"}
    rivals = [a for a in surplus if a.kind == "id" and a.shape in shapes]
    if rivals:
        return different("other_entity", added=[a.text for a in rivals][:5])
    if len(surplus) > max(2, len(unique(pair.shown.atoms)) // 2):
        return different("facts_dumped", added=[a.text for a in surplus][:8])
    return None


def _implied(atom: Atom, reading: Reading) -> bool:
    """A small count needs no figure where the other message lists that many things; one is the default count."""
    if atom.kind != "number" or atom.unit or float(atom.values[0]) not in range(1, 13):
        return False
    count = int(float(atom.values[0]))
    if count == 1:
        return not any(a.kind == "number" and not a.unit and 1 < float(a.values[0]) <= 12 for a in reading.atoms)
    kinds = [sum(a.kind == kind for a in unique(reading.atoms)) for kind in ("id", "money", "date", "time")]
    return count in kinds or (count == 2 and bool(re.search(r"\bboth\b| or ", reading.text)))


def names(pair: Pair) -> Finding:
    """Names and codes that stem from the facts are kept, and no stranger's is used."""
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
        return different("other_name", missing=missing, added=strangers or swapped_in)
    grounded = {n for n in missing if n in pair.ground.words or pair.shown.names[n] == "code"}
    heads = {n for n in grounded if not _part_of_kept(n, pair) and not _named_by_id(n, pair)}
    if heads:
        return different("name_missing", missing=heads)
    codes = {n for n in added if pair.other.names[n] == "code"}
    return (
        different("other_name", added=codes) if codes and any(k == "code" for k in pair.shown.names.values()) else None
    )


def _part_of_kept(name: str, pair: Pair) -> bool:
    """A word of a longer name may go (`Mastercard` of a card named by its digits) while a neighbour stays."""
    found = re.search(rf"(?i)\b(?:([A-Z]\w+) )?{re.escape(name)}(?: ([A-Z]\w+))?", pair.shown.plain)
    neighbours = [w.lower() for w in (found.groups() if found else ()) if w and w[0].isupper()]
    return any(w in pair.other.text for w in neighbours)


def _named_by_id(name: str, pair: Pair) -> bool:
    """A product whose item number follows its name needs no name: the number is required anyway."""
    return bool(re.search(rf"(?i)\b{re.escape(name)}\b(?:[ ,(:-]+[a-z]+){{0,5}}[ ,(:#-]+\d{{8,}}", pair.shown.plain))


def _aside(group: str, added: frozenset[str], pair: Pair) -> bool:
    """A further option with its own price, both from the observations, in plain information: a harmless extra."""
    told = not (pair.shown.acts | pair.other.acts) - {"inform", "close", "offer_help"}
    return (
        told
        and group in ("cabin", "colour", "size", "material")
        and all(w in pair.ground.words for member in added for w in member.split())
        and not any(r.operations("done", "will", "can") & lex.EFFECTIVE for r in (pair.shown, pair.other))
        and len(unique(pair.other.atoms)) > len(unique(pair.shown.atoms))
    )


def _named_by_fact(group: str, member: str, reading: Reading) -> bool:
    """A weekday beside its date, a card or bill beside its number: the fact, required anyway, names it alone."""
    spots = (
        rf"(?:{lex.EXCLUSIVE[group][member].pattern})(?:,? (?:the|number|no\.?|id|ending in|ending with))?[ ,(]*§(\d+)"
    )
    kinds = {"date"} if group == "day" else {"id", "number"}
    atoms = [reading.atoms[int(m.group(m.lastindex or 0))] for m in re.finditer(spots, reading.text)]
    return any(a.kind in kinds and (a.kind != "number" or len(a.digits) >= 4) for a in atoms)


def _known_members(group: str, pair: Pair) -> set[str]:
    """Members of a group of which the observations or the customer spoke."""
    return {m for m in lex.EXCLUSIVE[group] if all(word in pair.ground.words for word in m.split())}


def _refused_wish(group: str, member: str, pair: Pair) -> bool:
    """The candidate names an option only to say that the customer, who spoke of it, cannot have it."""
    clauses = [
        c for s in pair.other.sentences for c in re.split(r", | but |\\. ", s.text) if member in members_in(c, group)
    ]
    known = all(word in pair.ground.words for word in member.split())
    return known and "refuse" in pair.shown.acts and bool(clauses) and all(is_negated(c) for c in clauses)


def _asserted(reading: Reading) -> frozenset[str]:
    """Statuses a message states, not those it makes a condition of (`once it has been delivered`)."""
    clauses = (
        c for s in reading.sentences for c in re.split(r", |(?=\b(?:once|when|if|until|as soon as|after) )", s.text)
    )
    plain = [c for c in clauses if not re.match(r"\W*(?:once|when|if|until|as soon as|after)\b", c)]
    return frozenset(m for c in plain for m in members_in(c, "status"))


def _ahead(status: str, reading: Reading) -> bool:
    """Say whether a status is announced (`will be delivered`) and nowhere stated."""
    spots = [m.start() for m in lex.EXCLUSIVE["status"][status].finditer(reading.text)]
    return bool(spots) and all(_TO_COME.search(reading.text[max(0, k - 40) : k]) for k in spots)


_TO_COME = re.compile(r"\b(?:will|going to|shall) (?:\w+ )?be (?:\w+ )?$")


def exclusive(pair: Pair) -> Finding:
    """Named options stay the ones named."""
    asks = pair.shown.acts & (ASKS | {"instruct"})
    for group in lex.EXCLUSIVE:
        shown, other = pair.shown.exclusive.get(group, frozenset()), pair.other.exclusive.get(group, frozenset())
        missing, added = shown - other, other - shown
        added = frozenset(m for m in added if not _refused_wish(group, m, pair))
        if group == "status" and (
            moved := [m for m in shown & other if _ahead(m, pair.shown) != _ahead(m, pair.other)]
        ):
            return different("tense", group=group, statuses=moved)
        if missing and added:
            return different("other_value", group=group, demonstrated=shown, candidate=other)
        if group == "day":
            missing &= frozenset(WEEKDAYS)
        missing = frozenset(m for m in missing if not _named_by_fact(group, m, pair.shown))
        if "charge" in pair.other.operations("done"):
            missing -= {"invoice"}
        if missing and (
            group in ("payment", "cabin", "colour", "day", "period", "trip", "document")
            or (asks and group in ("setting", "part", "cable", "network"))
        ):
            return different("value_missing", group=group, missing=missing)
        if added and not missing and _aside(group, added, pair):
            continue
        if added and shown and group not in ("device", "part", "channel", "status"):
            return different("value_added", group=group, added=added)
        if group == "status" and missing and other and missing & _asserted(pair.shown):
            return different("value_missing", group=group, missing=missing)
        if group == "status" and "paid" in added - pair.ground.words:
            return different("value_added", group=group, added=added)
        if added and group in ("trip", "cabin") and len(known := _known_members(group, pair)) == 1 and added == known:
            continue
        if added and group in ("period", "basis", "trip", "cabin"):
            return different("value_added", group=group, added=added)
    return None


def assigned(pair: Pair) -> Finding:
    """Values stay with what they belong to."""
    swap = crossed(pair.shown, pair.other)
    return different("swapped", values=list(swap)) if swap else None

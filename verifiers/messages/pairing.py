"""Who gets what: finds values that changed places between two messages (amounts of two orders, from and to, old and new)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages.atoms import Atom
from pivot_envs.verifiers.messages.reading import Reading, canonical, operations_in

_SPLIT = re.compile(r"[.!?](?=\s|$)|\n+|;|, | and | while | whereas | but | or ")
_DIRECTION = re.compile(r"((?:[^\s.!?]{1,40} ){1,7})(to|->|into|instead of)(?=((?: [^\s!?]{1,40}){1,6}))")
_CLASSES = frozenset("economy business green red blue black white large small medium email sms".split())
_ANCHOR_KINDS = frozenset({"id"})
MAX_VALUES = 24


def crossed(shown: Reading, other: Reading) -> tuple[str, str] | None:
    """Return two values of the demonstration whose surroundings are exchanged in the candidate, or None."""
    swap = _roles_crossed(shown, other)
    if swap:
        return swap
    here, there = _contexts(shown), _contexts(other)
    shared = [(a, _find(a, there)) for a in here]
    pairs = [(a, b) for a, b in shared if b is not None][:MAX_VALUES]
    for i, (first, first_there) in enumerate(pairs):
        for second, second_there in pairs[i + 1 :]:
            if first.kind != second.kind and {first.kind, second.kind} - {"number", "money"}:
                continue
            straight = _likeness(here[first], there[first_there]) + _likeness(here[second], there[second_there])
            across = _likeness(here[first], there[second_there]) + _likeness(here[second], there[first_there])
            if across >= straight + 2 and across >= 2 * straight:
                return first.text, second.text
    return None


def _find(atom: Atom, contexts: Mapping[Atom, Mapping[str, float]]) -> Atom | None:
    return next((b for b in contexts if atom.same(b)), None)


def _likeness(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    return sum(min(weight, b[word]) for word, weight in a.items() if word in b)


def _contexts(reading: Reading) -> dict[Atom, dict[str, float]]:
    """Return for each distinct value the words and ids that stand with it, ids weighing most."""
    contexts: dict[Atom, dict[str, float]] = {}
    counts: dict[Atom, int] = {}
    for line in re.split(r"\n+|(?<=[.!?])\s", reading.text):
        listed = _respectively(line, reading.atoms)
        for part in _SPLIT.split(line):
            indices = [int(k) for k in re.findall(r"§(\d+)", part)]
            words = _context_words(part, reading.atoms)
            for index in indices:
                atom = next((a for a in contexts if a.same(reading.atoms[index])), reading.atoms[index])
                counts[atom] = counts.get(atom, 0) + 1
                mine = {w: x for w, x in words.items() if w != _anchor_key(atom)}
                mine.update({_anchor_key(reading.atoms[k]): 3.0 for k in listed.get(index, ())})
                target = contexts.setdefault(atom, {})
                for word, weight in mine.items():
                    target[word] = max(weight, target.get(word, 0.0))
    return {atom: context for atom, context in contexts.items() if counts[atom] == 1}


def _anchor_key(atom: Atom) -> str:
    return f"={atom.values[0]}"


def _context_words(part: str, atoms: list[Atom]) -> dict[str, float]:
    words = {canonical(w): 1.0 for w in re.findall(r"[^\W\d_]{2,30}", re.sub(r"§\d+", " ", part)) if w not in lex.STOP}
    words.update({"op:" + operation: 1.5 for operation, _ in operations_in(part)})
    for key in re.findall(r"§(\d+)", part):
        words[_anchor_key(atoms[int(key)])] = 3.0 if atoms[int(key)].kind in ("id", "date") else 1.0
    return words


def _respectively(line: str, atoms: list[Atom]) -> dict[int, tuple[int, ...]]:
    """Pair `A and B ... x and y` in order, and `A: x, y; B: z` with the id before."""
    indices = [int(k) for k in re.findall(r"§(\d+)", line)]
    anchors = [k for k in indices if atoms[k].kind in _ANCHOR_KINDS]
    values = [k for k in indices if atoms[k].kind not in _ANCHOR_KINDS]
    if len(anchors) < 2 or len(values) < 2:
        return {}
    if len(anchors) == len(values) and (max(anchors) < min(values) or max(values) < min(anchors)):
        return dict(zip(values, ((a,) for a in anchors), strict=True))
    if indices[0] in anchors:
        return {v: (max(a for a in anchors if a < v),) for v in values if any(a < v for a in anchors)}
    return {}


def _directions(reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield (source, target) around each `to`, `->` or `instead of`."""
    for match in _DIRECTION.finditer(reading.text):
        before = [k for k in map(lambda w: _thing(w, reading), match[1].split()) if k]
        after = [k for k in map(lambda w: _thing(w, reading), match[3].split()) if k]
        if before and after:
            pair = (before[-1], after[0])
            if pair[0] == pair[1] and len(before) > 1 and len(after) > 1:
                pair = (before[-2], after[1])
            yield pair[::-1] if match[2] == "instead of" else pair
            if len(before) > 1 and len(after) > 1:
                yield (before[-2], after[0]) if before[-1] == after[-1] else pair


def _thing(word: str, reading: Reading) -> str:
    key = re.search(r"§(\d+)", word)
    if key:
        return _anchor_key(reading.atoms[int(key[1])])
    bare = word.strip(".,:;()!?\"'")
    return bare if bare in reading.names or bare in _CLASSES else ""


def _roles_crossed(shown: Reading, other: Reading) -> tuple[str, str] | None:
    """Return two things of which one went from source to target and the other back."""
    here, there = set(_directions(shown)), set(_directions(other))
    for source, target in sorted(here):
        if source != target and (target, source) in there and (source, target) not in there and (target, source) not in here:
            return source, target
    return None

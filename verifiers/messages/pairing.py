"""Who gets what: values that changed places between two messages (amounts of two orders, from and to, old and new)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from pivot_envs.verifiers.messages import lexicon as lex
from pivot_envs.verifiers.messages import vocabulary
from pivot_envs.verifiers.messages.atoms import Atom
from pivot_envs.verifiers.messages.reading import Reading, canonical, operations_in

_SPLIT = re.compile(r"[.!?](?=\s|$)|\n+|;|, | and | while | whereas | but | or ")
_DIRECTION = re.compile(
    r"((?:[^\s.!?]{1,40} ){1,7})"
    r"(?<!comes )(?<!come )(?<!amounts )(?<!up )(?<!due )(?<!able )(?<!want )(?<!like )(?<!need )(?<!going )(?<!have "
    r")(to|->|into|instead of)(?=((?: [^\s!?]{1,40}){1,6}))"
)
_CLASSES = frozenset("economy business green red blue black white large small medium email sms".split())
_RUN = re.compile(r"§\d+(?:(?: ?,| and|, and) §\d+)+")
MAX_VALUES, MAX_ATOMS = 24, 300


def crossed(shown: Reading, other: Reading) -> tuple[str, str] | None:
    """Return two values of the demonstration whose surroundings are exchanged in the candidate, or None."""
    swap = _roles_crossed(shown, other)
    if swap:
        return swap
    if max(len(shown.atoms), len(other.atoms)) > MAX_ATOMS:
        return None
    here, there = _contexts(shown), _contexts(other)
    shared = [(a, _find(a, there)) for a in here]
    pairs = [(a, b) for a, b in shared if b is not None][:MAX_VALUES]
    for i, (first, first_there) in enumerate(pairs):
        for second, second_there in pairs[i + 1 :]:
            if first.kind != second.kind and {first.kind, second.kind} - {"number", "money"}:
                continue
            a, b = _apart(here[first], here[second], first, second)
            x, y = _apart(there[first_there], there[second_there], first, second)
            straight = _likeness(a, x) + _likeness(b, y)
            there_and_back = (_likeness(a, y), _likeness(b, x))
            across = sum(there_and_back)
            if (across >= straight + 2 and across >= 2 * straight) or (
                min(there_and_back) > 0 and across >= 2 and 2 * across >= straight
            ):
                return first.text, second.text
    return None


def _find(atom: Atom, contexts: Mapping[Atom, Mapping[str, float]]) -> Atom | None:
    return next((b for b in contexts if atom.same(b)), None)


def _apart(
    a: Mapping[str, float], b: Mapping[str, float], first: Atom, second: Atom
) -> tuple[dict[str, float], dict[str, float]]:
    """Keep what tells the two contexts apart; the two values themselves do not."""
    own = {_anchor_key(first), _anchor_key(second)}
    return {w: x for w, x in a.items() if w not in b and w not in own}, {
        w: x for w, x in b.items() if w not in a and w not in own
    }


def _parts(line: str) -> Iterator[str]:
    for part in _SPLIT.split(line):
        if " from " in part or part.startswith("from "):
            yield from re.split(r"(?<!\d) to (?=(?:[a-z]+ ){0,2}§)", part)
        else:
            yield part


def _likeness(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    return sum(min(weight, b[word]) for word, weight in a.items() if word in b)


@lru_cache(maxsize=512)
def _contexts(reading: Reading) -> dict[Atom, dict[str, float]]:
    """Return for each distinct value the words and ids that stand with it, ids weighing most."""
    contexts: dict[Atom, dict[str, float]] = {}
    counts: dict[Atom, int] = {}
    for line in re.split(r"\n+|(?<=[.!?])\s", reading.text):
        listed = _respectively(line, reading.atoms)
        for part in _parts(line):
            for index, words in _context_words(part, reading):
                atom = next((a for a in contexts if a.same(reading.atoms[index])), reading.atoms[index])
                counts[atom] = counts.get(atom, 0) + 1
                mine = {w: x for w, x in words.items() if w != _anchor_key(atom) and not (listed and w.startswith("="))}
                mine.update({_anchor_key(reading.atoms[k]): 3.0 for k in listed.get(index, ())})
                target = contexts.setdefault(atom, {})
                for word, weight in mine.items():
                    target[word] = max(weight, target.get(word, 0.0))
    return {atom: context for atom, context in contexts.items() if counts[atom] == 1}


def _anchor_key(atom: Atom) -> str:
    return f"={atom.values[0]}"


def _context_words(part: str, reading: Reading) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each value's index with the words up to its neighbours, and all other values and names of the part."""
    pieces = re.split(r"§(\d+)", part)
    named = frozenset(m.operation for m in reading.mentions)
    operations = tuple(name for name in lex.OPERATIONS if name in named)
    anchors = {
        _anchor_key(reading.atoms[int(k)]): 3.0 if reading.atoms[int(k)].kind in ("id", "date") else 2.0
        for k in pieces[1::2]
    }
    anchors |= {canonical(w): 3.0 for w in re.findall(r"[^\W\d_]{2,30}", part) if w in reading.names}
    for position in range(1, len(pieces), 2):
        around = _nearest(pieces[position - 1 :: -2]) + " " + _nearest(pieces[position + 1 :: 2])
        words = {canonical(w): 1.0 for w in re.findall(r"[^\W\d_]{2,30}", around) if w not in vocabulary.STOP}
        words |= {"op:" + operation: 1.5 for operation, _ in operations_in(around, operations)}
        yield int(pieces[position]), words | anchors


def _nearest(pieces: list[str]) -> str:
    """The words on one side of a value; those of a range or a pair (`8 to 10`) share theirs."""
    return next(
        (piece for piece in pieces if re.search(r"[a-z]", piece) and piece.strip() not in ("to", "and", "or")), ""
    )


def _respectively(line: str, atoms: list[Atom]) -> dict[int, tuple[int, ...]]:
    """Pair `A and B ... x and y` in order, and `A: x, y; B: z` with the id before."""
    indices = [int(k) for k in re.findall(r"§(\d+)", line)]
    ids = [k for k in indices if atoms[k].kind == "id"]
    anchors = [k for k in ids if atoms[k].shape == atoms[ids[0]].shape]
    values = [k for k in indices if atoms[k].kind != "id"]
    if len(anchors) < 2 or len(values) < 2:
        return {}
    runs = [[int(k) for k in re.findall(r"§(\d+)", run)] for run in _RUN.findall(line)]
    if anchors in runs and values in runs and len(anchors) == len(values):
        return {k: (m,) for a, v in zip(anchors, values, strict=True) for k, m in ((a, v), (v, a))}
    kinds = _kinds_after(indices, anchors, atoms)
    if indices[0] not in anchors and kinds and len(set(kinds)) == 1:  # `On May 25: HAT1 at 8 for $9, HAT2 at 10 for $8`
        values = [v for v in values if v > anchors[0]]
        indices = indices[indices.index(anchors[0]) :]
    if indices[0] in anchors:
        owner = {v: max(a for a in anchors if a < v) for v in values}
        return {v: (a,) for v, a in owner.items()} | {a: tuple(v for v in values if owner[v] == a) for a in anchors}
    return {}


def _kinds_after(indices: list[int], anchors: list[int], atoms: list[Atom]) -> list[tuple[str, ...]]:
    """Return the kinds of the values that follow each anchor, if each is followed by some."""
    bounds = [*anchors[1:], max(indices) + 1]
    kinds = [tuple(atoms[k].kind for k in indices if a < k < end) for a, end in zip(anchors, bounds, strict=True)]
    return kinds if all(kinds) else []


@lru_cache(maxsize=512)
def _ways(reading: Reading) -> frozenset[tuple[str, str]]:
    return frozenset(_directions(reading))


def _directions(reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield (source, target) around each `to`, `->` or `instead of`."""
    for match in _DIRECTION.finditer(reading.text):
        before = [k for word in re.split(r",|;| and | or ", match[1])[-1].split() if (k := _thing(word, reading))][-2:]
        after = [k for word in re.split(r",|;| and | or |:", match[3])[0].split() if (k := _thing(word, reading))]
        after = after[: 1 if match[2] == "instead of" else 2]
        for a in before[-1:] if match[2] == "instead of" else before:
            for b in after:
                if a != b:
                    yield (b, a) if match[2] == "instead of" else (a, b)


def _thing(word: str, reading: Reading) -> str:
    key = re.search(r"§(\d+)", word)
    if key:
        atom = reading.atoms[int(key[1])]
        return str(atom.values[0]).split("/")[1] if atom.kind == "date" else _anchor_key(atom) + atom.unit
    bare = word.strip(".,:;()!?\"'")
    return bare if bare in reading.names or bare in _CLASSES else ""


def _roles_crossed(shown: Reading, other: Reading) -> tuple[str, str] | None:
    """Return two things of which one went from source to target and the other back."""
    here, there = _ways(shown), _ways(other)
    for source, target in sorted(here):
        if (
            source != target
            and (target, source) in there
            and (source, target) not in there
            and (target, source) not in here
        ):
            return source, target
    return None

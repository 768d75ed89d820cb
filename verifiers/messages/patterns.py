"""How the vocabulary is matched: tables of whole words, and a quick test that most texts hold none of them."""

from __future__ import annotations

import re
from functools import lru_cache

A = r"§\d+"
"""A masked atom (number, id, date, time, amount)."""


def any_of(*patterns: str) -> re.Pattern[str]:
    """Return a pattern of whole words or phrases."""
    return re.compile(r"\b(?:" + "|".join(patterns) + r")(?!\w)")


def needles(pattern: str) -> frozenset[str]:
    """Return literals of which a text must hold one to match, or nothing where that cannot be told.

    A substring test costs a fiftieth of a search, and most texts hold no word of most patterns.
    """
    found: set[str] = set()
    for branch in _branches(pattern):
        while branch.startswith(("(?<", "(?!", "(?=", r"\b")):
            branch = branch[2:] if branch.startswith(r"\b") else branch[_group_end(branch) :]
        if branch.startswith("(?:"):
            end = _group_end(branch)
            inner = needles(branch[3 : end - 1]) if branch[end : end + 1] not in ("?", "*", "{") else frozenset()
        else:
            literal = re.match(r"[a-z§ ']*", branch)
            size = literal.end() if literal else 0
            size -= branch[size : size + 1] in ("?", "*", "{")
            inner = frozenset({branch[:size]} if size else ())
        if not inner:
            return frozenset()
        found |= inner
    return frozenset(found)


def _group_end(text: str) -> int:
    depth = 0
    for position, character in enumerate(text):
        if character in "()" and text[position - 1 : position] != "\\":
            depth += 1 if character == "(" else -1
            if depth == 0:
                return position + 1
    return len(text)


def _branches(pattern: str) -> list[str]:
    """Split at the bars outside all groups."""
    branches, depth, start = [], 0, 0
    for position, character in enumerate(pattern):
        if pattern[position - 1 : position] == "\\":
            continue
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            branches.append(pattern[start:position])
            start = position + 1
    return [*branches, pattern[start:]]


@lru_cache(maxsize=2048)
def _needles_of(pattern: re.Pattern[str]) -> tuple[str, ...]:
    return tuple(needles(pattern.pattern))


def holds(pattern: re.Pattern[str], text: str) -> bool:
    """Say whether a pattern of a table matches somewhere, quickly."""
    literals = _needles_of(pattern)
    if not literals:
        return pattern.search(text) is not None
    for literal in literals:  # noqa: SIM110 - a generator costs as much as the tests
        if literal in text:
            return pattern.search(text) is not None
    return False


def table(entries: dict[str, str]) -> dict[str, re.Pattern[str]]:
    """Compile patterns of whole words, by name."""
    return {name: re.compile(rf"(?<!\w)(?:{pattern})(?!\w)") for name, pattern in entries.items()}

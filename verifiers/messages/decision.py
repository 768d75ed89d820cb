"""What every rung of the ladder works with: a pair of readings, what was known before, and a decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pivot_envs.verifiers.messages.atoms import Atom, Pool
from pivot_envs.verifiers.messages.reading import Reading

ASKS = frozenset({"ask_identity", "ask_confirm", "ask_info", "offer_transfer"})


MINOR = frozenset({"apology", "close", "offer_help", "hold", "told"})


@dataclass(frozen=True)
class MessageDecision:
    """Whether two messages do the same for a customer; `equal` is None where rules cannot tell."""

    equal: bool | None
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ground:
    """What was known before the turn."""

    pool: Pool
    policy: Pool
    words: frozenset[str]
    lemmas: frozenset[str]


@dataclass(frozen=True)
class Pair:
    """The demonstrated message, the candidate, and what was known."""

    shown: Reading
    other: Reading
    ground: Ground


Finding = MessageDecision | None


def different(reason: str, **evidence: Any) -> MessageDecision:
    """Return a rejection with small, JSON-able evidence."""
    return MessageDecision(
        False, reason, {k: sorted(v) if isinstance(v, set | frozenset) else v for k, v in evidence.items()}
    )


def denies(reading: Reading) -> bool:
    """Say whether any sentence denies something."""
    return any(s.negated for s in reading.sentences)


def has(reading: Reading, atom: Atom) -> bool:
    """Say whether a message states a fact."""
    return atom in reading.facts


def unique(atoms: Iterator[Atom] | list[Atom]) -> list[Atom]:
    """Return the distinct facts."""
    kept: list[Atom] = []
    seen = Pool(())
    for atom in atoms:
        if atom not in seen:
            seen.add(atom)
            kept.append(atom)
    return kept

"""What every rung of the ladder works with: a pair of readings, what was known before, and a decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pivot_envs.verifiers.messages.atoms import Atom, Pool
from pivot_envs.verifiers.messages.reading import Reading

ASKS = frozenset({"ask_identity", "ask_confirm", "ask_info", "offer_transfer"})


MINOR = frozenset({"apology", "close", "offer_help", "hold", "told"})
REQUESTS = frozenset({"instruct", "ask_info", "ask_identity", "ask_confirm"})
"""Speech acts that a customer's answer shows; a claim made beside the request shows in no answer."""
WORDING = frozenset({"act_missing", "sentence_missing", "open_wording"})
OMISSIONS = frozenset(
    {"fact_missing", "value_missing", "name_missing", "other_step", "not_done", "no_claim", "words_missing"}
)
FORMAL = WORDING | OMISSIONS
"""Reasons that object to form, or to something left unsaid, but see no contradiction."""


@dataclass(frozen=True)
class MessageDecision:
    """Whether two messages do the same for a customer; `equal` is None where rules cannot tell."""

    equal: bool | None
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_formal(self) -> bool:
        """Whether this objects to form, or to something left unsaid, and sees neither contradiction nor surplus."""
        formal = self.equal is None or self.reason in FORMAL or (self.reason == "act_added" and self._asks_only)
        return formal and not {"against", "beside"} & self.evidence.keys()

    @property
    def _asks_only(self) -> bool:
        return set(self.evidence.get("added") or ["unknown"]) <= REQUESTS

    @property
    def leaves_out(self) -> str:
        """What is told: `none` or `some` of the facts, `nothing` of the words; `words` where only some words miss."""
        if "told" in self.evidence:
            return str(self.evidence["told"])
        return "words" if self.reason in WORDING else "some"


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

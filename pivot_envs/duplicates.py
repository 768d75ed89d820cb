"""Splits by task, and prefixes that stand in more than one place: what would let a test set be known beforehand.

Both look at text alone and are meant for before any profiling. Visible is what the roles say: calls and results of
the user are left out, as are reasoning, call ids, case and white space.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pivot_envs.candidates import visible_messages
from pivot_envs.chat import from_message
from pivot_envs.errors import ConfigError, MalformedAction
from pivot_envs.records import Trajectory, canonical_json, content_hash

NEAR = 0.9
"""Jaccard similarity of word shingles from which two prefixes count as nearly equal; ours."""
SHINGLE = 3
HASHES = 64
"""Of MinHash; the similarity it estimates has a standard error of 0.04 at 0.9."""
BANDS = 16
"""Of four hashes each: two prefixes of similarity 0.9 share one with chance 1 - (1 - 0.9^4)^16, over 0.999999."""
WORDS = 20_000
"""Of one message, the first so many are looked at."""
_PRIME = (1 << 61) - 1
_WORD = re.compile(r"\w+")
Signature = NDArray[np.uint64]


@dataclass(frozen=True)
class PrefixReport:
    """How many turns ask the policy the same question as another turn."""

    candidates: int
    duplicates: int
    """Candidates whose visible prefix equals that of another one, in its own trajectory or elsewhere."""
    groups: int
    """Different prefixes among the duplicates."""
    conflicting: int
    """Candidates in groups whose demonstrations differ: at most one of them can be right for a text comparison."""
    near: int
    """Candidates whose prefix nearly equals one of another trajectory (system messages apart), equal ones included."""
    held_out: int
    """Candidates of held-out trajectories."""
    known: int
    """Of these: their prefix stands, equal or nearly so, in a trajectory that is not held out."""


def split(
    trajectories: Sequence[Trajectory], held_out: float = 0.2, seed: int = 0
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Split trajectories into training and held-out ones, in their order, no task on both sides.

    `held_out` is the share of tasks, rounded, at least one task on each side; the default is ours.

    Raises:
        ConfigError: the share is not between 0 and 1, or there are fewer than two tasks.
    """
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out is {held_out!r}; expected a share between 0 and 1, such as 0.2")
    tasks = sorted({task_of(each) for each in trajectories}, key=lambda task: content_hash([seed, task]))
    if len(tasks) < 2:
        raise ConfigError(f"{len(trajectories)} trajectories of {len(tasks)} tasks cannot be split; two are needed")
    chosen = set(tasks[: min(len(tasks) - 1, max(1, round(held_out * len(tasks))))])
    sides: tuple[list[Trajectory], list[Trajectory]] = ([], [])
    for each in trajectories:
        sides[task_of(each) in chosen].append(each)
    return sides


def task_of(trajectory: Trajectory) -> str:
    """Return domain and task; a trajectory without a task is one of its own."""
    return f"{trajectory.domain}/{trajectory.task_id or trajectory.trajectory_id}"


def duplicate_prefixes(
    trajectories: Iterable[Trajectory], held_out: Collection[str] = (), only: Collection[str] | None = None
) -> PrefixReport:
    """Count candidates whose visible prefix another candidate has too.

    Args:
        trajectories: All of them.
        held_out: Ids of the trajectories that are held out.
        only: Candidate ids to look at; default every turn.
    """
    wanted = None if only is None else set(only)
    turns: list[_Turn] = []
    for trajectory in trajectories:
        found = _turns(trajectory, trajectory.trajectory_id in held_out)
        turns += (turn for turn in found if wanted is None or turn.candidate_id in wanted)
    equal: dict[bytes, list[_Turn]] = {}
    for turn in turns:
        equal.setdefault(turn.digest, []).append(turn)
    groups = [group for group in equal.values() if len(group) > 1]
    pairs = _near_pairs(turns)
    near = {i for one, other in pairs for i in (one, other)}
    known = {i for group in groups if any(not turn.held_out for turn in group) for i in _held_out(group)}
    for one, other in pairs:
        if turns[one].held_out != turns[other].held_out:
            known |= set(_held_out([turns[one], turns[other]]))
    return PrefixReport(
        candidates=len(turns),
        duplicates=sum(map(len, groups)),
        groups=len(groups),
        conflicting=sum(len(group) for group in groups if len({turn.demonstration for turn in group}) > 1),
        near=len(near),
        held_out=sum(turn.held_out for turn in turns),
        known=len(known),
    )


def lines(found: PrefixReport) -> list[str]:
    """Return the report as a few lines of text."""
    written = [
        f"{found.duplicates} of {found.candidates} candidates have the prefix of another ({found.groups} different), "
        f"{found.conflicting} beside another demonstration; {found.near} have nearly that of another trajectory"
    ]
    if found.held_out:
        written.append(f"{found.known} of {found.held_out} held-out candidates have a prefix that training has too")
    return written


@dataclass(frozen=True)
class _Turn:
    candidate_id: str
    trajectory_id: str
    held_out: bool
    digest: bytes
    """Of the visible prefix."""
    demonstration: str
    signature: Signature | None
    """MinHash of the words of the prefix, system messages apart; None where it has none."""


def _held_out(turns: Iterable[_Turn]) -> list[str]:
    return [turn.candidate_id for turn in turns if turn.held_out]


def _turns(trajectory: Trajectory, held_out: bool) -> Iterator[_Turn]:
    """Yield the turns of a trajectory in one pass: digest and signature of a prefix grow with it."""
    running = hashlib.sha256(f"{trajectory.domain}\0".encode("utf-8", "surrogatepass"))
    signature: Signature | None = None
    turn = 0
    for message in visible_messages(trajectory.messages):
        key = _visible_key(message)
        if message.get("role") == "assistant":
            candidate_id = f"{trajectory.domain}/{trajectory.trajectory_id}/{turn}"
            yield _Turn(candidate_id, trajectory.trajectory_id, held_out, running.digest(), key, signature)
            turn += 1
        running.update(key.encode("utf-8", "surrogatepass") + b"\0")
        if message.get("role") != "system":
            added = _signature(key)
            signature = added if signature is None or added is None else np.minimum(signature, added)


def _visible_key(message: Mapping[str, Any]) -> str:
    """Identity of what a message shows: role, text, calls without ids; case and white space do not count."""
    role, text, calls = str(message.get("role")), message.get("content"), message.get("tool_calls")
    if role == "assistant":
        with contextlib.suppress(MalformedAction):
            action = from_message(message)
            text, calls = action.text, [call.key for call in action.calls]
    if isinstance(text, str):
        text = " ".join(text.casefold().split())
    return canonical_json([role, text, calls if role == "assistant" else None])


def _coefficients() -> tuple[Signature, Signature]:
    drawn = np.random.default_rng(0)
    return drawn.integers(1, 2**32, HASHES, dtype=np.uint64), drawn.integers(0, 2**32, HASHES, dtype=np.uint64)


_A, _B = _coefficients()


def _signature(text: str) -> Signature | None:
    """Return the MinHash of the word shingles of one message; that of a prefix is the minimum over its messages."""
    words = [found.group() for found in islice(_WORD.finditer(text), WORDS)]
    if not words:
        return None
    shingles = {" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}
    hashed = np.array([_hash32(each) for each in shingles], dtype=np.uint64)
    mixed: Signature = ((hashed[:, None] * _A + _B) % np.uint64(_PRIME)).min(axis=0)
    return mixed


def _hash32(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).digest(), "big")


def _near_pairs(turns: Sequence[_Turn]) -> list[tuple[int, int]]:
    """Return pairs of places with nearly equal prefixes, of two trajectories: for a turn the first of either side."""
    buckets: dict[tuple[int, bytes], list[int]] = {}
    pairs = []
    rows = HASHES // BANDS
    for place, turn in enumerate(turns):
        if turn.signature is None:
            continue
        keys = [(band, turn.signature[band * rows : (band + 1) * rows].tobytes()) for band in range(BANDS)]
        sides: set[bool] = set()
        for other in (i for key in keys for i in buckets.get(key, ())):
            met = turns[other]
            if met.held_out in sides or met.trajectory_id == turn.trajectory_id:
                continue
            if float(np.mean(met.signature == turn.signature)) >= NEAR:
                sides.add(met.held_out)
                pairs.append((other, place))
            if len(sides) == 2:
                break
        for key in keys:
            buckets.setdefault(key, []).append(place)
    return pairs

"""String baselines: verifiers that compare calls as text and execute nothing; an executed verifier must beat them.

`ExactVerifier`, `ToolNameVerifier` and `WordOverlapVerifier` implement the Verifier protocol; the functions beside them
compare two actions directly, for audits. `paper_rule` picks the rule a family had in the paper. None of them looks at
the state, so none knows what a call does; each class lists what it gets wrong.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pivot_envs.contracts import Domain, State, Verifier
from pivot_envs.errors import ConfigError, suggest
from pivot_envs.records import Action, Candidate, Cost, Level, ToolCall, Verdict
from pivot_envs.verifiers.effect import accepted, failed, rejected

logger = logging.getLogger(__name__)

THRESHOLDS: Mapping[str, float] = {"tau2": 0.1, "browse": 0.3, "swe": 0.0}
"""Word-overlap thresholds the released configurations use: conversational and function calling, search, SWE."""
FLOAT_TOLERANCE = 1e-6
"""Absolute, as released: 1e12 and 1e12 + 0.5 differ."""


def exact_match(demonstrated: Action, candidate: Action) -> bool:
    """Same calls in the same order (arguments equal as JSON, 2 equal to 2.0, true not equal to 1), or the same text."""
    if _unlike(demonstrated, candidate):
        return False
    if not demonstrated.calls:
        return demonstrated.text.strip() == candidate.text.strip()
    return len(demonstrated.calls) == len(candidate.calls) and all(
        a.name == b.name and a.requestor == b.requestor and _guarded(_json_equal, a.arguments, b.arguments)
        for a, b in zip(demonstrated.calls, candidate.calls, strict=True)
    )


def tool_name_match(demonstrated: Action, candidate: Action) -> bool:
    """Same tool names in the same order; a message matches any message."""
    if _unlike(demonstrated, candidate):
        return False
    return [call.name for call in demonstrated.calls] == [call.name for call in candidate.calls]


def word_overlap_match(demonstrated: Action, candidate: Action, threshold: float) -> bool:
    """Each demonstrated call is matched by a call of its own in the candidate; surplus calls are free.

    A message matches any message. Calls match if names are equal and arguments agree: values of the demonstrated
    type, equal key sets, lists in order, floats within 1e-6, strings of two or more words by half a Dice coefficient
    of their words at `threshold`, all else exactly.
    """
    if _unlike(demonstrated, candidate):
        return False
    if len(candidate.calls) < len(demonstrated.calls):
        return False

    def fits(expected: ToolCall, actual: ToolCall) -> bool:
        def compare(a: Any, b: Any) -> bool:
            return _overlap_equal(a, b, threshold)

        return expected.name == actual.name and _guarded(compare, expected.arguments, actual.arguments)

    return _assignable(demonstrated.calls, candidate.calls, fits)


def _unlike(demonstrated: Action, candidate: Action) -> bool:
    """One calls and the other talks, or the candidate does nothing."""
    return candidate.is_empty or bool(demonstrated.calls) != bool(candidate.calls)


def _guarded(compare: Callable[[Any, Any], bool], expected: Any, actual: Any) -> bool:
    """Compare hostile values: what is nested too deep to walk is equal to nothing but itself."""
    try:
        return bool(expected is actual or compare(expected, actual))
    except RecursionError:
        return False


def _json_equal(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return bool(a == b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_json_equal(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_json_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(type(a) is type(b) and a == b)


def _overlap_equal(expected: Any, actual: Any, threshold: float) -> bool:
    if isinstance(expected, Mapping):
        return (
            isinstance(actual, Mapping)
            and expected.keys() == actual.keys()
            and all(_overlap_equal(value, actual[key], threshold) for key, value in expected.items())
        )
    if not isinstance(actual, type(expected)):
        return False
    if isinstance(expected, list | tuple):
        return len(expected) == len(actual) and all(
            _overlap_equal(x, y, threshold) for x, y in zip(expected, actual, strict=True)
        )
    if isinstance(expected, float):
        return bool(abs(expected - actual) <= FLOAT_TOLERANCE)
    if isinstance(expected, str):
        return _words_overlap(expected, actual, threshold)
    return bool(expected == actual)


def _words_overlap(expected: str, actual: str, threshold: float) -> bool:
    """Half a Dice coefficient of lower-cased bags of words, at most 0.5; fewer than two words on a side: exact."""
    ours, theirs = expected.split(), actual.split()
    if len(ours) < 2 or len(theirs) < 2:
        return expected == actual
    shared = Counter(w.lower() for w in ours) & Counter(w.lower() for w in theirs)
    return sum(shared.values()) / (len(ours) + len(theirs)) >= threshold


def _assignable(
    expected: Sequence[ToolCall], actual: Sequence[ToolCall], fits: Callable[[ToolCall, ToolCall], bool]
) -> bool:
    """Whether every expected call can have an actual one of its own (augmenting paths, at most 64 calls a side)."""
    options = [[j for j, other in enumerate(actual) if fits(call, other)] for call in expected]
    owner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in options[i]:
            if j not in tried:
                tried.add(j)
                if j not in owner or place(owner[j], tried):
                    owner[j] = i
                    return True
        return False

    return _guarded(lambda _a, _b: all(place(i, set()) for i in range(len(options))), 0, 1)


class _TextVerifier:
    """What the baselines share: the demonstration is read once, call-or-talk first, then the rule."""

    name: str
    version = "1"
    level: Level = "rules"

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.config: Mapping[str, Any] = {}

    def matches(self, demonstrated: Action, candidate: Action) -> bool:
        """Say whether the rule takes the candidate for the demonstrated action."""
        raise NotImplementedError

    def verify(self, candidate: Candidate, state: State, action: Action) -> Verdict:
        """Judge one action; `state` is not looked at."""
        return self.verify_group(candidate, state, [action])[0]

    def verify_group(self, candidate: Candidate, state: State, actions: Sequence[Action]) -> list[Verdict]:
        """Judge many actions against one demonstration."""
        try:
            demonstrated = self.domain.demonstration(candidate)
        except Exception as error:  # recorded: a failure of ours is no reward
            logger.exception("%s: the demonstration could not be read", candidate.candidate_id)
            return [failed("parse", f"demonstration not readable: {error}") for _ in actions]
        return [self._judge(demonstrated, action) for action in actions]

    def _judge(self, demonstrated: Action, action: Action) -> Verdict:
        start = time.perf_counter()
        if action.is_empty:
            verdict = rejected("canonical", "empty_action")
        elif bool(demonstrated.calls) != bool(action.calls):
            verdict = rejected("canonical", "call_expected" if demonstrated.calls else "message_expected")
        elif self.matches(demonstrated, action):
            verdict = accepted(self.level, f"{self.name}_match")
        else:
            verdict = rejected(self.level, f"{self.name}_mismatch")
        return replace(verdict, cost=Cost(seconds=time.perf_counter() - start, calls=len(action.calls)))


class ExactVerifier(_TextVerifier):
    """Accepts the demonstrated calls, key order and number spelling apart, or the demonstrated text.

    False accepts: none in text; a call equal in text is equal in effect unless the world is noisy.
    False rejects: everything else with the same effect: another lookup route, permuted lists, a default made explicit,
    letter case of e-mails, an added harmless read, any rewording of a message (936 of 1,219 equal tau2 mutants).
    """

    name = "exact"
    level: Level = "canonical"

    def matches(self, demonstrated: Action, candidate: Action) -> bool:
        """See `exact_match`."""
        return exact_match(demonstrated, candidate)


class ToolNameVerifier(_TextVerifier):
    """Accepts any call of the demonstrated tools in the demonstrated order, and any message for a message.

    False accepts: any arguments at all (`ls -la src` for `rm -rf /`, a refund to another account, all 39 different
    shell pairs); empty arguments; nonsense messages.
    False rejects: another tool of the same effect, reads in another order, a surplus harmless call.
    """

    name = "tool_name"

    def matches(self, demonstrated: Action, candidate: Action) -> bool:
        """See `tool_name_match`."""
        return tool_name_match(demonstrated, candidate)


class WordOverlapVerifier(_TextVerifier):
    """The released comparator's rule, with surplus calls free as in its current version.

    It differs in two points: an empty action is rejected (there an empty message counts as a message), and a value too
    large or too deep to handle is unequal (there it crashes). A demonstrated batch needs a call of its own for each of
    its calls.

    False accepts: surplus calls of any kind (the demonstration + `delete_account`, 50 sprayed calls); multi-word text
    that shares a few words (`do not cancel` for `cancel`, another house number, from and to exchanged); true for 1;
    any message, nonsense included; a call by the wrong party (945 of 3,694 different tau2 mutants). At threshold 0.0
    any two texts of two or more words are equal, while single words still must match.
    False rejects: 5 for 5.0, a default made explicit, null left out, reordered id lists, `paris` for `Paris`, `"3"`
    for 3, NFC for NFD, another tool of the same effect (189 of 1,219 equal tau2 mutants).
    """

    name = "word_overlap"

    def __init__(self, domain: Domain, threshold: float = THRESHOLDS["tau2"]) -> None:
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0.0 <= threshold <= 0.5:
            raise ConfigError(
                f"word-overlap threshold is {threshold!r}; it must lie in 0.0 to 0.5, because identical text of two or "
                f"more words scores exactly 0.5. Released values: {dict(THRESHOLDS)}"
            )
        super().__init__(domain)
        self.threshold = float(threshold)
        self.config = {"threshold": self.threshold}

    def matches(self, demonstrated: Action, candidate: Action) -> bool:
        """See `word_overlap_match`."""
        return word_overlap_match(demonstrated, candidate, self.threshold)


def paper_rule(family: str, domain: Domain) -> Verifier:
    """Return the verifier the paper gave a family, as far as it compares text only.

    tau2: call comparison with word overlap, call-or-talk; swe: tool name; browse: word overlap at its own threshold.

    Raises:
        ConfigError: the family is unknown, or its rule needs more than text and comes with that domain.
    """
    if family in ("tau2", "browse"):
        return WordOverlapVerifier(domain, THRESHOLDS[family])
    if family == "swe":
        return ToolNameVerifier(domain)
    if family == "terminal":
        raise ConfigError(
            'verifier="paper" for family "terminal" (schema, similarity, judge) comes with that domain; '
            'use verifier="effect", "exact" or "tool_name"'
        )
    known = ("tau2", "terminal", "swe", "browse")
    raise ConfigError(f"no paper rule for family {family!r}; known: {', '.join(known)}.{suggest(str(family), known)}")

"""When two actions at a service desk are equal: the rules of the reference (tau2, 5.2), executed effects first.

Known false accepts: an action equal by coincidence in this state (a no-op write, two entities with equal answers)
where the subject guard below cannot tell; free-text arguments that tools do not store (reasons, summaries).
Known false rejects: a demonstration that fails is matched only by itself; free text written to the database
("12 Elm St." for "12 Elm St") differs, because the record differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pivot_envs.contracts import Side
from pivot_envs.domains.tau2.canonical import call_key, canonical_value, facts_of
from pivot_envs.domains.tau2.helpdesk.glossary import GLOSSARY
from pivot_envs.domains.tau2.state import spec_of
from pivot_envs.domains.tau2.world import ANSWERS, HEARD, Limits, World
from pivot_envs.records import Candidate, Difference, Level, Observation, ToolCall
from pivot_envs.verifiers.messages import MessageDecision, judge_message

_EVIDENCE_PATHS = 5
_EVIDENCE_FACTS = 8


def compare_calls(world: World, limits: Limits, demonstrated: Side, other: Side) -> Difference:
    """Compare two batches of calls executed from the same state."""
    shown, tried = demonstrated.action.calls, other.action.calls
    # The key folds white space and execution does not: `get_order_details("#W1 ")` finds no order.
    same_ending = demonstrated.effect.ended == other.effect.ended
    if same_ending and len(shown) == len(tried) and _keys(world, shown) == _keys(world, tried):
        return Difference(True, "canonical", "same_calls")
    return (
        _forbidden(world, shown, tried)
        or _failures(world, limits, demonstrated, other)
        or _surplus(world, limits, demonstrated, other)
        or _state(demonstrated, other)
        or _readings(world, demonstrated, other)
        or Difference(
            True, "execution", "same_effect", {"changed": sorted(demonstrated.effect.delta)[:_EVIDENCE_PATHS]}
        )
    )


def _keys(world: World, calls: Sequence[ToolCall]) -> list[str]:
    return [call_key(call, spec_of(world, call)) for call in calls]


def _different(level: Level, reason: str, **evidence: Any) -> Difference:
    return Difference(False, level, reason, evidence)


def _forbidden(world: World, shown: Sequence[ToolCall], tried: Sequence[ToolCall]) -> Difference | None:
    """Rules 1 and 7: unknown tools, calls by the wrong party, and the calls that end a conversation."""
    parties = {call.requestor for call in shown}
    for call in tried:
        if call.requestor not in parties:
            return _different("canonical", "wrong_requestor", tool=call.name, requestor=call.requestor)
        if spec_of(world, call) is None:
            reason = "wrong_requestor" if call.name in world.tool_specs else "unknown_tool"
            return _different("canonical", reason, tool=call.name[:100], requestor=call.requestor)
    if _terminal(world, shown) != _terminal(world, tried):
        return _different("canonical", "ends_conversation", expected=sorted(_terminal(world, shown)))
    if _behind_end(world, tried) > _behind_end(world, shown):
        return _different("canonical", "calls_behind_the_end", tools=[call.name[:100] for call in tried])
    return None


def _behind_end(world: World, calls: Sequence[ToolCall]) -> int:
    """Return how many calls stand behind one that ends the conversation."""
    ends = [i for i, call in enumerate(calls) if _terminal(world, [call])]
    return len(calls) - 1 - ends[0] if ends else 0


def _terminal(world: World, calls: Iterable[ToolCall]) -> Counter[str]:
    return Counter(call.name for call in calls if (spec := spec_of(world, call)) and spec.terminal)


def _failures(world: World, limits: Limits, demonstrated: Side, other: Side) -> Difference | None:
    """Rules 3 and 4: what fails, or shows and changes nothing, is matched only by itself."""
    effect = demonstrated.effect
    if effect.ended != "ok":
        return _different("execution", "demonstration_fails", observed=_first_failure(effect.observations))
    ends = bool(_terminal(world, demonstrated.action.calls))
    if not effect.delta and not ends and not any(facts_of(o.text) for o in effect.observations):
        return _different("execution", "demonstration_shows_nothing")
    for call, observation in zip(other.action.calls, other.effect.observations, strict=True):
        forgiven = limits.allow_failed_reads and _kind(world, call) == "read"
        if observation.failed and not forgiven:
            return _different("execution", "call_fails", tool=call.name, observed=observation.text[:200])
    return None


def _first_failure(observations: Iterable[Observation]) -> str:
    return next((o.text[:200] for o in observations if o.failed), "")


def _kind(world: World, call: ToolCall) -> str:
    spec = spec_of(world, call)
    return spec.kind if spec else "write"


def _surplus(world: World, limits: Limits, demonstrated: Side, other: Side) -> Difference | None:
    """Rules 5 and 6: a few harmless reads beside the right calls are prudent, more is dumping, and writes never are."""
    shown, tried = demonstrated.action.calls, other.action.calls
    if len(tried) - len(shown) > limits.max_surplus_reads:
        return _different("execution", "surplus_calls", expected=len(shown), got=len(tried))
    writes_shown = sum(_kind(world, call) == "write" for call in shown)
    writes_tried = [call.name for call in tried if _kind(world, call) == "write"]
    if len(writes_tried) > writes_shown:
        return _different("execution", "surplus_write", tools=writes_tried[:_EVIDENCE_PATHS], expected=writes_shown)
    size_shown, size_tried = _size(demonstrated), _size(other)
    if size_tried > max(limits.max_reading_ratio * size_shown, limits.reading_floor):
        return _different("execution", "reads_too_much", expected=size_shown, got=size_tried)
    return None


def _size(side: Side) -> int:
    return sum(len(o.text) for o in side.effect.observations)


def _state(demonstrated: Side, other: Side) -> Difference | None:
    """Rule 5: the canonical changes of all parties are equal."""
    ours, theirs = demonstrated.effect.delta, other.effect.delta
    if ours == theirs:
        return None
    paths = [path for path in sorted({*ours, *theirs}) if ours.get(path, "?") != theirs.get(path, "?")]
    evidence = {
        path: {"demonstrated": ours.get(path), "candidate": theirs.get(path)} for path in paths[:_EVIDENCE_PATHS]
    }
    return _different("execution", "state_differs", changes=evidence)


def _readings(world: World, demonstrated: Side, other: Side) -> Difference | None:
    """Rule 6: what the demonstrated reads showed is shown, of the same subject."""
    everything = not demonstrated.effect.delta
    for call, observation in zip(demonstrated.action.calls, demonstrated.effect.observations, strict=True):
        spec = spec_of(world, call)
        if spec is None or spec.terminal or not (everything or spec.kind == "read"):
            continue
        missing = _missing(observation.text, other.effect.observations)
        if missing:
            return _different("execution", "facts_missing", tool=call.name, missing=missing[:_EVIDENCE_FACTS])
        if spec.kind != "read" or _names_subject(world, call, observation):
            continue
        if _subject_key(world, call) not in {_subject_key(world, other_call) for other_call in other.action.calls}:
            return _different("execution", "other_subject", tool=call.name, arguments=dict(call.arguments))
    return None


def _missing(shown: str, observations: Sequence[Observation]) -> list[list[Any]]:
    """Return the facts of one observation that no single other observation shows often enough."""
    if any(o.text == shown for o in observations):
        return []
    bags = [facts_of(o.text) for o in observations]
    return [list(f) for f, count in facts_of(shown).items() if all(bag[f] < count for bag in bags)]


def _names_subject(world: World, call: ToolCall, observation: Observation) -> bool:
    """Whether an observation says what it is about. If not, equal text may speak of another thing: `available`."""
    values = {str(value).casefold() for _, value in facts_of(observation.text)}
    arguments = {str(canonical_value(value)).casefold() for value in call.arguments.values()}
    if values & arguments:
        return True
    return any(isinstance(value, str) and world.is_record_id(value) for _, value in facts_of(observation.text))


def _subject_key(world: World, call: ToolCall) -> str:
    return call_key(call, spec_of(world, call)).casefold()


def compare_texts(policy: str, candidate: Candidate, demonstrated: Side, other: Side) -> Difference:
    """Compare two messages: by what the scripted customer makes of them where there is one, and by the rules."""
    reacted = "reaction" in demonstrated.effect.details
    if reacted:
        difference = _reactions(demonstrated, other)
        if difference is not None:
            return difference
    decision = judge_message(
        demonstrated.action.text,
        other.action.text,
        facts=facts_before(candidate),
        last_user=last_user_text(candidate),
        policy=policy,
        world=GLOSSARY if reacted else None,
    )
    reaction = demonstrated.effect.details["reaction"] if reacted else ""
    same = reacted and reaction == other.effect.details["reaction"]
    if same and decision.equal is not True and _proven(reaction, decision, other.action.text):
        return Difference(True, "execution", "same_reaction", {"reaction": reaction})
    return Difference(decision.equal, "rules", decision.reason, decision.evidence)


def _proven(reaction: str, objection: MessageDecision, text: str) -> bool:
    """Whether an equal reaction outweighs what the rules object to: it never does where they see a contradiction.

    Nor where facts were demonstrated and none is told, unless an answer shows that the question was about the same.
    """
    if not objection.is_formal:
        return False
    kinds = {kind.partition(":")[0] for kind in reaction.split("+")}
    if not kinds <= ANSWERS:
        return not kinds & HEARD and objection.leaves_out == "words"
    topic = reaction.partition(":")[2].partition("=")[0]
    return objection.leaves_out != "none" or (kinds == {"chooses"} and topic in text.lower())


def _reactions(demonstrated: Side, other: Side) -> Difference | None:
    ours, theirs = demonstrated.effect.details, other.effect.details
    if ours["reaction"] != theirs.get("reaction") and not _goes_on(ours["reaction"], str(theirs.get("reaction"))):
        return _different("execution", "reaction_differs", expected=ours["reaction"], got=theirs.get("reaction"))
    steps, others = ([[c["name"], c["arguments"]] for c in side["calls"]] for side in (ours, theirs))
    if steps != others:
        return _different("execution", "device_steps_differ", expected=steps, got=others)
    return _state(demonstrated, other)


def _goes_on(reaction: str, other: str) -> bool:
    """Whether an offer of further help was answered beside news that would have been taken with thanks.

    The answer shows nothing of the news, so the rules alone judge it.
    """
    return reaction.partition(":")[0] in _TAKEN and other.partition(":")[0] in _FURTHER


_TAKEN, _FURTHER = frozenset({"acknowledges", "satisfied"}), frozenset({"next_need", "nothing_else"})


def facts_before(candidate: Candidate) -> list[str]:
    """Return the texts that what is said at this turn can stem from: tool results and user messages before it."""
    return [str(m.get("content") or "") for m in candidate.prefix if m.get("role") in ("tool", "user")]


def last_user_text(candidate: Candidate) -> str:
    """Return the last thing the customer said before the turn."""
    said = (m.get("content") for m in reversed(candidate.prefix) if m.get("role") == "user" and m.get("content"))
    text = next(said, "")
    return text if isinstance(text, str) else str(text)

"""What an agent's message does: speech acts read from free English, before any customer reacts to them.

`understand(text)` returns acts in textual order. It knows the words of this desk and router (`steps.py`, `talk.py`);
it looks at no state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pivot_envs.domains.tau2.helpdesk.acts import Act
from pivot_envs.domains.tau2.helpdesk.clauses import MAX_TEXT, Clause, clauses, normalise, sentences
from pivot_envs.domains.tau2.helpdesk.steps import (
    NAMED_STEPS,
    REPORT,
    TELL_ME,
    TRY_THAT,
    Scope,
    read_condition,
    read_prerequisites,
    read_steps,
    resolve_pronouns,
    step_values,
)
from pivot_envs.domains.tau2.helpdesk.talk import read_talk


def understand(text: str) -> tuple[Act, ...]:
    """Return the acts of an agent's message in textual order, without repeats. Empty if nothing makes sense."""
    return _understand(text[:MAX_TEXT])


@lru_cache(maxsize=4096)
def _understand(text: str) -> tuple[Act, ...]:
    plain = normalise(text)
    acts: list[Act] = []
    before = ""
    for sentence, question in sentences(plain):
        for act in _sentence(sentence, question, before, acts):
            if act not in acts:
                acts.append(act)
        before = f"{before} {sentence}"[-600:]
    return _settle(acts)


def _settle(acts: list[Act]) -> tuple[Act, ...]:
    """Drop what another act of the message makes pointless."""
    # Thanks for the call open as many conversations as they end.
    if any(act.is_demanding and act != Act("close", "thanks") or act.kind in ("greet", "wait") for act in acts):
        acts = [act for act in acts if act != Act("close", "thanks")]
    kinds = {act.kind for act in acts}
    if {"close", "ask_more"} <= kinds:  # `Anything else? If not, goodbye.`
        acts = [act if act.kind != "close" else Act("close", "asked") for act in acts if act.kind != "ask_more"]
    if "ask_more" in kinds or "ask_identity" in kinds:
        acts = [act for act in acts if act.kind != "ask_need"]
    choices = {act.topic for act in acts if act.kind == "ask_choice"}
    if "slot" in choices or "plan" in choices:  # "which suits you?" after an offer is one question, not two
        acts = [
            act
            for act in acts
            if not (act.kind == "ask_yes" and act.topic in ("", "schedule_visit", "move_visit", "change_plan"))
        ]
    named = [act for act in acts if act.kind == "ask_yes" and act.topic]
    if named:
        acts = [act for act in acts if not (act.kind == "ask_yes" and not act.topic)]
    topics: set[str] = set()
    settled = []
    for act in acts:  # one question for one operation, however often it is repeated
        if act.kind == "ask_yes":
            if act.topic in topics:
                continue
            topics.add(act.topic)
        settled.append(act)
    return tuple(settled)


def _sentence(sentence: str, question: bool, before: str, acts: list[Act]) -> Iterator[Act]:
    """Yield the acts of one sentence: router steps clause by clause, everything else on the whole."""
    found: list[Act] = []
    first: list[Act] = []
    scope = Scope()
    pieces = clauses(resolve_pronouns(sentence, before), question)
    for clause in pieces:
        scope.enter(clause)
        if clause.subordinate in ("if", "unless", "in case", "should the", "when"):
            condition = "" if re.search(r"^if (?:not|so)\b", clause.text) else read_condition(clause)
            scope.condition = scope.condition or condition
            if found and found[-1].kind == "step" and condition and clause is pieces[-1]:
                found[-1] = Act("step", found[-1].topic, found[-1].slots, condition)
            continue
        if clause.subordinate in ("after", "once", "as soon as"):
            first += read_prerequisites(clause)
            continue
        if clause.subordinate == "before" and clause.text.startswith("before that "):
            clause = Clause(clause.text.removeprefix("before that ").strip(), clause.question)
            first += read_steps(clause, scope)
            continue
        if clause.subordinate:
            continue
        result = list(read_steps(clause, scope))
        scope.leave(clause, result)
        for act in result:
            done = any(a.kind == "step" and a.topic != "check_lights" for a in [*acts, *found])
            if not (act.slot("implicit") and done and REPORT.search(clause.text)):
                found.append(act)
    found = [Act(a.kind, a.topic, tuple(s for s in a.slots if s[0] != "implicit"), a.condition) for a in found]
    if not found and not scope.negated and TRY_THAT.search(sentence):
        found += [
            Act("step", tool, slots)
            for tool, name in NAMED_STEPS
            if name.search(f"{before} {sentence}")
            for slots in step_values(tool, before)
        ][:1]
    if any(act.kind == "step" for act in found) or (first and TELL_ME.search(pieces[0].text)):
        named = {(act.topic, act.slots) for act in [*acts, *found]}
        yield from (act for act in first if (act.topic, act.slots) not in named)
    yield from found
    yield from read_talk(sentence, question, before, bool(found))

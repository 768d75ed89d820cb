"""How a whole conversation is judged: assertions on the records, facts told to the customer, policy breaches listed.

Records that no assertion names must stand as they stood at the start. Breaches are reported, not scored. A fact is told
only by a message that does not hedge: one with many numbers, or with a number from nowhere, tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pivot_envs.domains.tau2.helpdesk.customer import tells
from pivot_envs.domains.tau2.helpdesk.data import PLANS, SPEEDS, TODAY
from pivot_envs.domains.tau2.helpdesk.session import HelpdeskSession
from pivot_envs.domains.tau2.helpdesk.speech import understand
from pivot_envs.domains.tau2.helpdesk.tools import AGENT_TOOLS
from pivot_envs.domains.tau2.helpdesk.transcript import called
from pivot_envs.records import Message, Outcome, Task

MOST_NUMBERS = 8
"""Distinct numbers of a message that tells something; the demonstrations' have at most 5."""
KNOWN_NUMBERS = frozenset(map(str, (*PLANS.values(), *SPEEDS.values()))) | frozenset(
    digits.lstrip("0") for digits in re.findall(r"\d+", f"{TODAY} 1 20")
)
"""Numbers that the agent's rules name, or plans have: prices, speeds, today, and the bounds of a credit."""


def judge(session: HelpdeskSession, start: HelpdeskSession, task: Task, messages: Sequence[Message]) -> Outcome:
    """Judge an episode that ended in `session` and began in `start`."""
    before, after = start.difference_from_start(), session.difference_from_start()
    wanted: Mapping[str, Mapping[str, Any]] = _merged(task.data["assertions"])
    unmet = [path for path, fields in wanted.items() if _record(session, path) != _expected(start, path, fields)]
    surplus = [p for p in sorted({*before, *after}) if p not in wanted and before.get(p) != after.get(p)]
    said = list(_unhedged(messages))
    untold = [fact for fact in task.data["facts"] if not any(tells(text, fact) for text in said)]
    passed = not (unmet or surplus or untold)
    details = {"unmet": unmet, "surplus": surplus, "untold": untold, "breaches": breaches(messages)}
    return Outcome(1.0 if passed else 0.0, passed, details)


def _unhedged(messages: Sequence[Message]) -> Iterator[str]:
    """Yield the agent's texts that state few numbers, all of them from its rules, a tool or the customer."""
    known = set(KNOWN_NUMBERS)
    for message in messages:
        content = message.get("content")
        text = content if isinstance(content, str) else ""
        numbers = {digits.lstrip("0") for digits in re.findall(r"\d+", text)}
        if message.get("role") != "assistant":
            known |= numbers
        elif len(numbers) <= MOST_NUMBERS and numbers <= known:
            yield text


def _merged(assertions: Sequence[Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Join the fields of one record; needs that come later win."""
    merged: dict[str, dict[str, Any]] = {}
    for path, fields in assertions:
        merged.setdefault(path, {}).update(fields)
    return merged


def _record(session: HelpdeskSession, path: str) -> Any:
    table, _, key = path.partition("/")
    return session.tables[table].peek(key)


def _expected(start: HelpdeskSession, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**(_record(start, path) or {}), **fields}


def breaches(messages: Sequence[Message]) -> list[str]:
    """Return the rules of the policy that the messages break, as far as the order of calls and words shows it."""
    found: list[str] = []
    identified = asked = agreed = False
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        text = content if isinstance(content, str) else ""
        if role == "tool":
            name = names.get(str(message.get("tool_call_id")), "")
            identified = identified or name.startswith("find_customer") and '"customer_id"' in text
        elif role == "user":
            agreed = agreed or asked and text.lower().startswith("yes")
        elif role == "assistant":
            if text.strip():
                agreed, asked = False, any(act.kind == "ask_yes" for act in understand(text))
            names.update(called(message))
            found += _broken(index, [name for _, name in called(message)], identified, agreed)
    return found


def _broken(index: int, names: Sequence[str], identified: bool, agreed: bool) -> list[str]:
    found: list[str] = []
    for name in names:
        spec = AGENT_TOOLS.get(name)
        if spec is None or spec.terminal or name.startswith("find_customer"):
            continue
        if not identified:
            found.append(f"rule 1: {name} at message {index} before the customer was identified")
        if spec.kind == "write" and not agreed:
            found.append(f"rule 2: {name} at message {index} without a yes")
    return found

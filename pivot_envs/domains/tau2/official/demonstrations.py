"""Scripted demonstrations of official tasks: the reference actions, executed for real, with a templated customer.

The customer states the task's own scenario text and confirms; the agent instructs the customer in words before each
device action of the customer's. The result is a valid trajectory of every reference action, not a natural dialogue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pivot_envs.records import InitialState, Message, Task, ToolCall, Trajectory, content_hash

if TYPE_CHECKING:
    from pivot_envs.domains.tau2.official.world import OfficialWorld


def reference_actions(task: Task) -> list[ToolCall]:
    """Return the task's reference actions (tau2 calls them gold actions)."""
    criteria = task.data.get("evaluation_criteria") or {}
    return [
        ToolCall(a["name"], dict(a.get("arguments") or {}), f"call_{n}", a.get("requestor") or "assistant")
        for n, a in enumerate(criteria.get("actions") or [])
    ]


def demonstrate(world: OfficialWorld, task: Task, seed: int) -> Trajectory:
    """Record the task. `seed` is part of the id only: there is one script."""
    session = world.open(task)
    messages: list[Message] = [{"role": "user", "content": _opening(task)}]
    for call in reference_actions(task):
        if call.requestor == "user":
            messages.append({"role": "assistant", "content": _instruction(world, call)})
        observation = session.call(call.name, call.arguments, call.requestor)
        messages.append(_call_message(call))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": observation.text})
        if call.requestor == "user":
            messages.append({"role": "user", "content": f"Done. It says: {observation.text[:300]}"})
    messages.append({"role": "assistant", "content": _closing(task)})
    messages.append({"role": "user", "content": "Thank you, that is all. ###STOP###"})
    ref = InitialState("task", task.task_id, dict(world.fingerprint))
    return Trajectory(
        trajectory_id=f"{world.name}-{_file_safe(task.task_id)}-scripted-{seed}",
        domain=world.name,
        task_id=task.task_id,
        source="scripted: reference actions",
        messages=tuple(messages),
        tools=(),
        initial_state=ref,
        meta={"seed": seed},
    )


def _file_safe(text: str) -> str:
    """Return a task id as part of a trajectory id; what had to change keeps its own hash, for ids must stay apart."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in text)[:80]
    return safe if safe == text else f"{safe}-{content_hash(text, 8)}"


def _call_message(call: ToolCall) -> Message:
    function = {"name": call.name, "arguments": json.dumps(dict(call.arguments))}
    return {
        "role": call.requestor,
        "content": None,
        "tool_calls": [{"id": call.id, "type": "function", "function": function}],
    }


def _opening(task: Task) -> str:
    scenario: Mapping[str, Any] = task.data.get("user_scenario") or {}
    instructions = scenario.get("instructions") or ""
    if isinstance(instructions, str):
        return instructions or "Hello, I need help."
    parts = [instructions.get("reason_for_call"), instructions.get("known_info")]
    return "\n".join(part.strip() for part in parts if part) or "Hello, I need help."


def _instruction(world: OfficialWorld, call: ToolCall) -> str:
    arguments = ", ".join(f"{name} = {value}" for name, value in call.arguments.items())
    step = call.name.replace("_", " ") + (f" ({arguments})" if arguments else "")
    return f"Please do this on your device and tell me what you see: {step}."


def _closing(task: Task) -> str:
    facts = (task.data.get("evaluation_criteria") or {}).get("communicate_info") or []
    told = f" For your records: {', '.join(map(str, facts))}." if facts else ""
    return f"Everything you asked for has been taken care of.{told}"

"""Whole episodes judged by tau2's own evaluators: environment, communicate and actions.

What needs a judge (NL assertions) is reported as `not evaluated` and never counted as passed: the reward of such a
task is 0 if another part failed, else None.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pivot_envs.errors import MissingDependency
from pivot_envs.records import Message, Outcome

if TYPE_CHECKING:
    from pivot_envs.domains.tau2.official.world import OfficialWorld

NOT_EVALUATED = "not evaluated"


def evaluate(world: OfficialWorld, task: Any, messages: Sequence[Message]) -> Outcome:
    """Return the outcome of an episode.

    Args:
        world: The domain.
        task: tau2's Task model.
        messages: The whole conversation in OpenAI form, user calls included.

    Raises:
        MissingDependency: tau2's evaluators cannot be imported (they need pandas).
    """
    if task.evaluation_criteria is None:
        return Outcome(None, None, {"criteria": NOT_EVALUATED})
    recorded = to_tau2_messages(messages)
    basis = [str(getattr(part, "value", part)) for part in task.evaluation_criteria.reward_basis]
    parts: dict[str, float | str] = {}
    for part in basis:
        parts[part] = _evaluate_part(part, world, task, recorded)
    scores = [score for score in parts.values() if not isinstance(score, str)]
    if any(score == 0 for score in scores):
        reward: float | None = 0.0
    elif not parts or len(scores) < len(parts):
        reward = None
    else:
        reward = min(scores)
    return Outcome(reward, None if reward is None else reward == 1.0, {"basis": parts})


def _evaluate_part(part: str, world: OfficialWorld, task: Any, messages: list[Any]) -> float | str:
    try:
        if part in ("DB", "ENV_ASSERTION"):
            info = _evaluator("env", "EnvironmentEvaluator").calculate_reward(
                environment_constructor=world.environment, task=task, full_trajectory=messages
            )
            breakdown = {str(getattr(k, "value", k)): v for k, v in (info.reward_breakdown or {}).items()}
            return float(breakdown.get(part, info.reward))
        if part == "COMMUNICATE":
            info = _evaluator("communicate", "CommunicateEvaluator").calculate_reward(
                task=task, full_trajectory=messages
            )
            return float(info.reward)
        if part == "ACTION":
            info = _evaluator("action", "ActionEvaluator").calculate_reward(task=task, full_trajectory=messages)
            return float(info.reward)
    except MissingDependency:
        raise
    except Exception as error:  # a replay mismatch inside tau2's evaluator: reported, never a score
        return f"{NOT_EVALUATED}: {type(error).__name__}: {str(error)[:200]}"
    return NOT_EVALUATED


def _evaluator(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"tau2.evaluator.evaluator_{module}"), name)
    except ImportError as error:
        raise MissingDependency(
            f"tau2's {module} evaluator cannot be imported ({error}); it needs pandas: pip install 'pivot-envs[tau2]'"
        ) from error


def to_tau2_messages(messages: Sequence[Message]) -> list[Any]:
    """Return OpenAI messages as tau2's message models. A result's requestor is that of its call."""
    models = importlib.import_module("tau2.data_model.message")
    requestors: dict[str, str] = {}
    converted: list[Any] = []
    for message in messages:
        role = message.get("role")
        if role in ("assistant", "user"):
            calls = [_call(models, raw, role) for raw in message.get("tool_calls") or []]
            requestors.update({call.id: role for call in calls})
            kind = models.AssistantMessage if role == "assistant" else models.UserMessage
            converted.append(kind(role=role, content=_text(message) or None, tool_calls=calls or None))
        elif role == "tool":
            call_id = str(message.get("tool_call_id", ""))
            requestor = requestors.get(call_id, "assistant")
            converted.append(models.ToolMessage(id=call_id, role="tool", content=_text(message), requestor=requestor))
    return converted


def _text(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else "" if content is None else json.dumps(content)


def _call(models: Any, raw: Mapping[str, Any], requestor: str) -> Any:
    function = raw.get("function", {})
    arguments = function.get("arguments") or "{}"
    parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    return models.ToolCall(
        id=str(raw.get("id", "")), name=function.get("name", ""), arguments=parsed, requestor=requestor
    )

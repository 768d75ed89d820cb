"""The live state of one turn: a session of the world plus the conversation so far.

Executing an action runs its calls in order; a message runs the scripted customer where the world has one, so that
what an agent says is judged by what it makes happen (reference tau2, 5.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pivot_envs.actions import to_message
from pivot_envs.domains.tau2.canonical import cast_arguments, changed_fields, digest_of, rename_fresh, strings_of
from pivot_envs.domains.tau2.world import Session, ToolSpec, World
from pivot_envs.records import Action, Effect, Message, Observation, Task, ToolCall


class Tau2State:
    """A `State` of the tau2 family. Not shared between threads; forks may be."""

    def __init__(self, world: World, task: Task, session: Session, history: tuple[Message, ...] = ()) -> None:
        self.world = world
        self.task = task
        self.session = session
        self.history = history

    def execute(self, action: Action) -> Effect:
        """Run the calls in order, or the customer's reaction to the text. Tools that refuse fail, nothing raises."""
        self.session.mark()
        if action.calls:
            return self._execute_calls(action)
        if self.world.has_customer:
            return self._execute_text(action.text)
        self.history += ({"role": "assistant", "content": action.text},)
        return Effect()

    def _execute_calls(self, action: Action) -> Effect:
        observations = tuple(self._call(call) for call in action.calls)
        self.history += (to_message(action), *_results(action.calls, observations))
        ended = "failed" if any(o.failed for o in observations) else "ok"
        return Effect(observations, self._delta(action.calls), ended)

    def _call(self, call: ToolCall) -> Observation:
        spec = spec_of(self.world, call)
        arguments = cast_arguments(call.arguments, spec) if spec else dict(call.arguments)
        return self.session.call(call.name, arguments, call.requestor)

    def _execute_text(self, text: str) -> Effect:
        reaction = self.world.react(self.session, self.task, self.history, text)
        details = {
            "reaction": reaction.kind,
            "reply": reaction.reply,
            "calls": [[call.name, dict(call.arguments)] for call in reaction.calls],
        }
        self.history += ({"role": "assistant", "content": text},)
        if reaction.calls:
            asked = {**to_message(Action(calls=reaction.calls)), "role": "user"}
            self.history += (asked, *_results(reaction.calls, reaction.observations))
        self.history += ({"role": "user", "content": reaction.reply},)
        return Effect(reaction.observations, self._delta(reaction.calls), "ok", details)

    def _delta(self, calls: tuple[ToolCall, ...]) -> Mapping[str, Any]:
        changes = self.session.changes()
        masked = self.world.masked_fields
        delta = {path: changed_fields(before, after, masked) for path, (before, after) in changes.items()}
        delta = {path: value for path, value in delta.items() if value != {}}
        created = [path for path in delta if changes[path][0] is None]
        mentioned = {text for call in calls for text in strings_of(call.arguments)} if created else set()
        return rename_fresh(delta, created, mentioned)

    def fork(self) -> Tau2State:
        """Return an independent state; costs microseconds on overlay worlds."""
        return Tau2State(self.world, self.task, self.session.fork(), self.history)

    def digest(self) -> str:
        """Return the hash of everything that differs from the world's frozen base, fresh ids renamed."""
        changes = self.session.difference_from_start()
        delta = {path: changed_fields(before, after) for path, (before, after) in changes.items()}
        delta = {path: value for path, value in delta.items() if value != {}}
        created = [path for path in delta if changes[path][0] is None]
        return digest_of(rename_fresh(delta, created, ()))

    def close(self) -> None:
        """Nothing is held."""


def _results(calls: Sequence[ToolCall], observations: Sequence[Observation]) -> tuple[Message, ...]:
    pairs = zip(calls, observations, strict=True)
    return tuple({"role": "tool", "tool_call_id": call.id, "content": shown.text} for call, shown in pairs)


def spec_of(world: World, call: ToolCall) -> ToolSpec | None:
    """Return the spec of the tool a call names for its requestor, or None if that party has no such tool."""
    for spec in world.tool_specs.get(call.name, ()):
        if spec.requestor == call.requestor:
            return spec
    return None

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
        self._history = history
        self._unwritten: tuple[tuple[Action, Effect], ...] = ()
        self.reaction = ""
        """How the customer understood the last message; empty before the first, and where nobody listens."""

    @property
    def history(self) -> tuple[Message, ...]:
        """The conversation so far in OpenAI form, the customer's calls included."""
        if self._unwritten:
            written, self._unwritten = self._unwritten, ()
            self._history += tuple(m for action, effect in written for m in _messages(action, effect))
        return self._history

    def append(self, message: Message) -> None:
        """Take over a recorded message whose calls have been run already."""
        self._history = (*self.history, message)

    def execute(self, action: Action) -> Effect:
        """Run the calls in order, or the customer's reaction to the text. Tools that refuse fail, nothing raises."""
        self.session.mark()
        if action.calls:
            effect = self._execute_calls(action.calls)
        elif self.world.has_customer:
            effect = self._execute_text(action.text)
        else:
            effect = Effect()
        self._unwritten += ((action, effect),)
        return effect

    def _execute_calls(self, calls: tuple[ToolCall, ...]) -> Effect:
        observations = tuple(self._call(call) for call in calls)
        failed = any(o.failed for o in observations)
        return Effect(observations, self._delta(calls), "failed" if failed else "ok")

    def _call(self, call: ToolCall) -> Observation:
        spec = spec_of(self.world, call)
        arguments = cast_arguments(call.arguments, spec) if spec else dict(call.arguments)
        return self.session.call(call.name, arguments, call.requestor)

    def _execute_text(self, text: str) -> Effect:
        reaction = self.world.react(self.session, self.task, self.history, text)
        self.reaction = reaction.kind
        details = {
            "reaction": reaction.kind,
            "reply": reaction.reply,
            "calls": [{"id": call.id, "name": call.name, "arguments": dict(call.arguments)} for call in reaction.calls],
        }
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
        twin = Tau2State(self.world, self.task, self.session.fork(), self._history)
        twin._unwritten = self._unwritten
        return twin

    def digest(self) -> str:
        """Return the hash of everything that differs from the world's frozen base, fresh ids renamed."""
        changes = self.session.difference_from_start()
        delta = {path: changed_fields(before, after) for path, (before, after) in changes.items()}
        delta = {path: value for path, value in delta.items() if value != {}}
        created = [path for path in delta if changes[path][0] is None]
        return digest_of(rename_fresh(delta, created, ()))

    def close(self) -> None:
        """Nothing is held."""


def _messages(action: Action, effect: Effect) -> list[Message]:
    """Write what happened: the agent's message, the results of its calls, and the customer's device calls and reply."""
    if action.calls:
        return [to_message(action), *_results(action.calls, effect.observations)]
    messages: list[Message] = [{"role": "assistant", "content": action.text}]
    if "reaction" in effect.details:
        calls = tuple(ToolCall(c["name"], c["arguments"], c["id"], "user") for c in effect.details["calls"])
        if calls:
            messages.append({**to_message(Action(calls=calls)), "role": "user"})
            messages.extend(_results(calls, effect.observations))
        messages.append({"role": "user", "content": effect.details["reply"]})
    return messages


def _results(calls: Sequence[ToolCall], observations: Sequence[Observation]) -> list[Message]:
    pairs = zip(calls, observations, strict=True)
    return [{"role": "tool", "tool_call_id": call.id, "content": shown.text} for call, shown in pairs]


def spec_of(world: World, call: ToolCall) -> ToolSpec | None:
    """Return the spec of the tool a call names for its requestor, or None if that party has no such tool."""
    for spec in world.tool_specs.get(call.name, ()):
        if spec.requestor == call.requestor:
            return spec
    return None

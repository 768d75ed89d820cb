"""Scripted policies: what draws actions where no model is at hand.

Profiling, examples and tests run on these; a policy behind a server is `endpoint.py`, a local model `trainer/model.py`.
Text is the JSON of an assistant message (codec `message`). What they score says nothing about any model.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pivot_envs.actions import encode
from pivot_envs.contracts import Completion, Prompt
from pivot_envs.errors import ConfigError
from pivot_envs.records import Action, Sampling, ToolCall, content_hash

CONTEXT_FULL = "context_full"
"""Start of `Completion.error` where a prompt does not fit: the candidate is excluded, the prompt never cut."""


def context_full(needed: int, available: int) -> str:
    """Return the error of a prompt that does not fit."""
    return f"{CONTEXT_FULL}: the prompt has {needed} tokens, at most {available} fit"


def check_sampling(sampling: Sampling, n: int = 1) -> None:
    """Refuse what nothing can be drawn with.

    Raises:
        ConfigError: a field that is out of its range or no number.
    """
    temperature, top_p, most = sampling.temperature, sampling.top_p, sampling.max_tokens
    if n < 1:
        problem = f"cannot sample n={n!r}; expected at least one completion of a prompt"
    elif not 0 <= temperature < math.inf:
        problem = f"temperature is {temperature!r}; expected a number from 0 (the likeliest token)"
    elif not 0 < top_p <= 1:
        problem = f"top_p is {top_p!r}; expected a share above 0, at most 1"
    elif isinstance(most, bool) or not isinstance(most, int) or most < 1:
        problem = f"max_tokens is {most!r}; expected a whole number from 1"
    else:
        return
    raise ConfigError(f"{problem}. Sampling takes temperature from 0, top_p above 0 to 1, n and max_tokens from 1")


def derive_seed(*parts: object) -> int:
    """Return a 31-bit seed from any parts; the same parts give the same seed in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class ScriptedPolicy:
    """A policy that is a function of the prompt and a random generator, deterministic in (seed, prompt id, index)."""

    context_length = 1_000_000
    action_codec = "message"

    def __init__(self, write: Callable[[Prompt, random.Random], str], *, name: str, fingerprint: str) -> None:
        self._write, self.name, self.fingerprint = write, name, fingerprint

    def sample(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, first: int = 0
    ) -> Iterator[list[Completion]]:
        """Draw n completions for each prompt, in order. `sampling` changes nothing: a script has no temperature."""
        for prompt in prompts:
            yield [
                Completion(self._write(prompt, random.Random(derive_seed(seed, prompt.prompt_id, i))))
                for i in range(first, first + n)
            ]


class NoisyDemonstrationPolicy(ScriptedPolicy):
    """A test policy that sees the answer: it writes the demonstration, or spoils it with a known probability.

    It exists so that profiling, selection and reports can be run and tested without a model; what it scores says
    nothing about any model. The error rate of a candidate is fixed by a hash of its id, so that some candidates are
    always solved, some never, and some are mixed: at `noise` 0.5 and `mixed` 0.3 about 35, 35 and 30 percent. What is
    spoiled is not always wrong: a changed free text argument, say a reason, may have the same effect.
    """

    def __init__(
        self,
        demonstration: Callable[[str], Action],
        noise: float = 0.5,
        mixed: float = 0.3,
        reworded: float = 0.5,
        seed: int = 0,
        name: str = "noisy-demonstration",
    ) -> None:
        """Build the policy.

        Args:
            demonstration: candidate id -> the recorded action.
            noise: mean error rate over candidates; 0 always writes the demonstration, 1 never.
            mixed: share of candidates that are sometimes solved.
            reworded: share of correct samples written in another, equal form.
            seed: which candidates are easy.
            name: name in profiles.
        """
        for field_name, value in (("noise", noise), ("mixed", mixed), ("reworded", reworded)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{field_name} is {value!r}; expected a share between 0 and 1")
        self.noise, self.mixed, self.reworded, self.seed = noise, mixed, reworded, seed
        self._demonstration = demonstration
        fingerprint = content_hash(["noisy-demonstration-1", noise, mixed, reworded, seed])
        super().__init__(self._noisy, name=name, fingerprint=fingerprint)

    def error_rate(self, candidate_id: str) -> float:
        """Return the probability that a sample at this candidate is spoiled."""
        place = derive_seed("difficulty", self.seed, candidate_id) / 2**31
        low = (1 - self.noise) * (1 + self.mixed) - self.mixed
        if self.mixed == 0:
            return float(place >= low)
        return min(1.0, max(0.0, (place - low) / self.mixed))

    def _noisy(self, prompt: Prompt, rng: random.Random) -> str:
        demonstrated = self._demonstration(prompt.prompt_id)
        if rng.random() < self.error_rate(prompt.prompt_id):
            return _spoil(demonstrated, prompt, rng)
        return _reword(demonstrated, rng) if rng.random() < self.reworded else encode(demonstrated)


def _reword(action: Action, rng: random.Random) -> str:
    """Write an equal action in another form: argument order, call ids and spaces; for a text, spaces around it."""
    if not action.calls:
        return encode(Action(text=f"{action.text}\n"))
    calls = []
    for call in action.calls:
        items = list(call.arguments.items())
        rng.shuffle(items)
        calls.append(ToolCall(call.name, dict(items), f"call_{rng.randrange(16**8):08x}", call.requestor))
    return encode(Action(text=rng.choice(("", "Let me do that.")), calls=tuple(calls)))


def _spoil(action: Action, prompt: Prompt, rng: random.Random) -> str:
    """Write a wrong action: wrong argument, other tool, text for a call, call for a text, or malformed output."""
    ways = [_malformed, _wrong_text, _other_tool]
    if any(call.arguments for call in action.calls):
        ways += [_wrong_argument, _wrong_argument]
    written = rng.choice(ways)(action, prompt, rng)
    return written if written is not None else _wrong_text(action, prompt, rng)


def _malformed(action: Action, prompt: Prompt, rng: random.Random) -> str:
    text = encode(action)
    return text[: rng.randrange(1, max(2, len(text) - 1))]


def _wrong_text(action: Action, prompt: Prompt, rng: random.Random) -> str:
    return encode(Action(text=rng.choice(("I am sorry, I cannot help with that.", "One moment.", "Done."))))


def _other_tool(action: Action, prompt: Prompt, rng: random.Random) -> str | None:
    used = {call.name for call in action.calls}
    schemas = [tool.get("function", tool) for tool in prompt.tools]
    others = [schema for schema in schemas if schema.get("name") not in used and schema.get("name")]
    if not others:
        return None
    schema = rng.choice(others)
    properties = (schema.get("parameters") or {}).get("properties") or {}
    arguments = {name: _guess(properties[name], rng) for name in sorted(properties)}
    return encode(Action(calls=(ToolCall(str(schema["name"]), arguments),)))


def _guess(schema: Any, rng: random.Random) -> Any:
    if not isinstance(schema, Mapping):
        return "x"
    if schema.get("enum"):
        return rng.choice(list(schema["enum"]))
    number = rng.randrange(9)
    values = {"integer": number, "number": float(number), "boolean": True, "array": [], "object": {}}
    return values.get(str(schema.get("type")), f"x{rng.randrange(999)}")


def _wrong_argument(action: Action, prompt: Prompt, rng: random.Random) -> str | None:
    calls = list(action.calls)
    place = rng.choice([i for i, call in enumerate(calls) if call.arguments])
    arguments = dict(calls[place].arguments)
    name = rng.choice(sorted(arguments))
    arguments[name] = _changed(arguments[name], rng)
    calls[place] = ToolCall(calls[place].name, arguments, calls[place].id, calls[place].requestor)
    return encode(Action(calls=tuple(calls)))


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice((-1, 1, 7))
    if isinstance(value, list) and value:
        return value[:-1]
    return f"{value}-{rng.randrange(99)}" if isinstance(value, str) else f"not {rng.randrange(99)}"

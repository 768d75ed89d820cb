"""The demo's first lines: a turn restored, and three actions judged there by what they do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pivot_envs.cli.screen import console
from pivot_envs.contracts import Domain
from pivot_envs.env import PivotEnv
from pivot_envs.errors import ConfigError
from pivot_envs.records import Action, Candidate, ToolCall


def show_judgement() -> list[str]:
    """Restore a turn that changes the world and judge a prudent, a wrong and an empty action there."""
    env = PivotEnv("tau2", render_mode="ansi")
    shown = []
    try:
        turn = _writing_turn(env)
        demonstrated = env.bench.domain.demonstration(turn)
        for told, action in _variants(env.bench.domain, demonstrated):
            env.reset(options={"pivot_id": turn.candidate_id})
            _, reward, *_ = env.step(action)
            verdict = env.verdict
            assert verdict is not None
            console().print(f"  {told}: reward {reward:g} ({verdict.outcome}, {verdict.reason})")
            if verdict.evidence:
                console().print(f"    {json.dumps(dict(verdict.evidence), default=str)[:300]}")
            shown.append(env.render() or "")
    finally:
        env.close()
    return shown


def _writing_turn(env: PivotEnv) -> Candidate:
    """Return the first recorded turn whose call changes the world."""
    for pivot_id in env.bench.source.ids():
        candidate = env.bench.source.get(pivot_id)
        state = env.bench.restore(candidate)
        changed = (
            state.execute(env.bench.domain.demonstration(candidate)).delta
            if candidate.message.get("tool_calls")
            else {}
        )
        state.close()
        if changed:
            return candidate
    raise ConfigError("no recorded turn changes anything")


def _variants(domain: Domain, demonstrated: Action) -> list[tuple[str, dict[str, Any]]]:
    """Return named assistant messages: the demonstration after a prudent read, with one argument changed, and none."""
    call = demonstrated.calls[0]
    read = ToolCall("get_account", {"customer_id": call.arguments.get("customer_id", "")})
    name, value = next((n, v) for n, v in reversed(list(call.arguments.items())) if n != "customer_id")
    wrong = replace(call, arguments={**call.arguments, name: _other(value)})
    return [
        ("the demonstrated call after a prudent look-up", _message(read, call)),
        (f"the same call with another {name}", _message(wrong)),
        ("a friendly message instead", {"role": "assistant", "content": "All done!"}),
    ]


def _other(value: Any) -> Any:
    if isinstance(value, int | float):
        return value + 1
    return {"basic": "fast", "fast": "max", "max": "giga", "giga": "basic"}.get(value, f"{str(value)[:-1]}9")


def _message(*calls: ToolCall) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": f"call_{n}",
                "type": "function",
                "function": {"name": c.name, "arguments": json.dumps(dict(c.arguments))},
            }
            for n, c in enumerate(calls)
        ],
    }

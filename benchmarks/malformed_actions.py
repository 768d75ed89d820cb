"""Ten thousand broken actions through every codec, and a share of them through a whole environment step.

    python benchmarks/malformed_actions.py [--count 10000] [--steps 500]

Nothing may raise but `MalformedAction`, nothing may take longer than 5 s, and no step may give a reward but 0 (or 1,
where the text happens to be right). Prints outcomes and the distribution of times; exit 1 where one of that fails.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from pivot_envs.actions import decode
from pivot_envs.env import PivotEnv
from pivot_envs.errors import MalformedAction

CODECS = ("message", "hermes", "xml", "text")
SLOWEST_SECONDS = 5.0
_CALL = '{"name": "get_account", "arguments": {"customer_id": "C001"}}'
_MESSAGE = (
    '{"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", '
    '"function": {"name": "get_account", "arguments": %s}}]}'
)
_XML = "<tool_call>\n<function=get_account>\n<parameter=customer_id>\n%s\n</parameter>\n</function>\n</tool_call>"


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    texts = list(malformed_actions(arguments.count, arguments.seed))
    results = {f"decode {codec}": run(texts, _decoder(codec)) for codec in CODECS}
    for codec in CODECS[:3]:
        with PivotEnv("tau2", "helpdesk", action_codec=codec) as env:
            results[f"step {codec}"] = run(texts[: arguments.steps], _stepper(env))
    for name, result in results.items():
        print_result(name, result)
    print(f"JSON {json.dumps(results)}")
    return int(any(result["raised"] or result["max_s"] > SLOWEST_SECONDS for result in results.values()))


def malformed_actions(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield (kind, text): every kind in turn, the sizes drawn from the seed."""
    draw = random.Random(seed)
    for n in range(count):
        name = _KINDS[n % len(_KINDS)]
        yield name, _WRITERS[name](draw)


def _big_integer(draw: random.Random) -> str:
    return _MESSAGE % json.dumps('{"amount": ' + "9" * draw.choice((5_000, 20_000)) + "}")


def _brackets(draw: random.Random) -> str:
    return draw.choice("[{(") * draw.choice((1_000, 20_000, 200_000))


def _nested_value(draw: random.Random) -> str:
    depth = draw.choice((50, 5_000, 50_000))
    return '{"name": "get_account", "arguments": {"customer_id": ' + "[" * depth + "]" * depth + "}}"


def _lone_surrogate(draw: random.Random) -> str:
    return draw.choice((_CALL, "<tool_call>" + _CALL + "</tool_call>")).replace("C001", "C\ud800" * draw.randint(1, 9))


def _escaped_surrogate(draw: random.Random) -> str:
    return _MESSAGE % json.dumps('{"customer_id": "\\ud8' + f'{draw.randrange(256):02x}"}}')


def _not_finite(draw: random.Random) -> str:
    value = draw.choice(("NaN", "Infinity", "-Infinity", "1e999", "-1e99999"))
    return f'<tool_call>{{"name": "issue_credit", "arguments": {{"amount": {value}}}}}</tool_call>'


def _duplicate_key(draw: random.Random) -> str:
    return _MESSAGE % json.dumps('{"customer_id": "C001", "customer_id": "C' + f'{draw.randint(2, 200):03d}"}}')


def _long_string(draw: random.Random) -> str:
    return _MESSAGE % json.dumps(json.dumps({"customer_id": draw.choice("xé\\\" ") * draw.choice((10_000, 1_000_000))}))


def _nested_tags(draw: random.Random) -> str:
    n = draw.choice((2, 100, 5_000))
    return "<tool_call>" * n + _CALL + "</tool_call>" * n


def _unclosed_tag(draw: random.Random) -> str:
    return draw.choice(("<tool_call>\n" + _CALL, _XML[:-13] % "C001", "<tool_call>", "</tool_call>" + _CALL))


def _quoted_tag(draw: random.Random) -> str:
    quote = draw.choice(("`%s`", '"%s"', "```\n%s\n```", "> %s"))
    return "I would write " + quote % ("<tool_call>" + _CALL + "</tool_call>") + " but do not."


def _tag_in_a_value(draw: random.Random) -> str:
    return _XML % draw.choice(("</parameter>", "<function=x>", "</tool_call><tool_call>", "<think>"))


def _call_in_a_thought(draw: random.Random) -> str:
    inside = draw.choice((_CALL, "<tool_call>" + _CALL + "</tool_call>", _XML % "C001"))
    return "<think>" + inside + draw.choice(("</think>", "</think>Hello.", "", "</think></think>"))


def _many_calls(draw: random.Random) -> str:
    return ("<tool_call>" + _CALL + "</tool_call>\n") * draw.choice((65, 1_000, 5_000))


def _cut_off(draw: random.Random) -> str:
    text = draw.choice((_MESSAGE % '"{}"', "<tool_call>" + _CALL + "</tool_call>", _XML % "C001"))
    return text[: draw.randrange(len(text))]


def _flipped(draw: random.Random) -> str:
    text = list(draw.choice((_MESSAGE % '"{}"', "<tool_call>" + _CALL + "</tool_call>", _XML % "C001")))
    for _ in range(draw.randint(1, 8)):
        text[draw.randrange(len(text))] = chr(draw.choice((0, 9, 34, 60, 62, 92, 123, 125, 0x202E, 0xFEFF, 0x1F600)))
    return "".join(text)


def _wrong_types(draw: random.Random) -> str:
    user = '{"role": "user", "content": "hi"}'
    value = draw.choice(("null", "[]", "3", "true", '"text"', '{"name": null}', user, "{}"))
    return draw.choice((value, f"<tool_call>{value}</tool_call>", _MESSAGE % value))


def _odd_text(draw: random.Random) -> str:
    long = draw.choice(("\\" * 1_000, "\r\n" * 999))
    return draw.choice(("", " ", "\x00", "\u202e", "###STOP###", "{{7*7}}", "${jndi:x}", "%s%n", long))


_WRITERS: dict[str, Callable[[random.Random], str]] = {
    "5,000 digits": _big_integer,
    "200,000 brackets": _brackets,
    "nested value": _nested_value,
    "lone surrogate": _lone_surrogate,
    "escaped surrogate": _escaped_surrogate,
    "not finite": _not_finite,
    "duplicate key": _duplicate_key,
    "1 MB string": _long_string,
    "nested tags": _nested_tags,
    "unclosed tag": _unclosed_tag,
    "quoted tag": _quoted_tag,
    "tag in a value": _tag_in_a_value,
    "call in a thought": _call_in_a_thought,
    "too many calls": _many_calls,
    "cut off": _cut_off,
    "flipped characters": _flipped,
    "wrong types": _wrong_types,
    "odd text": _odd_text,
}
_KINDS = tuple(_WRITERS)


def _decoder(codec: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            action = decode(text, codec)
        except MalformedAction as error:
            return f"malformed: {error.reason}"
        return "calls" if action.calls else "text"

    return read


def _stepper(env: PivotEnv) -> Callable[[str], str]:
    env.reset(seed=0)

    def step(text: str) -> str:
        env.reset()
        _, reward, _, _, info = env.step(text)
        return f"{info['verdict']['outcome']} {reward}"

    return step


def run(texts: list[tuple[str, str]], read: Callable[[str], str]) -> dict[str, Any]:
    """Return outcomes, exceptions by kind, and times."""
    outcomes: Counter[str] = Counter()
    raised: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    times = []
    for kind, text in texts:
        start = time.perf_counter()
        try:
            outcomes[read(text)] += 1
        except Exception as error:  # what this benchmark looks for: counted, reported, exit 1
            raised[f"{kind}: {type(error).__name__}"] += 1
        times.append(time.perf_counter() - start)
        slowest[kind] = max(slowest.get(kind, 0.0), times[-1])
    times.sort()
    quantiles = {f"p{q}_s": round(times[min(len(times) - 1, len(times) * q // 100)], 6) for q in (50, 95, 99)}
    worst = sorted(slowest.items(), key=lambda item: -item[1])[:3]
    return {
        "n": len(times),
        **quantiles,
        "max_s": round(times[-1], 4),
        "slowest": {kind: round(seconds, 4) for kind, seconds in worst},
        "outcomes": dict(outcomes.most_common()),
        "raised": dict(raised),
    }


def print_result(name: str, result: dict[str, Any]) -> None:
    """Print one line of times and one of outcomes."""
    times = "  ".join(f"{key} {result[key]}" for key in ("n", "p50_s", "p95_s", "p99_s", "max_s"))
    print(f"{name:18} {times}  slowest {result['slowest']}")
    print(f"{'':18} {result['outcomes']}  raised {result['raised'] or 'nothing'}")


if __name__ == "__main__":
    sys.exit(main())

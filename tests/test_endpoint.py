"""The endpoint policy against a real local server: what it sends, what it makes of every kind of failure."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="openai is not installed (extra 'judge')")
sys.path.insert(0, str(Path(__file__).parent))

from fake_endpoint import FakeEndpoint, choice, completion, refusal
from test_profiling import Adder

from pivot_envs.actions import decode
from pivot_envs.contracts import Completion, Prompt
from pivot_envs.endpoint import EndpointConfig, EndpointPolicy
from pivot_envs.errors import ConfigError, MissingDependency, PolicyError
from pivot_envs.policy import CONTEXT_FULL
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, profile
from pivot_envs.records import Sampling

TOOL = {"type": "function", "function": {"name": "get_line", "parameters": {"type": "object", "properties": {}}}}


def prompt(name: str = "helpdesk/t1/0", text: str = "hi") -> Prompt:
    return Prompt(name, ({"role": "user", "content": text, "timestamp": "never sent"},), (TOOL,))


Ask = Callable[..., tuple[list[list[Completion]], FakeEndpoint]]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Sample from a scripted server and close all of it afterwards."""
    opened: list[Any] = []

    def run(script: list[Any], n: int = 1, prompts: list[Prompt] | None = None, **config: Any) -> Any:
        server = FakeEndpoint(script).__enter__()
        settings = {"attempts": 3, "backoff": 0.01, "attempt_timeout": 5.0, "total_timeout": 10.0, **config}
        policy = EndpointPolicy(EndpointConfig(server.base_url, "m", **settings))
        opened.extend((policy, server))
        return list(policy.sample(prompts or [prompt()], n, Sampling(0.6, 0.95, 99), seed=5)), server

    yield run
    for thing in opened:
        thing.close() if isinstance(thing, EndpointPolicy) else thing.__exit__()


def test_text_comes_back_as_the_json_of_a_message_and_the_request_says_how_it_was_sampled(ask: Ask) -> None:
    [[one]], server = ask(["ok"])
    assert decode(one.text).text == "Hello 0."
    assert one.finish_reason == "stop" and not one.error
    [body] = server.requests
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == ("m", 0.6, 0.95, 99)
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["tools"][0]["function"]["name"] == "get_line"
    assert isinstance(body["seed"], int)


def test_tool_calls_token_ids_and_logprobs_are_kept(ask: Ask) -> None:
    [[one]], server = ask(["call"], logprobs=True, return_token_ids=True)
    [call] = decode(one.text).calls
    assert (call.name, call.arguments, call.id) == ("get_line", {"line_id": "L1"}, "t1")
    assert (one.prompt_ids, one.token_ids, one.logprobs) == ((1, 2, 3), (7,), (-0.5,))
    assert server.requests[0]["logprobs"] is True and server.requests[0]["return_token_ids"] is True


def test_reasoning_is_kept_apart_from_the_text(ask: Ask) -> None:
    [[one]], _ = ask([lambda body: completion([choice(text="Yes.", reasoning_content="They asked.")])])
    action = decode(one.text)
    assert (action.text, action.reasoning) == ("Yes.", "They asked.")


def test_n_completions_are_one_request_where_the_server_can(ask: Ask) -> None:
    [four], server = ask(["ok"], n=4)
    assert [decode(c.text).text for c in four] == ["Hello 0.", "Hello 1.", "Hello 2.", "Hello 3."]
    assert [body.get("n") for body in server.requests] == [4]


@pytest.mark.parametrize("word", ["one", "one_only"])
def test_n_falls_back_to_single_requests_with_seeds_of_their_own_and_remembers(ask: Ask, word: str) -> None:
    (first, second), server = ask([word], n=3, prompts=[prompt("d/t/0"), prompt("d/t/1")])
    assert len({c.text for c in first + second}) == 6
    assert [body.get("n") for body in server.requests].count(3) == 1
    assert len(first) == len(second) == 3


def test_truncation_is_a_result_and_not_an_error(ask: Ask) -> None:
    [[one]], _ = ask(["cut"])
    assert one.finish_reason == "length" and decode(one.text).is_empty


def test_retry_after_is_waited_for(ask: Ask) -> None:
    started = time.monotonic()
    [[one]], server = ask(["busy", "ok"])
    assert one.finish_reason == "stop" and len(server.requests) == 2
    assert time.monotonic() - started >= 1.0


def test_a_long_retry_after_waits_no_longer_than_the_cap(ask: Ask) -> None:
    [[one]], server = ask(["busy_long", "ok"], retry_after_cap=0.05)
    assert one.finish_reason == "stop" and len(server.requests) == 2


@pytest.mark.parametrize("word", ["broken", "garbage", "brackets", "empty", "nothing", "reset"])
def test_transient_failures_are_tried_again(ask: Ask, word: str) -> None:
    [[one]], server = ask([word, word, "ok"])
    assert (one.finish_reason, decode(one.text).text) == ("stop", "Hello 0.")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("word", "says"),
    [("broken", "http_500"), ("garbage", "bad_response"), ("empty", "choices is empty"), ("busy", "http_429")],
)
def test_lasting_failures_are_error_completions_after_exactly_the_attempts(ask: Ask, word: str, says: str) -> None:
    [two], server = ask([word], n=2, retry_after_cap=0.01)
    assert [(c.finish_reason, c.text) for c in two] == [("error", "")] * 2
    assert says in two[0].error
    assert len(server.requests) == 3


def test_a_hanging_server_is_bounded_by_the_attempts(ask: Ask) -> None:
    [[one]], server = ask(["hang"], attempt_timeout=1.0, attempts=2)
    assert one.finish_reason == "error" and one.error.startswith("timeout")
    assert len(server.requests) == 2


def test_the_total_deadline_ends_the_retries(ask: Ask) -> None:
    [[one]], server = ask(["hang"], attempt_timeout=0.2, attempts=50, total_timeout=0.3)
    assert one.error.startswith("timeout") and len(server.requests) <= 3


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_is_never_shown(
    ask: Ask, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    caplog.set_level(logging.INFO)

    def deny(body: dict[str, Any]) -> Any:
        return refusal(status, "Incorrect API key provided: sk-very-secret")

    expected = rf"http://127.0.0.1:\d+/v1 refuses our key \(HTTP {status}\); MY_KEY is set"
    with pytest.raises(PolicyError, match=expected) as caught:
        ask([deny], n=4, api_key_env="MY_KEY", concurrency=1)
    assert "sk-very-secret" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


def test_the_key_goes_to_the_server_and_is_masked_in_other_errors(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    [[one]], server = ask([lambda body: refusal(400, "bad request by sk-very-secret")])
    assert server.keys == ["sk-very-secret"]
    assert one.error.startswith("http_400") and "sk-very-secret" not in one.error and "***" in one.error


def test_an_unknown_model_names_the_model_and_the_remedy(ask: Ask) -> None:
    with pytest.raises(PolicyError, match=r"404 for model 'm'.*/v1/models"):
        ask(["no_model"])


def test_a_prompt_that_does_not_fit_is_context_full_and_asked_once(ask: Ask) -> None:
    [three], server = ask(["too_long"], n=3)
    assert {c.error.partition(":")[0] for c in three} == {CONTEXT_FULL} and len(server.requests) == 1
    assert "maximum context length is 4096 tokens, you requested 9000" in three[0].error


def test_turns_of_a_trajectory_go_in_order_and_trajectories_side_by_side(ask: Ask) -> None:
    def slow(body: dict[str, Any]) -> Any:
        time.sleep(0.02)
        return completion([choice(text=body["messages"][0]["content"])])

    names = [f"d/t{t}/{turn}" for t in range(6) for turn in range(3)]
    results, server = ask([slow], prompts=[prompt(name, name) for name in names], concurrency=4)
    assert [decode(r[0].text).text for r in results] == names
    sent = [body["messages"][0]["content"] for body in server.requests]
    for t in range(6):
        assert [s for s in sent if s.startswith(f"d/t{t}/")] == [f"d/t{t}/{turn}" for turn in range(3)]
    assert 2 <= server.peak <= 4


def test_hostile_text_in_a_prompt_is_sent_and_hostile_replies_stay_data(ask: Ask) -> None:
    calls = [{"id": 3, "function": {"name": None, "arguments": "[" * 9999}}]
    reply = completion([choice(text="\ud800", tool_calls=calls)])
    [[one]], _ = ask([lambda body: reply], prompts=[prompt(text="lone \ud800 surrogate")])
    assert one.finish_reason == "stop"
    json.loads(one.text)


def test_stopping_early_and_sampling_again_is_fine(ask: Ask) -> None:
    with FakeEndpoint(["ok"]) as server:
        policy = EndpointPolicy(EndpointConfig(server.base_url, "m"))
        prompts = [prompt(f"d/t{i}/0") for i in range(20)]
        assert next(iter(policy.sample(prompts, 1, Sampling(), 0)))
        assert len(list(policy.sample(prompts[:3], 1, Sampling(), 0))) == 3
        policy.close()
        policy.close()
        assert len(list(policy.sample(prompts[:1], 1, Sampling(), 0))) == 1
        policy.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_works_in_a_forked_process() -> None:
    with FakeEndpoint(["ok"]) as server:
        policy = EndpointPolicy(EndpointConfig(server.base_url, "m"))
        assert len(list(policy.sample([prompt()], 1, Sampling(), 0))) == 1
        child = os.fork()
        if child == 0:
            os._exit(0 if len(list(policy.sample([prompt()], 1, Sampling(), 0))) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        policy.close()


def test_the_fingerprint_follows_model_and_revision_and_not_the_address() -> None:
    def of(url: str = "http://a/v1", model: str = "m", revision: str = "") -> str:
        return EndpointPolicy(EndpointConfig(url, model, revision=revision)).fingerprint

    assert of() == of("http://b:9/v1")
    assert len({of(), of(model="n"), of(revision="abc")}) == 3


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"base_url is 'localhost:8000'; expected http"):
        EndpointPolicy(EndpointConfig("localhost:8000", "m"))
    with pytest.raises(ConfigError, match="concurrency is 0; expected at least 1"):
        EndpointPolicy(EndpointConfig("http://a/v1", "m", concurrency=0))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("context_length", 0, "at least 1"),
        ("attempts", -2, "at least 1"),
        ("attempt_timeout", 0, "seconds above 0"),
        ("total_timeout", float("nan"), "seconds above 0"),
        ("retry_after_cap", -1, "seconds from 0"),
        ("backoff", float("inf"), "seconds from 0"),
    ],
)
def test_nonsense_settings_are_refused_by_name_and_value(field: str, value: float, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}; expected {expected}"):
        EndpointConfig("http://a/v1", "m", **{field: value})


def test_sampling_that_draws_nothing_is_refused_before_anything_is_sent(ask: Ask) -> None:
    policy = EndpointPolicy(EndpointConfig("http://127.0.0.1:1/v1", "m"))
    with pytest.raises(ConfigError, match="top_p is 7"):
        list(policy.sample([prompt()], 1, Sampling(top_p=7), 0))


def test_later_samples_have_seeds_of_their_own(ask: Ask) -> None:
    with FakeEndpoint(["one"]) as server:
        policy = EndpointPolicy(EndpointConfig(server.base_url, "m"))
        groups = [list(policy.sample([prompt()], 1, Sampling(), 0, first))[0] for first in (0, 1, 0)]
        policy.close()
    texts = [decode(one.text).text for [one] in groups]
    assert texts[0] == texts[2] != texts[1]


def test_the_servers_token_counts_are_kept_once_a_request(ask: Ask) -> None:
    def counted(body: dict[str, Any]) -> Any:
        usage = {"prompt_tokens": 16, "completion_tokens": 9, "total_tokens": 25}
        return completion([choice(i) for i in range(body.get("n", 1))], usage=usage)

    [three], _ = ask([counted], n=3)
    assert [(one.prompt_tokens, one.completion_tokens) for one in three] == [(16, 9), (0, 0), (0, 0)]
    odd = {"prompt_tokens": -3, "completion_tokens": "many", "total_tokens": 0}
    [[one]], _ = ask([lambda body: completion([choice()], usage=odd)])
    assert (one.prompt_tokens, one.completion_tokens) == (0, 0)


def test_the_endpoint_is_named_without_credentials() -> None:
    assert EndpointPolicy(EndpointConfig("http://u:secret@host:8/v1", "m")).endpoint == "http://host:8/v1"


def test_a_missing_openai_package_gives_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingDependency, match=r"pip install 'pivot-envs\[judge\]'"):
        next(iter(EndpointPolicy(EndpointConfig("http://a/v1", "m")).sample([prompt()], 1, Sampling(), 0)))


def test_profiling_over_an_endpoint_survives_its_outage_and_goes_on(tmp_path: Path) -> None:
    down = {"now": True}

    def serve(body: dict[str, Any]) -> Any:
        if down["now"] and len(server.requests) > 12:
            return refusal(503, "restarting")
        function = {"name": "add", "arguments": json.dumps({"x": body["seed"] % 3})}
        call = {"id": "c", "type": "function", "function": function}
        return completion([choice(text=None, finish="tool_calls", tool_calls=[call])])

    with FakeEndpoint([serve]) as server:
        policy = EndpointPolicy(EndpointConfig(server.base_url, "m", attempts=2, backoff=0.001, concurrency=2))
        config = ProfileConfig(k=4, trajectories_per_batch=1, retries=0)
        with pytest.raises(PolicyError, match="most often: http_503: .*restarting.*goes on from there"):
            profile(Adder(), policy, config, tmp_path / "p.jsonl")
        down["now"] = False
        summary = profile(Adder(), policy, config, tmp_path / "p.jsonl")
        policy.close()
    assert 0 < summary.resumed < summary.trajectories == 6 and summary.failed == 0
    successes = [one.outcomes.count("accepted") for one in read_profiles(summary.path).profiles.values()]
    assert sum(successes) > 0 and max(successes) < 5


# Several servers ----------------------------------------------------------------------------------------------------


def many(count: int = 24) -> list[Prompt]:
    return [prompt(f"helpdesk/t{i // 3}/{i % 3}", f"trajectory {i // 3}") for i in range(count)]


def spread(servers: list[FakeEndpoint]) -> list[set[str]]:
    return [{body["messages"][0]["content"] for body in server.requests} for server in servers]


def draw(servers: list[FakeEndpoint], **config: Any) -> list[list[Completion]]:
    urls = tuple(server.base_url for server in servers)
    settings = {"attempts": 3, "backoff": 0.01, "attempt_timeout": 5.0, "total_timeout": 10.0, **config}
    policy = EndpointPolicy(EndpointConfig(urls, "m", **settings))
    try:
        return list(policy.sample(many(), 1, Sampling(0.6, 0.95, 99), seed=5))
    finally:
        policy.close()


def test_replicas_share_the_trajectories_and_each_trajectory_keeps_its_server() -> None:
    with FakeEndpoint(["ok"]) as first, FakeEndpoint(["ok"]) as second:
        got = draw([first, second], concurrency=2)
        assert [one[0].finish_reason for one in got] == ["stop"] * 24
        here, there = spread([first, second])
        assert here and there and not here & there and len(here | there) == 8
        assert len(first.requests) + len(second.requests) == 24
        assert first.peak <= 2 and second.peak <= 2


def test_a_dead_replica_is_gone_around_and_nothing_is_lost_or_doubled() -> None:
    with FakeEndpoint(["ok"]) as alive, FakeEndpoint(["reset"]) as dead:
        got = draw([dead, alive])
        assert [one[0].finish_reason for one in got] == ["stop"] * 24
        assert len(alive.requests) == 24
        assert 1 <= len(dead.requests) <= 8  # at most the first turn of each trajectory


def test_a_replica_that_does_not_know_the_model_stops_the_run_by_its_name() -> None:
    with (
        FakeEndpoint(["ok"]) as alive,
        FakeEndpoint(["no_model"]) as other,
        pytest.raises(PolicyError, match=other.base_url.replace(".", r"\.")),
    ):
        draw([alive, other])


def test_no_server_and_a_bad_one_among_several_are_refused() -> None:
    with pytest.raises(ConfigError, match="base_url is empty"):
        EndpointConfig((), "m")
    with pytest.raises(ConfigError, match="'ftp://b'"):
        EndpointConfig(("http://a/v1", "ftp://b"), "m")


def test_a_server_that_refuses_connections_is_told_at_the_first_failure_and_not_at_every_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FakeEndpoint() as gone:
        url = gone.base_url
    policy = EndpointPolicy(EndpointConfig(url, "m", attempts=3, backoff=0.01))
    with caplog.at_level(logging.WARNING, "pivot_envs.endpoint"):
        drawn = list(policy.sample(many(9), 2, Sampling(), 0))
    policy.close()
    assert {one.finish_reason for each in drawn for one in each} == {"error"}
    [told] = [record.getMessage() for record in caplog.records if "endpoint" in record.name]
    assert told == f"policy endpoint {url} does not answer (connection); each request is tried up to 3 times"

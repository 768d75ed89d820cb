"""A policy behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, a gateway, or OpenAI itself.

Serves profiling and evaluation; training on it is not possible and not offered. A failure of ours is
`Completion(finish_reason="error", error=...)`, never an empty text, so that it is excluded and not scored 0.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import re
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from itertools import groupby
from time import monotonic, time
from typing import Any
from urllib.parse import urlsplit

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay

from pivot_envs.contracts import Completion, Prompt
from pivot_envs.errors import ConfigError, MissingDependency, PolicyError
from pivot_envs.policy import CONTEXT_FULL, check_sampling, derive_seed
from pivot_envs.records import Sampling, content_hash

logger = logging.getLogger(__name__)

CONTEXT_MESSAGE = re.compile(r"context.?length|context window|maximum context|max_model_len|too many tokens", re.I)
TRANSIENT_STATUS = frozenset({408, 409, 425, 429})
"""Worth another attempt, as is every 5xx."""
DOWN_SECONDS = 30.0
"""How long a server that failed to answer is gone around, while another one is up; and how often that is told."""
FATAL_STATUS = frozenset({401, 403, 404})
"""Wrong for every prompt: stops the run."""
MESSAGE_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")
FINISH = {"stop": "stop", "tool_calls": "stop", "function_call": "stop", "content_filter": "stop", "length": "length"}


@dataclass(frozen=True)
class EndpointConfig:
    """Where an OpenAI-compatible server is and how it is asked. The key comes from the environment alone."""

    base_url: str | tuple[str, ...]
    """Ends in `/v1` on vLLM, SGLang and most others. Several are replicas: the same weights, served the same way."""
    model: str
    revision: str = ""
    """Weights hash or revision as you know it: no server reports one. Part of the fingerprint."""
    api_key_env: str = "OPENAI_API_KEY"
    """Variable that holds the key; unset is fine for servers that want none."""
    context_length: int = 32_768
    concurrency: int = 16
    """Requests in flight at each server."""
    attempts: int = 4
    attempt_timeout: float = 120.0
    """Seconds for one request, all of it: the SDK's own timeout counts per read."""
    total_timeout: float = 600.0
    """Seconds for a request with its retries."""
    retry_after_cap: float = 60.0
    """Longest Retry-After that is honoured, in seconds; a longer one waits this long."""
    backoff: float = 0.5
    """First wait in seconds; doubles up to 8 s, with jitter."""
    send_seed: bool = True
    logprobs: bool = False
    return_token_ids: bool = False
    """vLLM's `return_token_ids`."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.base_urls:
            raise ConfigError("base_url is empty; expected at least one http://HOST:PORT/v1 or https://...")
        for url in self.base_urls:
            if not url.startswith(("http://", "https://")):
                raise ConfigError(f"base_url is {url!r}; expected http://HOST:PORT/v1 or https://...")
        for name in ("context_length", "concurrency", "attempts"):
            if not getattr(self, name) >= 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected at least 1")
        for name in ("attempt_timeout", "total_timeout"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected seconds above 0")
        for name in ("retry_after_cap", "backoff"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected seconds from 0")

    @property
    def key(self) -> str:
        """The key in the environment now; empty without one."""
        return os.environ.get(self.api_key_env, "")

    @property
    def base_urls(self) -> tuple[str, ...]:
        """Every server, each once."""
        urls = (self.base_url,) if isinstance(self.base_url, str) else self.base_url
        return tuple(dict.fromkeys(urls))


class EndpointPolicy:
    """A policy behind an OpenAI-compatible server or several replicas, usable from ordinary synchronous code.

    Trajectories are sampled at the same time, the turns of one trajectory in order and on one server, so that its
    prefix cache holds each prompt's beginning. A server that could not be reached, or answered not at all, is gone
    around for a while. Retries are tenacity's; the SDK's own are off.
    """

    action_codec = "message"

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self.name = config.model
        self.context_length = config.context_length
        self.fingerprint = content_hash(
            ["endpoint-1", config.model, config.revision, self.action_codec, dict(config.extra_body)]
        )
        self._loop = _LoopThread()
        self._servers = [_Server(url, config) for url in config.base_urls]
        self._many = True

    @property
    def endpoint(self) -> str:
        """Hosts and paths of the servers, without credentials."""
        return ", ".join(server.name for server in self._servers)

    def sample(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, first: int = 0
    ) -> Iterator[list[Completion]]:
        """Draw n completions for each prompt, yielded in order as they come.

        A request for n carries one seed, that of sample `first`: what comes of it is the server's affair.

        Raises:
            PolicyError: the server refuses our key, or does not know the model.
            MissingDependency: the `openai` package is absent.
        """
        check_sampling(sampling)
        _import_openai()
        results: list[Future[list[Completion]]] = [Future() for _ in prompts]
        work = self._loop.submit(self._sample_all(list(prompts), range(first, first + n), sampling, seed, results))
        try:
            for result in results:
                yield result.result()
        finally:
            work.cancel()

    def close(self) -> None:
        """End the background loop. Calling it twice is fine."""
        for server in self._servers:
            if (client := server.released()) is not None:
                self._loop.submit(client.close()).result(timeout=5)
        self._loop.close()

    async def _sample_all(
        self,
        prompts: list[Prompt],
        indices: range,
        sampling: Sampling,
        seed: int,
        results: list[Future[list[Completion]]],
    ) -> None:
        for server in self._servers:
            server.limit = asyncio.Semaphore(self.config.concurrency)

        async def chain(places: list[int]) -> None:
            for place in places:
                results[place].set_result(await self._complete(prompts[place], indices, sampling, seed))

        def trajectory(place: int) -> str:
            return _trajectory(prompts[place])

        order = sorted(range(len(prompts)), key=lambda i: (trajectory(i), i))
        try:
            async with asyncio.TaskGroup() as group:
                for _, places in groupby(order, key=trajectory):
                    group.create_task(chain(list(places)))
        except* Exception as errors:
            for result in results:
                if not result.done():
                    result.set_exception(errors.exceptions[0])
        finally:
            for result in results:
                if not result.done():
                    result.set_exception(CancelledError())

    async def _complete(self, prompt: Prompt, indices: range, sampling: Sampling, seed: int) -> list[Completion]:
        """Return a completion per index: one request with `n`, then single ones for what the server did not give."""
        n, first = len(indices), indices.start
        asked = n if self._many else 1
        try:
            got = await self._request(prompt, asked, first, sampling, seed)
        except _Refused as refusal:
            if asked == 1 or refusal.code.startswith(CONTEXT_FULL):
                return [_failed(refusal.code)] * n
            got = [await self._single(prompt, first, sampling, seed)]
        if all(one.finish_reason == "error" for one in got):
            return [got[0]] * n
        if len(got) < asked:
            logger.info("%s gives one completion per request; asking it %d times instead", self.endpoint, n)
            self._many = False
        rest = (self._single(prompt, index, sampling, seed) for index in indices[len(got) :])
        return [*got, *await asyncio.gather(*rest)][:n]

    async def _single(self, prompt: Prompt, index: int, sampling: Sampling, seed: int) -> Completion:
        try:
            return (await self._request(prompt, 1, index, sampling, seed))[0]
        except _Refused as refusal:
            return _failed(refusal.code)

    async def _request(
        self, prompt: Prompt, n: int, index: int, sampling: Sampling, seed: int
    ) -> list[Completion]:
        """Send one request with its retries. What stays transient becomes n error completions."""
        import openai

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.config.attempts) | stop_before_delay(self.config.total_timeout),
            wait=self._wait,
            retry=retry_if_exception(_transient),
            reraise=True,
        )
        body = self._body(prompt, n, index, sampling, seed)
        trajectory = _trajectory(prompt)
        try:
            # The slot is waited for outside of the deadline. A retry that goes around its server keeps this slot.
            async with self._server_of(trajectory).limit, asyncio.timeout(self.config.total_timeout):
                return await retrying(self._attempt, body, trajectory)
        except openai.APIStatusError as error:
            if _transient(error):
                return [_failed(f"http_{error.status_code}: {self._said(error)}")] * n
            why = CONTEXT_FULL if _is_context_full(error) else f"http_{error.status_code}"
            code = f"{why}: {self._said(error)}"
            raise _Refused(error.status_code, code) from None
        except (openai.OpenAIError, TimeoutError, ValueError, _BadResponse) as error:
            return [_failed(f"{_error_word(error)}: {self._said(error)}")] * n

    async def _attempt(self, body: dict[str, Any], trajectory: str) -> list[Completion]:
        import openai

        server = self._server_of(trajectory)
        try:
            async with asyncio.timeout(self.config.attempt_timeout):
                response = await server.connected().chat.completions.create(**body)
            return _completions(response)
        except openai.APIStatusError as error:
            if error.status_code in FATAL_STATUS:
                raise PolicyError(server.fatal(error.status_code)) from None
            raise
        except (openai.APIConnectionError, TimeoutError) as error:
            server.is_down(_error_word(error))
            raise
        except (AttributeError, TypeError, IndexError, KeyError, RecursionError) as error:
            raise _BadResponse(f"the body is no chat completion ({type(error).__name__}: {error})") from error

    def _server_of(self, trajectory: str) -> _Server:
        """Return the server of a trajectory, or the next one that is not known to be down."""
        start = derive_seed("server", trajectory) % len(self._servers)
        ring = [*self._servers[start:], *self._servers[:start]]
        return next((s for s in ring if s.down_until < monotonic()), min(ring, key=lambda s: s.down_until))

    def _body(self, prompt: Prompt, n: int, index: int, sampling: Sampling, seed: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": [_sendable({k: m[k] for k in MESSAGE_KEYS if k in m}) for m in prompt.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "extra_body": dict(self.config.extra_body),
        }
        if prompt.tools:
            body["tools"] = [_sendable(tool) for tool in prompt.tools]
        if n > 1:
            body["n"] = n
        if self.config.send_seed:
            body["seed"] = derive_seed(seed, prompt.prompt_id, index)
        if self.config.logprobs:
            body["logprobs"] = True
        if self.config.return_token_ids:
            body["extra_body"]["return_token_ids"] = True
        return body

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = _retry_after(getattr(getattr(error, "response", None), "headers", None) or {})
        if asked is not None:
            return min(asked, self.config.retry_after_cap)
        doubled = self.config.backoff * 2.0 ** (state.attempt_number - 1)
        return min(8.0, doubled) + random.uniform(0, self.config.backoff)

    def _said(self, error: BaseException) -> str:
        """Return what an error says, short and without the key."""
        text = " ".join(str(error).split())[:200]
        return text.replace(self.config.key, "***") if self.config.key else text


class _Server:
    """One server and the client for it, made anew after a fork."""

    def __init__(self, base_url: str, config: EndpointConfig) -> None:
        self._base_url, self._config = base_url, config
        self._client: Any = None
        self._client_pid = -1
        self.limit = asyncio.Semaphore(config.concurrency)
        self.down_until = self._told_until = 0.0

    @property
    def name(self) -> str:
        """Host and path, without credentials."""
        parts = urlsplit(self._base_url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def connected(self) -> Any:
        if self._client is None or self._client_pid != os.getpid():
            import openai

            self._client = openai.AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._config.key or "EMPTY",
                timeout=self._config.attempt_timeout,
                max_retries=0,
            )
            self._client_pid = os.getpid()
        return self._client

    def is_down(self, why: str) -> None:
        self.down_until = monotonic() + DOWN_SECONDS
        if monotonic() >= self._told_until:
            self._told_until = self.down_until
            asked = f"each request is tried up to {self._config.attempts} times"
            logger.warning("policy endpoint %s does not answer (%s); %s", self.name, why, asked)

    def released(self) -> Any:
        """Give up the client and return it, if it is of this process."""
        client, self._client = self._client, None
        return client if self._client_pid == os.getpid() else None

    def fatal(self, status: int) -> str:
        if status == 404:
            return (
                f"policy endpoint {self.name} answers 404 for model {self._config.model!r}; "
                f"expected a served model name and a base_url that ends in /v1. See {self.name}/models"
            )
        held = "is set" if self._config.key else "is not set"
        return (
            f"policy endpoint {self.name} refuses our key (HTTP {status}); "
            f"{self._config.api_key_env} {held}: put a valid key for this endpoint there"
        )


class _BadResponse(Exception):
    """A 200 whose body is no chat completion; worth another attempt."""


class _Refused(Exception):
    """A request this server will never take."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.code = status, code
        super().__init__(code)


class _LoopThread:
    """One event loop in one background thread, made anew after a fork: an SDK client belongs to one loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = -1
        self._lock = threading.Lock()

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                threading.Thread(target=self._loop.run_forever, name="pivot-envs-policy", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)


def _import_openai() -> None:
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            "an endpoint policy needs the openai package; install it with: pip install 'pivot-envs[judge]'"
        ) from error


def _trajectory(prompt: Prompt) -> str:
    return prompt.prompt_id.rpartition("/")[0]


def _failed(error: str) -> Completion:
    return Completion("", finish_reason="error", error=error)


def _transient(error: BaseException) -> bool:
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in TRANSIENT_STATUS or error.status_code >= 500
    # A 200 that is not JSON raises a bare ValueError (json.JSONDecodeError) out of the SDK.
    return isinstance(error, openai.APIConnectionError | TimeoutError | _BadResponse | ValueError)


def _error_word(error: BaseException) -> str:
    import openai

    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return "timeout"
    return "connection" if isinstance(error, openai.APIConnectionError) else "bad_response"


def _is_context_full(error: Any) -> bool:
    return error.status_code in (400, 413, 422) and (
        getattr(error, "code", None) == "context_length_exceeded" or bool(CONTEXT_MESSAGE.search(str(error)[:2000]))
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks us to wait: milliseconds, seconds, or a date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, TypeError):
        return None


def _sendable(value: Any) -> Any:
    """Return the value with lone surrogates replaced: they have no UTF-8 form and would break the request."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_sendable(k): _sendable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_sendable(v) for v in value]
    return value


def _completions(response: Any) -> list[Completion]:
    """Read the choices of a chat completion. Raises TypeError and its like where the body is something else."""
    if not response.choices:
        raise TypeError("choices is empty")
    prompt_ids = tuple((response.model_extra or {}).get("prompt_token_ids") or ())
    first, *others = (_completion(choice, prompt_ids) for choice in response.choices)
    usage = response.usage
    if usage is not None:
        asked, written = _count(usage.prompt_tokens), _count(usage.completion_tokens)
        first = replace(first, prompt_tokens=asked, completion_tokens=written)
    return [first, *others]


def _count(value: Any) -> int:
    """Return a number of tokens as a server gives it, 0 where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def _completion(choice: Any, prompt_ids: tuple[int, ...]) -> Completion:
    finish = FINISH.get(choice.finish_reason)
    if finish is None:
        return _failed(f"finish_reason {str(choice.finish_reason)[:40]!r}")
    message = choice.message
    text: dict[str, Any] = {"role": "assistant", "content": message.content}
    reasoning = (message.model_extra or {}).get("reasoning_content") or (message.model_extra or {}).get("reasoning")
    if reasoning:
        text["reasoning_content"] = reasoning
    if message.tool_calls:
        text["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
    tokens = choice.logprobs.content if choice.logprobs else None
    return Completion(
        json.dumps(text),
        prompt_ids=prompt_ids,
        token_ids=tuple((choice.model_extra or {}).get("token_ids") or ()),
        logprobs=tuple(token.logprob for token in tokens or ()),
        finish_reason=finish,
    )

"""A real local HTTP server that speaks enough of the OpenAI chat API to fail in every way a real one does.

    with FakeEndpoint(["busy", "ok"]) as endpoint:
        endpoint.base_url, endpoint.requests

Each request takes the next word of the script; the last word stays. Words are the methods below.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


def choice(index: int = 0, *, text: str | None = "Hello.", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """Return one choice of a chat completion."""
    return {
        "index": index,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text, **message},
        "logprobs": None,
    }


def completion(choices: list[dict[str, Any]], **extra: Any) -> Reply:
    """Return a 200 with a chat completion."""
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **extra}
    return 200, {}, json.dumps(body).encode()


def refusal(status: int, message: str, headers: dict[str, str] | None = None, code: str | None = None) -> Reply:
    """Return an error reply in OpenAI's form."""
    return status, headers or {}, json.dumps({"error": {"message": message, "code": code}}).encode()


class FakeEndpoint:
    """The server; a context manager. `requests` holds every body that came, `peak` the most at one time."""

    def __init__(self, script: Sequence[str | Callable[[dict[str, Any]], Reply]] = ("ok",)) -> None:
        self.script = list(script)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.peak = 0
        self._now = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeEndpoint:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    # ---- words of a script

    def ok(self, body: dict[str, Any]) -> Reply:
        """Text, as many choices as asked."""
        return completion([choice(i, text=f"Hello {i}.") for i in range(body.get("n", 1))])

    def one(self, body: dict[str, Any]) -> Reply:
        """One choice whatever was asked."""
        return completion([choice(text=f"seed {body.get('seed')}")])

    def one_only(self, body: dict[str, Any]) -> Reply:
        """Refuses n > 1."""
        return refusal(400, "n must be 1") if body.get("n", 1) > 1 else self.one(body)

    def call(self, body: dict[str, Any]) -> Reply:
        """A tool call with token ids and log-probabilities."""
        function = {"name": "get_line", "arguments": '{"line_id": "L1"}'}
        calls = [{"id": "t1", "type": "function", "function": function}]
        made = choice(text=None, finish="tool_calls", tool_calls=calls)
        made["logprobs"] = {"content": [{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
        made["token_ids"] = [7]
        return completion([made], prompt_token_ids=[1, 2, 3])

    def cut(self, body: dict[str, Any]) -> Reply:
        """Ran out of tokens before saying anything."""
        return completion([choice(text=None, finish="length")])

    def busy(self, body: dict[str, Any]) -> Reply:
        """429 with Retry-After 1."""
        return refusal(429, "slow down", {"Retry-After": "1"})

    def busy_long(self, body: dict[str, Any]) -> Reply:
        """429 that asks for an hour."""
        return refusal(429, "come back later", {"Retry-After": "3600"})

    def broken(self, body: dict[str, Any]) -> Reply:
        """500."""
        return refusal(500, "internal error")

    def garbage(self, body: dict[str, Any]) -> Reply:
        """200 that is not JSON."""
        return 200, {"Content-Type": "application/json"}, b"<html>gateway</html>"

    def brackets(self, body: dict[str, Any]) -> Reply:
        """200 with JSON nested beyond any parser."""
        return 200, {"Content-Type": "application/json"}, b"[" * 200_000

    def empty(self, body: dict[str, Any]) -> Reply:
        """200 with no choices."""
        return completion([])

    def nothing(self, body: dict[str, Any]) -> Reply:
        """200 with an empty object."""
        return 200, {}, b"{}"

    def no_key(self, body: dict[str, Any]) -> Reply:
        """401 that repeats the key."""
        return refusal(401, f"Incorrect API key provided: {self.keys[-1]}")

    def no_model(self, body: dict[str, Any]) -> Reply:
        """404."""
        return refusal(404, "model not found")

    def too_long(self, body: dict[str, Any]) -> Reply:
        """400 as vLLM says that a prompt does not fit."""
        return refusal(400, "This model's maximum context length is 4096 tokens, you requested 9000")

    def hang(self, body: dict[str, Any]) -> Reply:
        """Answers nothing until the server closes."""
        self._released.wait(30)
        return refusal(500, "closing")

    def reset(self, body: dict[str, Any]) -> Reply:
        """Cuts the connection."""
        raise ConnectionResetError

    # ---- HTTP

    def _answer(self, body: dict[str, Any], key: str) -> Reply:
        with self._lock:
            word = self.script[min(len(self.requests), len(self.script) - 1)]
            self.requests.append(body)
            self.keys.append(key)
            self._now += 1
            self.peak = max(self.peak, self._now)
        try:
            return getattr(self, word)(body) if isinstance(word, str) else word(body)
        finally:
            with self._lock:
                self._now -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status, headers, payload = fake._answer(body, self.headers.get("Authorization", "")[7:])
                except ConnectionResetError:
                    # A bare close() would leave the connection open behind rfile and wfile.
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

        return Handler

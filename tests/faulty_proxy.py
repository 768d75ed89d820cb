"""A proxy before a real OpenAI-compatible server that spoils chosen requests and counts what it delivered.

    with FaultyProxy("http://127.0.0.1:8000", {2: "busy", 5: "hang"}) as proxy:
        proxy.base_url, proxy.prompt_tokens, proxy.completion_tokens

Requests are numbered from 1 as they come; a spoiled one never reaches the server, so what is delivered is what the
server was asked for. Words are the methods of `fake_endpoint.FakeEndpoint`.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from fake_endpoint import FakeEndpoint, Reply


class FaultyProxy(FakeEndpoint):
    """The proxy; a context manager. `faults` is request number -> word."""

    def __init__(self, upstream: str, faults: Mapping[int, str]) -> None:
        super().__init__([self.forward])
        self.upstream, self.faults = upstream.rstrip("/"), dict(faults)
        self.spoiled: list[str] = []
        self.delivered = self.prompt_tokens = self.completion_tokens = 0
        self.numbers = iter(range(1, 1_000_000))

    def forward(self, body: dict[str, Any]) -> Reply:
        """Ask the server, or spoil the request if it is its turn."""
        with self._lock:
            word = self.faults.pop(next(self.numbers), "")
        if word:
            self.spoiled.append(word)
            reply: Reply = getattr(self, word)(body)
            return reply
        return self._ask(body)

    def _ask(self, body: dict[str, Any]) -> Reply:
        request = urllib.request.Request(
            f"{self.upstream}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                payload = answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {}, error.read()
        usage = json.loads(payload)["usage"]
        with self._lock:
            self.delivered += 1
            self.prompt_tokens += usage["prompt_tokens"]
            self.completion_tokens += usage["completion_tokens"]
        return 200, {}, payload

from __future__ import annotations

import pytest

TEXTS = [
    "user: please look up line 4711 and restart the router",
    'assistant: <tool_call>\n{"name": "get_line", "arguments": {"line_id": "4711"}}\n</tool_call>',
    "yes no maybe alpha beta gamma delta red green blue",
] * 10


@pytest.fixture(autouse=True)
def _one_thread():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny():
    """Build tiny policies; equal arguments give equal weights."""
    from pivot_envs.trainer.tiny import tiny_model

    def build(**settings):
        return tiny_model(TEXTS, **{"width": 32, "context_length": 2048, **settings})

    return build


@pytest.fixture
def prompt():
    """Make a one-message prompt."""
    from pivot_envs.contracts import Prompt

    def build(prompt_id: str, text: str = "please look up line 4711"):
        return Prompt(prompt_id, ({"role": "user", "content": text},), ())

    return build

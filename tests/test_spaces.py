"""The chat spaces hold what environments show, and the stock checkers agree."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from pivot_envs.spaces import JsonSpace, MessagesSpace, UnicodeText

CALL = {"id": "c", "type": "function", "function": {"name": "reboot", "arguments": "{}"}}
CHAT = [
    {"role": "system", "content": "规则"},
    {"role": "user", "content": "line\nbreak, 🙂"},
    {"role": "user", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "ok"},
    {"role": "assistant", "content": [{"type": "text", "text": "x"}]},
]


class Chat(gym.Env[Any, Any]):
    """One-step environment that shows the hardest conversation."""

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Dict({"messages": MessagesSpace(), "tools": JsonSpace()})
        self.action_space = UnicodeText()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return {"messages": CHAT, "tools": [{"name": "t", "x": [1.5, None]}]}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return {"messages": (), "tools": []}, 1.0, True, False, {}

    def render(self) -> Any:
        return "x" if self.render_mode == "ansi" else None


def test_the_checker_is_clean_with_warnings_as_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(Chat(), skip_render_check=True)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments_carry_the_spaces(mode: str) -> None:
    makers = [Chat, Chat]
    vector: Any = (
        gym.vector.SyncVectorEnv(makers) if mode == "sync" else gym.vector.AsyncVectorEnv(makers, shared_memory=False)
    )
    try:
        observation, _ = vector.reset(seed=0)
        assert [list(chat) for chat in observation["messages"]] == [CHAT, CHAT]
        assert list(vector.step(("a", "b"))[1]) == [1.0, 1.0]
    finally:
        vector.close()


@pytest.mark.parametrize("space", [MessagesSpace(), JsonSpace(), UnicodeText(), UnicodeText(5)])
def test_samples_belong_to_their_space_and_repeat_with_the_seed(space: gym.Space[Any]) -> None:
    space.seed(3)
    drawn = [space.sample() for _ in range(50)]
    assert all(space.contains(value) for value in drawn)
    space.seed(3)
    assert [space.sample() for _ in range(50)] == drawn
    copied = pickle.loads(pickle.dumps(space))
    assert copied == space
    assert len(repr(space)) < 40
    with pytest.raises(ValueError, match="neither mask nor probability"):
        space.sample(mask=(1,))


def test_spaces_are_equal_only_to_their_kind() -> None:
    assert MessagesSpace() == MessagesSpace() != JsonSpace()
    assert UnicodeText(5) != UnicodeText(6)
    assert UnicodeText(5) != gym.spaces.Text(5)


@pytest.mark.parametrize(
    "chat",
    [
        "text",
        [5],
        [{"content": "no role"}],
        [{"role": "robot", "content": ""}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": "\ud800"}],
        [{"role": "user", "content": ["part"]}],
        [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "a", "arguments": {}}}]}],
        [{"role": "tool", "content": "", "tool_call_id": 5}],
        [{"role": "user", "content": "", "extra": float("nan")}],
    ],
)
def test_what_is_no_conversation_is_outside(chat: Any) -> None:
    assert not MessagesSpace().contains(chat)


def test_text_may_be_anything_utf8_can_write() -> None:
    assert UnicodeText().contains("世界\n🙂\x00")
    assert not UnicodeText().contains("\ud800")
    assert not UnicodeText(3).contains("four")
    assert not UnicodeText().contains(b"bytes")


def test_json_rejects_what_json_cannot_hold() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert not any(JsonSpace().contains(value) for value in (float("inf"), {1, 2}, object(), deep, "\udfff"))

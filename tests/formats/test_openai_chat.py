"""OpenAI chat lines become trajectories and go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pivot_envs.errors import ConfigError, RecordError
from pivot_envs.formats import READERS, WRITERS, reader, writer
from pivot_envs.formats.openai_chat import read, write
from pivot_envs.trajectories import SkippedLines

FILE = Path(__file__).parent.parent / "data" / "openai_chat.jsonl"


def test_missing_ids_are_given_and_object_arguments_become_strings() -> None:
    first, second = read(FILE, domain="doors")
    assert (first.trajectory_id, first.domain, first.task_id) == ("openai_chat-000001", "doors", "openai_chat-000001")
    assert (second.trajectory_id, second.task_id, second.outcome.reward) == ("loose", "7", 1.0)
    calls = second.messages[1]["tool_calls"]
    assert [call["id"] for call in calls] == ["call_1_0", "call_1_1"]
    assert json.loads(calls[1]["function"]["arguments"]) == {"at": "right"}
    assert [message["tool_call_id"] for message in second.messages[2:4]] == ["call_1_0", "call_1_1"]
    assert second.meta == {"id": "loose", "dataset": "hand-made", "reward": 1}
    assert second.initial_state.ref == "7"


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    runs = list(read(FILE))
    assert write(tmp_path / "o.jsonl", runs) == 2
    assert list(read(tmp_path / "o.jsonl")) == runs
    for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines():
        for message in json.loads(line)["messages"]:
            for call in message.get("tool_calls") or ():
                assert isinstance(call["function"]["arguments"], str)


@pytest.mark.parametrize(
    ("record", "field", "match"),
    [
        ({"prompt": "x"}, "messages", "fields here: 'prompt'"),
        ({"messages": "x"}, "messages", "expected a list"),
        ({"messages": [5]}, "messages[0]", "expected an object, got 5"),
        ({"messages": [{"role": "assistant", "tool_calls": [5]}]}, "messages[0].tool_calls[0]", "expected an object"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "messages[0].tool_calls", "expected a list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "no call waits"),
        ({"messages": [], "meta": 5}, "meta", "expected an object"),
        ({"messages": [{"role": "user", "content": "x"}], "task_id": []}, "task_id", "valid string"),
    ],
)
def test_a_broken_line_names_line_and_field(record: dict[str, Any], field: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text(FILE.read_text(encoding="utf-8") + json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=match) as raised:
        list(read(path))
    assert (raised.value.line, raised.value.field) == (3, field)
    skipped = SkippedLines()
    assert len(list(read(path, skip_invalid=True, on_error=skipped))) == 2
    assert len(skipped) == 1


def test_formats_are_found_by_name_and_an_unknown_one_names_its_neighbour() -> None:
    assert all(callable(reader(name)) for name in READERS)
    assert all(callable(writer(name)) for name in WRITERS)
    with pytest.raises(ConfigError, match="Did you mean 'openai_chat'"):
        reader("openai-chat")


def test_a_call_in_the_name_of_the_user_is_refused_in_a_message_of_the_assistant(tmp_path: Path) -> None:
    call = {"name": "look", "arguments": {}, "requestor": "user"}
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "assistant", "tool_calls": [call]}]}) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match="a party calls for itself"):
        list(read(path))


def test_a_line_without_a_task_has_that_of_its_own_initial_state(tmp_path: Path) -> None:
    line = {"id": "r1", "messages": [{"role": "user", "content": "?"}]}
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps({**line, "initial_state": {"kind": "task", "ref": "t7"}}) + "\n", encoding="utf-8")
    assert [run.task_id for run in read(path)] == ["t7"]
    path.write_text(json.dumps({**line, "initial_state": {"kind": "image", "ref": "alpine"}}) + "\n", encoding="utf-8")
    assert [run.task_id for run in read(path)] == ["r1"]

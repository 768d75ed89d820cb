"""Imitation of demonstrated turns."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pivot_envs.contracts import Prompt  # noqa: E402
from pivot_envs.errors import ConfigError  # noqa: E402
from pivot_envs.records import Sampling  # noqa: E402
from pivot_envs.trainer.config import SFTConfig  # noqa: E402
from pivot_envs.trainer.model import load_policy  # noqa: E402
from pivot_envs.trainer.sft import SFTExample, _rows, train_sft  # noqa: E402

COLOURS = {"alpha": "red", "beta": "green", "gamma": "blue"}


@pytest.fixture
def examples(prompt):
    return [SFTExample(prompt(word, f"{word} {word} {word}"), colour) for word, colour in COLOURS.items()]


def test_a_tiny_model_learns_its_demonstrations_by_heart(tiny, examples, tmp_path):
    policy, seen = tiny(width=64), []
    config = SFTConfig(epochs=60, batch_size=3, lr=1e-2)
    result = train_sft(policy, examples, config, tmp_path / "sft", seen.append)
    assert result.last_loss < 0.1 < 4 < result.first_loss
    assert (result.steps, result.excluded, len(seen)) == (60, 0, 60)
    answers = policy.sample([e.prompt for e in examples], 1, Sampling(0.0, 1.0, 20), 0)
    assert [group[0].text for group in answers] == [e.text for e in examples]
    rows = [json.loads(line) for line in (tmp_path / "sft" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] == result.last_loss
    assert load_policy(tmp_path / "sft" / "policy").fingerprint == policy.fingerprint


def test_the_same_seed_gives_the_same_weights_and_micro_batches_the_same_gradient(tiny, examples):
    fingerprints, weights = [], []
    for micro_batch in (3, 3, 1):
        policy = tiny()
        train_sft(policy, examples, SFTConfig(epochs=1, batch_size=3, micro_batch=micro_batch, lr=1e-3))
        fingerprints.append(policy.fingerprint)
        weights.append(torch.cat([p.detach().flatten() for p in policy.model.parameters()]))
    assert fingerprints[0] == fingerprints[1]
    assert torch.allclose(weights[0], weights[2], atol=1e-4)


def test_only_the_tokens_of_the_turn_are_trained_on(tiny, examples):
    policy, rows = tiny(), []
    train_sft(policy, examples, SFTConfig(epochs=1, batch_size=3), on_step=rows.append)
    assert rows[0]["tokens"] == sum(len(policy.encode_completion(e.text)) for e in examples)


def test_examples_that_do_not_fit_are_left_out_and_none_left_is_an_error(tiny, examples, prompt):
    policy = tiny()
    policy.max_prompt_tokens = 40
    long = SFTExample(prompt("long", "a much longer request " * 30), "no")
    assert train_sft(policy, [*examples, long], SFTConfig(epochs=1)).excluded == 1
    with pytest.raises(ConfigError, match="none of 1 examples fits tiny: at most 40 tokens"):
        train_sft(policy, [long], SFTConfig())


def test_turns_of_one_conversation_are_run_once_with_the_same_gradient(tiny, prompt):
    said = [("hello", "hi"), ("red?", "no"), ("blue?", "yes")]
    messages, turns = [], []
    for asked, answered in said:
        messages = [*messages, {"role": "user", "content": asked}]
        turns.append(SFTExample(Prompt("p", tuple(messages), ()), answered))
        messages = [*messages, {"role": "assistant", "content": answered}]
    weights = []
    for examples in (turns, turns[::-1]):  # backwards no prompt begins with the sequence before it: three sequences
        policy = tiny()
        rows = _rows(policy, examples)
        assert sum(row.turns for row in rows) == 3
        weights.append((len(rows), policy))
        train_sft(policy, examples, SFTConfig(epochs=1, batch_size=3, lr=1e-3))
    assert [count for count, _ in weights] == [1, 3]
    flat = [torch.cat([p.detach().flatten() for p in policy.model.parameters()]) for _, policy in weights]
    assert torch.allclose(flat[0], flat[1], atol=1e-4)

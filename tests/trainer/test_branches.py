"""Completions of many prompts decoded in one batch against each prompt decoded by itself."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from pivot_envs.contracts import SampleRequest  # noqa: E402
from pivot_envs.errors import ConfigError  # noqa: E402
from pivot_envs.records import Sampling  # noqa: E402
from pivot_envs.trainer import branches  # noqa: E402
from pivot_envs.trainer.branches import branching, decode_together, portions  # noqa: E402
from pivot_envs.trainer.model import TransformersPolicy  # noqa: E402
from pivot_envs.trainer.sampling import GrowingCache, decode  # noqa: E402

VOCAB = 97
GREEDY, WARM, CUT = Sampling(0.0, 1.0, 24), Sampling(1.0, 1.0, 24), Sampling(0.7, 0.9, 24)
CONFIGS = {
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig),
    "qwen2": (transformers.Qwen2ForCausalLM, transformers.Qwen2Config),
    "qwen3": (transformers.Qwen3ForCausalLM, transformers.Qwen3Config),
}


def make_model(architecture, **more):
    model, config = CONFIGS[architecture]
    torch.manual_seed(0)
    fields = dict(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512, attn_implementation="sdpa",
    )  # fmt: skip
    return model(config(**{**fields, **more})).eval()


def prefills(model, lengths):
    growing = GrowingCache(model)
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(3, VOCAB, (length,), generator=generator).tolist() for length in lengths]
    return [growing.prefill(f"helpdesk/{place}/0", each) for place, each in enumerate(ids)]


def uniforms(counts, limits):
    generator = torch.Generator().manual_seed(2)
    sizes = zip(counts, limits, strict=True)
    return [torch.rand(n, limit, dtype=torch.float64, generator=generator) for n, limit in sizes]


@pytest.mark.parametrize("sampling", [GREEDY, WARM, CUT], ids=["greedy", "warm", "cut"])
@pytest.mark.parametrize("architecture", CONFIGS)
def test_prompts_of_unequal_lengths_groups_and_limits_are_decoded_together_as_alone(architecture, sampling):
    model = make_model(architecture)
    run = prefills(model, (5, 61, 1, 30))
    drawn = uniforms((3, 1, 4, 2), (24, 24, 9, 24))
    stop_ids = frozenset(range(0, VOCAB, 9))  # about every ninth token ends a turn, so rows leave at any time
    assert branching(model, run[0])
    together = decode_together(model, run, drawn, sampling, stop_ids)
    for prefill, each, (token_ids, logprobs) in zip(run, drawn, together, strict=True):
        alone_ids, alone_logprobs = decode(model, prefill, each, sampling, stop_ids)
        assert token_ids == alone_ids
        for one, two in zip(logprobs, alone_logprobs, strict=True):
            assert one == pytest.approx(two, abs=1e-4)
    assert len({len(tokens) for token_ids, _ in together for tokens in token_ids}) > 2


def test_the_models_own_attention_is_in_place_again_afterwards():
    model = make_model("llama")
    run = prefills(model, (5, 9))
    decode_together(model, run, uniforms((2, 2), (4, 4)), GREEDY, frozenset({-1}))
    assert model.config._attn_implementation == "sdpa"


def test_rows_that_have_ended_leave_the_batch(monkeypatch):
    model = make_model("llama")
    rows = []
    step = branches._step
    monkeypatch.setattr(branches, "_step", lambda m, tokens, *rest: rows.append(len(tokens)) or step(m, tokens, *rest))
    run = prefills(model, (5, 9, 30))
    decode_together(model, run, uniforms((4, 4, 4), (2, 6, 10)), GREEDY, frozenset({-1}))
    assert rows == [12] + [8] * 4 + [4] * 4


def test_a_model_whose_attention_is_not_the_plain_one_decodes_prompt_by_prompt(tiny, prompt):
    """A window, a scaled score: what branches do not know is found by running one step both ways."""
    windowed = transformers.MistralForCausalLM(
        transformers.MistralConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, sliding_window=8,
        )
    ).eval()  # fmt: skip
    assert not branching(windowed, prefills(windowed, (20,))[0])
    odd = make_model("llama")

    def louder(module, inputs, output):
        return (output[0] * (2 if odd.config._attn_implementation == "sdpa" else 1), output[1])

    odd.model.layers[1].self_attn.register_forward_hook(louder)
    assert not branching(odd, prefills(odd, (20,))[0])
    policy = tiny()
    other = TransformersPolicy(policy.model, policy.tokenizer, "other")
    other._branching = False
    requests = [SampleRequest(prompt(f"helpdesk/{i}/0", "alpha " * i), 2, i) for i in range(4)]
    assert [[c.token_ids for c in group] for group in policy.sample_together(requests, WARM)] == [
        [c.token_ids for c in group] for group in other.sample_together(requests, WARM)
    ]
    assert policy._branching is True


def test_requests_keep_their_order_their_seeds_and_their_errors(tiny, prompt):
    policy = tiny()
    policy.max_prompt_tokens = 40
    requests = [
        SampleRequest(prompt("helpdesk/a/0", "alpha"), 2, 1),
        SampleRequest(prompt("helpdesk/b/0", "a much longer request " * 9), 3, 2),
        SampleRequest(prompt("helpdesk/c/0", "gamma"), 1, 3, first=5),
    ]
    first, long, last = policy.sample_together(requests, WARM)
    assert [c.finish_reason for c in long] == ["error"] * 3 and long[0].error.startswith("context_full")
    alone = [next(policy.sample([r.prompt], r.n, WARM, r.seed, r.first)) for r in (requests[0], requests[2])]
    assert [[c.token_ids for c in group] for group in (first, last)] == [[c.token_ids for c in g] for g in alone]
    with pytest.raises(ConfigError, match="cannot sample n=0"):
        policy.sample_together([SampleRequest(prompt("helpdesk/a/0"), 0, 0)], WARM)
    assert policy.sample_together([], WARM) == []


def test_prompts_that_would_take_too_much_memory_are_decoded_in_portions(monkeypatch):
    run = prefills(make_model("llama"), (5, 61, 1, 30))
    token = 2 * 3 * 2 * 8 * 4  # keys and values, layers, heads, width, bytes
    assert list(portions(run, [2] * 4)) == [[0, 1, 2, 3]]
    monkeypatch.setattr(branches, "PREFIX_BYTES", 2 * 61 * token)
    assert list(portions(run, [2] * 4)) == [[0, 1], [2, 3]]
    monkeypatch.setattr(branches, "PREFIX_BYTES", 1)
    assert list(portions(run, [2] * 4)) == [[0], [1], [2], [3]]


def test_groups_of_unlike_size_are_decoded_apart_and_returned_in_order(tiny, prompt):
    run = prefills(make_model("llama"), (5, 61, 1, 30, 9))
    assert list(portions(run, [1, 20, 12, 1, 10])) == [[1, 2], [4], [0, 3]]
    policy = tiny()
    requests = [SampleRequest(prompt(f"helpdesk/{n}/0", "alpha " * n), n, n) for n in (1, 9, 2, 1)]
    together = policy.sample_together(requests, WARM)
    assert [len(group) for group in together] == [1, 9, 2, 1]
    alone = [policy.sample_together([request], WARM)[0] for request in requests]
    assert [[c.token_ids for c in group] for group in together] == [[c.token_ids for c in group] for group in alone]

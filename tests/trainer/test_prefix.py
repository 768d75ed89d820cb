"""Shared-prefix log-probs and gradients against whole rows, on three architectures."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from pivot_envs.trainer import prefix as shared  # noqa: E402

VOCAB, PROMPT, LENGTHS = 97, 40, (1, 7, 12, 5)


def make_model(architecture: str):
    common = dict(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    if architecture == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**common)).eval()
    if architecture == "qwen2":
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**common)).eval()
    window = {"gemma3_short_window": 16, "gemma3_long_window": 128}[architecture]
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    config = transformers.Gemma3TextConfig(**common, head_dim=8, sliding_window=window, layer_types=layers)
    return transformers.Gemma3ForCausalLM(config).eval()


def ids(seed: int, count: int) -> list[int]:
    return torch.randint(3, VOCAB, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def group() -> tuple[list[int], list[list[int]]]:
    return ids(0, PROMPT), [ids(row + 1, length) for row, length in enumerate(LENGTHS)]


def weighted(logprobs_GT, mask_GT, rows):
    weight = torch.tensor([1.0, -0.7, 0.4, -1.2])[rows]
    return -(weight[:, None] * torch.where(mask_GT, logprobs_GT, 0.0)).sum() / sum(LENGTHS)


def gradient(model, mode: str, micro_batch: int):
    model.zero_grad(set_to_none=True)
    shared.group_backward(model, *group(), weighted, 0.7, micro_batch, mode)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


ARCHITECTURES = ["llama", "qwen2", "gemma3_short_window", "gemma3_long_window"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gradient_through_a_shared_prefix_is_the_full_one_for_every_micro_batch(architecture):
    model = make_model(architecture)
    full = gradient(model, "full", len(LENGTHS))
    assert float(full.norm()) > 0
    for mode, micro_batch in (("cache", 4), ("cache", 2), ("cache", 1), ("full", 1)):
        difference = float((gradient(model, mode, micro_batch) - full).norm() / full.norm())
        assert difference < 1e-5, (mode, micro_batch, difference)
    assert shared.gradient_difference(model, *group(), weighted, 0.7, 2) < 1e-5


def test_a_window_cache_that_forgets_its_length_is_found_by_the_self_check(monkeypatch):
    model = make_model("gemma3_short_window")
    expanded = shared._Prefix._expanded

    def forgetful(self, rows):
        cache = expanded(self, rows)
        for layer in cache.layers:
            if isinstance(layer, shared.DynamicSlidingWindowLayer):
                layer.cumulative_length = layer.keys.shape[-2]
        return cache

    monkeypatch.setattr(shared._Prefix, "_expanded", forgetful)
    assert shared.gradient_difference(model, *group(), weighted, 0.7, 2) > 0.05


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shared_and_full_log_probs_agree_and_keep_the_order_of_rows(architecture):
    model = make_model(architecture)
    prompt_ids, completions = group()
    cached = shared.group_logprobs(model, prompt_ids, completions, 0.7, 2, "cache")
    whole = shared.group_logprobs(model, prompt_ids, completions, 0.7, 3, "full")
    for one, two, completion in zip(cached, whole, completions, strict=True):
        assert one.shape == two.shape == (len(completion),)
        assert torch.allclose(one, two, atol=2e-5)


def test_rows_with_prompts_of_different_lengths_give_each_its_own_log_probs():
    model = make_model("llama")
    prompts, completions = [ids(5, 9), ids(6, 30)], [ids(7, 6), ids(8, 2)]
    together, mask = shared.full_logprobs(model, prompts, completions)
    for row in range(2):
        alone = shared.full_logprobs(model, prompts[row : row + 1], completions[row : row + 1])[0][0]
        assert torch.allclose(together[row][mask[row]], alone, atol=1e-5)


def test_a_pass_over_a_group_forwards_the_prompt_once():
    """P 1,024, R 48, G 8: 1,408 positions against 8,576."""
    model = make_model("llama")
    model.config.max_position_embeddings = 2048
    prompt_ids, completions = ids(0, 1024), [ids(g, 48) for g in range(8)]
    counted = []
    hook = model.model.embed_tokens.register_forward_hook(
        lambda module, inputs, output: counted.append(inputs[0].numel())
    )
    loss = lambda logprobs, mask, rows: -logprobs.sum() / 384  # noqa: E731
    for mode, expected in (("cache", 1408), ("full", 8576)):
        counted.clear()
        shared.group_backward(model, prompt_ids, completions, loss, 1.0, 4, mode)
        assert sum(counted) == expected == shared.forwarded_tokens(1024, [48] * 8, 4, mode)
    hook.remove()
    ragged = shared.forwarded_tokens(PROMPT, LENGTHS, 2, "cache")
    assert ragged == PROMPT + 2 * 12 + 2 * 5


def test_log_probs_are_those_of_the_distribution_at_the_temperature():
    logits = torch.tensor([[[2.0, 1.0, 0.0]]])
    token = torch.tensor([[0]])
    assert float(shared.token_logprobs(logits, token, 1.0)) == pytest.approx(-0.4076, abs=1e-4)
    assert float(shared.token_logprobs(logits, token, 0.6)) == pytest.approx(-0.2026, abs=1e-4)


def test_padding_is_masked_by_length_so_that_an_end_token_is_trained():
    end = 0
    padded_ids, mask = shared.padded([[end], [5, end], [7, 8, end]], torch.device("cpu"))
    assert mask.sum(1).tolist() == [1, 2, 3]
    assert padded_ids[mask].tolist() == [end, 5, end, 7, 8, end]


def test_a_cache_of_unknown_kind_is_refused(monkeypatch):
    class Strange(shared.DynamicLayer):
        pass

    model = make_model("llama")

    def strange_cache(config):
        cache = transformers.DynamicCache(config=config)
        cache.layers = [Strange() for _ in range(config.num_hidden_layers)]
        return cache

    monkeypatch.setattr(shared, "DynamicCache", strange_cache)
    with pytest.raises(shared.UnknownCache, match='Strange cache; .* set prefix_mode="full"'):
        shared.group_logprobs(model, *group())

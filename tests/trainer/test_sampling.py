"""Drawing tokens, and the cache that grows over the turns of a trajectory."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from pivot_envs.contracts import Prompt  # noqa: E402
from pivot_envs.records import Sampling  # noqa: E402
from pivot_envs.trainer.model import TransformersPolicy  # noqa: E402
from pivot_envs.trainer.sampling import GrowingCache, decode, draw  # noqa: E402

GREEDY, WARM = Sampling(0.0, 1.0, 10), Sampling(1.0, 1.0, 10)


def _conversation(policy, turns, first=300, step=120, trajectory="helpdesk/t1"):
    """Return the prompts of the turns of one trajectory: of exactly first, first + step, ... tokens."""
    digits = "".join(str((7 * i + len(trajectory)) % 10) for i in range(first + step * turns))
    messages, prompts = [], []
    for turn in range(turns):
        length = first + step * turn
        if turn:
            messages.append({"role": "assistant", "content": digits[turn : turn + 20]})
        bare = len(policy.render(Prompt("p", (*messages, {"role": "user", "content": ""}), ())))
        messages.append({"role": "user", "content": digits[: length - bare]})
        prompts.append(Prompt(f"{trajectory}/{turn}", tuple(messages), ()))
    assert [len(policy.render(prompt)) for prompt in prompts] == [first + step * turn for turn in range(turns)]
    return prompts


def _alone(policy, prompts, n, sampling, seed=0):
    """Sample each prompt in a call of its own, so that nothing is shared."""
    return [next(iter(policy.sample([prompt], n, sampling, seed))) for prompt in prompts]


def _token_ids(groups):
    return [[(c.prompt_ids, c.token_ids, c.finish_reason) for c in group] for group in groups]


def test_the_ten_turns_of_a_trajectory_cost_one_prefill_of_the_longest_prefix(tiny):
    policy = tiny()
    prompts = _conversation(policy, 10)
    alone = _alone(policy, prompts, 2, WARM)
    assert policy.prefilled_tokens == 8400
    shared = list(policy.sample(prompts, 2, WARM, 0))
    assert policy.prefilled_tokens - 8400 == 1380
    assert _token_ids(shared) == _token_ids(alone)


def test_the_counted_tokens_are_those_the_model_was_run_on(tiny):
    policy, seen = tiny(), []
    policy.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    prompts = _conversation(policy, 3)
    list(policy.sample(prompts[:1], 2, Sampling(max_tokens=1), 0))  # tries once how this model may be decoded
    before = policy.prefilled_tokens
    seen.clear()
    list(policy.sample(prompts, 2, Sampling(max_tokens=1), 0))
    assert seen == [300, 120, 120]
    assert policy.prefilled_tokens - before == sum(seen)


@pytest.mark.parametrize("sampling", [GREEDY, WARM, Sampling(0.7, 0.9, 10)])
def test_turns_that_continue_a_cache_are_sampled_as_alone(tiny, sampling):
    policy = tiny()
    prompts = _conversation(policy, 4, first=90, step=40)
    alone, shared = _alone(policy, prompts, 4, sampling, 3), list(policy.sample(prompts, 4, sampling, 3))
    assert _token_ids(shared) == _token_ids(alone)
    for one, other in zip(sum(shared, []), sum(alone, []), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_turns_of_several_trajectories_in_any_order_are_sampled_as_alone(tiny):
    policy = tiny()
    one, two = (_conversation(policy, 3, first=90, step=40, trajectory=f"helpdesk/{name}") for name in ("t1", "t22"))
    mixed = [one[0], two[0], one[1], two[1], two[2], one[2], one[1], one[2], one[0]]
    alone = _alone(policy, mixed, 3, WARM)
    before = policy.prefilled_tokens
    assert _token_ids(policy.sample(mixed, 3, WARM, 0)) == _token_ids(alone)
    # two[2] continues two[1]; one[1] is cut out of one[2] and runs its last token again; so does one[0] at the end.
    assert policy.prefilled_tokens - before == 90 + 90 + 130 + 130 + 40 + 170 + 1 + 40 + 1


def test_another_trajectory_shares_nothing_so_that_its_samples_do_not_depend_on_its_neighbours(tiny):
    policy = tiny()
    prompts = _conversation(policy, 2, first=90, step=40)
    neighbour = Prompt("helpdesk/other/0", prompts[0].messages, ())
    assert list(policy.sample([neighbour, *prompts], 3, WARM, 0))[1:] == list(policy.sample(prompts, 3, WARM, 0))


def test_a_template_that_drops_earlier_thinking_shares_what_comes_before_it(tiny):
    policy = tiny()
    policy.tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.revindex <= 2 and m.role == 'assistant' %}"
        "<think>alpha beta</think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    messages, prompts = [{"role": "user", "content": "look up line 4711"}], []
    for turn in range(4):
        prompts.append(Prompt(f"helpdesk/t/{turn}", tuple(messages), ()))
        messages += [{"role": "assistant", "content": f"yes {turn}"}, {"role": "user", "content": f"maybe {turn}"}]
    ids = [policy.render(prompt) for prompt in prompts]
    assert ids[2][: len(ids[1])] != ids[1]
    alone = _alone(policy, prompts, 3, WARM)
    before = policy.prefilled_tokens
    assert _token_ids(policy.sample(prompts, 3, WARM, 0)) == _token_ids(alone)
    assert len(ids[3]) < policy.prefilled_tokens - before < sum(map(len, ids)) * 0.7


def test_a_decoded_group_leaves_the_growing_cache_as_it_was(tiny):
    policy = tiny()
    growing = GrowingCache(policy.model)
    prompts = [policy.render(prompt) for prompt in _conversation(policy, 2, first=90, step=40)]
    prefill = growing.prefill("helpdesk/t/0", prompts[0])
    before = [(layer.keys.clone(), layer.values.clone()) for layer in prefill.cache.layers]
    decode(policy.model, prefill, torch.rand(3, 8, dtype=torch.float64), WARM, policy.stop_ids)
    for layer, (keys, values) in zip(prefill.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)
    assert growing.prefill("helpdesk/t/1", prompts[1]).tokens == 40


def test_weights_that_change_between_two_prompts_empty_the_cache(tiny):
    policy = tiny()
    growing = GrowingCache(policy.model)
    first, second = (policy.render(prompt) for prompt in _conversation(policy, 2, first=90, step=40))
    growing.prefill("helpdesk/t/0", first)
    with torch.no_grad():
        policy.model.model.layers[0].self_attn.v_proj.weight.mul_(1.5)
    prefill = growing.prefill("helpdesk/t/1", second)
    assert prefill.tokens == 130
    assert torch.equal(prefill.logits_1V, GrowingCache(policy.model).prefill("", second).logits_1V)


def test_trajectories_are_sampled_one_after_the_other_as_they_are_asked_for(tiny):
    policy = tiny()
    one, two = (_conversation(policy, 2, first=90, step=40, trajectory=f"helpdesk/{name}") for name in ("t1", "t22"))
    samples = policy.sample([*one, *two], 2, WARM, 0)
    next(samples), next(samples)
    assert policy.prefilled_tokens == 130


@pytest.mark.parametrize("window", [16, 512])
def test_a_sliding_window_model_shares_nothing_and_samples_the_same(tiny, window):
    tokenizer = tiny().tokenizer
    torch.manual_seed(0)
    model = transformers.MistralForCausalLM(
        transformers.MistralConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, sliding_window=window, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    policy = TransformersPolicy(model, tokenizer, "windowed")
    prompts = _conversation(policy, 3, first=90, step=40)
    alone = _alone(policy, prompts, 2, WARM)
    assert _token_ids(policy.sample(prompts, 2, WARM, 0)) == _token_ids(alone)
    assert policy.prefilled_tokens == 2 * (90 + 130 + 170)


def test_draws_follow_the_distribution_and_carry_its_log_probs():
    logits = torch.log(torch.tensor([[0.6, 0.3, 0.1]])).expand(1000, -1)
    uniforms = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    tokens, logprobs = draw(logits, uniforms, Sampling())
    assert torch.bincount(tokens).tolist() == [600, 300, 100]
    assert logprobs[0].exp() == pytest.approx(0.6)
    assert torch.bincount(draw(logits, uniforms, Sampling(0.0))[0]).tolist() == [1000]


def test_a_cut_distribution_is_renormalised():
    """Logits 2, 1, 0 at temperature .6 and top_p .95: .8411 and .1589 instead of .8166, .1542, .0291."""
    logits = torch.tensor([[2.0, 1.0, 0.0]] * 3)
    tokens, cut = draw(logits, torch.tensor([0.5, 0.9, 0.999], dtype=torch.float64), Sampling(0.6, 0.95))
    assert tokens.tolist() == [0, 1, 1]
    assert cut.exp().tolist() == pytest.approx([0.8411, 0.1589, 0.1589], abs=1e-4)
    whole = draw(logits, torch.tensor([0.5, 0.9, 0.999], dtype=torch.float64), Sampling(0.6))[1]
    assert whole.exp().tolist() == pytest.approx([0.8411 * 0.9709, 0.1542, 0.0291], abs=1e-4)

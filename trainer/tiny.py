"""A small random Llama with a tokenizer made from texts: what tests, `--policy tiny` and helpdesk-base begin with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pivot_envs.trainer.model import TransformersPolicy

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

TINY_TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>tools\n' }}{% for tool in tools %}{{ tool.function.name }}("
    "{{ (tool.function.parameters or {}).get('properties', {}) | join(', ') }}){{ '\n' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}"
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content }}"
    "{%- for call in message.tool_calls or [] %}"
    "{%- if message.content or not loop.first %}{{ '\n' }}{% endif %}"
    '{{ \'<tool_call>\n\' }}{"name": {{ call.function.name | tojson }}, "arguments": '
    "{{ call.function.arguments | tojson }}}{{ '\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""A short chat template: tools as one signature a line, calls as hermes blocks, messages only ever appended, so that
the rendering of messages[:k] is a prefix of that of messages[:k + 1]."""


def tiny_model(
    texts: Iterable[str],
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    vocab_size: int = 512,
    context_length: int = 4096,
    seed: int = 0,
    name: str = "tiny",
    prompt_style: str = "full",
) -> TransformersPolicy:
    """Build a small random Llama with a byte-level BPE tokenizer trained on the texts, bit by bit repeatable.

    It knows nothing: give it competence with `train_sft`. Any text can be written with its vocabulary.
    """
    tokenizer = _tiny_tokenizer(texts, vocab_size)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return TransformersPolicy(model, tokenizer, name, prompt_style=prompt_style)


def _tiny_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    markers = [AddedToken(text, special=False, normalized=False) for text in ("<tool_call>", "</tool_call>")]
    inner = Tokenizer(models.BPE())
    # Digits stand alone: an id that the model must copy is then spelled the same way, seen before or not.
    digits = pre_tokenizers.Digits(individual_digits=True)
    inner.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(markers),
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator((text.encode("utf-8", "replace").decode() for text in texts), trainer)
    inner.add_tokens(markers)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        chat_template=TINY_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )

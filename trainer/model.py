"""A local policy: a transformers model with its tokenizer that samples turns and returns log-probabilities.

It implements `Policy` of `contracts.py`; profiling, evaluation and `train` call it. How tokens are drawn is
`sampling.py`, how gradients share a prompt `prefix.py`, and `tiny.py` builds a small random one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pivot_envs import strict_json
from pivot_envs.contracts import Completion, Prompt, SampleRequest
from pivot_envs.errors import ConfigError, MissingDependency, PolicyError
from pivot_envs.policy import check_sampling, context_full, derive_seed
from pivot_envs.records import Message, Sampling

try:
    import jinja2
    import torch
    from torch import Tensor
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )
    from transformers.utils import logging as transformers_logging
except ImportError as error:
    raise MissingDependency(
        f"a local policy needs torch and transformers ({error}). Install them with: pip install 'pivot-envs[train]'"
    ) from error

from pivot_envs.trainer.branches import branching, decode_together, portions
from pivot_envs.trainer.config import PrefixMode
from pivot_envs.trainer.prefix import group_logprobs
from pivot_envs.trainer.sampling import Drawn, GrowingCache, Prefill, decode

logger = logging.getLogger(__name__)

SETTINGS_FILE = "pivot_envs_policy.json"
"""Beside the weights in a saved folder: what of the policy transformers does not save."""
BASE = "helpdesk-base"
"""Name of the shipped policy of 0.7 M parameters that half masters helpdesk; `examples/` has a script to make one."""
SHIPPED = {BASE: "weights/helpdesk_base"}
"""Name -> folder in this package."""
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
"""`name` or `owner/name`; what is neither such a name nor there is a folder that is missing."""
SAVED_SETTINGS = ("name", "action_codec", "prompt_style", "max_prompt_tokens")


class TransformersPolicy:
    """A causal language model that writes turns.

    The model is kept in eval mode, also while it trains: dropout would make the importance ratio differ from 1.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        action_codec: str = "hermes",
        prompt_style: str = "full",
        max_prompt_tokens: int | None = None,
        device: str = "cpu",
    ) -> None:
        if tokenizer.chat_template is None:
            raise ConfigError(f"the tokenizer of {name!r} has no chat template; use an instruction-tuned model")
        self.model = _placed(model, device).eval()
        self.tokenizer = tokenizer
        self.name = name
        self.action_codec = action_codec
        self.prompt_style = prompt_style
        """Which `Domain.visible` style its prompts are made with."""
        self.context_length = int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 2**31)
        self.max_prompt_tokens = self.context_length - 1 if max_prompt_tokens is None else max_prompt_tokens
        """Longest prompt that is sampled from; a longer one gives `context_full`, never a cut prompt."""
        self.stop_ids = _stop_ids(model, tokenizer)
        self.prefilled_tokens = 0
        """Prompt tokens run through the model by `sample` so far; what a growing cache held is not run again."""
        self._fingerprint: tuple[tuple[int, ...], str] | None = None
        self._branching: bool | None = None
        """Completions of several prompts may be decoded together; None until that is measured."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names, shapes and bytes of the current weights (16 hex digits)."""
        versions = tuple(p._version for p in self.model.parameters())
        if self._fingerprint is None or self._fingerprint[0] != versions:
            self._fingerprint = (versions, weights_hash(self.model))
        return self._fingerprint[1]

    @property
    def template_hash(self) -> str:
        """Hash of the chat template, part of what makes profiles comparable."""
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()[:16]

    def render(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt; see `render_prompt`."""
        return render_prompt(self.tokenizer, prompt)

    def fits(self, prompt_ids: Sequence[int]) -> bool:
        """Say whether a rendered prompt may be sampled from."""
        return len(prompt_ids) <= min(self.max_prompt_tokens, self.context_length - 1)

    def sample(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, first: int = 0
    ) -> Iterator[list[Completion]]:
        """Draw n completions for each prompt, in order and lazily.

        Every sample has its own random stream, made of seed, prompt id and sample index. Consecutive prompts of one
        trajectory (ids equal up to the last `/`) cost one prefill of the longest and are decoded together, those of
        different trajectories never, so that no trajectory's samples depend on its neighbours. A prompt that is too
        long or cannot be rendered gives n completions with finish reason `error`.
        """
        check_sampling(sampling, n)
        growing = GrowingCache(self.model)
        for together in _by_trajectory(prompts):
            yield from self._sample([SampleRequest(prompt, n, seed, first) for prompt in together], sampling, growing)

    def sample_together(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[list[Completion]]:
        """Draw completions for many prompts of any trajectories in as few batches as possible.

        The same as `sample`, and much faster for many short groups; only, which prompts come together can change
        the last bits of what is drawn, so give the same ones where runs must be equal.
        """
        for request in requests:
            check_sampling(sampling, request.n)
        return self._sample(requests, sampling, GrowingCache(self.model))

    def encode_completion(self, text: str) -> list[int]:
        """Return the ids of a demonstrated turn and its end token. What a policy sampled is never encoded again."""
        control = _control_pattern(tuple(sorted(set(self.tokenizer.all_special_tokens))))
        ids = self.tokenizer(_defused(text, control), add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id]

    def logprobs(
        self,
        prompt_ids: Sequence[int],
        completions: Sequence[Sequence[int]],
        temperature: float = 1.0,
        micro_batch: int = 8,
        mode: PrefixMode = "cache",
    ) -> list[Tensor]:
        """Return the log-probability of every token of each completion of one prompt, without gradient."""
        return group_logprobs(self.model, prompt_ids, completions, temperature, micro_batch, mode)

    def save(self, folder: str | Path) -> None:
        """Write weights, tokenizer and settings; `load_policy(folder)` gives an equal policy."""
        with _no_progress_bars():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        settings = {key: getattr(self, key) for key in SAVED_SETTINGS}
        (Path(folder) / SETTINGS_FILE).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

    def load_weights(self, folder: str | Path) -> None:
        """Take over the weights saved in a folder, in place."""
        saved = _from_pretrained(AutoModelForCausalLM, str(folder), dtype=torch.float32)
        self.model.load_state_dict(saved.state_dict())

    def _sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, growing: GrowingCache
    ) -> list[list[Completion]]:
        """Draw for all requests; the prompts run one after the other, the completions together."""
        read = [self._readable(request.prompt) for request in requests]
        results = [
            [Completion("", finish_reason="error", error=error)] * request.n
            for request, (_, error) in zip(requests, read, strict=True)
        ]
        places = [place for place, (_, error) in enumerate(read) if not error]
        prefills = []
        for place in places:
            prefills.append(growing.prefill(requests[place].prompt.prompt_id, read[place][0]))
            self.prefilled_tokens += prefills[-1].tokens
        uniforms = [self._uniforms(requests[place], len(read[place][0]), sampling) for place in places]
        for place, drawn in zip(places, self._decode(prefills, uniforms, sampling), strict=True):
            results[place] = self._completions(read[place][0], drawn)
        return results

    def _readable(self, prompt: Prompt) -> tuple[list[int], str]:
        """Return the ids of a prompt, or why it cannot be sampled from."""
        try:
            ids = self.render(prompt)
        except PolicyError as error:
            logger.warning("%s", error)
            return [], "render"
        if self.fits(ids):
            return ids, ""
        return [], context_full(len(ids), min(self.max_prompt_tokens, self.context_length - 1))

    def _uniforms(self, request: SampleRequest, length: int, sampling: Sampling) -> Tensor:
        """Return the random numbers of each completion (row), one a token, as many as it may have tokens."""
        limit = min(sampling.max_tokens, self.context_length - length)
        indices = range(request.first, request.first + request.n)
        seeds = [derive_seed(request.seed, request.prompt.prompt_id, index) for index in indices]
        return torch.from_numpy(np.stack([np.random.default_rng(s).random(limit) for s in seeds])).to(self.device)

    def _decode(self, prefills: Sequence[Prefill], uniforms: Sequence[Tensor], sampling: Sampling) -> list[Drawn]:
        if prefills and self._branching is None:
            self._branching = branching(self.model, prefills[0])
        if not self._branching:
            pairs = zip(prefills, uniforms, strict=True)
            return [decode(self.model, prefill, each, sampling, self.stop_ids) for prefill, each in pairs]
        found: list[Drawn] = [([], [])] * len(prefills)
        for places in portions(prefills, [len(each) for each in uniforms]):
            chosen = [prefills[i] for i in places], [uniforms[i] for i in places]
            drawn = decode_together(self.model, *chosen, sampling, self.stop_ids)
            for place, one in zip(places, drawn, strict=True):
                found[place] = one
        return found

    def _completions(self, ids: list[int], drawn: Drawn) -> list[Completion]:
        completions = []
        for tokens, values in zip(*drawn, strict=True):
            stopped = tokens[-1] in self.stop_ids
            shown = tokens[:-1] if stopped else tokens
            text = self.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            reason = "stop" if stopped else "length"
            completions.append(Completion(str(text), tuple(ids), tuple(tokens), tuple(values), reason))
        return completions


def _by_trajectory(prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """Yield consecutive prompts of one trajectory together; a prompt whose id names none stays alone."""
    together: list[Prompt] = []
    for prompt in prompts:
        trajectory = prompt.prompt_id.rpartition("/")[0]
        if together and (not trajectory or trajectory != together[0].prompt_id.rpartition("/")[0]):
            yield together
            together = []
        together.append(prompt)
    if together:
        yield together


def _placed(model: PreTrainedModel, device: str) -> PreTrainedModel:
    check_device(device)
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by device
        raise _no_device(device, error) from error


def check_device(device: str) -> None:
    """Raise ConfigError where there is no such device here."""
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise _no_device(device, error) from error
    if kind not in {name.partition(":")[0] for name in available_devices()}:
        raise _no_device(device, "there is no such device here")


def _no_device(device: str, reason: object) -> ConfigError:
    known = ", ".join(available_devices())
    return ConfigError(f"cannot put the model on device {device!r}: {reason}. Available here: {known}")


def available_devices() -> list[str]:
    """Return the devices a model can be put on here."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    found: set[int] = set()
    for ids in (tokenizer.eos_token_id, model.generation_config.eos_token_id if model.generation_config else None):
        found.update(ids if isinstance(ids, list) else [] if ids is None else [ids])
    if not found:
        raise ConfigError("neither tokenizer nor generation config names an end-of-turn token; set eos_token")
    return frozenset(found)


def weights_hash(model: torch.nn.Module) -> str:
    """Return a SHA-256 (16 hex digits) over names, types, shapes and bytes of a model's parameters."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        digest.update(parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


# Prompts ------------------------------------------------------------------------------------------------------------


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, complete: bool = False) -> list[int]:
    """Return the token ids of a prompt through the tokenizer's chat template, tools included.

    Recorded tool arguments (JSON strings) are given to the template as objects, as templates expect. A control token of
    this tokenizer that stands in recorded text is broken by a zero-width space: a corpus cannot write a prompt's
    control text. `complete` leaves out the opening of the next assistant turn.

    Raises:
        PolicyError: the template refuses these messages.
    """
    broken = _control_pattern(tuple(sorted(set(tokenizer.all_special_tokens))))
    try:
        messages = [_template_message(message, broken) for message in prompt.messages]
        text = tokenizer.apply_chat_template(
            messages,
            tools=_defused(list(prompt.tools), broken) or None,
            add_generation_prompt=not complete,
            tokenize=False,
        )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    except (jinja2.TemplateError, RecursionError, TypeError, ValueError, KeyError) as error:
        raise PolicyError(f"{prompt.prompt_id}: the chat template cannot render this prompt: {error}") from error


def _template_message(message: Message, control: re.Pattern[str] | None) -> dict[str, Any]:
    rendered = dict(message)
    if rendered.get("content") is None:
        rendered["content"] = ""
    if rendered.get("tool_calls"):
        rendered["tool_calls"] = [_template_call(call) for call in rendered["tool_calls"]]
    else:
        rendered.pop("tool_calls", None)
    result = _defused(rendered, control)
    assert isinstance(result, dict)
    return result


def _template_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    if isinstance(function.get("arguments"), str):
        function["arguments"] = _structured(function["arguments"])
    return {**call, "function": function}


def _structured(arguments: str) -> Any:
    """Return recorded arguments as the object they spell, or unchanged where they spell none within bounds."""
    try:
        value = strict_json.parse(arguments)
    except strict_json.JsonProblem:
        return arguments
    return value if isinstance(value, dict) else arguments


@functools.cache
def _control_pattern(tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(re.escape(t) for t in tokens if len(t) > 1)) if tokens else None


def _defused(value: Any, control: re.Pattern[str] | None) -> Any:
    """Return the value with lone surrogates replaced and control tokens broken in every string and key."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode("utf-8")
        return control.sub(lambda found: found[0][0] + "\u200b" + found[0][1:], text) if control else text
    if isinstance(value, dict):
        return {_defused(key, control): _defused(item, control) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_defused(item, control) for item in value]
    return value


# Loading ------------------------------------------------------------------------------------------------------------


def load_policy(path_or_name: str | Path, device: str = "cpu", **settings: Any) -> TransformersPolicy:
    """Load a model and its tokenizer from a local folder, a hub name or the name of a shipped policy, in float32.

    `settings` are `name`, `action_codec`, `prompt_style` and `max_prompt_tokens` of `TransformersPolicy`; what is not
    given comes from a folder written by `save`, then from the defaults. Code shipped with a model is never run.

    Raises:
        PolicyError: no such folder or model, or its files cannot be read.
        MissingDependency: its tokenizer or weights need a package that is not installed.
    """
    unknown = set(settings) - set(SAVED_SETTINGS)
    if unknown:
        raise ConfigError(f"load_policy knows no setting {sorted(unknown)}; it takes {', '.join(SAVED_SETTINGS)}")
    check_device(device)
    source = str(path_or_name)
    if source in SHIPPED:
        source = str(resources.files("pivot_envs.trainer").joinpath(SHIPPED[source]))
    if not os.path.exists(source) and not HUB_NAME.fullmatch(source):
        raise PolicyError(f"there is no folder {source!r}; name one with config.json, weights and tokenizer files")
    saved_settings = Path(source) / SETTINGS_FILE
    saved = json.loads(saved_settings.read_text(encoding="utf-8")) if saved_settings.is_file() else {}
    model = _from_pretrained(AutoModelForCausalLM, source, dtype=torch.float32)
    for parameter in model.parameters():
        # Weights mapped from a file lie unaligned, where kernels round otherwise than on the weights that were saved.
        parameter.data = parameter.data.clone()
    tokenizer = _from_pretrained(AutoTokenizer, source)
    return TransformersPolicy(model, tokenizer, device=device, **{"name": source, **saved, **settings})


def _from_pretrained(loader: Any, source: str, **options: Any) -> Any:
    try:
        with _no_progress_bars():
            return loader.from_pretrained(source, trust_remote_code=False, **options)
    except ImportError as error:
        raise MissingDependency(f"loading {source!r} needs a package that is not installed: {error}") from error
    except (OSError, ValueError) as error:
        absent = "" if os.path.exists(source) else f"there is no folder {source!r}, and as a hub name we "
        raise PolicyError(
            f"{absent}cannot load {source!r} with {loader.__name__}: {error}. Give a folder with config.json, weights "
            "and tokenizer files, or the name of a model that this machine can download"
        ) from error


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for every checkpoint."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()

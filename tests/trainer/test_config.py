"""Settings that cannot be meant are refused before anything runs, by name and with what is allowed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pivot_envs.errors import ConfigError
from pivot_envs.trainer.config import GRPOConfig, SFTConfig

WHOLE = ("steps", "pivots_per_step", "updates_per_step", "max_tokens", "micro_batch", "checkpoint_every")
NUMBERS = ("lr", "weight_decay", "max_grad_norm", "temperature", "advantage_eps", "clip_low", "clip_high", "beta")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("top_p", 0.95, "top_p is 0.95; it must be 1: log-probs"),
        ("temperature", 0.0, "temperature is 0.0; it must be a finite number above 0: greedy"),
        ("group_size", 1, "group_size is 1; it must be at least 2: a group of one has no baseline"),
        ("estimator", "populaton", "estimator is 'populaton'; it must be one of .* Did you mean 'population'"),
        ("ratio", ["token"], "ratio is .* it must be one of"),
        ("clip_low", 1.0, "clip_low is 1.0; it must be between 0 and 1"),
        ("clip_high", 0.0, "clip_high is 0.0; it must be between 0 and 1"),
        ("max_failed_share", 1.01, r"max_failed_share is 1.01; it must be in \[0, 1\]"),
        ("seed", -1, "seed is -1; it must be a whole number, at least 0"),
        *((name, value, f"{name} is .* whole number, at least 1") for name in WHOLE for value in (0, -3, 1.5, True)),
        *((name, value, f"{name} is ") for name in NUMBERS for value in (-1.0, math.nan, math.inf, "1", None)),
    ],
)
def test_settings_of_grpo_that_cannot_be_meant_are_refused(field, value, told):
    with pytest.raises(ConfigError, match=told):
        GRPOConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, value) for name in ("epochs", "batch_size", "micro_batch") for value in (0, -1, 2.5)),
        ("checkpoint_every", 0),
        *((name, value) for name in ("lr", "max_grad_norm") for value in (0, -1e-3, math.nan, math.inf)),
        ("seed", -1),
    ],
)
def test_settings_of_sft_that_cannot_be_meant_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"^{field} is {value}; it must be "):
        SFTConfig(**{field: value})


def test_the_hash_follows_what_decides_a_run_and_nothing_else():
    for config, free, bound in (
        (GRPOConfig(), {"steps": 7, "checkpoint_every": 3, "tensorboard": True}, {"beta": 0.5, "seed": 1}),
        (SFTConfig(), {"epochs": 7, "checkpoint_every": 3, "tensorboard": True}, {"lr": 0.5, "seed": 1}),
    ):
        assert all(replace(config, **{field: value}).hash == config.hash for field, value in free.items())
        assert all(replace(config, **{field: value}).hash != config.hash for field, value in bound.items())

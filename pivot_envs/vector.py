"""Vector environments in which each sub-environment draws from pivots of its own.

Gymnasium's `reset(options=...)` gives every sub-environment the same pivot; here each gets its share of the ids.
Many actions at one pivot are cheaper through `Scorer`, which restores once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from pivot_envs.errors import ConfigError, suggest

MODES = ("sync", "async")


def make_vec(
    env_id: str,
    *,
    pivot_ids: Sequence[str] | None = None,
    shards: Sequence[Sequence[str]] | None = None,
    num_envs: int | None = None,
    mode: str = "sync",
    shared_memory: bool = False,
    autoreset: AutoresetMode | str = AutoresetMode.SAME_STEP,
    **env_arguments: Any,
) -> VectorEnv[Any, Any, Any]:
    """Return a vector environment whose sub-environments draw from disjoint pivots.

    Args:
        env_id: A registered id, such as `PivotTau2-v0`.
        pivot_ids: Dealt out in turn: the first to the first sub-environment, and so on; one each unless `num_envs`
            says otherwise. Without these and without `shards` all draw from everything.
        shards: The ids of each sub-environment, instead of `pivot_ids`.
        num_envs: How many sub-environments.
        mode: `sync`, or `async` for one process each.
        shared_memory: Must be False: messages are text of any length.
        autoreset: Gymnasium's mode. Its own default, `NextStep`, spends every second step of a one-turn episode on
            the reset; `SameStep` does not and puts the last observation and info into `final_obs`, `final_info`.
        env_arguments: Arguments of `PivotEnv`.

    Raises:
        ConfigError: the arguments contradict each other.
    """
    if mode not in MODES:
        raise ConfigError(f"mode is {mode!r}; expected sync or async.{suggest(str(mode), MODES)}")
    if shared_memory:
        raise ConfigError(
            "shared_memory=True cannot hold chat messages, which are text of any length: leave shared_memory=False "
            "(with gymnasium.make_vec: vector_kwargs={'shared_memory': False})"
        )
    shares = _shares(pivot_ids, shards, num_envs)
    makers: list[Callable[[], gymnasium.Env[Any, Any]]] = [
        partial(_make, env_id, share, env_arguments) for share in shares
    ]
    if mode == "sync":
        return SyncVectorEnv(makers, autoreset_mode=autoreset)
    return AsyncVectorEnv(makers, shared_memory=False, autoreset_mode=autoreset)


def _shares(
    pivot_ids: Sequence[str] | None, shards: Sequence[Sequence[str]] | None, num_envs: int | None
) -> list[list[str] | None]:
    for argument, value in (("pivot_ids", pivot_ids), ("shards", shards)):
        if value is not None and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
            raise ConfigError(f"{argument} is {value!r:.200}; expected a list")
    if any(isinstance(shard, str | bytes) or not isinstance(shard, Sequence) for shard in shards or ()):
        raise ConfigError(f"shards is {shards!r:.200}; expected a list of lists of ids")
    if pivot_ids is not None and shards is not None:
        raise ConfigError("pivot_ids and shards both say who gets which pivot; pass one of them")
    if shards is not None:
        if num_envs not in (None, len(shards)) or not shards or not all(shards):
            raise ConfigError(
                f"{len(shards)} shards of {[len(s) for s in shards]} ids for num_envs={num_envs}; "
                "expected one shard with at least one id for each sub-environment"
            )
        return [list(shard) for shard in shards]
    if num_envs is None and pivot_ids is not None:
        num_envs = len(pivot_ids)
    if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
        raise ConfigError(f"num_envs is {num_envs!r}; expected a number from 1, or pivot_ids, or shards")
    if pivot_ids is None:
        return [None] * num_envs
    if len(pivot_ids) < num_envs:
        raise ConfigError(f"{len(pivot_ids)} pivot_ids for num_envs={num_envs}; each sub-environment needs one")
    return [list(pivot_ids[i::num_envs]) for i in range(num_envs)]


def _make(env_id: str, share: list[str] | None, arguments: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make one sub-environment; in a worker process, importing this module has registered the ids."""
    return gymnasium.make(env_id, pivot_ids=share, **arguments)

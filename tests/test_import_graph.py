"""Imports point left only: each module may import from its own layer and from layers left of it, never in a circle.

One rule for imports inside functions: towards a layer further left they are free (they postpone a heavy import, as the
command line does); towards the same layer or to the right they must stand in LAZY with their reason. Imports under
`if TYPE_CHECKING` must point left like all others, since knowing a type is knowing its module, but close no circle.
"""

import ast
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = (
    ("pivot_envs", "errors", "records"),
    (
        "contracts",
        "strict_json",
        "schema",
        "chat",
        "conversation",
        "actions",
        "spaces",
        "kinds",
        "trajectories",
        "snapshots",
        "profiles",
    ),
    ("candidates", "duplicates", "policy", "endpoint", "sandboxes"),
    ("verifiers",),
    ("domains",),
    ("formats", "recordings", "sources", "bench", "rendering", "env", "vector"),
    ("scoring",),
    ("profiling", "drawing", "selectors", "pivots", "selection", "audit"),
    ("trainer",),
    ("adapters", "cli"),
    ("__main__",),
)
"""Left to right. A name stands for its module and everything below it; `pivot_envs` only for the package's own file."""

LAZY: Mapping[tuple[str, str], str] = {
    ("pivot_envs.sources", "pivot_envs.pivots"): "read only where a pivots file is named",
    ("pivot_envs.domains.tau2.domain", "pivot_envs.domains.tau2.helpdesk.world"): "a world is loaded when asked for",
    ("pivot_envs.domains.tau2.domain", "pivot_envs.domains.tau2.official.world"): "needs an optional package",
}
"""(importing module, imported module) -> why this import inside a function may point right or sideways."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "torch": ("pivot_envs.trainer",),
    "transformers": ("pivot_envs.trainer",),
    "tensorboard": ("pivot_envs.trainer",),
    "docker": ("pivot_envs.sandboxes.docker",),
    "openai": (),
    "tau2": (),
}
"""Optional package -> modules that may import it when they are imported; everywhere else only inside a function."""

HOMES = {
    "pivot_envs": "pivot_envs",
    "verifiers": "pivot_envs.verifiers",
    "trainer": "pivot_envs.trainer",
    "sandboxes": "pivot_envs.sandboxes",
}
"""Folder at the top of the repository -> the package it is installed as."""


@dataclass(frozen=True)
class Import:
    """One import of a module, ours or foreign; `lazy` inside a function, `typing` if only type checkers follow it."""

    importer: str
    imported: str
    line: int
    lazy: bool
    typing: bool

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.imported}"


def read_sources(root: Path) -> dict[str, str]:
    """Source text by path of the module, `a.b.__init__` for a package; links are not followed, so each is read once."""
    sources = {}
    for folder, package in HOMES.items():
        for path in sorted((root / folder).rglob("*.py")):
            relative = path.relative_to(root / folder)
            if not any((root / folder / parent).is_symlink() for parent in relative.parents):
                sources[".".join([package, *relative.with_suffix("").parts])] = path.read_text(encoding="utf-8")
    return sources


class ImportReader(ast.NodeVisitor):
    """Collects the imports of one module; `from a import b` is an import of `a.b` where that is a module of ours."""

    def __init__(self, path: str, known: set[str]) -> None:
        self.module = path.removesuffix(".__init__")
        self.package = path.rpartition(".")[0]
        self.known = known
        self.lazy = self.typing = False
        self.found: list[Import] = []

    def add(self, imported: str, line: int) -> None:
        self.found.append(Import(self.module, imported, line, self.lazy, self.typing))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parts = self.package.split(".")[: 1 - node.level or None] if node.level else []
        base = ".".join([*parts, *([node.module] if node.module else [])])
        for alias in node.names:
            full = f"{base}.{alias.name}"
            self.add(full if full in self.known else base, node.lineno)

    def visit_If(self, node: ast.If) -> None:
        outside, self.typing = self.typing, self.typing or ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body:
            self.visit(child)
        self.typing = outside
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outside, self.lazy = self.lazy, True
        self.generic_visit(node)
        self.lazy = outside

    visit_AsyncFunctionDef = visit_FunctionDef


def imports_of(path: str, source: str, known: set[str]) -> list[Import]:
    """Every import written in a module."""
    reader = ImportReader(path, known)
    reader.visit(ast.parse(source))
    return reader.found


def graph(sources: Mapping[str, str]) -> list[Import]:
    """Every import in every module."""
    known = {path.removesuffix(".__init__") for path in sources}
    return [found for path, source in sources.items() for found in imports_of(path, source, known)]


def is_ours(module: str) -> bool:
    return module == "pivot_envs" or module.startswith("pivot_envs.")


def layer(module: str) -> int:
    """Position of a module's layer, from the left."""
    name = module.removesuffix(".__init__").split(".")[:2][-1]
    for position, names in enumerate(LAYERS):
        if name in names:
            return position
    raise LookupError(f"{module} stands in no layer: add {name!r} to LAYERS in tests/test_import_graph.py")


def reversed_arrows(imports: list[Import], lazy: Mapping[tuple[str, str], str] = LAZY) -> list[str]:
    """Describe every import of ours that points the wrong way."""
    wrong = []
    for found in imports:
        if not is_ours(found.imported) or found.importer == found.imported:
            continue
        here, there = layer(found.importer), layer(found.imported)
        if found.lazy:
            if there >= here and (found.importer, found.imported) not in lazy:
                wrong.append(f"{found} inside a function, not to the left and not in LAZY")
        elif there > here:
            wrong.append(f"{found}, which stands right of it")
    return wrong


def circle(imports: list[Import]) -> list[str]:
    """Return one circle of imports made on import, or an empty list."""
    edges: dict[str, set[str]] = {}
    for found in imports:
        runs = not found.lazy and not found.typing
        if runs and is_ours(found.imported) and found.importer != found.imported:
            edges.setdefault(found.importer, set()).add(found.imported)
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module):], module]
        if module in done:
            return []
        for target in sorted(edges.get(module, ())):
            if found := search(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(edges) if (found := search(module, []))), [])


def heavy_on_import(imports: list[Import], optional: Mapping[str, tuple[str, ...]] = OPTIONAL) -> list[str]:
    """Describe every way in which importing a module drags in an optional package, directly or through others."""
    eager: dict[str, set[str]] = {}
    for found in imports:
        if not found.lazy and not found.typing:
            eager.setdefault(found.importer, set()).add(found.imported)
    wrong = []
    for module in sorted(eager):
        reached, todo = {module}, [module]
        while todo:
            for target in eager.get(todo.pop(), ()):
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
        for package in sorted({name.split(".")[0] for name in reached} & set(optional)):
            if not any(module == home or module.startswith(home + ".") for home in optional[package]):
                wrong.append(f"importing {module} imports {package}")
    return wrong


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return graph(read_sources(ROOT))


def test_every_import_points_left(imports: list[Import]) -> None:
    assert reversed_arrows(imports) == []


def test_no_modules_import_each_other_in_a_circle(imports: list[Import]) -> None:
    assert circle(imports) == []


def test_every_module_is_read_once_and_stands_in_a_layer() -> None:
    sources = read_sources(ROOT)
    assert "pivot_envs.records" in sources
    assert "pivot_envs.verifiers.effect" in sources, "the folder beside pivot_envs/ is part of the graph"
    for module in sources:
        layer(module)


def test_every_row_of_the_table_of_lazy_imports_is_needed(imports: list[Import]) -> None:
    used = {(found.importer, found.imported) for found in imports if found.lazy}
    assert sorted(set(LAZY) - used) == []


def test_optional_packages_are_imported_only_where_they_are_at_home(imports: list[Import]) -> None:
    assert heavy_on_import(imports) == []


def test_our_folders_are_imported_under_the_one_root(imports: list[Import]) -> None:
    bare = [str(found) for found in imports if found.imported.split(".")[0] in ("verifiers", "trainer", "sandboxes")]
    assert bare == [], "write pivot_envs.verifiers, pivot_envs.trainer, pivot_envs.sandboxes"


def test_importing_the_package_loads_nothing_optional() -> None:
    probe = f"import sys, pivot_envs; print(sorted(set(sys.modules) & {set(OPTIONAL)!r}))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def planted(**modules: str) -> list[Import]:
    """Imports of a made-up tree; `__` in a name stands for a dot."""
    return graph({name.replace("__", "."): source for name, source in modules.items()})


def test_a_planted_reversed_arrow_is_found() -> None:
    effect = "import pivot_envs.env\nimport pivot_envs.records"
    found = reversed_arrows(planted(pivot_envs__records="", pivot_envs__env="", pivot_envs__verifiers__effect=effect))
    assert found == ["pivot_envs.verifiers.effect (line 1) imports pivot_envs.env, which stands right of it"]


@pytest.mark.parametrize(
    "line",
    [
        "from pivot_envs import env",
        "from pivot_envs.env import PivotEnv",
        "from .. import env",
        "from ..env import PivotEnv",
        "try:\n    import pivot_envs.env\nexcept ImportError:\n    pass",
        "if TYPE_CHECKING:\n    from pivot_envs.env import PivotEnv",
        "class Verifier:\n    from pivot_envs import env",
    ],
)
def test_a_reversed_arrow_is_found_however_it_is_written(line: str) -> None:
    assert len(reversed_arrows(planted(pivot_envs__env="", pivot_envs__verifiers__effect=line))) == 1


def test_a_relative_import_in_a_package_starts_at_the_package() -> None:
    (found,) = graph({"pivot_envs.domains.__init__": "from .tau2 import world", "pivot_envs.domains.tau2.world": ""})
    assert (found.importer, found.imported) == ("pivot_envs.domains", "pivot_envs.domains.tau2.world")


def test_a_planted_circle_is_found_and_named() -> None:
    errors, records = "from pivot_envs import records", "import pivot_envs.errors"
    found = circle(planted(pivot_envs__errors=errors, pivot_envs__records=records))
    assert found == ["pivot_envs.errors", "pivot_envs.records", "pivot_envs.errors"]
    typed = "if TYPE_CHECKING:\n    from pivot_envs import records"
    assert circle(planted(pivot_envs__errors=typed, pivot_envs__records=records)) == []


def test_a_lazy_import_is_free_to_the_left_and_needs_its_row_to_the_right() -> None:
    train = "def train():\n    from pivot_envs.trainer import grpo"
    assert reversed_arrows(planted(pivot_envs__cli=train, pivot_envs__trainer__grpo="")) == []
    audit = "def read():\n    from pivot_envs.audit import read"
    right = planted(pivot_envs__sources=audit, pivot_envs__audit="")
    (found,) = reversed_arrows(right)
    assert found.endswith("inside a function, not to the left and not in LAZY")
    assert reversed_arrows(right, {("pivot_envs.sources", "pivot_envs.audit"): "a reason"}) == []


def test_a_module_in_no_layer_is_refused() -> None:
    with pytest.raises(LookupError, match="pivot_envs.utils stands in no layer"):
        reversed_arrows(planted(pivot_envs__utils="import pivot_envs.records", pivot_envs__records=""))


def test_an_optional_package_reached_through_another_module_is_found() -> None:
    grpo = {"pivot_envs__trainer__grpo": "import torch"}
    found = heavy_on_import(planted(pivot_envs__cli="import pivot_envs.trainer.grpo", **grpo))
    assert found == ["importing pivot_envs.cli imports torch"]
    assert heavy_on_import(planted(pivot_envs__cli="def train():\n    import pivot_envs.trainer.grpo", **grpo)) == []
    assert heavy_on_import(planted(pivot_envs__cli="if TYPE_CHECKING:\n    import torch\nelse:\n    import json")) == []

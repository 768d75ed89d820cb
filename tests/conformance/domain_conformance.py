"""One list that every domain passes; add a domain's name to DOMAINS and it is held to all of it.

The checks take a domain and some of its candidates and use nothing but the contracts. Run as a program it prints the
digests of every domain that loads, which `the_digest_is_the_same_in_every_process` compares with those found here.
"""

import functools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import toy_domain  # noqa: E402, F401 - registers the family todo

from pivot_envs.actions import decode, encode, from_message, validate_calls  # noqa: E402
from pivot_envs.bench import make_verifier  # noqa: E402
from pivot_envs.contracts import Domain  # noqa: E402
from pivot_envs.domains import get_domain  # noqa: E402
from pivot_envs.env import PivotEnv  # noqa: E402
from pivot_envs.errors import ConfigError  # noqa: E402
from pivot_envs.records import Action, Candidate, ToolCall, Trajectory  # noqa: E402
from pivot_envs.spaces import JsonSpace, MessagesSpace  # noqa: E402
from pivot_envs.trajectories import write_trajectories  # noqa: E402

DOMAINS = (
    ("todo", "todo"),
    ("tau2", "helpdesk"),
    ("tau2", "retail"),
    ("tau2", "airline"),
    ("tau2", "telecom"),
    ("tau2", "mock"),
    ("terminal", "terminal"),
    ("swe", "swe"),
    ("browse", "browse"),
)

TRAJECTORIES = 3
"""Demonstrations looked at in each domain."""
CANDIDATES = 40
"""Most candidates looked at in each domain, evenly spread over those demonstrations."""

GARBAGE = (
    Action(text="\n"),
    Action(text="x" * 1_000_000),
    Action(text="]" * 200_000),
    Action(text="\ud800 lone surrogate"),
    Action(calls=(ToolCall("", {}),)),
    Action(calls=(ToolCall("no_such_tool", {"a": 1}),)),
    Action(calls=(ToolCall("__class__", {}),)),
    Action(calls=(ToolCall("execute", {"self": None}),)),
    Action(calls=tuple(ToolCall("no_such_tool", {}) for _ in range(64))),
)
"""Actions that are wrong everywhere; `hostile_arguments` adds some for each tool of the domain."""

HOSTILE_VALUES = (None, 10**400, -1, 1e308, "", "x" * 100_000, "../../etc/passwd", "'; drop table x; --", "$(false)",
                  [], [[[]]], {}, {"a": {"b": None}}, True, "\x00", "\ud800")


@dataclass(frozen=True)
class Subject:
    """A domain with what the checks look at."""

    family: str
    domain: Domain
    trajectories: tuple[Trajectory, ...]
    candidates: tuple[Candidate, ...]


def load_subject(family: str, name: str) -> Subject:
    """Load a domain and record a few demonstrations in it."""
    domain = get_domain(family, name)
    trajectories = tuple(domain.demonstrate(task, 0) for task in domain.tasks("train")[:TRAJECTORIES])
    candidates = [
        Candidate(trajectory, report.turn)
        for trajectory in trajectories
        for report in domain.check(trajectory).turns
        if not report.dropped
    ]
    step = max(1, len(candidates) // CANDIDATES)
    return Subject(family, domain, trajectories, tuple(candidates[::step][:CANDIDATES]))


def hostile_arguments(domain: Domain, candidate: Candidate) -> list[Action]:
    """Calls of the domain's own tools with arguments that are missing, of the wrong type, or out of all bounds."""
    actions = []
    for i, tool in enumerate(domain.tools(candidate.trajectory.initial_state)):
        function = tool.get("function", tool)
        names = list(function.get("parameters", {}).get("properties", {}))
        value = HOSTILE_VALUES[i % len(HOSTILE_VALUES)]
        actions.append(Action(calls=(ToolCall(function["name"], {}),)))
        actions.append(Action(calls=(ToolCall(function["name"], dict.fromkeys(names, value)),)))
        actions.append(Action(calls=(ToolCall(function["name"], {"surplus": value}),)))
    return actions


def restoring_twice_gives_the_same_digest_and_observations(subject: Subject) -> None:
    for candidate in subject.candidates:
        one, two = subject.domain.restore(candidate), subject.domain.restore(candidate)
        assert one.digest() == two.digest(), candidate.candidate_id
        demonstration = subject.domain.demonstration(candidate)
        if subject.domain.noise_runs == 1:
            assert one.execute(demonstration) == two.execute(demonstration), candidate.candidate_id
            assert one.digest() == two.digest(), candidate.candidate_id
        one.close()
        two.close()


def a_fork_leaks_into_neither_parent_nor_sibling(subject: Subject) -> None:
    for candidate in subject.candidates:
        parent = subject.domain.restore(candidate)
        before = parent.digest()
        child, sibling = parent.fork(), parent.fork()
        demonstration = subject.domain.demonstration(candidate)
        assert child.digest() == sibling.digest() == before, candidate.candidate_id
        effect = child.execute(demonstration)
        assert parent.digest() == sibling.digest() == before, candidate.candidate_id
        after = child.digest()
        if subject.domain.noise_runs == 1:
            assert sibling.execute(demonstration) == effect, candidate.candidate_id
        parent.execute(demonstration)
        assert child.digest() == after, candidate.candidate_id
        for state in (child, sibling, parent):
            state.close()
        again = subject.domain.restore(candidate)
        assert again.digest() == before, f"{candidate.candidate_id}: a kept snapshot was changed"
        again.close()


def closing_twice_is_fine(subject: Subject) -> None:
    state = subject.domain.restore(subject.candidates[0])
    fork = state.fork()
    for each in (fork, fork, state, state):
        each.close()


def the_demonstration_is_accepted_as_a_policy_would_write_it(subject: Subject) -> None:
    verifier = make_verifier("effect", subject.family, subject.domain)
    for candidate in subject.candidates:
        tools = subject.domain.tools(candidate.trajectory.initial_state)
        action = decode(encode(subject.domain.demonstration(candidate), "message"), "message", tools=tools)
        validate_calls(action, tools)
        state = subject.domain.restore(candidate)
        before = state.digest()
        verdict = verifier.verify(candidate, state, action)
        assert (verdict.outcome, verdict.reward) == ("accepted", 1.0), (candidate.candidate_id, verdict)
        assert state.digest() == before, f"{candidate.candidate_id}: judging changed the state"
        state.close()


def the_demonstration_is_the_recorded_turn(subject: Subject) -> None:
    for candidate in subject.candidates:
        demonstration, recorded = subject.domain.demonstration(candidate), from_message(candidate.message)
        assert [call.key for call in demonstration.calls] == [call.key for call in recorded.calls]


def an_empty_action_is_rejected(subject: Subject) -> None:
    verifier = make_verifier("effect", subject.family, subject.domain)
    for candidate in subject.candidates:
        state = subject.domain.restore(candidate)
        for verdict in verifier.verify_group(candidate, state, [Action(), Action(text=" \n\t")]):
            assert (verdict.outcome, verdict.reward) == ("rejected", 0.0), (candidate.candidate_id, verdict)
        state.close()


def garbage_never_raises_and_is_never_a_failure_of_ours(subject: Subject) -> None:
    verifier = make_verifier("effect", subject.family, subject.domain)
    for candidate in (subject.candidates[0], subject.candidates[len(subject.candidates) // 2]):
        actions = [*GARBAGE, *hostile_arguments(subject.domain, candidate)]
        state = subject.domain.restore(candidate)
        before = state.digest()
        for action in actions:
            fork = state.fork()
            fork.execute(action).ended  # noqa: B018 - an Effect came back
            fork.close()
        for action, verdict in zip(actions, verifier.verify_group(candidate, state, actions), strict=True):
            assert verdict.outcome in ("rejected", "abstained", "malformed", "accepted"), (action.key[:200], verdict)
            if any(call.name in ("", "no_such_tool", "__class__", "execute") for call in action.calls):
                assert verdict.reward == 0.0, (action.key[:200], verdict)
        assert state.digest() == before
        state.close()


def effects_can_be_written_as_json(subject: Subject) -> None:
    for candidate in subject.candidates:
        state = subject.domain.restore(candidate)
        for action in (subject.domain.demonstration(candidate), *hostile_arguments(subject.domain, candidate)[:6]):
            fork = state.fork()
            effect = asdict(fork.execute(action))
            assert json.loads(json.dumps(effect, allow_nan=False)) is not None, candidate.candidate_id
            fork.close()
        state.close()


def a_policy_sees_no_call_of_the_user_and_nothing_from_the_turn_on(subject: Subject) -> None:
    for candidate in subject.candidates:
        visible = subject.domain.visible(candidate.prefix)
        assert MessagesSpace().contains(visible), candidate.candidate_id
        calls = {call["id"] for m in visible if m["role"] == "assistant" for call in m.get("tool_calls") or ()}
        for message in visible:
            assert not (message["role"] == "user" and message.get("tool_calls")), candidate.candidate_id
            assert message["role"] != "tool" or message["tool_call_id"] in calls, candidate.candidate_id
        said = sum(m["role"] == "assistant" for m in visible)
        assert said <= candidate.turn, f"{candidate.candidate_id}: {said} assistant messages before it"


def an_unknown_prompt_style_or_split_is_refused(subject: Subject) -> None:
    with pytest.raises(ConfigError, match="no-such-style"):
        subject.domain.visible((), "no-such-style")
    with pytest.raises(ConfigError, match="no-such-split"):
        subject.domain.tasks("no-such-split")


def train_and_test_share_no_task(subject: Subject) -> None:
    train, test, everything = ({t.task_id for t in subject.domain.tasks(s)} for s in ("train", "test", "all"))
    assert not train & test
    assert train | test <= everything


def tools_are_function_schemas(subject: Subject) -> None:
    tools = subject.domain.tools(subject.candidates[0].trajectory.initial_state)
    assert JsonSpace().contains(tools)
    names = [tool["function"]["name"] for tool in tools]
    assert len(set(names)) == len(names) > 0
    assert all(tool["function"].get("parameters", {}).get("type") == "object" for tool in tools)


def a_finished_demonstration_has_an_outcome(subject: Subject) -> None:
    for trajectory in subject.trajectories:
        assert trajectory.domain == subject.domain.name
        assert trajectory.outcome.reward is None or 0.0 <= trajectory.outcome.reward <= 1.0
        assert json.dumps(subject.domain.fingerprint) != "{}"


def demonstrating_twice_gives_the_same_trajectory(subject: Subject) -> None:
    task = subject.domain.tasks("train")[0]
    assert subject.domain.demonstrate(task, 0).content_hash == subject.trajectories[0].content_hash


def an_episode_played_as_demonstrated_comes_to_an_end(subject: Subject) -> None:
    trajectory = max(subject.trajectories, key=lambda each: len(each.assistant_indices))
    first = next(each for each in subject.candidates if each.trajectory is trajectory)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trajectories.jsonl"
        write_trajectories(file, [trajectory])
        turns = len(trajectory.assistant_indices) - first.turn
        env = PivotEnv(subject.family, subject.domain.name, str(file), split="all", horizon=turns + 2, reward="outcome")
        observation, _ = env.reset(options={"pivot_id": first.candidate_id})
        for index in (*trajectory.assistant_indices[first.turn :], *[None] * 2):
            assert observation in env.observation_space
            written = {"role": "assistant", "content": "."} if index is None else trajectory.messages[index]
            observation, reward, terminated, truncated, info = env.step(written)
            if terminated or truncated:
                break
        env.close()
    assert info["end_reason"] in ("done", "recording_ended", "horizon", "off_path"), info
    assert not math.isnan(reward) or info["end_reason"] != "off_path", info


def threads_do_not_disturb_each_other(subject: Subject) -> None:
    expected = digests(subject)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: digests(subject), range(4)):
            assert found == expected


def the_digest_is_the_same_in_every_process(subject: Subject) -> None:
    assert digests_elsewhere()[subject.domain.name] == digests(subject)


@functools.cache
def digests_elsewhere() -> dict[str, dict[str, str] | str]:
    """Digests of every domain that loads, from a process with another hash seed; an error's text where one fails."""
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, str] | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_digests() -> None:
    found: dict[str, dict[str, str] | str] = {}
    for family, name in DOMAINS:
        try:
            found[name] = digests(load_subject(family, name))
        except Exception as error:  # the comparison shows it
            found[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))  # noqa: T201


CHECKS: Sequence[Callable[[Subject], None]] = (
    restoring_twice_gives_the_same_digest_and_observations,
    a_fork_leaks_into_neither_parent_nor_sibling,
    closing_twice_is_fine,
    the_demonstration_is_accepted_as_a_policy_would_write_it,
    the_demonstration_is_the_recorded_turn,
    an_empty_action_is_rejected,
    garbage_never_raises_and_is_never_a_failure_of_ours,
    effects_can_be_written_as_json,
    a_policy_sees_no_call_of_the_user_and_nothing_from_the_turn_on,
    an_unknown_prompt_style_or_split_is_refused,
    train_and_test_share_no_task,
    tools_are_function_schemas,
    a_finished_demonstration_has_an_outcome,
    demonstrating_twice_gives_the_same_trajectory,
    an_episode_played_as_demonstrated_comes_to_an_end,
    threads_do_not_disturb_each_other,
    the_digest_is_the_same_in_every_process,
)


def digests(subject: Subject) -> dict[str, str]:
    """Digest before each candidate and after its demonstration."""
    found = {}
    for candidate in subject.candidates:
        state = subject.domain.restore(candidate)
        found[candidate.candidate_id] = state.digest()
        if subject.domain.noise_runs == 1:
            state.execute(subject.domain.demonstration(candidate))
            found[f"{candidate.candidate_id} after"] = state.digest()
        state.close()
    return found


if __name__ == "__main__":
    print_digests()

"""Profiling on a toy world with a real verifier of its own: what is written, what is retried, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pivot_envs.actions import decode
from pivot_envs.contracts import Completion, Prompt
from pivot_envs.errors import (
    ConfigError,
    FingerprintMismatch,
    MalformedAction,
    PolicyError,
    RecordError,
    RestoreError,
    VerifierError,
)
from pivot_envs.pivots import select
from pivot_envs.policy import CONTEXT_FULL, NoisyDemonstrationPolicy, ScriptedPolicy
from pivot_envs.profiles import read_profiles
from pivot_envs.profiling import ProfileConfig, ProfileSummary, Progress, profile
from pivot_envs.records import Action, Cost, Sampling, ToolCall, Verdict
from pivot_envs.selection import report

TOOLS = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"properties": {"x": {"type": "integer"}}}}}
    for name in ("add", "drop")
)


def demonstration(candidate_id: str) -> Action:
    """The right call at a candidate: add its turn."""
    return Action(calls=(ToolCall("add", {"x": int(candidate_id.rpartition("/")[2])}),))


@dataclass
class Adder:
    """A scorer of a world where the right action adds the number of the turn."""

    trajectories: int = 6
    turns: int = 3
    config: dict[str, Any] = field(default_factory=dict)
    world: dict[str, Any] = field(default_factory=lambda: {"package": "toy", "version": "1"})
    spoil: Callable[[str, int], Verdict | Exception | None] = lambda pivot_id, call: None
    calls: Counter[str] = field(default_factory=Counter)
    prompted: list[str] = field(default_factory=list)

    @property
    def bench(self) -> Any:
        return SimpleNamespace(
            domain=SimpleNamespace(name="toy", fingerprint=self.world, demonstration=demonstration),
            verifier=SimpleNamespace(name="adder", version="1", config=self.config),
            codec="message",
        )

    def ids(self) -> list[str]:
        return [f"toy/t{i}/{turn}" for i in range(self.trajectories) for turn in reversed(range(self.turns))]

    def candidate(self, pivot_id: str) -> str:
        return pivot_id

    def prompt(self, pivot_id: str, style: str | None = None) -> Prompt:
        self.prompted.append(pivot_id)
        return Prompt(pivot_id, ({"role": "user", "content": style or ""},), TOOLS)

    def score(self, pivot_ids: Sequence[str], actions: Sequence[str]) -> list[Verdict]:
        for pivot_id in dict.fromkeys(pivot_ids):
            self.calls[pivot_id] += 1
            spoilt = self.spoil(pivot_id, self.calls[pivot_id])
            if isinstance(spoilt, Exception):
                raise spoilt
        return [self.verdict(*pair) for pair in zip(pivot_ids, actions, strict=True)]

    def verdict(self, pivot_id: str, text: str) -> Verdict:
        if spoilt := self.spoil(pivot_id, self.calls[pivot_id]):
            assert isinstance(spoilt, Verdict)
            return spoilt
        try:
            right = decode(text).key == demonstration(pivot_id).key
        except MalformedAction as error:
            return Verdict("malformed", 0.0, "parse", error.reason)
        cost = Cost(seconds=0.001, tokens=2)
        return Verdict("accepted" if right else "rejected", float(right), "execution", "added", cost=cost)


@dataclass
class Flaky:
    """A policy around another one that loses samples: `lose(prompt id, sample index, calls so far)` says which."""

    inner: ScriptedPolicy
    lose: Callable[[str, int, int], str]
    calls: Counter[str] = field(default_factory=Counter)
    name: str = "flaky"
    fingerprint: str = "f1"
    context_length: int = 99
    action_codec: str = "message"

    def sample(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, first: int = 0
    ) -> Iterator[list[Completion]]:
        for prompt, group in zip(prompts, self.inner.sample(prompts, n, sampling, seed, first), strict=True):
            self.calls[prompt.prompt_id] += 1
            lost = [self.lose(prompt.prompt_id, i, self.calls[prompt.prompt_id]) for i in range(first, first + n)]
            yield [
                Completion("", finish_reason="error", error=why) if why else one
                for one, why in zip(group, lost, strict=True)
            ]


def noisy(**fields: Any) -> NoisyDemonstrationPolicy:
    return NoisyDemonstrationPolicy(demonstration, **fields)


Do = Callable[..., ProfileSummary]


@pytest.fixture
def do(tmp_path: Path) -> Do:
    """Profile the toy world into one file of this test."""

    def run(scorer: Adder | None = None, policy: Any = None, name: str = "p.jsonl", **fields: Any) -> ProfileSummary:
        names = ("candidates", "trajectories", "resume", "progress")
        options = {key: fields.pop(key) for key in names if key in fields}
        config = ProfileConfig(**{"k": 4, **fields})
        return profile(scorer or Adder(), policy or noisy(), config, tmp_path / name, **options)

    return run


def test_every_candidate_has_k_verdicts_and_all_that_makes_them_comparable(do: Do, tmp_path: Path) -> None:
    source = tmp_path / "trajectories.jsonl"
    source.write_text("{}\n")
    summary = do(trajectories=source, sampling=Sampling(0.6, 0.95, 64), seed=7)
    found = read_profiles(summary.path)
    assert len(found.profiles) == 18 and (summary.candidates, summary.rollouts, summary.failed) == (18, 72, 0)
    one = found.profiles["toy/t0/2"]
    assert len(one.rewards) == len(one.outcomes) == len(one.tools) == 4
    assert one.demonstrated_tool == "add"
    assert one.provenance == {
        "domain": "toy",
        "domain_fingerprint": {"package": "toy", "version": "1"},
        "trajectories_sha256": "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
        "policy": "noisy-demonstration",
        "policy_fingerprint": noisy().fingerprint,
        "action_codec": "message",
        "template": "",
        "prompt_style": "full",
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 64},
        "k": 4,
        "seed": 7,
        "verifier": "adder",
        "verifier_version": "1",
        "verifier_hash": "44136fa355b3678a",
    }
    assert summary.cost["rollouts"] == 72 and summary.cost["verifier_tokens"] > 0
    first = json.loads(summary.path.read_text().splitlines()[0])
    assert (first["schema_version"], first["kind"], first["provenance"]) == (1, "profiles", dict(one.provenance))


def test_the_road_from_profile_to_pivots_gives_a_histogram_with_both_ends(do: Do) -> None:
    summary = do(Adder(trajectories=60), k=16)
    found = read_profiles(summary.path)
    figures = report(select(found.profiles, excluded=found.excluded))
    assert 0.6 < figures.dead_share < 0.85
    assert figures.histogram["0"] > 40 and figures.histogram["1"] > 40
    assert 0.05 < figures.kept_share < 0.35 and figures.alarms == ()
    assert figures.by_tool == {"add": {"candidates": 180, "kept": figures.kept}}


def test_turns_go_in_order_and_the_result_does_not_depend_on_order_or_batches(do: Do) -> None:
    scorer = Adder()
    do(scorer)
    assert scorer.prompted == [f"toy/t{i}/{turn}" for i in range(6) for turn in range(3)]
    one = read_profiles(do(name="a.jsonl").path)
    other = read_profiles(do(name="b.jsonl", trajectories_per_batch=1, candidates=sorted(Adder().ids())[::-1]).path)
    assert one.profiles == other.profiles


def test_progress_counts_trajectories_and_reaches_the_end(do: Do) -> None:
    seen: list[Progress] = []
    do(candidates=Adder().ids()[:6])
    do(progress=seen.append)
    assert [(step.done, step.total) for step in seen] == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert seen[-1].eta == 0 and seen[0].eta > 0 and seen[-1].rollouts == 48


# ---- failures of ours


def test_a_lost_sample_is_drawn_again_from_another_seed_and_the_others_stay(do: Do) -> None:
    inner = ScriptedPolicy(lambda prompt, rng: str(rng.random()), name="dice", fingerprint="1")
    flaky = Flaky(inner, lambda pivot_id, i, call: "timeout" if i == 0 and call == 1 else "")
    seen: dict[str, list[str]] = {}

    class Watching(Adder):
        def verdict(self, pivot_id: str, text: str) -> Verdict:
            seen.setdefault(pivot_id, []).append(text)
            return super().verdict(pivot_id, text)

    summary = do(Watching(), flaky)
    assert summary.failed == 0 and summary.cost["rollouts"] == 18 * 5
    whole = list(inner.sample([Prompt("toy/t0/0", (), ())], 4, Sampling(), 0))[0]
    assert seen["toy/t0/0"][1:] == [one.text for one in whole[1:]]
    assert len(set(seen["toy/t0/0"])) == 4 and seen["toy/t0/0"][0] != whole[0].text


def test_what_stays_lost_is_none_counted_and_out_of_the_mean(do: Do) -> None:
    summary = do(policy=Flaky(noisy(noise=0), lambda pivot_id, i, call: "timeout: slow" if i == 0 else ""))
    one = read_profiles(summary.path).profiles["toy/t0/0"]
    assert one.rewards == (None, 1.0, 1.0, 1.0) and one.outcomes[0] == "failed" and one.mean == 1.0
    assert (summary.failed, summary.failures) == (18, {"timeout: slow": 18})


def test_a_failed_verdict_is_asked_for_again_and_then_none(do: Do) -> None:
    lost = Verdict("failed", None, "execution", "box lost")
    once = Adder(spoil=lambda pivot_id, call: lost if call == 1 and pivot_id.endswith("/1") else None)
    assert do(once, name="once.jsonl").failed == 0
    always = Adder(spoil=lambda pivot_id, call: lost if pivot_id.endswith("/1") else None)
    summary = do(always, name="always.jsonl")
    assert (summary.failed, summary.failures) == (24, {"box lost": 24})
    assert read_profiles(summary.path).profiles["toy/t0/1"].rewards == (None,) * 4
    assert always.calls["toy/t0/1"] == 2 and always.calls["toy/t0/0"] == 1
    kept = select(read_profiles(summary.path).profiles)
    assert kept.rejected["toy/t0/1"] == "failed_rollouts"


def test_an_exception_of_the_scorer_is_recorded_and_the_run_goes_on(do: Do) -> None:
    scorer = Adder(spoil=lambda pivot_id, call: RestoreError("drift") if pivot_id.startswith("toy/t1/") else None)
    summary = do(scorer)
    assert summary.failures == {"scorer: RestoreError: drift": 12} and summary.trajectories == 6


def test_abstentions_are_none_but_no_failures(do: Do) -> None:
    scorer = Adder(spoil=lambda pivot_id, call: Verdict("abstained", None, "rules", "cannot say"))
    summary = do(scorer)
    assert (summary.abstained, summary.failed) == (72, 0)
    assert set(select(read_profiles(summary.path).profiles).rejected.values()) == {"abstained_rollouts"}


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), None])
def test_a_reward_that_is_no_number_is_a_failure(do: Do, reward: float | None) -> None:
    odd = Verdict("accepted", reward, "rules", "odd")
    scorer = Adder(spoil=lambda pivot_id, call: odd if "t1/0" in pivot_id else None)
    assert do(scorer).failures == {f"verifier: outcome accepted with reward {reward}": 4}


def test_a_prompt_that_does_not_fit_is_excluded_and_not_retried(do: Do) -> None:
    flaky = Flaky(noisy(), lambda pivot_id, i, call: f"{CONTEXT_FULL}: 9000" if pivot_id.endswith("/2") else "")
    summary = do(policy=flaky)
    assert summary.excluded == {"context_full": 6} and summary.failed == 0 and summary.rollouts == 48
    assert flaky.calls["toy/t0/2"] == 1
    found = read_profiles(summary.path)
    assert found.excluded["toy/t0/2"] == "context_full" and len(found.profiles) == 12
    assert select(found.profiles, excluded=found.excluded).rejected["toy/t0/2"] == "context_full"


def test_a_policy_that_returns_too_little_is_missing_repetitions(do: Do) -> None:
    class Short(ScriptedPolicy):
        def sample(
            self, prompts: Any, n: int, sampling: Sampling, seed: int, first: int = 0
        ) -> Iterator[list[Completion]]:
            for group in super().sample(prompts[:1], n, sampling, seed):
                yield group[:3] if n == 4 else []

    summary = do(policy=Short(lambda prompt, rng: "{}", name="short", fingerprint="1"))
    assert summary.failures == {"policy: missing repetition": 18} and summary.rollouts == 72


def test_a_dead_policy_stops_the_run_leaves_nothing_wrong_behind_and_is_resumed(do: Do) -> None:
    dead = Flaky(noisy(), lambda pivot_id, i, call: "connection: refused" if pivot_id > "toy/t2" else "")
    with pytest.raises(PolicyError, match=r"24 of the last 36 rollouts failed, more than max_failed_share 0.5; most "
                       r"often: connection: refused .* keeps 2 finished trajectories"):
        do(policy=dead)
    whole = do(policy=Flaky(noisy(), lambda pivot_id, i, call: ""))
    assert (whole.resumed, whole.trajectories, whole.failed) == (2, 6, 0)
    assert read_profiles(whole.path).profiles.keys() == set(Adder().ids())


def test_a_dead_verifier_stops_the_run_even_if_it_is_short(do: Do) -> None:
    scorer = Adder(trajectories=1, spoil=lambda pivot_id, call: ConnectionError("engine gone"))
    with pytest.raises(VerifierError, match=r"12 of the last 12 rollouts failed.*scorer: ConnectionError: engine gone"):
        do(scorer)


def test_one_bad_trajectory_among_good_ones_is_data(do: Do) -> None:
    summary = do(policy=Flaky(noisy(), lambda pivot_id, i, call: "timeout" if pivot_id.startswith("toy/t0/") else ""))
    assert (summary.trajectories, summary.failed) == (6, 12)


def test_one_bad_trajectory_left_over_does_not_stop_a_resumed_run(do: Do) -> None:
    do(candidates=Adder(trajectories=5).ids())
    scorer = Adder(spoil=lambda pivot_id, call: RestoreError("gone") if pivot_id.startswith("toy/t5/") else None)
    summary = do(scorer)
    assert (summary.resumed, summary.trajectories, summary.failed) == (5, 6, 12)


@pytest.mark.parametrize("error", [PolicyError("401"), ConfigError("x"), FingerprintMismatch("y")])
def test_errors_that_every_rollout_would_meet_end_the_run_at_once(do: Do, error: Exception) -> None:
    def give_up(prompt: Prompt, rng: Any) -> str:
        raise error

    with pytest.raises(type(error), match=str(error)):
        do(policy=ScriptedPolicy(give_up, name="x", fingerprint="1"))


def test_a_policy_that_crashes_is_a_failure_with_its_reason(do: Do) -> None:
    def crash(prompt: Prompt, rng: Any) -> str:
        raise ZeroDivisionError("oh")

    with pytest.raises(PolicyError, match="policy: ZeroDivisionError: oh"):
        do(policy=ScriptedPolicy(crash, name="x", fingerprint="1"))


def test_hostile_text_becomes_verdicts_and_a_file_that_can_be_read(do: Do) -> None:
    texts = ["\ud800", "[" * 200_000, '{"x": ' + "9" * 5000 + "}", json.dumps({"tool_calls": [
        {"function": {"name": "n\n" * 100, "arguments": "{}"}}]}), "x" * 1_000_000]  # fmt: skip
    summary = do(Adder(2, 1), ScriptedPolicy(lambda prompt, rng: rng.choice(texts), name="x", fingerprint="1"), k=16)
    found = read_profiles(summary.path)
    assert summary.failed == 0 and all(len(tool) <= 100 for one in found.profiles.values() for tool in one.tools)


# ---- resuming


def test_a_finished_run_does_nothing_when_run_again(do: Do) -> None:
    before = do().path.read_bytes()
    scorer = Adder()
    again = do(scorer)
    assert (again.resumed, again.trajectories, scorer.prompted) == (6, 6, [])
    assert again.path.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_last_line_is_dropped_with_a_message_and_redone(
    do: Do, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole = read_profiles(do().path)
    with whole.path.open("rb+") as file:
        file.truncate(whole.path.stat().st_size - cut)
    assert len(read_profiles(whole.path).profiles) == 15
    summary = do()
    assert summary.resumed == 5 and "is torn" in caplog.text and "profiled again" in caplog.text
    assert read_profiles(whole.path).profiles == whole.profiles


def test_a_torn_header_begins_anew_and_a_file_of_others_is_left_alone(do: Do, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"schema_version": 1, "kind": "prof')
    assert do().trajectories == 6
    for content in (b'{"trajectory_id": "mine"}', b"precious", b'{"schema_version": 2, "kind": "profiles"}\n'):
        path.write_bytes(content)
        with pytest.raises(RecordError, match="this is no profiles file of schema 1"):
            do()
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": noisy(seed=3)}, "policy_fingerprint was '.*' when it was recorded and is '.*' now"),
        ({"scorer": Adder(config={"strict": True})}, "verifier_hash was"),
        ({"scorer": Adder(world={"package": "toy", "version": "2"})}, r"domain_fingerprint.version was '1' .* is '2'"),
        ({"sampling": Sampling(temperature=0.7)}, r"sampling.temperature was 1.0 .* is 0.7"),
        ({"k": 8}, "k was 4 .* and is 8 now"),
        ({"seed": 1}, "seed was 0"),
        ({"prompt_style": "compact"}, "prompt_style was 'full'"),
    ],
)
def test_resuming_under_other_conditions_is_refused_by_field_values_and_remedy(
    do: Do, change: dict[str, Any], message: str
) -> None:
    path = do().path
    before = path.read_bytes()
    with pytest.raises(FingerprintMismatch, match=rf"p.jsonl: {message}.*or profile again into another file"):
        do(**change)
    assert path.read_bytes() == before


def test_a_file_without_a_row_is_begun_anew_under_other_conditions(do: Do) -> None:
    path = do(candidates=[]).path
    assert path.read_bytes().count(b"\n") == 1
    assert do(k=8).trajectories == 6
    found = read_profiles(path)
    assert found.provenance["k"] == 8 and {len(one.rewards) for one in found.profiles.values()} == {8}
    with pytest.raises(FingerprintMismatch, match="k was 8"):
        do()


def test_another_trajectory_file_is_refused(do: Do, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    do(trajectories=tmp_path / "a")
    with pytest.raises(FingerprintMismatch, match="trajectories_sha256 was"):
        do(trajectories=tmp_path / "b")


def test_an_existing_file_is_never_overwritten(do: Do) -> None:
    do()
    with pytest.raises(ConfigError, match="p.jsonl exists and resume is off"):
        do(resume=False)


def test_other_candidates_of_a_finished_trajectory_are_refused(do: Do) -> None:
    do(candidates=["toy/t0/0"])
    with pytest.raises(ConfigError, match="holds trajectory 't0' without turn 1"):
        do()


def test_broken_lines_inside_are_refused_with_line_and_field(do: Do) -> None:
    path = do().path
    lines = path.read_text().splitlines(keepends=True)
    for broken, message in (
        (lines[1] + lines[1], "line 3, field 'trajectory_id': trajectory 't0' stands there twice"),
        ("{]\n", "line 2: "),
        (lines[1].replace('"turn": 0', '"turn": -1'), "line 2, field 'candidates.0.turn'"),
        (lines[1].replace('"turn": 0', '"turn": 1'), "line 2, field 'candidates.0': turn 1 stands there twice"),
        (lines[1].replace('"cost"', '"price"'), "line 2, field '(cost|price)'"),
    ):
        path.write_text("".join([lines[0], broken, *lines[2:]]))
        with pytest.raises(RecordError, match=rf"p.jsonl, {message}"):
            do()
        with pytest.raises(RecordError, match=message):
            read_profiles(path)


def test_a_second_writer_is_refused(do: Do, tmp_path: Path) -> None:
    def inside(progress: Progress) -> None:
        with pytest.raises(ConfigError, match="is being written by another process"):
            do()

    do(progress=inside)


def test_wrong_candidates_codecs_and_settings_are_refused(do: Do) -> None:
    with pytest.raises(ConfigError, match="'other/t0/0' is not of the scorer's domain 'toy'"):
        do(candidates=["other/t0/0"])
    with pytest.raises(ConfigError, match="'toy/t0/0' is named twice"):
        do(candidates=["toy/t0/0"] * 2)
    with pytest.raises(RecordError, match="'t0' is no id of a turn"):
        do(candidates=["t0"])
    with pytest.raises(ConfigError, match="writes codec 'hermes' but the scorer reads 'message'"):
        do(policy=Flaky(noisy(), lambda *_: "", action_codec="hermes"))
    with pytest.raises(ConfigError, match="k is 1; expected at least 2"):
        ProfileConfig(k=1)
    with pytest.raises(ConfigError, match="max_failed_share is 2"):
        ProfileConfig(max_failed_share=2)


CHILD = """
import sys, time
sys.path[:0] = [{tests!r}, {root!r}]
from test_profiling import Adder, noisy
from pivot_envs.profiling import ProfileConfig, profile

class Slow(Adder):
    def score(self, pivot_ids, actions):
        time.sleep(0.05)
        return super().score(pivot_ids, actions)

profile(Slow(trajectories=40), noisy(), ProfileConfig(k=4), {path!r}, progress=lambda p: print(p.done, flush=True))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this platform")
def test_a_killed_run_is_resumed_and_equals_an_unbroken_one(tmp_path: Path, do: Do) -> None:
    path, tests = tmp_path / "killed.jsonl", Path(__file__).resolve().parent
    script = CHILD.format(tests=str(tests), root=str(tests.parent), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tests.parent)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 3:
            os.kill(child.pid, signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    with path.open("ab") as file:  # what a kill in the middle of an append leaves
        file.write(b'{"trajectory_id": "t39", "cand')
    done = len(read_profiles(path).profiles)
    assert 9 <= done < 120
    summary = do(Adder(trajectories=40), name="killed.jsonl")
    assert summary.resumed == done // 3 and summary.trajectories == 40
    assert read_profiles(path).profiles == read_profiles(do(Adder(trajectories=40), name="whole.jsonl").path).profiles

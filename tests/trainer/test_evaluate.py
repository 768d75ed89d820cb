"""Shares with their intervals: whole episodes on the helpdesk, and held-out turns."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from pivot_envs.actions import encode
from pivot_envs.contracts import Completion, Prompt
from pivot_envs.errors import ConfigError, PolicyError
from pivot_envs.policy import NoisyDemonstrationPolicy, ScriptedPolicy
from pivot_envs.records import Action, Sampling, ToolCall
from pivot_envs.scoring import Scorer
from pivot_envs.trainer.evaluate import EpisodeReport, evaluate_episodes, held_out, wilson

TASKS = ("test_001", "test_002", "test_003")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIVOT_ENVS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer("tau2", "helpdesk", split="test")


def scripted(write: Callable[[Prompt, random.Random], str]) -> ScriptedPolicy:
    return ScriptedPolicy(write, name="scripted", fingerprint="scripted-1")


def demonstrated(scorer: Scorer, prompt_id: str) -> Action:
    """Return the recorded turn; behind the last one, a goodbye."""
    if prompt_id not in scorer.ids():
        return Action(text="Goodbye!")
    return scorer.bench.domain.demonstration(scorer.candidate(prompt_id))


def noisy(scorer: Scorer, noise: float, **settings: float) -> NoisyDemonstrationPolicy:
    return NoisyDemonstrationPolicy(lambda prompt_id: demonstrated(scorer, prompt_id), noise=noise, **settings)


def play(policy, **settings) -> EpisodeReport:
    return evaluate_episodes(policy, "tau2", "helpdesk", **{"tasks": TASKS, "episodes": 6, **settings})


def test_a_share_has_wilsons_interval():
    """8 of 10: .490 to .943; 0 of 20: 0 to .161 (worked by hand from the formula)."""
    found = wilson(8, 10, excluded=3)
    assert (found.share, found.excluded) == (0.8, 3)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert (wilson(0, 20).low, wilson(0, 20).high) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20).high == 1.0
    with pytest.raises(ConfigError, match="0 successes among 0"):
        wilson(0, 0)


def test_a_policy_that_plays_the_demonstrations_succeeds_in_every_episode(scorer):
    report = play(noisy(scorer, 0.0))
    recorded = [len(t.assistant_indices) for t in scorer.bench.source.trajectories if t.task_id in TASKS]
    assert (report.successes, report.episodes, dict(report.endings)) == (6, 6, {"done": 6})
    assert dict(report.by_task) == dict.fromkeys(TASKS, (2, 2))
    assert report.mean_turns == sum(recorded) / 3
    assert report.rollouts == 2 * sum(recorded)
    assert report.success.low == pytest.approx(wilson(6, 6).low)


def test_a_policy_that_closes_at_once_ends_its_episodes_and_succeeds_in_none():
    report = play(scripted(lambda prompt, rng: encode(Action(text="Goodbye!"))), max_turns=6)
    assert (report.successes, report.episodes) == (0, 6)
    assert sum(report.endings.values()) == 6


def test_a_policy_that_spoils_some_turns_succeeds_in_some_episodes_the_same_at_every_run(scorer):
    policy = noisy(scorer, 0.3, mixed=1.0)
    first, again = (play(policy, episodes=60, seed=4, max_turns=20) for _ in range(2))
    assert 0 < first.successes < 60
    assert (first.by_task, first.endings, first.rollouts) == (again.by_task, again.endings, again.rollouts)
    assert play(policy, episodes=60, seed=5, max_turns=20).by_task != first.by_task


def test_an_unreadable_turn_ends_an_episode_and_an_endless_one_is_cut_without_success():
    broken = play(scripted(lambda prompt, rng: '{"tool_calls": [{"function"'), episodes=3)
    assert (broken.successes, dict(broken.endings), broken.mean_turns) == (0, {"malformed": 3}, 1.0)
    look = encode(Action(calls=(ToolCall("get_account", {"customer_id": "nobody"}),)))
    endless = play(scripted(lambda prompt, rng: look), episodes=3, max_turns=5)
    assert (endless.successes, dict(endless.endings), endless.mean_turns) == (0, {"max_turns": 3}, 5.0)


class Failing(ScriptedPolicy):
    """Plays on until a turn, then fails as policies do."""

    def __init__(self, play_on: ScriptedPolicy, turn: int, error: str) -> None:
        super().__init__(play_on._write, name="failing", fingerprint="failing-1")
        self.turn, self.error = turn, error

    def sample(self, prompts, n, sampling, seed):
        for prompt, group in zip(prompts, super().sample(prompts, n, sampling, seed), strict=True):
            late = int(prompt.prompt_id.rpartition("/")[2]) >= self.turn
            yield [Completion("", finish_reason="error", error=self.error)] * n if late else group


def test_a_conversation_that_outgrows_the_context_is_no_success(scorer):
    report = play(Failing(noisy(scorer, 0.0), 3, "context_full: 5000 tokens"))
    assert (report.successes, report.episodes, dict(report.endings)) == (0, 6, {"context_full": 6})


def test_episodes_that_the_policy_could_not_be_asked_for_are_excluded_and_all_of_them_are_an_error(scorer):
    failing = Failing(noisy(scorer, 0.0), 10, "http 500")
    lengths = {t.task_id: len(t.assistant_indices) for t in scorer.bench.source.trajectories}
    short, long = (next(t for t, n in lengths.items() if (n <= 10) is fits) for fits in (True, False))
    report = play(failing, tasks=[short, long], episodes=4)
    assert (report.successes, report.episodes, report.success.excluded) == (2, 2, 2)
    assert dict(report.endings) == {"done": 2, "policy: http 500": 2}
    for error in ("context_full", "http 500"):
        with pytest.raises(PolicyError, match=f"none of 6 episodes could be judged.*{error}.*6"):
            play(Failing(noisy(scorer, 0.0), 0, error))


def test_episodes_that_stand_at_the_same_words_are_sampled_together(scorer):
    calls = []

    class Counting(NoisyDemonstrationPolicy):
        def sample(self, prompts, n, sampling, seed):
            calls.append(n)
            return super().sample(prompts, n, sampling, seed)

    exact = Counting(lambda i: demonstrated(scorer, i), noise=0.0, reworded=0.0)
    report = play(exact, tasks=TASKS[:1], episodes=40)
    assert set(calls) == {40}
    assert sum(calls) == report.rollouts


def test_prompts_hold_function_schemas_in_the_full_style_only():
    seen = {}
    for style in ("full", "compact"):
        policy = scripted(lambda prompt, rng, style=style: seen.setdefault(style, prompt) and "no action {")
        play(policy, episodes=1, prompt_style=style, max_turns=1)
    assert seen["full"].tools
    assert seen["full"].messages[0]["role"] == "system"
    assert not seen["compact"].tools


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ["test_01"]}, "no trajectory of split 'test' has task 'test_01'.*test_0"),
        ({"episodes": 0}, "episodes is 0"),
        ({"max_turns": 201}, "max_turns 201; expected at least 1 episode and 1 to 200"),
        ({"split": "trian"}, "trian"),
    ],
)
def test_what_cannot_be_played_is_refused(scorer, settings, message):
    with pytest.raises(ConfigError, match=message):
        play(noisy(scorer, 0.0), **settings)


def test_held_out_turns_are_accepted_as_the_policy_deserves(scorer):
    effect = {"effect": scorer}
    assert held_out(noisy(scorer, 0.0), effect, most=40)["effect"].share == 1.0
    never = held_out(noisy(scorer, 1.0), effect, most=40)["effect"]
    assert (never.n, never.excluded) == (40, 0)
    assert never.share < 0.1
    chosen = scorer.ids()[:7]
    assert held_out(noisy(scorer, 0.0), effect, chosen)["effect"].n == 7


def test_the_same_turns_are_judged_by_a_stricter_verifier_too(scorer):
    """Half of the noisy policy's turns are wrong in a value, which comparing names does not see."""
    calls = []

    class Counting(NoisyDemonstrationPolicy):
        def sample(self, prompts, n, sampling, seed):
            calls.append(len(prompts))
            return super().sample(prompts, n, sampling, seed)

    wrong = Counting(lambda i: demonstrated(scorer, i), noise=0.5)
    both = {"tool_name": Scorer("tau2", "helpdesk", split="test", verifier="tool_name"), "effect": scorer}
    shares = held_out(wrong, both, most=60)
    assert shares["effect"].share < shares["tool_name"].share
    assert sum(calls) == 60


def test_held_out_turns_that_cannot_be_sampled_are_excluded(scorer):
    ids = [i for i in scorer.ids() if i.endswith(("/0", "/5"))][:20]
    effect = {"effect": scorer}
    report = held_out(Failing(noisy(scorer, 0.0), 5, "context_full"), effect, ids)["effect"]
    assert (report.n, report.excluded, report.share) == (10, 10, 1.0)
    with pytest.raises(PolicyError, match=r"none of 20 held-out turns has a verdict: {'context_full': 20}"):
        held_out(Failing(noisy(scorer, 0.0), 0, "context_full"), effect, ids)


def test_a_local_model_plays_episodes(scorer):
    pytest.importorskip("torch")
    from pivot_envs.trainer.tiny import tiny_model

    policy = tiny_model(["hello"], width=32, context_length=512, prompt_style="compact")
    report = play(policy, prompt_style="compact", episodes=3, max_turns=2, sampling=Sampling(max_tokens=8))
    assert (report.successes, report.episodes) == (0, 3)
    assert policy.prefilled_tokens > 0


class Cut(NoisyDemonstrationPolicy):
    """Runs out of tokens at every other turn."""

    def sample(self, prompts, n, sampling, seed, first=0):
        for place, drawn in enumerate(super().sample(prompts, n, sampling, seed, first)):
            yield [replace(one, finish_reason="length") if place % 2 else one for one in drawn]


def test_held_out_turns_that_were_cut_are_left_out_as_in_training_and_counted(scorer):
    """A message matches any message under the paper's rule, also half of one."""
    lenient = Scorer("tau2", "helpdesk", split="test", verifier="paper")
    ids = scorer.ids()[:21]
    policy = Cut(lambda prompt_id: demonstrated(scorer, prompt_id), noise=0.0)
    for share in held_out(policy, {"paper": lenient, "effect": scorer}, ids).values():
        assert (share.n, share.excluded, share.cut, share.share) == (11, 10, 10, 1.0)
    with pytest.raises(PolicyError, match=r"none of 1 held-out turns has a verdict: {'cut at max_tokens': 1}"):
        held_out(scripted_cut(), {"paper": lenient}, ids[:1])


def scripted_cut() -> ScriptedPolicy:
    class AlwaysCut(ScriptedPolicy):
        def sample(self, prompts, n, sampling, seed, first=0):
            for drawn in super().sample(prompts, n, sampling, seed, first):
                yield [replace(one, finish_reason="length") for one in drawn]

    return AlwaysCut(lambda prompt, rng: encode(Action(text="Your line is")), name="cut", fingerprint="cut-1")

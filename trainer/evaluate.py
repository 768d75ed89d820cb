"""How good a policy is: the share of whole episodes it finishes well, and of held-out turns a verifier accepts.

Both shares come with a Wilson 95 % interval. Episodes run in a live world from the first turn of recorded trajectories,
so the domain needs dynamics of its own, as helpdesk has with its scripted customer. Nothing here trains.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pivot_envs.bench import Bench
from pivot_envs.contracts import Batching, Completion, Policy, Prompt, Responding, SampleRequest
from pivot_envs.env import MAX_TURNS, PivotEnv
from pivot_envs.errors import ConfigError, PolicyError, suggest
from pivot_envs.policy import CONTEXT_FULL, derive_seed
from pivot_envs.records import Candidate, Sampling, canonical_json
from pivot_envs.scoring import Scorer

logger = logging.getLogger(__name__)

LANES = 128
"""Episodes played at the same time; those of one start whose conversations are still equal are one group of draws."""
CUT = "cut at max_tokens"
HELD_OUT_SAMPLING = Sampling(max_tokens=64)
SCRIPTED = "scripted"
"""How the reason begins for which a replay drops a greeting that no policy chose; an episode starts behind it."""
FOLLOWED = ("off_path", "recording_ended")
"""Endings of an episode in which the recording answered for the world: they say nothing about a whole episode."""


@dataclass(frozen=True)
class Share:
    """A share with its Wilson score interval."""

    successes: float
    n: int
    share: float
    low: float
    high: float
    excluded: int = 0
    """Not among the n: what could not be sampled or judged."""
    cut: int = 0
    """Of the excluded: turns that ran into max_tokens, which training masks too (`mask_truncated`)."""


def wilson(successes: float, n: int, excluded: int = 0, z: float = 1.96) -> Share:
    """Return the share of successes among n with its Wilson score interval, 95 % unless told otherwise."""
    if n < 1 or not 0 <= successes <= n:
        raise ConfigError(f"{successes} successes among {n} are no share; expected 0 to n of at least one")
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Share(successes, n, share, max(0.0, middle - half), min(1.0, middle + half), excluded)


# Turns --------------------------------------------------------------------------------------------------------------


def held_out(
    policy: Policy,
    scorers: Mapping[str, Scorer],
    ids: Sequence[str] | None = None,
    sampling: Sampling = HELD_OUT_SAMPLING,
    seed: int = 1,
    most: int = 300,
) -> dict[str, Share]:
    """Return the share of turns at which one sampled action is accepted, by each scorer.

    A turn that ran into `max_tokens` is no turn, as in training: it is excluded and counted, whatever a verifier says.

    Args:
        policy: Writes the actions, once for all scorers.
        scorers: Judge them, by a name; beside the verifier trained with name a stricter one. All of them have the same
            turns, and the policy's codec and style.
        ids: The turns; unset is all the scorers know.
        sampling: How the actions are drawn.
        seed: Of the draws.
        most: Take at most so many of the ids, evenly spread.

    Raises:
        ConfigError: there is no scorer.
        PolicyError: not one action could be sampled and judged.
    """
    if not scorers:
        raise ConfigError("no verifier is named to judge held-out turns; name at least one, such as effect")
    first = next(iter(scorers.values()))
    known = list(first.ids() if ids is None else ids)
    chosen = known[:: max(1, len(known) // most)][:most]
    samples = [drawn[0] for drawn in policy.sample([first.prompt(i) for i in chosen], 1, sampling, seed)]
    cut = sum(one.finish_reason == "length" for one in samples)
    written = [(i, s.text) for i, s in zip(chosen, samples, strict=True) if s.finish_reason == "stop"]
    shares = {}
    for name, scorer in scorers.items():
        verdicts = scorer.score([i for i, _ in written], [text for _, text in written])
        rewards = [verdict.reward for verdict in verdicts if verdict.reward is not None]
        if not rewards:
            ours = {"length": CUT, "stop": f"not judged by {name}"}
            errors = Counter(one.error or ours.get(one.finish_reason, "no text") for one in samples)
            raise PolicyError(f"none of {len(chosen)} held-out turns has a verdict: {dict(errors)}")
        shares[name] = replace(wilson(sum(rewards), len(rewards), len(chosen) - len(rewards)), cut=cut)
    return shares


# Episodes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EpisodeReport:
    """What came of the episodes."""

    success: Share
    """Episodes that reached their own end and that the domain judged with 1. The interval is about draws on these
    tasks: with several episodes a task it does not speak of other tasks."""
    mean_turns: float
    endings: Mapping[str, int]
    """Reasons: those of `PivotEnv`, `max_turns` also where the caller's limit came first, `context_full`, and
    `policy: ...` where nothing could be sampled. Excluded episodes are in here too."""
    by_task: Mapping[str, tuple[int, int]]
    """Task -> (successes, judged episodes)."""
    rollouts: int
    """Turns sampled."""
    seconds: float

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return int(self.success.successes)

    @property
    def episodes(self) -> int:
        """Episodes with a judgement."""
        return self.success.n


@dataclass
class _Lane:
    """One episode in its own environment."""

    env: PivotEnv
    start: Candidate
    observation: Mapping[str, Any] = field(default_factory=dict)
    turns: int = 0
    ending: str = ""
    success: bool | None = False
    """None where it cannot be known."""


def evaluate_episodes(
    policy: Policy,
    family: str,
    domain: str | None = None,
    *,
    split: str = "test",
    tasks: Sequence[str] | None = None,
    episodes: int = 100,
    seed: int = 0,
    prompt_style: str = "full",
    max_turns: int = 40,
    sampling: Sampling | None = None,
    trajectories: str | None = None,
    domain_options: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> EpisodeReport:
    """Let a policy play whole episodes and count how many the domain's own checks pass.

    The trajectories of the split take turns, so that each starts equally many episodes, or one more. What an episode
    draws depends on the seed, its trajectory, its number there and what was said so far. Cut or malformed episodes are
    no success; nor are those that outgrow the policy's context. What failed on our side is excluded and counted.

    Args:
        policy: Writes the turns, in its own codec.
        family: A family or a domain, as in `PivotEnv`.
        domain: A world in the family.
        split: Whose trajectories are started from.
        tasks: Only these tasks of the split.
        episodes: How many.
        seed: Of the draws.
        prompt_style: How prompts are written; shorter ones than `full` leave the function schemas out.
        max_turns: Longest episode; the longest demonstration of helpdesk's test tasks has 19 turns.
        sampling: How turns are drawn; unset is temperature 1 and 512 tokens.
        trajectories: A `trajectories.jsonl` to start from; unset is the domain's own demonstrations.
        domain_options: Further arguments of the domain.
        progress: Called with the number of episodes done so far.

    Raises:
        ConfigError: no such task, no start, a limit out of range, or a domain without dynamics.
        PolicyError: not one episode could be judged.
    """
    _check_limits(episodes, max_turns)
    make = lambda: PivotEnv(  # noqa: E731
        family, domain, trajectories=trajectories, split=split, action_codec=policy.action_codec, horizon=None,
        reward="outcome", prompt_style=prompt_style, domain_options=domain_options,
    )  # fmt: skip
    began = time.perf_counter()
    bench = make().bench
    starts = _starts(bench, tasks)
    sampling = sampling or Sampling()
    order = [start for place, start in enumerate(starts) for _ in range(place, episodes, len(starts))]
    played: list[_Lane] = []
    rollouts = 0
    for first in range(0, episodes, LANES):
        lanes = [_Lane(make(), start) for start in order[first : first + LANES]]
        rollouts += _play(policy, lanes, max_turns, sampling, derive_seed(seed, "episodes", first))
        played += lanes
        if progress:
            progress(len(played))
    return _report(played, rollouts, time.perf_counter() - began)


def _check_limits(episodes: int, max_turns: int) -> None:
    if episodes < 1 or not 1 <= max_turns <= MAX_TURNS:
        raise ConfigError(
            f"episodes is {episodes} and max_turns {max_turns}; expected at least 1 episode and 1 to {MAX_TURNS} turns"
        )


def _starts(bench: Bench, tasks: Sequence[str] | None) -> list[Candidate]:
    """Return the first turn of each trajectory that a policy can play from its beginning."""
    name = bench.domain.name
    if not isinstance(bench.domain, Responding):
        raise ConfigError(f"domain {name!r} has no dynamics of its own: nobody would answer after a turn")
    known = {trajectory.task_id for trajectory in bench.source.trajectories}
    for task in tasks or ():
        if task not in known:
            raise ConfigError(f"no trajectory of split {bench.source.split!r} has task {task!r}.{suggest(task, known)}")
    starts = []
    for trajectory in bench.source.trajectories:
        if tasks is not None and trajectory.task_id not in tasks:
            continue
        dropped = bench.source.recordings.dropped(trajectory)
        chosen = (t for t in range(len(trajectory.assistant_indices)) if not dropped.get(t, "").startswith(SCRIPTED))
        turn = next(chosen, None)
        if turn is not None and turn not in dropped:
            starts.append(Candidate(trajectory, turn))
        else:
            reason = "it has no turn of a policy" if turn is None else dropped[turn]
            logger.warning("%s is not started from: %s", trajectory.trajectory_id, reason)
    if not starts:
        raise ConfigError(f"no trajectory of {name!r}, split {bench.source.split!r}, can be entered at its first turn")
    return starts


def _play(policy: Policy, lanes: Sequence[_Lane], max_turns: int, sampling: Sampling, seed: int) -> int:
    """Play episodes to their ends, side by side, and return how many turns were sampled."""
    for lane in lanes:
        lane.observation, _ = lane.env.reset(options={"pivot_id": lane.start.candidate_id})
    rollouts = 0
    for step in range(max_turns):
        alike: dict[tuple[str, str], list[_Lane]] = defaultdict(list)
        for lane in lanes:
            if not lane.ending:
                said = canonical_json(lane.observation["messages"])
                alike[lane.start.candidate_id, said].append(lane)
        asked = [(_prompt(step, group[0]), len(group), derive_seed(seed, said)) for (_, said), group in alike.items()]
        for group, completions in zip(alike.values(), _drawn(policy, asked, sampling), strict=True):
            rollouts += _turn(group, completions)
    for lane in lanes:
        lane.ending = lane.ending or "max_turns"
        lane.env.close()
    return rollouts


def _prompt(step: int, lane: _Lane) -> Prompt:
    """Return what the policy sees, under the id that the recorded turn of this ordinal has."""
    tools = lane.observation["tools"] if lane.env.bench.prompt_style == "full" else ()
    turn = Candidate(lane.start.trajectory, lane.start.turn + step)
    return Prompt(turn.candidate_id, tuple(lane.observation["messages"]), tuple(tools))


def _drawn(policy: Policy, asked: Sequence[tuple[Prompt, int, int]], sampling: Sampling) -> list[list[Completion]]:
    """Return n completions for each (prompt, n, seed); a local model draws them in one batch."""
    if isinstance(policy, Batching):
        return policy.sample_together([SampleRequest(*each) for each in asked], sampling)
    return [next(iter(policy.sample([prompt], n, sampling, seed))) for prompt, n, seed in asked]


def _turn(lanes: Sequence[_Lane], completions: Sequence[Completion]) -> int:
    """Take one turn in each of the lanes, which stand at the same words; return how many could be sampled."""
    sampled = 0
    for lane, completion in zip(lanes, completions, strict=True):
        if completion.finish_reason == "error":
            full = completion.error.startswith(CONTEXT_FULL)
            lane.ending = CONTEXT_FULL if full else f"policy: {completion.error}"
            # A conversation that grew too long is the policy's doing; a first prompt that does not fit is ours.
            lane.success = False if full and lane.turns else None
            continue
        sampled += 1
        lane.turns += 1
        lane.observation, reward, terminated, truncated, info = lane.env.step(completion.text)
        if terminated or truncated:
            lane.ending = info["end_reason"]
            unknown = math.isnan(reward) or lane.ending in FOLLOWED
            lane.success = None if unknown else terminated and reward == 1.0
    return sampled


def _report(played: Sequence[_Lane], rollouts: int, seconds: float) -> EpisodeReport:
    endings = Counter(lane.ending for lane in played)
    judged = [lane for lane in played if lane.success is not None]
    if not judged and set(endings) <= set(FOLLOWED):
        raise ConfigError("this domain answers no turn itself, so that no whole episode can be played in it")
    if not judged:
        raise PolicyError(f"none of {len(played)} episodes could be judged; they ended with {dict(endings)}")
    by_task: dict[str, list[bool]] = defaultdict(list)
    for lane in judged:
        by_task[lane.start.trajectory.task_id].append(bool(lane.success))
    return EpisodeReport(
        wilson(sum(map(sum, by_task.values())), len(judged), len(played) - len(judged)),
        sum(lane.turns for lane in judged) / len(judged),
        dict(endings.most_common()),
        {task: (sum(results), len(results)) for task, results in by_task.items()},
        rollouts,
        seconds,
    )

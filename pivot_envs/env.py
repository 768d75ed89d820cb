"""PivotEnv: reset to a turn of a recorded trajectory, act there, be judged; for all four families.

Many actions at one turn are `Scorer`'s work. This class owns what happens inside one episode and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from pivot_envs.bench import (
    OURS_TO_FIX,
    RESET_OPTIONS,
    Bench,
    Reading,
    Written,
    check_modes,
    check_reset,
    failure,
    open_bench,
)
from pivot_envs.chat import to_message
from pivot_envs.contracts import Responding, Response, State
from pivot_envs.errors import ConfigError, PivotEnvsError, RestoreError
from pivot_envs.records import Action, Candidate, Effect, Message, Outcome, Trajectory, Verdict
from pivot_envs.rendering import outcome_info, render_turn, verdict_info
from pivot_envs.spaces import JsonSpace, MessagesSpace, UnicodeText

logger = logging.getLogger(__name__)

MAX_TURNS = 200
"""Turns after which an episode without a horizon is cut, tau2's own limit of steps."""
MAX_ACTION = 200_000
"""Characters of an action in the action space."""


@dataclass
class _Episode:
    """One episode between reset and its end."""

    candidate: Candidate
    """The turn that is judged next; moves on along the recording."""
    state: State | None
    digest: str
    messages: list[Message]
    """The live conversation, calls of the user included."""
    failure: str = ""
    """Why there is no state."""
    steps: int = 0
    on_path: bool = True
    """Everything so far had the demonstrated effect, so the recording still says what comes next."""
    over: bool = False
    written: Any = None
    action: Action | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class _Ending:
    """Whether and why an episode stops after a step."""

    reason: str = ""
    terminated: bool = False
    truncated: bool = False
    outcome: Outcome | None = None
    """The domain's judgement of the whole episode where it was evaluated."""
    unknown: bool = False
    """The reward of this step cannot be known: it becomes NaN."""


class PivotEnv(gymnasium.Env[dict[str, Any], Any]):
    """A recorded agent trajectory, entered at any turn, with its world live behind it.

    ## Description
    `reset` goes to one assistant turn of a recorded trajectory (a candidate, or a pivot chosen from a profile) and
    restores the world as it stood there. `step` takes the policy's turn, executes it, executes the demonstrated turn
    from the same state, and rewards equal effect. tau2 is a service desk with tools and a customer, terminal a shell,
    swe a code repository, browse a search engine over a fixed corpus.

    ## Action
    `UnicodeText`: one assistant turn as text, read by `action_codec`; or a mapping, an OpenAI assistant message.
    What cannot be read is no error: reward 0, outcome `malformed`.

    ## Observation
    `Dict(messages=MessagesSpace, tools=JsonSpace)`: the OpenAI chat messages a policy may see before the turn, and the
    function schemas it may call. Never the demonstration, nor anything recorded after the turn.

    ## Pivot state
    Restored by replaying the recorded actions from the trajectory's initial state, or from a cached snapshot of that;
    every replayed observation is compared with the recorded one, and a turn whose prefix drifts is not offered.
    A turn that cannot be restored (two tries) still shows its prompt; its step has no reward.

    ## Reward
    `reward="turn"`: the verdict of `verifier` on the first turn (1 accepted, 0 rejected or malformed), 0 afterwards.
    `reward="outcome"`: 0 until the end, then the domain's own judgement of the whole episode. A verdict of abstained or
    failed has no reward: `step` returns NaN with `truncated=True`; mask it, do not read it as 0.

    ## Episode end
    `horizon=1`: after one judged turn, terminated. `horizon=h`: after h turns, truncated with `end_reason` `horizon`;
    `horizon=None`: at the domain's own end, at most 200 turns. Where the world cannot answer for itself and the
    recording answers instead, a turn that was not accepted truncates with `off_path`. A malformed turn terminates, and
    so does a call in the user's name, which is rejected and not executed.

    ## Information
    `pivot_id`, `trajectory_id`, `turn`: where the episode started. `digest`: hash of the state there, empty if it could
    not be restored. After a step also `verdict` {outcome, reward, level, reason, evidence (name, value pairs), cost},
    `judged` (whether this step has a verdict of its own), `reward_turn`, `reward_outcome`, `off_path`, `end_reason`:
    judged, malformed, done, recording_ended, horizon, max_turns, off_path, abstained, failed; empty if it goes on.
    At the end of an episode that the domain could judge as a whole also `outcome` {reward, passed, details (name, value
    pairs, such as unmet assertions and breaches of the policy)}, whatever `reward` is.

    ## Arguments
    - `family`: set by the id. `domain`: a world in it; unset is the family's default.
    - `trajectories`: a `trajectories.jsonl`; unset is the file `pivots` names, else the domain's own demonstrations.
    - `pivots`: a `pivots.jsonl`; unset draws from every candidate. `pivot_ids`: draw from these alone.
    - `split`: train, test, all. Splits are by task.
    - `verifier`: effect, exact, tool_name, word_overlap, paper. `action_codec`: message, hermes, xml, text.
    - `horizon`: turns; `reward`: turn or outcome, unset is turn, and outcome for `horizon=None`.
    - `sandbox`: auto, docker, userns, tempdir. `judge`: {base_url, model}. Both only where the domain uses them.
    - `prompt_style`: full, or a shorter one of the domain. `domain_options`: further arguments of the domain.
    - `render_mode`: ansi, human.

    `reset(options=...)` takes `pivot_id`, or `trajectory_id` with or without `turn`; they win over the random draw.

    ## References
    PivotRL, arXiv 2603.21383. tau2-bench, arXiv 2506.07982.

    ## Version history
    - v0: not released yet; rewards may still change.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "human"], "render_fps": 1}

    def __init__(
        self,
        family: str,
        domain: str | None = None,
        trajectories: str | None = None,
        pivots: str | None = None,
        split: str = "train",
        verifier: str = "effect",
        action_codec: str = "message",
        horizon: int | None = 1,
        reward: str | None = None,
        sandbox: str = "auto",
        judge: Mapping[str, str] | None = None,
        render_mode: str | None = None,
        pivot_ids: Sequence[str] | None = None,
        prompt_style: str = "full",
        domain_options: Mapping[str, Any] | None = None,
    ) -> None:
        check_modes(horizon, reward, render_mode, self.metadata["render_modes"])
        self.horizon = horizon
        self.reward = reward or ("outcome" if horizon is None else "turn")
        self.render_mode = render_mode
        opened: dict[str, Any] = {
            "family": family, "domain": domain, "trajectories": trajectories, "pivots": pivots, "split": split,
            "pivot_ids": pivot_ids, "verifier": verifier, "action_codec": action_codec, "sandbox": sandbox,
            "judge": judge, "prompt_style": prompt_style, "domain_options": domain_options,
        }
        self.bench: Bench = open_bench(**opened)
        self._arguments = {**opened, "horizon": horizon, "reward": reward, "render_mode": render_mode}
        self.observation_space = spaces.Dict({"messages": MessagesSpace(), "tools": JsonSpace()})
        self.action_space = UnicodeText(MAX_ACTION)
        self._episode: _Episode | None = None
        self._start: Candidate | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What travels: the arguments and the random generator. An episode does not; its state is live."""
        return {"arguments": self._arguments, "spec": self.spec, "random": (self._np_random, self._np_random_seed)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the environment anew; it wants a `reset`."""
        self.__init__(**state["arguments"])  # type: ignore[misc]
        self.spec = state["spec"]
        self._np_random, self._np_random_seed = state["random"]

    @property
    def candidate(self) -> Candidate | None:
        """The turn that is judged next, or was judged last."""
        return self._episode.candidate if self._episode else None

    @property
    def verdict(self) -> Verdict | None:
        """The last verdict of this episode."""
        return self._episode.verdict if self._episode else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Go to a turn: the one `options` names, else a random one.

        Raises:
            UnknownPivot: nobody knows the id; the message names near ones.
            ConfigError: an option cannot be meant.
            FingerprintMismatch: the trajectory was recorded against another version of its world.
        """
        super().reset(seed=seed)
        candidate = self._choose({} if options is None else options)
        self._leave()
        episode = _Episode(candidate, None, "", list(candidate.prefix))
        try:
            episode.state = self.bench.restore(candidate)
            episode.digest = episode.state.digest()
        except RestoreError as error:
            logger.warning("%s", error)
            episode.failure = str(error)
        self._episode, self._start = episode, candidate
        if self.render_mode == "human":
            self._show()
        return self._observation(episode), self._where(episode)

    def step(self, action: Written) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take one turn and judge it; nothing in `action` raises."""
        episode = self._episode
        if episode is None or episode.over:
            raise ResetNeeded("this episode is over or never began: call reset() before step()")
        episode.steps += 1
        episode.written = action
        reading = self.bench.read(action, episode.candidate)
        episode.action = reading.action
        judged = episode.on_path or reading.verdict is not None
        if judged:
            episode.verdict = self._judge(episode, reading)
        ending = self._one_turn(episode) if self.horizon == 1 else self._go_on(episode, judged)
        return self._result(episode, ending, judged)

    def render(self) -> str | None:
        """Return the turn as text (`ansi`), or write it to standard output (`human`)."""
        if self._episode is None or self.render_mode is None:
            return None
        if self.render_mode == "human":
            self._show()
            return None
        return self._text(self._episode)

    def close(self) -> None:
        """Free the restored state. Calling it twice is fine."""
        self._leave()

    # --- choosing and judging ---

    def _choose(self, options: Mapping[str, Any]) -> Candidate:
        check_reset(options)
        pivot_id, trajectory_id, turn = (options.get(name) for name in RESET_OPTIONS)
        if pivot_id is not None:
            if trajectory_id is not None or turn is not None:
                raise ConfigError("reset options name pivot_id and also trajectory_id or turn; give one or the other")
            return self.bench.source.get(pivot_id)
        if trajectory_id is None:
            if turn is not None:
                raise ConfigError(f"reset option turn={turn!r} needs a trajectory_id beside it")
            return self.bench.source.draw(self.np_random)
        if turn is None:
            return self.bench.source.draw(self.np_random, trajectory_id)
        return self.bench.source.at(trajectory_id, turn)

    def _judge(self, episode: _Episode, reading: Reading) -> Verdict:
        if reading.verdict is not None:
            return reading.verdict
        if episode.state is None or reading.action is None:
            return failure(episode.failure)
        return self.bench.judge(episode.candidate, episode.state, [reading.action])[0]

    # --- one turn, or more ---

    def _one_turn(self, episode: _Episode) -> _Ending:
        if episode.action is not None:
            episode.messages.append(to_message(episode.action))
        assert episode.verdict is not None
        return self._without_reward(episode.verdict) or self._ended(episode, "judged")

    def _go_on(self, episode: _Episode, judged: bool) -> _Ending:
        """Execute the turn in the live state and let the world, or else the recording, answer."""
        verdict = episode.verdict if judged else None
        if episode.action is None:
            return self._no_action(episode)
        if episode.state is None:
            return _Ending("failed", truncated=True, unknown=True)
        first = verdict if self.reward == "turn" and episode.steps == 1 else None
        if first is not None and (ending := self._without_reward(first)):
            return ending
        try:
            episode.action = _with_ids(episode.action, episode.steps)
            effect = episode.state.execute(episode.action)
            self._append(episode, episode.action, effect)
            response = self._respond(episode)
        except OURS_TO_FIX:
            raise
        except Exception as error:
            logger.exception("%s: the episode cannot go on", episode.candidate.candidate_id)
            episode.failure = f"{type(error).__name__}: {error}"
            return self._lost(episode, verdict)
        if response is None:
            ending = self._follow_recording(episode, verdict)
        else:
            episode.on_path = False
            episode.messages += [dict(each) for each in response.messages]
            ending = self._ended(episode, "done") if response.done else _Ending()
        return ending if ending.reason else self._limit(episode)

    def _respond(self, episode: _Episode) -> Response | None:
        domain = self.bench.domain
        if not isinstance(domain, Responding):
            return None
        assert episode.state is not None and episode.action is not None
        live = self._live(episode)
        return domain.respond(episode.state, episode.action, Candidate(live, len(live.assistant_indices) - 1))

    def _follow_recording(self, episode: _Episode, verdict: Verdict | None) -> _Ending:
        """Append what was recorded after the turn, if the turn did what the demonstration did."""
        if verdict is None or verdict.outcome != "accepted":
            outcome = verdict.outcome if verdict is not None else "rejected"
            if outcome in ("abstained", "failed"):
                return _Ending(outcome, truncated=True, unknown=self.reward == "outcome")
            return _Ending("off_path", truncated=True)
        here = episode.candidate
        trajectory, turn = here.trajectory, here.turn + 1
        ended = turn >= len(trajectory.assistant_indices)
        until = len(trajectory.messages) if ended else trajectory.assistant_indices[turn]
        episode.messages += _after(here, trajectory.messages[here.message_index + 1 : until])
        if ended:
            return self._ended(episode, "recording_ended")
        try:
            following = Candidate(trajectory, turn)
            state = self.bench.restore(following)
        except RestoreError as error:
            logger.warning("%s", error)
            episode.failure = str(error)
            return _Ending("failed", truncated=True, unknown=self.reward == "outcome")
        if episode.state is not None:
            episode.state.close()
        episode.candidate, episode.state = following, state
        return _Ending()

    # --- endings ---

    def _without_reward(self, verdict: Verdict) -> _Ending | None:
        return _Ending(verdict.outcome, truncated=True, unknown=True) if verdict.reward is None else None

    def _lost(self, episode: _Episode, verdict: Verdict | None) -> _Ending:
        """The world is gone. Where a fresh one answers, an unjudged turn broke it: that buys no missing reward."""
        if self.reward != "outcome":
            return _Ending("failed", truncated=True)
        ours = verdict.reward != 0.0 if verdict is not None else not self._world_answers(episode)
        return _Ending("failed", truncated=True, unknown=ours)

    def _world_answers(self, episode: _Episode) -> bool:
        """Say whether the demonstration still runs in a fresh state of this turn."""
        try:
            with contextlib.closing(self.bench.restore_once(episode.candidate)) as state:
                effect = state.execute(self.bench.domain.demonstration(episode.candidate))
        except OURS_TO_FIX:
            raise
        except Exception as error:
            logger.warning("%s: a fresh state does not answer either: %s", episode.candidate.candidate_id, error)
            return False
        return effect.ended != "timed_out"

    def _limit(self, episode: _Episode) -> _Ending:
        if self.horizon is not None and episode.steps >= self.horizon:
            return self._ended(episode, "horizon")
        if episode.steps >= MAX_TURNS:
            return self._ended(episode, "max_turns")
        return _Ending()

    def _ended(self, episode: _Episode, reason: str) -> _Ending:
        """End an episode, with the domain's judgement of the whole where that is the reward."""
        if episode.action is None:
            return self._no_action(episode)
        cut = reason in ("horizon", "max_turns")
        outcome = self._outcome(episode)
        if self.reward == "outcome" and (outcome is None or outcome.reward is None):
            return _Ending(reason, truncated=True, unknown=True, outcome=outcome)
        return _Ending(reason, terminated=not cut, truncated=cut, outcome=outcome)

    def _no_action(self, episode: _Episode) -> _Ending:
        """End at a turn that is no action of the assistant: the whole is worth nothing, whatever the world says."""
        assert episode.verdict is not None
        reason = "malformed" if episode.verdict.outcome == "malformed" else "judged"
        found = self._outcome(episode)
        return _Ending(reason, terminated=True, outcome=Outcome(0.0, False, found.details if found else {}))

    def _outcome(self, episode: _Episode) -> Outcome | None:
        """Ask the domain what the whole episode is worth; None where nobody asked, or it cannot say."""
        if episode.state is None or (self.horizon == 1 and self.reward != "outcome"):
            return None
        try:
            if self.horizon == 1 and episode.action is not None:
                episode.state.execute(episode.action)
            return self.bench.domain.outcome(episode.state, self._live(episode))
        except OURS_TO_FIX:
            if self.reward == "outcome":
                raise
            return None
        except Exception as error:
            logger.exception("%s: the outcome could not be evaluated", episode.candidate.candidate_id)
            episode.failure = f"{type(error).__name__}: {error}"
            return None

    def _result(
        self, episode: _Episode, ending: _Ending, judged: bool
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        episode.over = ending.terminated or ending.truncated
        verdict = episode.verdict if judged else None
        reward_turn = verdict.reward if verdict is not None else None
        if ending.unknown:
            reward = math.nan
        elif self.reward == "outcome":
            reward = (ending.outcome.reward or 0.0) if ending.outcome is not None else 0.0
        else:
            reward = (reward_turn or 0.0) if episode.steps == 1 else 0.0
        info = self._where(episode)
        info |= {
            "judged": judged,
            "reward_turn": reward_turn,
            "reward_outcome": ending.outcome.reward if self.reward == "outcome" and ending.outcome else None,
            "off_path": ending.reason == "off_path",
            "end_reason": ending.reason,
        }
        if verdict is not None:
            info["verdict"] = verdict_info(verdict)
        if ending.outcome is not None:
            info["outcome"] = outcome_info(ending.outcome)
        if episode.over and episode.state is not None:
            episode.state.close()
        if self.render_mode == "human":
            self._show()
        return self._observation(episode), float(reward), ending.terminated, ending.truncated, info

    # --- what is seen ---

    def _observation(self, episode: _Episode) -> dict[str, Any]:
        visible = self.bench.domain.visible(episode.messages, self.bench.prompt_style)
        tools = self.bench.domain.tools(episode.candidate.trajectory.initial_state)
        return {"messages": list(visible), "tools": list(tools)}

    def _where(self, episode: _Episode) -> dict[str, Any]:
        assert self._start is not None
        return {
            "pivot_id": self._start.candidate_id,
            "trajectory_id": self._start.trajectory.trajectory_id,
            "turn": self._start.turn,
            "digest": episode.digest,
        }

    def _live(self, episode: _Episode) -> Trajectory:
        return replace(episode.candidate.trajectory, messages=tuple(episode.messages))

    def _append(self, episode: _Episode, action: Action, effect: Effect) -> None:
        """Add the turn and what its calls showed to the conversation."""
        episode.messages.append(to_message(replace(action, reasoning="")))
        for call, shown in zip(action.calls, effect.observations, strict=False):
            result = {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": shown.text}
            episode.messages.append(result)

    def _text(self, episode: _Episode) -> str:
        try:
            demonstration = self.bench.domain.demonstration(episode.candidate)
        except PivotEnvsError as error:
            demonstration = Action(text=f"(not readable: {error})")
        visible = self.bench.domain.visible(episode.messages, self.bench.prompt_style)
        return render_turn(
            episode.candidate, visible, demonstration, episode.digest, episode.written, episode.action, episode.verdict
        )

    def _show(self) -> None:
        assert self._episode is not None
        sys.stdout.write(self._text(self._episode) + "\n")

    def _leave(self) -> None:
        if self._episode is not None and self._episode.state is not None:
            self._episode.state.close()
        self._episode = None


def _with_ids(action: Action, step: int) -> Action:
    """Give calls ids that occur nowhere else in a conversation; a policy may write none, or the same every time."""
    calls = tuple(replace(call, id=f"live_{step}_{i}") for i, call in enumerate(action.calls))
    return replace(action, calls=calls)


def _after(here: Candidate, recorded: Sequence[Message]) -> list[Message]:
    """Return what was recorded after a turn, without the results of the demonstrated calls: live ones stand there."""
    calls = here.message.get("tool_calls") or ()
    ids = {call.get("id") for call in calls if isinstance(call, Mapping)}
    return [dict(m) for m in recorded if not (m.get("role") == "tool" and m.get("tool_call_id") in ids)]

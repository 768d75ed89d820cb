"""What the arguments of an environment open: a domain, a source of turns, a verifier, a codec.

`PivotEnv` and `Scorer` both work at a bench; it reads what a policy wrote, restores, judges, and turns a failure of
ours into a verdict without a reward. It keeps no state of an episode.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pivot_envs.actions import Codec, decode, validate_calls
from pivot_envs.contracts import Domain, Prompt, State, Verifier
from pivot_envs.domains import FAMILIES, get_domain, resolve
from pivot_envs.errors import (
    ConfigError,
    FingerprintMismatch,
    MalformedAction,
    MissingDependency,
    PivotEnvsError,
    RestoreError,
    UnknownPivot,
    suggest,
)
from pivot_envs.records import Action, Candidate, Verdict
from pivot_envs.sources import Source
from pivot_envs.strict_json import shown
from pivot_envs.verifiers.effect import EffectVerifier

logger = logging.getLogger(__name__)

Written = str | Mapping[str, Any]
"""What a policy hands in: text of the codec, or an OpenAI assistant message."""

OURS_TO_FIX = (ConfigError, MissingDependency, FingerprintMismatch, UnknownPivot)
"""Errors no retry helps against and no verdict may hide."""

SANDBOXES = ("auto", "docker", "userns", "tempdir")

RESET_OPTIONS = ("pivot_id", "trajectory_id", "turn")

VERIFIERS = ("effect", "exact", "tool_name", "word_overlap", "paper")


@dataclass(frozen=True)
class Reading:
    """What a policy wrote, read: the action if it is one, and the verdict if reading alone decides."""

    action: Action | None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Bench:
    """The parts that judge the turns of one domain."""

    domain: Domain
    source: Source
    verifier: Verifier
    codec: str | Codec = "message"
    prompt_style: str = "full"

    def prompt(self, candidate: Candidate, style: str | None = None) -> Prompt:
        """Return what a policy sees at a candidate. Styles shorter than `full` leave the function schemas out."""
        style = self.prompt_style if style is None else style
        _check_text(prompt_style=style)
        visible = self.domain.visible(candidate.prefix, style)
        tools = self.domain.tools(candidate.trajectory.initial_state) if style == "full" else ()
        return Prompt(candidate.candidate_id, tuple(visible), tuple(tools))

    def read(self, written: Written | Action, candidate: Candidate) -> Reading:
        """Read what a policy wrote; nothing it writes raises."""
        tools = self.domain.tools(candidate.trajectory.initial_state)
        action: Action | None = None
        try:
            action = written if isinstance(written, Action) else decode(written, self.codec, tools=tools)
            validate_calls(action, tools)
        except MalformedAction as error:
            evidence = {"detail": error.detail[:200]} if error.detail else {}
            if error.reason in ("unknown_tool", "wrong_requestor"):
                kept = action if error.reason == "unknown_tool" else None  # nobody acts in the name of the user
                return Reading(kept, Verdict("rejected", 0.0, "parse", error.reason, evidence))
            return Reading(None, Verdict("malformed", 0.0, "parse", error.reason, evidence))
        return Reading(action)

    def restore(self, candidate: Candidate) -> State:
        """Return the state before the candidate's turn; a second try follows a failed first one.

        Raises:
            RestoreError: both failed.
        """
        try:
            return self.restore_once(candidate)
        except RestoreError as first:
            logger.warning("restore is tried once more: %s", first)
        return self.restore_once(candidate)

    def restore_once(self, candidate: Candidate) -> State:
        """Return the state before the candidate's turn.

        Raises:
            RestoreError: it failed, for whatever reason no setting could mend.
        """
        try:
            return self.domain.restore(candidate)
        except OURS_TO_FIX:
            raise
        except Exception as error:
            if not isinstance(error, PivotEnvsError | OSError):
                logger.exception("%s: an error nobody foresaw", candidate.candidate_id)
            raise RestoreError(
                f"{candidate.candidate_id}: the state could not be restored: {type(error).__name__}: {error}"
            ) from error

    def judge(self, candidate: Candidate, state: State, actions: Sequence[Action]) -> list[Verdict]:
        """Judge actions from one state; a failing verifier gives `failed`, never a reward."""
        try:
            return self.verifier.verify_group(candidate, state, actions)
        except OURS_TO_FIX:
            raise
        except Exception as error:
            logger.exception("%s: verifier %s failed", candidate.candidate_id, self.verifier.name)
            verdict = failure(f"verifier failed: {type(error).__name__}: {error}", "execution")
            return [verdict for _ in actions]


def failure(reason: str, level: Any = "execution") -> Verdict:
    """Return the verdict of a failure of ours."""
    return Verdict("failed", None, level, reason[:500])


def open_bench(
    family: str,
    domain: str | None = None,
    *,
    trajectories: str | Path | None = None,
    pivots: str | Path | None = None,
    split: str = "train",
    pivot_ids: Sequence[str] | None = None,
    verifier: str = "effect",
    action_codec: str | Codec = "message",
    sandbox: str = "auto",
    judge: Mapping[str, str] | None = None,
    prompt_style: str = "full",
    domain_options: Mapping[str, Any] | None = None,
) -> Bench:
    """Check the arguments of an environment (see `PivotEnv`) and open what they name.

    Raises:
        ConfigError: an argument cannot be meant; the message says what is allowed.
        MissingDependency: the domain needs a package that is absent.
    """
    _check_text(family=family, split=split, verifier=verifier, sandbox=sandbox, prompt_style=prompt_style)
    if domain is not None:
        _check_text(domain=domain)
    family, name = resolve(family, domain)
    _choice("verifier", verifier, VERIFIERS)
    with contextlib.suppress(MalformedAction):
        decode("", action_codec)
    options = _checked_options(domain_options)
    options.update(_box_options(family, name, sandbox, judge))
    opened = get_domain(family, name, **options)
    opened.visible((), prompt_style)
    source = Source(opened, trajectories, pivots, split, pivot_ids)
    return Bench(opened, source, make_verifier(verifier, family, opened), action_codec, prompt_style)


def check_reset(options: Mapping[str, Any]) -> None:
    """Refuse options of `PivotEnv.reset` that cannot be meant; whether an id is known is for the source to say."""
    if not isinstance(options, Mapping):
        raise ConfigError(f"reset options are {shown(options)}; expected a mapping with {', '.join(RESET_OPTIONS)}")
    for name in options:
        if name not in RESET_OPTIONS:
            hint = suggest(str(name), RESET_OPTIONS)
            raise ConfigError(f"unknown reset option {name!r}; known are {', '.join(RESET_OPTIONS)}.{hint}")
    trajectory_id = options.get("trajectory_id")
    if trajectory_id is not None and not isinstance(trajectory_id, str):
        raise ConfigError(f"reset option trajectory_id is {shown(trajectory_id)}; expected a string")


def check_modes(horizon: int | None, reward: str | None, render_mode: str | None, modes: Sequence[str]) -> None:
    """Refuse what `PivotEnv` cannot take as the form of its episodes."""
    if horizon is not None and (isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1):
        raise ConfigError(f"horizon is {horizon!r}; expected a number of turns from 1, or None for the episode's end")
    if reward not in (None, "turn", "outcome"):
        hint = suggest(str(reward), ("turn", "outcome"))
        raise ConfigError(f"reward is {reward!r}; expected 'turn' or 'outcome'.{hint}")
    if render_mode is not None and render_mode not in modes:
        raise ConfigError(f"render_mode is {render_mode!r}; expected one of {', '.join(modes)} or None")


def _check_text(**arguments: Any) -> None:
    for argument, value in arguments.items():
        if not isinstance(value, str):
            raise ConfigError(f"{argument} is {shown(value)}; expected a string, got {type(value).__name__}")


def _checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise ConfigError(f"domain_options is {shown(options)}; expected a mapping of option names to values")
    return dict(options)


def make_verifier(name: str, family: str, domain: Domain) -> Verifier:
    """Return a verifier by name: one of `VERIFIERS`. `paper` is the rule the paper gives the family.

    Raises:
        ConfigError: nobody knows the name.
    """
    _choice("verifier", name, VERIFIERS)
    if name == "effect":
        return EffectVerifier(domain)
    from pivot_envs.verifiers import text

    if name == "paper":
        return text.paper_rule(family, domain)
    if name == "word_overlap":
        return text.WordOverlapVerifier(domain, text.THRESHOLDS.get(family, text.THRESHOLDS["tau2"]))
    return text.ExactVerifier(domain) if name == "exact" else text.ToolNameVerifier(domain)


def _choice(argument: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{argument} is {value!r}; it is one of {', '.join(allowed)}.{suggest(str(value), allowed)}")


def _box_options(family: str, domain: str, sandbox: str, judge: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the options that `sandbox` and `judge` become, refusing what the domain has no use for."""
    _choice("sandbox", sandbox, SANDBOXES)
    options: dict[str, Any] = {}
    if sandbox != "auto":
        options["sandbox"] = sandbox
    if judge is not None:
        options["judge"] = _checked_judge(judge)
    for option in options:
        if option not in FAMILIES[family].accepts:
            remedy = "leave it at 'auto'" if option == "sandbox" else "leave it unset"
            raise ConfigError(f"domain {domain!r} has no use for {option}={options[option]!r}; {remedy}")
    return options


def _checked_judge(judge: Mapping[str, str]) -> dict[str, str]:
    expected = "judge is a mapping {'base_url': 'http(s)://...', 'model': '...'}; keys come from the environment alone"
    if not isinstance(judge, Mapping):
        raise ConfigError(f"{expected}; got {type(judge).__name__}")
    if set(judge) != {"base_url", "model"}:
        raise ConfigError(f"{expected}; got the fields {sorted(map(str, judge))}")
    if not all(isinstance(value, str) and value for value in judge.values()):
        raise ConfigError(f"{expected}; both values are non-empty strings")
    parts = urlsplit(judge["base_url"])
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query:
        raise ConfigError(f"{expected}; base_url holds a scheme and a host, no credentials and no query")
    return dict(judge)

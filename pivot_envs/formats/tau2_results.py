"""tau2-bench's `results.json`, 0.1.x through 1.0.x: one file of runs, or a folder with one file a run.

Calls and results keep their ids; calls of the user stand in user messages. The task and the agent's policy text of the
file go into `meta`, so that the domain can start a task its installed package no longer has. Not kept: time stamps,
costs and raw replies of single messages. Voice runs (full duplex, `ticks`) are refused. Written files load in tau2's
own `Results` model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pivot_envs import strict_json
from pivot_envs.errors import ConfigError, RecordError
from pivot_envs.formats.linking import link_messages, safe_id
from pivot_envs.kinds import expect_kind
from pivot_envs.records import Trajectory
from pivot_envs.strict_json import JsonProblem, shown
from pivot_envs.trajectories import OnError, from_record, log_skipped, replace_lines, to_record

MAX_FILE = 512_000_000
"""Largest file read, in bytes; the retail results of 114 runs have 3.4 million."""
_MAX_FILE_CONTAINERS = 20_000_000
_ELSEWHERE = ("id", "task_id", "messages", "reward_info", "ticks")
_EPOCH = "1970-01-01T00:00:00.000000"


def read(
    path: Path, *, domain: str | None = None, skip_invalid: bool = False, on_error: OnError | None = None
) -> Iterator[Trajectory]:
    """Yield the runs of a results file (or of the folder that holds it) as trajectories.

    Args:
        path: The file, or the folder of the 1.0 form with `results.json` and `simulations/`.
        domain: For a file that names none; one that names another is refused.
        skip_invalid: Leave broken runs out.
        on_error: Called with the error of each run left out.

    Raises:
        ConfigError: there is no such file, it is of another kind, or of another domain than the argument says.
        RecordError: the file is no results file, or a run in it is broken; the field is named.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"{path} is no file; name a tau2 results.json, or the folder that holds it")
    expect_kind(path, "tau2")
    return _trajectories(path, domain, skip_invalid, log_skipped if on_error is None else on_error)


def write(path: Path, trajectories: Iterable[Trajectory]) -> int:
    """Write trajectories of one domain as a results file, atomically, and return how many.

    Raises:
        ConfigError: they are of several domains, or there are none.
        RecordError: one of them cannot be read back.
    """
    runs = list(trajectories)
    domains = sorted({run.domain for run in runs})
    if len(domains) != 1:
        raise ConfigError(f"a results file holds the runs of one domain, got {', '.join(domains) or 'no runs'}")
    for run in runs:
        from_record(to_record(run), file=f"trajectory {run.trajectory_id}")
    tasks = {run.task_id: _task(run) for run in runs}
    results = {
        "timestamp": str(_simulation(runs[0]).get("timestamp") or _EPOCH),
        "info": _info(runs[0]),
        "tasks": list(tasks.values()),
        "simulations": [_run(run) for run in runs],
    }
    try:
        text = json.dumps(results, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"the runs cannot be written as JSON: {error}", file=str(path)) from None
    replace_lines(Path(path), [text])
    return len(runs)


def _trajectories(path: Path, domain: str | None, skip_invalid: bool, on_error: OnError) -> Iterator[Trajectory]:
    results = _load(path)
    info = _field(results, "info", Mapping, "", str(path))
    environment = _field(info, "environment_info", Mapping, "info.", str(path))
    named = domain or _field(environment, "domain_name", str, "info.environment_info.", str(path))
    if environment.get("domain_name") not in (None, named):
        problem = f"holds runs of domain {shown(environment['domain_name'])}, not of {named!r}"
        raise ConfigError(f"{path} {problem}; leave the domain out, or name that one")
    tasks = {
        str(task.get("id")): task for task in _field(results, "tasks", list, "", str(path)) if isinstance(task, Mapping)
    }
    seen: dict[str, str] = {}
    for place, file, run in _runs(path, results, skip_invalid, on_error):
        try:
            trajectory = _trajectory(run, named, info, environment.get("policy"), tasks, place, file)
            if (known := seen.setdefault(trajectory.trajectory_id, place)) != place:
                raise RecordError(f"stands in {known} already; ids must be unique", file=file, field=f"{place}.id")
        except RecordError as error:
            if not skip_invalid:
                raise
            on_error(error)
            continue
        yield trajectory


def _load(path: Path) -> Mapping[str, Any]:
    size = path.stat().st_size
    if size > MAX_FILE:
        raise RecordError(f"{size:,} bytes, at most {MAX_FILE:,} are read; split the file by runs", file=str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if not text.strip():
            raise RecordError("it is empty; expected a tau2 results file", file=str(path))
        value = strict_json.parse(text, max_chars=MAX_FILE, max_containers=_MAX_FILE_CONTAINERS, max_commas=MAX_FILE)
    except UnicodeDecodeError as error:
        raise RecordError(f"byte {error.start} is no UTF-8", file=str(path)) from None
    except JsonProblem as problem:
        remedy = "the file may be incomplete: copy it again, or let its run finish"
        raise RecordError(f"no safe JSON: {problem}; {remedy}", file=str(path)) from None
    if not isinstance(value, Mapping):
        raise RecordError(f"expected an object with info, tasks, simulations, got {shown(value)}", file=str(path))
    return value


def _runs(
    path: Path, results: Mapping[str, Any], skip_invalid: bool, on_error: OnError
) -> Iterator[tuple[str, str, Any]]:
    """Yield (place, file, run) of runs in the file itself or, in the 1.0 folder form, in files beside it."""
    folder = path.parent / "simulations"
    if results.get("simulations") or not folder.is_dir():
        for index, run in enumerate(_field(results, "simulations", list, "", str(path))):
            yield f"simulations[{index}]", str(path), run
        return
    for file in sorted(folder.glob("*.json")):
        try:
            run = _load(file)
        except RecordError as error:
            if not skip_invalid:
                raise
            on_error(error)
            continue
        yield file.name, str(file), run


def _trajectory(
    run: Any,
    domain: str,
    info: Mapping[str, Any],
    policy: Any,
    tasks: Mapping[str, Mapping[str, Any]],
    place: str,
    file: str,
) -> Trajectory:
    if not isinstance(run, Mapping):
        raise RecordError(f"expected an object, got {shown(run)}", file=file, field=place)
    run_id, task_id = str(run.get("id") or ""), str(run.get("task_id", ""))
    if not run_id or not task_id:
        missing = "id" if not run_id else "task_id"
        raise RecordError("the field is missing or empty", file=file, field=f"{place}.{missing}")
    reward = run.get("reward_info") or {}
    if not isinstance(reward, Mapping):
        raise RecordError(f"expected an object or null, got {shown(reward)}", file=file, field=f"{place}.reward_info")
    got = reward.get("reward")
    agent = info.get("agent_info")
    model = agent.get("llm") if isinstance(agent, Mapping) else None
    places: list[str] = []
    try:
        flat, found = _flattened(run)
        places += found
        record = {
            "trajectory_id": safe_id(run_id),
            "domain": domain,
            "task_id": task_id,
            "source": f"tau2 results, agent {model or 'unknown'}",
            "messages": link_messages(flat),
            "initial_state": {"kind": "task", "ref": task_id},
            "outcome": {
                "reward": float(got) if isinstance(got, int) and not isinstance(got, bool) else got,
                "passed": None if got is None else got == 1,
                "details": {key: value for key, value in reward.items() if key != "reward"},
            },
            "meta": {
                "simulation_id": run_id,
                "simulation": {key: value for key, value in run.items() if key not in _ELSEWHERE},
                "termination_reason": run.get("termination_reason"),
                "task": tasks.get(task_id),
                "policy": run.get("policy") or policy,
                "tau2_info": _without_policy(info),
            },
        }
        return from_record(record)
    except RecordError as error:
        raise RecordError(
            error.problem, file=file, field=f"{place}.{_place(error.field, places)}".rstrip(".")
        ) from None


def _flattened(run: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    """Return tau2's messages as OpenAI chat messages, results of one batch unpacked, with the place of each."""
    listed = run.get("messages")
    if listed is None and run.get("ticks"):
        raise RecordError("a full-duplex (voice) run with ticks; only text runs are read", field="messages")
    if not isinstance(listed, list):
        raise RecordError(f"expected a list of messages, got {shown(listed)}", field="messages")
    flat: list[Any] = []
    places: list[str] = []
    for index, message in enumerate(listed):
        if not isinstance(message, Mapping):
            raise RecordError(f"expected an object, got {shown(message)}", field=f"messages[{index}]")
        inner = message.get("tool_messages")
        if message.get("role") == "tool" and inner is not None:
            if not isinstance(inner, list) or not all(isinstance(each, Mapping) for each in inner):
                problem = f"expected a list of messages, got {shown(inner)}"
                raise RecordError(problem, field=f"messages[{index}].tool_messages")
            flat += [_message(each) for each in inner]
            places += [f"messages[{index}].tool_messages[{number}]" for number in range(len(inner))]
        else:
            flat.append(_message(message))
            places.append(f"messages[{index}]")
    return flat, places


def _place(field: str, places: list[str]) -> str:
    """Turn the field of an unpacked message into its place in the file."""
    found = re.match(r"messages\[([0-9]+)\]", field)
    if found is None or int(found[1]) >= len(places):
        return field
    return places[int(found[1])] + field[found.end() :]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        result = {"role": "tool", "tool_call_id": message.get("id"), "content": content}
        return {**result, "error": True} if message.get("error") is True else result
    kept: dict[str, Any] = {"role": role, "content": content}
    if message.get("tool_calls"):
        kept["tool_calls"] = message["tool_calls"]
    return kept


def _without_policy(info: Mapping[str, Any]) -> dict[str, Any]:
    environment = info.get("environment_info")
    kept = (
        {key: value for key, value in environment.items() if key != "policy"}
        if isinstance(environment, Mapping)
        else {}
    )
    return {**info, "environment_info": kept}


def _field(record: Mapping[str, Any], name: str, kind: Any, place: str, file: str) -> Any:
    value = record.get(name)
    if not isinstance(value, kind):
        expected = {Mapping: "an object", list: "a list", str: "a string"}[kind]
        problem = f"expected {expected}, got {shown(value)}; is this a tau2 results file?"
        raise RecordError(problem, file=file, field=place + name)
    return value


def _simulation(run: Trajectory) -> Mapping[str, Any]:
    kept = run.meta.get("simulation")
    return kept if isinstance(kept, Mapping) else {}


def _info(run: Trajectory) -> dict[str, Any]:
    kept = run.meta.get("tau2_info")
    info: Mapping[str, Any] = kept if isinstance(kept, Mapping) else {}
    environment = info.get("environment_info")
    return {
        "git_commit": "unknown",
        "num_trials": 1,
        "max_steps": 200,
        "max_errors": 10,
        "user_info": {"implementation": "unknown"},
        "agent_info": {"implementation": run.source, "llm": run.source},
        **info,
        "environment_info": {
            **(environment if isinstance(environment, Mapping) else {}),
            "domain_name": run.domain,
            "policy": str(run.meta.get("policy") or ""),
        },
    }


def _task(run: Trajectory) -> Mapping[str, Any]:
    """Return the task as tau2 knows it; a task of another making gets an empty user scenario."""
    task = run.meta.get("task")
    scenario = task.get("user_scenario") if isinstance(task, Mapping) else None
    if isinstance(task, Mapping) and isinstance(scenario, Mapping) and "instructions" in scenario:
        return {**task, "id": run.task_id}
    return {"id": run.task_id, "user_scenario": {"instructions": ""}}


def _run(run: Trajectory) -> dict[str, Any]:
    """Return a simulation; fields of ours that tau2 requires and the recording lacks get empty values."""
    reward = run.outcome.reward
    return {
        "start_time": _EPOCH,
        "end_time": _EPOCH,
        "duration": 0.0,
        "termination_reason": "user_stop",
        **_simulation(run),
        "id": str(run.meta.get("simulation_id") or run.trajectory_id),
        "task_id": run.task_id,
        "reward_info": None if reward is None else {**run.outcome.details, "reward": reward},
        "messages": [_tau2_message(message, index, run) for index, message in enumerate(_with_callers(run))],
    }


def _with_callers(run: Trajectory) -> Iterator[dict[str, Any]]:
    """Yield the messages, each tool message with the requestor of the calls it answers."""
    caller = "assistant"
    for message in run.messages:
        if message.get("tool_calls"):
            caller = str(message.get("role"))
        yield {**message, "requestor": caller} if message.get("role") == "tool" else message


def _tau2_message(message: Mapping[str, Any], index: int, run: Trajectory) -> dict[str, Any]:
    content, role = message.get("content"), message.get("role")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    if role == "tool":
        return {
            "id": message.get("tool_call_id"),
            "role": "tool",
            "content": content,
            "requestor": message["requestor"],
            "error": bool(message.get("error")),
            "turn_idx": index,
            "timestamp": None,
        }
    written = {
        "role": "system" if role == "developer" else role,
        "content": content,
        "turn_idx": index,
        "timestamp": None,
    }
    if role in ("assistant", "user"):
        written["tool_calls"] = [_tau2_call(call, str(role), run) for call in message.get("tool_calls") or ()] or None
    return written


def _tau2_call(call: Mapping[str, Any], requestor: str, run: Trajectory) -> dict[str, Any]:
    try:
        arguments = strict_json.parse(call["function"]["arguments"])
    except JsonProblem as problem:
        raise RecordError(f"trajectory {run.trajectory_id}: arguments are no safe JSON: {problem}") from None
    return {"id": call["id"], "name": call["function"]["name"], "arguments": arguments, "requestor": requestor}

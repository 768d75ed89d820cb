"""Profiling against a real OpenAI-compatible server, `transformers serve` with a tiny model, through a faulty proxy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="extras 'train', 'judge' and 'serve'")
pytest.importorskip("transformers", reason="extras 'train', 'judge' and 'serve'")
pytest.importorskip("fastapi", reason="extras 'train', 'judge' and 'serve'")
pytest.importorskip("uvicorn", reason="extras 'train', 'judge' and 'serve'")
pytest.importorskip("accelerate", reason="extras 'train', 'judge' and 'serve'")

from faulty_proxy import FaultyProxy

from pivot_envs.endpoint import EndpointConfig, EndpointPolicy
from pivot_envs.profiles import ProfileSet, read_profiles
from pivot_envs.profiling import ProfileConfig, profile
from pivot_envs.records import Sampling
from pivot_envs.scoring import Scorer

pytestmark = pytest.mark.slow
K = 3
SERVE = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; sys.exit(main())"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pivot_envs.trainer.tiny import tiny_model

    folder = tmp_path_factory.mktemp("served") / "tiny"
    tiny_model(["customer: my router is down", "agent: restart it"] * 10, width=32, layers=1).save(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    """Address of a server in a process of its own, which is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = (model.parent / "serve.log").open("wb")
    process = subprocess.Popen([*command, "--device", "cpu"], stdout=log, stderr=log, env=environment)
    try:
        yield _answering(f"http://127.0.0.1:{port}", process, model.parent / "serve.log")
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _answering(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).close()
            return address
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


def profiled(base_url: str, model: Path, path: Path) -> ProfileSet:
    """Profile four helpdesk turns, the proxy's faults being retried."""
    scorer = Scorer("tau2", "helpdesk", prompt_style="compact", split="train")
    turns: dict[str, list[str]] = {}
    for candidate_id in scorer.ids():
        turns.setdefault(candidate_id.rpartition("/")[0], []).append(candidate_id)
    chosen = [candidate_id for ids in list(turns.values())[:2] for candidate_id in ids[:2]]
    config = ProfileConfig(k=K, sampling=Sampling(max_tokens=12), prompt_style="compact", trajectories_per_batch=2)
    policy = EndpointPolicy(
        EndpointConfig(base_url, str(model), attempt_timeout=4.0, attempts=6, backoff=0.01, concurrency=2)
    )
    try:
        profile(scorer, policy, config, path, candidates=chosen)
    finally:
        policy.close()
    return read_profiles(path)


def test_a_429_a_hang_a_cut_connection_and_a_malformed_body_lose_double_and_zero_nothing(
    server: str, model: Path, tmp_path: Path
) -> None:
    faults = {1: "busy", 3: "hang", 4: "reset", 5: "garbage", 6: "empty"}
    with FaultyProxy(server, faults) as proxy:
        found = profiled(proxy.base_url, model, tmp_path / "faulty.jsonl")
        assert sorted(proxy.spoiled) == ["busy", "empty", "garbage", "hang", "reset"]
        assert found.outcomes["failed"] == 0 and not found.failures and not found.excluded
        assert {len(one.rewards) for one in found.profiles.values()} == {K}
        assert found.outcomes.total() == found.cost["rollouts"] == proxy.delivered
        logged = found.cost["prompt_tokens"], found.cost["completion_tokens"]
        assert logged == (proxy.prompt_tokens, proxy.completion_tokens) and min(logged) > 0
    with FaultyProxy(server, {}) as proxy:
        smooth = profiled(proxy.base_url, model, tmp_path / "smooth.jsonl")
    assert {i: one.rewards for i, one in smooth.profiles.items()} == {
        i: one.rewards for i, one in found.profiles.items()
    }

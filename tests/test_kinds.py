"""A file of the wrong kind is named as what it is, with where the right kind comes from."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pivot_envs.audit import read_battery
from pivot_envs.errors import ConfigError
from pivot_envs.formats import openai_chat, tau2_results
from pivot_envs.kinds import expect_kind
from pivot_envs.scoring import Scorer
from pivot_envs.trajectories import read_trajectories

DATA = Path(__file__).parent / "data"
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
FILES = {
    "profiles": '{"schema_version": 1, "kind": "profiles", "provenance": {}}\n',
    "pivots": '{"schema_version": 1, "kind": "pivots", "trajectories": "t.jsonl"}\n',
    "battery": '{"id": "a", "demonstrated": [], "candidate": [], "truth": "equal", "kind": "pivots"}\n',
    "openai_chat": json.dumps(CHAT) + "\n",
    "candidates": '{"candidate_id": "d/t/0", "kind": "text", "tools": [], "prefix_messages": 1}\n',
    "trajectories": (DATA / "trajectories.jsonl").read_text(encoding="utf-8"),
    "tau2": json.dumps({"timestamp": "x", "info": {"environment_info": {}}, "tasks": [], "simulations": []}, indent=2),
}


@pytest.fixture(params=FILES)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "some.file"
    path.write_text("\ufeff\n" + FILES[request.param], encoding="utf-8")
    return request.param, path


def test_a_file_is_told_by_its_head_and_refused_where_another_kind_is_expected(written: tuple[str, Path]) -> None:
    kind, path = written
    expect_kind(path, kind)
    other = "trajectories" if kind != "trajectories" else "pivots"
    with pytest.raises(ConfigError, match=r"some\.file is an? .*; expected a .* file; .*pivot-envs"):
        expect_kind(path, other)


def test_every_reader_names_the_wrong_kind(tmp_path: Path) -> None:
    paths = {kind: tmp_path / kind for kind in FILES}
    for kind, text in FILES.items():
        paths[kind].write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="pivots is a pivots file; expected a trajectories file; make one with"):
        read_trajectories(paths["pivots"])
    with pytest.raises(ConfigError, match=r"is a tau2 results file.*import .* --format tau2"):
        read_trajectories(paths["tau2"])
    with pytest.raises(ConfigError, match="is a tau2 results file; expected an OpenAI chat file"):
        openai_chat.read(paths["tau2"])
    with pytest.raises(ConfigError, match="is a trajectories file; expected a tau2 results file"):
        tau2_results.read(paths["trajectories"])
    with pytest.raises(ConfigError, match="is a trajectories file; expected a battery"):
        read_battery(paths["trajectories"])
    with pytest.raises(ConfigError, match="is a trajectories file; expected a pivots file"):
        Scorer("tau2", pivots=paths["trajectories"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(b'{"messages": []}\n', mtime=0), "compressed with gzip; unpack it first"),
        ('{"messages": []}\n'.encode("utf-16"), "encoded as UTF-16; save it as UTF-8"),
        (b"PK\x03\x04rest", "a zip archive"),
    ],
)
def test_packed_and_foreign_encodings_are_named(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        read_trajectories(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[" * 200_000, b'{"a": 1}', b"\xff\xfd", b'{"kind": "pivots"}'])
def test_what_is_no_known_kind_is_left_to_the_readers(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    expect_kind(path, "trajectories")
    expect_kind(tmp_path / "absent", "trajectories")

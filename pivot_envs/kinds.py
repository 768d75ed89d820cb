"""Which kind of file a file is, told from its head: so that a wrong one is named, instead of the field it lacks.

Says nothing of whether the rest is sound, and never refuses what it does not know: that is for the readers.
"""

from __future__ import annotations

import os
import re

from pivot_envs import strict_json
from pivot_envs.errors import ConfigError
from pivot_envs.strict_json import JsonProblem

MADE_WITH = {
    "trajectories": "make one with `pivot-envs demonstrate` or `pivot-envs import`",
    "profiles": "make one with `pivot-envs profile`",
    "pivots": "make one with `pivot-envs select`",
    "candidates": "make one with `pivot-envs candidates`",
    "battery": "docs/formats.md says how its rows of labelled pairs are written",
    "openai_chat": "its lines hold `messages`",
    "tau2": "tau2-bench writes one as results.json",
}
"""Kind -> where such a file comes from."""
FOREIGN = ("openai_chat", "tau2")
_NAMES = {"openai_chat": "an OpenAI chat file", "tau2": "a tau2 results file", "battery": "a battery"}
_HEAD = 1 << 16
_MAX_FIRST_LINE = 20_000_000
_PACKED = {
    b"\x1f\x8b": "compressed with gzip; unpack it first (gunzip)",
    b"PK\x03\x04": "a zip archive; unpack it first (unzip)",
    b"BZh": "compressed with bzip2; unpack it first (bunzip2)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first (unzstd)",
    b"\xfd7zXZ": "compressed with xz; unpack it first (unxz)",
    b"PAR1": "a Parquet table; write it as JSON lines first",
    b"\xff\xfe": "encoded as UTF-16; save it as UTF-8",
    b"\xfe\xff": "encoded as UTF-16; save it as UTF-8",
}
_HEADER = re.compile(r'\{\s*"schema_version"\s*:\s*[0-9]{1,9}\s*,\s*"kind"\s*:\s*"(profiles|pivots)"')
_RESULTS = re.compile(r'\{\s*"(?:timestamp|info|tasks|simulations)"\s*:')
_OURS = {"schema_version", "trajectory_id", "domain", "task_id", "source", "initial_state", "outcome"}


def expect_kind(path: str | os.PathLike[str], *expected: str) -> None:
    """Refuse a file that is plainly of another kind than the expected ones.

    Args:
        path: A file; what is none is left for its reader to refuse.
        expected: Keys of `MADE_WITH`; the first one is the one a message speaks of.

    Raises:
        ConfigError: naming the file, what it is, what was expected, and where that comes from.
    """
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        first = head.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
        if len(first) >= _HEAD - 64:
            first += file.readline(_MAX_FIRST_LINE)
    for magic, problem in _PACKED.items():
        if head.startswith(magic):
            raise ConfigError(f"{os.fspath(path)} is {problem}")
    found = _kind(head.decode("utf-8-sig", "replace").lstrip(), first)
    if found and found not in expected:
        wanted = expected[0]
        remedy = MADE_WITH[wanted]
        if wanted == "trajectories" and found in FOREIGN:
            remedy = f"`pivot-envs import {os.fspath(path)} --format {found} --output ...` makes one of it"
        raise ConfigError(f"{os.fspath(path)} is {_named(found)}; expected {_named(wanted)}; {remedy}")


def _kind(head: str, first_line: bytes) -> str:
    if header := _HEADER.match(head):
        return header[1]
    if _RESULTS.match(head) and ('"environment_info"' in head or '"simulations"' in head):
        return "tau2"
    try:
        record = strict_json.parse(first_line.decode("utf-8-sig"), max_chars=_MAX_FIRST_LINE, max_commas=1_000_000)
    except (JsonProblem, UnicodeDecodeError):
        return ""
    if not isinstance(record, dict):
        return ""
    if "messages" in record:
        return "trajectories" if record.keys() & _OURS else "openai_chat"
    if {"candidate_id", "prefix_messages"} <= record.keys():
        return "candidates"
    return "battery" if {"demonstrated", "candidate"} <= record.keys() else ""


def _named(kind: str) -> str:
    return _NAMES.get(kind, f"a {kind} file")

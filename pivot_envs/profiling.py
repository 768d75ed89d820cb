"""K verified one-turn rollouts of a frozen policy at every candidate: candidates -> `profiles.jsonl` -> `pivots.py`.

The file is append-only: a header line with everything that makes profiles comparable, then one line per trajectory
(all its turns x K), written and synced at once. A run that was killed is resumed by running it again. What we failed
to sample or to judge is None, never 0. Choosing among the profiles is `pivots.py`.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import batched, islice
from pathlib import Path
from typing import Any, Protocol

from pivot_envs.actions import decode
from pivot_envs.contracts import Completion, Policy, Prompt, Verifier
from pivot_envs.errors import (
    ConfigError,
    FingerprintMismatch,
    MalformedAction,
    MissingDependency,
    PivotEnvsError,
    PolicyError,
    RecordError,
    UnknownPivot,
    VerifierError,
)
from pivot_envs.policy import CONTEXT_FULL, derive_seed
from pivot_envs.records import Sampling, Verdict, content_hash

"""A cache of restored states, bounded by megabytes: the least recently used go first, and are replayed when wanted.

Domains own one; it knows nothing of what it keeps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pivot_envs.errors import ConfigError

Value = TypeVar("Value")


@dataclass(frozen=True)
class CacheCounts:
    """What a cache has done so far."""

    hits: int
    misses: int
    evictions: int
    entries: int
    bytes: int


class SnapshotCache(Generic[Value]):
    """Thread-safe least-recently-used cache of at most `snapshot_cache_mb` megabytes.

    Args:
        snapshot_cache_mb: The bound in 10^6 bytes; 0 keeps nothing.
        on_evict: Called with every value that leaves (also by `clear` and replacement), outside the lock.
    """

    def __init__(self, snapshot_cache_mb: float, on_evict: Callable[[Value], None] | None = None) -> None:
        if not 0 <= snapshot_cache_mb < float("inf"):
            raise ConfigError(f"snapshot_cache_mb is {snapshot_cache_mb!r}; expected a finite number of at least 0")
        self.capacity = int(snapshot_cache_mb * 1_000_000)
        self._on_evict = on_evict
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._bytes = self._hits = self._misses = self._evictions = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the value and mark it as used, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: Value, size: int) -> bool:
        """Keep a value of `size` bytes, evicting others as needed; False if it alone is over the bound."""
        gone: list[Value] = []
        with self._lock:
            if (old := self._entries.pop(key, None)) is not None:
                self._bytes -= old[1]
                if old[0] is not value:
                    gone.append(old[0])
            fits = 0 <= size <= self.capacity and self.capacity > 0
            if fits:
                self._entries[key] = (value, size)
                self._bytes += size
                while self._bytes > self.capacity:
                    _, (evicted, weight) = self._entries.popitem(last=False)
                    self._bytes -= weight
                    self._evictions += 1
                    gone.append(evicted)
        self._release(gone)
        return fits

    def clear(self) -> None:
        """Drop everything; the counters stay."""
        with self._lock:
            gone = [value for value, _ in self._entries.values()]
            self._entries.clear()
            self._bytes = 0
        self._release(gone)

    @property
    def counts(self) -> CacheCounts:
        """The counters at this moment."""
        with self._lock:
            return CacheCounts(self._hits, self._misses, self._evictions, len(self._entries), self._bytes)

    def _release(self, values: list[Value]) -> None:
        if self._on_evict is not None:
            for value in values:
                self._on_evict(value)

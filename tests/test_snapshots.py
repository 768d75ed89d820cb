"""The cache of restored states: bounded, least recently used first, safe under threads."""

import threading

import pytest

from pivot_envs.errors import ConfigError
from pivot_envs.snapshots import SnapshotCache


def test_the_least_recently_used_goes_first() -> None:
    gone: list[str] = []
    cache: SnapshotCache[str] = SnapshotCache(0.0003, on_evict=gone.append)
    for key in "abc":
        assert cache.put(key, key.upper(), 100)
    assert cache.get("a") == "A"
    cache.put("d", "D", 100)
    assert gone == ["B"]
    assert cache.get("b") is None
    assert [cache.get(key) for key in "acd"] == ["A", "C", "D"]
    counts = cache.counts
    assert (counts.hits, counts.misses, counts.evictions, counts.entries, counts.bytes) == (4, 1, 1, 3, 300)


def test_a_value_larger_than_the_bound_is_not_kept_and_a_replaced_one_is_released() -> None:
    gone: list[str] = []
    cache: SnapshotCache[str] = SnapshotCache(0.0003, on_evict=gone.append)
    assert not cache.put("a", "A", 301)
    cache.put("a", "A", 100)
    cache.put("a", "A2", 200)
    assert gone == ["A"] and cache.counts.bytes == 200
    cache.put("a", "A2", 250)
    assert gone == ["A"], "the same value is not released while it is kept"
    cache.clear()
    assert gone == ["A", "A2"] and cache.counts.bytes == 0


def test_zero_megabytes_keep_nothing_and_nonsense_is_refused() -> None:
    cache: SnapshotCache[str] = SnapshotCache(0)
    assert not cache.put("a", "A", 0)
    for nonsense in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="snapshot_cache_mb is"):
            SnapshotCache(nonsense)


def test_threads_leave_the_books_straight() -> None:
    cache: SnapshotCache[int] = SnapshotCache(0.001)

    def work(seed: int) -> None:
        for i in range(2_000):
            key = (seed * 31 + i * 7) % 50
            if cache.get(key) is None:
                cache.put(key, key, 10 + key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = cache.counts
    assert counts.bytes <= 1_000
    assert counts.hits + counts.misses == 8_000

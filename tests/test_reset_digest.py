"""A pivot is the same state at every reset and in every fork, and no fork sees what another does."""

from __future__ import annotations

from pivot_envs.contracts import Domain
from pivot_envs.env import PivotEnv
from pivot_envs.records import Action, Candidate, ToolCall

RESETS, GROUP = 20, 16


def test_twenty_resets_to_a_pivot_and_its_sixteen_forks_have_one_digest_and_siblings_are_invisible() -> None:
    env = PivotEnv("tau2")
    domain, ids = env.bench.domain, env.bench.source.ids()
    writing = [i for i in ids[:60] if _changes(domain, env.bench.source.get(i))]
    assert len(writing) >= 3
    for pivot_id in (*writing[:3], *ids[:2]):
        candidate = env.bench.source.get(pivot_id)
        demonstration = domain.demonstration(candidate)
        digests = set()
        for turn in range(RESETS):
            _, info = env.reset(options={"pivot_id": pivot_id})
            digests.add(info["digest"])
            env.step({"role": "assistant", "content": f"attempt {turn}"})
        state = domain.restore(candidate)
        forks = [state.fork() for _ in range(GROUP)]
        digests |= {state.digest(), *(fork.digest() for fork in forks)}
        assert len(digests) == 1, pivot_id
        [before] = digests
        for place, fork in enumerate(forks):
            other = Action(calls=(ToolCall("get_account", {"customer_id": f"C{place:03d}"}),))
            fork.execute(other if place % 2 else demonstration)
            assert {later.digest() for later in forks[place + 1 :]} <= {before}, pivot_id
            assert state.digest() == before, pivot_id
        after = {fork.digest() for fork in forks[::2]}
        assert len(after) == 1, pivot_id
        assert (after == {before}) == (pivot_id not in writing), pivot_id
        for each in (*forks, state):
            each.close()
    env.close()


def _changes(domain: Domain, candidate: Candidate) -> bool:
    state = domain.restore(candidate)
    before = state.digest()
    state.execute(domain.demonstration(candidate))
    changed = state.digest() != before
    state.close()
    return changed

"""The GRPO loop on a toy task: a text is accepted if it holds the token the task asks for."""

from __future__ import annotations

import json
import logging
import os
import signal
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pivot_envs.contracts import Completion  # noqa: E402
from pivot_envs.errors import ConfigError, FingerprintMismatch, PolicyError, SandboxError, VerifierError  # noqa: E402
from pivot_envs.policy import ScriptedPolicy  # noqa: E402
from pivot_envs.records import Sampling, Verdict  # noqa: E402
from pivot_envs.trainer.config import GRPOConfig  # noqa: E402
from pivot_envs.trainer.grpo import _Update, draw_pivots, train  # noqa: E402
from pivot_envs.trainer.model import TransformersPolicy, load_policy  # noqa: E402
from pivot_envs.trainer.rollouts import collect  # noqa: E402

CONFIG = GRPOConfig(
    steps=4, pivots_per_step=2, group_size=4, lr=1e-3, max_tokens=6, beta=0.01, mask_truncated=False, micro_batch=3
)
ACCEPTED = Verdict("accepted", 1.0, "rules", "toy")
REJECTED = Verdict("rejected", 0.0, "rules", "toy")
FAILED = Verdict("failed", None, "execution", "box lost")


def score(pivot_ids, actions):
    """Accept a text with an `a` in it: about a third of what a random model writes."""
    return [ACCEPTED if "a" in action else REJECTED for action in actions]


@pytest.fixture
def pivots(prompt):
    return {f"toy/t{i}/0": prompt(f"toy/t{i}/0", f"look up line {i}") for i in range(5)}


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def rows_without_time(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


@pytest.mark.slow
def test_training_raises_the_reward_and_leaves_a_loadable_policy(tiny, pivots, tmp_path):
    policy = tiny()
    config = replace(CONFIG, steps=12, pivots_per_step=4, group_size=16, lr=2e-2, beta=1e-3, micro_batch=16)
    result = train(policy, tiny(), pivots, score, config, tmp_path / "run")
    rewards = [row["reward/mean"] for row in result.metrics]
    assert sum(rewards[-3:]) / 3 > 0.9
    assert sum(rewards[-3:]) / 3 - sum(rewards[:2]) / 2 > 0.2
    assert result.metrics[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert result.metrics[-1]["kl"] > 0.01
    assert load_policy(result.checkpoint / "policy").fingerprint == result.policy_fingerprint == policy.fingerprint


def test_every_row_counts_the_five_outcomes_and_the_first_update_is_on_policy(tiny, pivots, tmp_path):
    def mixed(pivot_ids, actions):
        return [FAILED if i % 4 == 0 else v for i, v in enumerate(score(pivot_ids, actions))]

    result = train(tiny(), tiny(), pivots, mixed, replace(CONFIG, steps=2), tmp_path / "run")
    for row in result.metrics:
        assert sum(row[f"verdict/{o}"] for o in ("accepted", "rejected", "malformed", "abstained", "failed")) == 8
        assert row["verdict/failed"] == 2
        assert row["clip_share"] == 0
        assert row["ratio_max"] == pytest.approx(1, abs=1e-4)
        assert row["sampling_gap"] < 1e-4
        assert row["tokens/forwarded"] < row["tokens/naive"]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["config"]["beta"] == 0.01
    assert manifest["checks"]["ratio_error"] < 1e-4
    assert manifest["checks"]["gradient_difference"] < 1e-5
    assert manifest["versions"]["torch"] == torch.__version__


def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(tiny, pivots, tmp_path):
    unbroken = tiny()
    train(unbroken, tiny(), pivots, score, CONFIG, tmp_path / "unbroken")
    train(tiny(), tiny(), pivots, score, replace(CONFIG, steps=2), tmp_path / "broken")
    resumed = tiny(seed=9)  # whatever is in memory, the checkpoint decides
    result = train(resumed, tiny(), pivots, score, CONFIG, tmp_path / "broken", resume=True)
    assert result.steps == 4
    assert torch.equal(weights(unbroken), weights(resumed))
    assert rows_without_time(tmp_path / "unbroken") == rows_without_time(tmp_path / "broken")


def test_an_interrupt_saves_a_checkpoint_and_the_resumed_run_is_unharmed(tiny, pivots, tmp_path):
    calls = []

    def interrupted(pivot_ids, actions):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return score(pivot_ids, actions)

    unbroken = tiny()
    train(unbroken, tiny(), pivots, score, CONFIG, tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), tiny(), pivots, interrupted, CONFIG, tmp_path / "run")
    assert [folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000002"]
    with (tmp_path / "run" / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 3, "reward/mea')  # what a kill leaves behind
    resumed = tiny()
    train(resumed, tiny(), pivots, score, CONFIG, tmp_path / "run", resume=True)
    assert torch.equal(weights(unbroken), weights(resumed))
    assert rows_without_time(tmp_path / "unbroken") == rows_without_time(tmp_path / "run")


def test_resuming_with_anything_else_changed_is_refused(tiny, pivots, prompt, tmp_path):
    train(
        tiny(), tiny(), pivots, score, replace(CONFIG, steps=1), tmp_path / "run", provenance={"verifier": "effect/1"}
    )

    def again(reference=None, given=pivots, config=CONFIG, provenance=None):
        provenance = provenance or {"verifier": "effect/1"}
        train(tiny(), reference or tiny(), given, score, config, tmp_path / "run", resume=True, provenance=provenance)

    with pytest.raises(FingerprintMismatch, match="changed since: config"):
        again(config=replace(CONFIG, beta=0.5))
    with pytest.raises(FingerprintMismatch, match="changed since: reference"):
        again(reference=tiny(seed=1))
    with pytest.raises(FingerprintMismatch, match="changed since: pivots"):
        again(given={**pivots, "toy/t0/0": prompt("toy/t0/0", "another request")})
    with pytest.raises(FingerprintMismatch, match="changed since: provenance"):
        again(provenance={"verifier": "effect/2"})
    with pytest.raises(ConfigError, match="already holds a run; resume it"):
        train(tiny(), tiny(), pivots, score, CONFIG, tmp_path / "run")
    with pytest.raises(ConfigError, match="holds no run to resume; start without resume"):
        train(tiny(), tiny(), pivots, score, CONFIG, tmp_path / "nowhere", resume=True)


def test_only_the_last_two_checkpoints_stay(tiny, pivots, tmp_path):
    train(tiny(), tiny(), pivots, score, replace(CONFIG, checkpoint_every=1), tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["step-000003", "step-000004"]


def test_an_all_dead_batch_without_kl_changes_no_weight(tiny, pivots, tmp_path):
    policy = tiny()
    before = weights(policy)
    config = replace(CONFIG, steps=1, beta=0.0)
    result = train(policy, None, pivots, lambda ids, actions: [REJECTED] * len(ids), config, tmp_path / "run")
    assert torch.equal(before, weights(policy))
    assert (result.metrics[0]["dead_groups"], result.metrics[0]["optimizer_updates"]) == (2, 0)


def test_dead_groups_change_no_policy_gradient_whether_skipped_or_not(tiny, pivots):
    """Without KL they are skipped, with a vanishing KL they are run: the same gradient."""

    def one_dead(pivot_ids, actions):
        live = pivot_ids[0]
        judged = zip(pivot_ids, score(pivot_ids, actions), strict=True)
        return [verdict if pivot_id == live else REJECTED for pivot_id, verdict in judged]

    gradients = []
    for beta, reference in ((0.0, None), (1e-12, tiny())):
        policy = tiny()
        groups = collect(policy, dict(list(pivots.items())[:2]), one_dead, 8, Sampling(max_tokens=6), 0, False)
        assert [len(set(group.rewards)) for group in groups] == [2, 1]
        optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.0)
        _Update(policy, reference, optimizer, replace(CONFIG, beta=beta))(groups)
        gradients.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()]))
    assert float(gradients[0].norm()) > 0
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)


def test_pivots_with_equal_prompts_are_groups_of_their_own(tiny, prompt, tmp_path):
    """Merged, half of the rollouts would win; apart, both groups are dead."""
    same = {"toy/a/0": prompt("toy/a/0"), "toy/b/0": prompt("toy/b/0")}
    by_pivot = {"toy/a/0": ACCEPTED, "toy/b/0": REJECTED}
    config = replace(CONFIG, steps=1, beta=0.0)
    result = train(tiny(), None, same, lambda ids, actions: [by_pivot[i] for i in ids], config, tmp_path / "run")
    assert (result.metrics[0]["dead_groups"], result.metrics[0]["reward/mean"]) == (2, 0.5)


def test_an_error_while_scoring_leaves_a_checkpoint_behind(tiny, pivots, tmp_path):
    def lost(pivot_ids, actions):
        raise SandboxError("no engine answers")

    with pytest.raises(SandboxError, match="no engine answers"):
        train(tiny(), tiny(), pivots, lost, CONFIG, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "step-000000").is_dir()


def test_failed_and_truncated_rollouts_leave_baseline_loss_and_token_count(tiny, pivots):
    """A group with masked rollouts gives the gradient of the group without them."""
    policy = tiny()
    group = collect(policy, dict(list(pivots.items())[:1]), score, 5, Sampling(max_tokens=6), 0, False)[0]
    rewards = (1.0, 0.0, None, 0.0, None)
    kept = [0, 1, 3]
    masked = replace(group, rewards=rewards)
    without = replace(
        group,
        rewards=tuple(rewards[i] for i in kept),
        completion_ids=tuple(group.completion_ids[i] for i in kept),
        sampling_logprobs=tuple(group.sampling_logprobs[i] for i in kept),
    )
    gradients, units = [], []
    for one in (masked, without):
        policy = tiny()
        row = _Update(policy, None, torch.optim.SGD(policy.model.parameters(), lr=0.0), replace(CONFIG, beta=0.0))(
            [one]
        )
        units.append(row["loss_units"])
        gradients.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()]))
    assert units[0] == units[1] == sum(len(group.completion_ids[i]) for i in kept)
    assert torch.equal(*gradients)


def test_truncated_rollouts_are_masked_when_asked_and_counted_always(tiny, pivots):
    one = dict(list(pivots.items())[:1])
    for masked in (True, False):
        group = collect(tiny(), one, score, 4, Sampling(max_tokens=1), 0, masked)[0]
        assert sum(group.truncated) >= 3
        assert [r is None for r in group.rewards] == [masked and t for t in group.truncated]


def test_training_uses_the_sampled_ids_and_never_encodes_text_again(tiny, pivots, tmp_path):
    class OtherIds(TransformersPolicy):
        """Writes ids that its own tokenizer would not give for the text."""

        def sample_together(self, requests, sampling):
            pieces = [tuple(self.encode_completion(c)[:-1]) for c in "abab"]
            prompts = [tuple(self.render(request.prompt)) for request in requests]
            return [
                [Completion("look up", ids, tuple(p) * (g % 2 + 2), (), "stop") for g, p in enumerate(pieces)]
                for ids in prompts
            ]

    base = tiny()
    policy = OtherIds(base.model, base.tokenizer, "other")
    letters = policy.encode_completion("ab")[:2]
    chosen = [ACCEPTED, REJECTED] * 4
    before = policy.logprobs([1], [letters[:1], letters[1:]])
    ids = policy.encode_completion("look up")
    assert not set(letters) & set(ids)
    config = replace(CONFIG, steps=3, beta=0.0)
    train(policy, None, pivots, lambda p, actions: chosen[: len(actions)], config, tmp_path / "run")
    after = policy.logprobs([1], [letters[:1], letters[1:]])
    assert float(after[0]) > float(before[0])
    assert float(after[1]) < float(before[1])


def test_a_model_whose_rows_leak_into_each_other_falls_back_to_whole_rows_once(tiny, pivots, tmp_path, caplog):
    policy = tiny()

    def leak(module, inputs, output):
        return output + 0.5 * output.mean(dim=0, keepdim=True)

    policy.model.model.layers[0].mlp.register_forward_hook(leak)
    config = replace(CONFIG, steps=2, beta=0.0, micro_batch=4)
    with caplog.at_level(logging.WARNING):
        result = train(policy, None, pivots, score, config, tmp_path / "run")
    warnings = [r for r in caplog.records if "shared-prefix gradient differs" in r.getMessage()]
    assert len(warnings) == 1
    assert all(row["tokens/forwarded"] == row["tokens/naive"] for row in result.metrics)
    checks = json.loads((tmp_path / "run" / "manifest.json").read_text())["checks"]
    assert checks["gradient_difference"] > 1e-4 > checks["ratio_error"]


def test_log_probs_that_change_from_pass_to_pass_stop_the_run(tiny, pivots, tmp_path):
    policy = tiny()
    policy.model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: output.add(torch.rand(())))
    config = replace(CONFIG, beta=0.0, prefix_mode="full")
    with pytest.raises(PolicyError, match="importance ratio differs from 1 .* look for dropout"):
        train(policy, None, pivots, score, config, tmp_path / "run")


def test_a_run_with_too_many_failures_stops_with_their_reason_and_a_checkpoint(tiny, pivots, tmp_path):
    with pytest.raises(VerifierError, match=r"step 1: 8 of 8 verdicts failed .*box lost \(8x\)"):
        train(tiny(), tiny(), pivots, lambda ids, actions: [FAILED] * len(ids), CONFIG, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "step-000000").is_dir()


def test_a_scorer_that_miscounts_or_gives_nan_is_refused(tiny, pivots, tmp_path):
    with pytest.raises(VerifierError, match="7 verdicts for 8 actions"):
        train(tiny(), tiny(), pivots, lambda ids, actions: [REJECTED] * 7, CONFIG, tmp_path / "a")
    nan = Verdict("accepted", float("nan"), "rules", "odd")
    with pytest.raises(VerifierError, match="reward nan"):
        train(tiny(), tiny(), pivots, lambda ids, actions: [nan] * len(ids), CONFIG, tmp_path / "b")


def test_policies_and_references_that_cannot_be_meant_are_refused(tiny, pivots, tmp_path):
    scripted = ScriptedPolicy(lambda prompt, rng: "a", name="script", fingerprint="1")
    with pytest.raises(ConfigError, match="'script' cannot be trained here.*TRL or verl"):
        train(scripted, tiny(), pivots, score, CONFIG, tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a frozen reference policy is needed"):
        train(tiny(), None, pivots, score, CONFIG, tmp_path / "run")
    policy = tiny()
    with pytest.raises(ConfigError, match="reference policy is the trained policy itself"):
        train(policy, policy, pivots, score, CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pivots_that_do_not_fit_are_left_out_and_counted(tiny, pivots, prompt, tmp_path):
    policy = tiny()
    policy.max_prompt_tokens = 40
    given = {**pivots, "long": prompt("long", "a much longer request " * 30)}
    result = train(policy, tiny(), given, score, replace(CONFIG, steps=1), tmp_path / "run")
    assert result.excluded == {"context_full": 1}
    policy.max_prompt_tokens = 1
    with pytest.raises(ConfigError, match=r"no pivot to train on: 6 given, left out: \{'context_full': 6\}"):
        train(policy, tiny(), given, score, CONFIG, tmp_path / "none")


def test_pivots_are_drawn_once_an_epoch_in_an_order_that_the_seed_decides():
    ids = [str(i) for i in range(10)]
    config = replace(CONFIG, pivots_per_step=5)
    epoch = draw_pivots(ids, 0, config) + draw_pivots(ids, 1, config)
    assert sorted(epoch) == ids
    assert epoch != draw_pivots(ids, 2, config) + draw_pivots(ids, 3, config)
    assert draw_pivots(ids, 7, config) == draw_pivots(ids, 7, config)
    assert draw_pivots(ids, 0, replace(config, seed=1)) != draw_pivots(ids, 0, config)
    assert sorted(draw_pivots(ids[:3], 0, config)) == ids[:3]


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_further_updates_on_a_batch_move_the_ratio_and_the_clip_bites(tiny, pivots, tmp_path, ratio):
    config = replace(CONFIG, steps=1, updates_per_step=4, lr=1e-2, ratio=ratio)
    row = train(tiny(), tiny(), pivots, score, config, tmp_path / "run").metrics[0]
    assert row["optimizer_updates"] == 4
    assert row["ratio_max"] > 1.2
    assert row["clip_share"] > 0


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_the_step_gradient_does_not_depend_on_the_micro_batch(tiny, pivots, ratio):
    gradients = []
    for micro_batch, mode in ((1, "cache"), (2, "cache"), (4, "full")):
        policy = tiny()
        groups = collect(policy, dict(list(pivots.items())[:2]), score, 4, Sampling(max_tokens=9), 0, False)
        config = replace(CONFIG, micro_batch=micro_batch, prefix_mode=mode, ratio=ratio)
        _Update(policy, tiny(seed=2), torch.optim.SGD(policy.model.parameters(), lr=0.0), config)(groups)
        gradients.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()]))
    for other in gradients[1:]:
        assert float((other - gradients[0]).norm() / gradients[0].norm()) < 1e-5

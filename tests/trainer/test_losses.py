"""The numbers of trainer.losses against hand-worked values."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from pivot_envs.errors import ConfigError  # noqa: E402
from pivot_envs.trainer.losses import advantages, clipped_objective, grpo_loss, k3  # noqa: E402


def group(successes: int, size: int) -> list[float | None]:
    return [1.0] * successes + [0.0] * (size - successes)


@pytest.mark.parametrize(
    ("successes", "population", "released", "none"),
    [
        (1, (3.873, -0.258), (1.000, -0.258), (0.9375, -0.0625)),
        (2, (2.646, -0.378), (3.615, -0.379), (0.875, -0.125)),
        (4, (1.732, -0.577), (1.932, -0.583), (0.750, -0.250)),
        (8, (1.000, -1.000), (1.033, -1.033), (0.500, -0.500)),
        (15, (0.258, -3.873), (0.258, -1.000), (0.0625, -0.9375)),
    ],
)
def test_advantages_of_sixteen_rollouts_match_the_table_of_estimators(successes, population, released, none):
    for estimator, (won, lost) in (("population", population), ("rloo_released", released), ("none", none)):
        values = advantages(group(successes, 16), estimator)
        assert values[0] == pytest.approx(won, abs=1e-3)
        assert values[-1] == pytest.approx(lost, abs=1e-3)


@pytest.mark.parametrize(
    ("size", "estimator", "eps", "won", "lost"),
    [
        (4, "population", 1e-6, 1.7321, -0.5774),
        (4, "sample", 1e-6, 1.5, -0.5),
        (4, "sample", 1e-4, 1.4997, -0.4999),
        (4, "none", 1e-6, 0.75, -0.25),
        (4, "rloo", 1e-6, 1.0, -0.3333),
        (8, "population", 1e-6, 2.6458, -0.3780),
        (8, "sample", 1e-6, 2.4749, -0.3536),
        (8, "none", 1e-6, 0.875, -0.125),
        (8, "rloo", 1e-6, 1.0, -0.1429),
        (16, "sample", 1e-6, 3.75, -0.25),
    ],
)
def test_advantages_of_one_success_match_the_checklist(size, estimator, eps, won, lost):
    values = advantages(group(1, size), estimator, eps)
    assert values[0] == pytest.approx(won, abs=1e-4)
    assert values[-1] == pytest.approx(lost, abs=1e-4)


@pytest.mark.parametrize("estimator", ["population", "sample", "none", "rloo", "rloo_released"])
def test_equal_rewards_give_exact_zeros_and_masked_rollouts_change_nothing(estimator):
    assert advantages([0.1] * 3, estimator) == [0.0, 0.0, 0.0]
    assert advantages([1.0, 0.0, None, 0.0], estimator) == [
        *advantages([1.0, 0.0, 0.0], estimator)[:2],
        None,
        advantages([1.0, 0.0, 0.0], estimator)[2],
    ]
    assert advantages([1.0, None, None], estimator) == [None, None, None]
    assert advantages([None, None], estimator) == [None, None]
    assert advantages([], estimator) == []


def test_a_group_of_two_has_advantages_under_every_estimator():
    assert advantages([1.0, 0.0], "rloo_released") == [1.0, -1.0]


def test_an_unknown_estimator_and_a_nan_reward_are_refused():
    with pytest.raises(ConfigError, match="estimator 'populaton' is not one of .* Did you mean 'population'"):
        advantages([1.0, 0.0], "populaton")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not finite"):
        advantages([1.0, math.nan])


@pytest.mark.parametrize(
    ("ratio", "advantage", "value"), [(0.5, 1, 0.5), (0.5, -1, -0.8), (1.5, 1, 1.28), (1.5, -1, -1.5)]
)
def test_the_clipped_objective_matches_the_four_corners(ratio, advantage, value):
    result = clipped_objective(torch.tensor(ratio), torch.tensor(float(advantage)), 0.2, 0.28)
    assert float(result) == pytest.approx(value, abs=1e-6)


def test_k3_matches_its_values():
    difference = torch.tensor([-1.0, -0.1, 0.1, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.367879, 0.004837, 0.005171, 0.718282], dtype=torch.float64)
    assert torch.allclose(k3(torch.zeros(4, dtype=torch.float64), difference), expected, atol=1e-6)


@pytest.mark.parametrize(("kl", "forward"), [("k3_is", True), ("k3_plain", False)])
def test_the_gradient_of_each_kl_form_is_that_of_its_divergence(kl, forward):
    """Expectation over actions of the old policy, exactly, on a table of five actions."""
    torch.manual_seed(0)
    logits = torch.randn(5, dtype=torch.float64, requires_grad=True)
    reference = torch.log_softmax(torch.randn(5, dtype=torch.float64), -1)
    logprobs = torch.log_softmax(logits, -1)
    gradient = torch.zeros(5, dtype=torch.float64)
    for action in range(5):
        terms = grpo_loss(
            logprobs[action].view(1, 1),
            logprobs[action].detach().view(1, 1),
            reference[action].view(1, 1),
            torch.zeros(1, dtype=torch.float64),
            torch.ones(1, 1, dtype=torch.bool),
            1,
            beta=1.0,
            kl=kl,
        )
        part = torch.autograd.grad(terms.loss, logits, retain_graph=True)[0]
        gradient += logprobs[action].detach().exp() * part
    one, two = (logprobs, reference) if forward else (reference, logprobs)
    divergence = (one.exp() * (one - two)).sum()
    expected = torch.autograd.grad(divergence, logits)[0]
    assert torch.allclose(gradient, expected, atol=1e-10)


def test_tokens_count_equally_whatever_the_length_of_their_turn():
    """Lengths 2 and 10 with advantages +1 and -1: objective (2 - 10) / 12."""
    mask = torch.arange(10)[None] < torch.tensor([2, 10])[:, None]
    logprobs = torch.zeros(2, 10)
    terms = grpo_loss(logprobs, logprobs, None, torch.tensor([1.0, -1.0]), mask, 12)
    assert float(terms.loss) == pytest.approx(0.6667, abs=1e-4)
    assert (terms.ratio_max, terms.ratio_error, terms.clipped, terms.kl_sum) == (1.0, 0.0, 0, 0.0)


def test_the_sequence_ratio_is_the_product_over_the_turn_and_counts_each_turn_once():
    old, mask = torch.zeros(2, 3), torch.tensor([[True, True, False], [True, True, True]])
    new = torch.log(torch.tensor([[1.1, 1.05, 9.0], [0.9, 0.9, 0.9]]))
    terms = grpo_loss(new, old, None, torch.tensor([1.0, -1.0]), mask, 2, ratio="sequence")
    assert float(terms.loss) == pytest.approx(-(1.1 * 1.05 - 0.8) / 2, abs=1e-6)
    assert terms.clipped == 1
    assert terms.ratio_max == pytest.approx(1.155, abs=1e-6)


def test_what_is_masked_reaches_neither_loss_nor_gradient():
    mask = torch.tensor([[True, False]])
    new = torch.tensor([[-1.0, math.inf]], requires_grad=True)
    terms = grpo_loss(new, torch.tensor([[-1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), torch.ones(1), mask, 1, beta=0.0)
    assert float(terms.loss.detach()) == -1.0

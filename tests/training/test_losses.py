"""The losses against hand-computed values and their own symmetries."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from factory.training.losses import LOSSES, PER_TOKEN, PairLogps, rewards

LN2 = math.log(2)


def pair(chosen=-4.0, rejected=-9.0, ref_chosen=-6.0, ref_rejected=-6.0, n_chosen=2, n_rejected=3):
    values = (chosen, rejected, ref_chosen, ref_rejected, n_chosen, n_rejected)
    return PairLogps(*(torch.tensor([float(v)], dtype=torch.float64) for v in values))


def sigmoid_loss(logit: float) -> float:
    return math.log1p(math.exp(-logit))


@pytest.mark.parametrize(
    ("name", "beta", "offset", "expected"),
    [
        ("dpo", 0.1, 0.0, sigmoid_loss(0.1 * (2 + 3))),
        ("dpo_norm", 5.0, 0.0, sigmoid_loss(5 * (2 / 2 + 3 / 3))),
        ("ipo", 0.1, 0.0, (2 / 2 + 3 / 3 - 1 / 0.2) ** 2),
        ("hinge", 0.1, 0.0, 1 - 0.1 * 5),
        ("simpo", 2.0, 1.0, sigmoid_loss(2 * (-4 / 2 + 9 / 3) - 1)),
        ("dpo", 0.1, 0.3, sigmoid_loss(0.1 * 5 - 0.3)),
    ],
)
def test_a_loss_equals_its_formula_computed_by_hand(name, beta, offset, expected):
    got = LOSSES[name](pair(), beta=beta, offset=offset)
    assert got.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["dpo", "dpo_norm"])
def test_policy_equal_to_reference_costs_ln_2(name):
    same = pair(chosen=-4, ref_chosen=-4, rejected=-9, ref_rejected=-9)
    assert LOSSES[name](same, beta=3.0).item() == pytest.approx(LN2)


def test_label_smoothing_mixes_in_the_flipped_pair():
    clean, flipped = sigmoid_loss(0.5), sigmoid_loss(-0.5)
    got = LOSSES["dpo"](pair(), beta=0.1, smoothing=0.2)
    assert got.item() == pytest.approx(0.8 * clean + 0.2 * flipped)


def test_the_robust_loss_is_unbiased_when_labels_flip_at_the_assumed_rate():
    right, wrong = pair(), pair(chosen=-9, rejected=-4, n_chosen=3, n_rejected=2)
    loss = LOSSES["dpo"]
    noisy = [loss(x, beta=0.1, smoothing=0.2, robust=True).item() for x in (right, wrong)]
    assert 0.8 * noisy[0] + 0.2 * noisy[1] == pytest.approx(loss(right, beta=0.1).item())


finite = st.floats(-50, 0)
length = st.integers(1, 40)


@given(finite, finite, finite, finite, length, length, st.sampled_from(["dpo", "dpo_norm"]))
def test_swapping_the_sides_flips_the_sign_of_the_logit(a, b, c, d, n, m, name):
    loss = LOSSES[name]
    there = loss(pair(a, b, c, d, n, m), beta=0.3).item()
    back = loss(pair(b, a, d, c, m, n), beta=0.3).item()
    # -log s(x) and -log s(-x) of one x: exp(-l1) + exp(-l2) = 1.
    assert math.exp(-there) + math.exp(-back) == pytest.approx(1.0, abs=1e-9)


@given(finite, finite, st.integers(1, 20))
def test_a_per_token_loss_ignores_how_often_the_same_token_repeats(a, b, times):
    for name in PER_TOKEN:
        once = LOSSES[name](pair(a, b, 0, 0, 1, 1), beta=1.0)
        many = LOSSES[name](pair(a * times, b * times, 0, 0, times, times), beta=1.0)
        assert torch.allclose(once, many, rtol=1e-9, atol=1e-9)


def test_rewards_are_reported_summed_and_per_token_under_their_own_names():
    got = {name: value.item() for name, value in rewards(pair(), beta=0.1).items()}
    assert got["rewards_sum/margin"] == pytest.approx(0.5)
    assert got["rewards_per_token/margin"] == pytest.approx(0.2)
    assert got["rewards_sum/accuracy"] == got["rewards_per_token/accuracy"] == 1.0

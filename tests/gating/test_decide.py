"""The gate's arithmetic on scores whose answer is known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.gating import compare, measure, unit_of
from factory.gating.decide import win_share

SCORES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4),
    min_size=1,
    max_size=12,
)


def test_a_clearly_better_candidate_is_promoted():
    champion = {f"p{i}": [0.0, 0.0, 1.0, 0.0] for i in range(100)}
    candidate = {f"p{i}": [1.0, 1.0, 1.0, float(i % 2)] for i in range(100)}
    decision = compare(candidate, champion)
    assert decision.promoted
    assert decision.win.low > 0.5
    assert decision.candidate.mean == pytest.approx(0.875)
    assert decision.difference.mean == pytest.approx(0.625)


def test_a_model_never_wins_against_itself():
    scores = {f"p{i}": [float(i % 2), float(i % 3 == 0)] for i in range(60)}
    decision = compare(scores, scores)
    assert decision.win.mean == pytest.approx(0.5)
    assert not decision.promoted


def test_a_small_edge_on_few_prompts_is_not_enough():
    champion = {f"p{i}": [float(i % 2)] for i in range(20)}
    candidate = dict(champion) | {"p0": [1.0]}
    decision = compare(candidate, champion)
    assert decision.win.mean > 0.5
    assert not decision.promoted


def test_prompts_that_only_one_side_answered_do_not_count():
    decision = compare({"a": [1.0], "b": [1.0]}, {"a": [0.0], "c": [1.0]})
    assert set(decision.wins) == {"a"}
    assert decision.win.low == -math.inf
    assert not decision.promoted


@pytest.mark.parametrize(("n", "promoted"), [(2, False), (4, False), (5, True), (100, True)])
def test_a_few_prompts_that_are_all_won_are_as_much_as_a_coin_could_do(n, promoted):
    champion = {f"p{i}": [0.0] for i in range(n)}
    decision = compare({f"p{i}": [1.0] for i in range(n)}, champion)
    assert decision.win.low == pytest.approx(0.05 ** (1 / n))
    assert decision.promoted is promoted


def test_no_shared_prompt_promotes_nobody():
    assert not compare({"a": [1.0]}, {"b": [0.0]}).promoted


def test_turns_are_compared_with_their_like_and_a_conversation_counts_once():
    champion = {"a": [1.0], unit_of("a", 1): [0.0, 0.0], unit_of("a", 2): [0.0], "b": [1.0]}
    candidate = {"a": [0.0], unit_of("a", 1): [0.0, 1.0], unit_of("a", 2): [1.0], "b": [1.0]}
    decision = compare(candidate, champion)
    assert decision.wins == {"a": pytest.approx((0.0 + 0.75 + 1.0) / 3), "b": 0.5}
    assert decision.win.n == 2
    assert decision.candidate.mean == pytest.approx((0.5 + 1.0) / 2)


def test_a_turn_that_only_one_could_be_asked_is_lost_by_the_other():
    champion = {"a": [1.0], unit_of("a", 1): [1.0], unit_of("a", 2): [0.0], "b": [0.0]}
    candidate = {"a": [1.0], unit_of("a", 1): [], unit_of("a", 2): [], "b": [0.0]}
    assert compare(candidate, champion).wins == {"a": pytest.approx(0.5 / 3), "b": 0.5}
    assert compare(champion, candidate).wins == {"a": pytest.approx(2.5 / 3), "b": 0.5}
    both = {"a": [1.0], unit_of("a", 1): []}
    assert compare(both, both).wins == {"a": 0.5}


@given(SCORES, SCORES)
def test_win_rates_of_two_models_add_up_to_one(left, right):
    forward, backward = compare(left, right), compare(right, left)
    for prompt, share in forward.wins.items():
        assert share + backward.wins[prompt] == pytest.approx(1.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = random.Random(1)
    hits = 0
    for _ in range(400):
        means = [sum(rng.random() < 0.4 for _ in range(4)) / 4 for _ in range(100)]
        found = measure(means)
        hits += found.low <= 0.4 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_win_share_counts_ties_as_half():
    assert win_share([1.0, 0.0], [0.0]) == 0.75

"""Whatever the completions, verdicts and strategy: a prompt gives pairs, or one drop."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.pairing import Scope, build_pairs, build_sft, check_store

SCORES = st.sampled_from([None, 0.0, 0.25, 0.5, 1.0])
COMPLETION = st.tuples(
    st.sampled_from(["a", "b", "c", "dd", ""]),
    SCORES,
    st.sampled_from(["stop", "stop", "recorded", "length", "abort", None]),
    st.sampled_from(["ok", "unparsed"]),
    st.booleans(),
)
PROMPTS = st.lists(st.lists(COMPLETION, max_size=5), min_size=1, max_size=12)


@pytest.mark.parametrize(
    "strategy", ["best_vs_worst", "best_vs_random", "margin", "verified", "best_of_n"]
)
@given(prompts=PROMPTS, seed=st.integers(0, 3))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_train_prompt_gives_a_pair_or_exactly_one_drop(worlds, strategy, prompts, seed):
    world = worlds()
    ids = []
    for i, completions in enumerate(prompts):
        ids.append(world.prompt(f"q{i}"))
        world.draw(ids[-1])
        for text, score, finish, status, tokens in completions:
            world.completion(
                ids[-1], text, score, finish=finish, status=status, tokens=(1,) if tokens else None
            )
    world.flush()
    build = build_sft if strategy == "best_of_n" else build_pairs
    table = "sft_examples" if strategy == "best_of_n" else "pairs"
    scope = Scope(run_id="run", round=1, judges=())
    report = build(
        world.store, strategy=strategy, scope=scope, run_id="run", round=1, params={"seed": seed}
    )
    used = {row["prompt_id"] for row in world.pairs("prompt_id", table)}
    drops = world.drops()
    assert used | drops.keys() == set(ids) and not used & drops.keys()
    assert report.prompts == len(ids) and sum(report.dropped.values()) == len(drops)
    assert check_store(world.store) == []

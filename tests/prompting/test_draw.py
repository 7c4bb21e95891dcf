"""A round's prompts follow from run, seed and pools, and are fresh while any are left."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UserError
from factory.prompting.draw import Drawn, append_draws, draw_prompts, shares_of
from factory.prompting.generators import make_pool
from factory.prompting.ingest import Defaults, finished
from factory.rows import KEYS
from factory.store import Store


def _fill(store: Store, pool: str, texts: Sequence[str]) -> None:
    defaults = Defaults(pool=pool, gate=0.3, dev=0.1)
    rows = [finished([{"role": "user", "content": t}], defaults) for t in texts]
    store.append("prompts", rows, run_id="r")


def _draw(store: Store, round: int, n: int, **more: object) -> Drawn:
    given: dict[str, object] = {"run_id": "r", "purpose": "train", "pools": {"a": 1.0}, "seed": 1}
    drawn = draw_prompts(store, round=round, n=n, **{**given, **more})  # type: ignore[arg-type]
    append_draws(
        store, prompt_ids=drawn.prompt_ids, model_id="m", params_id="p", seed=1, n=4, round=round,
        purpose="train", run_id="r",
    )  # fmt: skip
    return drawn


def test_a_draw_does_not_depend_on_the_order_prompts_were_added(store: Store) -> None:
    texts = [f"say {n}" for n in range(300)]
    _fill(store, "a", texts[:100])
    _fill(store, "a", texts[100:])
    one = draw_prompts(
        store, run_id="x", round=1, n=50, purpose="train", pools={"a": 1}, seed=7
    ).prompt_ids
    again = draw_prompts(
        store, run_id="y", round=1, n=50, purpose="train", pools={"a": 1}, seed=7
    ).prompt_ids
    other = draw_prompts(
        store, run_id="x", round=1, n=50, purpose="train", pools={"a": 1}, seed=8
    ).prompt_ids
    assert one == again == sorted(one)
    assert len(one) == 50
    assert one != other


def test_rounds_draw_fresh_prompts_until_none_are_left_and_then_say_so(store: Store) -> None:
    _fill(store, "a", [f"say {n}" for n in range(200)])
    total = store.rows("select count(*) as n from prompts where split = 'train'")[0]["n"]
    first, second = _draw(store, 1, 50), _draw(store, 2, 50)
    assert not set(first.prompt_ids) & set(second.prompt_ids)
    assert (first.notes, second.notes) == ([], [])
    third = _draw(store, 3, 60)
    assert third.reused == 60 - (total - 100)
    assert "no fresh ones are left" in third.notes[0]
    assert _draw(store, 2, 50).prompt_ids == second.prompt_ids


def test_held_out_prompts_are_the_same_in_every_round(store: Store) -> None:
    _fill(store, "a", [f"say {n}" for n in range(200)])
    rounds = [_draw(store, r, 20, purpose="gate", reuse=True).prompt_ids for r in (1, 2, 3)]
    assert rounds[0] == rounds[1] == rounds[2]
    train = set(_draw(store, 4, 100).prompt_ids)
    assert not train & set(rounds[0])


def test_pools_are_drawn_by_weight_and_a_short_one_is_filled_from_the_others(store: Store) -> None:
    _fill(store, "a", [f"a {n}" for n in range(300)])
    _fill(store, "b", [f"b {n}" for n in range(10)])
    few = store.rows("select count(*) as n from prompts where pool = 'b' and split = 'train'")[0]
    drawn = _draw(store, 1, 100, pools={"a": 3, "b": 1})
    found = store.rows(
        "select pool, count(*) as n from prompts semi join draws using (prompt_id) "
        "group by all order by pool"
    )
    assert found == [{"pool": "a", "n": 100 - few["n"]}, {"pool": "b", "n": few["n"]}]
    assert drawn.notes == [f"pool b had {few['n']} fresh train prompts of the 25 asked"]


def test_an_unknown_pool_names_the_nearest(store: Store) -> None:
    _fill(store, "math", ["1+1"])
    with pytest.raises(UserError, match="did you mean 'math'"):
        _draw(store, 1, 1, pools={"maths": 1.0})


def test_the_same_draw_is_written_once(store: Store) -> None:
    values: dict[str, object] = {"model_id": "m", "params_id": "p", "seed": 1, "n": 4, "round": 1,
                                 "purpose": "train", "run_id": "r"}  # fmt: skip
    ids = ["0" * 32, "1" * 32]
    assert append_draws(store, prompt_ids=ids, **values) == 2  # type: ignore[arg-type]
    assert append_draws(store, prompt_ids=ids, **values) == 0  # type: ignore[arg-type]
    assert len(store.rows(f"select {KEYS['draws']} from draws")) == 2


@given(
    st.integers(0, 1000),
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.01, 100), min_size=1, max_size=6),
)
def test_parts_add_up_and_stay_within_one_of_the_weights(n: int, weights: dict[str, float]) -> None:
    parts = shares_of(n, weights)
    assert sum(parts.values()) == n
    total = sum(weights.values())
    assert all(abs(parts[k] - n * w / total) < 1 + 1e-6 for k, w in weights.items())


def test_the_toy_world_is_made_once(store: Store) -> None:
    first = make_pool(store, "toyworld", rows=300, seed=1, pool="toyworld", run_id="r", gate=0.2)
    again = make_pool(store, "toyworld", rows=300, seed=1, pool="toyworld", run_id="r", gate=0.2)
    assert (first.added, again.added, again.present) == (300, 0, 300)
    assert first.splits == again.splits
    found = store.rows("select domain, constraints from prompts where domain = 'dot' limit 1")
    assert '"kind":"dot"' in found[0]["constraints"]
    with pytest.raises(UserError, match="toyworld"):
        make_pool(store, "toyworl", rows=1, seed=1, pool="t", run_id="r")

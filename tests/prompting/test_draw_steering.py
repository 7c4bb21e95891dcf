"""Rounds keep shares of domains, and draw prompts less that gave no pairs, where told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UserError
from factory.prompting.draw import Drawn, Strata, append_draws, draw_prompts
from factory.prompting.ingest import Defaults, finished
from factory.prompting.steering import UNSEEN, Past, Steer, past_scores, steered
from factory.rows import bucket_of
from factory.store import Store

N = 8


def _fill(store: Store, sizes: Mapping[str, int], *, pool: str = "a") -> None:
    defaults = Defaults(pool=pool, gate=0, dev=0)
    rows = [
        finished([{"role": "user", "content": f"{domain} {n}"}], defaults, domain=domain)
        for domain, size in sizes.items()
        for n in range(size)
    ]
    store.append("prompts", rows, run_id="r")


def _draw(store: Store, round: int = 1, n: int = 60, **more: object) -> Drawn:
    drawn = draw_prompts(
        store, run_id="r", round=round, n=n, purpose="train", pools={"a": 1.0}, seed=3, **more
    )  # type: ignore[arg-type]
    append_draws(
        store, prompt_ids=drawn.prompt_ids, model_id="m", params_id="p", seed=3, n=N, round=round,
        purpose="train", run_id="r",
    )  # fmt: skip
    return drawn


def _domains(store: Store, drawn: Drawn) -> Counter[str]:
    rows = store.rows(
        "select domain from prompts where prompt_id in (select unnest($i))", {"i": drawn.prompt_ids}
    )
    return Counter(r["domain"] for r in rows)


def _score(store: Store, scores: Mapping[str, list[float]], kind: str = "verifier") -> None:
    """Completions of a round and what a judge said of them."""
    completions: list[dict[str, object]] = []
    verdicts: list[dict[str, object]] = []
    for prompt_id, values in scores.items():
        for sample, score in enumerate(values):
            own = {"prompt_id": prompt_id, "completion_id": f"{prompt_id} {sample}",
                   "bucket": bucket_of(prompt_id)}  # fmt: skip
            completions.append({**own, "model_id": "m", "params_id": "p",
                                "seed": 3, "sample_idx": sample})  # fmt: skip
            verdicts.append(
                {**own, "judgement_id": f"j {prompt_id} {sample}", "judge": "gsm8k",
                 "judge_id": "g", "kind": kind, "aspect": "", "status": "ok", "score": score}
            )  # fmt: skip
    store.append("completions", completions, run_id="r")
    store.append("judgements", verdicts, run_id="r")


def test_a_stratum_gets_its_share_of_the_pool_in_every_draw(store: Store) -> None:
    _fill(store, {"math": 100, "code": 50, "chat": 50})
    assert _domains(store, _draw(store, n=40, strata=Strata(by="domain"))) == {
        "math": 20, "code": 10, "chat": 10,
    }  # fmt: skip


def test_weights_multiply_a_stratums_share(store: Store) -> None:
    _fill(store, {"math": 100, "code": 50, "chat": 50})
    strata = Strata(by="domain", weights={"code": 2.0, "chat": 0.5, "maths": 9.0})
    drawn = _draw(store, n=90, strata=strata)
    # 100 : 50 x 2 : 50 / 2
    assert _domains(store, drawn) == {"math": 40, "code": 40, "chat": 10}
    assert drawn.notes == ["no train prompt has the domain maths; there are chat, code, math"]


def test_a_stratum_that_runs_short_is_filled_from_the_others_and_named(store: Store) -> None:
    _fill(store, {"math": 60, "code": 10})
    strata = Strata(by="domain", weights={"code": 6.0})
    drawn = _draw(store, n=40, strata=strata)
    assert _domains(store, drawn) == {"math": 30, "code": 10}
    assert drawn.notes == ["pool a domain code had 10 fresh train prompts of the 20 asked"]


def test_prompts_always_right_or_always_wrong_are_drawn_less_and_counted(store: Store) -> None:
    _fill(store, {"x": 300})
    first = _draw(store, 1, n=300)
    by_fate = {
        "right": first.prompt_ids[:100],
        "wrong": first.prompt_ids[100:200],
        "mixed": first.prompt_ids[200:],
    }
    scores = {p: [1.0] * N for p in by_fate["right"]} | {p: [0.0] * N for p in by_fate["wrong"]}
    _score(store, scores | {p: [0.0, 1.0] * (N // 2) for p in by_fate["mixed"]})
    steer = Steer(judge="gsm8k", samples=N)
    for reuse in (True, False):
        drawn = _draw(store, 2, n=120, reuse=reuse, steer=steer)
        taken = {fate: len(set(ids) & set(drawn.prompt_ids)) for fate, ids in by_fate.items()}
        assert taken["mixed"] > 1.8 * max(taken["right"], taken["wrong"])
        assert min(taken.values()) > 0
        assert (
            f"100 train prompts were always right in earlier rounds (gsm8k) and are drawn less: "
            f"{taken['right']} of them this round" in drawn.notes
        )
        assert drawn == _draw(store, 2, n=120, reuse=reuse, steer=steer)


def test_without_steering_scores_change_no_draw(store: Store) -> None:
    _fill(store, {"x": 100})
    _draw(store, 1, n=50)
    before = _draw(store, 2, n=80, reuse=True)
    _score(store, {p: [1.0] * N for p in before.prompt_ids})
    assert _draw(store, 2, n=80, reuse=True) == before


def test_steering_knows_only_earlier_rounds_and_keeps_fresh_prompts_first(store: Store) -> None:
    _fill(store, {"x": 100})
    first = _draw(store, 1, n=60)
    _score(store, {p: [0.0, 1.0] for p in first.prompt_ids})
    steer = Steer(judge="gsm8k", samples=N)
    assert _draw(store, 1, n=60, steer=steer).prompt_ids == first.prompt_ids
    second = _draw(store, 2, n=40, steer=steer)
    assert not set(second.prompt_ids) & set(first.prompt_ids)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 32))
def test_a_weight_is_a_chance_and_alike_for_right_and_wrong(up: int, down: int, n: int) -> None:
    weight = Past(n=up + down, above=up).weight(n)
    assert 0 < weight < 1
    assert weight == pytest.approx(Past(n=up + down, above=down).weight(n))
    assert Past(n=8, above=8).weight(n) < UNSEEN.weight(n) < Past(n=8, above=4).weight(n)
    assert Past(n=32, above=32).weight(n) < Past(n=8, above=8).weight(n)


def test_a_plan_of_one_sample_a_prompt_steers_as_well(store: Store) -> None:
    _fill(store, {"x": 40})
    ids = _draw(store, 1, n=40).prompt_ids
    _score(store, {p: [1.0] * N if i % 2 else [0.0, 1.0] * 4 for i, p in enumerate(ids)})
    steer = Steer(judge="gsm8k", samples=1)
    second = _draw(store, 2, n=16, steer=steer, reuse=True)
    mixed = {p for i, p in enumerate(ids) if i % 2 == 0}
    assert len(mixed & set(second.prompt_ids)) > 10


@given(st.floats(0, 0.999999), st.floats(0, 0.999999), st.floats(0.01, 1))
def test_equal_weights_keep_the_order(one: float, other: float, weight: float) -> None:
    assert (one <= other) == (steered(one, weight) <= steered(other, weight))


def test_only_the_samples_that_a_round_drew_steer_the_next(store: Store) -> None:
    _fill(store, {"x": 1})
    [prompt] = _draw(store, 1, n=1).prompt_ids
    _score(store, {prompt: [1.0] * N + [0.0]})  # the last is of a recipe with more samples
    past = past_scores(store, run_id="r", round=2, judge="gsm8k")
    assert past == {prompt: Past(n=N, above=N, flat="right")}


# --- difficulty, several strata, how often a prompt may come --------------------------------------


def test_a_prompts_difficulty_is_its_pass_rate_in_earlier_rounds(store: Store) -> None:
    _fill(store, {"math": 6})
    ids = _draw(store, n=6).prompt_ids
    rates = [[1.0] * 8, [0.0] * 8, [1.0] * 6 + [0.0] * 2, [1.0] * 4 + [0.0] * 4, [1.0] + [0.0] * 7]
    _score(store, dict(zip(ids, rates, strict=False)))
    past = past_scores(store, run_id="r", round=2, judge="gsm8k")
    found = [past.get(prompt, UNSEEN).difficulty for prompt in ids]
    assert found == ["solved", "hopeless", "easy", "medium", "hard", "new"]


def test_a_round_draws_each_difficulty_in_its_share(store: Store) -> None:
    _fill(store, {"math": 80})
    ids = _draw(store, n=40, reuse=True).prompt_ids
    rates = {p: [1.0] * 8 if i < 20 else [1.0] * 4 + [0.0] * 4 for i, p in enumerate(ids)}
    _score(store, rates)
    strata = Strata(by="difficulty", judge="gsm8k", weights={"medium": 2, "solved": 0.1})
    drawn = _draw(store, 2, n=30, reuse=True, strata=strata)
    past = past_scores(store, run_id="r", round=2, judge="gsm8k")
    counted = Counter(past.get(p, UNSEEN).difficulty for p in drawn.prompt_ids)
    # Weights 40 new, 20 medium twice, 20 solved a tenth.
    assert counted == {"new": 14, "medium": 15, "solved": 1}
    assert drawn.notes == []
    held_out = _draw(store, 2, n=30, reuse=True, strata=strata)
    assert held_out.prompt_ids == drawn.prompt_ids


def test_strata_may_be_of_several_things_at_once(store: Store) -> None:
    defaults = Defaults(pool="a", gate=0, dev=0)
    rows = [
        finished([{"role": "user", "content": f"{d} {la} {n}"}], defaults, domain=d, lang=la)
        for d in ("math", "chat") for la in ("en", "de") for n in range(25)
    ]  # fmt: skip
    store.append("prompts", rows, run_id="r")
    strata = Strata(by=("domain", "lang"), weights={"math/de": 3, "poems/de": 2})
    drawn = _draw(store, n=24, strata=strata)
    got = store.rows(
        "select domain || '/' || lang as part, count(*) as n from prompts "
        "where prompt_id in (select unnest($i)) group by all", {"i": drawn.prompt_ids},
    )  # fmt: skip
    assert {r["part"]: r["n"] for r in got} == {
        "math/de": 12, "math/en": 4, "chat/de": 4, "chat/en": 4,
    }  # fmt: skip
    assert drawn.notes == [
        "no train prompt has the domain/lang poems/de; there are chat/de, chat/en, math/de, math/en"
    ]


def test_a_prompt_is_drawn_no_more_often_than_reuse_says(store: Store) -> None:
    _fill(store, {"math": 30})
    times: Counter[str] = Counter()
    sizes: list[int] = []
    notes: list[str] = []
    for round in range(1, 4):
        drawn = _draw(store, round, n=20, reuse=2)
        times.update(drawn.prompt_ids)
        sizes.append(len(drawn.prompt_ids))
        notes += drawn.notes
    assert sizes[:2] == [20, 20]
    assert max(times.values()) == 2
    assert "drawn 2 times, which is the most that reuse allows" in " ".join(notes)
    _draw(store, 4, n=20, reuse=2)
    with pytest.raises(UserError, match="every train prompt was drawn 2 times"):
        _draw(store, 5, n=20, reuse=2)

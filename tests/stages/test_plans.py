"""Who answers a prompt, how often and with which parameters: drawn by hash, kept by id."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from factory import stages
from factory.errors import UserError
from factory.pairing import Scope, build_pairs
from factory.prompting.variety import Variety, roster
from factory.recipe import Recipe, Sampling
from factory.rows import SamplingParams, content_id
from factory.stages import models
from factory.store import Store
from tests.stages.conftest import Play, sample

PROMPTS = [content_id("prompt", i) for i in range(600)]
MODELS = [content_id("model", i) for i in range(5)]


def test_every_prompt_is_answered_by_k_references_and_each_by_its_share_of_prompts():
    drawn = {p: roster(MODELS, k=2, prompt_id=p, seed=1) for p in PROMPTS}
    assert {len(set(found)) for found in drawn.values()} == {2}
    times = Counter(m for found in drawn.values() for m in found)
    assert all(190 < times[m] < 290 for m in MODELS)
    assert drawn != {p: roster(MODELS, k=2, prompt_id=p, seed=2) for p in PROMPTS}


def test_a_model_that_joins_the_roster_moves_no_prompt_between_the_others():
    for prompt in PROMPTS:
        before = set(roster(MODELS[:4], k=2, prompt_id=prompt, seed=1))
        after = set(roster(MODELS, k=2, prompt_id=prompt, seed=1))
        assert after - {MODELS[4]} <= before


def test_more_samples_leave_the_parameters_of_the_first_ones_as_they_were():
    variety = Variety(base=SamplingParams(), fields={"temperature": {0.5: 1, 1.0: 1, 1.5: 1}})
    few = variety.counts(PROMPTS[0], model_id="m", seed=1, n=4)
    more = variety.counts(PROMPTS[0], model_id="m", seed=1, n=9)
    assert sum(few.values()) == 4
    assert sum(more.values()) == 9
    assert all(more[params] >= n for params, n in few.items())
    added = variety.counts(PROMPTS[0], model_id="m", seed=1, n=9, known=4)
    assert {p: n for p, n in more.items() if n > few.get(p, 0)} == added


def test_parameters_are_drawn_by_their_weights():
    variety = Variety(base=SamplingParams(), fields={"top_p": {0.9: 1, 1.0: 3}})
    drawn = [variety.of(p, model_id="m", seed=1, sample=0).top_p for p in PROMPTS]
    assert 0.7 < sum(p == 1.0 for p in drawn) / len(drawn) < 0.8


def test_a_recipe_that_names_no_plan_is_the_recipe_it_was(begun: Play):
    recipe = begun().recipe
    body = recipe.model_dump()
    assert Recipe.model_validate(body).recipe_id == recipe.recipe_id
    for plan in ({"vary": {"temperature": [0.5, 1]}}, {"turns": 2}, {"adaptive": {"up_to": 8}}):
        changed = {**body, "sampling": {**body["sampling"], **plan}}
        assert Recipe.model_validate(changed).recipe_id != recipe.recipe_id
    loose = {**body, "sampling": {**body["sampling"], "exactness": {"rows": 0}}}
    assert Recipe.model_validate(loose).recipe_id == recipe.recipe_id


def test_settings_that_change_what_an_engine_answers_are_other_parameters():
    plain = Sampling(max_tokens=64)
    alike = [
        {"tensor_parallel_size": 2}, {"max_num_seqs": 8}, {"dtype": "auto"}, {"quantization": None},
    ]  # fmt: skip
    for settings in alike:
        assert Sampling(max_tokens=64, settings=settings).params() == plain.params()
    other = [
        {"dtype": "bfloat16"}, {"dtype": "float32"}, {"quantization": "fp8"},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    ]  # fmt: skip
    ids = {Sampling(max_tokens=64, settings=s).params().params_id for s in other}
    assert len(ids - {plain.params().params_id}) == len(other)
    assert "settings" not in plain.params().as_dict()
    read = SamplingParams.from_dict(Sampling(settings=other[0]).params().as_dict())
    assert read == Sampling(settings=other[0]).params()


def test_what_the_echo_engine_said_is_never_served_as_a_models_answer() -> None:
    exact = [Sampling(engine="vllm"), Sampling(engine="transformers"), Sampling(engine="ray")]
    ids = {sampling.params().params_id for sampling in exact}
    rehearsed = {
        Sampling(engine="echo").params().params_id,
        Sampling(engine="ray", settings={"engine": "echo"}).params().params_id,
    }
    assert (len(ids), len(rehearsed), len(ids | rehearsed)) == (1, 1, 2)


def test_a_round_that_was_decided_needs_no_weights_when_a_run_goes_on(
    begun: Play, store: Store, monkeypatch: pytest.MonkeyPatch
):
    def gone(*_: object) -> Path:
        raise UserError("the weights of model m are gone")

    run = begun()
    stages.draw(run, 1)
    assert sample(run) > 0
    monkeypatch.setattr(models, "directory", gone)
    with pytest.raises(UserError, match="are gone"):
        sample(run)
    run.once(1, "gate", lambda: {"promoted": False})
    assert sample(run) == 0


def test_two_references_that_are_the_same_weights_are_refused_by_name(
    begun: Play, roster: list[Path], tmp_path: Path
):
    copied = shutil.copytree(roster[1], tmp_path / "copied")
    references = [{"name": "one", "model": str(roster[1])}, {"name": "two", "model": str(copied)}]
    with pytest.raises(UserError, match=r"one and two are the same model"):
        stages.draw(begun(references=references), 1)


def test_the_policy_and_k_of_the_roster_answer_each_prompt(
    begun: Play, store: Store, roster: list[Path]
):
    references = [{"name": p.name, "model": str(p), "n": 2} for p in roster[1:]]
    run = begun(references=references, references_per_prompt=2)
    stages.draw(run, 1)
    assert sample(run) == 12 * (4 + 2 * 2) + 4 * 2
    rows = store.rows(
        "select c.prompt_id, count(distinct model_id) as models, count(*) as n from completions c "
        "join prompts using (prompt_id) where split = 'train' group by 1"
    )
    assert {(row["models"], row["n"]) for row in rows} == {(3, 8)}
    used = store.rows("select count(distinct model_id) as n from completions")
    assert used == [{"n": 4}]
    assert sample(run) == 0


def test_samples_of_a_prompt_differ_in_parameters_and_held_out_ones_do_not(
    begun: Play, store: Store
):
    run = begun(vary={"temperature": {0.7: 1, 1.0: 1}, "min_p": [0.0, 0.1]}, n=8)
    stages.draw(run, 1)
    assert sample(run) == 12 * 8 + 4 * 2
    rows = store.rows(
        "select p.split, c.prompt_id, count(*) as n, count(distinct params_id) as kinds, "
        "count(distinct completion_id) as ids from completions c "
        "join prompts p using (prompt_id) join params using (params_id) group by all"
    )
    assert {(r["n"], r["ids"]) for r in rows if r["split"] == "train"} == {(8, 8)}
    assert max(r["kinds"] for r in rows if r["split"] == "train") > 2
    assert {r["kinds"] for r in rows if r["split"] == "gate"} == {1}
    known = store.rows("select json->>'$.temperature' as t, json->>'$.min_p' as p from params")
    assert {(r["t"], r["p"]) for r in known} >= {("0.7", "0.1"), ("1.0", "0.0")}


def test_a_principle_is_given_to_the_model_and_never_trained(begun: Play, store: Store):
    run = begun(vary={"principles": ["brevity", "honesty", "none"]}, max_tokens=4, n=8)
    stages.draw(run, 1)
    sample(run)
    rows = store.rows(
        "select c.prompt_id, prompt_token_ids, given_token_ids, token_hash, "
        "coalesce(p.json->>'$.system', '') as system "
        "from completions c join params p using (params_id) join prompts q using (prompt_id) "
        "where q.split = 'train'"
    )
    assert {r["system"].split()[0] if r["system"] else "" for r in rows} == {"Answer", "Say", ""}
    plain = {r["prompt_id"]: r["prompt_token_ids"] for r in rows if not r["system"]}
    for row in rows:
        assert (row["given_token_ids"] is None) == (row["system"] == "")
        assert row["prompt_token_ids"] == plain.get(row["prompt_id"], row["prompt_token_ids"])
        if row["given_token_ids"] is not None:
            assert len(row["given_token_ids"]) > len(row["prompt_token_ids"])


def test_pairs_of_two_principles_train_on_the_plain_prompt_and_are_marked(
    begun: Play, store: Store
):
    from factory.exporting import freeze

    run = begun(vary={"principles": ["brevity", "none"]}, max_tokens=8, n=8)
    stages.draw(run, 1)
    sample(run)
    stages.judge(run, 1)
    policy = run.left(1, "draw")["policy"]
    scope = Scope(run_id=run.run_id, round=1, judges=("vowels",), policy_model_id=policy)
    made = build_pairs(store, strategy="best_vs_worst", scope=scope, run_id=run.run_id, round=1)
    rows = store.rows(
        "select pair_id, on_policy, c.prompt_token_ids = r.prompt_token_ids as same, "
        "c.given_token_ids is not null or r.given_token_ids is not null as guided "
        "from pairs join completions c on c.completion_id = chosen_id "
        "join completions r on r.completion_id = rejected_id"
    )
    assert len(rows) == made.pairs > 3
    assert {row["same"] for row in rows} == {True}
    assert {row["guided"] for row in rows} >= {True}
    assert all(row["on_policy"] is not row["guided"] for row in rows)
    version = freeze(
        store, kind="preference", strategy_id=made.strategy_id, name="guided", recipe_id="",
        run_id=run.run_id, round=1,
    )  # fmt: skip
    assert version.n_rows == made.pairs


def test_a_principle_without_a_file_is_refused_before_anything_runs(begun: Play):
    with pytest.raises(UserError, match=r"did you mean 'honesty'"):
        begun(vary={"principles": ["honesti"]})

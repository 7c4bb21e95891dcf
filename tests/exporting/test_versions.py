"""What a dataset version promises: the same rows, the same id, and exactly what was sampled."""

from __future__ import annotations

import hashlib
import json

import pyarrow.parquet as pq
import pytest

from factory.errors import UserError
from factory.exporting import freeze, load_version
from factory.pairing import Scope, build_pairs, build_sft


def fill(world, prompts=20, **more):
    for i in range(prompts):
        prompt = world.prompt(f"q{i}")
        world.completion(prompt, f"right {i}", 1.0, **more)
        world.completion(prompt, f"wrong {i}", 0.0, **more)


def frozen(world, *, kind="preference", round=1, run_id="run", **more):
    build = build_pairs if kind == "preference" else build_sft
    strategy = "best_vs_worst" if kind == "preference" else "best_of_n"
    scope = more.pop("scope", Scope())
    report = build(world.store, strategy=strategy, scope=scope, run_id=run_id, round=round)
    return freeze(
        world.store, kind=kind, strategy_id=report.strategy_id, name="set", recipe_id="recipe",
        run_id=run_id, round=round, **more,
    )  # fmt: skip


def test_the_token_ids_are_those_that_were_stored(world):
    fill(world)
    world.flush()
    version = frozen(world)
    rows = pq.read_table(version.dir / "tokens.parquet").to_pylist()
    stored = {r["completion_id"]: r for r in world.rows["completions"]}
    pairs = {p["pair_id"]: p for p in world.pairs()}
    assert len(rows) == 20 and {r["pair_id"] for r in rows} == pairs.keys()
    for row in rows:
        pair = pairs[row["pair_id"]]
        assert row["chosen_ids"] == stored[pair["chosen_id"]]["token_ids"]
        assert row["rejected_ids"] == stored[pair["rejected_id"]]["token_ids"]
        assert row["prompt_ids"] == [7, 8]
        assert (row["weight"], row["margin"]) == (1.0, 1.0)


def test_the_manifest_names_its_files_rows_and_origin(world):
    fill(world)
    world.flush()
    version = frozen(world)
    said = json.loads((version.dir / "manifest.json").read_text())
    assert said["version_id"] == version.version_id == version.dir.name
    assert (said["n_rows"], said["n_trainable"], said["kind"]) == (20, 20, "preference")
    for file, digest in said["files"].items():
        assert hashlib.sha256((version.dir / file).read_bytes()).hexdigest() == digest
    assert "best against" not in said["strategy_sql"] and "best_finished" in said["strategy_sql"]
    assert said["lake_versions"]["pairs"] == world.store.lake.version("pairs")
    [row] = world.store.rows("select * from dataset_versions")
    assert (row["version_id"], row["n_rows"], row["round"], row["recipe_id"]) == (
        version.version_id, 20, 1, "recipe"
    )  # fmt: skip


def test_the_same_content_again_is_the_same_version_and_writes_nothing(world):
    fill(world)
    world.flush()
    first = frozen(world)
    before = {p: p.stat().st_mtime_ns for p in first.dir.iterdir()}
    again = frozen(world, rows_at_once=3)
    assert again.version_id == first.version_id
    assert {p: p.stat().st_mtime_ns for p in first.dir.iterdir()} == before
    assert [p.name for p in first.dir.parent.iterdir()] == [first.version_id]
    assert len(world.store.rows("select * from dataset_versions")) == 1


def test_the_version_does_not_depend_on_the_order_of_arrival(worlds):
    ids = []
    for order in (1, -1):
        world = worlds()
        fill(world)
        world.flush(order=order)
        ids.append([frozen(world, kind=kind).version_id for kind in ("preference", "sft")])
    assert ids[0] == ids[1] and ids[0][0] != ids[0][1]


def test_another_score_or_another_token_is_another_version(worlds):
    ids = set()
    for score, tokens in [(1.0, (1,)), (0.9, (1,)), (1.0, (2,))]:
        world = worlds()
        prompt = world.prompt("q")
        world.completion(prompt, "right", score, tokens=tokens)
        world.completion(prompt, "wrong", 0.0)
        world.flush()
        ids.add(frozen(world).version_id)
    assert len(ids) == 3


def test_pairs_without_token_ids_are_kept_out_of_training_with_a_reason(world):
    fill(world, prompts=3)
    prompt = world.prompt("recorded")
    world.completion(prompt, "right", 1.0, tokens=None, finish="recorded")
    world.completion(prompt, "wrong", 0.0)
    other = world.prompt("two templates")
    world.completion(other, "right", 1.0)
    world.completion(other, "wrong", 0.0)
    world.rows["completions"][-1]["prompt_token_ids"] = [9, 9]
    world.flush()
    version = frozen(world)
    assert (version.n_rows, version.n_trainable) == (5, 3)
    assert pq.read_table(version.dir / "tokens.parquet").num_rows == 3
    drops = world.store.rows("select prompt_id, reason from drops where stage = 'freeze'")
    assert {d["prompt_id"]: d["reason"] for d in drops} == {
        prompt: "no_token_ids", other: "prompt_tokens_differ"
    }  # fmt: skip


def test_a_set_of_two_tokenizers_trains_on_the_commoner_one(world):
    fill(world, prompts=3)
    prompt = world.prompt("another model")
    world.completion(prompt, "right", 1.0, model_id="b")
    world.completion(prompt, "wrong", 0.0, model_id="b")
    policy = world.rows["completions"][0]["model_id"]
    world.add("models", model_id=policy, name="policy", tokenizer_digest="one", template_digest="t")
    world.add("models", model_id="b", name="b", tokenizer_digest="two", template_digest="t")
    world.flush()
    version = frozen(world)
    assert (version.n_rows, version.n_trainable) == (4, 3)
    assert version.manifest["tokenizer_digest"] == "one"
    assert version.manifest["template_digest"] == "t"


def test_a_round_has_its_own_pairs_and_without_a_round_all_are_taken(world):
    first, second = world.prompt("one"), world.prompt("two")
    for prompt, round in ((first, 1), (second, 2)):
        world.completion(prompt, "right", 1.0)
        world.completion(prompt, "wrong", 0.0)
        world.draw(prompt, round=round)
    world.flush()
    one = frozen(world, scope=Scope(run_id="run", round=1))
    two = frozen(world, scope=Scope(run_id="run", round=2), round=2)
    assert (one.n_rows, two.n_rows) == (1, 1) and one.version_id != two.version_id
    both = freeze(
        world.store, kind="preference", strategy_id=one.manifest["strategy_id"], name="all",
        recipe_id="", run_id="by-hand", round=None,
    )  # fmt: skip
    assert both.n_rows == 2


def test_a_second_run_over_the_same_completions_freezes_the_same_version(world):
    prompt = world.prompt("q")
    world.completion(prompt, "right", 1.0)
    world.completion(prompt, "wrong", 0.0)
    for run_id in ("run", "second"):
        world.draw(prompt, run_id=run_id)
    world.flush()
    one = frozen(world, scope=Scope(run_id="run", round=1))
    two = frozen(world, run_id="second", scope=Scope(run_id="second", round=1))
    assert one.version_id == two.version_id and two.n_rows == 1


def test_pairs_that_contradict_each_other_are_refused(world):
    prompt = world.prompt("q")
    a = world.completion(prompt, "a", 1.0)
    b = world.completion(prompt, "b", 0.0)
    world.flush()
    frozen(world)
    world.rows["judgements"].clear()
    # The same judge, asked twice more, changed its mind: the strategy is the same one.
    for replicate in (1, 2):
        for completion_id, score in ((a, 0.0), (b, 1.0)):
            world.verdict(completion_id, score)
            row = world.rows["judgements"][-1]
            row |= {"judgement_id": f"{row['judgement_id']}-{replicate}", "replicate": replicate}
    world.store.append("judgements", world.rows["judgements"], run_id="later")
    with pytest.raises(UserError, match="1 pairs say the opposite"):
        frozen(world)


def test_an_edited_judge_makes_a_version_of_its_own(world):
    prompt = world.prompt("q")
    a = world.completion(prompt, "a", 1.0)
    b = world.completion(prompt, "b", 0.0)
    world.flush()
    first = frozen(world)
    world.rows["judgements"].clear()
    for completion_id, score in ((a, 0.0), (b, 1.0)):
        world.verdict(completion_id, score)
    for row in world.rows["judgements"]:
        row |= {"judge_id": "newer", "judgement_id": row["judgement_id"] + "2"}
    world.store.append("judgements", world.rows["judgements"], run_id="later")
    second = frozen(world)
    assert second.version_id != first.version_id
    assert (first.n_rows, second.n_rows) == (1, 1)


def test_nothing_to_freeze_is_said(world):
    world.flush()
    with pytest.raises(UserError, match="no pairs of this strategy"):
        freeze(
            world.store, kind="preference", strategy_id="none", name="", recipe_id="", run_id="r"
        )
    assert list((world.store.workspace / "datasets").iterdir()) == []


def test_a_version_is_found_by_how_its_id_begins(world):
    fill(world, prompts=2)
    world.flush()
    version = frozen(world)
    assert load_version(world.store, version.version_id[:8]) == version
    for wrong in ("ffff" + version.version_id[:4], "../..", "*"):
        with pytest.raises(UserError, match="dataset version"):
            load_version(world.store, wrong)

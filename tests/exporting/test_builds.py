"""What is exported by hand is what was built last, and nothing that a strategy once said."""

from __future__ import annotations

import json

import pytest

from factory import rooms
from factory.errors import UserError
from factory.exporting import freeze
from factory.pairing import Scope, build_pairs
from factory.stages import alone

PAIRS = {"strategy": "best_vs_worst", "judge": "right", "pools": (), "params": {}}


def question(world, text, **scores):
    prompt = world.prompt(text)
    return {said: world.completion(prompt, said, score) for said, score in scores.items()}


def pair(world, **words):
    return alone.pair(world.store, dry_run=False, **{**PAIRS, **words})


def exported(world, **words):
    """(kind, chosen text or the example's, rejected text, score of the first) of every row."""
    out = world.store.workspace / "out"
    left = alone.export(
        world.store, form="jsonl", out=out / str(len(list(out.glob("*")))), version=None,
        **{"strategy": None, "test_share": 0.0, **words},
    )  # fmt: skip
    with open(left["out"] + "/train.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return left["kind"], sorted(
        (
            (row.get("chosen") or row["completion"])[0]["content"],
            row["rejected"][0]["content"] if "rejected" in row else None,
            row.get("score_chosen", row.get("score")),
        )
        for row in rows
    )


def judged_later(world, completion_id, score, **more):
    world.rows = {"completions": world.rows["completions"]}
    world.verdict(completion_id, score, **more)
    world.rows["judgements"][-1]["judgement_id"] += "later"
    world.store.append("judgements", world.rows["judgements"], run_id="later")


def test_pairs_that_later_verdicts_put_out_are_not_exported(world):
    asked = question(world, "q", good=5.0, bad=1.0, best=None)
    world.flush()
    pair(world)
    assert exported(world) == ("preference", [("good", "bad", 5.0)])
    judged_later(world, asked["best"], 9.0)
    pair(world)
    assert exported(world) == ("preference", [("best", "bad", 9.0)])


def test_a_pair_whose_scores_changed_is_exported_with_the_new_ones(world):
    asked = question(world, "q", good=5.0, bad=1.0)
    world.flush()
    pair(world)
    judged_later(world, asked["good"], 3.0)
    pair(world)
    assert exported(world) == ("preference", [("good", "bad", 4.0)])


def test_a_label_that_later_verdicts_turned_round_is_exported_as_it_is_now(world):
    asked = question(world, "q", a=5.0, b=3.0)
    world.flush()
    pair(world)
    judged_later(world, asked["a"], 0.0)
    pair(world)
    assert exported(world) == ("preference", [("b", "a", 3.0)])


def test_a_text_that_is_flagged_after_a_build_is_chosen_in_no_export_of_a_later_one(world):
    asked = question(world, "q", hostile=5.0, honest=3.0, poor=1.0)
    world.flush()
    pair(world)
    judged_later(world, asked["hostile"], 0.0, judge="injection")
    pair(world)
    assert exported(world) == ("preference", [("honest", "poor", 3.0)])


def test_an_export_without_words_is_of_the_build_made_last(world):
    question(world, "q", good=5.0, middling=3.0, bad=1.0)
    world.flush()
    pair(world)
    pair(world, strategy="margin")
    assert pair(world)["added"] == 0
    assert exported(world) == ("preference", [("good", "bad", 5.0)])
    assert len(exported(world, strategy="margin")[1]) == 3
    pair(world, strategy="best_of_n")
    assert exported(world) == ("sft", [("good", None, 5.0)])
    assert exported(world, strategy="best_vs_worst")[0] == "preference"


def test_pairs_of_another_pool_or_parameter_stay_out(world):
    question(world, "q", good=5.0, bad=4.0)
    prompt = world.prompt("r", pool="other")
    world.completion(prompt, "right", 5.0)
    world.completion(prompt, "wrong", 1.0)
    world.flush()
    pair(world)
    pair(world, pools=("other",))
    assert exported(world)[1] == [("right", "wrong", 5.0)]
    pair(world, pools=("p",))
    assert exported(world)[1] == [("good", "bad", 5.0)]
    pair(world)
    assert len(exported(world)[1]) == 2


def test_a_run_that_draws_more_answers_takes_no_pair_of_the_run_before(world):
    prompt = world.prompt("q")
    for said, score in (("good", 5.0), ("bad", 1.0), ("best", 9.0)):
        world.completion(prompt, said, score)
    world.draw(prompt, run_id="first", n=2)
    world.draw(prompt, run_id="second", n=3)
    world.flush()
    rows = []
    for run_id in ("first", "second"):
        report = build_pairs(
            world.store, strategy="best_vs_worst", scope=Scope(run_id=run_id, round=1),
            run_id=run_id, round=1,
        )  # fmt: skip
        version = freeze(
            world.store, kind="preference", strategy_id=report.strategy_id, name="", recipe_id="",
            run_id=run_id, round=1, build_id=report.build_id,
        )  # fmt: skip
        rows.append((report.pairs, version.n_rows))
    assert rows == [(1, 1), (1, 1)]
    found = world.store.rows("select version_ids from lineage")
    assert sorted(len(row["version_ids"]) for row in found) == [1, 1]


def test_an_older_copy_of_the_export_query_is_refused(world):
    question(world, "q", good=5.0, bad=1.0)
    world.flush()
    pair(world)
    copy = world.store.workspace / "storage" / "exports" / "preference_rows.sql"
    copy.parent.mkdir(parents=True)
    text = rooms.read("storage/exports", "preference_rows", suffix=".sql", workspace=None).text
    copy.write_text(text.replace("$build_id", "null"), encoding="utf-8")
    with pytest.raises(UserError, match="knows no builds"):
        exported(world)


def test_the_build_does_not_depend_on_how_it_was_cut(worlds):
    ids = []
    for order, at_once in ((1, 10**6), (-1, 7)):
        world = worlds()
        for i in range(30):
            question(world, f"q{i}", good=5.0 + i / 3, bad=1.0)
        world.flush(order=order)
        report = build_pairs(
            world.store, strategy="best_vs_worst", scope=Scope(), run_id="r",
            max_rows_at_once=at_once,
        )  # fmt: skip
        ids.append((report.build_id, sorted(r["pair_id"] for r in world.pairs())))
    assert ids[0] == ids[1]


def test_a_build_that_gave_nothing_is_not_exported_as_an_older_one(world):
    question(world, "q", good=5.0, bad=1.0)
    world.flush()
    pair(world)
    pair(world, params={"min_margin": 100})
    with pytest.raises(UserError, match="no pairs"):
        exported(world)

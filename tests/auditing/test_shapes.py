"""Audits and leaderboards of other shapes: lists, logits, both orders, read again, nobody, ties."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from factory.auditing.leaderboard import leaderboard
from factory.auditing.verb import audit
from factory.cli import app
from factory.rows import content_id


def by_judge(found: Any, table: str) -> dict[str, dict[str, Any]]:
    return {row["judge"]: row for row in found.rows(table)}


def ranked(world: Any, judge: str, prompt: str, scores: dict[str, float], *, again: int) -> None:
    """One answer of a judge of lists: a row for each text of the list."""
    ids = [content_id("completion", [prompt, m]) for m in scores]
    for model, score in scores.items():
        world.scored(
            judge, prompt, model, score, kind="listwise", completion_ids=ids, replicate=again,
            judgement_id=content_id("j", [judge, prompt, model, again]),
        )  # fmt: skip


def test_a_list_is_one_question_for_each_of_its_texts_and_no_drift_of_itself(world: Any) -> None:
    for i in range(40):
        scores = {m: k / 2 for k, m in enumerate(("a", "b", "c"))}
        for model in scores:
            world.completion(f"{i}", model, model)
        ranked(world, "list", f"{i}", scores, again=0)
        if i < 35:
            ranked(world, "list", f"{i}", scores, again=1)
    store = world.flush()
    store.append(
        "prompts",
        [{"prompt_id": content_id("prompt", f"{i}"), "pool": "p"} for i in range(40)],
        run_id="r",
    )
    [row] = audit(store).rows("drift")
    assert (row["again"], row["n"], row["same"], row["drifted"]) == (1, 105, 1.0, False)


def test_answers_that_were_read_again_keep_what_they_cost_and_old_readings_do_not_count(
    world: Any,
) -> None:
    for i in range(40):
        for model in ("good", "bad"):
            world.completion(f"{i}", model, model)
        for parser, cost in (("v1", 500), ("v2", 0)):
            more = {"judge_id": parser, "cost_microusd": cost}
            for order in (("good", "bad"), ("bad", "good")):
                p = None if parser == "v1" else float(order[0] == "good")
                identity = content_id("j", [parser, i, order])
                call = f"pair/{i}/{order[0]}"
                world.said("pairs", f"{i}", order, p, judgement_id=identity, call_id=call, **more)
            for model in ("good", "bad"):
                identity, call = content_id("k", [parser, i, model]), f"one/{i}/{model}"
                score = None if parser == "v1" else float(model == "good")
                world.scored(
                    "ones", f"{i}", model, score, judgement_id=identity, call_id=call, **more
                )
        world.said("ann", f"{i}", ("good", "bad"), 1.0, kind="human")
    found = audit(world.flush())
    for judge in ("pairs", "ones"):
        row = by_judge(found, "outcomes")[judge]
        assert (row["n"], row["ok"], row["unparsed"]) == (80, 1.0, 0.0)
        assert row["cost_usd"] == pytest.approx(0.04)
        assert row["usd_per_verdict"] == pytest.approx(0.0005)
        # Two calls a pair either way, and every pair is right.
        price = by_judge(found, "agreement_pairs")[judge]["usd_per_right_label"]
        assert price == pytest.approx(0.001)


def test_the_few_pairs_that_people_compared_have_not_cost_what_all_scores_did(world: Any) -> None:
    for i in range(100):
        for model in ("good", "bad"):
            world.completion(f"{i}", model, model)
            world.scored("ones", f"{i}", model, float(model == "good"), cost_microusd=500)
        if i < 40:
            world.said("ann", f"{i}", ("good", "bad"), 1.0, kind="human")
    row = by_judge(audit(world.flush()), "agreement_pairs")["ones"]
    assert row["usd_per_right_label"] == pytest.approx(0.001)


def test_logits_are_no_classes_and_are_held_to_people_by_the_order_they_give(world: Any) -> None:
    rng = np.random.default_rng(0)
    for i in range(40):
        for model, worth in (("good", 1.0), ("bad", 0.0)):
            world.completion(f"{i}", model, model)
            for judge in ("rm-a", "rm-b"):
                logit = float(rng.normal() / 10 + worth)
                world.scored(judge, f"{i}", model, logit, kind="reward_model")
            world.scored("ann", f"{i}", model, 5.0 if worth else 1.0, kind="human")
            world.scored("ones", f"{i}", model, 5.0 if worth else 1.0)
        world.said("bob", f"{i}", ("good", "bad"), 1.0, kind="human")
    found = audit(world.flush())
    assert set(by_judge(found, "agreement_completions")) == {"ones"}
    pairs = {(r["rater_a"], r["rater_b"]) for r in found.rows("raters_completions")}
    assert pairs == {("ones", "ann")}
    held = by_judge(found, "agreement_pairs")
    assert held["rm-a"]["agreement"] == held["rm-b"]["agreement"] == 1.0


def test_an_order_that_a_record_does_not_tell_is_guessed_by_no_view(world: Any) -> None:
    for i in range(4):
        for model in ("good", "bad"):
            world.completion(f"{i}", model, model)
        world.said("old", f"{i}", ("good", "bad"), 1.0, parser="recorded/listed")
        world.said("new", f"{i}", ("good", "bad"), 1.0, parser="recorded/shown")
        world.said("new", f"{i}", ("bad", "good"), 0.0, parser="recorded/shown", judge_id="new")
        world.said("ann", f"{i}", ("good", "bad"), 1.0, kind="human")
    rows = world.flush().rows("select * from position_bias")
    assert [(r["judge"], r["n"], r["both_orders"], r["consistent_share"]) for r in rows[-1:]] == [
        ("new", 8, 4, 1.0)
    ]
    assert "old" not in {r["judge"] for r in rows}


def test_both_orders_of_a_pair_are_one_experiment(world: Any) -> None:
    """A judge that never changes its mind says in the second order what it said in the first."""
    wins = [float(i % 3 == 0) for i in range(60)]
    for i, p in enumerate(wins):
        world.completion(f"{i}", "m", "same length")
        world.completion(f"{i}", "base", "same length")
        for judge, orders in (("once", 1), ("twice", 2)):
            world.said(judge, f"{i}", ("m", "base"), p)
            if orders == 2:
                world.said(judge, f"{i}", ("base", "m"), 1 - p)
    store = world.flush()
    rows = {
        judge: next(r for r in leaderboard(store, judge=judge, baseline="base")[0].rows)
        for judge in ("once", "twice")
    }
    expected = 100 * float(np.std(wins, ddof=1)) / math.sqrt(60)
    for row in rows.values():
        assert row["win_rate"] == pytest.approx(100 * np.mean(wins))
        assert row["standard_error"] == pytest.approx(expected)
    for column in ("strength_low", "strength_high"):
        assert rows["once"][column] == pytest.approx(rows["twice"][column])


# --- whatever is there, no crash and no number that cannot be -------------------------------------


def one_model(world: Any) -> None:
    for i in range(40):
        world.completion(f"{i}", "only")
        world.scored("ones", f"{i}", "only", float(i % 5))
        world.said("pairs", f"{i}", ("only", "only"), 0.5)


def nobody(world: Any) -> None:
    for i in range(40):
        for model in ("a", "b"):
            world.completion(f"{i}", model, model * (i + 1))
            world.scored("ones", f"{i}", model, float(i % 3))
        world.said("pairs", f"{i}", ("a", "b"), (i % 11) / 10)
        world.said("pairs", f"{i}", ("b", "a"), 1 - (i % 11) / 10)


def ties(world: Any) -> None:
    for i in range(40):
        for model in ("a", "b"):
            world.completion(f"{i}", model, model)
            world.scored("ones", f"{i}", model, 3.0)
            world.scored("ann", f"{i}", model, 3.0, kind="human")
        for order in (("a", "b"), ("b", "a")):
            world.said("pairs", f"{i}", order, 0.5)
        world.said("ann", f"{i}", ("a", "b"), 0.5, kind="human")
        world.said("bob", f"{i}", ("a", "b"), 0.5, kind="human")


def one_prompt(world: Any) -> None:
    for model in ("a", "b"):
        world.completion("0", model, model)
        world.scored("ones", "0", model, float(model == "a"))
    for order in (("a", "b"), ("b", "a")):
        world.said("pairs", "0", order, float(order[0] == "a"))
    world.said("ann", "0", ("a", "b"), 1.0, kind="human")


def failures(world: Any) -> None:
    for i in range(40):
        for model in ("a", "b"):
            world.completion(f"{i}", model, model)
            world.scored("ones", f"{i}", model, None)
        world.said("pairs", f"{i}", ("a", "b"), None)
        world.said("ann", f"{i}", ("a", "b"), 1.0, kind="human")


def sweep(world: Any) -> None:
    for i in range(40):
        for model in ("a", "b", "c"):
            world.completion(f"{i}", model, None if i % 2 else model)
        for order in (("a", "b"), ("b", "c"), ("a", "c")):
            world.said("pairs", f"{i}", order, 1.0)
            world.said("ann", f"{i}", order, 1.0, kind="human")


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, float(value)


SHARES = (
    "agreement", "first", "consistent", "longer", "own", "people", "ok", "error", "bias",
    "variance", "precision", "recall", "f1", "brier", "ece", "auroc", "right", "correct",
)  # fmt: skip


@pytest.mark.parametrize("made", [one_model, nobody, ties, one_prompt, failures, sweep])
def test_every_shape_is_audited_and_ranked_without_a_crash_or_a_silly_number(
    world: Any, made: Callable[[Any], None]
) -> None:
    made(world)
    store = world.flush()
    calls = [("audit", "--by", "domain"), ("leaderboard", "--style", "--resamples", "5")]
    for words in calls[: 1 if made is failures else 2]:
        where = ["--json", "--workspace", str(store.workspace)]
        done = CliRunner().invoke(app, [*words, *where])
        assert done.exit_code == 0, (words, done.output, done.exception)
        for path, value in numbers(json.loads(done.output)):
            assert math.isfinite(value), path
            name = path.rsplit(".", 1)[-1].removesuffix("_low").removesuffix("_high")
            if name in SHARES:
                assert 0 <= value <= 1, path
            if "win_rate" in name or name == "length_controlled_winrate":
                assert 0 <= value <= 100, path


def test_a_panels_verdicts_cost_what_its_members_said_of_the_same_prompts(world: Any) -> None:
    for i in range(40):
        for model in ("good", "bad", "out"):
            world.completion(f"{i}", model, model)
            world.scored("ones", f"{i}", model, 1.0, cost_microusd=500, call_id=f"{i}/{model}")
        for model in ("good", "bad"):
            asked = content_id("completion", [f"{i}", model])
            lineage = {"ones": {"score": 1.0, "judgements": [content_id("j", ["ones", asked, 0])]}}
            world.scored(
                "panel", f"{i}", model, 1.0, kind="panel", cost_microusd=0,
                raw=json.dumps({"members": lineage}),
            )  # fmt: skip
    found = by_judge(audit(world.flush()), "outcomes")
    assert found["ones"]["cost_usd"] == found["panel"]["cost_usd"] == pytest.approx(0.06)
    assert found["panel"]["usd_per_verdict"] == pytest.approx(0.06 / 80)


def test_several_pairs_of_a_prompt_are_one_experiment_in_the_views_too(world: Any) -> None:
    wins = [float(i % 3 == 0) for i in range(30)]
    for i, p in enumerate(wins):
        for model in ("m", "base"):
            world.completion(f"{i}", model, model)
        for copy in range(3):
            # More answers of the same two models, judged alike.
            more = {k: content_id("completion", [f"{i}", k, copy]) for k in ("m", "base")}
            for model, identity in more.items():
                world.completions[identity] = world.completions[
                    content_id("completion", [f"{i}", model])
                ] | {"completion_id": identity}
            world.said(
                "j", f"{i}", ("m", "base"), p, completion_ids=[more["m"], more["base"]],
                judgement_id=content_id("j", [i, copy]),
            )  # fmt: skip
    store = world.flush()
    expected = float(np.std(wins, ddof=1)) / math.sqrt(30)
    for view in ("head_to_head", "win_rates"):
        rows = {r["model"]: r for r in store.rows(f"select * from {view}")}
        assert (rows["m"]["n"], rows["m"]["wins"], rows["m"]["losses"]) == (90, 30, 60)
        assert rows["m"]["win_rate"] == pytest.approx(1 / 3)
        assert rows["m"]["standard_error"] == pytest.approx(expected)


def test_tokens_and_characters_are_not_compared_with_each_other(world: Any) -> None:
    for i in range(3):
        for model, text in (("sampled", "four words and more"), ("recorded", "short")):
            identity = world.completion(f"{i}", model, text)
            world.scored("ones", f"{i}", model, float(model == "sampled"))
            if model == "sampled":  # of the other the tokens are not known
                world.completions[identity]["n_tokens"] = 4
    [row] = world.flush().rows("select * from length_bias")
    assert (row["n"], row["longer_is_better_share"]) == (3, 1.0)


def test_a_failure_that_was_asked_again_with_success_is_no_wrong_verdict(world: Any) -> None:
    for i in range(3):
        for model in ("good", "bad"):
            world.completion(f"{i}", model, model)
        for order in (("good", "bad"), ("bad", "good")):
            world.said("j", f"{i}", order, None)
            if i:
                world.said("j", f"{i}", order, float(order[0] == "good"), replicate=1)
        world.said("ann", f"{i}", ("good", "bad"), 1.0, kind="human")
    row = by_judge(audit(world.flush()), "orders")["j"]
    assert (row["calls"], row["n_swaps"]) == (6, 3)
    assert row["correct"] == row["correct_in_both"] == pytest.approx(2 / 3)


def test_the_guard_that_runs_by_itself_is_no_judge_of_quality_unless_it_is_named(
    world: Any,
) -> None:
    for i in range(40):
        for model, score in (("good", 5.0), ("bad", 2.0 + i % 2)):
            world.completion(f"{i}", model, model)
            world.scored("one", f"{i}", model, score)
            world.scored("two", f"{i}", model, score)
            world.scored("person", f"{i}", model, score, kind="human")
            world.scored("injection", f"{i}", model, 1.0, kind="verifier")
    store = world.flush()
    found = audit(store)
    [group] = [r for r in found.rows("groups_completions") if r["raters"] == "judges"]
    assert (group["n_raters"], group["alpha"]) == (2, 1.0)
    assert {r["judge"] for r in found.rows("agreement_completions")} == {"one", "two"}
    assert {r["judge"] for r in found.rows("outcomes")} == {"injection", "one", "two"}
    named = audit(store, judges=["injection"])
    assert {r["judge"] for r in named.rows("agreement_completions")} == {"injection"}

"""Agreement, bias, calibration and drift: by hand, against other libraries, and on real data."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from factory.auditing import agreement, bias, calibration
from factory.auditing.numbers import mean, rate, resampled
from factory.auditing.verb import audit
from factory.cli import app
from factory.errors import UserError
from factory.store import Store

Classes = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60
)  # fmt: skip


def by_judge(found: Any, table: str) -> dict[str, dict[str, Any]]:
    return {row["judge"]: row for row in found.rows(table)}


# --- numbers --------------------------------------------------------------------------------------


def test_the_error_of_a_mean_is_the_cluster_robust_one_of_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    groups = rng.integers(0, 50, 400)
    x = rng.normal(size=400) + rng.normal(size=50)[groups]
    fitted = sm.OLS(x, np.ones(400)).fit(
        cov_type="cluster",
        cov_kwds={"groups": groups, "use_correction": True, "df_correction": False},
    )
    # statsmodels also multiplies by (N - 1) / (N - k), which for a mean is one.
    assert mean(x, groups.tolist()).error == pytest.approx(float(fitted.bse[0]), rel=1e-9)


def test_the_same_verdict_copied_ten_times_is_no_more_evidence() -> None:
    votes = [1.0] * 30 + [0.0] * 20
    prompts = list(range(50))
    once, often = rate(votes, prompts), rate(votes * 10, prompts * 10)
    assert often.low == pytest.approx(once.low, abs=1e-3)
    assert often.high == pytest.approx(once.high, abs=1e-3)
    naive = rate(votes * 10, list(range(500)))
    assert naive.high - naive.low < (once.high - once.low) / 2


def test_a_rate_of_one_is_not_certain_and_a_rate_of_few_says_so() -> None:
    sure = rate([1.0] * 40, list(range(40)))
    assert 0.9 < sure.low < 1 and sure.high == 1
    few = rate([1.0] * 10, list(range(10)))
    assert few.value == 1 and few.columns("x") == {"x": 1, "x_low": "too few", "x_high": "too few"}


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        chance = rng.beta(4, 2, 60)  # every prompt has its own, so its verdicts hang together
        votes = [float(v) for p in chance for v in rng.random(5) < p]
        found = rate(votes, [i for i in range(60) for _ in range(5)])
        hits += found.low <= 4 / 6 <= found.high
    assert 180 <= hits <= 198


@given(Classes)
@settings(max_examples=100, deadline=None)
def test_many_kappas_at_once_equal_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    table = np.zeros((4, 4))
    for a, b in pairs:
        table[a, b] += 1
    mine = float(agreement.kappas(table[None])[0])
    one, other = zip(*pairs, strict=True)
    if len(set(one) | set(other)) == 1:
        assert np.isnan(mine)
        return
    assert mine == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    found = agreement.cohen(one, other, ["p"] * len(pairs))
    assert found.value == pytest.approx(mine, abs=1e-12)


def test_a_resampled_mean_agrees_with_the_formula() -> None:
    rng = np.random.default_rng(1)
    x, prompts = rng.random(300), (np.arange(300) // 3).tolist()
    drawn = resampled(lambda rows: float(x[rows].mean()), prompts)
    exact = mean(x, prompts)
    assert drawn.value == pytest.approx(exact.value)
    assert drawn.low == pytest.approx(exact.low, abs=0.01)
    assert drawn.high == pytest.approx(exact.high, abs=0.01)


# --- by hand --------------------------------------------------------------------------------------


def test_bias_and_variance_follow_alpaca_evals_definitions() -> None:
    assert bias.agreement_of_modes([1, 1, -1], [1]) == 1
    assert bias.agreement_of_modes([1, -1], [1]) == 0.5
    assert bias.agreement_of_modes([1, -1], [0, 1]) == 0.25
    assert bias.leave_one_out([1, 1, 1, 1]) == 0
    assert bias.leave_one_out([1, 1, 1, -1]) == pytest.approx(0.25)
    assert bias.leave_one_out([1, -1]) == 1


def always_first(world: Any, *, n: int = 40) -> Store:
    """`lazy` says the first shown is better, whatever it is; people know that `good` is."""
    for i in range(n):
        for model, text in (("good", "short"), ("bad", "much longer text")):
            world.completion(f"{i}", model, text)
        for order in (("good", "bad"), ("bad", "good")):
            world.said("lazy", f"{i}", order, 0.9, cost_microusd=500)
            world.said("fair", f"{i}", order, 0.8 if order[0] == "good" else 0.2)
        world.said("ann", f"{i}", ("good", "bad"), 1.0, kind="human")
        world.said("bob", f"{i}", ("good", "bad"), 1.0, kind="human")
    return world.flush()


def test_a_judge_that_always_says_first_is_seen_through(world: Any) -> None:
    found = audit(always_first(world))
    order = by_judge(found, "bias")
    assert (order["lazy"]["first"], order["lazy"]["consistent"]) == (1.0, 0.0)
    assert (order["fair"]["first"], order["fair"]["consistent"]) == (0.5, 1.0)
    # Both orders cancel: its combined verdicts are ties, never people's.
    agreed = by_judge(found, "agreement_pairs")
    assert (agreed["lazy"]["agreement"], agreed["lazy"]["n_decided"]) == (0.0, 0)
    assert agreed["fair"]["agreement"] == 1.0
    assert agreed["people, each against the others"]["agreement"] == 1.0
    assert by_judge(found, "orders")["lazy"]["correct"] == 0.5
    assert by_judge(found, "orders")["lazy"]["correct_in_both"] == 0.0
    noise = by_judge(found, "noise")
    assert (noise["lazy"]["variance"], noise["fair"]["variance"]) == (1.0, 0.0)
    assert (noise["lazy"]["bias"], noise["fair"]["bias"]) == (0.5, 0.0)
    assert order["fair"]["longer"] == 0.0 and order["fair"]["human_longer"] == 0.0
    assert order["lazy"]["longer_excess"] == 0.5
    assert by_judge(found, "outcomes")["lazy"]["cost_usd"] == pytest.approx(0.04)
    assert by_judge(found, "outcomes")["fair"]["cost_usd"] is None


def test_a_judge_that_scores_one_by_one_is_held_to_peoples_comparisons(world: Any) -> None:
    for i in range(40):
        world.completion(f"{i}", "good")
        world.completion(f"{i}", "bad")
        world.scored("scorer", f"{i}", "good", 4.0)
        world.scored("scorer", f"{i}", "bad", 3.0 if i % 4 else 5.0)
        world.said("ann", f"{i}", ("bad", "good"), 0.0, kind="human")
    found = audit(world.flush())
    row = by_judge(found, "agreement_pairs")["scorer"]
    assert (row["agreement"], row["n"]) == (0.75, 40)
    assert by_judge(found, "spread")["scorer"]["distinct"] == 3


def test_failures_count_against_a_judge_where_it_was_asked(world: Any) -> None:
    for i in range(40):
        world.completion(f"{i}", "m")
        world.scored("j", f"{i}", "m", 1.0 if i % 2 else None)
        world.scored("ann", f"{i}", "m", 1.0, kind="human")
    row = by_judge(audit(world.flush()), "agreement_completions")["j"]
    assert (row["agreement"], row["agreement_asked"], row["failed"]) == (1.0, 0.5, 20)


def test_confidence_that_means_nothing_has_an_auroc_of_a_half() -> None:
    sure, right = np.array([0.6, 0.9, 0.6, 0.9]), np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration.auroc(sure, right) == 0.5
    assert calibration.ece(sure, right) == pytest.approx(0.25)
    assert calibration.auroc(sure, np.array([0.0, 1.0, 0.0, 1.0])) == 1.0
    assert calibration.ece(np.array([0.75] * 4), np.array([1.0, 1, 1, 0])) == 0
    # 0.7 begins the bin that 0.72 is in, although (0.7 - 0.5) * 20 is a float below 4.
    for edge in (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        found = calibration.ece(np.array([edge, edge + 0.02]), np.array([1.0, 0.0]))
        assert found == pytest.approx((2 * edge + 0.02 - 1) / 2)


@pytest.mark.parametrize(("shift", "drifted"), [(1.0, True), (0.0, False)])
def test_a_judge_that_changed_on_the_anchors_has_drifted(
    world: Any, shift: float, drifted: bool
) -> None:
    rng = np.random.default_rng(0)
    for i in range(60):
        world.completion(f"{i}", "m")
        world.scored("j", f"{i}", "m", float(rng.integers(1, 5)))
        noise = float(rng.integers(-1, 2))
        before = world.rows[-1]["score"]
        world.scored("j", f"{i}", "m", before + shift + noise, replicate=1)
    store = world.flush()
    store.append(
        "prompts",
        [{"prompt_id": c["prompt_id"], "pool": "anchors"} for c in world.completions.values()],
        run_id="r",
    )
    [row] = audit(store, anchors="anchors").rows("drift")
    assert (row["again"], row["n"], row["drifted"]) == (1, 60, drifted)
    with pytest.raises(UserError, match="there is no pool 'another'"):
        audit(store, anchors="another")


def test_an_unknown_judge_reference_or_group_names_what_there_is(world: Any) -> None:
    store = always_first(world, n=1)
    with pytest.raises(UserError, match="ann, bob, fair, lazy"):
        audit(store, judges=["nobody"])
    with pytest.raises(UserError, match="pool, source, domain"):
        audit(store, by="colour")


def test_an_empty_store_has_nothing_to_audit(world: Any) -> None:
    assert audit(world.store).as_dict() == {"failed": []}


# --- the command ----------------------------------------------------------------------------------


def command(store: Store, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--workspace", str(store.workspace)])
    return done.exit_code, done.output


def test_the_command_exits_with_1_when_a_judge_misses_its_own_threshold(world: Any) -> None:
    store = always_first(world)
    judges = store.workspace / "judges"
    judges.mkdir(exist_ok=True)
    body = (
        "---\nkind: pairwise\ndescription: the test's own\nparser: verdict\n"
        "thresholds: {consistent: 0.6, agreement: 0.7}\n---\n"
    )
    text = re.search(r"^parser: \S+$", (Path("judges") / "pairwise.md").read_text(), re.M)
    assert text is not None
    for name in ("lazy", "fair"):
        whole = body.replace("parser: verdict", text[0]) + "{{ prompt }} {{ first }} {{ second }}\n"
        (judges / f"{name}.md").write_text(whole)
    code, said = command(store, "audit", "--json")
    assert code == 1
    found = json.loads(said)
    assert found["failed"] == ["lazy"]
    verdicts = {(r["judge"], r["promise"]): r["verdict"] for r in found["thresholds"]}
    assert verdicts == {
        ("lazy", "consistent >= 0.6"): "fails",
        ("fair", "consistent >= 0.6"): "keeps",
        ("lazy", "agreement_decided >= 0.7"): "too few",
        ("fair", "agreement_decided >= 0.7"): "keeps",
    }
    assert command(store, "audit", "--judge", "fair")[0] == 0


def test_the_command_prints_intervals_beside_numbers(world: Any) -> None:
    store = always_first(world)
    code, said = command(store, "leaderboard", "--judge", "fair")
    assert code == 0 and "fair, against" in said
    assert re.search(r"lazy\t.*0 \[0, 0\.0\d+\]", command(store, "audit")[1])


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pandalm_gives_the_published_agreement(pandalm: Store) -> None:
    found = audit(pandalm)
    kappa = {
        (r["rater_a"], r["rater_b"]): r["kappa"] for r in found.rows("raters_pairs")
    }  # fmt: skip
    assert kappa["annotator1", "annotator2"] == pytest.approx(0.852, abs=5e-4)
    assert kappa["annotator1", "annotator3"] == pytest.approx(0.879, abs=5e-4)
    assert kappa["annotator2", "annotator3"] == pytest.approx(0.862, abs=5e-4)
    people = next(r for r in found.rows("groups_pairs") if r["raters"] == "people")
    assert people["fleiss"] == pytest.approx(0.8642, abs=5e-4)
    assert people["alpha"] == pytest.approx(0.8642, abs=5e-4)
    row = by_judge(found, "agreement_pairs")["pandalm-7b"]
    for column, value in (("agreement", 0.6677), ("precision", 0.5738), ("recall", 0.5750),
                          ("f1", 0.5743)):  # fmt: skip
        assert row[column] == pytest.approx(value, abs=1e-4)
    assert by_judge(found, "agreement_pairs")["gpt-3.5-turbo"]["agreement_asked"] == pytest.approx(
        0.698, abs=1e-3
    )


@pytest.mark.slow
def test_xstest_gives_the_published_agreement(xstest: Store) -> None:
    found = audit(xstest, reference=["human"])
    rows = by_judge(found, "agreement_completions")
    assert rows["gpt-4"]["agreement_asked"] == pytest.approx(0.7991, abs=5e-4)
    assert rows["gpt-4"]["failed"] == 11
    assert rows["string-match"]["agreement"] == pytest.approx(0.8387, abs=5e-4)
    between = audit(xstest, reference=["annotator_1", "annotator_2"])
    [row] = [
        r for r in between.rows("raters_completions")
        if {r["rater_a"], r["rater_b"]} == {"annotator_1", "annotator_2"}
    ]  # fmt: skip
    assert row["agreement"] == pytest.approx(0.9640, abs=5e-4)
    assert row["kappa"] == pytest.approx(0.9365, abs=5e-4)


@pytest.mark.slow
def test_alpaca_evals_judge_prefers_the_second_shown(alpaca: Store) -> None:
    row = by_judge(audit(alpaca), "bias")["weighted_alpaca_eval_gpt4_turbo"]
    assert row["mean_p_first"] == pytest.approx(0.4533, abs=5e-4)
    assert row["mean_p_first_high"] < 0.5
    assert row["n_first"] == 9_626
    won = alpaca.rows(
        "select order_known, first_model = 'gpt4_1106_preview' as base_first, "
        "avg(if(first_model = 'gpt4_1106_preview', 1 - p_first, p_first)) as rate from games "
        "where judge = 'weighted_alpaca_eval_gpt4_turbo' and order_known group by all order by all"
    )
    assert won[0]["rate"] == pytest.approx(0.0270, abs=5e-4)
    assert won[1]["rate"] == pytest.approx(0.1146, abs=5e-4)


COUNTS = """
    select p.source as subset, g.judge,
      sum((g.first_model = 'llmbar-output-1' and right_)::int)::int as correct_false,
      sum((g.first_model <> 'llmbar-output-1' and right_)::int)::int as correct_true
    from (
      select g.*, g.p_first is not null and sign(g.p_first - 0.5) =
        sign(l.p_first - 0.5) * if(g.first_id = l.first_id, 1, -1) as right_
      from games g
      join games l on l.judge = 'gold' and l.prompt_id = g.prompt_id
        and g.first_id in (l.first_id, l.second_id) and g.second_id in (l.first_id, l.second_id)
      where g.judge <> 'gold'
    ) g
    join prompts p on p.prompt_id = g.prompt_id
    group by all
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subsets", "expected"),
    [
        ("LLMBar/%", {"GPT-4/Vanilla": (0.845, 0.928), "ChatGPT/Vanilla_NoRules": (0.400, 0.611)}),
        ("Processed/MT-Bench", {
            "GPT-4/Vanilla_NoRules": (0.810, 0.870), "ChatGPT/Vanilla_NoRules": (0.7125, 0.575),
        }),
    ],
)  # fmt: skip
def test_llmbar_gives_the_published_counts_accuracy_and_positional_agreement(
    llmbar: Callable[[str], Store],
    shared_data: Path,
    subsets: str,
    expected: dict[str, tuple[float, float]],
) -> None:
    store = llmbar(subsets)
    found = audit(store, reference=["gold"])
    orders, order = by_judge(found, "orders"), by_judge(found, "bias")
    for judge, (accuracy, same) in expected.items():
        assert orders[judge]["correct"] == pytest.approx(accuracy, abs=5e-4)
        assert order[judge]["consistent"] == pytest.approx(same, abs=5e-4)
    with (shared_data / "llmbar_statistics_dev.csv").open() as handle:
        known = {(r["subset"], f"{r['judge']}/{r['strategy']}"): r for r in csv.DictReader(handle)}
    compared = 0
    for row in store.rows(COUNTS):
        theirs = known.get((row["subset"], row["judge"]))
        if theirs is None:
            continue
        compared += 1
        assert row["correct_false"] == float(theirs["correct_False_num"])
        assert row["correct_true"] == float(theirs["correct_True_num"])
        if subsets == row["subset"]:
            n = orders[row["judge"]]["n_swaps"]
            both = orders[row["judge"]]["correct_in_both"] * n
            assert both == pytest.approx(float(theirs["correct_both_num"]))
            same = order[row["judge"]]["consistent"] * n
            assert same == pytest.approx(float(theirs["equal_num"]))
    assert compared == (4 if subsets == "LLMBar/%" else 2)

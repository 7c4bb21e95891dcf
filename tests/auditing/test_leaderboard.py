"""Leaderboards equal the published ones, and do what they say where nothing is published."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.auditing import lengths
from factory.auditing.games import load
from factory.auditing.leaderboard import leaderboard
from factory.auditing.strength import strengths
from factory.errors import UserError
from factory.store import Store

AE2 = "weighted_alpaca_eval_gpt4_turbo"
PLAIN = (
    "win_rate", "standard_error", "discrete_win_rate", "n_wins", "n_wins_base", "n_draws",
    "n_total",
)  # fmt: skip


def published(data: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (data / "alpaca_eval_leaderboard_dev.csv").open() as handle:
        return {(r["annotator"], r["model"]): r for r in csv.DictReader(handle)}


def rows_of(store: Store, **more: Any) -> dict[str, dict[str, Any]]:
    return {r["model"]: r for r in leaderboard(store, resamples=0, **more)[0].rows}


@pytest.mark.slow
def test_every_published_row_is_reproduced(alpaca: Store, shared_data: Path) -> None:
    known = published(shared_data)
    compared = 0
    for judge, baseline in ((AE2, "gpt4_1106_preview"), ("alpaca_eval_gpt4", "text_davinci_003"),
                            ("alpaca_eval_cot_gpt4_turbo_fn", "gpt4_1106_preview")):  # fmt: skip
        for model, row in rows_of(alpaca, judge=judge, baseline=baseline).items():
            theirs = known.get((judge, model))
            if theirs is None:
                continue
            compared += 1
            for column in PLAIN:
                assert row[column] == pytest.approx(float(theirs[column]), abs=1e-6), (
                    model,
                    column,
                )
            if model != "text_davinci_001":  # two of its outputs are missing
                assert row["avg_length"] == float(theirs["avg_length"]), model
    assert compared == 22


@pytest.mark.slow
def test_published_weights_give_the_published_length_controlled_rates(
    alpaca: Store, shared_data: Path
) -> None:
    difficulty = lengths.read_difficulty(shared_data / "alpaca_eval_instruction_difficulty.csv")
    weights = lengths.read_weights(shared_data / "alpaca_eval_lc_weights_dev.csv")
    found = rows_of(alpaca, judge=AE2, difficulty=difficulty, weights=weights)
    known = published(shared_data)
    compared = []
    for model in weights:
        rate = float(known[AE2, model]["length_controlled_winrate"])
        if model == "text_davinci_001":
            # AlpacaEval looks difficulty up by row: with two rows missing it reads others' values.
            by_row = np.array([difficulty[str(i)] for i in range(803)])
            theirs = lengths.controlled(weights[model], by_row)
            assert theirs.win_rate == pytest.approx(rate, abs=1e-6)
            assert found[model]["length_controlled_winrate"] == pytest.approx(rate, abs=0.05)
            continue
        assert found[model]["length_controlled_winrate"] == pytest.approx(rate, abs=1e-6)
        error = known[AE2, model]["lc_standard_error"]
        if error and model != "gpt4_1106_preview":
            assert found[model]["lc_standard_error"] == pytest.approx(float(error), abs=1e-6)
        compared.append(model)
    assert len(compared) == 13


@pytest.mark.slow
def test_an_own_fit_is_about_a_point_from_the_published_one_and_resists_verbosity(
    alpaca: Store, shared_data: Path
) -> None:
    difficulty = lengths.read_difficulty(shared_data / "alpaca_eval_instruction_difficulty.csv")
    found = rows_of(alpaca, judge=AE2, difficulty=difficulty)
    known = published(shared_data)
    gaps = [
        abs(row["length_controlled_winrate"] - float(known[AE2, m]["length_controlled_winrate"]))
        for m, row in found.items()
        if m != "gpt4_1106_preview" and (AE2, m) in known
    ]
    assert len(gaps) == 13
    assert statistics.median(gaps) < 1.2
    concise, plain, verbose = (
        found[f"gpt-3.5-turbo-1106{s}"] for s in ("_concise", "", "_verbose")
    )
    assert [round(r["win_rate"], 2) for r in (concise, plain, verbose)] == [7.42, 9.18, 12.76]
    raw = verbose["win_rate"] / concise["win_rate"]
    assert verbose["length_controlled_winrate"] / concise["length_controlled_winrate"] < raw


@pytest.mark.slow
def test_strengths_order_models_as_win_rates_do(alpaca: Store) -> None:
    rows = leaderboard(alpaca, judge=AE2, resamples=20)[0].rows
    by_strength = sorted(rows, key=lambda r: -r["strength"])
    assert [r["model"] for r in by_strength] == [r["model"] for r in rows]
    assert all(r["strength_low"] < r["strength"] < r["strength_high"] for r in rows)


def test_a_standard_error_is_the_deviation_over_the_root_of_the_prompts(world: Any) -> None:
    verdicts = [1.0, 0.5, 0.0, 0.8] * 8
    for number, p in enumerate(verdicts):
        world.completion(f"q{number}", "m", "four")
        world.completion(f"q{number}", "base", "seven..")
        world.said("j", f"q{number}", ["m", "base"], p)
    [table] = leaderboard(world.flush(), baseline="base")
    [row] = table.rows
    wanted = 100 * np.std(verdicts, ddof=1) / np.sqrt(len(verdicts))
    assert row["standard_error"] == pytest.approx(wanted)


def test_one_game_of_each_outcome_by_hand(world: Any) -> None:
    for prompt, p in (("a", 1.0), ("b", 0.5), ("c", 0.0), ("d", 0.8)):
        world.completion(prompt, "m", "four")
        world.completion(prompt, "base", "seven..")
        world.said("j", prompt, ["m", "base"], p)
    world.said("j", "a", ["base", "m"], None)
    [table] = leaderboard(world.flush(), baseline="base")
    [row] = table.rows
    assert row["win_rate"] == pytest.approx(57.5)
    assert row["standard_error"] == "too few"
    assert (row["n_wins"], row["n_draws"], row["n_wins_base"], row["n_total"]) == (2, 1, 1, 4)
    assert row["discrete_win_rate"] == 62.5
    assert row["avg_length"] == 4
    assert row["length_controlled_winrate"] is None  # four prompts are too few to fit
    assert row["strength_low"] == "too few"


def duel(world: Any, *, n: int, verdict: Any) -> Store:
    """N prompts on which `wordy` mostly writes more than `base`, and `terse` mostly less."""
    rng = np.random.default_rng(1)
    for i in range(n):
        base = int(rng.integers(100, 150))
        sizes = {
            "base": base,
            "terse": base + int(rng.integers(-80, 40)),
            "wordy": base + int(rng.integers(-40, 80)),
        }
        for model, size in sizes.items():
            world.completion(f"{i}", model, "x" * size)
        for model in ("terse", "wordy"):
            p = verdict(sizes[model] - sizes["base"], rng)
            order = [model, "base"] if i % 2 else ["base", model]
            world.said("j", f"{i}", order, p if i % 2 else 1 - p)
    return world.flush()


def test_length_control_takes_a_preference_for_length_away(world: Any) -> None:
    """A judge that looks at length alone: both models are worth 50 % once lengths are equal."""
    store = duel(world, n=200, verdict=lambda gap, rng: float(1 / (1 + np.exp(-gap / 40))))
    found = rows_of(store, baseline="base", style=True)
    assert found["wordy"]["win_rate"] > 55 > 45 > found["terse"]["win_rate"]
    for model in ("wordy", "terse"):
        assert found[model]["length_controlled_winrate"] == pytest.approx(50, abs=6)
        assert found[model]["style_win_rate"] == pytest.approx(50, abs=12)


def test_a_difficulty_that_a_prompt_lacks_leaves_the_rate_out_and_guesses_nothing(
    world: Any,
) -> None:
    store = duel(world, n=40, verdict=lambda gap, rng: 0.6)
    found = rows_of(store, baseline="base", difficulty={"some other prompt": 1.0})
    assert found["wordy"]["length_controlled_winrate"] is None
    assert found["wordy"]["win_rate"] == pytest.approx(60)


def test_a_judge_or_baseline_that_is_not_there_names_those_that_are(world: Any) -> None:
    store = duel(world, n=2, verdict=lambda gap, rng: 0.6)
    with pytest.raises(UserError, match="judges that have: j"):
        leaderboard(store, judge="k")
    with pytest.raises(UserError, match="base, terse, wordy"):
        leaderboard(store, baseline="other")


def test_a_file_of_weights_or_difficulty_that_does_not_fit_says_so(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_text("idx,instruction_difficulty\n0,0.5\n1,much\n")
    with pytest.raises(UserError, match="'much' is no number"):
        lengths.read_difficulty(file)
    with pytest.raises(UserError, match="has no column model"):
        lengths.read_weights(file)


def test_a_model_that_never_lost_or_met_nobody_has_no_strength_and_the_others_keep_theirs(
    world: Any,
) -> None:
    for i in range(40):
        for model in ("champion", "a", "b", "far", "away"):
            world.completion(f"{i}", model, model)
        world.said("j", f"{i}", ("champion", "a"), 1.0)
        world.said("j", f"{i}", ("a", "b"), float(i % 4 > 0))
        world.said("j", f"{i}", ("b", "champion"), 0.0)
        if i < 20:
            world.said("j", f"{i}", ("far", "away"), 1.0)
    games = load(world.flush(), "j")
    found = strengths(games, resamples=20)
    assert found["a"].value == pytest.approx(math.log(3) / 2)
    assert found["b"].value == pytest.approx(-math.log(3) / 2)
    assert found["a"].low < found["a"].value < found["a"].high
    for model in ("champion", "far", "away"):
        assert (found[model].value, found[model].low, found[model].high) == (None, None, None)
    sweep = strengths([g for g in games if "champion" in (g.first, g.second)], resamples=5)
    assert {s.value for s in sweep.values()} == {None}


def test_predictions_that_nothing_tells_apart_have_no_standard_error() -> None:
    rng = np.random.default_rng(0)
    own, base = rng.integers(10, 900, 60).astype(float), rng.integers(10, 900, 60).astype(float)
    p, groups = rng.random(60), list(range(60))
    alone = lengths.fit(p, length_model=own, length_baseline=base, difficulty=None, groups=groups)
    assert alone is not None and alone.standard_error is None
    known = lengths.controlled(
        lengths.Weights(length=0.5, difficulty=1.0, model=0.1), rng.normal(size=60)
    )
    assert known.standard_error is not None and known.standard_error > 0.5


def test_a_strength_from_few_prompts_says_too_few(world: Any) -> None:
    for i in range(6):
        for model in ("a", "b"):
            world.completion(f"{i}", model, model)
        world.said("j", f"{i}", ("a", "b"), float(i % 3 > 0))
    rows = leaderboard(world.flush(), judge="j", baseline="b")[0].rows
    assert [(r["strength_low"], r["strength_high"]) for r in rows] == [("too few", "too few")]
    assert all(r["strength"] == pytest.approx(math.log(2) / 2) for r in rows)

"""How early a panel may stop: chosen on some prompts, measured on others, by people's labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from factory.auditing import choosing
from factory.auditing.choosing import FOLDS, chosen, measured
from factory.auditing.stops import stops
from factory.cli import app
from factory.errors import UserError
from factory.judging import files
from factory.rows import share_of

NAMES = ("Rating", "Rating_Metrics", "Rating_Reference", "Rating_Metrics_Reference")
RATER = (
    "---\nkind: pointwise\ndescription: x\nscale: {min: 0, max: 9, integer: true}\n"
    "parser: rating\naspects:\n"
    + "".join(f"  - {{name: {n.lower()}, ask: Ask.}}\n" for n in NAMES)
    + "---\n<!-- user -->\n{{ prompt }}\n{{ completion }}\n{{ aspect.ask }}\nRating: <n>\n"
)
PANEL = (
    "---\nkind: panel\ndescription: x\n"
    "panel: {members: [rater], rule: mean, in_turn: true, order: drawn%s}\n---\n"
)


def _plan(right: Any, *, cost: float) -> Any:
    """(N, 4): every pair is kept, and some are right."""
    n = len(right)
    return np.stack([np.ones(n), right, np.full(n, cost), np.ones(n)], axis=-1).astype(float)


# --- choosing -------------------------------------------------------------------------------------


def test_labels_of_a_fold_do_not_move_the_plan_that_it_is_measured_by() -> None:
    rng = np.random.default_rng(0)
    prompts = [f"p{k}" for k in range(400)]
    folds = np.array([int(FOLDS * share_of(p, "fold")) for p in prompts])
    whole = _plan(rng.random(400) < 0.9, cost=1.0)
    plans = {f"c{k}": _plan(whole[:, 1] * (rng.random(400) < 0.995), cost=k / 9) for k in range(9)}
    before = chosen(whole, plans, prompts)
    for fold in range(FOLDS):
        turned = {name: plan.copy() for name, plan in plans.items()}
        for plan in turned.values():
            plan[folds == fold, 1] = 1 - plan[folds == fold, 1]
        after = chosen(whole, turned, prompts)
        assert after.by_fold[fold] == before.by_fold[fold]
        assert after.by_fold != before.by_fold or after.measured.loss != before.measured.loss


def test_the_winner_of_many_equal_plans_is_not_measured_by_its_luck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choosing, "RESAMPLES", 200)
    rng = np.random.default_rng(1)
    prompts = [f"p{k}" for k in range(300)]
    lucky: list[float] = []
    honest: list[float] = []
    covered = 0
    for _ in range(40):
        # Twenty plans that are all wrong a tenth of the time, like the whole one: the loss is 0.
        whole = _plan(rng.random(300) < 0.9, cost=1.0)
        plans = {f"c{k}": _plan(rng.random(300) < 0.9, cost=0.5) for k in range(20)}
        # Chosen by agreement, which is a price here: what is right costs nothing.
        for plan in plans.values():
            plan[:, choosing.COST] = 0.5 - plan[:, choosing.RIGHT] / 2
        found = chosen(whole, plans, prompts, most_loss=100)
        best = measured(whole, plans[found.plan], prompts)
        assert best.loss.value is not None and found.measured.loss.value is not None
        assert found.measured.loss.low is not None and found.measured.loss.high is not None
        lucky.append(best.loss.value)
        honest.append(found.measured.loss.value)
        covered += found.measured.loss.low <= 0 <= found.measured.loss.high
    assert np.mean(lucky) < -2
    assert abs(np.mean(honest)) < 1.2
    assert covered >= 35


def test_copies_of_a_pair_are_no_more_evidence_for_a_plan() -> None:
    rng = np.random.default_rng(2)
    whole = _plan(rng.random(60) < 0.9, cost=1.0)
    made = _plan(rng.random(60) < 0.9, cost=0.5)
    prompts = [f"p{k}" for k in range(60)]
    once = measured(whole, made, prompts)
    often = measured(np.tile(whole, (9, 1)), np.tile(made, (9, 1)), prompts * 9)
    assert often.loss.low == pytest.approx(once.loss.low)
    assert often.loss.high == pytest.approx(once.loss.high)
    assert often.pairs == 540


def test_a_plan_that_loses_too_much_is_not_chosen_however_cheap_it_is() -> None:
    prompts = [f"p{k}" for k in range(500)]
    whole = _plan(np.ones(500), cost=1.0)
    close, bad = np.ones(500), np.ones(500)
    close[::250], bad[::10] = 0, 0
    plans = {"close": _plan(close, cost=0.5), "bad": _plan(bad, cost=0.01)}
    found = chosen(whole, plans, prompts)
    assert (found.plan, set(found.by_fold)) == ("close", {"close"})
    assert found.measured.saved.value == pytest.approx(50)
    assert found.measured.loss.value == pytest.approx(0.4)
    assert chosen(whole, {"bad": plans["bad"]}, prompts).plan == choosing.WHOLE


# --- the command ----------------------------------------------------------------------------------


def _files(workspace: Path, **panels: str) -> None:
    folder = workspace / "judges"
    folder.mkdir(exist_ok=True)
    (folder / "rater.md").write_text(RATER)
    for name, more in panels.items():
        (folder / f"{name}.md").write_text(PANEL % more)


def _rated(world: Any, data: Path, *, most: int | None = None) -> None:
    """GPT-4's four ratings of LLMBar's answers, and the gold labels as a person's votes."""
    columns = ["subset", "i", "judge", "strategy", "swapped", "completion"]
    pairs = {
        (row["subset"], row["i"]): row
        for row in pq.read_table(data / "llmbar_pairs.parquet").to_pylist()
        if row["subset"].startswith("LLMBar/")
    }
    for (subset, i), row in list(pairs.items())[:most]:
        models = [f"{subset} {i} {k}" for k in (1, 2)]
        for k, model in enumerate(models, 1):
            world.completion(row["input"], model, row[f"output_{k}"])
        p = 1.0 if row["label"] == 1 else 0.0
        world.said("gold", row["input"], models, p, kind="human")
    for row in pq.read_table(data / "llmbar_judgments_dev.parquet", columns=columns).to_pylist():
        key = row["subset"], row["i"]
        rated = row["judge"] == "GPT-4" and row["strategy"] in NAMES and not row["swapped"]
        if not rated or key not in list(pairs)[:most]:
            continue
        for k, said in enumerate(json.loads(row["completion"]), 1):
            world.scored(
                "rater", pairs[key]["input"], f"{key[0]} {key[1]} {k}",
                float(said) if said.strip() else None, aspect=row["strategy"].lower(),
                judgement_id=f"{key} {row['strategy']} {k}", cost_microusd=1_000,
            )  # fmt: skip
    world.flush()


def test_a_stop_chosen_by_real_labels_saves_half_and_loses_little_on_prompts_it_never_saw(
    world: Any, shared_data: Path
) -> None:
    _rated(world, shared_data)
    _files(world.store.workspace, early="")
    done = CliRunner().invoke(
        app, ["stops", "early", "--json", "--workspace", str(world.store.workspace)]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    rows = {row["plan"]: row for row in found["stops"]}
    assert rows["everything"]["pairs"] == 419
    assert rows["no stop"]["loss_high"] == 0
    honest = rows["chosen on the other prompts"]
    assert honest["saved_low"] >= 40
    assert honest["loss_high"] <= 1.5
    assert honest["loss_over_all_high"] <= 1.5
    stop = found["write"]["stop"]
    assert found["said"] == f"write into judges/early.md: stop: {stop:g}"
    _files(world.store.workspace, early=f", stop: {stop}")
    panel = files.load("early", workspace=world.store.workspace).front.panel
    assert panel is not None and panel.stop == stop


def test_the_documented_query_splits_what_people_say_of_each_lead_by_prompt(
    world: Any, shared_data: Path
) -> None:
    _rated(world, shared_data)
    text = (Path(__file__).resolve().parents[2] / "docs" / "judges-cheaper.md").read_text()
    sql = text.split("```sql\n")[1].split("```")[0].replace("'listwise-ranking'", "'rater'")
    rows = world.store.rows(sql.replace("floor(4 * abs(a.score - b.score))", "floor(0)"))
    assert len(rows) == 1
    (row,) = rows
    halves = row["n_to_choose"], row["n_to_measure"]
    assert sum(halves) == 404  # pairs with different means, of 419
    right = halves[0] * row["right_to_choose"] + halves[1] * row["right_measured"]
    assert right == pytest.approx(355)


def test_of_few_labels_no_stop_is_chosen(world: Any, shared_data: Path) -> None:
    _rated(world, shared_data, most=20)
    _files(world.store.workspace, early="")
    found = stops(world.store, "early")
    assert found.write is None
    assert "too few prompts" in found.said
    assert {row["saved_low"] for row in found.table.rows} == {"too few"}


def test_what_cannot_be_tried_says_what_is_lacking(world: Any) -> None:
    _files(world.store.workspace, early="")
    with pytest.raises(UserError, match="answered in full by rater"):
        stops(world.store, "early")
    with pytest.raises(UserError, match="question after question"):
        stops(world.store, "cascade")


@pytest.mark.slow
def test_the_bench_of_cheaper_labels_meets_its_goal_on_prompts_that_chose_nothing(
    shared_data: Path,
) -> None:
    bench = Path(__file__).resolve().parents[2] / "bench" / "labels.py"
    words = [sys.executable, str(bench), "--json", "--data", str(shared_data)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    rows = {row["plan"]: row for row in found["four ratings of each answer, GPT-4 (LLMBar)"]}
    honest = rows["[chosen of the stops, drawn]"]
    assert honest["saved"][1] >= 40
    assert max(honest["loss"][2], honest["loss_over_all"][2]) <= 1.5
    assert sum(honest["by_fold"].values()) == FOLDS

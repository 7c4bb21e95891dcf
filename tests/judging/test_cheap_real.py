"""A cheap plan on real labels, through the product: recorded ratings, asked for and paired."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from factory.judging.verb import judge
from factory.pairing import Scope, build_pairs
from factory.recipe.model import Judging
from factory.store import Store

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PAIRS, JUDGED = DATA / "llmbar_pairs.parquet", DATA / "llmbar_judgments_dev.parquet"
NAMES = ("Rating", "Rating_Metrics", "Rating_Reference", "Rating_Metrics_Reference")
SUBSET = "LLMBar/Natural"

pytestmark = pytest.mark.skipif(not PAIRS.exists(), reason="the shared real data is absent")

RATER = (
    "---\nkind: pointwise\ndescription: x\nscale: {min: 0, max: 9, integer: true}\n"
    "parser: rating\naspects:\n"
    + "".join(f"  - {{name: {n.lower()}, ask: Ask {n.lower()}.}}\n" for n in NAMES)
    + "---\n<!-- user -->\n{{ prompt }}\n{{ completion }}\n{{ aspect.ask }}\nRating: <n>\n"
)
PANEL = (
    "---\nkind: panel\ndescription: x\n"
    "panel: {members: [rater], rule: mean, in_turn: true%s}\n---\n"
)


def _recorded() -> dict[tuple[int, str], list[str]]:
    """(pair, aspect) -> the ratings of both answers."""
    columns = ["subset", "i", "judge", "strategy", "swapped", "completion"]
    rows = pq.read_table(JUDGED, columns=columns).to_pylist()
    return {
        (row["i"], row["strategy"].lower()): json.loads(row["completion"])
        for row in rows
        if row["subset"] == SUBSET and row["judge"] == "GPT-4" and row["strategy"] in NAMES
        and not row["swapped"]
    }  # fmt: skip


def test_half_the_ratings_of_real_answers_give_nearly_the_same_pairs(
    store: Store, fill: Callable[..., list[str]], judging: Callable[..., Judging], server: Any
) -> None:
    pairs = [row for row in pq.read_table(PAIRS).to_pylist() if row["subset"] == SUBSET]
    ratings = _recorded()
    ids = fill(
        store,
        [
            (
                f"Pair {row['i']}: {row['input']}",
                [f"(1) {row['output_1']}", f"(2) {row['output_2']}"],
            )
            for row in pairs
        ],
    )

    def brain(body: dict[str, Any]) -> str:
        said = body["messages"][-1]["content"]
        pair = int(re.findall(r"Pair (\d+): ", said)[0])
        which = int(re.findall(r">>>\s*\(([12])\) ", said)[0])
        aspect = re.findall(r"Ask (rating\w*)\.", said)[-1]
        return f"Rating: {ratings[pair, aspect][which - 1]}"

    server.brain = brain
    folder = store.workspace / "judges"
    folder.mkdir()
    (folder / "rater.md").write_text(RATER)
    (folder / "certain.md").write_text(PANEL % "")
    (folder / "early.md").write_text(PANEL % ", stop: 0.5, order: drawn")
    labels = {ids[2 * k]: row["label"] for k, row in enumerate(pairs)}
    found: dict[str, dict[str, int]] = {}
    chosen: dict[str, set[tuple[str, str]]] = {}
    for name in ("early", "certain", "rater"):
        section = judging(server.url, judges=[name])
        judge(store, judges=[name], completion_ids=ids, judging=section, run_id="r")
        build_pairs(store, strategy="best_vs_worst", scope=Scope(judges=(name,)), run_id="r")
        rows = store.rows("select chosen_id, rejected_id from pairs where judge = $j", {"j": name})
        chosen[name] = {(row["chosen_id"], row["rejected_id"]) for row in rows}
        right = sum(labels.get(c) == 1 or labels.get(r) == 2 for c, r in chosen[name])
        found[name] = {"calls": len(server.bodies), "kept": len(rows), "right": right}
    # Ratings that are there are not bought again, so the bill of all questions is the last one.
    whole = found["rater"]
    assert whole["calls"] == 2 * len(NAMES) * len(pairs)
    assert chosen["certain"] == chosen["rater"]
    assert found["early"]["calls"] <= 0.55 * whole["calls"]
    assert found["early"]["right"] >= whole["right"] - 1
    assert len(chosen["early"] & chosen["rater"]) >= 0.97 * whole["kept"]

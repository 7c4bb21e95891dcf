"""Planted and natural overlaps of real pools are found, and hardly anything else is."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from factory.prompting.cleaning.benchmarks import read_benchmark
from factory.prompting.cleaning.cleaner import CleanSettings, open_cleaner
from factory.prompting.cleaning.index import Index, Match
from factory.prompting.ingest import add_prompts
from factory.store import Store

BENCHMARKS = ("gsm8k_test.jsonl.gz", "ifeval_prompts.jsonl.gz", "mt_bench_questions.jsonl.gz",
              "ifbench_prompts.jsonl.gz", "alpaca_eval_prompts.parquet")  # fmt: skip


def test_planted_and_natural_overlaps_of_the_pool_are_dropped(
    store: Store, shared_data: Path
) -> None:
    against = tuple(str(shared_data / name) for name in BENCHMARKS)
    pool = shared_data / "prompt_pool.parquet"
    cleaner = open_cleaner(store, CleanSettings(against=against), pool="pool")
    report = add_prompts(store, pool, pool="pool", run_id="r", cleaner=cleaner)
    flagged = {
        (r["source"], r["source_id"]): r["kind"]
        for r in store.rows(
            "select detail->>'$.source' as source, detail->>'$.source_id' as source_id, "
            "detail->>'$.kind' as kind from drops where reason = 'contaminated'"
        )
    }
    assert report.dropped["contaminated"] == len(flagged)
    truth = pq.read_table(pool).to_pylist()
    kinds: dict[str, list[bool]] = {}
    for row in truth:
        natural = "natural" if row["match_exact_norm"] else "other"
        hit = (row["source"], str(row["id"])) in flagged
        kinds.setdefault(row["planted_kind"] or natural, []).append(hit)
    share = {kind: sum(hits) / len(hits) for kind, hits in kinds.items()}
    assert share["exact"] == share["case_space"] == share["natural"] == 1
    assert len(kinds["natural"]) == 272
    assert share["punct"] >= 0.9
    assert min(share["embedded"], share["truncated"]) >= 0.95
    assert share["other"] <= 0.005
    found = {(f["source"], f["benchmark"]): f["items"] for f in report.contamination}
    assert found["self_instruct_user_oriented", "alpaca_eval_prompts"] >= 200
    assert any("self_instruct_user_oriented" in note for note in report.notes)


def _matches(store: Store, one: Path, other: Path) -> list[Match]:
    index = Index()
    name, items = read_benchmark(store, str(other))
    for item in items:
        index.add(name, item.name, item.turns)
    index.seal()
    _, asked = read_benchmark(store, str(one))
    return [found[0] for found in index.find([item.turns for item in asked]) if found]


@pytest.mark.parametrize(
    ("one", "other", "most"),
    [
        ("arena_hard_questions.jsonl.gz", "mt_bench_questions.jsonl.gz", 0.005),
        ("gsm8k_train.jsonl.gz", "gsm8k_test.jsonl.gz", 0.01),
        ("ifbench_prompts.jsonl.gz", "ifeval_prompts.jsonl.gz", 0.02),
    ],
)
def test_pools_that_were_made_apart_hardly_overlap(
    store: Store, shared_data: Path, one: str, other: str, most: float
) -> None:
    found = _matches(store, shared_data / one, shared_data / other)
    _, rows = read_benchmark(store, str(shared_data / one))
    assert len(found) <= most * sum(1 for _ in rows)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_finds_every_item_of_itself(store: Store, shared_data: Path, name: str) -> None:
    path = shared_data / name
    _, items = read_benchmark(store, str(path))
    assert len(_matches(store, path, path)) == sum(1 for _ in items)

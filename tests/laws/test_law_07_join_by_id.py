"""Law 7: rows are joined by id; the order in which they arrived never matters."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.pairing.build import build_pairs
from factory.pairing.scope import Scope
from factory.rows import bucket_of, completion_id_of, prompt_id_of, text_hash
from factory.store import Store, open_store, upkeep

SCORES = st.lists(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5]), min_size=1, max_size=4), min_size=1, max_size=5
)
Rows = dict[str, list[dict[str, object]]]


def rows_of(scores: list[list[float]]) -> Rows:
    """Prompts, their completions and the verdicts on those, by table."""
    made: Rows = {"prompts": [], "completions": [], "judgements": []}
    for number, given_scores in enumerate(scores):
        prompt_id = prompt_id_of([{"role": "user", "content": f"question {number}"}])
        shared = {"prompt_id": prompt_id, "bucket": bucket_of(prompt_id)}
        made["prompts"].append({**shared, "pool": "p", "messages": "[]", "split": "train"})
        for index, score in enumerate(given_scores):
            identity = completion_id_of(
                prompt_id=prompt_id, model_id="m", params_id="p", sample_idx=index, seed=0
            )
            text = f"answer {number}/{index}"
            made["completions"].append(
                {
                    **shared, "completion_id": identity, "model_id": "m", "params_id": "p",
                    "sample_idx": index, "seed": 0, "text": text, "text_hash": text_hash(text),
                    "token_hash": text_hash(text), "n_tokens": 3, "finish_reason": "stop",
                    "origin": "sampled",
                }
            )  # fmt: skip
            made["judgements"].append(
                {
                    **shared, "judgement_id": text_hash(f"j{identity}"), "kind": "verifier",
                    "judge": "v", "judge_id": "v1", "aspect": "", "status": "ok", "score": score,
                    "completion_id": identity, "completion_ids": [identity], "replicate": 0,
                }
            )  # fmt: skip
    return made


def write(store: Store, rows: Rows, lot: random.Random) -> None:
    """Append every row in any order, cut into any shards, tables in any order."""
    shards: list[tuple[str, list[dict[str, object]]]] = []
    for table, listed in rows.items():
        order = lot.sample(listed, len(listed))
        while order:
            size = lot.randint(1, len(order))
            shards.append((table, order[:size]))
            order = order[size:]
    for table, shard in lot.sample(shards, len(shards)):
        store.append(table, shard, run_id="r")
    if lot.random() < 0.5:
        upkeep.compact(store)


def outcome(store: Store) -> tuple[list[object], ...]:
    build_pairs(store, strategy="best_vs_worst", scope=Scope(), run_id="r")
    return tuple(
        store.rows(sql)
        for sql in (
            "select * exclude (created_at) from pairs order by pair_id",
            "select item_id, reason, prompt_id from drops order by all",
            "select * from scores order by all",
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(scores=SCORES, seed=st.integers(0, 2**32))
def test_any_order_of_arrival_gives_the_same_pairs(
    folder: Path, scores: list[list[float]], seed: int
) -> None:
    lot, found = random.Random(seed), []
    for _ in range(2):
        store = open_store(folder / f"{len(list(folder.iterdir()))}", create=True)
        write(store, rows_of(scores), lot)
        found.append(outcome(store))
        store.close()
    assert found[0] == found[1]
    for pair in found[0][0]:
        assert pair["score_chosen"] > pair["score_rejected"]  # type: ignore[index]

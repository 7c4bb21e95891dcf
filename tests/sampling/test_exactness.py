"""An engine's log-probabilities are measured against the weights themselves, every run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from factory import stages
from factory.errors import UserError
from factory.reporting.doctor import check
from factory.reporting.summary import of_run
from factory.sampling.exactness import MOST_TOKENS, compare, measured
from factory.sampling.forward import logprobs_of
from factory.store import Store
from tests.stages.conftest import begun, roster, sample, store

__all__ = ["begun", "roster", "store"]
PROMPT = [0, 3, 50, 51, 6, 4]
IDS = [60, 70, 80, 90, 1]


def logprobs(model_dir: Path, prompt: list[int], ids: list[int]) -> list[float]:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(str(model_dir), dtype=torch.float32)
    return logprobs_of(model.eval(), prompt, ids)


def test_the_same_weights_differ_by_rounding_and_other_weights_by_much(
    model_dir: Path, own_model: Path, tmp_path: Path
):
    row = {"prompt": PROMPT, "token_ids": IDS, "logprobs": logprobs(model_dir, PROMPT, IDS)}
    same = compare(model_dir, [row] * 2, log=tmp_path / "log")
    assert (same.status, same.rows, same.tokens) == ("ok", 2, 10)
    assert same.largest is not None and same.largest < 1e-4
    weights = load_file(own_model / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"][::-1].copy()
    save_file(weights, own_model / "model.safetensors", metadata={"format": "pt"})
    other = compare(own_model, [row], log=tmp_path / "log")
    assert other.median is not None and other.median > 0.1


def test_median_and_99th_percentile_are_of_every_token():
    found = measured([[0.0] * 99, [-1.0]], [[-0.25] * 99, [-3.0]])
    assert (found.status, found.rows, found.tokens) == ("ok", 2, 100)
    assert found.median == 0.25
    assert found.p99 == pytest.approx(float(np.quantile([0.25] * 99 + [2.0], 0.99)))
    assert found.largest == 2.0


def test_what_is_no_number_is_a_status_and_not_a_difference():
    for strange in (math.nan, -math.inf):
        found = measured([[-1.0, -2.0]], [[-1.0, strange]])
        assert (found.status, found.median) == ("not_finite", None)
    assert measured([], []).status == "nothing"


def test_a_model_that_cannot_be_loaded_is_a_status_with_the_reason(own_model: Path, tmp_path: Path):
    (own_model / "config.json").write_text("{}")
    row = {"prompt": PROMPT, "token_ids": IDS, "logprobs": [0.0] * len(IDS)}
    found = compare(own_model, [row], log=tmp_path / "log")
    assert (found.status, found.median) == ("failed", None)
    assert "log" in found.detail
    assert len(IDS) < MOST_TOKENS


def test_a_round_keeps_its_difference_and_stops_where_it_is_too_large(begun: Any, store: Store):
    run = begun(exactness={"engines": ["echo"], "rows": 4})
    stages.draw(run, 1)
    sample(run)
    # The echo engine says that every token was certain, which no model's weights do.
    with pytest.raises(UserError, match="differ from a float32 forward pass") as told:
        stages.check_exactness(run, 1)
    assert "sampling.exactness.max_median" in told.value.next
    (row,) = store.rows("from exactness")
    assert (row["round"], row["engine"], row["status"], row["rows"]) == (1, "echo", "ok", 4)
    assert row["median"] > 1
    (table,) = [t for t in of_run(store, run.run_id).tables if t.name == "exactness"]
    assert table.rows[0]["median"] == row["median"]
    said = [c.said for c in check(store.workspace) if c.check == "exactness"]
    assert said and "echo and a float32 forward pass differ by" in said[0]
    # What is allowed is no part of the recipe's identity: the same run goes on.
    loose = run.recipe.sampling.model_copy(
        update={
            "exactness": run.recipe.sampling.exactness.model_copy(
                update={"max_median": 100.0, "max_p99": 100.0}
            )
        }
    )
    run.recipe = run.recipe.model_copy(update={"sampling": loose})
    assert stages.check_exactness(run, 1)["median"] == row["median"]


def test_engines_that_are_not_named_are_not_compared(begun: Any, store: Store):
    run = begun()
    stages.draw(run, 1)
    sample(run)
    assert stages.check_exactness(run, 1)["status"] == "nothing"

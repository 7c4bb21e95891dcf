"""Reference log-probabilities: once per content, never stale, checked when read."""

from __future__ import annotations

import shutil
import sqlite3

import numpy as np
import pytest

from factory.errors import UserError
from factory.training import reference as module
from factory.training.config import TrainConfig
from factory.training.data import load_rows
from factory.training.files import weights_digest
from factory.training.reference import Item, ReferenceTable, Scorer, reference_logps, token_hash

from .conftest import events, preference_rows  # noqa: TID252 - importlib mode


def stored(job) -> dict[str, float]:
    with sqlite3.connect(job.reference_cache) as db:
        return dict(db.execute("SELECT reference_id, sum_logprob FROM reference_logprobs"))


@pytest.fixture
def forwards(monkeypatch):
    """Counts scored completions."""
    counted: list[int] = []
    real = module.score_items

    def counting(model, items, **kwargs):
        counted.append(len(items))
        return real(model, items, **kwargs)

    monkeypatch.setattr("factory.training.child.score_items", counting)
    return counted


def test_another_learning_rate_output_or_subset_finds_every_value(write, make_job, run, forwards):
    rows = preference_rows(24)
    run(make_job("a", write("d", rows), max_steps=1))
    assert sum(forwards) == 48
    forwards.clear()
    run(make_job("b", write("part", rows[5:17]), max_steps=1, learning_rate=2e-3))
    assert sum(forwards) == 24  # the spot check alone
    assert len(forwards) == 1


def test_overwritten_weights_under_the_same_path_are_scored_again(
    write, make_job, run, forwards, tmp_path, starter
):
    model = tmp_path / "model"
    shutil.copytree(starter, model)
    data = write("d", preference_rows(8))
    trained = run(make_job("a", data, model=model, max_steps=2))
    forwards.clear()
    shutil.copyfile(trained.out_dir / "model.safetensors", model / "model.safetensors")
    job = make_job("b", data, model=model, max_steps=1)
    assert run(job).loss_first == pytest.approx(np.log(2), abs=1e-3)
    assert len(stored(job)) == 32


def test_the_same_weights_under_another_path_are_found(
    write, make_job, run, forwards, tmp_path, starter
):
    data = write("d", preference_rows(8))
    run(make_job("a", data, max_steps=1))
    shutil.copytree(starter, tmp_path / "elsewhere")
    forwards.clear()
    run(make_job("b", data, model=tmp_path / "elsewhere", max_steps=1))
    assert forwards == [16]


def test_every_scoring_knob_is_part_of_the_key():
    prompt, completion = np.array([2, 3], np.int32), np.array([4, 5], np.int32)
    ids = {
        Scorer("w", "float32", "sdpa").reference_id(prompt, completion),
        Scorer("v", "float32", "sdpa").reference_id(prompt, completion),
        Scorer("w", "bfloat16", "sdpa").reference_id(prompt, completion),
        Scorer("w", "float32", "eager").reference_id(prompt, completion),
        Scorer("w", "float32", "sdpa").reference_id(prompt, completion[:1]),
        # The same tokens, but another of them is scored.
        Scorer("w", "float32", "sdpa").reference_id(prompt[:1], np.array([3, 4, 5], np.int32)),
    }
    assert len(ids) == 6


def test_a_stored_value_that_is_wrong_stops_the_run(write, make_job, run):
    data = write("d", preference_rows(8))
    job = make_job("a", data, max_steps=1)
    run(job)
    with sqlite3.connect(job.reference_cache) as db:
        db.execute("UPDATE reference_logprobs SET sum_logprob = sum_logprob + 0.5")
    with pytest.raises(UserError, match=r"off by 0\.5"):
        run(make_job("b", data, max_steps=1, seed=1))


def test_a_killed_scoring_pass_goes_on_and_ends_in_the_same_values(write, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    rows, _ = load_rows(
        write("d", preference_rows(10)), kind="dpo", max_length=48, vocab_size=84, max_drop_share=0
    )
    scorer = Scorer("w", "float32", "sdpa")
    batches: list[tuple[str, ...]] = []

    def score(items):
        batches.append(tuple(item.reference_id for item in items))
        return {item.reference_id: -float(len(item.completion)) for item in items}

    def job(name, on_chunk=lambda done, total: None):
        table = ReferenceTable(tmp_path / name)
        return reference_logps(
            rows, table=table, scorer=scorer, score=score, seed=0, on_chunk=on_chunk
        )

    whole = job("whole.sqlite")
    undisturbed = batches.copy()
    batches.clear()

    def dies(done, total):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job("killed.sqlite", dies)
    first = batches.copy()
    batches.clear()
    assert np.array_equal(job("killed.sqlite"), whole)
    # One spot check of what was there, then exactly the batches that were missing.
    assert first + batches[1:] == undisturbed


def test_a_fixed_anchor_may_differ_from_the_policy(write, make_job, run, starter):
    data = write("d", preference_rows(16))
    trained = run(make_job("a", data, max_steps=3)).out_dir
    job = make_job("b", data, model=trained, max_steps=1, batch_size=16)
    result = run(job.model_copy(update={"reference_dir": starter}))
    assert result.loss_first < np.log(2) - 0.05


def test_a_reference_that_is_not_the_policy_is_found_before_the_first_step(
    write, make_job, run, monkeypatch
):
    real = module.score_items
    monkeypatch.setattr(
        "factory.training.child.score_items",
        lambda *a, **k: {i: v * (1 + j % 2) for j, (i, v) in enumerate(real(*a, **k).items())},
    )
    with pytest.raises(Exception, match=r"DPO loss .*, not ln 2"):
        run(make_job("a", write("d", preference_rows(8)), max_steps=1))


def test_progress_of_the_reference_pass_is_reported(write, make_job, run):
    job = make_job("a", write("d", preference_rows(8)), max_steps=1)
    run(job)
    assert events(job)[0] == {"event": "reference", "done": 16, "total": 16}


def test_lengths_are_part_of_a_token_hash():
    one, two = np.array([1], np.int32), np.array([1, 2], np.int32)
    assert token_hash(two, one) != token_hash(one, np.array([2, 1], np.int32))
    item = Item("x", one, two)
    assert token_hash(item.prompt, item.completion) == token_hash(one, two)


def test_weights_digest_ignores_the_path_and_sees_every_byte(tmp_path, starter):
    shutil.copytree(starter, tmp_path / "copy")
    assert weights_digest(starter) == weights_digest(tmp_path / "copy")
    file = tmp_path / "copy" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert weights_digest(starter) != weights_digest(tmp_path / "copy")
    assert TrainConfig().uses_reference

"""Frozen datasets: exact ids in, counted drops out, nothing cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UserError
from factory.training.data import load_rows, read_manifest, stop_share
from factory.training.plan import pack, plan, steps_for

from .conftest import END, preference_rows, sft_rows  # noqa: TID252 - importlib mode


def load(directory, kind="dpo", **changes):
    settings = {"max_length": 48, "vocab_size": 84, "max_drop_share": 1.0} | changes
    return load_rows(directory, kind=kind, **settings)


def test_stored_ids_are_the_trained_ids_byte_for_byte(write):
    asked = preference_rows(20)
    rows, dropped = load(write("d", asked))
    assert not dropped
    for i, row in enumerate(asked):
        assert rows.ids[i] == row["pair_id"]
        assert rows.prompt[i].tolist() == row["prompt_ids"]
        assert [s[i].tolist() for s in rows.sides] == [row["chosen_ids"], row["rejected_ids"]]


def test_every_row_that_cannot_be_trained_on_is_dropped_with_its_reason(write):
    rows = preference_rows(7)
    rows[0]["chosen_ids"] = []
    rows[1]["rejected_ids"] = rows[1]["chosen_ids"]
    rows[2]["chosen_ids"] = [10] * 60
    rows[3]["rejected_ids"] = [84, END]
    rows[4]["rejected_ids"] = [-1, END]
    rows[5]["prompt_ids"] = None
    kept, dropped = load(write("d", rows))
    assert {d.item_id: d.reason for d in dropped} == {
        "pair-0": "empty_side",
        "pair-1": "identical_sides",
        "pair-2": "too_long",
        "pair-3": "bad_ids",
        "pair-4": "bad_ids",
        "pair-5": "empty_prompt",
    }
    assert kept.ids == ["pair-6"]
    assert kept.sides[0][0].tolist() == rows[6]["chosen_ids"]


def test_a_long_shared_prefix_is_dropped_not_cut_into_identical_sides(write):
    rows = preference_rows(3)
    rows[0] |= {"chosen_ids": [9] * 100 + [10, END], "rejected_ids": [9] * 100 + [11, END]}
    kept, dropped = load(write("d", rows))
    assert [(d.item_id, d.reason) for d in dropped] == [("pair-0", "too_long")]
    assert len(kept) == 2


def test_too_many_drops_stop_the_run_and_name_the_reasons(write):
    rows = preference_rows(10)
    for row in rows[:2]:
        row["chosen_ids"] = [10] * 60
    with pytest.raises(UserError, match=r"2 of 10 rows would be dropped \{'too_long': 2\}"):
        load(write("d", rows), max_drop_share=0.1)


def test_a_dataset_with_nothing_left_is_a_clear_error(write):
    rows = [row | {"chosen_ids": []} for row in preference_rows(3)]
    with pytest.raises(UserError, match=r"no row of .* can be trained on"):
        load(write("d", rows))


def test_null_weight_and_margin_mean_one_and_zero(write):
    rows = preference_rows(2)
    rows[0] |= {"weight": None, "margin": None}
    kept, _ = load(write("d", rows))
    assert kept.weight.tolist() == [1.0, 1.0]
    assert kept.margin.tolist() == [0.0, 1.0]


def test_the_share_of_completions_that_stop_is_measured_on_the_last_token(write):
    rows = sft_rows(4)
    rows[0]["completion_ids"] = [END, 9]
    kept, _ = load(write("d", rows), kind="sft")
    assert stop_share(kept, stop_ids=[END]) == 0.75


def test_a_changed_token_file_is_refused(write):
    directory = write("d", preference_rows(3))
    with (directory / "tokens.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="is not the manifest's file"):
        read_manifest(directory, kind="dpo")


def test_a_dataset_of_the_other_kind_is_refused(write):
    with pytest.raises(UserError, match="dpo training reads a preference dataset"):
        read_manifest(write("d", sft_rows(3)), kind="dpo")


def test_a_directory_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no manifest\.json"):
        read_manifest(tmp_path, kind="sft")


def test_a_manifest_keeps_its_version(write):
    directory = write("d", sft_rows(3))
    said = json.loads((directory / "manifest.json").read_text())
    assert read_manifest(directory, kind="sft").version_id == said["version_id"]


lengths_of = st.lists(st.integers(1, 30), min_size=1, max_size=60)


@given(lengths_of, st.integers(1, 9), st.integers(0, 5))
def test_a_plan_visits_every_unit_equally_often_in_full_batches(lengths, batch, seed):
    array = np.array(lengths)
    steps = steps_for(len(lengths), batch_size=batch, epochs=2, max_steps=None)
    order = plan(array, batch_size=batch, steps=steps, seed=seed)
    assert order.shape == (steps, batch)
    assert np.array_equal(order, plan(array, batch_size=batch, steps=steps, seed=seed))
    seen = np.bincount(order.reshape(-1), minlength=len(lengths))
    assert seen.min() >= 2
    assert seen.max() - seen.min() <= batch


def test_another_seed_gives_another_order():
    array = np.arange(50) + 1
    first, second = (plan(array, batch_size=5, steps=10, seed=s) for s in (0, 1))
    assert not np.array_equal(first, second)


def test_batches_hold_rows_of_similar_length():
    array = np.random.default_rng(0).integers(1, 1000, 640)
    spread = np.ptp(array[plan(array, batch_size=20, steps=32, seed=0)], axis=1).mean()
    assert spread < 100


@given(lengths_of, st.integers(0, 3))
def test_packing_places_every_row_once_and_never_overflows(lengths, seed):
    groups = pack(np.array(lengths), capacity=32, seed=seed)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in group) <= 32 for group in groups)

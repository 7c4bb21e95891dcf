"""What an export promises: the same rows in the reader's shape, whole or not at all."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml

from factory.errors import UserError
from factory.exporting import export, formats, freeze
from factory.pairing import Scope, build_pairs, build_sft


def version_of(world, kind="preference"):
    build, strategy = {
        "preference": (build_pairs, "best_vs_worst"),
        "sft": (build_sft, "best_of_n"),
    }[kind]
    report = build(world.store, strategy=strategy, scope=Scope(), run_id="run", round=1)
    return freeze(
        world.store, kind=kind, strategy_id=report.strategy_id, name="my *set*", recipe_id="r",
        run_id="run", round=1,
    )  # fmt: skip


def fill(world, prompts=12):
    for i in range(prompts):
        prompt = world.prompt(f"question {i}")
        world.completion(prompt, f"right {i}", 1.0)
        world.completion(prompt, f"wrong {i}", 0.0)
    world.add("models", model_id=world.rows["completions"][0]["model_id"], name="policy|1")
    tied = world.prompt("tied")
    world.completion(tied, "a", 1.0)
    world.completion(tied, "b", 1.0)
    return world.flush()


def test_hf_opens_with_datasets_from_disk_and_by_name(world, tmp_path):
    import datasets

    fill(world)
    done = export(world.store, version_of(world), format="hf", out=tmp_path / "out", test_share=0.3)
    on_disk = datasets.load_from_disk(str(tmp_path / "out"))
    assert {s: len(d) for s, d in on_disk.items()} == done.rows
    assert sum(done.rows.values()) == 12 and done.rows["test"] > 0
    row = on_disk["train"][0]
    n = row["prompt"][0]["content"].removeprefix("question ")
    assert row["prompt"] == [{"role": "user", "content": f"question {n}"}]
    assert row["chosen"] == [{"role": "assistant", "content": f"right {n}"}]
    assert row["rejected"] == [{"role": "assistant", "content": f"wrong {n}"}]
    assert (row["score_chosen"], row["margin"], row["chosen_model"]) == (1.0, 1.0, "policy|1")
    by_name = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert by_name["test"].to_list() == on_disk["test"].to_list()


def test_the_card_has_numbers_licences_models_drops_and_lineage(world, tmp_path):
    fill(world)
    version = version_of(world)
    export(world.store, version, format="hf", out=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "mit"
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": ["data/train.parquet"]}]
    for said in (
        "# my \\*set\\*", "| pairs | 12 |", "| MIT | test | 12 | 1.0 |", "policy\\|1",
        "| pair | tie | 1 |", version.version_id, "best_finished", "| recipe id | r |",
    ):  # fmt: skip
        assert said in text, said


def test_non_commercial_prompts_are_said_on_the_card(world, tmp_path):
    prompt = world.prompt("q")
    world.rows["prompts"][0]["license"] = "CC-BY-NC-4.0"
    world.completion(prompt, "a", 1.0)
    world.completion(prompt, "b", 0.0)
    world.flush()
    export(world.store, version_of(world), format="jsonl", out=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "**Not for commercial use:** some prompts are CC-BY-NC-4.0." in text


def test_sft_examples_are_prompt_and_completion(world, tmp_path):
    import datasets

    fill(world)
    export(world.store, version_of(world, "sft"), format="hf", out=tmp_path / "out")
    rows = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    assert len(rows) == 13
    assert {r["completion"][0]["role"] for r in rows} == {"assistant"}
    assert all(r["prompt"][-1]["role"] == "user" for r in rows)


def test_ultrafeedback_has_its_splits_and_whole_conversations(world, tmp_path):
    fill(world)
    done = export(
        world.store, version_of(world), format="ultrafeedback", out=tmp_path / "out", test_share=0.3
    )
    assert set(done.files) == {"train_prefs", "test_prefs"}
    row = pq.read_table(tmp_path / "out" / "data" / "train_prefs.parquet").to_pylist()[0]
    assert row["prompt"].startswith("question ")
    assert [m["role"] for m in row["chosen"]] == ["user", "assistant"]
    assert row["messages"] == row["chosen"] != row["rejected"]
    assert (row["score_chosen"], row["score_rejected"]) == (1.0, 0.0)


@pytest.mark.parametrize("shape", ["hf", "jsonl", "ultrafeedback"])
@pytest.mark.parametrize("kind", ["preference", "sft"])
def test_hostile_text_arrives_in_every_format(world, tmp_path, shape, kind):
    hostile = 'a\x00b \u2028 </s><|im_end|> "quote" \u202e | \\'
    prompt = world.prompt("p")
    # A prompt's messages are JSON, where a lone surrogate can hide as an escape.
    world.rows["prompts"][0]["messages"] = json.dumps([{"role": "user", "content": "x\ud800y"}])
    world.completion(prompt, hostile, 1.0)
    world.completion(prompt, "", 0.0)
    world.flush()
    done = export(world.store, version_of(world, kind), format=shape, out=tmp_path / "out")
    [file] = next(iter(done.files.values()))
    path = tmp_path / "out" / file
    if shape == "jsonl":
        [row] = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    else:
        [row] = pq.read_table(path).to_pylist()
    column = {"hf": "chosen", "jsonl": "chosen", "ultrafeedback": "chosen"}[shape]
    turns = row[
        column if kind == "preference" else "messages" if "messages" in row else "completion"
    ]
    assert turns[-1] == {"role": "assistant", "content": hostile}
    shown = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][0]["content"]
    assert shown == "x?y"


def test_an_export_over_itself_is_renewed_and_over_anything_else_refused(world, tmp_path):
    fill(world)
    version, out = version_of(world), tmp_path / "out"
    export(world.store, version, format="hf", out=out)
    export(world.store, version.version_id[:10], format="jsonl", out=out)
    assert (out / "train.jsonl").exists() and not (out / "data").exists()
    with pytest.raises(UserError, match=f"is an export of {version.version_id}"):
        export(world.store, version_of(world, "sft"), format="jsonl", out=out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not empty"):
        export(world.store, version, format="hf", out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_an_export_that_fails_leaves_nothing(world, tmp_path, monkeypatch):
    from factory.exporting.formats import jsonl

    fill(world)
    version = version_of(world)

    def half(content):
        (content.out / "train.jsonl").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(jsonl, "write", half)
    with pytest.raises(OSError, match="disk full"):
        export(world.store, version, format="jsonl", out=tmp_path / "elsewhere" / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_wrong_formats_and_shares_are_named(world, tmp_path):
    fill(world)
    version = version_of(world)
    with pytest.raises(UserError, match="did you mean 'jsonl'"):
        export(world.store, version, format="json", out=tmp_path / "out")
    with pytest.raises(UserError, match="not in"):
        export(world.store, version, format="hf", out=tmp_path / "out", test_share=1.0)
    assert set(formats()) >= {"hf", "jsonl", "ultrafeedback"}


def test_batches_of_any_size_write_the_same_file(world, tmp_path):
    fill(world)
    version = version_of(world)
    for n in (1, 1000):
        export(world.store, version, format="jsonl", out=tmp_path / str(n), rows_at_once=n)
    assert (tmp_path / "1" / "train.jsonl").read_bytes() == (
        tmp_path / "1000" / "train.jsonl"
    ).read_bytes()

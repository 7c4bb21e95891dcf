"""Whole jobs: invariants, resume, refusals, and the sealed result."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from factory.errors import Stopped, UserError
from factory.training.child import Reporter, Stop
from factory.training.files import manifest_of, weights_digest
from factory.training.plan import pack

from .conftest import events, preference_rows, sft_rows, weights  # noqa: TID252 - importlib mode


def same(one, two) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def farthest(one, two) -> float:
    a, b = weights(one), weights(two)
    return max((a[k] - b[k]).abs().max().item() for k in a)


def test_dpo_starts_at_ln_2_and_learns_which_side_is_chosen(write, make_job, run):
    job = make_job("m", write("d", preference_rows(40)), epochs=3)
    result = run(job)
    assert result.steps == 15
    assert result.loss_first == pytest.approx(math.log(2), abs=1e-3)
    assert result.loss_last < 0.3
    assert result.metrics["rewards_per_token/accuracy"] == 1.0
    assert result.n_rows == 40
    assert manifest_of(result.out_dir)["result"]["steps"] == 15
    model = AutoModelForCausalLM.from_pretrained(result.out_dir)
    assert model.dtype == torch.float32


def test_tokenizer_and_template_travel_as_the_same_bytes(write, make_job, run, starter):
    result = run(make_job("m", write("d", sft_rows(16)), kind="sft", max_steps=1))
    carried = [p.name for p in starter.iterdir() if p.name.startswith(("tokenizer", "chat"))]
    assert carried
    for name in [*carried, "generation_config.json"]:
        assert (result.out_dir / name).read_bytes() == (starter / name).read_bytes()
    assert not list(result.out_dir.glob("*.bin"))


@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo", "hinge"])
def test_every_loss_trains(write, make_job, run, loss):
    job = make_job("m", write("d", preference_rows(16)), loss=loss, max_steps=6, log_steps=2)
    result = run(job)
    assert result.loss_last < result.loss_first


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_micro_batches_and_accumulation_do_not_change_the_step(write, make_job, run, kind):
    rows = preference_rows(24) if kind == "dpo" else sft_rows(24)
    for i, row in enumerate(rows):
        row["weight"] = 0.5 + i % 3
    data = write("d", rows)
    extra = {"nll_coefficient": 0.5} if kind == "dpo" else {}
    results = [
        run(make_job(f"m{micro}", data, kind=kind, micro_batch_size=micro, max_steps=3, **extra))
        for micro in (8, 2)
    ]
    assert results[0].loss_first == pytest.approx(results[1].loss_first, abs=1e-6)
    assert results[0].loss_last == pytest.approx(results[1].loss_last, abs=1e-4)
    whole, parts = (r.metrics for r in results)
    for name in whole.keys() - {"grad_norm", "learning_rate", "epoch"}:
        assert whole[name] == pytest.approx(parts[name], abs=2e-3), name


def test_packing_changes_the_layout_of_a_step_not_its_loss(write, make_job, run):
    rows = sft_rows(32)
    data = write("d", rows)
    lengths = np.array([len(r["prompt_ids"]) + len(r["completion_ids"]) for r in rows])
    packs = len(pack(lengths, capacity=48, seed=0))
    assert packs < 32
    sizes = {"a": {"batch_size": 32}, "b": {"packing": True, "batch_size": packs}}
    alone, packed = (
        run(make_job(name, data, kind="sft", micro_batch_size=1, max_steps=3, **size))
        for name, size in sizes.items()
    )
    assert packed.n_rows == 32
    assert packed.loss_first == pytest.approx(alone.loss_first, abs=1e-5)
    assert packed.loss_last == pytest.approx(alone.loss_last, abs=1e-3)


def test_weights_of_zero_teach_nothing(write, make_job, run, starter):
    rows = [row | {"weight": 0.0} for row in preference_rows(16)]
    result = run(make_job("m", write("d", rows), max_steps=2))
    assert farthest(result.out_dir, starter) == 0.0


def test_a_finished_job_returns_its_manifest_without_training(write, make_job, run):
    job = make_job("m", write("d", preference_rows(16)), max_steps=2)
    first = run(job)
    before = events(job)
    assert run(job) == first
    assert events(job) == before


def test_an_output_directory_of_another_job_is_never_written_over(write, make_job, run):
    data = write("d", preference_rows(16))
    first = run(make_job("m", data, max_steps=2))
    digest = weights_digest(first.out_dir)
    with pytest.raises(UserError, match="exists and is not this job's checkpoint"):
        run(make_job("m", data, max_steps=3))
    assert weights_digest(first.out_dir) == digest


@pytest.fixture
def interrupted(write, make_job, run, monkeypatch):
    """A DPO job stopped after its fifth step of eight, with checkpoints every two."""
    data = write("d", preference_rows(32))
    job = make_job("m", data, epochs=2, save_steps=2)
    whole = run(make_job("whole", data, epochs=2, save_steps=100))

    def at_step_five(self):
        steps = [e for e in events(job) if e["event"] == "step"]
        return len(steps) == 4  # the fifth step's line is written after its end

    with monkeypatch.context() as patch:
        patch.setattr(Stop, "__call__", at_step_five)
        with pytest.raises(Stopped):
            run(job)
    return job, whole


def newest(job):
    return sorted((job.work_dir / "checkpoints").glob("checkpoint-*"))[-1]


def test_a_stopped_job_saves_and_its_resume_ends_in_the_same_bits(interrupted, run):
    job, whole = interrupted
    assert newest(job).name == "checkpoint-000000005"
    result = run(job)
    assert events(job)[-4]["event"] == "resume"
    assert result.steps == 8
    assert same(result.out_dir, whole.out_dir)
    assert result.loss_first == whole.loss_first


@pytest.mark.parametrize("victim", ["model.safetensors", "optimizer.pt", "rng_state.pth"])
def test_a_torn_checkpoint_falls_back_to_the_previous_whole_one(interrupted, run, victim):
    job, whole = interrupted
    file = newest(job) / victim
    file.write_bytes(file.read_bytes()[:-7])
    result = run(job)
    assert [e["event"] for e in events(job)].count("torn_checkpoint") == 1
    resumed = next(e for e in events(job) if e["event"] == "resume")
    assert resumed["path"].endswith("checkpoint-000000004")
    assert same(result.out_dir, whole.out_dir)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"learning_rate": 2e-3}, "learning_rate"), ({"beta": 1.0}, "beta"), ({"seed": 1}, "seed")],
)
def test_resume_with_another_configuration_is_refused(interrupted, run, change, named):
    job, _ = interrupted
    config = job.config.model_copy(update=change)
    with pytest.raises(UserError, match=rf"other settings: .*{named} \("):
        run(job.model_copy(update={"config": config}))


def test_resume_with_other_data_is_refused(interrupted, run, write):
    job, _ = interrupted
    reversed_rows = write("other", preference_rows(32)[::-1])
    with pytest.raises(UserError, match=r"other settings: dataset \("):
        run(job.model_copy(update={"dataset_dir": reversed_rows}))


def test_resume_with_other_weights_under_the_same_path_is_refused(interrupted, run, tmp_path):
    job, whole = interrupted
    copy = tmp_path / "copy"
    shutil.copytree(job.model_dir, copy)
    moved = job.model_copy(update={"model_dir": copy})
    shutil.copyfile(whole.out_dir / "model.safetensors", copy / "model.safetensors")
    with pytest.raises(UserError, match=r"other settings: model \("):
        run(moved)


def test_saving_more_often_is_no_drift(interrupted, run):
    job, whole = interrupted
    config = job.config.model_copy(update={"save_steps": 1, "keep_checkpoints": 1})
    result = run(job.model_copy(update={"config": config}))
    assert same(result.out_dir, whole.out_dir)


def test_a_finished_job_keeps_no_checkpoint_and_a_running_one_the_last_two(interrupted, run):
    job, _ = interrupted
    kept = sorted(p.name for p in (job.work_dir / "checkpoints").iterdir())
    assert kept == ["checkpoint-000000004", "checkpoint-000000005"]
    run(job)
    assert not (job.work_dir / "checkpoints").exists()


def test_half_a_progress_line_of_a_killed_child_is_ended(tmp_path):
    path = tmp_path / "progress.jsonl"
    path.write_text('{"event": "st')
    Reporter(path, silent=False)({"event": "resume"})
    assert path.read_text().splitlines()[1] == '{"event": "resume"}'


def test_completions_that_never_stop_are_refused(write, make_job, run):
    rows = preference_rows(20)
    rows[0]["chosen_ids"] = rows[0]["chosen_ids"][:-1]
    with pytest.raises(UserError, match=r"only 95\.0% of the completions"):
        run(make_job("m", write("d", rows)))


def test_drops_are_counted_and_listed(write, make_job, run):
    rows = preference_rows(40)
    rows[7]["chosen_ids"] = [10] * 60
    result = run(make_job("m", write("d", rows), max_steps=1))
    assert result.dropped == {"too_long": 1}
    assert [json.loads(x) for x in result.drops_file.read_text().splitlines()] == [
        {"item_id": "pair-7", "reason": "too_long"}
    ]


def test_a_dataset_tokenised_for_another_model_is_refused(write, make_job, run):
    data = write("d", preference_rows(16))
    said = json.loads((data / "manifest.json").read_text())
    (data / "manifest.json").write_text(json.dumps(said | {"template_digest": "a"}))
    job = make_job("m", data).model_copy(update={"template_digest": "b"})
    with pytest.raises(UserError, match="tokenised with another template"):
        run(job)


@pytest.mark.parametrize("merge", [True, False])
def test_low_rank_training_saves_merged_weights_or_the_adapter(
    write, make_job, run, starter, merge
):
    pytest.importorskip("peft")
    job = make_job(
        "m", write("d", preference_rows(16)), max_steps=4, learning_rate=1e-2,
        lora={"rank": 4, "alpha": 8, "merge": merge},
    )  # fmt: skip
    result = run(job)
    assert result.loss_first == pytest.approx(math.log(2), abs=1e-3)
    assert result.loss_last < result.loss_first
    if merge:
        assert 0 < farthest(result.out_dir, starter) < 1
    else:
        assert (result.out_dir / "adapter_model.safetensors").is_file()
        assert not (result.out_dir / "model.safetensors").exists()


def test_gradient_checkpointing_changes_memory_not_losses(write, make_job, run):
    data = write("d", preference_rows(16))
    plain = run(make_job("a", data, max_steps=2))
    saving = run(make_job("b", data, max_steps=2, gradient_checkpointing=True))
    assert saving.loss_last == pytest.approx(plain.loss_last, abs=1e-6)


def test_bfloat16_keeps_float32_master_weights_and_starts_at_ln_2(write, make_job, run):
    result = run(make_job("m", write("d", preference_rows(16)), dtype="bfloat16", max_steps=3))
    assert result.loss_first == pytest.approx(math.log(2), abs=5e-3)
    assert weights(result.out_dir)["model.embed_tokens.weight"].dtype == torch.float32

"""TRL as the oracle: equal losses at every step, from the same ids, weights and order."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from .conftest import END, events, preference_rows, sft_rows  # noqa: TID252 - importlib mode

trl = pytest.importorskip("trl")

OURS_TO_TRL = {
    "dpo": (["sigmoid"], {}),
    "dpo_norm": (["sigmoid_norm"], {}),
    "ipo": (["ipo"], {}),
    "hinge": (["hinge"], {}),
    "dpo_norm+sft": (["sigmoid_norm", "sft"], {"nll_coefficient": 0.2}),
    "dpo+robust": (["robust"], {"label_smoothing": 0.1, "robust": True}),
}
STEPS, BATCH = 6, 8


def arguments(tmp_path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trl"), "per_device_train_batch_size": BATCH,
        "max_steps": STEPS, "learning_rate": 1e-3, "lr_scheduler_type": "linear",
        "warmup_steps": 0.1, "use_cpu": True, "bf16": False, "report_to": [],
        "logging_steps": 1, "save_strategy": "no", "gradient_checkpointing": False,
        "disable_tqdm": True, "seed": 0, "train_sampling_strategy": "sequential",
    }  # fmt: skip


def in_our_order(rows, *, key: str, side: str):
    """The rows as our plan visits them, so that TRL reads them front to back."""
    import numpy as np

    from factory.training.plan import plan

    lengths = np.array([len(r["prompt_ids"]) + max(len(r[s]) for s in side.split()) for r in rows])
    return [rows[i] for i in plan(lengths, batch_size=BATCH, steps=STEPS, seed=0).reshape(-1)]


@pytest.fixture
def numbers(starter, tmp_path):
    """The starter with a tokenizer whose text is the ids themselves, without a template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({f"t{i:02}": i for i in range(84)}, unk_token="t01"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=f"t{END:02}", pad_token="t00", unk_token="t01"
    )


def text(ids) -> str:
    # The blank in front keeps the border between prompt and completion a token border.
    return "".join(f" t{i:02}" for i in ids)


def trl_losses(trainer) -> list[float]:
    from transformers import PrinterCallback

    trainer.pop_callback(PrinterCallback)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


@pytest.mark.parametrize("name", OURS_TO_TRL)
def test_every_dpo_step_has_trls_loss(name, write, make_job, run, starter, numbers, tmp_path):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    loss_types, extra = OURS_TO_TRL[name]
    beta = 2.0 if "norm" in name else 0.1
    rows = preference_rows(STEPS * BATCH)
    job = make_job(
        "m", write("d", rows), loss=name.split("+")[0], beta=beta, max_steps=STEPS,
        batch_size=BATCH, **extra,
    )  # fmt: skip
    run(job)
    ours = [e["loss"] for e in events(job) if e["event"] == "step"]
    ordered = in_our_order(rows, key="pair_id", side="chosen_ids rejected_ids")
    data = Dataset.from_list(
        [
            {
                "prompt": text(r["prompt_ids"]),
                "chosen": text(r["chosen_ids"][:-1]),
                "rejected": text(r["rejected_ids"][:-1]),
            }
            for r in ordered
        ]
    )
    weights = [1.0, 0.2][: len(loss_types)]
    smoothing = {"label_smoothing": 0.1} if "robust" in name else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = trl.DPOConfig(
            **arguments(tmp_path), loss_type=loss_types, loss_weights=weights, beta=beta,
            max_length=None, precompute_ref_log_probs=True, **smoothing,
        )  # fmt: skip
        trainer = trl.DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(starter), args=config, train_dataset=data,
            processing_class=numbers,
        )  # fmt: skip
    assert trainer.train_dataset[0]["chosen_ids"] == ordered[0]["chosen_ids"]
    assert ours == pytest.approx(trl_losses(trainer), abs=1e-5)


def test_every_sft_step_has_trls_loss(write, make_job, run, starter, numbers, tmp_path):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    rows = sft_rows(STEPS * BATCH)
    job = make_job("m", write("d", rows), kind="sft", max_steps=STEPS, batch_size=BATCH)
    run(job)
    ours = [e["loss"] for e in events(job) if e["event"] == "step"]
    ordered = in_our_order(rows, key="sft_id", side="completion_ids")
    data = Dataset.from_list(
        [
            {
                "input_ids": r["prompt_ids"] + r["completion_ids"],
                "labels": [-100] * len(r["prompt_ids"]) + r["completion_ids"],
            }
            for r in ordered
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trl.SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(starter),
            args=trl.SFTConfig(**arguments(tmp_path), max_length=None, shuffle_dataset=False),
            train_dataset=data,
            processing_class=numbers,
        )
    assert ours == pytest.approx(trl_losses(trainer), abs=1e-5)
    assert torch.isfinite(torch.tensor(ours)).all()

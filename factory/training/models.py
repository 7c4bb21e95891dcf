"""Loading and saving the policy: local, safetensors only, no code from the model's directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from factory.errors import MissingExtra, UserError
from factory.training.config import LoraSpec, TrainConfig
from factory.training.files import files_below
from factory.training.logprobs import install, without_dropout

KEEP = (
    "tokenizer", "special_tokens_map.json", "added_tokens.json", "vocab.", "merges.txt",
    "chat_template", "generation_config.json", "preprocessor_config.json", "spiece.model",
)  # fmt: skip
"""Files that are carried over byte for byte, so that tokenizer and template keep their digests."""


def load_policy(model_dir: Path, *, config: TrainConfig, frozen_dropout: bool) -> PreTrainedModel:
    """A causal LM with float32 weights that answers `completion_mask=` (see `logprobs.install`).

    Raises:
        UserError: when the directory holds no loadable safetensors model.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(model_dir), dtype=torch.float32, attn_implementation=config.attention,
            trust_remote_code=False, use_safetensors=True, local_files_only=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load a model from {model_dir}: {str(error).splitlines()[0]}",
            next="prefactory doctor",
        ) from error
    if frozen_dropout:
        without_dropout(model)
    install(model, chunk=config.head_chunk)
    return model


def stop_ids_of(model: PreTrainedModel) -> list[int]:
    """Every id that ends a completion, by the model's generation and architecture configuration."""
    found: set[int] = set()
    for config in (model.generation_config, model.config):
        ids = getattr(config, "eos_token_id", None)
        found.update(ids if isinstance(ids, list) else [ids] if ids is not None else [])
    return sorted(found)


def adapted(model: PreTrainedModel, *, lora: LoraSpec | None) -> Any:
    """The model itself, or wrapped in fresh low-rank adapters that start as the identity.

    Raises:
        MissingExtra: when peft is not installed.
    """
    if lora is None:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtra(
            "low-rank training needs peft", next="pip install 'prefactory[lora]'"
        ) from error
    spec = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
        target_modules=lora.targets, task_type="CAUSAL_LM",
    )  # fmt: skip
    model.enable_input_require_grads()
    return get_peft_model(model, spec)


def save_policy(trainer: Any, staged: Path, *, source: Path, config: TrainConfig) -> None:
    """Write trained weights in the Hugging Face layout; tokenizer files are carried as bytes."""
    if config.lora and config.lora.merge:
        model = trainer.accelerator.unwrap_model(trainer.model)
        if trainer.args.should_save:
            model.merge_and_unload().save_pretrained(staged)
    else:
        trainer.save_model(str(staged))
    if not trainer.args.should_save:
        return
    (staged / "training_args.bin").unlink(missing_ok=True)  # a pickle: nobody should load it
    for path in files_below(source):
        if path.parent == source and path.name.startswith(KEEP):
            shutil.copyfile(path, staged / path.name)

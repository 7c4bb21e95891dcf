"""A starter model from nothing: a small random Llama and a character tokenizer.

No checkpoint is shipped with the factory. A seed and a few numbers give the same weights, so that
the quickstart's whole history can be made again.
"""

from __future__ import annotations

import shutil
import string
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from factory.errors import UserError
from factory.rows import content_id
from factory.training.files import manifest_of, seal

PAD, UNK, BOS, END = "<|pad|>", "<|unk|>", "<|begin|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")

TEMPLATE = (
    "{{ '<|begin|>' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% elif message['role'] == 'system' %}{{ '<|system|>' + message['content'] + '<|end|>' }}"
    "{% else %}{{ '<|user|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""One BOS, one stop token per turn and nothing after it, so a render ends as a sample does."""


class StarterSpec(BaseModel):
    """The architecture of a starter; the defaults have 0.65 million parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alphabet: str = string.ascii_letters + string.digits + " .,:;!?'\"()-_/\n"
    hidden_size: int = Field(default=128, ge=8)
    intermediate_size: int = Field(default=384, ge=8)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    context: int = Field(default=256, ge=16)
    tie_embeddings: bool = True
    initializer_range: float | None = Field(default=None, gt=0)
    """Null is hidden_size ** -0.5: with 0.02 a narrow model learns to copy much later."""


def make_starter(out_dir: Path, *, spec: StarterSpec, seed: int) -> Path:
    """Write a random model and its tokenizer to `out_dir`, or find the very same one there.

    Raises:
        UserError: when `out_dir` holds something else.
    """
    identity = content_id("starter", [spec.model_dump(mode="json"), seed])
    if out_dir.exists():
        said = manifest_of(out_dir)
        if said is None or said.get("starter") != identity:
            raise UserError(f"{out_dir} exists and is not this starter", next=f"mv {out_dir} aside")
        return out_dir
    staged = out_dir.with_name(f".making-{out_dir.name}")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    _write_tokenizer(staged, spec=spec)
    _write_model(staged, spec=spec, seed=seed)
    seal(staged, out_dir, facts={"starter": identity, "seed": seed, "spec": spec.model_dump()})
    return out_dir


def _special(spec: StarterSpec) -> list[str]:
    return [PAD, UNK, BOS, END, *ROLES]


def _write_tokenizer(directory: Path, *, spec: StarterSpec) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    special = _special(spec)
    vocab = {token: i for i, token in enumerate([*special, *dict.fromkeys(spec.alphabet)])}
    # Byte-pair encoding without a single merge is a character tokenizer that every engine can load.
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=UNK))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=END, pad_token=PAD, unk_token=UNK,
        additional_special_tokens=list(ROLES), model_max_length=spec.context,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.chat_template = TEMPLATE
    fast.save_pretrained(str(directory))


def _write_model(directory: Path, *, spec: StarterSpec, seed: int) -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for one small file, in the middle of the run's own
    special = _special(spec)
    pad, bos, end = special.index(PAD), special.index(BOS), special.index(END)
    config = LlamaConfig(
        vocab_size=len(special) + len(dict.fromkeys(spec.alphabet)),
        hidden_size=spec.hidden_size, intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.layers, num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads, max_position_embeddings=spec.context,
        tie_word_embeddings=spec.tie_embeddings, pad_token_id=pad, bos_token_id=bos,
        eos_token_id=end,
        initializer_range=spec.initializer_range or spec.hidden_size**-0.5,
    )  # fmt: skip
    # The caller's random state is not ours to move.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(pad_token_id=pad, bos_token_id=bos, eos_token_id=end)
    model.save_pretrained(str(directory))

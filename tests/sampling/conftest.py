"""Model directories the tests make: a tiny random Llama whose tokenizer wants BOS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from factory.rows import Prompt, SamplingParams
from factory.store import Store, open_store

BOS, EOS, PAD, USER, ASSISTANT, SYSTEM, END = range(7)
SPECIAL = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# vLLM's attention on a CPU knows heads of 32 and up.
HIDDEN, LAYERS, HEADS, VOCAB, CONTEXT = 64, 2, 2, 300, 128


def write_tokenizer(directory: Path, *, template: str | None = TEMPLATE) -> None:
    """A byte-level BPE whose post-processor puts BOS in front, as Llama's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["say hello three times and then stop please"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BOS)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (directory / "chat_template.jinja").write_text(template)


def weights(seed: int) -> dict[str, np.ndarray]:
    """Random Llama weights under their Hugging Face names."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.2, shape).astype(np.float32)

    found = {
        "model.embed_tokens.weight": matrix(VOCAB, HIDDEN),
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": matrix(VOCAB, HIDDEN),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            found[f"{at}self_attn.{name}.weight"] = matrix(HIDDEN, HIDDEN)
        found[f"{at}mlp.gate_proj.weight"] = matrix(2 * HIDDEN, HIDDEN)
        found[f"{at}mlp.up_proj.weight"] = matrix(2 * HIDDEN, HIDDEN)
        found[f"{at}mlp.down_proj.weight"] = matrix(HIDDEN, 2 * HIDDEN)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{at}{name}.weight"] = np.ones(HIDDEN, np.float32)
    return found


def write_model(directory: Path, *, seed: int = 0, template: str | None = TEMPLATE) -> Path:
    """A whole model directory; the same seed gives the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "dtype": "float32",
    }
    (directory / "config.json").write_text(json.dumps(config))
    generation = {"bos_token_id": BOS, "eos_token_id": [EOS, END], "pad_token_id": PAD}
    (directory / "generation_config.json").write_text(json.dumps(generation))
    save_file(weights(seed), directory / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(directory, template=template)
    return directory


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model nobody changes."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def own_model(model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may change."""
    return Path(shutil.copytree(model_dir, tmp_path / "model"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty workspace."""
    return open_store(tmp_path / "workspace", create=True)


@pytest.fixture
def params() -> SamplingParams:
    """Short samples."""
    return SamplingParams(max_tokens=8)


@pytest.fixture
def add_prompts(store: Store) -> Callable[..., list[str]]:
    """Put user prompts into the store; returns their ids."""

    def add(*texts: str, system: str | None = None) -> list[str]:
        from factory.rows import bucket_of

        head = [{"role": "system", "content": system}] if system else []
        prompts = [
            Prompt(messages=[*head, {"role": "user", "content": t}], pool="test") for t in texts
        ]
        rows = [
            {
                "prompt_id": p.prompt_id,
                "pool": p.pool,
                "messages": json.dumps(list(p.messages)),
                "split": "train",
                "bucket": bucket_of(p.prompt_id),
            }
            for p in prompts
        ]
        store.append("prompts", rows, run_id="test")
        return [p.prompt_id for p in prompts]

    return add


@pytest.fixture(scope="session", autouse=True)
def engines_end() -> Iterator[None]:
    """No engine process outlives the tests."""
    yield
    from factory.sampling.engines.process import close_servers

    close_servers()

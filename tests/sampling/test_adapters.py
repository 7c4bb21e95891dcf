"""An adapter on top of a model is a model of its own: its answers and its id are its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from factory.errors import UserError
from factory.recipe import Sampling
from factory.rows import SamplingParams
from factory.sampling.base import SampleRequest, open_sampler
from factory.sampling.identity import identify
from factory.sampling.verb import plan
from factory.stages import models
from factory.stages.crew import Crew
from factory.store import Store
from tests.sampling.conftest import ASSISTANT, BOS, END, HIDDEN, LAYERS, USER

RANK = 4
GREEDY = SamplingParams(max_tokens=12, temperature=0)


@pytest.fixture(scope="module")
def adapter(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA over every attention projection, large enough to change what is said."""
    directory = tmp_path_factory.mktemp("adapter") / "lora"
    directory.mkdir()
    rng = np.random.default_rng(3)
    names = ["q_proj", "k_proj", "v_proj", "o_proj"]
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.{name}.lora_{side}.weight": rng.normal(
            0, 0.5, (RANK, HIDDEN) if side == "A" else (HIDDEN, RANK)
        ).astype(np.float32)
        for layer in range(LAYERS) for name in names for side in "AB"
    }  # fmt: skip
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 8,
        "lora_dropout": 0.0, "bias": "none", "target_modules": names,
        "base_model_name_or_path": str(model_dir), "inference_mode": True,
    }  # fmt: skip
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory


def asked() -> list[SampleRequest]:
    return [
        SampleRequest(f"p{i}", [BOS, USER, *range(50, 51 + 3 * i), END, ASSISTANT], 0, 1, i)
        for i in range(4)
    ]


def merged_answers(model_dir: Path, adapter: Path) -> list[list[int]]:
    """What peft's own merge of the two says, token by token."""
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    base = LlamaForCausalLM.from_pretrained(str(model_dir), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().eval()
    found: list[list[int]] = []
    for request in asked():
        ids = list(request.prompt_token_ids)
        with torch.inference_mode():
            for _ in range(GREEDY.max_tokens):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
                if ids[-1] in (1, 6):  # </s>, <|end|>
                    break
        found.append(ids[len(request.prompt_token_ids) :])
    return found


@pytest.mark.parametrize(
    "engine", ["transformers", pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.slow])]
)
def test_an_engine_answers_with_the_adapter_when_it_has_one_and_without_when_it_has_none(
    engine: str, model_dir: Path, adapter: Path, tmp_path: Path
) -> None:
    said: list[list[list[int]]] = []
    for worn in (None, adapter):
        log = tmp_path / "engine.log"
        opened = open_sampler(engine, model_dir, log=log, max_model_len=96, adapter=worn)
        said.append([s.token_ids for s in opened.sample(asked(), GREEDY)])
        opened.close()
    plain, adapted = ({tuple(ids) for ids in answers} for answers in said)
    assert {tuple(ids) for ids in merged_answers(model_dir, adapter)} == adapted
    assert plain.isdisjoint(adapted)


def test_completions_of_an_adapter_carry_its_own_model_id(
    store: Store, add_prompts: Callable[..., list[str]], model_dir: Path, adapter: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    prompts = add_prompts("say hello", "say stop")
    base_id = models.register(store, model_dir, kind="policy", run_id="r")
    model_id = models.register(store, adapter, kind="policy", run_id="r")
    assert model_id == identify(model_dir, adapter=adapter).model_id != base_id
    shards = [
        shard
        for each in (base_id, model_id)
        for shard in plan(
            store, draws=[{"model_id": each, "params_id": GREEDY.params_id, "seed": 1, "n": 1,
                           "prompt_ids": prompts}],
            params=GREEDY, model_dir=models.parts(models.directory(store, each))[0], run_id="r",
        )
    ]  # fmt: skip
    crew = Crew(
        store, Sampling(engine="transformers"), run_id="r", log=lambda n: tmp_path / n,
        note=print,
    )  # fmt: skip
    crew.begin(shards)
    assert [crew.sample(shard) for shard in shards] == [2, 2]
    crew.close()
    said = store.rows(
        "select model_id, list(text order by prompt_id) as texts from completions group by 1"
    )
    texts = {row["model_id"]: row["texts"] for row in said}
    assert texts.keys() == {base_id, model_id}
    assert texts[base_id] != texts[model_id]
    digests = store.rows("select model_id, adapter_digest from models")
    assert {r["model_id"] for r in digests if r["adapter_digest"]} == {model_id}


def test_an_adapter_among_a_models_own_files_is_refused(own_model: Path, adapter: Path) -> None:
    for file in adapter.iterdir():
        (own_model / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="holds a model and an adapter"):
        models.parts(own_model)


def test_an_adapter_is_not_trained_from(adapter: Path, model_dir: Path) -> None:
    assert models.whole(model_dir) == model_dir
    with pytest.raises(UserError, match="not trained from") as caught:
        models.whole(adapter)
    assert "merge" in caught.value.next


def test_an_adapter_without_its_model_says_what_is_missing(tmp_path: Path, adapter: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="names no base_model_name_or_path"):
        models.parts(alone)
    (alone / "adapter_config.json").write_text('{"base_model_name_or_path": "/no/such/model"}')
    with pytest.raises(UserError, match="there is no model directory /no/such/model"):
        models.parts(alone)

"""Silent bugs that were found in other factories' sampling, one test each that would catch it here.

Those about order, BOS, shards, stop tokens, cut prompts and replaced weights are in the tests of
the part that they concern; these need more than one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from factory.rows import SamplingParams
from factory.sampling.base import Sampled, Sampler, SampleRequest, open_sampler
from factory.sampling.engines.echo import EchoSampler
from factory.sampling.identity import identify
from factory.sampling.render import load_tokenizer
from factory.sampling.verb import Shard, plan, sample_shard
from factory.store import Store
from tests.sampling.conftest import CONTEXT, EOS, TEMPLATE

AddPrompts = Callable[..., list[str]]
REJECTING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


def shards_of(
    store: Store, prompt_ids: Sequence[str], params: SamplingParams, model_dir: Path, *, n: int = 2
) -> list[Shard]:
    draw = {
        "model_id": identify(model_dir).model_id, "params_id": params.params_id, "seed": 7, "n": n,
        "prompt_ids": list(prompt_ids), "round": 1,
    }  # fmt: skip
    return plan(store, draws=[draw], params=params, model_dir=model_dir, run_id="r")


def walk(store: Store, shards: Sequence[Shard], sampler: Sampler) -> int:
    return sum(sample_shard(store, sampler, shard, run_id="r") for shard in shards)


class Saying(EchoSampler):
    """An engine that samples the ids it is told to."""

    def __init__(self, ids: list[int], tokenizer: Any) -> None:
        super().__init__(CONTEXT, tokenizer)
        self.ids = ids

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sampled]:
        text = str(load_text(self._tokenizer, self.ids))
        return [
            Sampled(r.prompt_id, r.first_idx + j, self.ids, [-0.5] * len(self.ids), "stop", text)
            for r in requests
            for j in range(r.n)
        ]


def load_text(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_sampled_ids_that_no_tokenizer_would_give_for_their_text_are_kept_as_sampled(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, model_dir: Path
):
    tokenizer = load_tokenizer(model_dir)
    word = tokenizer("hello", add_special_tokens=False)["input_ids"]
    letters = [tokenizer(c, add_special_tokens=False)["input_ids"][0] for c in "hello"]
    assert letters != word and load_text(tokenizer, letters) == load_text(tokenizer, word)
    prompts = add_prompts("say hello")
    shards = shards_of(store, prompts, params, model_dir, n=1)
    walk(store, shards, Saying([*letters, EOS], tokenizer))
    (row,) = store.rows("from completions")
    assert (row["text"], row["token_ids"]) == ("hello", [*letters, EOS])


def test_a_prompt_may_fill_the_context_to_the_last_token_and_not_one_more(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, model_dir: Path
):
    class Recording(EchoSampler):
        asked: list[int] = []  # noqa: RUF012 - of this one test

        def sample(
            self, requests: Sequence[SampleRequest], params: SamplingParams
        ) -> list[Sampled]:
            self.asked += [len(r.prompt_token_ids) for r in requests]
            return super().sample(requests, params)

    tokenizer = load_tokenizer(model_dir)
    prompts = add_prompts(*("z" * n for n in range(CONTEXT - 30, CONTEXT)))
    walk(store, shards_of(store, prompts, params, model_dir), Recording(CONTEXT, tokenizer))
    assert max(Recording.asked) == CONTEXT - params.max_tokens
    dropped = store.rows("select reason, detail from drops")
    assert {d["reason"] for d in dropped} == {"prompt_too_long"}
    assert len(dropped) + len(Recording.asked) == len(prompts)
    over = f"{CONTEXT - params.max_tokens + 1} prompt tokens + {params.max_tokens} max_tokens"
    assert any(d["detail"].startswith(over) for d in dropped)


def test_a_principle_that_the_template_rejects_drops_only_the_samples_that_have_it(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, own_model: Path
):
    (own_model / "chat_template.jinja").write_text(REJECTING + TEMPLATE)
    prompts, guided = add_prompts("hello"), replace(params, system="be kind")
    sampler = EchoSampler(CONTEXT, load_tokenizer(own_model))
    assert walk(store, shards_of(store, prompts, guided, own_model), sampler) == 0
    assert [d["reason"] for d in store.rows("from drops")] == ["template_rejects_prompt"]
    assert walk(store, shards_of(store, prompts, params, own_model), sampler) == 2
    folded = replace(guided, fold_system=True)
    assert walk(store, shards_of(store, prompts, folded, own_model), sampler) == 2
    rows = store.rows("select * from completions where given_token_ids is not null")
    assert len(rows) == 2
    tokenizer = load_tokenizer(own_model)
    assert "be kind\n\nhello" in tokenizer.decode(rows[0]["given_token_ids"])
    assert "be kind" not in tokenizer.decode(rows[0]["prompt_token_ids"])


def test_a_principle_joins_a_prompts_own_system_turn_in_one(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, model_dir: Path
):
    prompts = add_prompts("hello", system="you are a baker")
    guided = replace(params, system="be kind")
    sampler = EchoSampler(CONTEXT, load_tokenizer(model_dir))
    walk(store, shards_of(store, prompts, guided, model_dir, n=1), sampler)
    (row,) = store.rows("from completions")
    given = load_tokenizer(model_dir).decode(row["given_token_ids"])
    assert "be kind\n\nyou are a baker" in given
    assert given.count("<|system|>") == 1


@pytest.fixture
def broken(own_model: Path) -> Path:
    """Weights with a NaN in them, as a training run that diverged leaves."""
    weights = load_file(own_model / "model.safetensors")
    weights["model.norm.weight"][0] = np.nan
    save_file(weights, own_model / "model.safetensors", metadata={"format": "pt"})
    return own_model


@pytest.fixture
def engine_of(tmp_path: Path) -> Iterator[Callable[[Path], Sampler]]:
    opened: list[Sampler] = []

    def of(model: Path) -> Sampler:
        opened.append(open_sampler("transformers", model, log=tmp_path / "engine.log"))
        return opened[-1]

    yield of
    for sampler in opened:
        sampler.close()


def test_weights_that_give_no_numbers_give_no_completions(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, broken: Path,
    engine_of: Callable[[Path], Sampler],
):  # fmt: skip
    prompts = add_prompts("hello", "please")
    shards = shards_of(store, prompts, params, broken)
    assert walk(store, shards, engine_of(broken)) == 0
    dropped = store.rows("select reason, count(*) as n from drops group by 1")
    assert dropped == [{"reason": "nan_logprobs", "n": 4}]
    assert shards_of(store, prompts, params, broken) == []

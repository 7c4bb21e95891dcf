"""A draw is sampled exactly once, shard by shard, and every answer stays with its own question."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from factory.errors import StageFailed, UserError
from factory.recipe import Sampling
from factory.rows import SamplingParams, base_seed, token_hash
from factory.sampling.base import Sampled, Sampler, SampleRequest
from factory.sampling.engines.echo import EchoSampler
from factory.sampling.identity import identify
from factory.sampling.render import load_tokenizer
from factory.sampling.verb import Shard, plan, register_model, sample_shard
from factory.store import Store
from tests.sampling.conftest import BOS, TEMPLATE, weights

AddPrompts = Callable[..., list[str]]
NOWHERE = Path("no-model-directory")


def draw(
    prompt_ids: Sequence[str], params: SamplingParams, *, n: int = 2, model_id: str = "m" * 32
) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "params_id": params.params_id,
        "seed": 7,
        "n": n,
        "prompt_ids": list(prompt_ids),
        "round": 1,
    }


def planned(
    store: Store,
    prompt_ids: Sequence[str],
    params: SamplingParams,
    *,
    model_dir: Path = NOWHERE,
    shard_size: int = 4096,
    max_model_len: int | None = None,
    **of: Any,
) -> list[Shard]:
    return plan(
        store,
        draws=[draw(prompt_ids, params, **of)],
        params=params,
        model_dir=model_dir,
        run_id="r",
        shard_size=shard_size,
        max_model_len=max_model_len,
    )


def walk(store: Store, shards: list[Shard], sampler: Sampler | None = None) -> int:
    return sum(sample_shard(store, sampler or EchoSampler(), s, run_id="r") for s in shards)


def completions(store: Store) -> dict[str, dict[str, Any]]:
    return {r["completion_id"]: r for r in store.rows("select * from completions")}


class Recording(EchoSampler):
    """An echo that keeps what it was asked."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: list[SampleRequest] = []

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sampled]:
        self.asked += requests
        return super().sample(requests, params)


@pytest.mark.parametrize("shard_size", [1, 4, 5, 34, 1000])
def test_17_prompts_give_17_times_n_completions_whatever_the_shard_size(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, shard_size: int
) -> None:
    prompts = add_prompts(*(f"question {i}" for i in range(17)))
    shards = planned(store, prompts, params, shard_size=shard_size)
    assert sum(s.n_completions for s in shards) == 34
    assert walk(store, shards) == 34
    assert len(completions(store)) == 34


def test_17_prompts_taken_by_8_workers_are_17_completions(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    prompts = add_prompts(*(f"question {i}" for i in range(17)))
    shards = planned(store, prompts, params, n=1, shard_size=2)
    assert [s.n_completions for s in shards] == [2] * 8 + [1]
    with ThreadPoolExecutor(8) as workers:
        added = workers.map(lambda s: sample_shard(store, EchoSampler(), s, run_id="r"), shards)
        assert sum(added) == 17
    assert len({r["prompt_id"] for r in completions(store).values()}) == 17


def test_an_over_long_prompt_in_the_middle_is_dropped_and_shifts_no_other(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    alphabet = "abcdefghij"
    prompts = dict(zip(alphabet, add_prompts(*(c * 10 for c in alphabet)), strict=True))
    too_long = add_prompts("z" * 100)
    sampler = EchoSampler(50)
    shards = planned(store, [*prompts.values(), *too_long], params, max_model_len=50)
    assert walk(store, shards, sampler) == 20
    for letter, prompt_id in prompts.items():
        texts = [r["text"] for r in completions(store).values() if r["prompt_id"] == prompt_id]
        assert len(texts) == 2
        assert {*texts[0], *texts[1]} == {letter}
    dropped = store.rows("select prompt_id, reason, round, detail from drops")
    assert [(d["prompt_id"], d["reason"], d["round"]) for d in dropped] == [
        (too_long[0], "prompt_too_long", 1)
    ]
    assert dropped[0]["detail"] == "100 prompt tokens + 8 max_tokens > 50"


def test_answers_that_come_back_in_any_order_stay_with_their_questions(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    class Shuffling(EchoSampler):
        def sample(
            self, requests: Sequence[SampleRequest], params: SamplingParams
        ) -> list[Sampled]:
            found = super().sample(requests, params)
            random.Random(0).shuffle(found)
            return found

    prompts = add_prompts(*(c * 10 for c in "abcdef"))
    walk(store, planned(store, prompts, params, n=4), Shuffling())
    for letter, prompt_id in zip("abcdef", prompts, strict=True):
        rows = [r for r in completions(store).values() if r["prompt_id"] == prompt_id]
        assert {c for r in rows for c in r["text"]} == {letter}
        assert {chr(i) for i in rows[0]["prompt_token_ids"]} == {letter}


def test_law_1_sampling_again_asks_for_nothing_and_adds_nothing(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    prompts = add_prompts("one", "two", "three")
    shards = planned(store, prompts, params)
    assert walk(store, shards) == 6
    assert planned(store, prompts, params) == []
    assert walk(store, shards) == 0
    assert len(completions(store)) == 6


def test_a_shard_that_died_is_sampled_again_whole_and_ends_in_the_same_rows(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    class Dying(EchoSampler):
        def sample(
            self, requests: Sequence[SampleRequest], params: SamplingParams
        ) -> list[Sampled]:
            raise StageFailed("the engine died")

    prompts = add_prompts(*(f"question {i}" for i in range(10)))
    shards = planned(store, prompts, params, shard_size=4)
    walk(store, shards[:2])
    with pytest.raises(StageFailed):
        sample_shard(store, Dying(), shards[2], run_id="r")
    assert len(completions(store)) == 8
    assert planned(store, prompts, params, shard_size=4) == shards[2:]
    walk(store, shards[2:])
    uninterrupted = {
        (r.prompt_id, r.sample_idx): r.token_ids
        for s in planned(store, prompts, params, model_id="o" * 32)
        for r in _echo_of(store, s, model_id="m" * 32)
    }
    found = completions(store).values()
    assert {(r["prompt_id"], r["sample_idx"]): r["token_ids"] for r in found} == uninterrupted


def _echo_of(store: Store, shard: Shard, *, model_id: str) -> list[Sampled]:
    texts = {r["prompt_id"]: r["messages"] for r in store.rows("select * from prompts")}
    found: list[Sampled] = []
    for w in shard.wanted:
        text = texts[w.prompt_id].split('"content": "')[1].split('"')[0]
        seed = base_seed(
            prompt_id=w.prompt_id, model_id=model_id, params_id=shard.params.params_id, seed=7
        )
        request = SampleRequest(w.prompt_id, [ord(c) for c in text], w.first_idx, w.n, seed)
        found += EchoSampler().sample([request], shard.params)
    return found


def test_more_samples_of_a_prompt_ask_only_for_the_new_ones_and_leave_the_old(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    prompts = add_prompts("say hello", "say please")
    walk(store, planned(store, prompts, params, n=3))
    before = completions(store)
    sampler = Recording()
    assert walk(store, planned(store, prompts, params, n=8), sampler) == 10
    assert {(r.first_idx, r.n) for r in sampler.asked} == {(3, 5)}
    after = completions(store)
    assert {k: after[k] for k in before} == before
    for request in sampler.asked:
        first = base_seed(
            prompt_id=request.prompt_id, model_id="m" * 32, params_id=params.params_id, seed=7
        )
        assert request.seed == first + 3


def test_law_2_replaced_weights_are_sampled_anew_and_moved_weights_are_not(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, own_model: Path, tmp_path: Path
) -> None:
    prompts = add_prompts("one", "two")

    def missing(directory: Path) -> list[Shard]:
        model_id = identify(directory).model_id
        return planned(store, prompts, params, model_dir=directory, model_id=model_id)

    tokenizer = load_tokenizer(own_model)
    assert walk(store, missing(own_model), EchoSampler(128, tokenizer)) == 4
    moved = Path(shutil.copytree(own_model, tmp_path / "elsewhere"))
    assert missing(moved) == []
    save_file(weights(1), own_model / "model.safetensors", metadata={"format": "pt"})
    shards = missing(own_model)
    assert sum(s.n_completions for s in shards) == 4
    assert walk(store, shards, EchoSampler(128, tokenizer)) == 4
    assert len({r["model_id"] for r in completions(store).values()}) == 2


def test_the_engine_receives_one_bos(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, model_dir: Path
) -> None:
    prompts = add_prompts("say hello")
    sampler = Recording(128, load_tokenizer(model_dir))
    walk(store, planned(store, prompts, params, model_dir=model_dir), sampler)
    assert sampler.asked[0].prompt_token_ids.count(BOS) == 1
    row = next(iter(completions(store).values()))
    assert row["prompt_token_ids"] == sampler.asked[0].prompt_token_ids


def test_a_prompt_that_the_template_rejects_is_dropped_once_and_not_asked_again(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, own_model: Path
) -> None:
    rejecting = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    (own_model / "chat_template.jinja").write_text(rejecting + TEMPLATE)
    prompts = [*add_prompts("hello"), *add_prompts("hello", system="be kind")]
    sampler = EchoSampler(128, load_tokenizer(own_model))
    shards = planned(store, prompts, params, model_dir=own_model)
    assert walk(store, shards, sampler) == 2
    assert [d["reason"] for d in store.rows("from drops")] == ["template_rejects_prompt"]
    assert planned(store, prompts, params, model_dir=own_model) == []
    assert walk(store, shards, sampler) == 0
    assert len(store.rows("from drops")) == 1


def test_a_longer_context_gives_a_dropped_prompt_another_chance(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    prompts = add_prompts("z" * 60)
    walk(store, planned(store, prompts, params, max_model_len=50), EchoSampler(50))
    assert planned(store, prompts, params, max_model_len=50) == []
    again = planned(store, prompts, params, max_model_len=100)
    assert walk(store, again, EchoSampler(100)) == 2


def test_a_context_that_only_the_engine_was_told_gives_another_chance_when_it_grows(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    prompts = add_prompts("z" * 60)
    said = Sampling(max_tokens=8, settings={"max_model_len": 50})
    walk(store, planned(store, prompts, params, max_model_len=said.context), EchoSampler(50))
    assert [d["reason"] for d in store.rows("from drops")] == ["prompt_too_long"]
    more = Sampling(max_tokens=8, settings={"max_model_len": 100})
    again = planned(store, prompts, params, max_model_len=more.context)
    assert walk(store, again, EchoSampler(100)) == 2


def test_more_tokens_than_the_context_has_are_refused_before_every_prompt_is_dropped(
    store: Store, add_prompts: AddPrompts, model_dir: Path
) -> None:
    prompts = add_prompts("say hello")
    params = SamplingParams(max_tokens=128)
    with pytest.raises(UserError, match=r"max_tokens is 128 and the context of .* 128 tokens"):
        planned(store, prompts, params, model_dir=model_dir)


def test_a_prompt_that_is_known_by_name_alone_is_dropped_and_the_rest_sampled(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    prompts = add_prompts("say hello")
    nameless = "0" * 32
    store.append(
        "prompts",
        [{"prompt_id": nameless, "pool": "test", "source_id": "7", "split": "train", "bucket": 0}],
        run_id="r",
    )
    shards = planned(store, [*prompts, nameless], params)
    assert walk(store, shards, EchoSampler(128)) == 2
    dropped = store.rows("select prompt_id, reason from drops")
    assert dropped == [{"prompt_id": nameless, "reason": "prompt_missing"}]


def test_an_engine_that_answers_less_than_it_was_asked_leaves_nothing_behind(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    class Forgetting(EchoSampler):
        def sample(
            self, requests: Sequence[SampleRequest], params: SamplingParams
        ) -> list[Sampled]:
            return super().sample(requests, params)[:-1]

    shards = planned(store, add_prompts("one", "two"), params)
    with pytest.raises(StageFailed, match="3 samples"):
        walk(store, shards, Forgetting())
    assert completions(store) == {}


def test_a_sample_whose_logprobs_are_no_numbers_is_dropped_and_the_rest_kept(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    class Broken(EchoSampler):
        def sample(
            self, requests: Sequence[SampleRequest], params: SamplingParams
        ) -> list[Sampled]:
            first, *rest = super().sample(requests, params)
            bad = Sampled(
                first.prompt_id, first.sample_idx, first.token_ids, [float("nan")], "stop", "x"
            )
            return [bad, *rest]

    prompts = add_prompts("one", "two")
    assert walk(store, planned(store, prompts, params), Broken()) == 3
    assert [d["reason"] for d in store.rows("from drops")] == ["nan_logprobs"]
    assert planned(store, prompts, params) == []


def test_an_empty_completion_is_a_completion(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    class Silent(EchoSampler):
        def sample(
            self, requests: Sequence[SampleRequest], params: SamplingParams
        ) -> list[Sampled]:
            return [
                Sampled(r.prompt_id, r.first_idx + j, [0], [-0.5], "stop", "")
                for r in requests
                for j in range(r.n)
            ]

    assert walk(store, planned(store, add_prompts("hello"), params), Silent()) == 2
    row = next(iter(completions(store).values()))
    assert (row["text"], row["n_tokens"], row["finish_reason"]) == ("", 1, "stop")
    assert row["logprob_sum"] == -0.5
    assert row["token_hash"] == token_hash(row["prompt_token_ids"], [0])


def test_a_prompt_that_is_not_in_the_store_is_dropped_with_that_reason(
    store: Store, params: SamplingParams
) -> None:
    assert walk(store, planned(store, ["0" * 32], params)) == 0
    assert [d["reason"] for d in store.rows("from drops")] == ["prompt_missing"]


def test_a_draw_made_with_other_parameters_is_refused(
    store: Store, add_prompts: AddPrompts, params: SamplingParams
) -> None:
    made = draw(add_prompts("hello"), SamplingParams(max_tokens=9))
    with pytest.raises(UserError, match="the recipe now says"):
        plan(store, draws=[made], params=params, model_dir=NOWHERE, run_id="r")


def test_models_and_parameters_are_registered_once(
    store: Store, add_prompts: AddPrompts, params: SamplingParams, model_dir: Path
) -> None:
    identity = identify(model_dir)
    for expected in (1, 0):
        added = register_model(
            store, identity, name="tiny", kind="policy", uri=str(model_dir), run_id="r"
        )
        assert added == expected
    prompts = add_prompts("hello")
    planned(store, prompts, params)
    planned(store, prompts, params)
    assert [r["params_id"] for r in store.rows("from params")] == [params.params_id]
    row = store.rows("from models")[0]
    assert (row["model_id"], row["dtype"]) == (identity.model_id, "float32")

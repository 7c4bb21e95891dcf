"""What a model thinks is kept, and what it answers is all that anybody judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from factory.recipe.model import Judging
from factory.rows import SamplingParams
from factory.sampling.base import Sampled, SampleRequest
from factory.sampling.engines.echo import EchoSampler
from factory.sampling.identity import identify
from factory.sampling.render import load_tokenizer, renderer_for
from factory.sampling.thinking import divider_for
from factory.sampling.verb import plan, sample_shard
from factory.store import Store
from tests.sampling.conftest import EOS, TEMPLATE

BEGIN, END = -1, -2
"""Stand for the markers' ids where a test writes ids."""
JUDGE = """\
---
kind: verifier
description: Whether the answer begins with a b.
verifier: regex
verifier_args: {pattern: "^b"}
---
"""


@pytest.fixture
def thinker(own_model: Path) -> Path:
    """A model whose tokenizer has markers of reasoning, as tokens that are no special ones."""
    file = str(own_model / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.save(file)
    return own_model


def real(model: Path, ids: list[int]) -> list[int]:
    known = load_tokenizer(model).get_added_vocab()
    stand_ins = {BEGIN: known["<think>"], END: known["</think>"]} if min(ids) < 0 else {}
    return [stand_ins.get(i, i) for i in ids]


def divided(model: Path, ids: list[int], params: SamplingParams, finish: str = "stop"):
    tokenizer, ids = load_tokenizer(model), real(model, ids)
    divider = divider_for(renderer_for(model, engine="vllm"), params)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    sample = Sampled("p", 0, ids, [0.0] * len(ids), finish, text)
    assert divider is not None
    said = divider.divide(sample)
    return said.reasoning, said.text, said.finish_reason


def ids_of(model: Path, text: str) -> list[int]:
    return load_tokenizer(model)(text, add_special_tokens=False)["input_ids"]


def test_reasoning_is_what_stands_between_the_models_own_markers(
    thinker: Path, params: SamplingParams
):
    ids = [BEGIN, *ids_of(thinker, "\na or b\n"), END, *ids_of(thinker, "\n\nb it is"), EOS]
    assert divided(thinker, ids, params) == ("a or b", "b it is", "stop")


def test_a_template_that_begins_the_reasoning_leaves_only_its_end_to_the_model(
    thinker: Path, params: SamplingParams
):
    (thinker / "chat_template.jinja").write_text(
        TEMPLATE.replace("<|assistant|>", "<|assistant|><think>")
    )
    ids = [*ids_of(thinker, "a or b"), END, *ids_of(thinker, "b"), EOS]
    assert divided(thinker, ids, params) == ("a or b", "b", "stop")
    assert divided(thinker, ids_of(thinker, "a or"), params, "length") == ("a or", "", "length")


def test_a_model_that_only_ends_its_reasoning_has_begun_it_unsaid(
    thinker: Path, params: SamplingParams
):
    ids = [*ids_of(thinker, "a or b"), END, *ids_of(thinker, "b"), EOS]
    assert divided(thinker, ids, params) == ("a or b", "b", "stop")


def test_an_answer_without_markers_has_no_reasoning(thinker: Path, params: SamplingParams):
    assert divided(thinker, [*ids_of(thinker, "b"), EOS], params) == (None, "b", "stop")


def test_reasoning_that_never_ends_is_no_answer(thinker: Path, params: SamplingParams):
    ids = [BEGIN, *ids_of(thinker, "a or b")]
    assert divided(thinker, [*ids, EOS], params) == ("a or b", "", "no_answer")
    assert divided(thinker, ids, params, "length") == ("a or b", "", "length")


def test_text_that_looks_like_a_marker_divides_nothing(thinker: Path, params: SamplingParams):
    spelled = [i for c in "</think>b" for i in ids_of(thinker, c)]
    assert divided(thinker, [*spelled, EOS], params) == (None, "</think>b", "stop")


def test_a_second_thought_is_reasoning_too(thinker: Path, params: SamplingParams):
    def say(text: str) -> list[int]:
        return ids_of(thinker, text)

    ids = [BEGIN, *say("a"), END, *say("b"), BEGIN, *say("c"), END, *say("d"), EOS]
    assert divided(thinker, ids, params) == ("ac", "bd", "stop")


def test_markers_that_a_recipe_names_may_be_plain_text(model_dir: Path, params: SamplingParams):
    named = replace(params, thinking=("Reasoning:", "Answer:"))
    assert named.params_id != params.params_id

    def said(text: str, finish: str = "stop") -> Any:
        return divided(model_dir, ids_of(model_dir, text), named, finish)

    assert said("Reasoning: a or bAnswer:b") == (" a or b", "b", "stop")
    assert said("Reasoning: a or b") == (" a or b", "", "no_answer")
    assert said("b") == (None, "b", "stop")


def test_a_model_without_markers_is_read_as_it_is(model_dir: Path, params: SamplingParams):
    assert divider_for(renderer_for(model_dir, engine="vllm"), params) is None


def test_ids_stay_whole_and_the_judge_reads_the_answer_alone(
    thinker: Path, store: Store, params: SamplingParams, add_prompts: Callable[..., list[str]]
):
    from factory.judging.verb import judge

    class Thinking(EchoSampler):
        def sample(
            self, requests: Sequence[SampleRequest], params: SamplingParams
        ) -> list[Sampled]:
            texts = {0: "b", 1: "a"}
            found: list[Sampled] = []
            for r in requests:
                for j in range(r.n):
                    ids = [BEGIN, *ids_of(thinker, "b?"), END, *ids_of(thinker, texts[j]), EOS]
                    ids = real(thinker, ids)
                    found.append(Sampled(r.prompt_id, j, ids, [0.0] * len(ids), "stop", "-"))
            return found

    prompts = add_prompts("a or b")
    model_id = identify(thinker).model_id
    draw = {
        "model_id": model_id, "params_id": params.params_id, "seed": 7, "n": 2,
        "prompt_ids": prompts, "round": 1,
    }  # fmt: skip
    shards = plan(store, draws=[draw], params=params, model_dir=thinker, run_id="r")
    assert sample_shard(store, Thinking(128, load_tokenizer(thinker)), shards[0], run_id="r") == 2
    (store.workspace / "judges").mkdir(exist_ok=True)
    (store.workspace / "judges" / "b.md").write_text(JUDGE)
    rows = store.rows("from completions order by sample_idx")
    judge(
        store, judges=["b"], completion_ids=[r["completion_id"] for r in rows],
        judging=Judging(judges=("b",)), seed=0, run_id="r", log=store.workspace / "judge.log",
    )  # fmt: skip
    assert [(r["reasoning"], r["text"]) for r in rows] == [("b?", "b"), ("b?", "a")]
    assert [r["token_ids"][0] for r in rows] == real(thinker, [BEGIN, BEGIN])
    assert [r["n_tokens"] for r in rows] == [len(r["token_ids"]) for r in rows]
    scores = {r["completion_id"]: r["score"] for r in store.rows("from scores")}
    assert [scores[r["completion_id"]] for r in rows] == [1.0, 0.0]

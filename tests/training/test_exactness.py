"""What a step averages over, what is masked, and what packing may not leak."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from factory.training.collate import PairCollator, SftCollator, Slot
from factory.training.config import TrainConfig
from factory.training.data import load_rows
from factory.training.logprobs import install, pad_rows
from factory.training.models import load_policy, stop_ids_of
from factory.training.plan import pack
from factory.training.starter import make_starter

from .conftest import END, TINY, preference_rows, sft_rows, weights  # noqa: TID252 - importlib mode


def load(directory, kind):
    rows, _ = load_rows(directory, kind=kind, max_length=48, vocab_size=84, max_drop_share=0)
    return rows


def scored(model, batch):
    names = ("input_ids", "attention_mask", "position_ids", "completion_mask")
    with torch.no_grad():
        return model(**{k: batch[k] for k in names if k in batch})


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_log_probabilities_equal_an_independent_log_softmax(starter, chunk):
    plain = AutoModelForCausalLM.from_pretrained(starter)
    ours = AutoModelForCausalLM.from_pretrained(starter)
    install(ours, chunk=chunk)
    texts = [r["prompt_ids"] + r["chosen_ids"] for r in preference_rows(5)]
    starts = [len(r["prompt_ids"]) for r in preference_rows(5)]
    got = scored(ours, pad_rows(texts, prompt_lengths=starts)).sum(dim=1)
    for i, (text, start) in enumerate(zip(texts, starts, strict=True)):
        with torch.no_grad():
            table = plain(input_ids=torch.tensor([text])).logits[0].log_softmax(-1)
        by_hand = sum(table[t - 1, text[t]].item() for t in range(start, len(text)))
        assert got[i].item() == pytest.approx(by_hand, abs=1e-4)


def test_gradients_through_chunks_equal_gradients_without(starter):
    gradients = []
    for chunk in (3, 4096):
        model = AutoModelForCausalLM.from_pretrained(starter)
        install(model, chunk=chunk)
        batch = pad_rows([[2, 5, 9, 3, 6, 10, 11, 12, 13, END]], prompt_lengths=[5])
        model(**batch).sum().backward()
        gradients.append(model.model.embed_tokens.weight.grad)
    assert torch.allclose(*gradients, atol=1e-6)


def test_a_model_that_scales_its_logits_is_scored_by_its_own_logits(starter):
    model = AutoModelForCausalLM.from_pretrained(starter)
    plain = model.forward

    def capped(*args, **kwargs):
        out = plain(*args, **kwargs)
        out.logits = torch.tanh(out.logits / 2) * 2
        return out

    model.forward = capped
    install(model, chunk=4096)
    ids = torch.tensor([[2, 5, 9, 3, 6, 10, END]])
    mask = torch.arange(7)[None] >= 5
    with torch.no_grad():
        wanted = model(input_ids=ids).logits.log_softmax(-1)
        got = model(input_ids=ids, completion_mask=mask)
    assert got[0, 4].item() == pytest.approx(wanted[0, 4, 10].item(), abs=1e-5)


def test_the_stop_token_is_trained_even_when_it_is_also_the_padding():
    batch = pad_rows([[2, 6, END], [2, 6, 9, 9, END]], prompt_lengths=[2, 2])
    assert batch["completion_mask"].tolist() == [
        [False, False, True, False, False],
        [False, False, True, True, True],
    ]


def test_only_completion_tokens_count_whatever_the_prompt_says(write, starter):
    rows = preference_rows(2)
    rows[1] |= {"prompt_ids": rows[0]["prompt_ids"] + [5, 9, 9, 3, 6]}
    batch = PairCollator(load(write("d", rows), "dpo"), np.zeros((2, 2)), np.zeros(2))(
        [Slot((0,), 2, 1), Slot((1,), 2, 1)]
    )
    counts = batch["completion_mask"].sum(dim=1).tolist()
    sides = [r[k] for k in ("chosen_ids", "rejected_ids") for r in rows]
    assert counts == [len(side) for side in sides]
    for row, mask, side in zip(batch["input_ids"], batch["completion_mask"], sides, strict=True):
        assert row[mask].tolist() == side


def test_packed_examples_do_not_see_each_other(write, starter):
    data = load(write("d", sft_rows(12)), "sft")
    model = load_policy(starter, config=TrainConfig(), frozen_dropout=True)
    groups = pack(data.lengths, capacity=48, seed=0)
    assert max(len(group) for group in groups) > 1
    packed = SftCollator(data, packed=True)([Slot(tuple(g), len(groups), 1) for g in groups])
    together = scored(model, packed)
    for row, group in enumerate(groups):
        at = 0
        for i in group:
            alone = scored(model, SftCollator(data, packed=False)([Slot((i,), 1, 1)]))[0]
            n = len(alone)
            assert torch.allclose(together[row, at : at + n], alone, atol=2e-6)
            at += n + 1


def test_dropout_is_off_so_policy_and_reference_are_one_function(tmp_path):
    made = make_starter(tmp_path / "m", spec=TINY, seed=0)
    model = load_policy(made, config=TrainConfig(), frozen_dropout=False)
    model.model.layers[0].self_attn.attention_dropout = 0.5
    from factory.training.logprobs import without_dropout

    without_dropout(model)
    model.train()
    batch = pad_rows([[2, 5, 9, 3, 6, 10, 11, END]], prompt_lengths=[5])
    assert torch.equal(scored(model, batch), scored(model, batch))


def test_the_same_seed_makes_the_same_starter_and_another_seed_another(tmp_path, starter):
    again = make_starter(tmp_path / "a", spec=TINY, seed=0)
    other = make_starter(tmp_path / "b", spec=TINY, seed=1)
    same = weights(starter)
    assert all(torch.equal(same[k], v) for k, v in weights(again).items())
    assert not all(torch.equal(same[k], v) for k, v in weights(other).items())


def test_the_starters_template_has_one_begin_and_ends_as_a_sample_ends(starter):
    tokenizer = AutoTokenizer.from_pretrained(starter)
    turns = [{"role": "user", "content": "say cat"}, {"role": "assistant", "content": "cat."}]
    prompt = tokenizer.apply_chat_template(
        turns[:1], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    whole = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert prompt.count(tokenizer.bos_token_id) == 1
    assert whole[: len(prompt)] == prompt
    assert whole[-1] == tokenizer.eos_token_id == END
    assert tokenizer.decode(whole[len(prompt) : -1]) == "cat."


def test_padding_is_not_a_stop_id_in_the_saved_starter(starter):
    model = AutoModelForCausalLM.from_pretrained(starter)
    assert stop_ids_of(model) == [END]
    assert model.generation_config.pad_token_id not in stop_ids_of(model)

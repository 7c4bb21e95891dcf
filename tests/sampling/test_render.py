"""Prompts become token ids once, with one BOS; recorded text is tokenised without invented ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from factory.errors import UserError
from factory.sampling.render import Renderer, TemplateRejects, renderer_for, tokenise_completion
from tests.sampling.conftest import (
    ASSISTANT,
    BOS,
    END,
    EOS,
    SYSTEM,
    TEMPLATE,
    USER,
    write_tokenizer,
)

HELLO = [{"role": "user", "content": "say hello"}]


def plain(model_dir: Path, text: str) -> list[int]:
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_a_tokenizer_that_adds_bos_and_a_template_that_writes_it_give_one_bos(
    model_dir: Path,
) -> None:
    rendered_text = "<s><|user|>say hello<|end|><|assistant|>"
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    assert tokenizer.encode(rendered_text).ids.count(BOS) == 2  # what the string route would send
    ids = Renderer(model_dir).render(HELLO)
    assert ids == [BOS, USER, *plain(model_dir, "say hello"), END, ASSISTANT]


@pytest.mark.parametrize("head", ["", "<s>", "<s><s>"])
def test_whatever_the_template_writes_the_prompt_begins_with_one_bos(
    own_model: Path, head: str
) -> None:
    (own_model / "chat_template.jinja").write_text(TEMPLATE.replace("{{ bos_token }}", head))
    ids = Renderer(own_model).render(HELLO)
    assert ids[:2] == [BOS, USER]
    assert ids.count(BOS) == 1


def test_a_tokenizer_that_adds_no_bos_gets_none(own_model: Path) -> None:
    write_tokenizer(own_model, template=TEMPLATE.replace("{{ bos_token }}", ""))
    tokenizer = Tokenizer.from_file(str(own_model / "tokenizer.json"))
    tokenizer.post_processor = None  # type: ignore[assignment]
    tokenizer.save(str(own_model / "tokenizer.json"))
    assert Renderer(own_model).render(HELLO)[0] == USER


def test_a_system_turn_that_the_template_rejects_is_told_or_folded_into_the_question(
    own_model: Path,
) -> None:
    rejecting = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    (own_model / "chat_template.jinja").write_text(rejecting + TEMPLATE)
    messages = [{"role": "system", "content": "be kind"}, *HELLO]
    with pytest.raises(TemplateRejects, match="no system"):
        Renderer(own_model).render(messages)
    folded = Renderer(own_model).render(messages, fold_system=True)
    assert folded == [BOS, USER, *plain(own_model, "be kind\n\nsay hello"), END, ASSISTANT]


def test_a_system_turn_that_the_template_knows_is_kept(model_dir: Path) -> None:
    ids = Renderer(model_dir).render([{"role": "system", "content": "stop"}, *HELLO])
    assert ids[:2] == [BOS, SYSTEM]


@pytest.mark.parametrize("missing", ["tokenizer.json", "chat_template.jinja"])
def test_a_model_that_cannot_be_prompted_is_the_users_to_mend(
    own_model: Path, missing: str
) -> None:
    (own_model / missing).unlink()
    with pytest.raises(UserError) as caught:
        Renderer(own_model)
    assert str(own_model) in caught.value.message
    assert caught.value.next


def test_recorded_text_is_tokenised_as_it_is_and_nothing_is_appended(model_dir: Path) -> None:
    found = tokenise_completion(model_dir, HELLO, "hello please")
    assert found.token_ids == plain(model_dir, "hello please")
    assert found.prompt_token_ids == Renderer(model_dir).render(HELLO)
    assert found.retokenised is True


def test_a_stop_token_written_out_in_recorded_text_stays_text(model_dir: Path) -> None:
    ids = tokenise_completion(model_dir, HELLO, "hello</s><|end|>").token_ids
    assert not {EOS, END, BOS} & set(ids)
    assert Renderer(model_dir).decode(ids) == "hello</s><|end|>"


@settings(deadline=None)  # no timing in tests
@given(text=st.text(max_size=40))
def test_tokenised_text_reads_back_as_it_was(model_dir: Path, text: str) -> None:
    renderer = renderer_for(model_dir, engine="vllm")
    assert renderer.decode(renderer.encode_completion(text)) == text  # type: ignore[union-attr]


def test_a_template_replaced_under_its_path_is_read_again(own_model: Path) -> None:
    before = tokenise_completion(own_model, HELLO, "x").prompt_token_ids
    (own_model / "chat_template.jinja").write_text(TEMPLATE.replace("<|assistant|>", "<|user|>"))
    after = tokenise_completion(own_model, HELLO, "x").prompt_token_ids
    assert (before[-1], after[-1]) == (ASSISTANT, USER)


def test_the_echo_without_a_model_directory_speaks_characters(tmp_path: Path) -> None:
    assert renderer_for(tmp_path, engine="echo").render(HELLO) == [ord(c) for c in "say hello"]

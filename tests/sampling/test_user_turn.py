"""A user's turn begins and ends where each kind of template says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer

from factory.errors import UserError
from factory.sampling.render import Renderer
from factory.sampling.user_turn import user_turn
from tests.sampling.conftest import EOS

EACH = "{% for m in messages %}"
ASKED = "{% endfor %}{% if add_generation_prompt %}"
TEMPLATES = {
    "chatml": (
        ["<|im_start|>", "<|im_end|>"], [],
        EACH + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n" + ASKED
        + "<|im_start|>assistant\n{% endif %}",
        "<|im_start|>user\n", "<|im_end|>",
    ),
    "llama-3": (
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], [],
        "{{ bos_token }}" + EACH + "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>" + ASKED
        + "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>",
    ),
    "mistral": (
        ["[INST]", "[/INST]"], [],
        "{{ bos_token }}" + EACH + "[INST] {{ m.content }}[/INST]{% endfor %}", "[INST]", "[/INST]",
    ),
    "llama-2": (
        [], [],
        "{{ bos_token }}" + EACH + "[INST] {{ m.content }} [/INST]{% endfor %}",
        "[INST]", "[/INST]",
    ),
    "gemma": (
        ["<start_of_turn>", "<end_of_turn>"], [],
        "{{ bos_token }}" + EACH + "<start_of_turn>{{ m.role }}\n{{ m.content | trim }}"
        "<end_of_turn>\n" + ASKED + "<start_of_turn>model\n{% endif %}",
        "<start_of_turn>user\n", "<end_of_turn>",
    ),
    "deepseek": (
        [], ["<|User|>", "<|Assistant|>", "<think>", "</think>"],
        "{{ bos_token }}" + EACH + "<|User|>{{ m.content }}" + ASKED
        + "<|Assistant|><think>\n{% endif %}",
        "<|User|>", "<|Assistant|>",
    ),
}  # fmt: skip


def written_in(model: Path, name: str) -> Renderer:
    """The model with the tokens and the template of another family."""
    special, plain, template, _, _ = TEMPLATES[name]
    file = str(model / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    tokenizer.save(file)
    (model / "chat_template.jinja").write_text(template)
    return Renderer(model)


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_turn_is_gone_on_with_from_its_header_and_ends_before_what_follows_it(
    own_model: Path, name: str
) -> None:
    *_, head, stop = TEMPLATES[name]
    renderer = written_in(own_model, name)
    turn = user_turn(renderer)
    decoded = renderer.tokenizer.decode(turn.prompt_token_ids, skip_special_tokens=False)
    assert decoded == f"<s>{head}"
    assert turn.stop == (stop,)

    def written(text: str, *more: int) -> tuple[str, str]:
        ids = renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
        return turn.written(renderer, [*ids, *more], "length")

    assert written(f" How are you?{stop}Well, and<think>") == (" How are you?", "stop")
    assert written(" How are you?", EOS) == (" How are you?", "stop")
    assert written(" How are") == (" How are", "length")


def test_what_the_model_goes_on_from_is_the_beginning_of_the_prompt_that_it_would_be(
    own_model: Path,
) -> None:
    renderer = written_in(own_model, "llama-3")
    whole = renderer.render([{"role": "user", "content": "How are you?"}])
    begun = user_turn(renderer).prompt_token_ids
    assert whole[: len(begun)] == begun


def test_a_template_that_shows_the_user_twice_has_no_place_to_go_on_from(own_model: Path) -> None:
    (own_model / "chat_template.jinja").write_text(
        "{{ messages[0].content }} {{ messages[0].content }}"
    )
    with pytest.raises(UserError, match="exactly once"):
        user_turn(Renderer(own_model))

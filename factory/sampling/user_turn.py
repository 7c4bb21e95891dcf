"""Where a user's turn begins in a model's own chat template, and where it ends.

A model that goes on from there writes what it thinks a user would ask (Magpie, arXiv 2406.08464).
The place is found by rendering a conversation with a mark in it and cutting at the mark, so any
template does, and none is written down a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.errors import UserError
from factory.sampling.render import Renderer, TemplateRejects

_MARK = "qzUSERTURNzq"


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What a model goes on from, and how to tell that the user has finished."""

    prompt_token_ids: list[int]
    """Up to the user's first word, one BOS."""
    stop: tuple[str, ...]
    """What follows a user's turn, text or a token of its own: no answer is sampled after it."""
    special: frozenset[int]
    """Tokens that no user writes: the first of them ends the turn."""

    def written(
        self, renderer: Renderer, ids: Sequence[int], finish_reason: str
    ) -> tuple[str, str]:
        """The turn's text, and whether it ended (`stop`) or was cut (`length`)."""
        end = next((at for at, token in enumerate(ids) if token in self.special), None)
        text = renderer.decode(ids if end is None else ids[:end])
        ends = [at for stop in self.stop if (at := text.find(stop)) >= 0]
        reason = "stop" if ends or end is not None else finish_reason
        return (text[: min(ends)] if ends else text), reason


def user_turn(renderer: Renderer, *, system: str = "") -> UserTurn:
    """The beginning of a user's turn under a model's template.

    Raises:
        UserError: when the template does not show the user's text exactly once.
        TemplateRejects: when it does not accept the system turn.
    """
    head = [{"role": "system", "content": system}] if system else []
    text = _text(renderer, [*head, {"role": "user", "content": _MARK}])
    before, mark, after = text.partition(_MARK)
    if not mark or _MARK in after:
        raise UserError(
            "the model's chat template does not show a user's turn exactly once, so there is no "
            "place to go on from",
            next="use a model with a chat template, or the maker persona or self_instruct",
        )
    tokenizer = renderer.tokenizer
    special = _no_users(tokenizer, after)
    # Not every template's end of a turn ends an answer (Mistral's [/INST] does not).
    found = {at: t for t in sorted(special.values(), key=len) if t and (at := after.find(t)) >= 0}
    follows = min(found, default=len(after))
    stop = after[:follows].strip() or found.get(follows, "")
    # A space before the first word belongs to the word's own token in most vocabularies.
    ids = tokenizer(before.rstrip(" "), add_special_tokens=False)["input_ids"]
    return UserTurn(
        prompt_token_ids=_one_bos(renderer, [int(i) for i in ids]),
        stop=(stop,) if stop else (),
        special=frozenset(int(i) for i in special),
    )


def _no_users(tokenizer: Any, after: str) -> dict[int, str]:
    """Tokens that no user writes: the special ones, and those that the template puts after a turn.

    DeepSeek's Assistant token, for one, is not marked as special.
    """
    added = tokenizer.added_tokens_decoder.items()
    own = {i: str(t) for i, t in added if t.special or (str(t).strip() and str(t) in after)}
    return own | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _text(renderer: Renderer, messages: list[dict[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        return str(
            renderer.tokenizer.apply_chat_template(
                messages, chat_template=renderer.template, add_generation_prompt=True,
                tokenize=False,
            )
        )  # fmt: skip
    except TemplateError as error:
        raise TemplateRejects(str(error)) from error


def _one_bos(renderer: Renderer, ids: list[int]) -> list[int]:
    """One BOS where a rendered prompt has one, none where it has none."""
    bos: Any = renderer.tokenizer.bos_token_id
    rendered = renderer.render([{"role": "user", "content": _MARK}])
    if bos is None or rendered[:1] != [bos]:
        return ids
    start = 0
    while start < len(ids) and ids[start] == bos:
        start += 1
    return [bos, *ids[start:]]

"""Reasoning kept apart from the answer, for models that think before they speak.

The token ids of a completion stay whole, and training sees them whole; only what judges, verifiers
and people read is divided: `reasoning`, and `text` for the answer alone. Where the markers are
tokens of the model they are found by their ids, so text that merely looks like one divides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.rows import SamplingParams
from factory.sampling.render import CharacterRenderer, Renderer
from factory.sampling.requests import Sampled
from factory.sampling.text import cut

KNOWN = (
    ("<think>", "</think>"),  # DeepSeek-R1, Qwen 3
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker
)
"""Markers that a tokenizer has as tokens of their own, and models that use them."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a completion says: reasoning is None where the model did not think."""

    reasoning: str | None
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Divider:
    """Divides the completions of one model.

    `begins` is whether the template has begun the reasoning already, as DeepSeek-R1's does.
    """

    markers: tuple[str, str]
    ids: tuple[int, int] | None
    """The markers' token ids; None where they are ordinary text."""
    begins: bool
    tokenizer: Any
    stop: tuple[str, ...]

    def divide(self, sample: Sampled) -> Said:
        """The answer of a completion, and its reasoning.

        Reasoning that never ends leaves no answer: the engine's `length` stays, a `stop` becomes
        `no_answer`, and neither is ever chosen.
        """
        found = self._by_ids(sample.token_ids) if self.ids else self._by_text(sample)
        if found is None:
            return Said(None, sample.text, sample.finish_reason)
        reasoning, answer, ended = found
        finish = sample.finish_reason
        if not ended and finish == "stop":
            finish = "no_answer"
        return Said(reasoning.strip("\n"), cut(answer, self.stop).lstrip("\n"), finish)

    def _by_ids(self, token_ids: Sequence[int]) -> tuple[str, str, bool] | None:
        assert self.ids is not None
        thinking = met = self.begins
        reasoning: list[int] = []
        answer: list[int] = []
        for token in token_ids:
            if token not in self.ids:
                (reasoning if thinking else answer).append(token)
                continue
            if token == self.ids[1] and not met:
                reasoning, answer = answer, []  # it thought without saying that it begins
            thinking, met = token == self.ids[0], True
        if not met:
            return None
        return self._decoded(reasoning), self._decoded(answer), not thinking

    def _by_text(self, sample: Sampled) -> tuple[str, str, bool] | None:
        """As by ids, over the text; what is a token of its own is in the text only as text."""
        text = sample.text if self.tokenizer is None else self._decoded(sample.token_ids)
        begin, end = self.markers
        before, met, after = text.partition(end)
        if not met:
            head, open_, rest = text.partition(begin)
            if open_ or self.begins:
                return (rest, head, False) if open_ else (text, "", False)
            return None
        head, open_, reasoning = before.partition(begin)
        if not open_ or self.begins:
            head, reasoning = "", before
        return reasoning, head + after, True

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )


def divider_for(renderer: Renderer | CharacterRenderer, params: SamplingParams) -> Divider | None:
    """How a model's completions are divided; None where it does not think.

    The markers are those of the parameters, else those of `KNOWN` that the tokenizer has.
    """
    if isinstance(renderer, CharacterRenderer):
        if params.thinking is None:
            return None
        return Divider(params.thinking, None, False, None, params.stop)
    tokens: dict[str, int] = renderer.tokenizer.get_added_vocab()
    there = [pair for pair in KNOWN if pair[0] in tokens and pair[1] in tokens]
    markers = params.thinking or next(iter(there), None)
    if markers is None:
        return None
    begin, end = markers
    ids = (tokens[begin], tokens[end]) if begin in tokens and end in tokens else None
    return Divider(markers, ids, _begins(renderer, markers, ids), renderer.tokenizer, params.stop)


def _begins(renderer: Renderer, markers: tuple[str, str], ids: tuple[int, int] | None) -> bool:
    """Whether the last marker of what the template puts before every answer begins reasoning."""
    opening = renderer.generation_prompt()
    if ids is not None:
        met = [token for token in opening if token in ids]
        return bool(met) and met[-1] == ids[0]
    text = str(renderer.tokenizer.decode(opening, skip_special_tokens=False))
    return text.rfind(markers[0]) > text.rfind(markers[1])

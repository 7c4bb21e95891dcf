"""Reads what a maker's model wrote: the prompts in it, or a short stable reason why there are none.

Nothing is repaired and nothing is guessed: an answer that cannot be read is a drop, and its text
stays in `makings`, so that a better reading costs no new call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from factory.prompting.content import Rejected
from factory.prompting.makers.files import Maker

_TAGGED = re.compile(r"<prompt>(.*?)</prompt>", re.DOTALL)
_LEAK = re.compile(r"<<<(?:END )?PROMPT\b|</?prompt>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came of one making."""

    text: str = ""
    finish_reason: str = "stop"
    error: str = ""
    """Non-empty when nothing was written: a stable word, as `prompt_too_long`."""
    detail: str = ""
    n_tokens: int | None = None
    engine: str = ""
    engine_version: str = ""
    call_id: str | None = None
    model_reported: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_microusd: int | None = None
    latency_ms: float | None = None


def prompts_in(maker: Maker, text: str, finish_reason: str) -> list[str | Rejected]:
    """The prompts of an answer, each a text or the reason why it is none.

    Reasons: `truncated` (it ended at the token limit), `unparsed` (not in the form asked for),
    `leaked_template` (it speaks of the form itself), `bad_text`, `empty_prompt`.
    """
    if maker.front.answer == "turn":
        if finish_reason == "length":
            return [Rejected("truncated", "the turn did not end")]
        return [_whole(text.strip())]
    # A model that thinks aloud may rehearse the form before it uses it.
    found = _TAGGED.findall(text.rpartition("</think>")[2])
    if not found:
        cut = finish_reason == "length"
        return [Rejected("truncated" if cut else "unparsed", "no <prompt>…</prompt>")]
    if len(found) > maker.front.most:
        return [Rejected("unparsed", f"{len(found)} prompts where {maker.front.most} may be")]
    return [_checked(one.strip()) for one in found]


def _whole(text: str) -> str | Rejected:
    if not text:
        return Rejected("empty_prompt")
    # Bytes that were no text: a reader could not tell what was written.
    return Rejected("bad_text", text[:100]) if "\N{REPLACEMENT CHARACTER}" in text else text


def _checked(text: str) -> str | Rejected:
    if _LEAK.search(text):
        return Rejected("leaked_template", text[:100])
    return _whole(text)

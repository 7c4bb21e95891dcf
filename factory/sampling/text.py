"""Sampled ids as text, the same way whichever engine sampled them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def decoded(tokenizer: Any, ids: Sequence[Sequence[int]], *, stop: Sequence[str]) -> list[str]:
    """Texts of id lists, special tokens skipped, each ending before the first stop string."""
    texts = tokenizer.batch_decode(
        [list(i) for i in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [cut(text, stop) for text in texts] if stop else list(texts)


def cut(text: str, stop: Sequence[str]) -> str:
    """Text up to the first stop string that it holds."""
    ends = [at for s in stop if (at := text.find(s)) >= 0]
    return text[: min(ends)] if ends else text


def stop_tokens(tokenizer: Any, stop: Sequence[str]) -> set[int]:
    """Stop strings that are one token of the model; a special one is in no text to search."""
    tokens: dict[str, int] = tokenizer.get_added_vocab()
    return {tokens[text] for text in stop if text in tokens}

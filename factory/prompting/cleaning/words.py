"""Text as the words that comparisons see: same text after case, spaces and punctuation.

Words are folded (NFKC, case) and lose what is written inside them: `Gina's` is `ginas`, `1,000` is
`1000`. Kept are a sign between two numbers, so that 2+3 is not 2*3, and the ends of C++ and C#.
Scripts without spaces count each letter as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # Japanese syllables
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_WORD = re.compile(
    rf"[{_NO_SPACES}]"
    rf"|[^\W_{_NO_SPACES}]+(?:(?:['\u2019]|(?<=\d)[.,](?=\d))[^\W_{_NO_SPACES}]+)*"
    r"(?:(?<=[A-Za-z])(?:\+\+|#)(?!\w))?"
    r"|(?<=\d)\s*[-+*/\u00d7\u00f7=<>^]\s*(?=\d)"
)
_INSIDE = re.compile(r"['\u2019.,\s]")
_SIGNS = re.compile(r"\W")
_LONG = 40
_DIGIT = re.compile(r"\d").search
_INVISIBLE = re.compile("[\u00ad\u0640\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def cleaned(text: str) -> str:
    """The text that positions of words refer to: compatibility forms folded, nothing invisible."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    return [_folded(found) for found in _WORD.findall(cleaned(text))]


def places_of(text: str) -> list[tuple[int, int]]:
    """Where each word of `words_of` begins and ends in `cleaned(text)`."""
    return [found.span() for found in _WORD.finditer(cleaned(text))]


def _folded(word: str) -> str:
    return word.casefold() if word.isalnum() else _INSIDE.sub("", word).casefold()


def key_of(words: Sequence[str]) -> str:
    """One string for texts that differ in case, spaces and punctuation alone.

    Words are joined, because taking punctuation away also joins them. A short text keeps its signs
    and the gaps between its numbers, which may be all that it says: 2+3, 1 23.
    """
    letters = _SIGNS.sub("", "".join(words))
    return letters if len(letters) >= _LONG else _spaced(words)


def _spaced(words: Sequence[str]) -> str:
    parts: list[str] = []
    for word in words:
        gap = parts and parts[-1][-1:].isdigit() and word[:1].isdigit()
        parts.append(f" {word}" if gap else word)
    return "".join(parts)


def numbers_of(words: Sequence[str]) -> tuple[str, ...]:
    """The words that hold a digit, in order: another number asks for another answer."""
    return tuple(filter(_DIGIT, words))

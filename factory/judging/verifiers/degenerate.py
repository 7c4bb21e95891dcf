"""Degeneracy: 1.0 for a text that reads like writing, 0.0 for a loop, an empty or long text.

Arguments: `min_words` (1), `max_words` (none), `max_run` (16): how often one word may follow
itself; `max_repeat` (0.5): the largest share of 5-word runs that may be copies of an earlier one,
after the duplicate n-gram rules of Gopher (arXiv 2112.11446). Texts under 40 words are judged by
`max_run` alone. A text with a word of 60 letters and more (200 where it is of signs alone, as lines
drawn in a table are) has no spaces to speak of and is judged by its characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from factory.judging.outcomes import Verdict, good
from factory.judging.verifiers._read import args_of

VERSION = "2"
_FLOOR = 40
_LONG, _LONG_SIGNS = 60, 200


def longest_run(words: Sequence[str]) -> int:
    """The most times that one word follows itself."""
    return max((len(list(group)) for _, group in groupby(words)), default=0)


def repeated_share(words: Sequence[str], n: int) -> float:
    """Share of the n-grams that are copies of an earlier one, in [0, 1)."""
    grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    total = grams.total()
    return 1 - len(grams) / total if total else 0.0


def reason_of(text: str, args: Mapping[str, object]) -> str:
    """Why the text is degenerate, or an empty string."""
    words = text.casefold().split()
    if len(words) < int(str(args.get("min_words", 1))):
        return "too_short"
    if "max_words" in args and len(words) > int(str(args["max_words"])):
        return "too_long"
    run, limit = int(str(args.get("max_run", 16))), float(str(args.get("max_repeat", 0.5)))
    # Without spaces a loop is one long word: its characters are then the words. Signs are drawn.
    unbroken = list(text) if any(map(_unbroken, words)) else []
    letters = [c for c in unbroken if c.isalnum() or not c.isascii()]
    if longest_run(words) > run or longest_run(letters) > run * 4:
        return "one_word_repeated"
    if len(words) >= _FLOOR and repeated_share(words, 5) > limit:
        return "repeated_phrases"
    loops = len(unbroken) >= _FLOOR and repeated_share(unbroken, 20) > limit
    return "repeated_phrases" if loops else ""


def _unbroken(word: str) -> bool:
    return len(word) >= (_LONG if any(c.isalpha() for c in word) else _LONG_SIGNS)


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 for writing, 0.0 with the reason for a loop, an empty or an over-long text."""
    reason = reason_of(text, args_of(prompt))
    return good(0.0 if reason else 1.0, reason=reason)

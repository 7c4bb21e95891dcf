"""Exact match: the answer's text equals the reference.

Arguments: `ignore_case` (false), `ignore_punctuation` (false), `contains` (false: the whole text
must match; true: the reference may stand anywhere in it), `separator` (none: several right answers
in the reference, any of which counts). Space is always folded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from factory.judging.outcomes import Verdict, good
from factory.judging.verifiers._read import NO_REFERENCE, args_of, reference_of

VERSION = "2"


# Thousands' commas go; the point of 1.5, the bar of 3/4 and the sign of -5 are the number's own.
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SIGN = re.compile(r"(?<![^\s(\[$=])[-\u2212](?=[.$]?\d)")
_INSIDE = re.compile(r"(?<=\d)[.,/:](?=\d)|(?<![^\s-])\.(?=\d)|(?<=\d)%")


def _kept(text: str) -> set[int]:
    """Places of punctuation that is part of a number."""
    return {m.start() for rule in (_SIGN, _INSIDE) for m in rule.finditer(text)}


def normal(text: str, *, ignore_case: bool, ignore_punctuation: bool) -> str:
    """Text with folded space, in NFKC, and without case or punctuation where asked.

    Punctuation within a number stays: 1.5 is not 15, and -5 is not 5.
    """
    text = unicodedata.normalize("NFKC", text)
    if ignore_case:
        text = text.casefold()
    if ignore_punctuation:
        text = _THOUSANDS.sub("", text).replace("\u2212", "-")
        kept = _kept(text)
        text = "".join(
            c
            for i, c in enumerate(text)
            if i in kept or not unicodedata.category(c).startswith("P")
        )
    return " ".join(text.split())


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where the text is the reference, or contains it where asked."""
    reference, args = reference_of(prompt), args_of(prompt)
    if reference is None:
        return NO_REFERENCE
    case, marks = bool(args.get("ignore_case")), bool(args.get("ignore_punctuation"))
    separator = args.get("separator")
    answers = reference.split(str(separator)) if separator else [reference]
    right = [normal(a, ignore_case=case, ignore_punctuation=marks) for a in answers]
    given = normal(text, ignore_case=case, ignore_punctuation=marks)
    if args.get("contains"):
        return good(float(any(f" {r} " in f" {given} " for r in right if r)))
    return good(float(given in right))

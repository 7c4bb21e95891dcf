r"""GSM8K: the number after the answer mark equals the number of the reference.

Marks are `####` (the data set's own), `A:`, `\boxed{}`, "answer is" and "Answer:". What is computed
after a mark (`3 + 4 = 7`) is what follows its last equals sign. An answer without a mark
is wrong: the last number of a cut or looping text is not an answer. Argument `last_number: true`
reads it all the same. Data and the `####` convention: https://github.com/openai/grade-school-math.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from factory.judging.outcomes import Verdict, failed, good
from factory.judging.verifiers._read import NO_REFERENCE, args_of, reference_of

VERSION = "2"

_NUMBER = re.compile(r"-?\$?\d[\d,]{0,40}(?:\.\d{1,40})?|-?\$?\.\d{1,40}")
_MARK = re.compile(
    r"####|(?:^|\n)\s{0,20}A:|\\boxed\{|answer[*_ ]{0,5}(?:is\b[*_ ]{0,5}:?|:)", re.IGNORECASE
)
_SUM = re.compile(r"[ \t]{0,9}(?:[-+*/x\u00d7\u00f7^]|\\times|\\cdot|\\div)[ \t]{0,9}[-$(]{0,3}\d")
_FRACTION = re.compile(r"[ \t]{0,9}/[ \t]{0,9}\d")


def number(text: str) -> Decimal | None:
    """The first number of a text, thousands commas and a dollar sign aside."""
    found = _NUMBER.search(_plain(text))
    return Decimal(found[0].replace(",", "").replace("$", "")) if found else None


def _plain(text: str) -> str:
    """LaTeX's thousands and dollars, and the minus sign of typographers, as ASCII."""
    text = text.replace("{,}", ",").replace("\\,", "").replace("\\!", "")
    return text.replace("\\$", "$").replace("\u2212", "-")


def _stated(text: str) -> Decimal | None:
    """The number that is stated after a mark; None of a fraction, which is no number here."""
    text = _plain(text).lstrip("*_ \t\n:")
    line = text.split("\n", 1)[0]
    first = _NUMBER.search(line)
    if first is None:
        return number(text)
    if "=" in line[first.end() :] and _SUM.match(line, first.end()):
        last = line.rsplit("=", 1)[1]
        return number(last) if _NUMBER.search(last) else number(line)
    return None if _FRACTION.match(line, first.end()) else number(line)


def answer(text: str, *, last_number: bool = False) -> Decimal | None:
    """The number after the last mark; without a mark None, or the last number where asked for."""
    marks = list(_MARK.finditer(text))
    if marks:
        return _stated(text[marks[-1].end() : marks[-1].end() + 200])
    if not last_number:
        return None
    numbers = _NUMBER.findall(text[-400:])
    return number(numbers[-1]) if numbers else None


def verify(prompt: Mapping[str, object], text: str) -> Verdict:
    """1.0 where the marked number equals the reference's."""
    reference = reference_of(prompt)
    if reference is None:
        return NO_REFERENCE
    right = number(reference.rsplit("####", 1)[-1])
    if right is None:
        return failed("error", "reference_is_no_number")
    given = answer(text, last_number=bool(args_of(prompt).get("last_number", False)))
    if given is None:
        return good(0.0, reason="no_answer")
    return good(float(given == right))

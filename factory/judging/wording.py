"""What stands around a verdict: thoughts that come before it, words that take it back, numbers.

Pure, and bounded in time on any text. A verdict in a model's thoughts is a draft and none; a
verdict that its own line denies or changes is not clear, and to take the first of two numbers would
be a guess.
"""

from __future__ import annotations

import json
import re
from typing import cast

_THOUGHT = r"(?:think(?:ing)?|thoughts?|reasoning)"
_OPENED = re.compile(rf"\A\s*(?:<({_THOUGHT})>|\[({_THOUGHT})\])", re.IGNORECASE)
_CLOSED = re.compile(rf"^[ \t]*(?:</{_THOUGHT}>|\[/{_THOUGHT}\])", re.IGNORECASE | re.MULTILINE)


def spoken(text: str) -> str:
    """A reply without the thoughts that it begins with; empty where there is nothing but thoughts.

    `<think>...</think>` and the like. Many chat templates write the opening mark into the prompt,
    so a closing mark at the beginning of a line ends thoughts too where none was opened.
    """
    opened = _OPENED.match(text)
    if opened is None:
        closed = _CLOSED.search(text)
        return text[closed.end() :] if closed else text
    mark = f"</{opened[1]}>" if opened[1] else f"[/{opened[2]}]"
    end = text.lower().find(mark.lower(), opened.end())
    return "" if end < 0 else text[end + len(mark) :]


_DENIES = re.compile(
    r"(?:\bnot|n['\u2019]t|\bnever|\bneither|\bnor|\binstead of|\brather than)\s{1,3}"
    r"(?:(?:be|say|choose|pick|give|select|prefer|answer|output|write|go|for|with|as|the|a|it|rate|"
    r"grade|verdict|be)\s{1,3}){0,4}[*_`\"'(]{0,6}\Z",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\A[\s*_`\"')]{0,6}(?:is|was|seems|(?:would|could|might|may) be)"
    r"\s{1,3}(?:\w{1,12}\s{1,3})?(?:too|not|wrong|incorrect|false)\b",
    re.IGNORECASE,
)


def marked(text: str, pattern: str) -> list[tuple[str, bool]]:
    """Every first group of a pattern, and whether the words around it take it back."""
    return [
        (
            found[1],
            _DENIES.search(text[max(0, found.start() - 120) : found.start()]) is not None
            or _DENIED.match(text[found.end() : found.end() + 80]) is not None,
        )
        for found in re.finditer(pattern, text)
    ]


# --- numbers --------------------------------------------------------------------------------------

NUMBER = r"-?\d+(?:\.\d+)?"
_MARKS = r"[\s*_`\"'#>\[\](]{0,12}"
_OF = r"(?:[/\u2044\u2215\uff0f]|(?:out of|of|von|sur|de|su|di|av|van)\b)"
_FIRST = re.compile(
    # Of `4,5`, of `1e1`, of `4th` and of a 4 with a fraction sign only a part would be read.
    rf"({NUMBER})(?![\d.,'\u2019]*\d|e[-+]?\d|\s?[\u00bc-\u00be\u2150-\u215e]|\s?[%\u2030]|[a-z])"
    rf"{_MARKS}(?:{_OF}{_MARKS}(\d+)(?:\.0+)?)?",
    re.IGNORECASE,
)
_JOINS = (
    r"(?:to|or|and|no|not|maybe|perhaps|possibly|then|but|wait|actually|rather|minus|plus|times|make|"
    r"that|oder|bis|ou|o|a|\u00e0)"
)
_SECOND = re.compile(
    rf"\A[\s*_`\"'\])]*(?:\.{{2,3}}|[^\w.(\n]|(?<=\s){_JOINS}\b){{1,12}}\s*{NUMBER}", re.IGNORECASE
)
_RETRACTED = re.compile(
    r"\A(?:[^\w(\n]*(?:(?:is|was|seems|would be|might be|may be)\s{1,3}(?:\w{1,12}\s{1,3})?"
    r"(?:too|not|wrong|incorrect)\b|would\b|no\b|wait\b|if\b|unless\b|at first\b|initially\b)"
    r"|[\s*_`]*\?)",
    re.IGNORECASE,
)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number_in(text: str, *, top: float) -> float | str:
    """The number that a line begins with, or why it is none, in stable words.

    `top` is the upper end of the scale, for `4/5` and `4 out of 5`. What follows may explain the
    number and not change it: `3 -> 4`, `3, no, 4`, `4? 5?` and `5 - 1 = 4` name no number.
    """
    text = re.sub(rf"\A<\s*({NUMBER})\s*>", r"\1", text[:120])
    if re.match(r"n\s?/?\s?a\b", text, re.IGNORECASE):
        return "not_applicable"
    found = _FIRST.match(text)
    if found is None:
        return "no_number"
    if found[2] is not None and float(found[2]) != top:
        return "other_scale"
    rest, number = text[found.end(1 if found[2] is None else 0) :], float(found[1])
    if _SECOND.match(rest):
        return "range_of_numbers"
    if _RETRACTED.match(rest) or any(other != number for other in _others(rest, top)):
        return "conflicting_verdicts"
    return number


def _others(rest: str, top: float) -> list[float]:
    """Numbers further on in the line that are as good a verdict as the first."""
    out_of = rf"({NUMBER})\s{{0,3}}(?:/|out of)\s{{0,3}}{top:g}(?![\d.]*\d)"
    again = rf"(?:=|\b(?:rating|score|grade)\W{{0,3}}[:=])\W{{0,4}}({NUMBER})"
    found = [*re.findall(out_of, rest), *re.findall(again, rest, re.IGNORECASE)]
    aside = re.match(r"\s*\((\w{1,5})\)", rest)
    if aside and aside[1].lower() in _WORDS:
        found.append(str(_WORDS.index(aside[1].lower())))
    elif aside and aside[1].isdecimal():
        found.append(aside[1])
    return [float(number) for number in found]


# --- JSON -----------------------------------------------------------------------------------------


class Twice:
    """The value of a key that one object has twice, with two values."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    for key, value in pairs:
        made[key] = value if key not in made or made[key] == value else Twice()
    return made


def values_of(text: str, key: str) -> list[object]:
    """Every value that the reply's outermost JSON objects give a key; of at most 50 openings.

    What stands outside of all objects and looks like a value of the key counts too: half a JSON
    whose reason quotes an object of the answer would else be read as what it quotes.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    found, outside, at, last = list[object](), list[str](), 0, 0
    for _ in range(50):
        at = text.find("{", at)
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        outside.append(text[last:at])
        at = last = end
        held = cast("dict[str, object]", value)
        if key in held:
            found.append(held[key])
    stray = re.compile(
        rf'\\?"{re.escape(key)}\\?"\s{{0,9}}:\s{{0,9}}(-?\d[\d.]*|\\?"[^"\n]{{0,99}}"|\[)'
    )
    for said in stray.findall("\n".join([*outside, text[last:]])) if found else ():
        try:
            found.append(json.loads(said.replace("\\", "")))
        except ValueError:
            found.append(Twice())
    return found

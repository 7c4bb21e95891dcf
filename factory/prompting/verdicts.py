"""Reads what a recorded verdict says: a winner, a probability, a score, or nothing (law 6).

Pure functions of values. A verdict that is not on the scale is `unparsed`, never a tie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

Scalar = str | int | float | bool | None

_FIRST = ("1", "a", "first", "left", "model_a", "model_1", "output_1", "response_1")
_SECOND = ("2", "b", "second", "right", "model_b", "model_2", "output_2", "response_2")
_DRAWS = ("0", "1.5", "tie", "draw", "same", "c")
TWO_WAYS = frozenset({"0", "1"})
"""Labels that say two things: by the common ones 0 is a draw, in a yes-no column it is a loser."""
NUMBERS = frozenset({"0", "1", "1.5", "2"})
"""The numbers that have a common meaning; any other needs a scale."""


class Scale(BaseModel):
    """How a pairwise verdict is written: labels of either side and of a draw."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: tuple[Scalar, ...] = _FIRST
    second: tuple[Scalar, ...] = _SECOND
    draws: tuple[Scalar, ...] = _DRAWS
    between: bool = False
    """A number between the first labels of `first` and `second` is the probability it leans to."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A pairwise verdict in listed order: P(first is better), or None when it did not parse."""

    p_first: float | None

    @property
    def status(self) -> str:
        """`ok` or `unparsed`."""
        return "unparsed" if self.p_first is None else "ok"

    @property
    def winner(self) -> int | None:
        """0 or 1 in listed order; None for a draw or no verdict."""
        if self.p_first is None or self.p_first == 0.5:
            return None
        return 0 if self.p_first > 0.5 else 1


def label(value: object) -> str:
    """A value as a label: 1, 1.0 and "1" are the same, and so are True and "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def verdict_label(value: object) -> str:
    """A verdict as a label: also a number in words, for a CSV file writes 1 as 1.0 or 1.000."""
    text = label(value).strip().casefold()
    number = score(text) if text else None
    return text if number is None else label(number)


def preference(
    value: object, *, scale: Scale | None = None, names: tuple[str, str] = ("", "")
) -> Preference:
    """Read a pairwise verdict.

    Args:
        value: what the file has.
        scale: how it is written; the common labels by default.
        names: the two models; a verdict may name the winner.
    """
    scale = scale or Scale()
    written, named = verdict_label(value), label(value).strip().casefold()
    if not written:
        return Preference(None)
    if names[0] != names[1] and named in {n.casefold() for n in names if n}:
        return Preference(1.0 if named == names[0].casefold() else 0.0)
    for labels, p in ((scale.draws, 0.5), (scale.first, 1.0), (scale.second, 0.0)):
        if written in {verdict_label(one) for one in labels}:
            return Preference(p)
    return Preference(_between(value, scale) if scale.between else None)


def _between(value: object, scale: Scale) -> float | None:
    number, first, second = score(value), score(scale.first[0]), score(scale.second[0])
    if number is None or first is None or second is None or first == second:
        return None
    p_second = (number - first) / (second - first)
    return 1.0 - p_second if 0.0 < p_second < 1.0 else None


def score(value: object) -> float | None:
    """A number, however it is written; None for what is none."""
    if isinstance(value, bool):
        return float(value)
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]  # whatever fails is no number
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def shown_second_first(value: object) -> bool | None:
    """Whether the second listed answer was displayed first; None when the file does not say."""
    written = verdict_label(value)
    if written in _SECOND:
        return True
    return False if written in _FIRST else None

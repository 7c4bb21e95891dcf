"""Which questions are still worth asking: the pure half of panels that ask in turn.

A pair needs a prompt's best and its worst completion, not everybody's score. Questions are asked
one after another of all completions that may still be either; whoever is certain to be neither is
asked no further, and a prompt ends when one best and one worst are left. This is successive
elimination (Even-Dar, Mannor and Mansour 2006, jmlr.org/papers/v7/evendar06a.html) with the ends of
the scale as bounds: without `stop` it gives the pair that all questions give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from factory.rows import content_id, share_of

CLOSE = 1e-9
"""Sums of shares of a scale are floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What to do with a prompt: ask a question of some completions, or score some and end."""

    ask: tuple[str, ...] = ()
    question: int = 0
    """Which question they are asked, counted from 0."""
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    """Mean share of the scale, in [0, 1], of what was asked; only where the prompt is settled."""
    asked: int = 0
    """Questions behind the scores."""


def drawn(questions: Collection[tuple[int, str]], *, prompt_id: str) -> list[tuple[int, str]]:
    """Questions (number of the member, aspect) in the order that a prompt's hash draws."""
    return sorted(
        questions, key=lambda q: (share_of(content_id("question", list(q)), prompt_id), q)
    )


def settle(
    said: Mapping[str, Sequence[float | None]],
    *,
    questions: int,
    stop: float | None = None,
    may_win: Collection[str] | None = None,
) -> Turn:
    """The next turn of a prompt.

    Args:
        said: completion -> its answers so far, question by question, each a share of the scale in
            [0, 1]; None where the judge gave no verdict. Such a completion is out from the start,
            so whoever it had put out is back.
        questions: how many there are.
        stop: a lead of this share of one question's scale settles; without it, only a lead that
            the questions left cannot make good.
        may_win: completions that may be chosen; by default all. The others can only be worst.
    """
    rest = [i for i, answers in said.items() if None not in answers]
    winners = set(rest if may_win is None else may_win)
    for asked in range(questions + 1):
        sums = {i: sum(a for a in said[i][:asked] if a is not None) for i in rest}
        if len(rest) < 2 or winners.isdisjoint(rest):
            return Turn()
        tops, lows = _in_reach(sums, winners, left=questions - asked, stop=stop if asked else None)
        settled = len(tops) == len(lows) == 1 and tops != lows
        if asked == questions or settled:
            kept = tops | lows if settled and asked < questions else set(rest)
            # Rounded, because a tie must stay one: sums of shares differ in their last bit.
            scores = {i: round(sums[i] / asked, 12) for i in rest if i in kept}
            return Turn(scores=scores, asked=asked)
        rest = [i for i in rest if i in tops | lows]
        lacking = tuple(i for i in rest if len(said[i]) <= asked)
        if lacking and len(rest) > 1:
            return Turn(ask=lacking, question=asked)
    raise AssertionError("the last question ends every prompt")


def _in_reach(
    sums: Mapping[str, float], winners: Collection[str], *, left: int, stop: float | None
) -> tuple[set[str], set[str]]:
    """Who may still be the best of those that may be chosen, and who the worst of all."""

    def behind(lead: float) -> bool:
        return lead > left + CLOSE or (stop is not None and lead >= stop - CLOSE)

    best = max(total for i, total in sums.items() if i in winners)
    worst = min(sums.values())
    tops = {i for i, total in sums.items() if i in winners and not behind(best - total)}
    lows = {i for i, total in sums.items() if not behind(total - worst)}
    return tops, lows


def decisive(shares: Sequence[float], *, wanted: float) -> bool:
    """Whether a judge tells a prompt's completions apart: its scores spread by more than that."""
    return len(shares) > 1 and max(shares) - min(shares) > max(wanted, 0.0) + CLOSE

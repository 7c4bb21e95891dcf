"""The gate's arithmetic: pure functions of per-prompt scores.

Samples of one prompt are not independent, nor are the turns of one conversation, so every interval
is over prompt means (cluster-robust), with Student's t. Turns are compared each with its like, and
a prompt's value is the mean over its turns. Promotion asks for the one-sided lower bound of the win
rate to lie above the bar (0.5), never for the point estimate. A few prompts that all say the same
have no spread, so the bound is never above what wins on all of them would show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over prompts with its bounds."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate found for one candidate against one champion."""

    candidate: Interval
    """Mean score of the candidate, two-sided interval."""
    champion: Interval
    difference: Interval
    """Candidate minus champion, paired by prompt; `low` is the one-sided bound."""
    win: Interval
    """P(a candidate's sample beats a champion's), ties half; `low` is the one-sided bound."""
    wins: Mapping[str, float]
    """Win of each prompt, in [0, 1]."""
    promoted: bool
    reason: str


def measure(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Mean of per-prompt values with a two-sided t interval.

    One value, or none, has no interval: its bounds are infinite (NaN mean for none).
    """
    return _interval(values, quantile=0.5 + confidence / 2)


def compare(
    candidate: Mapping[str, Sequence[float]],
    champion: Mapping[str, Sequence[float]],
    *,
    confidence: float = 0.95,
    min_win_rate: float = 0.5,
) -> Decision:
    """Decide on a candidate from scores of its samples and the champion's, prompt by prompt.

    Args:
        candidate: unit (`unit_of`) -> scores of the candidate's samples (any scale, more is
            better). An empty list is a turn that it could not be asked, because it had no finished
            answer to go on from: that turn is lost.
        champion: the same for the champion. Units that only one of them has do not count.
        confidence: of the one-sided bounds and of the two-sided intervals.
        min_win_rate: the bar that the lower bound of the win rate must pass.
    """
    shared = sorted(u for u in candidate.keys() & champion.keys() if candidate[u] or champion[u])
    both = [u for u in shared if candidate[u] and champion[u]]
    means_x = prompt_means({u: candidate[u] for u in both})
    means_c = prompt_means({u: champion[u] for u in both})
    wins = prompt_means({u: [_won(candidate[u], champion[u])] for u in shared})
    win = _capped(_interval(list(wins.values()), quantile=confidence), confidence)
    difference = _interval([means_x[p] - means_c[p] for p in means_x], quantile=confidence)
    promoted = win.low > min_win_rate
    reason = (
        f"win rate {win.mean:.3f}, lower bound {win.low:.3f} "
        f"{'>' if promoted else '<='} {min_win_rate:g} over {win.n} prompts"
    )
    return Decision(
        candidate=measure(list(means_x.values()), confidence=confidence),
        champion=measure(list(means_c.values()), confidence=confidence),
        difference=difference,
        win=win,
        wins=wins,
        promoted=promoted,
        reason=reason,
    )


def _capped(win: Interval, confidence: float) -> Interval:
    """No sample shows more than wins on all of its prompts would (Clopper and Pearson, 1934).

    Student's t knows no doubt where all values are alike, however few they are.
    """
    most = (1 - confidence) ** (1 / win.n) if win.n else -math.inf
    return replace(win, low=min(win.low, most))


def unit_of(prompt_id: str, turn: int) -> str:
    """What is compared: a turn, from 0, of a held-out prompt; the first one has the prompt's id."""
    return f"{prompt_id}#{turn + 1}" if turn else prompt_id


def prompt_means(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The mean of each prompt over its turns, by prompt_id; a turn is the mean of its samples."""
    turns: dict[str, list[float]] = {}
    for unit, values in sorted(scores.items()):
        if values:
            turns.setdefault(unit.partition("#")[0], []).append(_mean(values))
    return {prompt_id: _mean(values) for prompt_id, values in turns.items()}


def _won(candidate: Sequence[float], champion: Sequence[float]) -> float:
    if candidate and champion:
        return win_share(candidate, champion)
    return 1.0 if candidate else 0.0


def win_share(candidate: Sequence[float], champion: Sequence[float]) -> float:
    """P(a sample of the candidate scores higher than one of the champion), ties half."""
    total = sum(1.0 if x > c else 0.5 if x == c else 0.0 for x in candidate for c in champion)
    return total / (len(candidate) * len(champion))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _interval(values: Sequence[float], *, quantile: float) -> Interval:
    n = len(values)
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = _mean(values)
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    from scipy.stats import t

    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    half = float(t.ppf(quantile, n - 1)) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n)

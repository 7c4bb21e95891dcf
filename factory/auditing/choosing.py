"""Which cheap plan may be used: chosen on some prompts, measured on others.

The plan that looks best on some pairs looks better on them than it is (Cawley and Talbot 2010,
jmlr.org/papers/v11/cawley10a.html). So prompts are dealt into folds by the hash of their id, each
fold is measured under the plan that was chosen without it, and the interval is over resampled
prompts with the choice made anew in every draw (cross-fitting: Chernozhukov et al. 2018,
doi 10.1111/ectj.12097; cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from factory.auditing.numbers import LEVEL, TOO_FEW, Estimate, Floats, Ints, codes_of, finite
from factory.rows import share_of

KEPT, RIGHT, COST, CALLS = range(4)
"""Columns of what a plan makes of pairs, (N, 4): whether the pair is kept (the plan names a better
answer), whether it is kept and people say the same, what its calls cost, how many they are. A plan
that draws has expected values."""
FOLDS = 5
RESAMPLES = 1_000
MOST_LOSS = 1.5
"""Points of agreement with people that a cheap plan may lose."""
WHOLE = ""
"""The name of the plan that asks everything: what is chosen where no cheap plan is good enough."""
_SURE = 1.959964
"""Normal deviate of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A plan beside the whole one; losses and savings in points and per cent."""

    pairs: int
    kept: float
    """Per cent of the pairs."""
    agreement: float
    """Per cent of the kept pairs."""
    calls: float
    """Per kept pair, as cost."""
    cost: float
    saved: Estimate
    """Per cent of the whole plan's cost per kept pair."""
    loss: Estimate
    """The whole plan's agreement on the pairs that it keeps less this one's."""
    loss_over_all: Estimate
    """The same over all pairs, half a point for one that is not kept."""

    def within(self, most_loss: float) -> bool:
        """Whether both losses' whole intervals are within the bound."""
        return all(
            e.high is not None and e.high <= most_loss for e in (self.loss, self.loss_over_all)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A plan that was chosen, and what the choosing is worth on prompts that it did not see."""

    plan: str
    """Chosen on all prompts: the one to use."""
    by_fold: tuple[str, ...]
    """Chosen without each fold."""
    measured: Measured
    """Every pair under the plan that was chosen without its fold."""


def measured(whole: Floats, made: Floats, prompts: Sequence[str]) -> Measured:
    """A fixed plan beside the whole one, with intervals clustered by prompt.

    Args:
        whole: (N, 4) what asking everything makes of the pairs.
        made: (N, 4) what the plan makes of them.
        prompts: (N,) prompt of each pair.
    """
    sums = _Sums.of([whole, made], prompts)
    always = np.ones(FOLDS, dtype=np.int64)
    return _measured(sums, always, [(weights, always) for weights in _draws(sums)])


def chosen(
    whole: Floats,
    plans: Mapping[str, Floats],
    prompts: Sequence[str],
    *,
    most_loss: float = MOST_LOSS,
) -> Chosen:
    """The cheapest plan whose loss stays within the bound, and what choosing so saves and loses.

    Args:
        whole: (N, 4) what asking everything makes of the pairs.
        plans: name -> (N, 4).
        prompts: (N,) prompt of each pair.
        most_loss: the upper ends of both losses' 95 % intervals, on the prompts that are chosen by.
    """
    names = [WHOLE, *plans]
    sums = _Sums.of([whole, *plans.values()], prompts)
    ones = np.ones(sums.folds.size)
    by_fold = _without_each(sums, ones, most_loss)
    draws = [(weights, _without_each(sums, weights, most_loss)) for weights in _draws(sums)]
    return Chosen(
        plan=names[_cheapest(sums, ones, most_loss)],
        by_fold=tuple(names[k] for k in by_fold),
        measured=_measured(sums, by_fold, draws),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """What P plans made of the pairs of C prompts; the first plan is the whole one."""

    by_prompt: Floats
    """(P, C, 5): pairs kept, right, right with half a point for no pair, cost, calls."""
    pairs: Floats
    """(C,) of each prompt."""
    folds: Ints
    """(C,)"""

    @staticmethod
    def of(made: Sequence[Floats], prompts: Sequence[str]) -> _Sums:
        """Sums over each prompt's pairs: prompts are what is drawn, and dealt into folds."""
        codes = codes_of(prompts)
        names = list(dict.fromkeys(prompts))

        def summed(values: Floats) -> Floats:
            return np.bincount(codes, weights=values, minlength=len(names)).astype(np.float64)

        columns = [
            [m[:, KEPT], m[:, RIGHT], m[:, RIGHT] + (1 - m[:, KEPT]) / 2, m[:, COST], m[:, CALLS]]
            for m in made
        ]
        return _Sums(
            by_prompt=np.array([np.stack([summed(c) for c in plan], axis=-1) for plan in columns]),
            pairs=summed(np.ones(codes.size)),
            folds=np.array([int(FOLDS * share_of(name, "fold")) for name in names], dtype=np.int64),
        )


def _draws(sums: _Sums) -> Iterator[Floats]:
    """How often each prompt is drawn, (C,), draw after draw; none with too few prompts."""
    n, rng = sums.folds.size, np.random.default_rng(0)
    for _ in range(RESAMPLES if n >= TOO_FEW else 0):
        yield rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64)


def _without_each(sums: _Sums, weights: Floats, most_loss: float) -> Ints:
    """(FOLDS,) the plan that is chosen where a fold is not seen."""
    picked = [_cheapest(sums, weights * (sums.folds != f), most_loss) for f in range(FOLDS)]
    return np.array(picked, dtype=np.int64)


def _cheapest(sums: _Sums, weights: Floats, most_loss: float) -> int:
    """The cheapest plan per kept pair of those that lose little enough; 0, the whole one, if none.

    Upper ends are normal, from the cluster-robust error of a ratio's linear part (delta method):
    a choice inside a draw cannot be resampled itself.
    """
    n = weights.sum()
    if np.count_nonzero(weights) < TOO_FEW:
        return 0
    total = np.einsum("c,pck->pk", weights, sums.by_prompt)
    kept, share = total[:, 0], total[:, 1] / np.maximum(total[:, 0], 1e-12)
    # (P, C): what each prompt adds to a plan's agreement, and to its score over all pairs.
    of_kept = (sums.by_prompt[:, :, 1] - share[:, None] * sums.by_prompt[:, :, 0]) / np.maximum(
        kept[:, None], 1e-12
    )
    pairs = weights @ sums.pairs
    over = sums.by_prompt[:, :, 2] / pairs
    gap = (over[0] - over) @ weights
    apart = over[0] - over - gap[:, None] * sums.pairs / pairs
    spread = n / (n - 1)
    close = np.ones(len(total), dtype=bool)
    for loss, part in ((share[0] - share, of_kept[0] - of_kept), (gap, apart)):
        error = np.sqrt(spread * (part**2 @ weights))
        close &= 100 * (loss + _SURE * error) <= most_loss
    close[0] = True
    price = np.where(close & (kept > 0), total[:, 3] / np.maximum(kept, 1e-12), np.inf)
    return int(np.argmin(price))


def _measured(sums: _Sums, by_fold: Ints, draws: Iterable[tuple[Floats, Ints]]) -> Measured:
    """Every pair under the plan of its prompt's fold, beside the whole plan."""
    ones = np.ones(sums.folds.size)
    _, made = _totals(sums, ones, by_fold)
    drawn = np.array([_three(sums, weights, picked) for weights, picked in draws])
    values = _three(sums, ones, by_fold)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends = np.nanquantile(drawn, tails, axis=0).T if len(drawn) else [(None, None)] * 3
    n = int(sums.pairs.sum())
    each = max(float(made[0]), 1e-12)
    saved, loss, over_all = (
        Estimate(
            value=finite(value),
            low=None if low is None else finite(low),
            high=None if high is None else finite(high),
            n=n,
            clusters=sums.folds.size,
        )
        for value, (low, high) in zip(values, ends, strict=True)
    )
    return Measured(
        pairs=n,
        kept=100 * float(made[0] / n),
        agreement=100 * float(made[1]) / each,
        calls=float(made[4]) / each,
        cost=float(made[3]) / each,
        saved=saved,
        loss=loss,
        loss_over_all=over_all,
    )


def _totals(sums: _Sums, weights: Floats, by_fold: Ints) -> tuple[Floats, Floats]:
    """(5,) of the whole plan and (5,) of the chosen ones."""
    made = sums.by_prompt[by_fold[sums.folds], np.arange(sums.folds.size)]
    return weights @ sums.by_prompt[0], weights @ made


def _three(sums: _Sums, weights: Floats, by_fold: Ints) -> tuple[float, float, float]:
    """Saved per cent, loss, loss over all pairs; NaN where nothing is kept or paid."""
    base, made = _totals(sums, weights, by_fold)
    with np.errstate(divide="ignore", invalid="ignore"):
        saved = 1 - (made[3] / made[0]) / (base[3] / base[0])
        loss = base[1] / base[0] - made[1] / made[0]
    over_all = (base[2] - made[2]) / (weights @ sums.pairs)
    return 100 * float(saved), 100 * float(loss), 100 * float(over_all)

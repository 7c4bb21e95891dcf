"""How often a judge says what people say, and what of that is more than chance.

Raw agreement is the share of equal classes. Cohen's kappa (1960), Fleiss' kappa (1971) and
Krippendorff's alpha (2018) take away the agreement that chance would give; they come from
statsmodels and evalica. People are compared with each other the same way (each against the majority
of the others), because a judge cannot agree with people more than they agree among themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from factory.auditing.ballots import Ballots, Unit, majority, paired
from factory.auditing.numbers import (
    LEVEL,
    NOTHING,
    RESAMPLES,
    TOO_FEW,
    Estimate,
    Floats,
    Ints,
    codes_of,
    finite,
    rate,
    resampled,
)

MOST_CLASSES = 20
"""Scores with more distinct values are numbers, not classes: agreement on them is not counted.
(Matrices of classes by classes would also grow without end: every logit is a class of its own.)"""
MOST_RATERS = 12
"""With more people, they are compared as a group and not two by two."""
_FEW_RESAMPLES = 100


def with_reference(
    ballots: Ballots, judge: str, reference: dict[Unit, float], *, seed: int = 0
) -> dict[str, Any] | None:
    """One judge against the reference's classes; None where they share no unit.

    The columns: `agreement` among verdicts, `agreement_decided` where neither said tie,
    `agreement_asked` with the judge's failures counted as wrong, `kappa`, macro-averaged
    `precision`, `recall` and `f1`, `n`, `failed`.
    """
    units, mine, theirs, failed = paired(ballots.votes[judge], reference)
    if (not units and not failed) or not (classes(mine) and classes(theirs)):
        return None
    prompts = ballots.prompts_of(units)
    same = np.array([a == b for a, b in zip(mine, theirs, strict=True)], dtype=np.float64)
    missed = [u for u, v in ballots.votes[judge].items() if v is None and u in reference]
    asked = rate(
        np.concatenate([same, np.zeros(len(missed))]), prompts + ballots.prompts_of(missed)
    )
    row: dict[str, Any] = {"judge": judge, "n": len(units), "failed": failed}
    row |= rate(same, prompts).columns("agreement")
    if ballots.level == "pairs":
        decided = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a and b]
        row["n_decided"] = len(decided)
        row |= rate(same[decided], [prompts[i] for i in decided]).columns("agreement_decided")
    row |= asked.columns("agreement_asked")
    row |= cohen(mine, theirs, prompts, seed=seed).columns("kappa")
    return row | _macro(mine, theirs)


def classes(scores: Iterable[float]) -> bool:
    """Whether scores are few enough to be classes, of which two can be the same."""
    return len(set(scores)) <= MOST_CLASSES


def _macro(mine: Sequence[float], theirs: Sequence[float]) -> dict[str, float | None]:
    """Precision, recall and F1, each the plain mean over the classes (scikit-learn's macro)."""
    from sklearn.metrics import precision_recall_fscore_support

    if not mine:
        return {"precision": None, "recall": None, "f1": None}
    codes = codes_of([*theirs, *mine])
    found = precision_recall_fscore_support(
        codes[: len(theirs)],
        codes[len(theirs) :],
        average="macro",
        zero_division=0,  # pyright: ignore[reportArgumentType]  # the stubs forget the numbers
    )
    return dict(zip(("precision", "recall", "f1"), map(float, found[:3]), strict=True))


def people(ballots: Ballots, raters: Sequence[str]) -> dict[str, Any] | None:
    """Each person against the majority of the others: what a judge's agreement is to be held to."""
    same: list[float] = []
    prompts: list[str] = []
    decided: list[tuple[float, str]] = []
    for rater in raters:
        others = majority(ballots, raters, leave_out=rater)
        units, mine, theirs, _ = paired(ballots.votes[rater], others)
        if not (classes(mine) and classes(theirs)):
            return None
        for unit, a, b in zip(units, mine, theirs, strict=True):
            same.append(float(a == b))
            prompts.append(ballots.prompts[unit])
            if ballots.level == "pairs" and a and b:
                decided.append((float(a == b), ballots.prompts[unit]))
    if not same:
        return None
    row: dict[str, Any] = {"judge": "people, each against the others", "n": len(same), "failed": 0}
    row |= rate(same, prompts).columns("agreement")
    if ballots.level == "pairs":
        row["n_decided"] = len(decided)
        row |= rate([s for s, _ in decided], [p for _, p in decided]).columns("agreement_decided")
    return row


def two_by_two(ballots: Ballots, raters: Sequence[str], *, seed: int = 0) -> list[dict[str, Any]]:
    """Every two raters that share units: raw agreement and Cohen's kappa."""
    rows: list[dict[str, Any]] = []
    for a, b in itertools.combinations(raters, 2):
        known = {u: v for u, v in ballots.votes[b].items() if v is not None}
        units, mine, theirs, _ = paired(ballots.votes[a], known)
        if not units or not (classes(mine) and classes(theirs)):
            continue
        prompts = ballots.prompts_of(units)
        same = np.array([x == y for x, y in zip(mine, theirs, strict=True)], dtype=np.float64)
        row: dict[str, Any] = {"rater_a": a, "rater_b": b, "n": len(units)}
        row |= rate(same, prompts).columns("agreement")
        rows.append(row | cohen(mine, theirs, prompts, seed=seed).columns("kappa"))
    return rows


# --- beyond chance --------------------------------------------------------------------------------


def cohen(
    mine: Sequence[float], theirs: Sequence[float], prompts: Sequence[str], *, seed: int = 0
) -> Estimate:
    """Cohen's kappa of two raters, with an interval over resampled prompts."""
    from statsmodels.stats.inter_rater import cohens_kappa

    if not mine:
        return NOTHING
    classes = codes_of([*mine, *theirs])
    k = int(classes.max()) + 1
    cells = classes[: len(mine)] * k + classes[len(mine) :]
    table = np.bincount(cells, minlength=k * k).reshape(k, k)
    if k < 2:  # one class alone: chance agrees fully and kappa is 0 / 0
        return Estimate(value=None, n=len(mine))
    value = finite(cast("float", cohens_kappa(table, return_results=False)))
    groups = codes_of(prompts)
    n_groups = int(groups.max()) + 1
    if n_groups < TOO_FEW or value is None:
        return Estimate(value=value, n=len(mine), clusters=n_groups)
    drawn = kappas(_resampled_tables(cells, groups, k, seed=seed))
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value=value, low=float(low), high=float(high), n=len(mine), clusters=n_groups)


def _resampled_tables(cells: Ints, groups: Ints, k: int, *, seed: int) -> Floats:
    """(RESAMPLES, k, k) confusion matrices of resampled prompts.

    Counted per prompt once, so that a resample is a product of matrices.
    """
    n_groups = int(groups.max()) + 1
    by_group = np.zeros((n_groups, k * k))
    np.add.at(by_group, (groups, cells), 1)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=RESAMPLES)
    return (drawn @ by_group).reshape(RESAMPLES, k, k)


def kappas(tables: Floats) -> Floats:
    """Cohen's kappa of confusion matrices (..., k, k); NaN where chance agrees fully."""
    total = tables.sum(axis=(-2, -1))
    seen = np.trace(tables, axis1=-2, axis2=-1) / total
    chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / total**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chance < 1, (seen - chance) / (1 - chance), np.nan)


def among(
    ballots: Ballots, raters: Sequence[str], *, name: str, seed: int = 0
) -> dict[str, Any] | None:
    """A group of raters as a whole: Fleiss' kappa and Krippendorff's alpha.

    Fleiss' kappa needs as many votes on every unit and is null otherwise; alpha does not. Scores
    are also compared as numbers (`alpha_interval`): there 4 is nearer to 5 than 1 is. Raters whose
    scores are no classes are left out.
    """
    raters = [r for r in raters if classes(v for v in ballots.votes[r].values() if v is not None)]
    matrix, prompts = _matrix(ballots, raters)
    if matrix.shape[0] < 2 or matrix.shape[1] < 1:
        return None

    def nominal(picked: Ints) -> float | None:
        return _alpha(matrix[:, picked], "nominal")

    def interval(picked: Ints) -> float | None:
        return _alpha(matrix[:, picked], "interval")

    def fleiss(picked: Ints) -> float | None:
        return _fleiss(matrix[:, picked])

    row: dict[str, Any] = {"raters": name, "n_raters": matrix.shape[0], "n": matrix.shape[1]}
    numbers = [("fleiss", fleiss), ("alpha", nominal)]
    if ballots.level == "completions":
        numbers.append(("alpha_interval", interval))
    for label, statistic in numbers:
        row |= resampled(statistic, prompts, resamples=_FEW_RESAMPLES, seed=seed).columns(label)
    return row


def _matrix(ballots: Ballots, raters: Sequence[str]) -> tuple[Floats, list[str]]:
    """(raters, units) classes, NaN where there is none, of units with two votes or more."""
    place: dict[Unit, int] = {}
    for rater in raters:
        for unit in ballots.votes.get(rater, {}):
            place.setdefault(unit, len(place))
    matrix = np.full((len(raters), len(place)), np.nan)
    for i, rater in enumerate(raters):
        for unit, vote in ballots.votes.get(rater, {}).items():
            if vote is not None:
                matrix[i, place[unit]] = vote
    kept = (~np.isnan(matrix)).sum(axis=0) >= 2
    prompts = [p for p, k in zip(ballots.prompts_of(place), kept, strict=True) if k]
    return matrix[:, kept], prompts


def _alpha(matrix: Floats, distance: Any) -> float | None:
    import evalica
    import pandas as pd

    if len(np.unique(matrix[~np.isnan(matrix)])) < 2:
        return None
    return float(evalica.alpha(pd.DataFrame(matrix), distance=distance).alpha)


def _fleiss(matrix: Floats) -> float | None:
    from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

    votes = (~np.isnan(matrix)).sum(axis=0)
    if len(set(votes.tolist())) != 1 or len(np.unique(matrix[~np.isnan(matrix)])) < 2:
        return None
    # Every unit has as many votes, whoever gave them: Fleiss asks no more.
    by_unit = np.sort(matrix, axis=0)[: int(votes[0])].T
    table, _ = aggregate_raters(by_unit)
    return float(fleiss_kappa(table))

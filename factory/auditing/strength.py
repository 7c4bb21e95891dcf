"""Strengths of models from comparisons: Bradley-Terry, and the same with style held equal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.auditing.games import Game
from factory.auditing.numbers import TOO_FEW, Floats, Ints, codes_of, finite

TERMS = ("length", "headers", "lists", "bold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """A Bradley-Terry strength: natural-log odds against the average model, and its interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A win rate in percent against the baseline with style held equal, and its interval."""

    win_rate: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Styled:
    """Every model's style-controlled win rate, and what each term of style weighs."""

    models: dict[str, Style]
    terms: list[dict[str, Any]]


def strengths(games: Sequence[Game], *, resamples: int = 200, seed: int = 0) -> dict[str, Strength]:
    """Bradley-Terry strengths with a percentile interval over resampled prompts.

    A verdict of probability p counts as p of a win and 1 - p of a loss. Strengths exist only among
    models of which each has won, directly or through others, against each (Ford 1957, doi
    10.2307/2308513): a model that never lost, or never won, or met none of these, has the value
    None. Of several such groups the largest is shown.
    """
    if not games:
        return {}
    models = sorted({m for g in games for m in (g.first, g.second)})
    prompts = codes_of([g.prompt_id for g in games])
    n_prompts = int(prompts.max()) + 1
    played = _Played(games, models)
    once = np.ones(len(games))
    group = played.group(once)
    value = played.fit(once, group)
    if n_prompts < TOO_FEW or not resamples or not len(group):
        return {m: Strength(value=finite(v)) for m, v in zip(models, value, strict=True)}
    rng = np.random.default_rng(seed)
    drawn = np.array([
        played.fit(counts, group)
        for counts in (_draw(rng, n_prompts)[prompts] for _ in range(resamples))
    ])  # fmt: skip
    return {
        m: _strength(float(v), drawn[:, i])
        for i, (m, v) in enumerate(zip(models, value, strict=True))
    }


def _draw(rng: np.random.Generator, n: int) -> Floats:
    """(n,) how often each of n prompts is in one resample."""
    return np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)


def _strength(value: float, drawn: Floats) -> Strength:
    sure = drawn[np.isfinite(drawn)]
    if finite(value) is None or len(sure) < len(drawn) // 2:
        return Strength(value=finite(value))
    low, high = np.quantile(sure, [0.025, 0.975])
    return Strength(value=value, low=float(low), high=float(high))


class _Played:
    """Games by number: who played whom, and P(the first won)."""

    def __init__(self, games: Sequence[Game], models: Sequence[str]) -> None:
        place = {m: i for i, m in enumerate(models)}
        self.models = models
        self.first = np.array([place[g.first] for g in games])
        self.second = np.array([place[g.second] for g in games])
        self.p = np.array([g.p for g in games])

    def group(self, counts: Floats) -> Ints:
        """The largest group of models (numbers, sorted) among which strengths exist; or none."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = len(self.models)
        won = coo_array(
            (
                np.concatenate([self.p * counts, (1 - self.p) * counts]),
                (np.concatenate([self.first, self.second]),
                 np.concatenate([self.second, self.first])),
            ),
            shape=(n, n),
        ).tocsr()  # fmt: skip
        won.eliminate_zeros()
        _, labels = connected_components(won, directed=True, connection="strong")
        sizes = np.bincount(labels)
        largest = np.flatnonzero(labels == int(sizes.argmax()))
        return largest if len(largest) > 1 else largest[:0]

    def fit(self, counts: Floats, group: Ints) -> Floats:
        """(M,) log strengths around the group's mean of 0; NaN outside of it.

        All NaN where these counts leave the group without a strength of each of its models.
        """
        import evalica
        import pandas as pd

        found = np.full(len(self.models), np.nan)
        inside = np.isin(self.first, group) & np.isin(self.second, group) & (counts > 0)
        if not inside.any() or not np.array_equal(self.group(counts * inside), group):
            return found
        names = [self.models[i] for i in group]
        first = [self.models[i] for i in self.first[inside]]
        second = [self.models[i] for i in self.second[inside]]
        won: list[Any] = [evalica.Winner.X] * len(first) + [evalica.Winner.Y] * len(first)
        p, times = self.p[inside], counts[inside]
        scores = evalica.bradley_terry(
            first * 2, second * 2, won, index=pd.Index(names),
            weights=np.concatenate([p * times, (1 - p) * times]).tolist(), limit=10_000,
        ).scores.reindex(names)  # fmt: skip
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(scores.to_numpy(dtype=np.float64))
        found[group] = logs - logs.mean()
        return found


# --- style ----------------------------------------------------------------------------------------


def styled(games: Sequence[Game], *, baseline: str) -> Styled | None:
    """Bradley-Terry with style terms: a binomial GLM whose errors are robust to prompts' clusters.

    The terms are Arena-Hard-Auto's: (length_a - length_b) / (length_a + length_b), and for headers,
    lists and bold the difference of densities d = count / (length + 1) over d_a + d_b + 1; each is
    then divided by its standard deviation. They are not centred: two answers of one style must give
    0, whichever of them was listed first.

    Returns:
        None where no length is known or nothing can be fitted.
    """
    known = [g for g in games if g.first_chars is not None and g.second_chars is not None]
    models = sorted({m for g in known for m in (g.first, g.second)} - {baseline})
    if not known or not models:
        return None
    place = {m: i for i, m in enumerate(models)}
    who = np.zeros((len(known), len(models)))
    for row, g in enumerate(known):
        if g.first in place:
            who[row, place[g.first]] += 1
        if g.second in place:
            who[row, place[g.second]] -= 1
    terms = np.array([_terms(g) for g in known])
    spread = terms.std(axis=0, ddof=1)
    used = [i for i, s in enumerate(spread) if s > 0]
    design = np.column_stack([who, terms[:, used] / spread[used]])
    fitted = _clustered_glm(np.array([g.p for g in known]), design, known)
    if fitted is None:
        return None
    coefficients, low, high = fitted
    names = [TERMS[i] for i in used]
    return Styled(
        models={
            m: Style(
                win_rate=_percent(coefficients[i]), low=_percent(low[i]), high=_percent(high[i])
            )
            for m, i in place.items()
        },
        terms=[
            {"term": name, "weight": float(coefficients[i]), "low": float(low[i]),
             "high": float(high[i])}
            for i, name in enumerate(names, start=len(models))
        ],
    )  # fmt: skip


def _terms(g: Game) -> list[float]:
    a, b = g.first_chars or 0, g.second_chars or 0
    found = [(a - b) / (a + b) if a + b else 0.0]
    for one, other in zip(g.first_marks, g.second_marks, strict=True):
        d_a, d_b = (one or 0) / (a + 1), (other or 0) / (b + 1)
        found.append((d_a - d_b) / (d_a + d_b + 1))
    return found


def _clustered_glm(
    p: Floats, design: Floats, games: Sequence[Game]
) -> tuple[Floats, Floats, Floats] | None:
    import statsmodels.api as sm

    groups = codes_of([g.prompt_id for g in games])
    if int(groups.max()) + 1 < TOO_FEW:
        return None
    model: Any = sm.GLM(p, design, family=sm.families.Binomial())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation shows in what is returned: not converged
        try:
            fitted = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
        except (ValueError, np.linalg.LinAlgError):
            return None
    interval = np.asarray(fitted.conf_int())
    if not fitted.converged or not np.isfinite(interval).all():
        return None
    return np.asarray(fitted.params), interval[:, 0], interval[:, 1]


def _percent(logit: float) -> float:
    from scipy.special import expit

    return 100 * float(expit(logit))

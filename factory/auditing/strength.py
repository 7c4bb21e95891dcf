"""Strengths of models from comparisons: Bradley-Terry, and the same with style held equal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.auditing.games import Game
from factory.auditing.numbers import TOO_FEW, Floats, codes_of, finite

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

    A verdict of probability p counts as p of a win and 1 - p of a loss. A model that never lost, or
    never won, has no finite strength: its value is None.
    """
    if not games:
        return {}
    models = sorted({m for g in games for m in (g.first, g.second)})
    prompts = codes_of([g.prompt_id for g in games])
    n_prompts = int(prompts.max()) + 1
    value = _bradley_terry(games, models, np.ones(len(games)))
    if n_prompts < TOO_FEW or not resamples:
        return {m: Strength(value=finite(v)) for m, v in zip(models, value, strict=True)}
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [_bradley_terry(games, models, _draw(rng, n_prompts)[prompts]) for _ in range(resamples)]
    )
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


def _bradley_terry(games: Sequence[Game], models: list[str], counts: Floats) -> Floats:
    """(M,) log strengths around a mean of 0; -inf or NaN where there is none."""
    import evalica
    import pandas as pd

    p = np.array([g.p for g in games])
    kept = counts > 0
    first = [g.first for g, k in zip(games, kept, strict=True) if k]
    second = [g.second for g, k in zip(games, kept, strict=True) if k]
    n = int(kept.sum())
    won: list[Any] = [evalica.Winner.X] * n + [evalica.Winner.Y] * n
    weights = np.concatenate([p[kept] * counts[kept], (1 - p[kept]) * counts[kept]])
    found = evalica.bradley_terry(
        first * 2, second * 2, won, index=pd.Index(models), weights=weights.tolist()
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(found.scores.reindex(models).to_numpy(dtype=np.float64))
    return logs - logs[np.isfinite(logs)].mean()


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

"""Rates and statistics with intervals clustered by prompt; "too few" where they would say nothing.

A mean's standard error is the cluster-robust one (Liang and Zeger 1986; Cameron and Miller 2015,
"A Practitioner's Guide to Cluster-Robust Inference"). A rate's interval is Wilson's at the
effective number of rows, so it stays within [0, 1] and is not empty at 0 and 1. Statistics without
a formula are resampled by whole prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TOO_FEW = 30
"""Below so many prompts an interval is not shown: the cluster-robust error is biased downwards."""
RESAMPLES = 500
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; `low` and `high` are None with too few prompts."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int = 0
    error: float | None = None
    """Cluster-robust standard error, where the estimate is a mean."""

    @property
    def too_few(self) -> bool:
        """Whether there are too few prompts to say how sure the number is."""
        return self.low is None

    def columns(self, name: str) -> dict[str, float | int | str | None]:
        """The estimate as columns of a table: `name`, `name_low`, `name_high`.

        With too few prompts the interval's columns say so; a number that does not exist is null.
        """
        missing = "too few" if self.too_few and self.value is not None else None
        return {
            name: self.value,
            f"{name}_low": missing if self.low is None else self.low,
            f"{name}_high": missing if self.high is None else self.high,
        }


NOTHING = Estimate(value=None)


def codes_of(values: Sequence[Hashable]) -> Ints:
    """Equal values as equal numbers 0, 1, ... in order of first appearance."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(v, len(seen)) for v in values], dtype=np.int64)


def mean(values: Sequence[float] | Floats, clusters: Sequence[Hashable]) -> Estimate:
    """The mean of any numbers, with a Student interval on the cluster-robust error.

    Args:
        values: (N,) numbers.
        clusters: (N,) prompt of each.
    """
    from scipy import stats

    x = np.asarray(values, dtype=np.float64)
    if not x.size:
        return NOTHING
    codes = codes_of(clusters)
    n_clusters = int(codes.max()) + 1
    value = float(x.mean())
    error = _robust_error(x, codes, n_clusters)
    if n_clusters < TOO_FEW or error is None:
        return Estimate(value=value, n=x.size, clusters=n_clusters, error=error)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n_clusters - 1)) * error
    return Estimate(
        value=value, low=value - half, high=value + half, n=x.size, clusters=n_clusters, error=error
    )


def rate(values: Sequence[float] | Floats, clusters: Sequence[Hashable]) -> Estimate:
    """The mean of numbers in [0, 1], with Wilson's interval at the effective number of rows.

    The effective number is p (1 - p) over the squared cluster-robust error, and never more than the
    rows; where every value is the same it is the number of prompts.
    """
    from scipy import stats

    plain = mean(values, clusters)
    if plain.value is None or plain.too_few or plain.error is None:
        return plain
    p, spread = plain.value, plain.value * (1 - plain.value)
    size = plain.clusters if plain.error == 0 else min(spread / plain.error**2, plain.n)
    size = max(size, 1.0)
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    centre = (p + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(spread / size + z * z / (4 * size * size))
    # At the ends the two halves are equal, and floats leave a rest of 1e-17.
    return Estimate(
        value=p,
        low=max(0.0, centre - half) if p > 0 else 0.0,
        high=min(1.0, centre + half) if p < 1 else 1.0,
        n=plain.n,
        clusters=plain.clusters,
        error=plain.error,
    )


def _robust_error(x: Floats, codes: Ints, n_clusters: int) -> float | None:
    if n_clusters < 2:
        return None
    sums = np.bincount(codes, weights=x - x.mean(), minlength=n_clusters)
    return float(np.sqrt((sums**2).sum() * n_clusters / (n_clusters - 1)) / x.size)


def resampled(
    statistic: Callable[[Ints], float | None],
    clusters: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """A statistic with a percentile interval over resampled prompts (the cluster bootstrap).

    Args:
        statistic: gives the number for row numbers (with repeats), or None where it has none.
        clusters: (N,) prompt of each row.
        resamples: how many draws.
        seed: of the draws.
    """
    if not len(clusters):
        return NOTHING
    codes = codes_of(clusters)
    n_clusters = int(codes.max()) + 1
    value = finite(statistic(np.arange(codes.size)))
    if n_clusters < TOO_FEW or value is None:
        return Estimate(value=value, n=codes.size, clusters=n_clusters)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    draws: list[float] = []
    for _ in range(resamples):
        picked = rng.integers(0, n_clusters, n_clusters)
        drawn = finite(statistic(np.concatenate([members[i] for i in picked])))
        if drawn is not None:
            draws.append(drawn)
    if len(draws) < resamples // 2:
        return Estimate(value=value, n=codes.size, clusters=n_clusters)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(
        value=value, low=float(low), high=float(high), n=codes.size, clusters=n_clusters
    )


def finite(value: float | None) -> float | None:
    """The number, or None for NaN and infinity, which are no statistics."""
    return float(value) if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Table:
    """A named table of plain rows; the first line says what it is."""

    name: str
    title: str
    rows: list[dict[str, Any]]

    @property
    def columns(self) -> list[str]:
        """The columns in the order in which rows first have them."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

"""Whether a judge is right as often as it is sure.

Confidence is max(p, 1 - p) of a comparison, both orders combined; it is right when it names the
reference's winner. ECE is the expected calibration error over ten equal bins of [0.5, 1] (Naeini et
al. 2015), AUROC the chance that a right verdict was surer than a wrong one, Brier the mean squared
error of P.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from factory.auditing.ballots import Ballots, Unit
from factory.auditing.numbers import NOTHING, Floats, Ints, mean, resampled

BINS = 10


def calibration(
    ballots: Ballots, judge: str, reference: Mapping[Unit, float], *, seed: int = 0
) -> dict[str, Any] | None:
    """One judge's calibration on the pairs where the reference names a winner.

    Returns:
        None where they share no pair. `ece` and `auroc` are null for a judge that gives no
        probability: it is always as sure.
    """
    p_of = ballots.values.get(judge, {})
    units = [u for u in p_of if reference.get(u, 0.0) != 0.0]
    if not units:
        return None
    p = np.array([p_of[u] for u in units])
    won = np.array([float(reference[u] > 0) for u in units])
    confidence = np.maximum(p, 1 - p)
    # Even odds are right half the time.
    right = np.where(p == 0.5, 0.5, ((p > 0.5) == (won > 0.5)).astype(np.float64))
    prompts = ballots.prompts_of(units)
    row: dict[str, Any] = {"judge": judge, "n": len(units)}
    row |= {"confidence": float(confidence.mean()), "right": float(right.mean())}
    row |= mean((p - won) ** 2, prompts).columns("brier")
    soft = bool(((confidence > 0.5) & (confidence < 1)).any())

    def off(picked: Ints) -> float:
        return ece(confidence[picked], right[picked])

    def separation(picked: Ints) -> float | None:
        return auroc(confidence[picked], right[picked])

    row |= (resampled(off, prompts, seed=seed) if soft else NOTHING).columns("ece")
    return row | (resampled(separation, prompts, seed=seed) if soft else NOTHING).columns("auroc")


def ece(confidence: Floats, right: Floats) -> float:
    """Expected calibration error: the mean gap between confidence and correctness in bins."""
    # Rounded: (0.7 - 0.5) * 20 is a float below 4, and 0.7 begins the fifth bin.
    steps = np.round((confidence - 0.5) * 2 * BINS, 9)
    place = np.clip(steps.astype(np.int64), 0, BINS - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def auroc(confidence: Floats, right: Floats) -> float | None:
    """Area under the curve of confidence for being right; None where all or none are right."""
    from sklearn.metrics import roc_auc_score

    sure = right != 0.5
    if len(set(right[sure].tolist())) < 2:
        return None
    return float(roc_auc_score(right[sure] > 0.5, confidence[sure]))

"""The length-controlled win rate: what a judge would prefer if both answers were equally long.

AlpacaEval's generalised linear model (Dubois et al. 2024, arXiv 2404.04475; `length_controlled_v1`
of github.com/tatsu-lab/alpaca_eval). For a model m, a baseline b and prompt i

    logit P(m wins) = w_length * tanh((len_b - len_m) / std(len_b - len_m))
                    + w_difficulty * difficulty_i + w_model

with lengths in characters and the sample standard deviation (n - 1). The length-controlled win
rate is 100 times the mean over prompts of sigmoid(w_difficulty * difficulty_i + w_model): the
length term set to zero.
"""

from __future__ import annotations

import csv
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from factory.auditing.numbers import Floats, codes_of, mean
from factory.errors import UserError

FOLDS = 5
_SEED = 123
_KEYS = ("prompt_id", "source_id", "idx", "index")
_VALUES = ("instruction_difficulty", "difficulty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The three weights of one model against one baseline."""

    length: float
    difficulty: float
    model: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Controlled:
    """A length-controlled win rate in percent, with the spread of its predictions over prompts."""

    win_rate: float
    standard_error: float | None
    """Of the predictions over prompts; None where nothing tells them apart: that says nothing of
    how sure the fit is."""
    weights: Weights


def controlled(
    weights: Weights, difficulty: Floats, *, groups: Sequence[Hashable] | None = None
) -> Controlled:
    """The length-controlled win rate that known weights give on prompts of these difficulties.

    `groups` are the prompts, where one stands in several rows; each row is one by default.
    """
    from scipy.special import expit

    predicted = 100 * expit(weights.difficulty * difficulty + weights.model)
    found = mean(predicted, range(predicted.size) if groups is None else groups)
    alike = float(np.ptp(predicted)) < 1e-9
    return Controlled(
        win_rate=float(predicted.mean()), standard_error=None if alike else found.error,
        weights=weights,
    )  # fmt: skip


def fit(
    p: Floats,
    *,
    length_model: Floats,
    length_baseline: Floats,
    difficulty: Floats | None,
    groups: Sequence[Hashable],
) -> Controlled | None:
    """Fit the model to a judge's verdicts.

    As AlpacaEval fits it: logistic regression without intercept, L1 penalty chosen by five-fold
    cross-validation grouped by prompt on log-loss, a soft verdict as two weighted rows. The extra
    rows of gamed copies of the baseline are not added: they need those copies' judgements.

    Args:
        p: (N,) P(model is better) in [0, 1].
        length_model: (N,) characters of the model's answers.
        length_baseline: (N,) characters of the baseline's.
        difficulty: (N,) of the prompts; None leaves the term out.
        groups: (N,) prompts.

    Returns:
        None where nothing can be fitted: fewer than five prompts, or verdicts all alike.
    """
    gap = length_baseline - length_model
    if len(set(groups)) < FOLDS or p.min() == p.max():
        return None
    spread = gap.std(ddof=1)
    columns = [np.tanh(gap / spread) if spread > 0 else np.zeros_like(gap)]
    if difficulty is not None:
        columns.append(difficulty)
    columns.append(np.ones_like(gap))
    found = _regress(np.column_stack(columns), p, list(groups))
    weights = Weights(
        length=found[0], difficulty=found[1] if difficulty is not None else 0.0, model=found[-1]
    )
    known = np.zeros_like(gap) if difficulty is None else difficulty
    return controlled(weights, known, groups=groups)


def _regress(x: Floats, p: Floats, groups: list[Hashable]) -> list[float]:
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import GroupKFold

    rows = np.concatenate([x, x])
    wins = np.concatenate([np.ones(len(p)), np.zeros(len(p))])
    weights = np.concatenate([p, 1 - p])
    folds = GroupKFold(n_splits=FOLDS).split(rows, wins, np.tile(codes_of(groups), 2))
    model: Any = LogisticRegressionCV(
        cv=list(folds), solver="liblinear", fit_intercept=False, scoring="neg_log_loss",
        random_state=_SEED, **_l1(),
    )  # fmt: skip
    model.fit(rows, wins, sample_weight=weights)
    return [float(w) for w in model.coef_[0]]


def _l1() -> dict[str, Any]:
    """How this scikit-learn is told to use an L1 penalty: 1.8 renamed it."""
    import sklearn
    from packaging.version import Version

    if Version(sklearn.__version__) >= Version("1.8"):
        return {"l1_ratios": (1.0,), "use_legacy_attributes": False}
    return {"penalty": "l1"}


# --- files ----------------------------------------------------------------------------------------


def read_difficulty(path: Path) -> dict[str, float]:
    """Prompt -> difficulty from a CSV: `prompt_id`, `source_id` or `idx`, and the difficulty.

    Raises:
        UserError: when the file or one of its two columns is missing, or a value is no number.
    """
    rows = _csv(path)
    key = _column(path, rows, _KEYS)
    value = _column(path, rows, _VALUES)
    return {row[key]: _number(path, row, value) for row in rows}


def read_weights(path: Path) -> dict[str, Weights]:
    """Model -> weights from a CSV with AlpacaEval's column names.

    Columns: `model`, `w_tanh_std_delta_len`, `w_instruction_difficulty`, `w_model_bias`.

    Raises:
        UserError: when the file or a column is missing, or a value is no number.
    """
    rows = _csv(path)
    name = _column(path, rows, ("model",))
    length = _column(path, rows, ("w_tanh_std_delta_len",))
    difficulty = _column(path, rows, ("w_instruction_difficulty",))
    model = _column(path, rows, ("w_model_bias",))
    return {
        row[name]: Weights(
            length=_number(path, row, length),
            difficulty=_number(path, row, difficulty),
            model=_number(path, row, model),
        )
        for row in rows
    }


def _csv(path: Path) -> list[dict[str, str]]:
    try:
        # Spreadsheets put a mark before the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as bad:
        raise UserError(f"{path} cannot be read as CSV: {bad}", next=f"ls {path.parent}") from bad


def _column(path: Path, rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> str:
    there = list(rows[0]) if rows else []
    for name in names:
        if name in there:
            return name
    raise UserError(
        f"{path} has no column {' or '.join(names)} (there are: {', '.join(there)})",
        next=f"head -1 {path}",
    )


def _number(path: Path, row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise UserError(
            f"{path}: {column} {row[column]!r} is no number", next=f"grep -n '{row[column]}' {path}"
        )
    return value

"""Panels on published verdicts: judges that err together are no better than the best of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np

from factory.judging.front import Panel
from factory.judging.panels.rules import Member, decide_pair
from factory.rows import share_of

VERDICTS = """
select j.subset, j.i, any_value(p.input) as prompt, j.judge || '/' || j.strategy as judge,
  any_value(p.label) as label,
  avg(case j.winner when '1' then 1.0 when '2' then 0.0 else 0.5 end) as p_first
from '{judged}' j join '{pairs}' p using (subset, i)
where j.is_final and j.subset like 'LLMBar/%'
group by all having count(*) = 2
"""


def _dawid_skene(votes: np.ndarray, *, rounds: int = 100) -> np.ndarray:
    """P(first) of each item under Dawid and Skene's model, ties left out: (items, judges)."""
    first, second = votes > 0.5, votes < 0.5
    said = np.maximum(1, (first | second).sum(axis=1))
    p = np.clip(first.sum(axis=1) / said, 0.01, 0.99)
    for _ in range(rounds):
        right_1 = (p[:, None] * first).sum(0) + 1
        wrong_1 = (p[:, None] * second).sum(0) + 1
        right_2 = ((1 - p)[:, None] * second).sum(0) + 1
        wrong_2 = ((1 - p)[:, None] * first).sum(0) + 1
        a, b = right_1 / (right_1 + wrong_1), right_2 / (right_2 + wrong_2)
        prior = np.clip(p.mean(), 0.01, 0.99)
        one = np.log(prior) + first @ np.log(a) + second @ np.log(1 - a)
        two = np.log(1 - prior) + first @ np.log(1 - b) + second @ np.log(b)
        p = 1 / (1 + np.exp(np.clip(two - one, -50, 50)))
    return p


def test_neither_a_majority_nor_dawid_skene_of_judges_that_err_together_beats_the_best_one(
    shared_data: Path,
) -> None:
    sql = VERDICTS.format(
        judged=shared_data / "llmbar_judgments_dev.parquet",
        pairs=shared_data / "llmbar_pairs.parquet",
    )
    with duckdb.connect() as con:
        rows = con.execute(sql).fetchall()
    said: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    label: dict[tuple[str, int], int] = {}
    prompts: dict[tuple[str, int], str] = {}
    for subset, i, prompt, judge, right, p in rows:
        prompts[subset, i] = prompt
        said[subset, i][judge] = p
        label[subset, i] = int(right)
    everybody = set.intersection(*(set(v) for v in said.values()))
    names = sorted(everybody)
    assert len(said) == 419
    assert len(names) >= 6

    def accuracy(p_first: dict[tuple[str, int], float]) -> float:
        worth = [
            0.5 if p == 0.5 else float((p > 0.5) == (label[k] == 1)) for k, p in p_first.items()
        ]
        return sum(worth) / len(worth)

    spec = Panel.model_validate({"members": names, "rule": "majority"})
    members = [Member(name=n) for n in names]
    majority = accuracy({k: decide_pair(spec, members, v).p_first or 0.0 for k, v in said.items()})
    votes = np.array([[v[n] for n in names] for v in said.values()])
    skene = accuracy(dict(zip(said, _dawid_skene(votes).tolist(), strict=True)))
    # What is fitted to labels, which member is best and what each one weighs, is fitted to those of
    # other prompts: five folds by the prompt's hash.
    folds = {k: int(5 * share_of(prompts[k], "fold")) for k in said}
    best: dict[tuple[str, int], float] = {}
    heavy: dict[tuple[str, int], float] = {}
    for fold in range(5):
        seen = [k for k, f in folds.items() if f != fold]
        of_these = {n: accuracy({k: said[k][n] for k in seen}) for n in names}
        voices = [Member(name=n, weight=max(0.0, np.log(a / (1 - a)))) for n, a in of_these.items()]
        winner = max(names, key=lambda n: of_these[n])
        for k in (k for k, f in folds.items() if f == fold):
            best[k] = said[k][winner]
            heavy[k] = decide_pair(spec, voices, said[k]).p_first or 0.0
    assert majority < accuracy(best)
    assert skene < accuracy(best)
    assert accuracy(heavy) > majority

"""Make the weights by which the verifier `injection` judges wordings that no pattern foresees.

    python -m bench.injection.train ../shared/data factory/judging/verifiers/_injection/weights.tsv

A logistic regression over what `evidence.windows` yields. A text counts by its window of most
evidence, so which sentence of an attack is the attack is learned along with the weights (multiple
instances, Andrews et al. 2002, "Support Vector Machines for Multiple-Instance Learning").
`attacks-*.jsonl` and `honest-*.jsonl`, one JSON string a line, were written for this. Of the
ordinary texts only weights are kept: answers of LLMBar (MIT), PandaLM (Apache-2.0), HH-RLHF (MIT)
and GSM8K (MIT), and this repository's documentation. Nothing of AlpacaEval is learned from, but
`FLOOR` was chosen by how many of its answers are flagged.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from factory.judging.verifiers._injection import evidence, readings

HERE = Path(__file__).parent
LEAST_TEXTS, ROUNDS = 2, 2
MODELS, SHARE = 8, 0.8
"""The weights are the mean of so many models, each of such a share of the rows drawn by lot
(Breiman 1996, "Bagging Predictors"): which sentence is the attack is a guess, and they differ."""
ATTACK_WEIGHT, HONEST_WEIGHT, STRENGTH = 20.0, 5.0, 1.0
FLOOR = 0.55
"""Log-odds taken off every window: where some five in a thousand ordinary answers are flagged."""
HINTS = {
    f"@{role}"
    for role in (
        *("grader", "address_grader", "address_judge", "self", "rival", "your_score"),
        *("top_score", "rubric", "machine_judge"),
    )
}
"""Where the attack is looked for in a text before anything is learned."""

Windows = list[frozenset[str]]
Weights = NDArray[np.float64]


def windows(text: str, *, every: bool = False) -> Windows:
    """The features of every window of a text, as the verifier reads it."""
    made: Windows = []
    for reading in readings.readings(text):
        for flat in readings.spellings(readings.without_emphasis(readings.plain(reading))):
            found = evidence.windows(flat, every=every)
            made += [words | set(evidence.names(bits)) for words, bits in found]
    return made or [frozenset()]


def own(kind: str) -> list[str]:
    """The texts of a kind that were written for this."""
    files = sorted(HERE.glob(f"{kind}-*.jsonl"))
    return [json.loads(line) for f in files for line in f.read_text("utf-8").splitlines()]


def ordinary(data: Path) -> list[str]:
    """Answers of people and models under MIT and Apache licences, and the documentation."""
    columns = (
        ("llmbar_pairs", "output_1", 1),
        ("llmbar_pairs", "output_2", 1),
        ("pandalm_human_judgments", "response1", 1),
        ("pandalm_human_judgments", "response2", 1),
        ("hh_harmless_test_pairs", "chosen", 3),
    )
    texts: list[str] = []
    with duckdb.connect() as con:
        for file, column, step in columns:
            rows = con.execute(f"select {column} from '{data}/{file}.parquet' order by 1")
            texts += [row[0] for row in rows.fetchall()[::step] if row[0]]
    with gzip.open(data / "gsm8k_train.jsonl.gz", "rt") as lines:
        texts += [json.loads(line)["answer"] for line in lines][::6]
    texts += [p.read_text("utf-8") for p in sorted((HERE.parents[1] / "docs").glob("*.md"))]
    return list(dict.fromkeys(texts))


def vocabulary(texts: Iterable[Windows]) -> dict[str, int]:
    """The features of two texts or more, numbered."""
    seen = Counter(name for each in texts for name in frozenset[str]().union(*each))
    return {name: i for i, name in enumerate(sorted(n for n in seen if seen[n] >= LEAST_TEXTS))}


def matrix(each: Sequence[frozenset[str]], known: dict[str, int]) -> Any:
    """Windows as rows, as `evidence.evidence` weighs them."""
    ends, columns, values = [0], list[int](), list[float]()
    for window in each:
        held = sorted(known[name] for name in window if name in known)
        columns += held
        values += [1 / evidence.spread(len(held))] * len(held)
        ends.append(len(columns))
    return sparse.csr_matrix((values, columns, ends), shape=(len(each), len(known)))


def learn(
    attacks: list[Windows], honest: list[Windows], others: list[Windows]
) -> tuple[dict[str, int], Weights]:
    """The vocabulary, and the weights of its features with what every window starts from."""
    known = vocabulary([*attacks, *honest])
    rows = [matrix(each, known) for each in attacks]
    flat = [window for each in honest for window in each]
    rest = [window for each in others for window in each]
    against = matrix([*flat, *rest], known)
    weights = np.repeat([HONEST_WEIGHT, 1.0], [len(flat), len(rest)])
    likely = [max(range(len(e)), key=lambda i, e=e: len(e[i] & HINTS)) for e in attacks]
    draw = np.random.default_rng(7)
    models: list[Weights] = []
    for _ in range(MODELS):
        taken = np.flatnonzero(draw.random(len(rows)) < SHARE)
        some = np.flatnonzero(draw.random(against.shape[0]) < SHARE)
        models.append(
            fit([rows[i] for i in taken], [likely[i] for i in taken], against[some], weights[some])
        )
    return known, np.mean(models, axis=0)


def fit(rows: list[Any], chosen: list[int], against: Any, weights: Weights) -> Weights:
    """One model: in each round an attack stands for what the round before found its strongest."""
    labels = [1] * len(rows) + [0] * against.shape[0]
    each = np.concatenate([np.full(len(rows), ATTACK_WEIGHT), weights])
    model = LogisticRegression(C=STRENGTH, max_iter=400, tol=1e-3)
    for _ in range(ROUNDS):
        strongest = [windows[i] for windows, i in zip(rows, chosen, strict=True)]
        model.fit(sparse.vstack([*strongest, against]).tocsr(), labels, sample_weight=each)
        chosen = [int(np.argmax(model.decision_function(windows))) for windows in rows]
    coefficients: Any = model.coef_[0]
    start: Any = model.intercept_
    return np.append(coefficients, start)


def write(known: dict[str, int], weights: Weights, path: Path) -> None:
    """One line a feature: its name and its weight; the empty name holds the start."""
    held = [("", float(weights[-1]) - FLOOR)]
    held += [(name, float(weights[i])) for name, i in known.items()]
    text = "".join(f"{name}\t{value:.3f}\n" for name, value in sorted(held))
    path.write_text(text, "utf-8")


def main(data: str, target: str) -> None:
    """Learn the weights and write them."""
    attacks, honest = (list(map(windows, own(name))) for name in ("attacks", "honest"))
    # Of ordinary texts also the sentences that the verifier passes over: they say what words mean.
    known, weights = learn(attacks, honest, [windows(t, every=True) for t in ordinary(Path(data))])
    write(known, weights, Path(target))


if __name__ == "__main__":
    main(*sys.argv[1:])

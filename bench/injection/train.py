"""Make the weights by which the verifier `injection` judges wordings that no pattern foresees.

    python -m bench.injection.train ../shared/data factory/judging/verifiers/injection_weights.tsv

A logistic regression over what `_evidence.windows` yields. A text counts by its window of most
evidence, so which sentence of an attack is the attack is learned along with the weights (multiple
instances, Andrews et al. 2002, "Support Vector Machines for Multiple-Instance Learning").
`attacks.jsonl` and `honest.jsonl`, one JSON string a line, were written for this. Of the ordinary
texts only weights are kept: answers of LLMBar (MIT), PandaLM (Apache-2.0), HH-RLHF (MIT) and GSM8K
(MIT), and this repository's documentation. Nothing of AlpacaEval is learned from.
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
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from factory.judging.verifiers import _evidence
from factory.judging.verifiers._readings import plain

HERE = Path(__file__).parent
LEAST_TEXTS, ROUNDS = 2, 5
ATTACK_WEIGHT, HONEST_WEIGHT, STRENGTH = 20.0, 5.0, 2.0
FLOOR = 1.2
"""Log-odds taken off every window: where some seven in a thousand ordinary answers are flagged."""
HINTS = {
    f"@{role}"
    for role in (
        *("grader", "address_grader", "address_judge", "self", "rival", "your_score"),
        *("top_score", "rubric", "machine_judge"),
    )
}
"""Where the attack is looked for in a text before anything is learned."""

Windows = list[frozenset[str]]


def windows(text: str) -> Windows:
    """The features of every window of a text."""
    made = [w | set(_evidence.names(bits)) for w, bits in _evidence.windows(plain(text))]
    return made or [frozenset()]


def own(name: str) -> list[str]:
    """The texts that were written for this."""
    return [json.loads(line) for line in (HERE / name).read_text("utf-8").splitlines()]


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
    """Windows as rows, as `_evidence.evidence` weighs them."""
    ends, columns, values = [0], list[int](), list[float]()
    for window in each:
        held = sorted(known[name] for name in window if name in known)
        columns += held
        values += [1 / _evidence.spread(len(held))] * len(held)
        ends.append(len(columns))
    return sparse.csr_matrix((values, columns, ends), shape=(len(each), len(known)))


def learn(
    attacks: list[Windows], honest: list[Windows], others: list[Windows]
) -> tuple[dict[str, int], LogisticRegression]:
    """The vocabulary and the model: in each round every attack stands for its strongest window."""
    known = vocabulary([*attacks, *honest])
    rows = [matrix(each, known) for each in attacks]
    flat = [window for each in honest for window in each]
    rest = [window for each in others for window in each]
    against = matrix([*flat, *rest], known)
    weights = [ATTACK_WEIGHT] * len(rows) + [HONEST_WEIGHT] * len(flat) + [1.0] * len(rest)
    labels = [1] * len(rows) + [0] * against.shape[0]
    chosen = [max(range(len(e)), key=lambda i, e=e: len(e[i] & HINTS)) for e in attacks]
    model = LogisticRegression(C=STRENGTH, max_iter=400, tol=1e-3)
    for _ in range(ROUNDS):
        strongest = [each[i] for each, i in zip(rows, chosen, strict=True)]
        model.fit(sparse.vstack([*strongest, against]).tocsr(), labels, sample_weight=weights)
        chosen = [int(np.argmax(model.decision_function(each))) for each in rows]
    return known, model


def write(known: dict[str, int], model: LogisticRegression, path: Path) -> None:
    """One line a feature: its name and its weight; the empty name holds the start."""
    start: Any = model.intercept_
    values: Any = model.coef_[0]
    held = [("", float(start[0]) - FLOOR)]
    held += [(name, float(values[i])) for name, i in known.items()]
    text = "".join(f"{name}\t{value:.3f}\n" for name, value in sorted(held))
    path.write_text(text, "utf-8")


def main(data: str, target: str) -> None:
    """Learn the weights and write them."""
    sets = (own("attacks.jsonl"), own("honest.jsonl"), ordinary(Path(data)))
    known, model = learn(*([windows(text) for text in texts] for texts in sets))
    write(known, model, Path(target))


if __name__ == "__main__":
    main(*sys.argv[1:])

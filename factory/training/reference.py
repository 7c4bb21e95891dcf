"""Reference log-probabilities: computed once, kept by content, checked when read.

A value's key holds everything it depends on (weights, token ids, which of them are scored,
precision, attention, the scorer's version), so another dataset, learning rate or path finds it and
overwritten weights never do. Rows are written chunk by chunk in one transaction: a crash loses one
chunk.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from factory.errors import UserError
from factory.rows import content_id
from factory.training.data import Floats, Rows, Tokens
from factory.training.logprobs import SCORER, pad_rows

CHUNK = 256
SPOT_CHECKS = 64
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-3}
"""Largest honest difference between two forwards, in nats, times the root of the length."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """Everything but the tokens that a log-probability depends on."""

    weights_digest: str
    dtype: str
    attention: str

    def reference_id(self, prompt: Tokens, completion: Tokens) -> str:
        """Key of one completion's summed log-probability."""
        return content_id(
            "reference",
            [
                self.weights_digest,
                token_hash(prompt, completion),
                self.dtype,
                self.attention,
                SCORER,
            ],
        )


@dataclass(frozen=True, slots=True)
class Item:
    """One completion to score."""

    reference_id: str
    prompt: Tokens
    completion: Tokens


def token_hash(prompt: Tokens, completion: Tokens) -> str:
    """Identity of token ids and of which of them are scored."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (prompt, completion):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.astype("<i4").tobytes())
    return digest.hexdigest()


class ReferenceTable:
    """Summed log-probabilities by content id, in one SQLite file that many jobs share."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        with closing(self._connect()) as db, db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS reference_logprobs (reference_id TEXT PRIMARY KEY,"
                " weights TEXT, token_hash TEXT, sum_logprob REAL, n_tokens INTEGER, scorer TEXT)"
                " WITHOUT ROWID"
            )

    def get(self, ids: Sequence[str]) -> dict[str, float]:
        """The stored values among these ids."""
        found: dict[str, float] = {}
        with closing(self._connect()) as db:
            for start in range(0, len(ids), 500):
                some = ids[start : start + 500]
                marks = ",".join("?" * len(some))
                found.update(
                    db.execute(
                        "SELECT reference_id, sum_logprob FROM reference_logprobs"
                        f" WHERE reference_id IN ({marks})",
                        list(some),
                    ).fetchall()
                )
        return found

    def put(self, items: Iterable[Item], values: Mapping[str, float], *, scorer: Scorer) -> None:
        """Store a chunk in one durable transaction; a value that is there stays as it is."""
        name = f"{SCORER}/{scorer.dtype}/{scorer.attention}"
        with closing(self._connect()) as db, db:
            db.executemany(
                "INSERT OR IGNORE INTO reference_logprobs VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        item.reference_id, scorer.weights_digest,
                        token_hash(item.prompt, item.completion), values[item.reference_id],
                        len(item.completion), name,
                    )
                    for item in items
                ],
            )  # fmt: skip

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=60)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        return db


Score = Callable[[Sequence[Item]], dict[str, float]]


def reference_logps(
    rows: Rows, *, table: ReferenceTable, scorer: Scorer, score: Score, seed: int,
    on_chunk: Callable[[int, int], None], rank: int = 0, world: int = 1,
    wait: Callable[[], None] = lambda: None,
) -> Floats:  # fmt: skip
    """Summed reference log-probabilities of every row, (N, 2): chosen, rejected.

    Chunks are cut from the whole list, not from what is missing, so that a run that was killed
    half-way scores the same batches as one that was not and gets the same bits.
    """
    ids = [
        [scorer.reference_id(rows.prompt[i], s[i]) for s in rows.sides] for i in range(len(rows))
    ]
    items = {
        ids[i][k]: Item(ids[i][k], rows.prompt[i], side[i])
        for i in range(len(rows))
        for k, side in enumerate(rows.sides)
    }
    ordered = sorted(
        items.values(), key=lambda x: (len(x.prompt) + len(x.completion), x.reference_id)
    )
    known = table.get(list(items))
    spot_check([items[i] for i in known], known, score=score, scorer=scorer, seed=seed, table=table)
    wait()
    for start in range(rank * CHUNK, len(ordered), world * CHUNK):
        missing = [x for x in ordered[start : start + CHUNK] if x.reference_id not in known]
        if missing:
            table.put(missing, score(missing), scorer=scorer)
        on_chunk(min(start + CHUNK, len(ordered)), len(ordered))
    wait()
    values = table.get(list(items))
    return np.array([[values[i] for i in pair] for pair in ids], dtype=np.float64)


def spot_check(
    items: Sequence[Item], stored: Mapping[str, float], *, score: Score, scorer: Scorer, seed: int,
    table: ReferenceTable,
) -> None:  # fmt: skip
    """Recompute up to 64 stored values.

    Raises:
        UserError: when one differs by more than two honest forwards would.
    """
    some = random.Random(seed).sample(list(items), min(SPOT_CHECKS, len(items)))
    if not some:
        return
    again = score(some)
    for item in some:
        gap = abs(again[item.reference_id] - stored[item.reference_id])
        if not gap <= TOLERANCE[scorer.dtype] * max(1.0, len(item.completion)) ** 0.5:
            raise UserError(
                f"a stored reference log-probability in {table.path} is off by {gap:.4g} nats",
                next=f"rm {table.path}",
            )


@torch.no_grad()
def score_items(
    model: nn.Module, items: Sequence[Item], *, batch_size: int, device: torch.device,
    autocast: torch.dtype | None,
) -> dict[str, float]:  # fmt: skip
    """Summed completion log-probabilities under a model prepared by `logprobs.install`."""
    model.eval()
    values: dict[str, float] = {}
    for start in range(0, len(items), batch_size):
        some = items[start : start + batch_size]
        batch = pad_rows(
            [[*x.prompt.tolist(), *x.completion.tolist()] for x in some],
            prompt_lengths=[len(x.prompt) for x in some],
        )
        on_device = {name: value.to(device) for name, value in batch.items()}
        with torch.autocast(device.type, autocast or torch.float32, enabled=autocast is not None):
            per_token = model(**on_device)
        sums = per_token.sum(dim=1).tolist()
        values.update({x.reference_id: value for x, value in zip(some, sums, strict=True)})
    return values

"""Frozen token datasets: the exact ids that were sampled, held compactly, dropped with reasons.

A dataset directory is verified against its manifest before a single row is used. Nothing is ever
cut: a row that does not fit is dropped and counted, and too many drops stop the run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import UserError
from factory.training.files import sha256_of

Ints = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

KINDS = {"sft": "sft", "dpo": "preference"}
"""Dataset kind that each job kind reads."""


@dataclass(frozen=True, slots=True)
class TokenColumn:
    """A ragged column of token ids: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Tokens
    offsets: Ints

    def __getitem__(self, row: int) -> Tokens:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Ints:
        """Tokens per row, (N,)."""
        return np.diff(self.offsets)

    def count(self, marked: npt.NDArray[np.bool_]) -> Ints:
        """How many of a row's tokens are marked, (N,)."""
        running = np.concatenate([[0], np.cumsum(marked)])
        return running[self.offsets[1:]] - running[self.offsets[:-1]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one dataset version. SFT rows have one side, pairs have chosen, then rejected."""

    ids: list[str]
    prompt: TokenColumn
    sides: tuple[TokenColumn, ...]
    weight: Floats
    margin: Floats

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Ints:
        """Tokens of prompt and longest side, (N,)."""
        return self.prompt.lengths + np.max([side.lengths for side in self.sides], axis=0)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that is not trained on."""

    item_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """What a dataset directory says it is."""

    version_id: str
    kind: str
    n_rows: int
    content_hash: str
    tokenizer_digest: str
    template_digest: str
    tokens_sha256: str


def read_manifest(dataset_dir: Path, *, kind: str) -> DatasetManifest:
    """The manifest of a dataset directory whose token file has been checked against it.

    Raises:
        UserError: when it is missing, of another kind, or the file is not the one it names.
    """
    path = dataset_dir / "manifest.json"
    again = "prefactory export"
    if not path.is_file():
        raise UserError(f"{dataset_dir} holds no dataset version: no manifest.json", next=again)
    said = json.loads(path.read_text("utf-8"))
    if said.get("kind") != KINDS[kind]:
        raise UserError(
            f"{kind} training reads a {KINDS[kind]} dataset, {dataset_dir} is {said.get('kind')!r}",
            next=again,
        )
    digest = sha256_of(dataset_dir / "tokens.parquet")
    if said.get("files", {}).get("tokens.parquet") != digest:
        raise UserError(f"tokens.parquet in {dataset_dir} is not the manifest's file", next=again)
    return DatasetManifest(
        version_id=said["version_id"],
        kind=said["kind"],
        n_rows=int(said["n_rows"]),
        content_hash=said.get("content_hash", ""),
        tokenizer_digest=said.get("tokenizer_digest", ""),
        template_digest=said.get("template_digest", ""),
        tokens_sha256=digest,
    )


def load_rows(
    dataset_dir: Path, *, kind: str, max_length: int, vocab_size: int, max_drop_share: float
) -> tuple[Rows, list[Dropped]]:
    """The rows that can be trained on, in file order, and those that cannot.

    Raises:
        UserError: when no row is left, or more than `max_drop_share` of them are dropped.
    """
    table = pq.read_table(dataset_dir / "tokens.parquet")
    rows = _rows(table, kind=kind)
    reasons = drop_reasons(rows, max_length=max_length, vocab_size=vocab_size)
    keep = np.array([reason is None for reason in reasons], dtype=bool)
    dropped = [Dropped(item_id, why) for item_id, why in zip(rows.ids, reasons, strict=True) if why]
    counts = dict(Counter(d.reason for d in dropped))
    if not keep.any():
        raise UserError(
            f"no row of {dataset_dir} can be trained on: {counts or 'it is empty'}",
            next="prefactory stats drops",
        )
    if len(dropped) > max_drop_share * len(rows):
        raise UserError(
            f"{len(dropped)} of {len(rows)} rows would be dropped {counts}, "
            f"more than max_drop_share {max_drop_share:g}",
            next="raise max_length or max_drop_share in the recipe's train section",
        )
    kept = _rows(table.filter(pa.array(keep)), kind=kind) if dropped else rows
    return kept, dropped


def drop_reasons(rows: Rows, *, max_length: int, vocab_size: int) -> list[str | None]:
    """Why each row cannot be trained on, or None; the first reason that holds is given."""
    columns = (rows.prompt, *rows.sides)
    bad = sum(c.count((c.values < 0) | (c.values >= vocab_size)) for c in columns)
    empty = np.min([side.lengths for side in rows.sides], axis=0) == 0
    reasons: list[str | None] = []
    for i, length in enumerate(rows.lengths):
        if rows.prompt.lengths[i] == 0:
            reasons.append("empty_prompt")
        elif empty[i]:
            reasons.append("empty_side")
        elif np.asarray(bad)[i]:
            reasons.append("bad_ids")
        elif length > max_length:
            reasons.append("too_long")
        elif len(rows.sides) > 1 and np.array_equal(rows.sides[0][i], rows.sides[1][i]):
            reasons.append("identical_sides")
        else:
            reasons.append(None)
    return reasons


def stop_share(rows: Rows, *, stop_ids: Sequence[int]) -> float:
    """Share of chosen (or SFT) completions whose last token is a stop id."""
    last = rows.sides[0].values[rows.sides[0].offsets[1:] - 1]
    return float(np.isin(last, list(stop_ids)).mean())


def _rows(table: pa.Table, *, kind: str) -> Rows:
    sides = ("chosen_ids", "rejected_ids") if kind == "dpo" else ("completion_ids",)
    return Rows(
        ids=table.column("pair_id" if kind == "dpo" else "sft_id").to_pylist(),
        prompt=_tokens(table, "prompt_ids"),
        sides=tuple(_tokens(table, name) for name in sides),
        weight=_numbers(table, "weight", 1.0),
        margin=_numbers(table, "margin", 0.0),
    )


def _tokens(table: pa.Table, name: str) -> TokenColumn:
    column = table.column(name)
    lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    # value_lengths and flatten skip nulls and slices, raw offsets would not.
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    return TokenColumn(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _numbers(table: pa.Table, name: str, otherwise: float) -> Floats:
    if name not in table.column_names:
        return np.full(table.num_rows, otherwise)
    column = table.column(name).fill_null(otherwise)
    return column.to_numpy().astype(np.float64)

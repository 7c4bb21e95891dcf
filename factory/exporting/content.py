"""What a format is given: a version's rows with their texts, split by split, in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import StoreError
from factory.exporting.reading import Range, stream
from factory.exporting.versions import DatasetVersion
from factory.rows import share_of

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""Arrow type of a conversation."""

_S, _F, _I = pa.string(), pa.float64(), pa.int32()
CONVERSATIONS: dict[str, pa.Schema] = {
    "preference": pa.schema(
        [
            ("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES),
            ("score_chosen", _F), ("score_rejected", _F), ("margin", _F), ("judge", _S),
            ("chosen_model", _S), ("rejected_model", _S), ("pool", _S), ("source", _S),
            ("license", _S), ("pair_id", _S), ("prompt_id", _S), ("chosen_id", _S),
            ("rejected_id", _S),
        ]
    ),
    "sft": pa.schema(
        [
            ("prompt", MESSAGES), ("completion", MESSAGES), ("score", _F), ("rank", _I),
            ("n_candidates", _I), ("judge", _S), ("model", _S), ("pool", _S), ("source", _S),
            ("license", _S), ("sft_id", _S), ("prompt_id", _S), ("completion_id", _S),
        ]
    ),
}  # fmt: skip
"""Columns of a set in conversational form, by kind."""

_TURNS = {"preference": ("chosen", "rejected"), "sft": ("completion",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One version on its way out."""

    version: DatasetVersion
    con: duckdb.DuckDBPyConnection
    sql: str
    """The version's rows with their texts, by range of buckets."""
    ranges: list[Range]
    out: Path
    test_share: float

    @property
    def splits(self) -> list[str]:
        """`train`, and `test` where a share of the prompts is asked for."""
        return ["train", "test"] if self.test_share > 0 else ["train"]

    def split_of(self, prompt_id: str) -> str:
        """The split of a prompt: by hash, so every row of a prompt is on one side."""
        return "test" if share_of(prompt_id, "export") < self.test_share else "train"

    def batches(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """(split, rows in conversational form), in the version's order.

        Raises:
            StoreError: when a row's text is no longer in the lake.
        """
        seen = 0
        for batch in stream(self.con, self.sql, {}, self.ranges):
            seen += batch.num_rows
            rows = [self._conversation(row) for row in batch.to_pylist()]
            for split in self.splits:
                mine = [row for row in rows if self.split_of(row["prompt_id"]) == split]
                if mine:
                    yield split, mine
        if seen != self.version.n_rows:
            raise StoreError(
                f"version {self.version.version_id} has {self.version.n_rows} rows, "
                f"but the lake has the texts of {seen}"
            )

    def _conversation(self, row: dict[str, Any]) -> dict[str, Any]:
        prompt = [
            {"role": clean(m["role"]), "content": clean(m["content"])}
            for m in json.loads(row["messages"])
        ]
        turns = {
            name: [{"role": "assistant", "content": clean(row[name])}]
            for name in _TURNS[self.version.kind]
        }
        return {**row, "prompt": prompt, **turns}

    def write_parquet(
        self, schema: pa.Schema, *, names: dict[str, str], shape: Any = None
    ) -> dict[str, list[str]]:
        """Write one Parquet file per split.

        Args:
            schema: of the files.
            names: split -> file below `out`; a split without rows gets an empty file.
            shape: turns a row in conversational form into a row of the schema.
        """
        files: dict[str, pq.ParquetWriter] = {}
        try:
            for split in self.splits:
                path = self.out / names[split]
                path.parent.mkdir(parents=True, exist_ok=True)
                files[split] = pq.ParquetWriter(path, schema, compression="zstd")
            for split, rows in self.batches():
                shaped = [shape(row) for row in rows] if shape else rows
                wanted = [{n: row.get(n) for n in schema.names} for row in shaped]
                files[split].write_table(pa.Table.from_pylist(wanted, schema=schema))
        finally:
            for file in files.values():
                file.close()
        return {split: [names[split]] for split in self.splits}


def clean(text: str) -> str:
    """Text that every writer takes: a lone surrogate, which is no character, becomes "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")

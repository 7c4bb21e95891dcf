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

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """(split, rows in conversational form), in the version's order.

        Raises:
            StoreError: when a row's text is no longer in the lake.
        """
        seen = 0
        schema = CONVERSATIONS[self.version.kind]
        for batch in stream(self.con, self.sql, {}, self.ranges):
            seen += batch.num_rows
            table = conversations(batch, _TURNS[self.version.kind]).select(schema.names)
            for split, rows in self._by_split(table.cast(schema)):
                if rows.num_rows:
                    yield split, rows
        if seen != self.version.n_rows:
            raise StoreError(
                f"version {self.version.version_id} has {self.version.n_rows} rows, "
                f"but the lake has the texts of {seen}"
            )

    def _by_split(self, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        if len(self.splits) == 1:
            yield self.splits[0], table
            return
        ids = table.column("prompt_id").to_pylist()
        splits = [self.split_of(prompt_id) for prompt_id in ids]
        for split in self.splits:
            yield split, table.filter(pa.array([there == split for there in splits]))

    def batches(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The same rows as lists of dicts, for shapes that are made row by row."""
        for split, table in self.tables():
            yield split, table.to_pylist()

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
            for split, rows in self.tables():
                made = rows
                if shape is not None:
                    shaped = [shape(row) for row in rows.to_pylist()]
                    made = pa.Table.from_pylist(shaped, schema=schema)
                files[split].write_table(made)
        finally:
            for file in files.values():
                file.close()
        return {split: [names[split]] for split in self.splits}


def conversations(batch: pa.Table, turns: tuple[str, ...]) -> pa.Table:
    """Rows with the prompt's messages and each of the `turns` as lists of messages."""
    made = batch.append_column("prompt", _prompts(batch.column("messages")))
    for name in turns:
        texts = pa.concat_arrays(made.column(name).chunks)
        roles = pa.repeat(pa.scalar("assistant"), len(texts))
        ends = pa.array(range(len(texts) + 1), pa.int32())
        said = pa.ListArray.from_arrays(ends, _messages(roles, texts))
        made = made.set_column(made.column_names.index(name), name, said)
    return made


def _prompts(column: pa.ChunkedArray) -> pa.Array:
    """JSON texts as lists of messages; each different text is read once."""
    coded = pa.concat_arrays(column.chunks).dictionary_encode()
    ends, roles, contents = [0], [], []
    for text in coded.dictionary.to_pylist():
        for message in json.loads(text):
            roles.append(clean(message["role"]))
            contents.append(clean(message["content"]))
        ends.append(len(roles))
    said = _messages(pa.array(roles, pa.string()), pa.array(contents, pa.string()))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), said).take(coded.indices)


def _messages(roles: pa.Array, contents: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGES.value_type))


def clean(text: str) -> str:
    """Text that every writer takes: a lone surrogate, which is no character, becomes "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")

"""Reads the rows of a selection or a version in groups of buckets, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from factory.rows import BUCKETS

Range = tuple[int, int]

_BYTES = 300e6
_BYTES_A_TOKEN = 8
"""Four of text and four of the id."""
_TOKENS = 500
"""Of a completion, where none says."""


def run(con: duckdb.DuckDBPyConnection, sql: str, known: Mapping[str, object]) -> pa.Table:
    """One query, given those of the known parameters that it names."""
    # DuckDB refuses a parameter that a statement does not name.
    wanted = duckdb.extract_statements(sql)[0].named_parameters
    params = {name: value for name, value in known.items() if name in wanted}
    return con.sql(sql, params=params).to_arrow_table()


def stream(
    con: duckdb.DuckDBPyConnection, sql: str, known: Mapping[str, object], ranges: Iterable[Range]
) -> Iterator[pa.Table]:
    """The query's rows, one table per range of buckets, in the order of the buckets."""
    for first, last in ranges:
        batch = run(con, sql, {**known, "first_bucket": first, "last_bucket": last})
        if batch.num_rows:
            yield batch


def bucket_groups(
    con: duckdb.DuckDBPyConnection, table: str, known: Mapping[str, object], max_rows: int
) -> list[Range]:
    """Ranges of buckets with at most about `max_rows` rows each, in order.

    `table` is `pairs` or `sft_examples` (rows of `$strategy_id`), or a relation without strategies.
    """
    where = "where strategy_id = $strategy_id" if "strategy_id" in known else ""
    rows = run(con, f"select bucket, count(*) as n from {table} {where} group by bucket", known)
    sizes = {int(row["bucket"]): int(row["n"]) for row in rows.to_pylist()}
    groups: list[Range] = []
    first, held = 0, 0
    for bucket in range(BUCKETS):
        n = sizes.get(bucket, 0)
        if held and held + n > max_rows:
            groups.append((first, bucket - 1))
            first, held = bucket, 0
        held += n
    return [*groups, (first, BUCKETS - 1)]


def rows_that_fit(con: duckdb.DuckDBPyConnection) -> int:
    """Pairs to hold at once with their texts and token ids, by how long completions are."""
    average = con.execute("select avg(n_tokens) from completions").fetchall()[0][0] or _TOKENS
    return int(min(max(_BYTES / (2 * average * _BYTES_A_TOKEN), 2_000), 100_000))


def attach_version(con: duckdb.DuckDBPyConnection, directory: Path) -> None:
    """Show the rows of a dataset version as `version_rows`."""
    path = str(directory / "rows.parquet").replace("'", "''")
    con.execute(f"create or replace temp view version_rows as from read_parquet('{path}')")

"""Columns of lake files as values: Parquet bytes, id look-ups, and a table attached to DuckDB.

A directory is read by DuckDB itself from an explicit list of files. An object store is read through
Arrow, because DuckDB's own reader is an extension that has to be downloaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factory.store.known import Hashes
from factory.store.places import Place

if TYPE_CHECKING:
    import pyarrow.dataset as ds

ROW_GROUP = 32_768
"""Rows that a reader can skip together; files sorted by bucket are skipped in these steps."""

SORTED_FROM = 4 * ROW_GROUP
"""Rows from which on a commit is sorted by bucket: with fewer, a reader has little to skip."""

AT_ONCE = 8192
"""Rows of a look-up in memory at a time."""

_engines: dict[int, duckdb.DuckDBPyConnection] = {}


def quiet() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that draws nothing on anybody's terminal."""
    con = duckdb.connect()
    con.execute("set enable_progress_bar = false")
    con.execute("set parquet_metadata_cache = true")
    return con


def _engine() -> duckdb.DuckDBPyConnection:
    """A cursor of this process's scratch DuckDB: opening one anew costs as much as a commit."""
    if os.getpid() not in _engines:  # a forked child must not use its parent's threads
        _engines.clear()
        _engines[os.getpid()] = quiet()
    return _engines[os.getpid()].cursor()


def as_parquet(data: pa.Table) -> pa.Buffer:
    """The bytes of a Parquet file, zstd level 3."""
    sink = pa.BufferOutputStream()
    write_parquet(data, sink)
    return sink.getvalue()


def write_parquet(data: pa.Table, sink: pa.NativeFile | BinaryIO) -> None:
    """Write a Parquet file, zstd level 3."""
    pq.write_table(
        data, sink, compression="zstd", compression_level=3, row_group_size=ROW_GROUP,
    )  # fmt: skip


def bucket_order(data: pa.Table) -> npt.NDArray[np.int64] | None:
    """The order by bucket of the rows of a large commit, so that who reads a few buckets can skip.

    None when the rows are few, have no bucket, or lie in that order already.
    """
    if data.num_rows < SORTED_FROM or "bucket" not in data.column_names:
        return None
    buckets = data.column("bucket").fill_null(-1).to_numpy()
    order = np.argsort(buckets, kind="stable")
    return None if (order[1:] > order[:-1]).all() else order


def hashes_of(ids: pa.ChunkedArray) -> Hashes:
    """64-bit hashes of ids, in their order; equal within one process only."""
    with _engine() as con:
        con.register("ids", pa.table({"id": ids}))
        return _hashes(con, "select hash(id) as h from ids")


def hashes_of_files(place: Place, files: list[str], key: str) -> Hashes:
    """Hashes of every id in some files, in no order."""
    with _engine() as con:
        _show(con, "t", place, files, columns=[key])
        return _hashes(con, f'select hash("{key}") as h from t')


def _hashes(con: duckdb.DuckDBPyConnection, sql: str) -> Hashes:
    return np.asarray(con.execute(sql).fetchnumpy()["h"], dtype=np.uint64)


def held_among(place: Place, files: list[str], key: str, ids: list[str]) -> set[str]:
    """Which of these ids are in the files."""
    with _engine() as con:
        con.register("wanted", pa.table({"id": pa.array(ids, pa.string())}))
        _show(con, "t", place, files, columns=[key])
        found = con.execute(
            f'select distinct id from wanted semi join t on t."{key}" = wanted.id'
        ).fetchall()
        return {row[0] for row in found}


def values_of(
    place: Place, files: Iterable[str], key: str, column: str, ids: Sequence[str]
) -> dict[str, Any]:
    """Id -> value of a column for these ids, read in batches that are dropped at once.

    DuckDB would keep a whole row group of text per thread.
    """
    wanted = pa.array(ids, pa.string())
    low, high = min(ids), max(ids)
    found: dict[str, Any] = {}
    for name in files:
        with pq.ParquetFile(
            name, filesystem=place.fs, pre_buffer=False, buffer_size=1 << 20
        ) as file:
            groups = [g for g in range(file.num_row_groups) if _may_hold(file, g, key, low, high)]
            for batch in file.iter_batches(
                AT_ONCE, row_groups=groups, columns=[key, column], use_threads=False
            ):
                here = pc.is_in(batch.column(key), value_set=wanted)  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
                kept = batch.filter(here)
                named, said = kept.column(key).to_pylist(), kept.column(column).to_pylist()
                found.update(zip(named, said, strict=True))
    return found


def _may_hold(file: pq.ParquetFile, group: int, key: str, low: str, high: str) -> bool:
    """Whether a row group's smallest and largest id leave room for one of these."""
    at = file.schema_arrow.get_field_index(key)
    known = file.metadata.row_group(group).column(at).statistics
    return known is None or not known.has_min_max or (known.min <= high and known.max >= low)


def read_files(place: Place, files: list[str], schema: pa.Schema) -> pa.Table:
    """Some files as one table of that schema; a column that a file lacks is null."""
    return dataset(place, files, schema).to_table()


def dataset(place: Place, files: list[str], schema: pa.Schema) -> ds.FileSystemDataset:
    """Files of a place as an Arrow dataset."""
    import pyarrow.dataset as ds  # imports pandas: half a second that no local query needs

    form = ds.ParquetFileFormat()
    fragments = [form.make_fragment(f, filesystem=place.fs) for f in files]
    return ds.FileSystemDataset(fragments, schema, form, filesystem=place.fs)


def attach_files(
    con: duckdb.DuckDBPyConnection,
    name: str,
    place: Place,
    files: list[str],
    *,
    schema: pa.Schema,
    first: str | None = None,
    uniform: bool = False,
) -> None:
    """Attach a table's files as a view.

    Args:
        con: an open connection.
        name: of the view.
        place: where the files are.
        files: their full names.
        schema: the columns that must appear, also when no file has them.
        first: a file of no rows that has these columns.
        uniform: whether every file has exactly these columns.
    """
    if place.local and (first is not None or files):
        con.execute(view_sql(name, [*([first] if first else []), *files], uniform=uniform))
        return
    con.register(name, dataset(place, files, wide_schema(place, files, schema)))


def wide_schema(place: Place, files: list[str], schema: pa.Schema) -> pa.Schema:
    """Our columns, and beside them those that a newer program wrote into the newest file."""
    if not files:
        return schema
    there = _schema_of(place, files[-1])
    return pa.schema([*schema, *(f for f in there if f.name not in schema.names)])


def _schema_of(place: Place, file: str) -> pa.Schema:
    return pq.read_schema(file, filesystem=place.fs)


def view_sql(name: str, files: list[str], *, temp: bool = False, uniform: bool = False) -> str:
    """The view over an explicit list of Parquet files: by name, so that columns may be added.

    With `uniform` the first file's columns are those of all; else DuckDB opens every file for them.
    """
    # File names come from the lake, not from people; quotes are doubled all the same.
    listed = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    return (
        f"create or replace {'temp ' if temp else ''}view {name} as "
        f"select * from read_parquet([{listed}], union_by_name = {not uniform})"
    )


def _show(
    con: duckdb.DuckDBPyConnection,
    name: str,
    place: Place,
    files: list[str],
    *,
    columns: list[str] | None = None,
) -> None:
    if place.local:
        con.execute(view_sql(name, files, temp=True))
        return
    schema: Any = _schema_of(place, files[0])
    if columns:
        schema = pa.schema([schema.field(c) for c in columns])
    con.register(name, dataset(place, files, schema))


def once_each(data: pa.Table, key: str) -> pa.Table:
    """The rows without those whose id came before."""
    ids = data.column(key)
    if len(ids.unique()) == len(ids):
        return data
    firsts: dict[str, int] = {}
    for position, identity in enumerate(ids.to_pylist()):
        firsts.setdefault(identity, position)
    return data.take(list(firsts.values()))


def shard_name(table: str, ids: pa.ChunkedArray) -> str:
    """The name of a shard by what is in it: the hash of its sorted ids."""
    ordered = pa.concat_arrays(ids.chunks).sort()
    digest = hashlib.blake2b(table.encode(), digest_size=16)
    # The values of a fresh string array lie end to end, in order.
    digest.update(ordered.buffers()[2] or b"")
    return digest.hexdigest()

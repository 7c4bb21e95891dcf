"""The lake: append-only Delta tables, and the only file that imports deltalake.

A narrow profile of Delta on purpose: append and compact. No partitions (a partition column lives
only in the path), no deletion vectors and no column mapping (DuckDB reads the files directly and
would show deleted rows or other names), no overwrite, merge, restore or z-order.

delta-rs never calls fsync, so an acknowledged commit could vanish at a power cut: after each
commit the files it added, its log entry and both directories are synced before anyone is told
(0.13 to 1 ms). Delta does not refuse the same transaction twice: the check on a fresh table under
the lock does.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from factory.errors import StoreError
from factory.rows import SCHEMAS

READER_VERSION = 1
"""Reader protocol 1 has neither deletion vectors nor column mapping. Anything newer is refused."""

_CONFIGURATION = {
    # A dataset manifest may ask for any old version: the log is never cleaned behind our back.
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
    "delta.checkpointInterval": "100",
}
_WRITER = WriterProperties(compression="ZSTD", compression_level=3)


class Lake:
    """The tables under one directory."""

    def __init__(self, root: Path, *, create: bool = False) -> None:
        self.root = root
        if create:
            self.create()

    def create(self) -> None:
        """Make every table that is missing, so that no query meets an absent one."""
        (self.root / "_locks").mkdir(parents=True, exist_ok=True)
        (self.root / "_schema").mkdir(exist_ok=True)
        for table, schema in SCHEMAS.items():
            if not (self.root / table / "_delta_log").is_dir():
                with self._lock(table):
                    DeltaTable.create(
                        str(self.root / table),
                        schema=schema,  # pyright: ignore[reportArgumentType]  # any Arrow C schema is accepted
                        mode="ignore",
                        configuration=_CONFIGURATION,
                    )
            self._write_schema_file(table, schema)

    def _write_schema_file(self, table: str, schema: pa.Schema) -> None:
        target = self.schema_file(table)
        if target.exists() and pq.read_schema(target).equals(schema):
            return
        aside = target.with_suffix(f".{os.getpid()}.tmp")
        pq.write_table(schema.empty_table(), aside)
        os.replace(aside, target)

    def schema_file(self, table: str) -> Path:
        """A Parquet file of no rows: first in a file list, it makes new columns appear."""
        return self.root / "_schema" / f"{table}.parquet"

    # --- reading ------------------------------------------------------------------------------

    def open(self, table: str, *, version: int | None = None) -> DeltaTable:
        """The table at a version (the newest by default).

        Raises:
            StoreError: when it is absent, damaged, or written by a newer program.
        """
        path = str(self.root / table)
        try:
            opened = DeltaTable(path, version=version)
        except TableNotFoundError as missing:
            raise StoreError(f"the lake has no table {table} at {self.root}") from missing
        except Exception as broken:
            raise StoreError(f"lake table {table} cannot be opened: {broken}") from broken
        protocol = opened.protocol()
        if protocol.min_reader_version > READER_VERSION or protocol.reader_features:
            raise StoreError(
                f"lake table {table} needs reader version {protocol.min_reader_version} "
                f"{protocol.reader_features or ''}: it was written by a newer program"
            )
        return opened

    def files(self, table: str, *, version: int | None = None) -> list[str]:
        """Absolute paths of the live files of a table, to be read as one explicit list."""
        return [_local(uri) for uri in self.open(table, version=version).file_uris()]

    def version(self, table: str) -> int:
        """The newest version of a table."""
        return self.open(table).version()

    def rows(self, table: str) -> int:
        """How many rows a table has, from the log alone."""
        actions: Any = self.open(table).get_add_actions(flatten=True)
        return sum(int(n) for n in pa.table(actions).column("num_records").to_pylist())

    # --- writing ------------------------------------------------------------------------------

    @contextmanager
    def _lock(self, table: str) -> Iterator[None]:
        """One committer a table: retries of Delta's optimistic commit starve under contention."""
        path = self.root / "_locks" / f"{table}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def append(self, table: str, data: pa.Table, *, shard: str, unique: bool = True) -> int:
        """Commit rows once under a shard's name; returns how many were added.

        With `unique`, rows whose id the table already holds are left out. A shard that was
        committed before adds nothing, whoever committed it.

        Raises:
            StoreError: when the commit cannot be made.
        """
        application = f"shard:{shard}"
        with self._lock(table):
            fresh = self.open(table)
            if fresh.transaction_version(application) is not None:
                return 0
            if unique:
                data = self._new_rows(table, data)
            if data.num_rows == 0:
                return 0
            self._commit(fresh, data, application)
            self._sync(table, self.open(table).version())
        return data.num_rows

    def _commit(self, table: DeltaTable, data: pa.Table, application: str) -> None:
        properties = CommitProperties(
            app_transactions=[Transaction(app_id=application, version=1)], max_commit_retries=100
        )
        try:
            write_deltalake(
                table,
                data,
                mode="append",
                # An older table gains the columns that this program knows and it lacks.
                schema_mode="merge",
                commit_properties=properties,
                writer_properties=_WRITER,
            )
        except (CommitFailedError, OSError) as failed:
            raise StoreError(f"commit of {data.num_rows} rows failed: {failed}") from failed

    def _new_rows(self, table: str, data: pa.Table) -> pa.Table:
        key = SCHEMAS[table].names[0]
        firsts = _first_positions(data.column(key).to_pylist())
        data = data.take(firsts) if len(firsts) < data.num_rows else data
        held = self.held(table, data.column(key).to_pylist())
        if not held:
            return data
        keep = [i for i, value in enumerate(data.column(key).to_pylist()) if value not in held]
        return data.take(keep)

    def held(self, table: str, ids: list[str]) -> set[str]:
        """Which of these ids the table already has."""
        import duckdb

        files = self.files(table)
        if not files or not ids:
            return set()
        key = SCHEMAS[table].names[0]
        wanted = pa.table({"id": pa.array(ids, pa.string())})
        with duckdb.connect() as con:
            con.register("wanted", wanted)
            found = con.execute(
                f"select distinct id from wanted semi join read_parquet($files) t on t.{key} = id",
                {"files": files},
            ).fetchall()
        return {row[0] for row in found}

    def _sync(self, table: str, version: int) -> None:
        base = self.root / table
        entry = base / "_delta_log" / f"{version:020d}.json"
        added: list[str] = [
            action["add"]["path"]
            for action in map(json.loads, entry.read_text().splitlines())
            if "add" in action
        ]
        for path in (*(base / unquote(p) for p in added), entry, base, base / "_delta_log"):
            _fsync(path)


def shard_name(table: str, ids: list[str]) -> str:
    """The name of a shard by what is in it: the hash of its sorted ids."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(table.encode())
    for identity in sorted(ids):
        digest.update(identity.encode())
    return digest.hexdigest()


def _first_positions(ids: list[str]) -> list[int]:
    seen: dict[str, int] = {}
    for position, identity in enumerate(ids):
        seen.setdefault(identity, position)
    return list(seen.values())


def _local(uri: str) -> str:
    return unquote(uri.removeprefix("file://"))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""The lake: append-only Delta tables, and the only file that imports deltalake.

A narrow profile of Delta: append and compact. No partitions (a partition column lives only in the
path), no deletion vectors or column mapping (DuckDB reads the files itself and would show deleted
rows or other names), no overwrite, merge, restore, z-order.

delta-rs never calls fsync, so a data file is written and synced by us before it is committed, its
log entry and the folders before anyone is told. The newest version is what `following` read of the
log, and Delta does not refuse the same transaction twice: the check on it under the lock does. A
data file's name begins with the hash of its bytes, so that rot can be found.
"""

from __future__ import annotations

import fcntl
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, PostCommitHookProperties, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from factory.errors import FactoryError, StoreError
from factory.rows import KEYS, SCHEMAS
from factory.store import log
from factory.store.columns import (
    hashes_of,
    hashes_of_files,
    held_among,
    once_each,
    values_of,
)
from factory.store.following import Newest, entry_of, put_entry
from factory.store.known import Hashes, KnownIds, twice
from factory.store.layout import Layout
from factory.store.log import LiveFile
from factory.store.places import Place, blaming, check_name, explained
from factory.store.writing import Draft, draft

CHECKPOINT_EVERY = 100
TRIES = 5

_CONFIGURATION = {
    # A manifest may ask for any old version: the log is never cleaned behind our back.
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
    "delta.enableExpiredLogCleanup": "false",
}
# Checkpoints are ours to make: delta-rs would leave them on their way to the disk.
_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)

log_ = logging.getLogger(__name__)

Lock = Callable[[str], AbstractContextManager[object]]


class Lake:
    """The tables under one directory, or a URL as `s3://bucket/prefix`.

    Args:
        root: where.
        create: make the tables that are missing.
        lock: holds a table's name against every other committer; by default a file lock.
    """

    def __init__(self, root: Path | str, *, create: bool = False, lock: Lock | None = None) -> None:
        self.place = Place(root)
        check_name(self.place)
        self._lock: Lock = lock or self._file_lock
        self._known: dict[str, KnownIds] = {}
        self._evolved: set[str] = set()
        self._followed: dict[str, Newest] = {}
        self._turns = {table: threading.RLock() for table in SCHEMAS}
        self.layout = Layout(self.place)
        self.layout.check()
        if create:
            self.create()

    def create(self) -> None:
        """Make every table that is missing, so that no query meets an absent one."""
        for folder in ("_schema", "_locks"):
            self.place.make(folder)
        made: list[str] = []
        for table in SCHEMAS:
            if not self.place.exists(entry := log.entry_name(table, 0)):
                with self._lock(table):
                    self._create(table)
                    if self.place.exists(entry):
                        self.place.sync(entry, f"{table}/_delta_log", table)
                made.append(table)
        self.layout.note(made)

    def _create(self, table: str) -> None:
        with explained(self.place.uri(table)):
            DeltaTable.create(
                self.place.uri(table),
                schema=SCHEMAS[table],  # pyright: ignore[reportArgumentType]  # any Arrow C schema is accepted
                mode="ignore",
                configuration=_CONFIGURATION,
                storage_options=self.place.options,
            )

    def mend(self) -> list[str]:
        """Set torn last commits aside (after a power cut); returns what was done, in words."""
        return log.mend_torn(self.place, SCHEMAS, self._lock) if self.place.local else []

    # --- reading ------------------------------------------------------------------------------

    def open(self, table: str, *, version: int | None = None) -> DeltaTable:
        """The table at a version; raises `StoreError` when it is absent, damaged or too new."""
        try:
            with explained(self.place.uri(table)):
                opened = DeltaTable(
                    self.place.uri(table), version=version, storage_options=self.place.options
                )
        except TableNotFoundError as missing:
            raise StoreError(f"the lake has no table {table} at {self.place.url}") from missing
        except FactoryError:
            raise
        except Exception as broken:
            said = str(broken).splitlines()[0]
            raise StoreError(f"lake table {table} cannot be opened: {said}") from broken
        log.check_protocol(table, opened.protocol())
        return opened

    def _newest(self, table: str) -> Newest:
        """The newest version, from what this process read of the log before."""
        with self._turns[table]:
            known = self._followed.get(table)
            if known is None or not known.follow(self.place):
                known = self._followed[table] = self._read(table)
            return known

    def _read(self, table: str) -> Newest:
        opened = self.open(table)
        return Newest(
            table,
            opened.version(),
            {f.name: f for f in _live(opened)},
            frozenset(field.name for field in opened.schema().fields),
            lambda shard: opened.transaction_version(shard) is not None,
        )

    def live(self, table: str, *, version: int | None = None) -> list[LiveFile]:
        """The data files of a table at a version. A table not made yet has none."""
        if version is not None:
            return _live(self.open(table, version=version))
        if self._is_new(table):
            return []
        with self._turns[table]:
            return self._newest(table).files()

    def _is_new(self, table: str) -> bool:
        """Whether this lake was made before the table was invented; one that is gone is not new."""
        there = self.place.exists(log.entry_name(table, 0))
        return not there and not self.layout.knows(table)

    def files(self, table: str, *, version: int | None = None) -> list[str]:
        """Paths of the live files of a table."""
        return self._full(table, [f.name for f in self.live(table, version=version)])

    def _full(self, table: str, names: list[str]) -> list[str]:
        return [self.place.full(f"{table}/{name}") for name in names]

    def version(self, table: str) -> int:
        """The newest version of a table."""
        return self._newest(table).version

    def rows(self, table: str) -> int:
        """Rows of a table, from the log alone."""
        return sum(f.rows for f in self.live(table))

    def held(self, table: str, ids: list[str]) -> set[str]:
        """Which of these ids the table already has."""
        files = self.files(table)
        return held_among(self.place, files, KEYS[table], ids) if files and ids else set()

    def values(self, table: str, column: str, ids: Sequence[str]) -> dict[str, Any]:
        """Id -> value of a column, for those of these ids that the table has."""
        if not ids:
            return {}
        try:
            return values_of(self.place, self.files(table), KEYS[table], column, ids)
        except FileNotFoundError:  # clean-up took a file meanwhile: the list of now has its rows
            return values_of(self.place, self.files(table), KEYS[table], column, ids)

    # --- writing ------------------------------------------------------------------------------

    @contextmanager
    def _file_lock(self, table: str) -> Iterator[None]:
        """One committer a table: retries of Delta's optimistic commit starve under contention."""
        path = self.place.path / "_locks" / f"{table}.lock"
        if not path.exists():
            self.place.make("_locks")
        with blaming(str(path)):
            handle = path.open("a")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def append(self, table: str, data: pa.Table, *, shard: str, unique: bool = True) -> int:
        """Commit rows once under a shard's name; returns how many were added.

        With `unique`, rows whose id the table already holds are left out. A shard that was
        committed before adds nothing, whoever committed it.

        Raises:
            UserError: when there is no room or no permission.
            StoreError: when the commit cannot be made.
        """
        once = f"shard:{shard}"
        # Rows are almost always new: their file is made while that is being found out, and while
        # others hold the lock.
        with draft(self.place, table, data) as file, self._lock(table):
            if self._ready(table).holds(once):
                return 0
            new, hashes = self._new_rows(table, data) if unique else (data, None)
            if new.num_rows == 0:
                return 0
            added = self._add(table, new, file if new is data else None)
            try:
                self._commit(table, added, shard=once)
            except FactoryError:
                self._forget(table, added)
                raise
            if hashes is not None:
                self._known[table].add([file.name for file in added], hashes)
        return new.num_rows

    def swap(self, table: str, gone: Iterable[LiveFile], data: pa.Table) -> bool:
        """Put one file in place of several that hold the same rows, in one commit.

        Returns False when one of them is no longer live: then nothing is changed. The old files
        stay on disk for the readers that use them.
        """
        gone = list(gone)
        with draft(self.place, table, data, whole=True) as file:
            added = self._add(table, data, file)
        with self._lock(table):
            # Delta itself accepts that a file is removed twice; its rows would be there twice.
            if not set(gone) <= set(self.live(table)):
                self._forget(table, added)
                return False
            self._commit(table, added, gone=gone)
        return True

    def _ready(self, table: str) -> Newest:
        """The table, fresh, with every column this program knows. Call it under the lock."""
        if self._is_new(table):
            self._create(table)
        fresh = self._newest(table)
        if table not in self._evolved:
            wanted = DeltaSchema.from_arrow(SCHEMAS[table])
            lacking: list[Field] = [f for f in wanted.fields if f.name not in fresh.columns]
            if fresh.columns ^ {f.name for f in wanted.fields}:
                self.layout.mix(table)
            if lacking:
                opened = self.open(table)
                opened.alter.add_columns(lacking, post_commithook_properties=_HOOKS)
                self._settle(table, fresh.version)
                fresh = self._newest(table)
            self._evolved.add(table)
        return fresh

    def _new_rows(self, table: str, data: pa.Table) -> tuple[pa.Table, Hashes]:
        key = KEYS[table]
        hashes = hashes_of(data.column(key))
        if twice(hashes):
            data = once_each(data, key)
            hashes = hashes_of(data.column(key))
        known = self._known.setdefault(table, KnownIds())
        names = [f.name for f in self.live(table)]
        known.follow(names, lambda new: hashes_of_files(self.place, self._full(table, new), key))
        maybe = known.maybe(hashes)
        if not maybe.any():
            return data, hashes
        asked = data.column(key).filter(pa.array(maybe)).to_pylist()
        held = held_among(self.place, self._full(table, names), key, asked)
        keep = pa.array([identity not in held for identity in data.column(key).to_pylist()])
        return data.filter(keep), hashes[keep.to_numpy(zero_copy_only=False)]

    def _add(self, table: str, data: pa.Table, file: Draft | None) -> list[LiveFile]:
        """The files of these rows: those drafted for them, or new ones."""
        if file is None:
            with draft(self.place, table, data) as file:
                return self._add(table, data, file)
        return [LiveFile(w.name, w.rows, w.size) for w in file.keep()]

    def _forget(self, table: str, added: list[LiveFile]) -> None:
        for file in added:
            self.place.delete(f"{table}/{file.name}")

    def _commit(
        self,
        table: str,
        added: list[LiveFile],
        *,
        gone: Sequence[LiveFile] = (),
        shard: str | None = None,
    ) -> None:
        """One durable commit. Call it under the lock."""
        if not self.place.local:
            return self._commit_far(table, added, gone=gone, shard=shard)
        entry = entry_of(added, gone, shard=shard, new_rows=not gone)
        for _ in range(TRIES):
            with self._turns[table]:
                fresh = self._newest(table)
                if shard is not None and fresh.holds(shard):
                    return
                if put_entry(self.place, table, fresh.version + 1, entry):
                    fresh.take(entry)
                    break
        else:
            raise StoreError(f"a commit to {table} failed: others commit without its lock")
        if fresh.version % CHECKPOINT_EVERY == 0:
            self.checkpoint(table)

    def _commit_far(
        self, table: str, added: list[LiveFile], *, gone: Sequence[LiveFile], shard: str | None
    ) -> None:
        """A commit to an object store: delta-rs knows how each of them puts a name once."""
        now = int(time.time() * 1000)
        changes: list[AddAction | RemoveAction] = [
            *(RemoveAction(f.name, not gone, now, size=f.size, partition_values={}) for f in gone),
            *(AddAction(f.name, f.size, {}, now, not gone, json.dumps({"numRecords": f.rows}))
              for f in added),
        ]  # fmt: skip
        once = [Transaction(app_id=shard, version=1)] if shard else None
        properties = CommitProperties(app_transactions=once, max_commit_retries=100)
        fresh = self.open(table)
        before = fresh.version()
        for left in reversed(range(TRIES)):
            try:
                with explained(self.place.uri(table)):
                    fresh.create_write_transaction(
                        changes, "append", fresh.schema(),
                        commit_properties=properties, post_commithook_properties=_HOOKS,
                    )  # fmt: skip
                break
            except (CommitFailedError, OSError) as failed:
                fresh = self.open(table)
                if shard and fresh.transaction_version(shard) is not None:
                    break  # it was made after all: the answer came too late
                if left == 0:
                    raise StoreError(f"a commit to {table} failed: {failed}") from failed
        self._settle(table, before)

    def _settle(self, table: str, before: int) -> None:
        """Make the commits after a version durable, and a checkpoint now and then."""
        version = before
        while self.place.local and self.place.exists(entry := log.entry_name(table, version + 1)):
            self.place.sync(entry)
            version += 1
        self.place.sync(f"{table}/_delta_log")
        if version // CHECKPOINT_EVERY > before // CHECKPOINT_EVERY:
            self.checkpoint(table)

    def checkpoint(self, table: str) -> None:
        """Sum the log up, so that opening the table stays quick; nothing true depends on it."""
        try:
            fresh = self.open(table)
            fresh.create_checkpoint()
            folder = f"{table}/_delta_log"
            made = (f"{fresh.version():020d}.checkpoint.parquet", "_last_checkpoint")
            self.place.sync(*(f"{folder}/{name}" for name in made), folder)
        except Exception as failed:  # the rows are safe: only speed is lost
            log_.warning("no checkpoint of %s: %s", table, failed)

    def removable(
        self, table: str, *, retention_h: float, keep: list[int], delete: bool
    ) -> list[str]:
        """Committed files that no version to keep or younger than that needs; may delete them."""
        # A deletion is two commits of delta-rs, which would starve among our own, quicker ones.
        alone = self._lock(table) if delete and self.place.local else nullcontext()
        with alone, explained(self.place.uri(table)):
            fresh = self.open(table)
            found = fresh.vacuum(
                retention_hours=int(retention_h),
                dry_run=not delete,
                enforce_retention_duration=False,
                keep_versions=sorted(set(keep)) or None,
                commit_properties=CommitProperties(max_commit_retries=100),
                post_commithook_properties=_HOOKS,
            )
        if delete and found:
            self._settle(table, fresh.version())
        return sorted({unquote(name) for name in found})


def _live(opened: DeltaTable) -> list[LiveFile]:
    return log.live_files(pa.table(opened.get_add_actions(flatten=True)))  # pyright: ignore[reportArgumentType]  # an Arrow C stream

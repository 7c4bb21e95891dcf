"""Upkeep of the lake: many small files become few, and files that nobody needs are deleted.

One process at a time does it, by a lease. Writers go on meanwhile: a compaction reads files that
never change, writes one beside them and swaps them in one commit. Readers go on as well: what was
swapped out stays on disk for a day at least, and as long as a dataset version needs it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from factory.errors import StoreError, UserError
from factory.rows import KEYS, SCHEMAS
from factory.store import log
from factory.store.columns import read_files, wide_schema
from factory.store.lake import Lake
from factory.store.log import LiveFile
from factory.store.snapshots import pins

if TYPE_CHECKING:
    from factory.store.store import Store

TARGET_BYTES = 96 * 1024 * 1024
"""Size of a compacted file: about half a gigabyte in memory while it is made."""
TARGET_ROWS = 4_000_000
WHEN_FILES = 500
"""Small files from which on a table is worth compacting: opening it grows slow beyond."""
LEAST_RETENTION_H = 24.0
RETENTION_H = 168.0
ORPHAN_H = 168.0
"""A file that was written and never committed: deleted when it can no longer be on its way."""
_LEASE = "upkeep"


@dataclass(slots=True, kw_only=True)
class Compaction:
    """What compacting a table did."""

    table: str
    files_before: int = 0
    files_after: int = 0
    rows: int = 0


@dataclass(slots=True, kw_only=True)
class Garbage:
    """Files of a table that can go, or went."""

    table: str
    replaced: list[str] = field(default_factory=list[str])
    """Swapped out by compaction, and needed by no version that is kept."""
    orphans: list[str] = field(default_factory=list[str])
    """Written by a process that died before its commit."""
    size: int = 0

    def as_dict(self) -> dict[str, object]:
        """For tables and JSON."""
        return {
            "table": self.table, "replaced": len(self.replaced), "orphans": len(self.orphans),
            "bytes": self.size,
        }  # fmt: skip


def compact(
    store: Store,
    *,
    tables: Sequence[str] | None = None,
    when_files: int = 2,
    target_bytes: int = TARGET_BYTES,
) -> list[Compaction]:
    """Put small files together, rows ordered by bucket, so that readers open and skip better.

    Args:
        store: the workspace's.
        tables: which; all of them by default.
        when_files: small files from which on a table is compacted.
        target_bytes: size up to which files are put together.

    Raises:
        LeaseHeld: when another process is at it.
        StoreError: when the rows would not be the same; nothing was changed then.
    """
    done: list[Compaction] = []
    with store.ledger.lease(_LEASE) as lease:
        for table in _known(tables):
            made = Compaction(table=table)
            live = store.lake.live(table)
            made.files_before = len(live)
            for group in _groups(live, target_bytes):
                lease.check()
                if len(live) >= when_files and len(group) > 1:
                    made.rows += _compact_group(store.lake, table, group)
            if made.rows:
                store.lake.checkpoint(table)
                made.files_after = len(store.lake.live(table))
                done.append(made)
    if done and store.lake.place.local:
        store.publish()
    return done


def _known(tables: Sequence[str] | None) -> list[str]:
    for table in tables or ():
        if table not in SCHEMAS:
            raise UserError(
                f"there is no table {table}", next=f"one of: {', '.join(sorted(SCHEMAS))}"
            )
    return list(tables or SCHEMAS)


def _groups(live: Sequence[LiveFile], target: int) -> Iterator[list[LiveFile]]:
    """Small files in groups that make one file each."""
    group: list[LiveFile] = []
    for file in sorted((f for f in live if f.size < target / 2), key=lambda f: f.size):
        size, rows = sum(f.size for f in group), sum(f.rows for f in group)
        if group and (size + file.size > target or rows + file.rows > TARGET_ROWS):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _compact_group(lake: Lake, table: str, group: list[LiveFile]) -> int:
    names = [lake.place.full(f"{table}/{f.name}") for f in group]
    data = read_files(lake.place, names, wide_schema(lake.place, names, SCHEMAS[table]))
    if "bucket" in data.column_names:
        data = data.sort_by([("bucket", "ascending"), (KEYS[table], "ascending")])
    _check_same(table, group, data)
    if not lake.swap(table, group, data):
        return 0
    return data.num_rows


def _check_same(table: str, group: Sequence[LiveFile], data: pa.Table) -> None:
    wanted = sum(f.rows for f in group)
    distinct = len(data.column(KEYS[table]).unique())
    if (data.num_rows, distinct) != (wanted, wanted):
        raise StoreError(
            f"lake table {table}: {len(group)} files hold {wanted} rows, but {data.num_rows} were "
            f"read with {distinct} distinct ids; nothing was compacted: prefactory doctor"
        )


def collect_garbage(
    store: Store,
    *,
    dry_run: bool,
    retention_h: float = RETENTION_H,
    orphan_h: float = ORPHAN_H,
) -> list[Garbage]:
    """Delete files that no current, recent or pinned version needs.

    Args:
        store: the workspace's.
        dry_run: only say which.
        retention_h: hours that a swapped-out file stays, for running queries and `--at TIME`.
        orphan_h: age in hours from which a file that was never committed counts as left behind.

    Raises:
        UserError: when less than a day is asked for: a running query may need the files.
    """
    if min(retention_h, orphan_h) < LEAST_RETENTION_H:
        raise UserError(
            f"files are kept for {LEAST_RETENTION_H:.0f} h at least: a query may be reading them",
            next="prefactory gc --keep-hours 24",
        )
    return _collect(store, dry_run=dry_run, retention_h=retention_h, orphan_h=orphan_h)


def _collect(store: Store, *, dry_run: bool, retention_h: float, orphan_h: float) -> list[Garbage]:
    keep = pins(store)
    lake, found = store.lake, list[Garbage]()
    with store.ledger.lease(_LEASE):
        for table in SCHEMAS:
            sizes = {name: info.size for name, info in lake.place.names(table).items()}
            garbage = Garbage(table=table)
            garbage.replaced = lake.removable(
                table, retention_h=retention_h, keep=keep[table], delete=not dry_run
            )
            garbage.orphans = orphans(lake, table, older_h=orphan_h)
            garbage.size = sum(sizes.get(n, 0) for n in garbage.replaced + garbage.orphans)
            if not dry_run:
                for name in garbage.orphans:
                    lake.place.delete(f"{table}/{name}")
            if garbage.replaced or garbage.orphans:
                found.append(garbage)
    return found


def orphans(lake: Lake, table: str, *, older_h: float = 0.0) -> list[str]:
    """Files in a table's folders that no log entry ever named, older than some hours."""
    before = time.time() - older_h * 3600
    there = lake.place.names(table)
    committed = {
        name
        for version in log.versions(lake.place, table)
        for name in log.added(log.actions(lake.place, table, version))
    }
    found = [n for n, i in there.items() if n not in committed and i.mtime.timestamp() < before]
    # What delta-rs leaves when it dies between writing an entry and naming it: "….json#1".
    staged = lake.place.names(f"{table}/_delta_log")
    return sorted(found) + sorted(
        f"_delta_log/{n}" for n, i in staged.items() if "#" in n and i.mtime.timestamp() < before
    )

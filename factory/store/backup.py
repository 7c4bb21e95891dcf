"""Backup and restore of a workspace, while it is in use.

What the ledger says was finished (steps, runs, pointers) is read first, then the lake is copied,
and the calls, attempts and budgets last. So no step is called done whose rows the copy lacks, and
an answer that is in the ledger and not in the lake is taken from there again: a backup never lacks
one that was paid for. Files of the lake never change, so a second backup into the same directory
copies only what is new. Whatever holds the ledger, a backup holds it as SQLite: it can be restored
into either.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs
from sqlalchemy import Table, delete, insert, select

from factory.errors import UserError
from factory.rows import SCHEMAS
from factory.store import log
from factory.store import tables as t
from factory.store.ledger import Ledger
from factory.store.places import blaming
from factory.store.snapshots import pins

if TYPE_CHECKING:
    from factory.store.store import Store

_DONE = "backup.complete"
_FINISHED = (t.steps, t.runs, t.pointers, t.pointer_moves)
"""What speaks of rows of the lake, and so may never be newer than the lake beside it."""
_LEFT_OUT = {"lake", "runs", "factory.duckdb"}


@dataclass(slots=True, kw_only=True)
class Report:
    """What was copied."""

    files: int = 0
    size: int = 0
    present: int = 0
    """Files that an earlier backup into this directory had already."""


def backup(store: Store, target: Path) -> Report:
    """Copy a workspace into a directory; what is there from an earlier backup is not copied again.

    Raises:
        UserError: when the target is inside the workspace, or no room is left.
    """
    target = target.resolve()
    if target == store.workspace or store.workspace in target.parents:
        raise UserError(
            f"{target} is inside the workspace it would copy", next="prefactory backup ../copy"
        )
    report = Report()
    with blaming(str(target)):
        target.mkdir(parents=True, exist_ok=True)
        (target / _DONE).unlink(missing_ok=True)
        finished = _finished(store.ledger)
        _copy_lake(store, target / "lake", report)
        for path in _others(store.workspace):
            _copy(path, target / path.relative_to(store.workspace), report)
        _copy_ledger(store.ledger, target / "ledger.sqlite", finished)
        (target / _DONE).write_text("restore with: prefactory restore DIR\n")
    return report


def _copy_lake(store: Store, target: Path, report: Report) -> None:
    place = store.lake.place
    keep = pins(store)
    for table in SCHEMAS:
        newest = store.lake.version(table)
        wanted = {f.name for v in {newest, *keep[table]} for f in store.lake.live(table, version=v)}
        names = [f"{table}/{name}" for name in sorted(wanted)]
        # The log last, oldest entry first: a backup cut short opens at an older version.
        names += [log.entry_name(table, v) for v in log.versions(place, table) if v <= newest]
        for name in names:
            _fetch(place.fs, place.full(name), target / name, report)
    for name in place.names("_schema"):
        _fetch(place.fs, place.full(f"_schema/{name}"), target / "_schema" / name, report)


def _fetch(fs: pafs.FileSystem, source: str, target: Path, report: Report) -> None:
    if target.exists():
        report.present += 1
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.tmp")
    pafs.copy_files(
        source, str(aside), source_filesystem=fs, destination_filesystem=pafs.LocalFileSystem()
    )
    _place(aside, target, report)


def _copy(source: Path, target: Path, report: Report) -> None:
    there = target.stat() if target.exists() else None
    now = source.stat()
    if there and (there.st_size, int(there.st_mtime)) == (now.st_size, int(now.st_mtime)):
        report.present += 1
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.tmp")
    shutil.copy2(source, aside)
    _place(aside, target, report)


def _place(aside: Path, target: Path, report: Report) -> None:
    with aside.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(aside, target)
    report.files += 1
    report.size += target.stat().st_size


def _others(workspace: Path) -> Iterator[Path]:
    """Everything beside the lake and the ledger: models, datasets, edited rooms, settings."""
    for top in sorted(workspace.iterdir()):
        if top.name in _LEFT_OUT or top.name.startswith((".", "ledger.sqlite")):
            continue
        yield from ([top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file()))


def _finished(ledger: Ledger) -> dict[Table, list[dict[str, Any]]]:
    with ledger.reading() as con:
        return {
            table: [dict(row) for row in con.execute(select(table)).mappings()]
            for table in _FINISHED
        }


def _copy_ledger(ledger: Ledger, target: Path, finished: dict[Table, list[dict[str, Any]]]) -> None:
    """The ledger as it is now, but for what was finished; a SQLite file that appears whole."""
    aside = target.with_name(f".{target.name}.tmp")
    for path in (aside, *(aside.with_name(aside.name + s) for s in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    if ledger.postgres:
        copy = Ledger(f"sqlite:///{aside}", create=True)
        _copy_tables(ledger, copy)
    else:
        source = sqlite3.connect(str(ledger.engine.url.database))
        made = sqlite3.connect(aside)
        try:
            source.backup(made)
        finally:
            made.close()
            source.close()
        copy = Ledger(f"sqlite:///{aside}")
    with copy.transaction() as con:
        for table, rows in finished.items():
            con.execute(delete(table))
            if rows:
                con.execute(insert(table), rows)
    copy.close()  # the last connection writes the log back into the file
    os.replace(aside, target)


def _copy_tables(source: Ledger, target: Ledger) -> None:
    with source.engine.connect() as plain, target.transaction() as into:
        con = (
            plain.execution_options(isolation_level="REPEATABLE READ") if source.postgres else plain
        )
        for table in t.metadata.sorted_tables:
            into.execute(delete(table))
            found = con.execution_options(stream_results=True).execute(select(table)).mappings()
            for rows in found.partitions(5_000):
                into.execute(insert(table), [dict(row) for row in rows])


def restore(source: Path, target: Path, *, ledger_url: str | None = None) -> Report:
    """Make a workspace from a backup.

    Args:
        source: the backup's directory.
        target: the new workspace: absent or empty.
        ledger_url: a PostgreSQL URL to restore the ledger into; a file by default.

    Raises:
        UserError: when the backup is not whole, or something is in the way.
    """
    source, target = source.resolve(), target.resolve()
    if not (source / _DONE).is_file():
        raise UserError(
            f"{source} is not a whole backup", next=f"prefactory backup {source}  # again"
        )
    if target.exists() and any(target.iterdir()):
        raise UserError(
            f"{target} is not empty: a backup is restored into a new directory",
            next=f"prefactory restore {source} {target}-restored",
        )
    report = Report()
    with blaming(str(target)):
        for path in sorted(p for p in source.rglob("*") if p.is_file() and p.name != _DONE):
            _copy(path, target / path.relative_to(source), report)
    if ledger_url:
        copy = Ledger(f"sqlite:///{target / 'ledger.sqlite'}")
        into = Ledger(ledger_url, create=True)
        _copy_tables(copy, into)
        copy.close()
        into.close()
    return report

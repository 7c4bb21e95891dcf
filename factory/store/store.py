"""One workspace's ledger and lake, as every room sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from factory.errors import UserError
from factory.rows import KEYS, SCHEMAS, as_table, drop_id_of, utcnow
from factory.store import snapshots, views
from factory.store.columns import quiet, shard_name
from factory.store.lake import Lake
from factory.store.ledger import Ledger
from factory.store.places import blaming
from factory.store.published import Publisher, publish


class Store:
    """The ledger and the lake of a workspace."""

    def __init__(self, workspace: Path, *, ledger: Ledger, lake: Lake) -> None:
        self.workspace = workspace
        self.ledger = ledger
        self.lake = lake
        self._publisher = Publisher(self)

    def close(self) -> None:
        """Publish what is not published yet and close the ledger's connections."""
        self._publisher.close()
        self.ledger.close()

    # --- writing ------------------------------------------------------------------------------

    def append(
        self,
        table: str,
        rows: Iterable[Mapping[str, object]] | pa.Table,
        *,
        run_id: str,
        shard: str | None = None,
        unique: bool = True,
    ) -> int:
        """Commit rows to a lake table; returns how many were added.

        Args:
            table: a name of `factory.rows.SCHEMAS`.
            rows: dicts, or an Arrow table of that schema. Null `run_id` and `created_at` are
                filled.
            run_id: the run that makes them.
            shard: the commit's name; a name that was committed before adds nothing. By default the
                hash of the sorted ids.
            unique: leave out rows whose id the table already holds. Turn it off only where the
                caller took the ids from `missing` while holding the run's lease.
        """
        data: pa.Table = rows if isinstance(rows, pa.Table) else as_table(table, rows)
        if data.num_rows == 0:
            return 0
        data = _stamped(data, table, run_id=run_id)
        name = shard or shard_name(table, data.column(KEYS[table]))
        added = self.lake.append(table, data, shard=name, unique=unique)
        if added:
            self._publisher.committed()
        return added

    def drop(self, stage: str, items: Iterable[Mapping[str, Any]], *, run_id: str) -> int:
        """Keep dropped things with their reason.

        Args:
            stage: the verb that dropped them.
            items: each with `item_kind`, `item_id` and `reason`; `prompt_id`, `detail`, `strategy`
                and `round` where known; `scope` tells apart drops of one item for one reason.
            run_id: the run that dropped them.
        """
        rows: list[dict[str, object]] = []
        for item in items:
            given = dict(item)
            scope = f"{given.pop('scope', '')}|{given.get('strategy', '')}|{given.get('round', '')}"
            identity = drop_id_of(
                stage=stage, item_id=str(given["item_id"]), reason=str(given["reason"]), scope=scope
            )
            rows.append({**given, "drop_id": identity, "stage": stage})
        return self.append("drops", rows, run_id=run_id)

    # --- reading ------------------------------------------------------------------------------

    def missing(self, table: str, ids: Sequence[str]) -> list[str]:
        """Which of these ids the table lacks, in the order given."""
        held = self.lake.held(table, list(ids))
        return [identity for identity in ids if identity not in held]

    def values(self, table: str, column: str, ids: Sequence[str]) -> dict[str, Any]:
        """One column of the rows with these ids, by id; an id that the table lacks is absent.

        A look-up for what is asked shard after shard: it holds the rows that it finds and a few
        thousand more, however large the table is.
        """
        return self.lake.values(table, column, ids)

    def connect(
        self,
        *,
        mentioned_in: str | None = None,
        versions: Mapping[str, int | None] | None = None,
        at: str | datetime | None = None,
    ) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with the tables and views of this moment.

        Writers are not disturbed and not seen after this; open another connection for newer rows.

        Args:
            mentioned_in: SQL text; what it does not mention is not attached.
            versions: table -> version of the lake to show instead of the newest.
            at: a dataset version's id or a time: the lake as it was then. The ledger, which
                changes in place, is shown as it is now.
        """
        con = quiet()
        # What does not fit in memory goes into the workspace, never into the current directory.
        spill = str(self.workspace / "runs" / "spill").replace("'", "''")
        con.execute(f"set temp_directory = '{spill}'")
        views.attach(
            con,
            lake=self.lake,
            ledger=self.ledger,
            workspace=self.workspace,
            versions=self.versions_at(at) if at is not None else versions,
            mentioned_in=mentioned_in,
        )
        return con

    def query(
        self,
        sql: str,
        params: Mapping[str, object] | None = None,
        *,
        at: str | datetime | None = None,
    ) -> pa.Table:
        """One query with named parameters (`$name`), as an Arrow table; `at` as in `connect`."""
        try:
            return self._query(sql, params, at=at)
        except duckdb.IOException as failed:
            if not any(words in str(failed) for words in _CLEANED):
                raise
            # Clean-up took a file between listing and reading: the list of now has its rows.
            return self._query(sql, params, at=at)

    def _query(
        self, sql: str, params: Mapping[str, object] | None, *, at: str | datetime | None
    ) -> pa.Table:
        with self.connect(mentioned_in=sql, at=at) as con:
            return con.sql(sql, params=dict(params or {})).to_arrow_table()

    def rows(self, sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """One query, as a list of dicts."""
        return self.query(sql, params).to_pylist()

    def snapshot(self) -> dict[str, int]:
        """The version of every lake table now; under `lake` in a manifest it pins them."""
        return snapshots.snapshot(self)

    def versions_at(self, at: str | datetime) -> dict[str, int]:
        """Table -> version of the lake at a dataset version (id or prefix) or a time.

        Raises:
            UserError: when there is no such version, or nothing was there yet.
        """
        return snapshots.versions_at(self, at)

    def publish(self) -> Path | None:
        """Renew `factory.duckdb` now; None where the lake is in an object store."""
        return publish(self) if self.lake.place.local else None


_CLEANED = ("No files found", "Cannot open file", "No such file")


def open_store(
    workspace: Path,
    *,
    ledger_url: str | None = None,
    lake_url: str | None = None,
    create: bool = False,
) -> Store:
    """Open the ledger and the lake of a workspace.

    Raises:
        UserError: when the directory is no workspace and `create` is off.
    """
    workspace = workspace.resolve()
    ledger_file = workspace / "ledger.sqlite"
    if not create and not ledger_url and not ledger_file.exists():
        raise UserError(
            f"{workspace} is not a workspace: it has no ledger.sqlite",
            next=f"prefactory init {workspace}",
        )
    if create:
        with blaming(str(workspace)):
            workspace.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(ledger_url or f"sqlite:///{ledger_file}", create=create)
    where = lake_url or str(workspace / "lake")
    # A file lock is held by processes of one machine; an object store has none.
    lake = Lake(where, create=create, lock=_leased(ledger) if "://" in where else None)
    lake.mend()
    return Store(workspace, ledger=ledger, lake=lake)


LOCK_WAIT_S = 600.0


def _leased(ledger: Ledger) -> Callable[[str], AbstractContextManager[object]]:
    """A lock of lake tables for the processes of several machines."""
    return lambda table: ledger.lease(f"lake:{table}", wait_s=LOCK_WAIT_S)


def _stamped(data: pa.Table, table: str, *, run_id: str) -> pa.Table:
    """Fill `run_id` and `created_at` where they are null."""
    schema = SCHEMAS[table]
    fills = {"run_id": run_id, "created_at": utcnow()}
    for name, value in fills.items():
        filled = data.column(name).fill_null(pa.scalar(value, schema.field(name).type))
        data = data.set_column(schema.get_field_index(name), schema.field(name), filled)
    return data

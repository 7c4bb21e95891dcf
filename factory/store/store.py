"""One workspace's ledger and lake, as every room sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from factory.errors import UserError
from factory.rows import KEYS, SCHEMAS, as_table, drop_id_of, utcnow
from factory.store import views
from factory.store.lake import Lake, shard_name
from factory.store.ledger import Ledger


class Store:
    """The ledger and the lake of a workspace."""

    def __init__(self, workspace: Path, *, ledger: Ledger, lake: Lake) -> None:
        self.workspace = workspace
        self.ledger = ledger
        self.lake = lake

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
        name = shard or shard_name(table, data.column(KEYS[table]).to_pylist())
        return self.lake.append(table, data, shard=name, unique=unique)

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

    def connect(
        self, *, mentioned_in: str | None = None, versions: Mapping[str, int | None] | None = None
    ) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with the tables and views of this moment.

        Writers are not disturbed and not seen after this; open another connection for newer rows.
        `mentioned_in` is SQL text: what it does not mention is not attached.
        """
        con = duckdb.connect()
        views.attach(
            con,
            lake=self.lake,
            ledger=self.ledger,
            workspace=self.workspace,
            versions=versions,
            mentioned_in=mentioned_in,
        )
        return con

    def query(self, sql: str, params: Mapping[str, object] | None = None) -> pa.Table:
        """One query with named parameters (`$name`), as an Arrow table."""
        with self.connect(mentioned_in=sql) as con:
            return con.sql(sql, params=dict(params or {})).to_arrow_table()

    def rows(self, sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """One query, as a list of dicts."""
        return self.query(sql, params).to_pylist()


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
    url = ledger_url or f"sqlite:///{ledger_file}"
    if not create and not ledger_url and not ledger_file.exists():
        raise UserError(
            f"{workspace} is not a workspace: it has no ledger.sqlite",
            next=f"prefactory init {workspace}",
        )
    if create:
        workspace.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(url, create=create)
    return Store(
        workspace, ledger=ledger, lake=Lake(Path(lake_url or workspace / "lake"), create=create)
    )


def _stamped(data: pa.Table, table: str, *, run_id: str) -> pa.Table:
    """Fill `run_id` and `created_at` where they are null."""
    schema = SCHEMAS[table]
    fills = {"run_id": run_id, "created_at": utcnow()}
    for name, value in fills.items():
        filled = data.column(name).fill_null(pa.scalar(value, schema.field(name).type))
        data = data.set_column(schema.get_field_index(name), schema.field(name), filled)
    return data

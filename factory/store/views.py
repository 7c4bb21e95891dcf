"""DuckDB over the lake and the ledger: every table and view of a workspace, attached in memory.

DuckDB is the engine, never the owner: a DuckDB file that one process writes cannot be opened by
another, so the data stays in Parquet and each connection attaches an explicit list of files. A
list is a consistent snapshot; a live glob would also see files that a compaction is about to
delete.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlalchemy import Table, types

from factory import rooms
from factory.errors import UserError
from factory.rows import SCHEMAS
from factory.store.lake import Lake
from factory.store.ledger import Ledger
from factory.store.tables import LEDGER_TABLES

_WORD = re.compile(r"[a-z_][a-z0-9_]*")
_HIDDEN = {"calls": ("response",), "runs": ("recipe",)}
"""Columns that may hold much text: shown as tables only when a query asks for every column by
name."""


def view_texts(workspace: Path | None) -> dict[str, str]:
    """Name -> SQL of every view file, the workspace's own included."""
    files = rooms.listing("storage/views", suffix=".sql", workspace=workspace)
    return {name: rooms.read_file(path).text for name, path in files.items()}


def attach(
    con: duckdb.DuckDBPyConnection,
    *,
    lake: Lake,
    ledger: Ledger,
    workspace: Path | None,
    versions: Mapping[str, int | None] | None = None,
    mentioned_in: str | None = None,
) -> None:
    """Attach the tables and views that a query needs, or all of them.

    Args:
        con: an open connection.
        lake: where the lake tables come from.
        ledger: where the ledger tables come from.
        workspace: whose `storage/views/` are read beside the packaged ones.
        versions: table -> version to show; a table that is absent here is shown at its newest.
        mentioned_in: SQL text; what it does not mention, directly or through a view, stays away.
    """
    views = view_texts(workspace)
    wanted = _closure(mentioned_in, views) if mentioned_in is not None else None
    con.execute("set timezone = 'UTC'")
    for table in SCHEMAS:
        if wanted is None or table in wanted:
            version = (versions or {}).get(table)
            _attach_files(
                con, table, [str(lake.schema_file(table)), *lake.files(table, version=version)]
            )
    for name, table in LEDGER_TABLES.items():
        if wanted is None or name in wanted:
            _attach_ledger(con, name, table, ledger)
    for name in _in_order(views):
        if wanted is None or name in wanted:
            _attach_view(con, name, views[name])


def _attach_files(con: duckdb.DuckDBPyConnection, table: str, files: list[str]) -> None:
    # File names come from the lake, not from people; quotes are doubled all the same.
    listed = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    con.execute(
        f"create or replace view {table} as "
        f"select * from read_parquet([{listed}], union_by_name = true)"
    )


def _attach_ledger(con: duckdb.DuckDBPyConnection, name: str, table: Table, ledger: Ledger) -> None:
    hidden = _HIDDEN.get(name, ())
    columns = [c for c in table.c if c.name not in hidden]
    schema = pa.schema([pa.field(c.name, _arrow_type(c.type)) for c in columns])
    rows = ledger.table(name, without=hidden)
    con.register(f"_{name}", pa.Table.from_pylist(rows, schema=schema))
    times = [c.name for c in columns if c.name.endswith(("_at", "_until")) or c.name == "moved_at"]
    shown = ", ".join(f"make_timestamptz(({n} * 1e6)::bigint) as {n}" for n in times)
    replace = f" replace ({shown})" if times else ""
    con.execute(f"create or replace temp view {name} as select *{replace} from _{name}")


def _arrow_type(kind: types.TypeEngine[object]) -> pa.DataType:
    if isinstance(kind, types.Float):
        return pa.float64()
    return pa.int64() if isinstance(kind, types.Integer) else pa.string()


def _attach_view(con: duckdb.DuckDBPyConnection, name: str, text: str) -> None:
    try:
        con.execute(f"create or replace temp view {name} as {text.rstrip().rstrip(';')}")
    except duckdb.Error as bad:
        raise UserError(
            f"storage/views/{name}.sql cannot be attached: {bad}",
            next=f"edit storage/views/{name}.sql",
        ) from bad


def _closure(text: str, views: Mapping[str, str]) -> set[str]:
    """Every word of a query and, through the views it names, of their queries."""
    seen: set[str] = set()
    todo = set(_WORD.findall(text.lower()))
    while todo:
        word = todo.pop()
        if word not in seen:
            seen.add(word)
            todo |= set(_WORD.findall(views.get(word, "").lower())) - seen
    return seen


def _in_order(views: Mapping[str, str]) -> Iterable[str]:
    """View names so that each comes after the views it reads."""
    done: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise UserError(
                f"storage/views: {' reads '.join((*path, name))}: a circle",
                next=f"edit storage/views/{name}.sql",
            )
        if name not in done:
            for other in sorted(set(_WORD.findall(views[name].lower())) & set(views) - {name}):
                visit(other, (*path, name))
            done[name] = None

    for name in views:
        visit(name, ())
    return done

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

from factory import rooms
from factory.errors import UserError
from factory.rows import SCHEMAS
from factory.store.columns import attach_files
from factory.store.lake import Lake
from factory.store.ledger import Ledger
from factory.store.tables import LEDGER_TABLES

_WORD = re.compile(r"[a-z_][a-z0-9_]*")
HIDDEN = {"calls": ("response",), "runs": ("recipe",)}
"""Columns of much text that SQL does not show: what they hold is in the lake, or in `show`."""


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
            _attach_lake(con, table, lake, version)
    for name in LEDGER_TABLES:
        if wanted is None or name in wanted:
            _attach_ledger(con, name, ledger)
    for name in views_in_order(views):
        if wanted is None or name in wanted:
            _attach_view(con, name, views[name])


def _attach_lake(
    con: duckdb.DuckDBPyConnection, table: str, lake: Lake, version: int | None
) -> None:
    first = lake.layout.schema_file(table) if lake.place.local else None
    attach_files(
        con,
        table,
        lake.place,
        lake.files(table, version=version),
        schema=SCHEMAS[table],
        first=str(first) if first else None,
        uniform=lake.layout.is_uniform(table),
    )


def _attach_ledger(con: duckdb.DuckDBPyConnection, name: str, ledger: Ledger) -> None:
    con.register(f"_{name}", ledger.arrow(name, without=HIDDEN.get(name, ())))
    con.execute(f"create or replace temp view {name} as {ledger_select(name)}")


def ledger_select(name: str) -> str:
    """A ledger table as SQL shows it: times as times."""
    columns = [c.name for c in LEDGER_TABLES[name].c if c.name not in HIDDEN.get(name, ())]
    times = [c for c in columns if c.endswith(("_at", "_until"))]
    shown = ", ".join(f"make_timestamptz(({n} * 1e6)::bigint) as {n}" for n in times)
    return f"select *{f' replace ({shown})' if times else ''} from _{name}"


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


def views_in_order(views: Mapping[str, str]) -> Iterable[str]:
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

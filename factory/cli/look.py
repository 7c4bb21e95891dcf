"""Verbs that look: sql, stats, show, doctor."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory.cli.common import (
    Json,
    Workspace,
    open_workspace,
    say,
    say_json,
    say_table,
    workspace_path,
)
from factory.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from factory.store import Store


def register(app: typer.Typer) -> None:
    """Add these verbs to the app."""
    for verb in (sql, stats, show, doctor):
        app.command()(verb)


def sql(
    query: Annotated[
        str, typer.Argument(help="A SELECT, or the name of a .sql file. Without it: a prompt.")
    ] = "",
    workspace: Workspace = None,
    as_json: Json = False,
    form: Annotated[str, typer.Option("--format", help="table, csv or parquet")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write the result to this file.")] = None,
    at: Annotated[
        str, typer.Option(help="The lake as it was: a dataset version's id, or a UTC time.")
    ] = "",
) -> None:
    """Ask the workspace anything in SQL, also while a run is writing."""
    store = open_workspace(workspace)
    if not query:
        from factory.cli.prompt import prompt

        prompt(store, ask=lambda text: show_table(run_query(store, text, at=at)))
        return
    if query.endswith(".sql") and Path(query).exists():
        query = Path(query).read_text(encoding="utf-8")
    table = run_query(store, query, at=at)
    if as_json:
        say_json(table.to_pylist())
    elif form == "parquet" or (out and out.suffix == ".parquet"):
        _write_parquet(table, out)
    elif form == "csv":
        _write_csv(table, out)
    elif form == "table":
        show_table(table)
    else:
        raise UserError(
            f"--format {form}: expected table, csv or parquet", next="prefactory sql --help"
        )


def show_table(table: pa.Table) -> None:
    """A query's result on the terminal or in a pipe."""
    say_table(table.to_pylist(), columns=table.column_names)


def run_query(store: Store, query: str, *, at: str = "") -> pa.Table:
    """One query; DuckDB's own message becomes the error, and the nearest table is named."""
    import difflib

    import duckdb

    from factory.rows import SCHEMAS
    from factory.store.tables import LEDGER_TABLES
    from factory.store.views import view_texts

    try:
        return store.query(query, at=at or None)
    except duckdb.Error as bad:
        known = [*SCHEMAS, *LEDGER_TABLES, *view_texts(store.workspace)]
        missing = re.search(r"Table with name (\S+) does not exist", str(bad))
        near = difflib.get_close_matches(missing.group(1), known, n=1) if missing else []
        hint = (
            f'prefactory sql "select * from {near[0]} limit 5"'
            if near
            else f"prefactory sql --help  # tables and views: {', '.join(sorted(known))}"
        )
        raise UserError(str(bad).strip().splitlines()[0], next=hint) from None


def _write_parquet(table: pa.Table, out: Path | None) -> None:
    import pyarrow.parquet as pq

    if out is None:
        raise UserError("--format parquet needs --out FILE", next="--out result.parquet")
    pq.write_table(table, out, compression="zstd")
    say(f"{table.num_rows} rows written to {out}")


def _write_csv(table: pa.Table, out: Path | None) -> None:
    import csv

    handle = out.open("w", newline="", encoding="utf-8") if out else sys.stdout
    try:
        writer = csv.writer(handle)
        writer.writerow(table.column_names)
        writer.writerows(tuple(row.values()) for row in table.to_pylist())
    finally:
        if out:
            handle.close()


def stats(workspace: Workspace = None, as_json: Json = False) -> None:
    """Pools, completions, scores, pairs, win rates and drops at a glance."""
    from factory.reporting import tables

    found = tables.stats(open_workspace(workspace))
    if as_json:
        say_json({table.name: table.rows for table in found})
        return
    for table in found:
        say_table(table.rows, title=table.title, columns=table.columns)
        say()


_LINKS: dict[str, tuple[tuple[str, str], ...]] = {
    "pairs": (
        ("completions", "chosen_id"),
        ("completions", "rejected_id"),
        ("prompts", "prompt_id"),
    ),
    "sft_examples": (("completions", "completion_id"), ("prompts", "prompt_id")),
    "completions": (("prompts", "prompt_id"), ("models", "model_id"), ("params", "params_id")),
    "makings": (("models", "model_id"), ("params", "params_id")),
    "judgements": (("completions", "completion_id"), ("prompts", "prompt_id")),
    "checkpoints": (("models", "model_id"), ("dataset_versions", "version_id")),
    "gates": (("models", "champion_id"), ("models", "candidate_id")),
}
"""Where the ids of a row lead: table -> (other table, column)."""


def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="An id, or its first letters.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Show anything by its id, and where it came from."""
    store = open_workspace(workspace)
    if not re.fullmatch(r"[0-9a-f]{6,32}", identity):
        raise UserError(
            f"{identity!r} is not an id: 6 to 32 hexadecimal characters", next="prefactory stats"
        )
    found = [row for table in _tables() for row in _rows(store, table, identity)]
    if not found:
        raise UserError(f"nothing has the id {identity}", next="prefactory stats")
    linked = [row for table, row in found for row in _linked(store, table, row)]
    if as_json:
        say_json([{"table": table, **row} for table, row in [*found, *linked]])
        return
    for table, row in [*found, *linked]:
        fields = [{"field": k, "value": v} for k, v in row.items() if v is not None]
        say_table(fields, title=table, columns=["field", "value"])


def _tables() -> dict[str, str]:
    from factory.rows import KEYS

    return KEYS


def _rows(store: Store, table: str, prefix: str) -> list[tuple[str, dict[str, Any]]]:
    key = _tables()[table]
    found = store.rows(
        f"select * from {table} where starts_with({key}, $prefix) limit 20", {"prefix": prefix}
    )
    return [(table, row) for row in found]


def _linked(store: Store, table: str, row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for other, column in _LINKS.get(table, ()):
        if row.get(column):
            found += [(f"{other} ({column})", r) for _, r in _rows(store, other, row[column])]
    if table == "prompts" and str(row.get("source") or "").startswith("made:"):
        found += [("makings", r) for _, r in _rows(store, "makings", str(row["source_id"])[:32])]
        for parent in [p for _, making in found for p in making.get("parent_ids") or ()]:
            found += [("prompts (parent_ids)", r) for _, r in _rows(store, "prompts", parent)]
    if table == "completions":
        judged = store.rows(
            "select * from judgements where list_contains(completion_ids, $id)",
            {"id": row["completion_id"]},
        )
        found += [("judgements", r) for r in judged]
    return found


def doctor(workspace: Workspace = None, as_json: Json = False) -> None:
    """Check the installation and the workspace, and say what to do about what is wrong."""
    from factory.reporting import doctor as checks

    found = checks.check(workspace_path(workspace))
    if as_json:
        say_json([check.as_dict() for check in found])
    else:
        say_table([check.as_dict() for check in found], columns=["check", "state", "said", "next"])
    if any(check.state == "bad" for check in found):
        raise typer.Exit(1)

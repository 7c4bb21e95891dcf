"""What every verb shares: the app, the options, opening a workspace, printing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory import recipe as recipes
from factory.errors import FactoryError, UserError

if TYPE_CHECKING:
    from factory.store import Store

app = typer.Typer(
    name="prefactory",
    help="A factory for on-policy preference data: sample, judge, pair, train, gate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Workspace = Annotated[
    Path | None,
    typer.Option("--workspace", help="Default: FACTORY_WORKSPACE, else the current directory."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Override a recipe field: sampling.n=4")
]


def workspace_path(given: Path | None) -> Path:
    """The workspace of this command."""
    return (given or recipes.default_workspace()).resolve()


def open_workspace(given: Path | None) -> Store:
    """The store of this command's workspace."""
    from factory.store import open_store

    path = workspace_path(given)
    urls = recipes.workspace_config(path)
    return open_store(path, ledger_url=urls.ledger, lake_url=urls.lake)


def say(text: str = "") -> None:
    """One line to standard output."""
    typer.echo(text)


def say_json(value: object) -> None:
    """One JSON value to standard output."""
    typer.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=True))


def _plain(value: object) -> object:
    """What JSON has no form for: DuckDB's sums are decimals, times are text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


def say_table(
    rows: Sequence[Mapping[str, Any]], *, title: str = "", columns: Sequence[str] | None = None
) -> None:
    """Rows as a table: drawn on a terminal, tab-separated in a pipe.

    Cells may hold model output: control characters are shown escaped, markup is not interpreted.
    """
    names = list(columns or (rows[0] if rows else ()))
    cells = [[cell(row.get(name)) for name in names] for row in rows]
    if not sys.stdout.isatty():
        if title:
            say(f"# {title}")
        for line in [names, *cells]:
            say("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    for line in cells:
        table.add_row(*(Text(value) for value in line))
    Console().print(table)


def cell(value: object) -> str:
    """A value as one safe line of text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say_error(error: FactoryError) -> int:
    """Print an error for people and return the exit code. Bugs never come here."""
    typer.echo(f"error: {error}", err=True)
    if isinstance(error, UserError) and error.next:
        typer.echo(f"next:  {error.next}", err=True)
    return error.exit_code

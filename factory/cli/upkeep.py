"""Verbs that keep a workspace in order: compact, gc, backup, restore, diff."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.common import (
    Json,
    Workspace,
    cell,
    open_workspace,
    say,
    say_json,
    say_table,
)


def register(app: typer.Typer) -> None:
    """Add these verbs to the app."""
    for verb in (compact, gc, backup, restore, diff):
        app.command()(verb)


def compact(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; all by default.")] = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Put many small files of the lake together; runs and readers go on meanwhile."""
    from factory.store import upkeep

    done = [asdict(made) for made in upkeep.compact(open_workspace(workspace), tables=tables)]
    if as_json:
        say_json(done)
    elif done:
        say_table(done)
    else:
        say("nothing to compact")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    keep_hours: Annotated[
        float, typer.Option(help="Hours that replaced files stay, 24 at least.")
    ] = 168.0,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Delete files that no current, recent or dataset version needs, and answers kept as rows."""
    from factory.store import upkeep

    store = open_workspace(workspace)
    found = upkeep.collect_garbage(store, dry_run=dry_run, retention_h=keep_hours)
    answers = store.ledger.forget_answers(older_s=keep_hours * 3600, dry_run=dry_run)
    rows = [garbage.as_dict() for garbage in found]
    if as_json:
        say_json({"dry_run": dry_run, "tables": rows, "answers": answers})
        return
    title = "would be deleted" if dry_run else "deleted"
    if rows:
        say_table(rows, title=title)
    if answers:
        say(f"answers of servers whose rows are in the lake: {answers} {title}")
    if not (rows or answers):
        say("nothing to delete")


def backup(
    directory: Annotated[Path, typer.Argument(help="Where to; again into the same is quick.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Copy the workspace into a directory, also while a run is writing."""
    from factory.store import backup as backups

    _report(backups.backup(open_workspace(workspace), directory), directory, as_json)


def restore(
    directory: Annotated[Path, typer.Argument(help="A backup.")],
    target: Annotated[Path, typer.Argument(help="The new workspace: absent or empty.")],
    ledger: Annotated[str, typer.Option(help="Restore the ledger into this PostgreSQL URL.")] = "",
    as_json: Json = False,
) -> None:
    """Make a workspace from a backup."""
    from factory.store import backup as backups

    made = backups.restore(directory, target, ledger_url=ledger or None)
    _report(made, target, as_json)


def _report(report: Any, where: Path, as_json: bool) -> None:
    if as_json:
        say_json(asdict(report) | {"directory": str(where)})
    else:
        mb = report.size / 1e6
        say(f"{report.files} files ({mb:.1f} MB) written to {where}, {report.present} were there")


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="The older dataset version.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The newer one.")],
    rows: Annotated[int, typer.Option(help="Changed rows to show.")] = 0,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """What changed between two dataset versions, and why."""
    from factory.reporting.diff import diff as compare

    found = compare(open_workspace(workspace), before, after)
    shown = found.rows.slice(0, rows).to_pylist()
    if as_json:
        say_json({"changes": found.summary, "rows": shown})
        return
    say(f"{found.before.n_rows} rows before, {found.after.n_rows} after")
    say_table(found.summary, columns=["change", "cause", "rows"])
    for row in shown:
        say(" ".join(f"{name}={cell(value)}" for name, value in row.items()))

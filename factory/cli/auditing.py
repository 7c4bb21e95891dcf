"""Verbs about trust: audit, leaderboard, stops."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.common import Json, Workspace, open_workspace, say, say_json, say_table


def register(app: typer.Typer) -> None:
    """Add these verbs to the app."""
    for verb in (audit, leaderboard, stops):
        app.command()(verb)


def audit(
    judge: Annotated[
        list[str] | None, typer.Option("--judge", help="Audit this judge; may be repeated.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference", help="Whose majority is right; may be repeated. Default: all people."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Also within each pool, source, domain or lang.")
    ] = None,
    anchors: Annotated[
        str | None, typer.Option("--anchors", help="The pool whose repeated verdicts show drift.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Say how far each judge can be trusted: agreement, bias, calibration, drift, cost.

    Exits with 1 when a judge is shown to miss a threshold of its own file.
    """
    from factory.auditing.verb import audit as run

    found = run(
        open_workspace(workspace), judges=judge or None, reference=reference or None, by=by,
        anchors=anchors, seed=seed,
    )  # fmt: skip
    if as_json:
        say_json(found.as_dict())
    else:
        for table in found.tables:
            rows = _folded(table.rows)
            say_table(rows, title=table.title, columns=_columns(rows))
            say()
        if not found.tables:
            say("nothing was judged here yet")
        for name in found.failed:
            say(f"{name} misses a threshold of judges/{name}.md")
    if found.failed:
        raise typer.Exit(1)


def leaderboard(
    judge: Annotated[
        str | None, typer.Option("--judge", help="Whose verdicts; default: the busiest judge.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Default: the model of most opponents.")
    ] = None,
    difficulty: Annotated[
        Path | None,
        typer.Option("--difficulty", help="CSV: prompt_id, source_id or idx; and difficulty."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="CSV of published length weights, used instead of a fit."),
    ] = None,
    style: Annotated[
        bool, typer.Option("--style", help="Also hold length and Markdown equal.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=0, help="For the intervals of strengths.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Rank the models that a judge compared: win rates, length-controlled too, and strengths."""
    from factory.auditing import lengths
    from factory.auditing.leaderboard import leaderboard as run
    from factory.errors import UserError

    if weights is not None and difficulty is None:
        raise UserError(
            "--weights needs the prompts' difficulty", next="--difficulty FILE.csv --weights ..."
        )
    tables = run(
        open_workspace(workspace), judge=judge, baseline=baseline,
        difficulty=None if difficulty is None else lengths.read_difficulty(difficulty),
        weights=None if weights is None else lengths.read_weights(weights),
        style=style, resamples=resamples, seed=seed,
    )  # fmt: skip
    if as_json:
        say_json({table.name: table.rows for table in tables})
        return
    for table in tables:
        rows = _folded(table.rows)
        say_table(rows, title=table.title, columns=_columns(rows))
        say()


def stops(
    panel: Annotated[str, typer.Argument(help="A panel of judges/: rule: mean, in_turn: true.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference", help="Whose majority is right; may be repeated. Default: all people."
        ),
    ] = None,
    most_loss: Annotated[
        float, typer.Option("--most-loss", min=0, help="Points of agreement that may be lost.")
    ] = 1.5,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Choose how early a panel may stop asking, by people's labels. Asks and writes nothing.

    What the choice saves and loses is measured on prompts that it was not made by.
    """
    from factory.auditing.stops import stops as run

    found = run(open_workspace(workspace), panel, reference=reference or None, most_loss=most_loss)
    if as_json:
        say_json(found.as_dict())
        return
    rows = _folded(found.table.rows)
    say_table(rows, title=found.table.title, columns=_columns(rows))
    say(found.said)


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _folded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows for reading: a number and its interval in one cell, empty columns left out."""
    folded: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {}
        for name, value in row.items():
            if name.endswith(("_low", "_high")) and name.rsplit("_", 1)[0] in row:
                continue
            low = row.get(f"{name}_low")
            if value is not None and isinstance(low, float):
                value = f"{value:.4g} [{low:.4g}, {row[f'{name}_high']:.4g}]"
            elif value is not None and low is not None:
                value = f"{value:.4g} [{low}]"
            line[name] = value
        folded.append(line)
    used = {name for line in folded for name, value in line.items() if value is not None}
    return [{n: v for n, v in line.items() if n in used} for line in folded]

"""Verbs of the whole walk: init, run, deploy, status."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory import recipe as recipes
from factory import rooms
from factory.cli.common import (
    Json,
    Set,
    Workspace,
    open_workspace,
    say,
    say_json,
    say_table,
    workspace_path,
)

if TYPE_CHECKING:
    from factory.recipe import Recipe
    from factory.stages import Run
    from factory.store import Store


def register(app: typer.Typer) -> None:
    """Add these verbs to the app."""
    for verb in (init, run, deploy, status):
        app.command()(verb)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the workspace goes.")],
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Replace unedited copies from an older version.")
    ] = False,
) -> None:
    """Make a workspace: an empty ledger and lake, and every file that people edit.

    In a workspace that exists, files that are missing are copied and no other is touched.
    """
    from factory.store import open_store

    folder = folder.resolve()
    urls = recipes.workspace_config(folder)
    open_store(folder, ledger_url=urls.ledger, lake_url=urls.lake, create=True)
    written = rooms.copy_rooms(folder, refresh=refresh)
    stand = rooms.copies(folder)
    say(f"workspace {folder}: {len(written)} files written, with a ledger and a lake")
    if stand.outdated:
        say(f"of an older version and never edited: {', '.join(stand.outdated)}")
        say(f"next:  prefactory init {folder} --refresh")
    elif refresh and stand.edited:
        say(f"edited, so left as they are: {', '.join(stand.edited)}")
    else:
        say(f"next:  prefactory run quickstart --workspace {folder}")


def run(
    recipe: Annotated[str, typer.Argument(help="A name in recipes/, or a path to a YAML file.")],
    workspace: Workspace = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds in all.")] = None,
    no_prefect: Annotated[bool, typer.Option("--no-prefect", help="Run without Prefect.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, do nothing.")] = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Run a recipe, or go on with it, or find it finished."""
    path = workspace_path(workspace)
    loaded = recipes.load(recipe, workspace=path, overrides=overrides or ())
    if dry_run:
        from factory.stages import plan

        found = plan.plan(loaded, workspace=path, rounds=rounds or loaded.rounds)
        say_json(found) if as_json else say(plan.as_text(found))
        return
    store = open_workspace(workspace)
    wanted = rounds or loaded.rounds
    known = store.ledger.run(loaded.run_id)
    if known is not None and known["state"] != "done":
        # A night that failed in round 10 goes on there, whatever the recipe says a run begins with.
        wanted = max(wanted, known["rounds"])
    finished = known is not None and known["state"] == "done" and known["rounds"] >= wanted
    if not finished:
        _play(store, loaded, rounds=wanted, no_prefect=no_prefect)
    _say_summary(store, loaded.run_id, as_json=as_json, finished=finished, recipe=recipe)


def _play(store: Store, recipe: Recipe, *, rounds: int, no_prefect: bool) -> None:
    from factory import stages
    from factory.cli.progress import Terminal

    with (
        Terminal() as progress,
        stages.open_run(store, recipe, rounds=rounds, progress=progress) as opened,
    ):
        if no_prefect:
            load_flow("round", store.workspace).play(opened, lambda _name, work: work())
        else:
            _with_prefect(opened)


def _with_prefect(opened: Run) -> None:
    """Through Prefect, with its home inside the workspace and its talk kept in a log file."""
    workspace = opened.store.workspace
    _prefect_home(workspace)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    load_flow("nightly", workspace).play(opened)


def _prefect_home(workspace: Path) -> None:
    """Prefect keeps everything inside the workspace, unless its own variables say otherwise."""
    home = workspace / "runs" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))
    # The temporary server needs 9 to 20 s; its default limit is 20.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")


def load_flow(name: str, workspace: Path) -> Any:
    """A file of flows/ as a module; the workspace's own overrides the packaged one."""
    content = rooms.read("flows", name, suffix=".py", workspace=workspace)
    spec = importlib.util.spec_from_file_location(f"prefactory_flow_{name}", content.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Prefect looks a flow's file up by its module's name, to start it in a process of its own.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _say_summary(store: Store, run_id: str, *, as_json: bool, finished: bool, recipe: str) -> None:
    from factory.reporting import summary

    found = summary.of_run(store, run_id)
    if as_json:
        say_json(found.as_dict())
        return
    for table in found.tables:
        say_table(table.rows, title=table.title, columns=table.columns)
        say()
    if finished:
        say(f"{recipe} is finished: nothing to do. One more round: --rounds {found.rounds + 1}")
    say("try next:")
    for command in found.next_commands:
        say(f"  {command}")


def deploy(
    recipe: Annotated[str, typer.Argument(help="A recipe with a schedule.")],
    workspace: Workspace = None,
    overrides: Set = None,
) -> None:
    """Serve the recipe's schedule with Prefect: each time, the next round."""
    from factory.errors import UserError

    path = workspace_path(workspace)
    loaded = recipes.load(recipe, workspace=path, overrides=overrides or ())
    if loaded.schedule is None:
        raise UserError(
            f"recipe {loaded.name} has no schedule",
            next=f"prefactory deploy {recipe} --set schedule.cron='0 2 * * *'",
        )
    _prefect_home(path)
    say(f"serving {loaded.name}: {loaded.schedule.cron} {loaded.schedule.timezone}")
    load_flow("nightly", path).serve(
        loaded.name,
        cron=loaded.schedule.cron,
        timezone=loaded.schedule.timezone,
        parameters={"recipe": recipe, "workspace": str(path), "overrides": overrides or []},
    )


def status(workspace: Workspace = None, as_json: Json = False) -> None:
    """What runs, what is done, who is champion, what is paid and what is in doubt."""
    from factory.reporting import summary

    found = summary.status(open_workspace(workspace))
    if as_json:
        say_json({table.name: table.rows for table in found})
        return
    for table in found:
        say_table(table.rows, title=table.title, columns=table.columns)
        say()

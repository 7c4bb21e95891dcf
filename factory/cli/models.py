"""Verbs about models: train, gate, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.common import Json, Set, Workspace, open_workspace, say, say_json

train = typer.Typer(help="Train a checkpoint on a frozen dataset version.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these verbs to the app."""
    app.add_typer(train, name="train")
    app.command()(gate)
    app.command()(rollback)


Version = Annotated[str, typer.Option(help="A dataset version (prefactory sql dataset_versions).")]
Base = Annotated[
    str | None, typer.Option(help="Model directory or model_id; by default the champion.")
]
Line = Annotated[str, typer.Option(help="The line of models whose champion is meant.")]


@train.command()
def sft(
    version: Version,
    base: Base = None,
    line: Line = "policy",
    workspace: Workspace = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Supervised fine-tuning on a rejection-sampled set."""
    _train("sft", version, base, line, workspace, overrides, as_json)


@train.command()
def dpo(
    version: Version,
    base: Base = None,
    line: Line = "policy",
    workspace: Workspace = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Direct preference optimisation on pairs."""
    _train("dpo", version, base, line, workspace, overrides, as_json)


def _train(
    kind: Any,
    version: str,
    base: str | None,
    line: str,
    workspace: Path | None,
    overrides: list[str] | None,
    as_json: bool,
) -> None:
    from factory.cli.progress import Terminal
    from factory.stages import alone

    with Terminal() as progress:
        left = alone.train(
            open_workspace(workspace),
            kind=kind,
            version=version,
            base=base,
            line=line,
            overrides=overrides or [],
            progress=progress,
        )
    if as_json:
        say_json(left)
    else:
        say(f"model {left['model_id']} in {left['path']}: {left['steps']} steps")
        say(f"next:  prefactory gate --candidate {left['model_id'][:12]} --recipe NAME")


def gate(
    recipe: Annotated[str, typer.Option(help="The recipe whose gate decides.")],
    candidate: Annotated[str, typer.Option(help="Model directory or model_id.")],
    workspace: Workspace = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Compare a candidate with the champion on held-out prompts; promote a clear winner."""
    from factory.cli.progress import Terminal
    from factory.recipe import load
    from factory.stages import alone

    store = open_workspace(workspace)
    loaded = load(recipe, workspace=store.workspace, overrides=overrides or ())
    with Terminal() as progress:
        left = alone.gate(store, recipe=loaded, candidate=candidate, progress=progress)
    say_json(left) if as_json else say(
        f"{'promoted' if left['promoted'] else 'kept out'}: {left['reason']}"
    )


def rollback(
    workspace: Workspace = None,
    line: Line = "policy",
    to: Annotated[str | None, typer.Option(help="An earlier champion's model_id.")] = None,
    as_json: Json = False,
) -> None:
    """Point back to the champion before this one. Nothing is deleted."""
    from factory.gating import rollback as move_back

    before, after = move_back(open_workspace(workspace), line, to=to)
    if as_json:
        say_json({"line": line, "from": before, "to": after})
    else:
        say(f"champion of {line}: {after} (was {before})")

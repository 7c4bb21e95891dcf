"""Verbs that make rows from rows: import, sample, judge, pair, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.common import (
    Json,
    Set,
    Workspace,
    cell,
    open_workspace,
    say,
    say_json,
    say_table,
)
from factory.errors import UserError

imports = typer.Typer(
    help="Completions and judgements made elsewhere, into the same tables.", no_args_is_help=True
)

Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="JSONL(.gz), Parquet or CSV.")]
Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", help="field=column, or the name of a file in storage/imports/."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be added; add nothing.")]
Rejects = Annotated[Path | None, typer.Option(help="Write rejected rows to this JSONL file.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the app."""
    app.add_typer(imports, name="import")
    for verb in (sample, judge, pair, export):
        app.command()(verb)


@imports.command("completions")
def import_completions(
    files: Files,
    pool: Annotated[str, typer.Option(help="Pool whose prompts the rows answer.")] = "",
    mapping: Mapping = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenise the text once with this model's tokenizer.")
    ] = None,
    dry_run: DryRun = False,
    reject_file: Rejects = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Import completions made elsewhere: marked `recorded`, and `retokenised` where tokenised."""
    from factory.prompting.imports import import_completions as bring
    from factory.prompting.mapping import resolve
    from factory.stages.alone import tokeniser
    from factory.stages.by_hand import run_by_hand

    store = open_workspace(workspace)
    words = {
        "files": files, "pool": pool, "map": mapping or [], "tokenizer": tokenizer,
        "dry_run": dry_run,
    }  # fmt: skip
    with run_by_hand(store, "import completions", words) as run_id:
        report = bring(
            store, files, mapping=resolve(mapping or [], workspace=store.workspace), pool=pool,
            dry_run=dry_run, reject_file=reject_file, run_id=run_id,
            tokenise=tokeniser(tokenizer) if tokenizer else None,
        )  # fmt: skip
    say_json(report.as_dict()) if as_json else say_table([report.as_dict()])


@imports.command("judgements")
def import_judgements(
    files: Files,
    pool: Annotated[str, typer.Option(help="Pool whose prompts the rows judge.")] = "",
    mapping: Mapping = None,
    dry_run: DryRun = False,
    reject_file: Rejects = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Import judgements made elsewhere, with the judge's name and raw text."""
    from factory.prompting.imports import import_judgements as bring
    from factory.prompting.mapping import resolve
    from factory.stages.by_hand import run_by_hand

    store = open_workspace(workspace)
    words = {"files": files, "pool": pool, "map": mapping or [], "dry_run": dry_run}
    with run_by_hand(store, "import judgements", words) as run_id:
        report = bring(
            store, files, mapping=resolve(mapping or [], workspace=store.workspace), pool=pool,
            dry_run=dry_run, reject_file=reject_file, run_id=run_id,
        )  # fmt: skip
    say_json(report.as_dict()) if as_json else say_table([report.as_dict()])


Pools = Annotated[list[str] | None, typer.Option("--pool", help="Only prompts of these pools.")]


def sample(
    model: Annotated[str, typer.Option(help="Model directory, hub name or model_id.")],
    pool: Pools = None,
    recipe: Annotated[str | None, typer.Option(help="Take sampling settings from it.")] = None,
    n: Annotated[int | None, typer.Option(min=1, help="Completions a prompt.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many prompts.")] = None,
    split: Annotated[str, typer.Option(help="train, dev or gate")] = "train",
    workspace: Workspace = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Sample completions of a model; what is there already is not sampled again."""
    from factory.cli.progress import Terminal
    from factory.stages import alone

    store = open_workspace(workspace)
    with Terminal() as progress:
        left = alone.sample(
            store, model=model, pools=pool or [], recipe=recipe, n=n, limit=limit, split=split,
            overrides=overrides or [], progress=progress,
        )  # fmt: skip
    say_json(left) if as_json else say_table([left])


def judge(
    name: Annotated[str, typer.Option("--judge", help="A file in judges/.")],
    recipe: Annotated[str | None, typer.Option(help="Take endpoints and budget from it.")] = None,
    pool: Pools = None,
    model: Annotated[str | None, typer.Option(help="Only completions of this model_id.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many completions.")] = None,
    times: Annotated[
        int, typer.Option(min=1, help="Ask each question so often in all: one more shows drift.")
    ] = 1,
    retry: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="Ask once more where the newest verdict is: error, …"),
    ] = None,
    reparse: Annotated[
        bool,
        typer.Option("--reparse", help="Read stored answers with the present parser; ask nobody."),
    ] = False,
    answers_of: Annotated[
        str | None, typer.Option(metavar="JUDGE_ID", help="With --reparse: whose stored answers.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the first prompt and the price; ask nobody.")
    ] = False,
    workspace: Workspace = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Have a judge score completions; what is judged already is not judged again."""
    from factory.cli.progress import Terminal
    from factory.stages import judge_alone as alone

    store = open_workspace(workspace)
    common: dict[str, Any] = {"judge": name, "recipe": recipe, "overrides": overrides or []}
    chosen: dict[str, Any] = {
        "pools": pool or [],
        "model": model,
        "limit": limit,
        "retry": retry or [],
    }
    if reparse:
        if dry_run or times > 1 or any(chosen.values()):
            raise UserError(
                "--reparse reads every stored answer of the judge, and asks nobody: it goes with "
                "no --pool, --model, --limit, --times, --retry or --dry-run",
                next=f"prefactory judge --judge {name} --reparse",
            )
        left = alone.reparse(store, from_judge_id=answers_of, **common)
    elif answers_of is not None:
        raise UserError(
            "--answers-of goes with --reparse", next=f"prefactory judge --judge {name} --reparse"
        )
    elif dry_run:
        left = alone.bill(store, **common, **chosen, times=times)
        if not as_json:
            _say_first(left.pop("first"))
    else:
        with Terminal() as progress:
            left = alone.judge(store, **common, **chosen, times=times, progress=progress)
    say_json(left) if as_json else say_table([left])


def _say_first(messages: list[dict[str, str]]) -> None:
    """The first request, message by message; nothing where nobody would be asked."""
    for message in messages:
        say(f"--- {message['role']}")
        for line in message["content"].splitlines():
            say(cell(line))
    if messages:
        say("---")


def pair(
    strategy: Annotated[str, typer.Option(help="A file in storage/strategies/.")],
    judge: Annotated[
        str | None, typer.Option(help="Whose scores; needed where several judged.")
    ] = None,
    pool: Pools = None,
    param: Annotated[list[str] | None, typer.Option("--param", help="name=value")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL; build nothing.")
    ] = False,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Build pairs (or an SFT set) from all scored completions with one strategy."""
    from factory.stages import alone

    store = open_workspace(workspace)
    left = alone.pair(
        store, strategy=strategy, judge=judge, pools=pool or [], params=parameters(param or []),
        dry_run=dry_run,
    )  # fmt: skip
    if dry_run:
        say(left["sql"])
        return
    say_json(left) if as_json else say_table([left])


def parameters(given: list[str]) -> dict[str, Any]:
    """name=value words as a dict; values are YAML."""
    import yaml

    found: dict[str, Any] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--param {word}: expected name=value", next="--param min_margin=1")
        found[name] = yaml.safe_load(value)
    return found


def export(
    form: Annotated[str, typer.Option("--format", help="A shape, as hf.")],
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    version: Annotated[
        str | None, typer.Option(help="A dataset version; by default what was built last.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="What this strategy built last.")] = None,
    test_share: Annotated[float, typer.Option(min=0, max=0.9, help="Share of a test split.")] = 0.0,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Write a dataset version for trainers: Hugging Face, Parquet, JSONL, with a card."""
    from factory.stages import alone

    left = alone.export(
        open_workspace(workspace), form=form, out=out, version=version, strategy=strategy,
        test_share=test_share,
    )  # fmt: skip
    say_json(left) if as_json else say_table([left])

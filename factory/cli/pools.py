"""Prompt pools: add, make, and report what was left out and why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from factory.cli.data import Files, Mapping

if TYPE_CHECKING:
    pass

prompts = typer.Typer(help="Prompt pools.", no_args_is_help=True)

License = Annotated[str, typer.Option(help="Licence of rows that name none.")]
Domain = Annotated[str, typer.Option(help="Domain of rows that name none.")]
Lang = Annotated[str, typer.Option(help="Language of rows that name none.")]
Gate = Annotated[float, typer.Option(min=0, max=1, help="Share kept for the gate.")]
Dev = Annotated[float, typer.Option(min=0, max=1, help="Share kept for choosing.")]
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BENCH", help="Leave out what is in it: a file, hf:owner/name or another pool."
    ),
]
NearDuplicates = Annotated[
    bool, typer.Option(help="Leave out prompts that nearly repeat one in the workspace.")
]
KeepLang = Annotated[
    list[str] | None, typer.Option(help="Leave out prompts clearly in another language.")
]
MinChars = Annotated[int | None, typer.Option(min=1, help="Leave out shorter ones.")]
MaxChars = Annotated[int | None, typer.Option(min=1, help="Leave out longer ones.")]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Leave out those of more tokens, by --tokenizer.")
]
TokenizerDir = Annotated[str | None, typer.Option("--tokenizer", help="A model directory.")]
DropTags = Annotated[
    list[str] | None,
    typer.Option("--drop-tag", help="Leave out what prompts/safety.yaml tags so."),
]
Licenses = Annotated[
    list[str] | None, typer.Option("--allow-license", help="Leave out prompts of other licences.")
]


def register(app: typer.Typer) -> None:
    """Add these verbs to the app."""
    app.add_typer(prompts, name="prompts")


@prompts.command("add")
def add(
    files: Files,
    pool: Annotated[str, typer.Option(help="Name of the pool.")] = "",
    mapping: Mapping = None,
    license: License = "",
    domain: Domain = "",
    lang: Lang = "",
    gate: Gate = 0.1,
    dev: Dev = 0.02,
    against: Against = None,
    near_duplicates: NearDuplicates = False,
    keep_lang: KeepLang = None,
    min_chars: MinChars = None,
    max_chars: MaxChars = None,
    max_tokens: MaxTokens = None,
    tokenizer: TokenizerDir = None,
    drop_tags: DropTags = None,
    licenses: Licenses = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Add prompts to a pool: split by hash, duplicates and bad rows dropped with a reason."""
    from factory.prompting.cleaning.cleaner import CleanSettings, open_cleaner
    from factory.prompting.ingest import add_prompts
    from factory.prompting.mapping import resolve
    from factory.stages.by_hand import run_by_hand

    store = open_workspace(workspace)
    how = resolve(mapping or [], workspace=store.workspace)
    clean = CleanSettings(
        against=tuple(against or ()), near_duplicates=near_duplicates, lang=tuple(keep_lang or ()),
        min_chars=min_chars, max_chars=max_chars, max_tokens=max_tokens, tokenizer=tokenizer,
        drop_tags=tuple(drop_tags or ()), licenses=tuple(licenses or ()),
    )  # fmt: skip
    reports: list[dict[str, Any]] = []
    for file in files:
        name = pool or Path(file).name.split(".")[0]
        words = {
            "file": file, "pool": name, "map": mapping or [], "license": license,
            "domain": domain, "lang": lang, "gate": gate, "dev": dev,
            **({"clean": asdict(clean)} if clean else {}),
        }  # fmt: skip
        with run_by_hand(store, "prompts add", words) as run_id:
            report = add_prompts(
                store, file, pool=name, mapping=how, license=license, domain=domain, lang=lang,
                gate=gate, dev=dev, cleaner=open_cleaner(store, clean, pool=name), run_id=run_id,
            )  # fmt: skip
        reports.append({"file": file, "pool": name, **report.as_dict()})
    say_json(reports) if as_json else _say_added(reports)


def _say_added(reports: list[dict[str, Any]]) -> None:
    """The numbers of each file, then what was found of each benchmark, then what to know."""
    found = [{"pool": r["pool"], **one} for r in reports for one in r.pop("contamination")]
    notes = [note for r in reports for note in r.pop("notes")]
    say_table(reports)
    if found:
        say_table(found, title="benchmarks found in the files")
    for note in notes:
        say(note)


@prompts.command("make")
def make(
    maker: Annotated[str, typer.Argument(help="A file in prompts/makers/, as magpie or evol.")],
    pool: Annotated[str, typer.Option(help="Name of the pool.")],
    rows: Annotated[int, typer.Option(min=1, help="Prompts that the pool is to have of it.")] = 100,
    parents: Annotated[
        list[str] | None, typer.Option("--from", metavar="POOL", help="Start from its prompts.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Who writes: a model directory, hub name or model_id.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other prompts.")] = 0,
    license: License = "",
    domain: Domain = "",
    lang: Lang = "",
    gate: Gate = 0.1,
    dev: Dev = 0.02,
    against: Against = None,
    near_duplicates: NearDuplicates = False,
    keep_lang: KeepLang = None,
    min_chars: MinChars = None,
    max_chars: MaxChars = None,
    max_tokens: MaxTokens = None,
    tokenizer: TokenizerDir = None,
    drop_tags: DropTags = None,
    licenses: Licenses = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the first request; ask nobody.")
    ] = False,
    workspace: Workspace = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Have a model write prompts for a pool; what was written is never asked for again."""
    from factory.cli.progress import Terminal
    from factory.prompting.cleaning.cleaner import CleanSettings
    from factory.prompting.ingest import Defaults
    from factory.stages import making

    clean = CleanSettings(
        against=tuple(against or ()), near_duplicates=near_duplicates, lang=tuple(keep_lang or ()),
        min_chars=min_chars, max_chars=max_chars, max_tokens=max_tokens, tokenizer=tokenizer,
        drop_tags=tuple(drop_tags or ()), licenses=tuple(licenses or ()),
    )  # fmt: skip
    with Terminal() as progress:
        left = making.by_hand(
            open_workspace(workspace), maker=maker, pool=pool, rows=rows, parents=parents or [],
            model=model, seed=seed, overrides=overrides or [], clean=clean, dry_run=dry_run,
            defaults=Defaults(
                pool=pool, license=license, domain=domain, lang=lang, gate=gate, dev=dev
            ),
            progress=progress,
        )  # fmt: skip
    if as_json:
        say_json(left)
    elif dry_run:
        _say_first(left.pop("first"))
        say_table([left])
    else:
        _say_added([left])


@prompts.command("report")
def report(
    pool: Annotated[list[str] | None, typer.Option(help="Only these pools.")] = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """What each pool holds and what was left out: duplicates, overlaps, licences, lengths."""
    from factory.reporting import tables

    found = tables.pools(open_workspace(workspace), pool or [])
    if as_json:
        say_json({table.name: table.rows for table in found})
        return
    for table in found:
        say_table(table.rows, title=table.title, columns=table.columns)
        say()


def _say_first(messages: list[dict[str, str]]) -> None:
    for message in messages:
        say(f"--- {message['role']}")
        for line in message["content"].splitlines():
            say(cell(line))
    say("---")

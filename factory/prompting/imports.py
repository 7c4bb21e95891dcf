"""`import completions` and `import judgements`: recorded data into the factory's own tables.

Both stream, both may be typed again at any time and then add only what is missing, and both refuse
a row with a reason rather than guess: the reasons are counted in the report, kept in `drops` and,
where asked, written as JSONL with the rows themselves, to be mended and imported again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from factory.prompting import fitting
from factory.prompting.fitting import Kind
from factory.prompting.ingest import Defaults
from factory.prompting.mapping import ColumnMapping
from factory.prompting.reading import Batch, batches, source_name
from factory.prompting.recorded import Import, ImportReport, Tokenise
from factory.prompting.recorded_completions import Completions
from factory.prompting.recorded_judgements import Judgements
from factory.prompting.writing import Rejects, Writer
from factory.store import Store

STAGE = "import"


class _Importer(Protocol):
    def batch(self, batch: Batch) -> None: ...


def import_completions(
    store: Store,
    files: Sequence[str | Path],
    *,
    pool: str,
    run_id: str,
    mapping: ColumnMapping | None = None,
    license: str = "",
    gate: float = 0.1,
    dev: float = 0.02,
    split: str | None = None,
    tokenise: Tokenise | None = None,
    dry_run: bool = False,
    reject_file: Path | None = None,
) -> ImportReport:
    """Take completions that were made elsewhere.

    Args:
        store: where they go.
        files: files, directories, saved datasets or `hf:` names, one mapping for all.
        pool: where prompts are looked up by `source_id`, and where new ones go; when empty, they
            are looked up in every pool and new ones go to a pool named like the first file.
        run_id: the run that imports.
        mapping: which column is which field; the common column names by default.
        license: of prompts that are new and whose rows give none.
        gate: share of new prompts held out for the gate; `dev` likewise.
        dev: see `gate`.
        split: which split of a Hugging Face dataset to read.
        tokenise: gives token ids, which are then marked as `retokenised`; none by default.
        dry_run: count and check, write nothing.
        reject_file: JSONL of the refused rows.

    Raises:
        UserError: no such file, or a mapping that does not fit it.
    """
    work = _work(
        store, "completions", files, pool=pool, run_id=run_id, license=license, gate=gate,
        dev=dev, dry_run=dry_run, reject_file=reject_file,
    )  # fmt: skip
    work.tokenise = tokenise
    return _run(work, files, given=mapping, split=split)


def import_judgements(
    store: Store,
    files: Sequence[str | Path],
    *,
    pool: str,
    run_id: str,
    mapping: ColumnMapping | None = None,
    license: str = "",
    gate: float = 0.1,
    dev: float = 0.02,
    split: str | None = None,
    dry_run: bool = False,
    reject_file: Path | None = None,
) -> ImportReport:
    """Take judgements that were made elsewhere; the arguments are those of `import_completions`.

    A judged completion that the store lacks is added when the file has its text. When nobody has
    its text the row is refused, unless the mapping says `unseen: keep`: then the completion is a
    row with a null text, which no strategy makes pairs of.

    Raises:
        UserError: no such file, or a mapping that does not fit it.
    """
    work = _work(
        store, "judgements", files, pool=pool, run_id=run_id, license=license, gate=gate,
        dev=dev, dry_run=dry_run, reject_file=reject_file,
    )  # fmt: skip
    return _run(work, files, given=mapping, split=split)


def _work(
    store: Store,
    kind: Kind,
    files: Sequence[str | Path],
    *,
    pool: str,
    run_id: str,
    license: str,
    gate: float,
    dev: float,
    dry_run: bool,
    reject_file: Path | None,
) -> Import:
    name = source_name(files[0]) if files else ""
    return Import(
        writer=Writer(store, run_id=run_id, dry_run=dry_run),
        mapping=ColumnMapping(),
        pool=pool,
        defaults=Defaults(pool=pool or name, source=name, license=license, gate=gate, dev=dev),
        rejects=Rejects(stage=STAGE, item_kind=kind[:-1], source=name, file=reject_file),
        report=ImportReport(kind=kind, dry_run=dry_run),
    )


def _run(
    work: Import, files: Sequence[str | Path], *, given: ColumnMapping | None, split: str | None
) -> ImportReport:
    kind: Kind = "completions" if work.report.kind == "completions" else "judgements"
    importer: _Importer | None = None
    for file in files:
        checked = False
        for batch in batches(file, split=split):
            if not checked and batch.rows:
                work.mapping = given or fitting.detect(batch.rows, kind=kind)
                command = f"prefactory import {kind} {file}"
                fitting.check(work.mapping, batch.rows, file=str(file), kind=kind, command=command)
                if kind == "judgements":
                    again = partial(batches, file, split=split)
                    fitting.check_scale(work.mapping, again, file=str(file), command=command)
                checked = True
            if importer is None:
                importer = Completions(work) if kind == "completions" else Judgements(work)
            importer.batch(batch)
    work.rejects.close()
    work.report.mapping = work.mapping.said()
    work.report.rejected = work.rejects.counts
    return work.report


__all__ = ["ImportReport", "import_completions", "import_judgements"]

"""Adds prompts from a file or a dataset to a pool, and says what was left out and why.

A prompt is in one pool and one split, whatever file brings it again (law 12). Rows stream through
in batches; every batch is one commit named by its ids, so the same command after kill -9 gives the
same tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from factory.prompting import fitting
from factory.prompting.cleaning.cleaner import Cleaner, Finding
from factory.prompting.cleaning.tags import tagger_of
from factory.prompting.content import Rejected, conversation_of, json_of, label_of
from factory.prompting.formats import Row
from factory.prompting.mapping import ColumnMapping
from factory.prompting.reading import BATCH_ROWS, Batch, batches, source_name
from factory.prompting.seen import Seen
from factory.prompting.writing import Rejects, Writer, held
from factory.rows import bucket_of, canonical, prompt_id_of, split_of
from factory.store import Store

STAGE = "expand"

_HELD = """
    select prompt_id, pool, source, source_id, split from prompts
    where prompt_id in (select unnest($ids))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a prompt gets where its row says nothing, and the shares of the splits."""

    pool: str
    source: str = ""
    license: str = ""
    domain: str = ""
    lang: str = ""
    gate: float = 0.1
    dev: float = 0.02


@dataclass(slots=True, kw_only=True)
class AddReport:
    """What `add_prompts` did."""

    pool: str
    mapping: str = ""
    read: int = 0
    added: int = 0
    present: int = 0
    """Rows that an earlier run of the same command added."""
    skipped: int = 0
    """Rows that the mapping's `where` leaves out."""
    dropped: Counter[str] = field(default_factory=lambda: Counter[str]())
    splits: Counter[str] = field(default_factory=lambda: Counter[str]())
    """Of the rows added or present."""
    contamination: list[dict[str, Any]] = field(default_factory=lambda: list[dict[str, Any]]())
    """What each source holds of each benchmark: rows, items, of, share."""
    notes: list[str] = field(default_factory=lambda: list[str]())
    """What the user should know of the cleaning, as sentences."""

    @property
    def said(self) -> str:
        """The outcome as one sentence."""
        if self.read and not self.added:
            return f"nothing added: {self.present} of {self.read} prompts were already in the pool"
        return f"{self.added} of {self.read} prompts added to the pool {self.pool!r}"

    def as_dict(self) -> dict[str, Any]:
        """The numbers, and what they amount to."""
        return {
            **asdict(self),
            "dropped": dict(self.dropped),
            "splits": dict(self.splits),
            "said": self.said,
        }


def add_prompts(
    store: Store,
    source: str | Path,
    *,
    pool: str,
    run_id: str,
    mapping: ColumnMapping | None = None,
    limit: int | None = None,
    batch_rows: int = BATCH_ROWS,
    license: str = "",
    domain: str = "",
    lang: str = "",
    gate: float = 0.1,
    dev: float = 0.02,
    cleaner: Cleaner | None = None,
    split: str | None = None,
    dry_run: bool = False,
    reject_file: Path | None = None,
) -> AddReport:
    """Stream a source of prompts into a pool.

    Args:
        store: where they go.
        source: a file, a directory, a saved dataset or `hf:owner/name[:config][@split]`.
        pool: the pool's name.
        run_id: the run that adds them.
        mapping: which column is which field; the common column names by default.
        limit: read at most this many rows.
        batch_rows: rows a commit.
        license: for rows whose columns give none; `domain` and `lang` likewise.
        domain: see `license`.
        lang: see `license`.
        gate: share of prompts held out for the gate, in [0, 1].
        dev: share of prompts of the dev split.
        cleaner: what leaves prompts out; nobody by default.
        split: which split of a Hugging Face dataset to read.
        dry_run: count and check, write nothing.
        reject_file: JSONL of the rows left out.

    Raises:
        UserError: no such source, or a mapping that does not fit it.
    """
    name = source_name(source)
    defaults = Defaults(
        pool=pool, source=name, license=license, domain=domain, lang=lang, gate=gate, dev=dev
    )
    chosen: ColumnMapping | None = None
    report = AddReport(pool=pool)
    rejects = Rejects(stage=STAGE, item_kind="prompt", source=name, file=reject_file, pool=pool)
    writer = Writer(store, run_id=run_id, dry_run=dry_run)
    adding = Adding(writer, defaults, rejects, report, cleaner)
    for batch in batches(source, split=split, limit=limit, size=batch_rows):
        if chosen is None and batch.rows:
            chosen = _fitting(mapping, batch.rows, source=source)
            report.mapping = chosen.said()
        adding.batch(batch, chosen or ColumnMapping())
    rejects.close()
    report.dropped = rejects.counts
    adding.tell()
    return report


def _fitting(
    given: ColumnMapping | None, rows: Sequence[Row], *, source: str | Path
) -> ColumnMapping:
    """The mapping of a source, refused at its first rows where it does not fit."""
    found = given or fitting.detect(rows, kind="prompts")
    command = f"prefactory prompts add {source}"
    fitting.check(found, rows, file=str(source), kind="prompts", command=command)
    return found


class Adding:
    """What is on its way into one pool: what was seen of its source, counted and committed."""

    def __init__(
        self,
        writer: Writer,
        defaults: Defaults,
        rejects: Rejects,
        report: AddReport,
        cleaner: Cleaner | None,
    ) -> None:
        self.writer = writer
        self.defaults = defaults
        self.rejects = rejects
        self.report = report
        self.cleaner = cleaner
        self.tagger = tagger_of(writer.store.workspace)
        self.seen = Seen()
        self.too_late = 0

    def batch(self, batch: Batch, mapping: ColumnMapping) -> None:
        """One batch: at most one commit of prompts and one of drops."""
        self.report.read += len(batch.rows) + len(batch.bad)
        for bad in batch.bad:
            self.rejects.bad(bad)
        fresh: list[tuple[Row, dict[str, Any]]] = []
        for row in batch.rows:
            if not mapping.keeps(row.values):
                self.report.skipped += 1
                continue
            try:
                fresh.append((row, self._one(row, mapping)))
            except Rejected as why:
                self.rejects.refuse(row, why)
        self._commit(self._screened(fresh))
        self.rejects.flush(self.writer)

    def _one(self, row: Row, mapping: ColumnMapping) -> dict[str, Any]:
        conversation = conversation_of(row.values, mapping)
        if conversation is None:
            raise Rejected("empty_prompt")
        made = prompt_row(
            conversation.messages, row.values, mapping, self.defaults, number=row.number
        )
        if conversation.next_turns:
            made["next_turns"] = canonical(list(conversation.next_turns)).decode()
        self.tagger.tag(made)
        return made

    def _screened(
        self, fresh: Sequence[tuple[Row, dict[str, Any]]]
    ) -> list[tuple[Row, dict[str, Any]]]:
        if self.cleaner is None:
            return list(fresh)
        found = self.cleaner.screen([prompt for _, prompt in fresh])
        out = [(*pair, why) for pair, why in zip(fresh, found, strict=True) if why is not None]
        for row, prompt, why in out:
            self._leave_out(row, prompt, why)
        copies = [prompt["prompt_id"] for _, prompt, why in out if why.reason == "contaminated"]
        there = held(self.writer.store, _HELD, copies)
        self.too_late += sum(row["pool"] == self.defaults.pool for row in there)
        return [pair for pair, why in zip(fresh, found, strict=True) if why is None]

    def _leave_out(self, row: Row, prompt: Mapping[str, Any], why: Finding) -> None:
        """Drop what the cleaner found, with its evidence and the row's own name."""
        facts = {**_name_of(prompt), **why.facts}
        self.rejects.refuse(row, Rejected(why.reason), prompt_id=prompt["prompt_id"], **facts)

    def tell(self) -> None:
        """What the cleaner knows when every row has passed."""
        if self.cleaner is None:
            return
        self.report.contamination = self.cleaner.contamination()
        self.report.notes = [*self.cleaner.notes, *self.cleaner.verdicts()]
        if self.too_late:
            self.report.notes.append(
                f"{self.too_late} contaminated prompts were in the pool already: "
                "no round draws them any more"
            )

    def _commit(self, fresh: Sequence[tuple[Row, dict[str, Any]]]) -> None:
        known = {
            r["prompt_id"]: r
            for r in held(self.writer.store, _HELD, [p["prompt_id"] for _, p in fresh])
        }
        new: list[dict[str, Any]] = []
        for row, prompt in fresh:
            identity = prompt["prompt_id"]
            place = f"{row.file} row {row.number}"
            times, first = self.seen.count(identity, where=place)
            there = known.get(identity)
            if times > 1:
                self._duplicate(row, prompt, first)
            elif there is None:
                again = self.cleaner.repeats(prompt) if self.cleaner else None
                if again is not None:
                    self._leave_out(row, prompt, again)
                    continue
                new.append(prompt)
                self.report.splits[prompt["split"]] += 1
            elif _same_row(there, prompt):
                self.report.present += 1
                self.report.splits[there["split"]] += 1
            else:
                first = f"pool {there['pool']}, {there['source']} {there['source_id']}"
                self._duplicate(row, prompt, first)
        self.report.added += self.writer.append("prompts", new)

    def _duplicate(self, row: Row, prompt: Mapping[str, Any], first: str) -> None:
        """Drop a repetition; its own name stays findable through the drop."""
        own = _name_of(prompt)
        self.rejects.refuse(
            row, Rejected("duplicate"), prompt_id=prompt["prompt_id"], first=first, **own
        )


def _name_of(prompt: Mapping[str, Any]) -> dict[str, Any]:
    return {key: prompt[key] for key in ("pool", "source", "source_id")}


_ROW = "row "


def by_row(number: int) -> str:
    """The name of a row that has none.

    A bare number is an index in many files of answers, from 0 in most, and they would find their
    neighbour's prompt by it.
    """
    return f"{_ROW}{number}"


def _same_row(there: Mapping[str, Any], prompt: Mapping[str, Any]) -> bool:
    # Earlier versions named such rows by the number alone.
    ids = (prompt["source_id"], prompt["source_id"].removeprefix(_ROW))
    return there["source_id"] in ids and all(there[k] == prompt[k] for k in ("pool", "source"))


def prompt_row(
    messages: Sequence[Mapping[str, str]],
    values: Mapping[str, Any],
    mapping: ColumnMapping,
    defaults: Defaults,
    *,
    number: int,
) -> dict[str, Any]:
    """A row of `prompts`; one without a source id gets a name that no file of answers has.

    Raises:
        Rejected: when a column holds what cannot be kept.
    """
    named: dict[str, str] = {
        "source": label_of(mapping.get(values, "source"), field="source") or defaults.source,
        "source_id": label_of(mapping.get(values, "source_id"), field="source_id")
        or by_row(number),
        "domain": label_of(mapping.get(values, "domain"), field="domain") or defaults.domain,
        "lang": label_of(mapping.get(values, "lang"), field="lang") or defaults.lang,
        "license": label_of(mapping.get(values, "license"), field="license") or defaults.license,
    }
    return finished(
        messages,
        defaults,
        **named,
        reference=json_of(mapping.get(values, "reference"), field="reference"),
        constraints=json_of(mapping.get(values, "constraints"), field="constraints"),
    )


def finished(
    messages: Sequence[Mapping[str, str]], defaults: Defaults, **columns: str | None
) -> dict[str, Any]:
    """A row of `prompts` from checked messages, with its id, split and bucket."""
    identity = prompt_id_of(messages)
    return {
        **columns,
        "prompt_id": identity,
        "pool": defaults.pool,
        "messages": canonical(list(messages)).decode(),
        "n_chars": sum(len(m["content"]) for m in messages),
        "split": split_of(identity, gate=defaults.gate, dev=defaults.dev),
        "bucket": bucket_of(identity),
    }

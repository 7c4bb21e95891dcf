"""`prompts make`: a maker's model writes prompts, which go into a pool as any others do.

A wave of makings is asked, kept in the lake as it came, then read, cleaned and added. A command
that was killed or is typed again takes from the lake what was answered and asks only for the rest;
when the pool has what was wanted, it asks nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from factory.prompting.cleaning.cleaner import Cleaner
from factory.prompting.content import Rejected
from factory.prompting.formats import Row
from factory.prompting.ingest import STAGE, Adding, AddReport, Defaults
from factory.prompting.makers.files import Maker
from factory.prompting.makers.plan import Making, Model, makings
from factory.prompting.makers.replies import Said, prompts_in
from factory.prompting.mapping import Column, ColumnMapping
from factory.prompting.reading import Batch
from factory.prompting.writing import Rejects, Writer, held
from factory.store import Store

Generate = Callable[[Sequence[Making]], Mapping[str, Said]]
"""Makings -> what came of each, by id; one that is missing was not answered and is asked again."""

WAVE = (16, 1024)
"""Fewest and most makings that are asked at once; the first waves are small, should all fail."""
TRIES = 4
"""Makings a wanted prompt, at most: what a maker cannot do is not paid for without end."""
HOPELESS = (64, 0.05)
"""After so many makings, the share that must have become prompts."""

_FIELDS = ("messages", "source", "source_id", "domain", "lang", "license", "reference",
           "constraints")  # fmt: skip
_KEPT = (
    "select making_id, text, finish_reason from makings where making_id in (select unnest($ids))"
)


@dataclass(slots=True, kw_only=True)
class MakeReport(AddReport):
    """What `make_prompts` did; `read` counts prompts found in answers, bad ones included."""

    maker: str = ""
    asked: int = 0
    """Makings that a model was asked for now."""
    kept: int = 0
    """Makings whose answer was in the lake already."""
    cost_microusd: int = 0


def make_prompts(
    store: Store,
    maker: Maker,
    *,
    rows: int,
    pool: str,
    run_id: str,
    seed: int,
    parents: Sequence[Mapping[str, Any]] = (),
    model: Model = Model(),  # noqa: B008 - frozen
    generate: Generate | None = None,
    defaults: Defaults | None = None,
    cleaner: Cleaner | None = None,
    progress: Callable[[int], None] | None = None,
) -> MakeReport:
    """Fill a pool with `rows` prompts of a maker, as far as it can.

    Args:
        store: where they go.
        maker: who makes them.
        rows: how many prompts of this maker, model and seed the pool is to have.
        pool: the pool's name.
        run_id: the run that makes them.
        seed: which parents, variants and arguments, and of the sampling.
        parents: rows of `parents_of`, for makers that start from prompts.
        model: who writes, as it goes into the makings' ids.
        generate: asks the model; not needed by a maker that asks nobody.
        defaults: licence, domain, language and shares of the splits.
        cleaner: what leaves prompts out; nobody by default.
        progress: told how many prompts were added, wave by wave.

    Raises:
        Stopped: when an endpoint or a budget ends it; what was answered is kept.
    """
    source = f"made:{maker.name}"
    report = MakeReport(pool=pool, mapping=f"made by {maker.name}", maker=maker.name)
    rejects = Rejects(stage=STAGE, item_kind="prompt", source=source, pool=pool)
    given = defaults or Defaults(pool=pool)
    adding = Adding(Writer(store, run_id=run_id), given, rejects, report, cleaner)
    making = _Making(store, maker, generate, adding, run_id, model, given, report)
    coming = makings(maker, parents, pool=pool, seed=seed, model=model)
    tried, before = 0, 0
    while (missing := rows - _there(report)) > 0 and tried < TRIES * rows + WAVE[0]:
        if tried >= HOPELESS[0] and _there(report) < HOPELESS[1] * tried:
            break
        size = min(max(missing, WAVE[0]), WAVE[1], max(tried, HOPELESS[0]))
        wave = list(islice(coming, size))
        making.wave(wave, rows=rows)
        tried += len(wave)
        if progress is not None:
            progress(_there(report) - before)
        before = _there(report)
    rejects.close()
    report.dropped = rejects.counts
    adding.tell()
    if _there(report) < rows:
        report.notes.append(_short(report, rows=rows, tried=tried))
    return report


def _short(report: MakeReport, *, rows: int, tried: int) -> str:
    """Why a pool has fewer prompts than were asked for."""
    why = ", ".join(f"{n} {reason}" for reason, n in report.dropped.most_common(4))
    return f"{_there(report)} of {rows} prompts after {tried} makings; dropped: {why or 'none'}"


def _there(report: MakeReport) -> int:
    return report.added + report.present


@dataclass(slots=True)
class _Making:
    """What the waves share."""

    store: Store
    maker: Maker
    generate: Generate | None
    adding: Adding
    run_id: str
    model: Model
    defaults: Defaults
    report: MakeReport

    def wave(self, wave: Sequence[Making], *, rows: int) -> None:
        """Ask, keep, read and add; prompts beyond `rows` are left for a later, larger command."""
        answers = self._answers(wave)
        found = [row for making in wave for row in self._read(making, answers)]
        mapping = ColumnMapping(columns={name: Column(column=(name,)) for name in _FIELDS})  # pyright: ignore[reportArgumentType]  # the names are fields
        while found and (room := rows - _there(self.report)) > 0:
            self.adding.batch(Batch(rows=found[:room], bad=[]), mapping)
            found = found[room:]
        self.adding.rejects.flush(self.adding.writer)

    def _answers(self, wave: Sequence[Making]) -> dict[str, tuple[str, str]]:
        """Making -> text and finish reason: from the lake, then from the model."""
        if self.generate is None:
            # Nobody was asked, and a prompt's parents and file are to be found all the same.
            rows = [self._row(making, Said()) for making in wave]
            self.store.append("makings", rows, run_id=self.run_id)
            return {}
        ids = [making.making_id for making in wave]
        kept = {r["making_id"]: (r["text"], r["finish_reason"])
                for r in held(self.store, _KEPT, ids)}  # fmt: skip
        self.report.kept += len(kept)
        todo = [making for making in wave if making.making_id not in kept]
        if not todo:
            return kept
        said = self.generate(todo)
        self.report.asked += len(said)
        rows = [self._row(m, said[m.making_id]) for m in todo if m.making_id in said]
        self.report.cost_microusd += sum(row["cost_microusd"] or 0 for row in rows)
        whole = [row for row in rows if row["finish_reason"] != "error"]
        self.store.append("makings", whole, run_id=self.run_id)
        for making in todo:
            one = said.get(making.making_id)
            if one is not None and one.error:
                self._refuse(making, Rejected(one.error, one.detail))
        return kept | {row["making_id"]: (row["text"], row["finish_reason"]) for row in whole}

    def _row(self, making: Making, said: Said) -> dict[str, Any]:
        return {
            "making_id": making.making_id,
            "maker": self.maker.name,
            "maker_sha": self.maker.sha,
            "variant": making.variant,
            "persona": making.persona,
            "pool": self.defaults.pool,
            "parent_ids": making.parent_ids,
            "replicate": making.replicate,
            "seed": making.seed,
            "model_id": self.model.model_id,
            "params_id": self.model.params_id,
            "text": _storable(said.text),
            "finish_reason": "error" if said.error else said.finish_reason,
            "n_tokens": said.n_tokens,
            "engine": said.engine,
            "engine_version": said.engine_version,
            "call_id": said.call_id,
            "model_reported": said.model_reported,
            "tokens_in": said.tokens_in,
            "tokens_out": said.tokens_out,
            "cost_microusd": said.cost_microusd,
            "latency_ms": said.latency_ms,
        }

    def _read(self, making: Making, answers: Mapping[str, tuple[str, str]]) -> Iterator[Row]:
        """The prompts of a making as rows for the pool; what is none is refused."""
        if self.generate is None:
            # A system turn before it stays; what is asked has grown.
            head = json.loads(making.parents[0]["messages"])[:-1]
            yield self._prompt(making, [*head, *making.messages[-1:]], 1)
            return
        if making.making_id not in answers:
            return
        for place, one in enumerate(prompts_in(self.maker, *answers[making.making_id]), start=1):
            if isinstance(one, str):
                yield self._prompt(making, [{"role": "user", "content": one}], place)
            else:
                self.report.read += 1
                self._refuse(making, one, text=answers[making.making_id][0])

    def _refuse(self, making: Making, why: Rejected, *, text: str = "") -> None:
        row = Row({"text": text}, self._file(making), 1)
        self.adding.rejects.refuse(row, why, making=making.making_id)

    def _prompt(self, making: Making, messages: Sequence[Mapping[str, str]], place: int) -> Row:
        """What it starts from lends its licence, domain and language; its answer only if it fits.

        An added constraint leaves the known answer as it is, a rewritten prompt does not.
        """
        parent = making.parents[0] if len(making.parents) == 1 else {}
        own = self.defaults
        values: dict[str, Any] = {
            "messages": [dict(message) for message in messages],
            "source": f"made:{self.maker.name}",
            "source_id": f"{making.making_id}/{place}",
            "domain": own.domain or parent.get("domain"),
            "lang": own.lang or parent.get("lang"),
            "license": own.license or parent.get("license"),
        }
        if making.constraints is not None:
            values |= {"constraints": making.constraints, "reference": parent.get("reference")}
        return Row(values, self._file(making), place)

    def _file(self, making: Making) -> str:
        return f"made:{self.maker.name}/{making.making_id}"


def _storable(text: str) -> str:
    """Without what Parquet refuses; a prompt that holds it is refused when it is read."""
    return (
        text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    )

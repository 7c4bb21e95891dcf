"""Completions made elsewhere, into the same tables as those that are sampled here."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from factory.prompting.content import Rejected, label_of, text_of
from factory.prompting.mapping import Field
from factory.prompting.reading import Batch
from factory.prompting.recorded import (
    PARAMS_ROW,
    Draft,
    Import,
    completion_row,
    drafts_of,
    messages_by_id,
    recorded_completion_id,
)
from factory.prompting.recorded_verdicts import Verdicts, judgement_row
from factory.prompting.seen import Seen
from factory.prompting.verdicts import label, score
from factory.prompting.writing import held
from factory.rows import text_hash

DEFAULT_JUDGE = "published"
"""The judge of a label that a file of completions carries beside the text."""

_NEXT_IDX = """
    select prompt_id, model_id, max(sample_idx) + 1 as next from completions
    where prompt_id in (select unnest($ids)) group by all
"""
_HELD = "select completion_id from completions where completion_id in (select unnest($ids))"


_SIDES: tuple[tuple[Field, Field], ...] = (
    ("completion_1", "model_1"),
    ("completion_2", "model_2"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """One completion of a row."""

    model: str
    text: str
    finish_reason: object = None
    sample_idx: int | None = None


class Completions:
    """The state of one import of completions."""

    def __init__(self, work: Import) -> None:
        self.work = work
        self.seen = Seen()
        self.verdicts = Verdicts(work)
        work.writer.append("params", [PARAMS_ROW])

    def batch(self, batch: Batch) -> None:
        """One batch: a commit of each table that gains rows."""
        drafts = drafts_of(self.work, batch)
        messages = messages_by_id(self.work, drafts) if self.work.tokenise else {}
        rows: list[dict[str, Any]] = []
        judged: list[tuple[Draft, dict[str, Any]]] = []
        for draft in drafts:
            try:
                # A row is taken whole or not at all: both sides of a pair are read first.
                for said in list(self._said(draft)):
                    row = self._row(draft, said, messages)
                    rows.append(row)
                    judged += self._judged(draft, row)
            except Rejected as why:
                self.work.rejects.refuse(draft.row, why, prompt_id=draft.prompt_id)
        self._commit(rows)
        self.work.report.judgements += self.verdicts.commit(judged)
        self.work.rejects.flush(self.work.writer)

    def _said(self, draft: Draft) -> Iterator[Said]:
        mapping, values = self.work.mapping, draft.values
        if mapping.has("completion_1"):
            sides: tuple[tuple[Field, Field], ...] = (
                ("completion_1", "model_1"),
                ("completion_2", "model_2"),
            )
            for completion, model in sides:
                yield Said(
                    _model(mapping.get(values, model)),
                    _text(mapping.get(values, completion)),
                )
            return
        found = mapping.get(values, "completion")
        if found is None and draft.conversation is not None:
            found = draft.conversation.answer
        idx = score(mapping.get(values, "sample_idx"))
        yield Said(
            _model(mapping.get(values, "model")),
            _text(found),
            mapping.get(values, "finish_reason"),
            None if idx is None else int(idx),
        )

    def _row(self, draft: Draft, said: Said, messages: dict[str, str]) -> dict[str, Any]:
        model_id = self.work.model(said.model)
        # The file of a pair names a completion once for each pair it is in: not another sample.
        times = 1
        if not self.work.mapping.has("completion_1"):
            times, _ = self.seen.count(draft.prompt_id + model_id + text_hash(said.text))
        identity = recorded_completion_id(
            prompt_id=draft.prompt_id, model_id=model_id, text=said.text, occurrence=times
        )
        row = completion_row(
            completion_id=identity,
            prompt_id=draft.prompt_id,
            model_id=model_id,
            text=said.text,
            finish_reason=said.finish_reason,
            tokens=self._tokens(draft, said, messages),
        )
        return row | {"sample_idx": said.sample_idx}

    def _tokens(
        self, draft: Draft, said: Said, messages: dict[str, str]
    ) -> tuple[Sequence[int], Sequence[int]] | None:
        if self.work.tokenise is None:
            return None
        try:
            return self.work.tokenise(json.loads(messages[draft.prompt_id]), said.text)
        except (KeyError, ValueError) as bad:
            raise Rejected("not_tokenised", str(bad)) from bad

    def _judged(self, draft: Draft, row: dict[str, Any]) -> Iterator[tuple[Draft, dict[str, Any]]]:
        mapping = self.work.mapping
        if not mapping.has("score"):
            return
        value = mapping.get(draft.values, "score")
        judge = label_of(mapping.get(draft.values, "judge"), field="judge") or DEFAULT_JUDGE
        number = score(value)
        yield (
            draft,
            judgement_row(
                kind=label(mapping.get(draft.values, "kind")) or "verifier",
                judge=judge,
                aspect=label(mapping.get(draft.values, "aspect")),
                prompt_id=draft.prompt_id,
                completion_ids=[row["completion_id"]],
                status="ok" if number is not None else "unparsed",
                score=number,
                raw=label(value),
            ),
        )

    def _commit(self, rows: list[dict[str, Any]]) -> None:
        work = self.work
        ids = [r["completion_id"] for r in rows]
        there = {r["completion_id"] for r in held(work.writer.store, _HELD, ids)}
        new = {r["completion_id"]: r for r in reversed(rows) if r["completion_id"] not in there}
        fresh = list(reversed(new.values()))
        taken = held(work.writer.store, _NEXT_IDX, [r["prompt_id"] for r in fresh])
        number_samples(fresh, {(r["prompt_id"], r["model_id"]): r["next"] for r in taken})
        added = work.writer.append("completions", fresh)
        work.report.added += added
        work.report.present += len(set(ids)) - added


def number_samples(rows: Sequence[dict[str, Any]], taken: dict[tuple[str, str], int]) -> None:
    """Number the samples of each (prompt, model) that the file did not, after those that exist."""
    following: dict[tuple[str, str], int] = defaultdict(int, taken)
    for row in rows:
        key = (row["prompt_id"], row["model_id"])
        if row["sample_idx"] is None:
            row["sample_idx"] = following[key]
        following[key] = max(following[key], row["sample_idx"] + 1)


def _model(value: object) -> str:
    name = label_of(value, field="model")
    if not name:
        raise Rejected("no_model")
    return name


def _text(value: object) -> str:
    if value is None:
        raise Rejected("no_completion")
    return text_of(value, field="completion")  # an empty completion is a real one

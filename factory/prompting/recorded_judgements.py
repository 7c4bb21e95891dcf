"""Judgements made elsewhere: which completions they are about, and what they say.

A judged completion is found by its text where the file has it, else by the model's name, and then
its length must be the one the file says was judged: published results are now and then filed under
another model's name, and a verdict must never hang on a text that the judge did not see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.prompting.content import Rejected, label_of, text_of
from factory.prompting.mapping import ColumnMapping, Field
from factory.prompting.reading import Batch
from factory.prompting.recorded import (
    PARAMS_ROW,
    Draft,
    Import,
    completion_row,
    drafts_of,
    recorded_completion_id,
    unseen_completion_id,
)
from factory.prompting.recorded_completions import number_samples
from factory.prompting.recorded_verdicts import LISTED, SHOWN, Verdicts, judgement_row
from factory.prompting.seen import Seen
from factory.prompting.verdicts import label, preference, score, shown_second_first
from factory.prompting.writing import held
from factory.rows import text_hash

# length() counts code points, as Python's len() does.
_CANDIDATES = """
    select c.completion_id, c.prompt_id, c.model_id, m.name as model, c.text_hash,
           length(c.text) as n_chars, c.sample_idx
    from completions c left join models m using (model_id)
    where c.prompt_id in (select unnest($ids))
    order by c.sample_idx, c.completion_id
"""
_SIDES: tuple[tuple[Field, Field, Field], ...] = (
    ("model_1", "completion_1", "n_chars_1"),
    ("model_2", "completion_2", "n_chars_2"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion of the store that may be the one judged; no hash where its text is unknown."""

    completion_id: str
    text_hash: str | None
    n_chars: int | None
    sample_idx: int


@dataclass(frozen=True, slots=True)
class Side:
    """What a row says of a completion it judges."""

    model: str
    text: str | None
    n_chars: int | None
    sample_idx: int | None = None


class Judgements:
    """The state of one import of judgements."""

    def __init__(self, work: Import) -> None:
        self.work = work
        self.verdicts = Verdicts(work)
        self.unseen = Seen()
        self.each = work.mapping.each_verdict()
        self.known: dict[tuple[str, str], list[Candidate]] = {}
        self.taken: dict[tuple[str, str], int] = {}
        self.new: list[dict[str, Any]] = []
        work.writer.append("params", [PARAMS_ROW])

    def batch(self, batch: Batch) -> None:
        """One batch: a commit of each table that gains rows."""
        work = self.work
        drafts = drafts_of(work, batch)
        self._learn({d.prompt_id for d in drafts})
        judged: list[tuple[Draft, dict[str, Any]]] = []
        for draft in drafts:
            for mapping in self.each:
                try:
                    judged.append((draft, self._row(draft, mapping)))
                except Rejected as why:
                    work.rejects.refuse(draft.row, why, prompt_id=draft.prompt_id)
        number_samples(self.new, self.taken)
        work.report.completions += work.writer.append("completions", self.new)
        self.new = []
        added = self.verdicts.commit(judged)
        work.report.added += added
        work.report.present = sum(work.report.statuses.values()) - work.report.added
        work.rejects.flush(work.writer)

    def _learn(self, prompt_ids: set[str]) -> None:
        """What the store knows of the completions of a batch's prompts."""
        known: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
        taken: dict[tuple[str, str], int] = {}
        for r in held(self.work.writer.store, _CANDIDATES, prompt_ids):
            one = Candidate(r["completion_id"], r["text_hash"], r["n_chars"], r["sample_idx"])
            known[r["prompt_id"], r["model"] or ""].append(one)
            key = (r["prompt_id"], r["model_id"])
            taken[key] = max(taken.get(key, 0), r["sample_idx"] + 1)
        self.known, self.taken = known, taken

    def _row(self, draft: Draft, mapping: ColumnMapping) -> dict[str, Any]:
        judge = label_of(mapping.get(draft.values, "judge"), field="judge")
        if not judge:
            raise Rejected("no_judge")
        if mapping.has("preference"):
            return self._pairwise(draft, mapping, judge)
        return self._pointwise(draft, mapping, judge)

    def _pointwise(self, draft: Draft, mapping: ColumnMapping, judge: str) -> dict[str, Any]:
        values = draft.values
        side = _side(draft, mapping, "model", "completion", None)
        value = mapping.get(values, "score")
        number = score(value)
        return judgement_row(
            kind=label(mapping.get(values, "kind")) or "pointwise",
            judge=judge,
            completion_ids=[self._find(draft, side)],
            status="ok" if number is not None else "unparsed",
            score=number,
            **_shared(draft, mapping, verdict=value),
        )

    def _pairwise(self, draft: Draft, mapping: ColumnMapping, judge: str) -> dict[str, Any]:
        values = draft.values
        sides = [_side(draft, mapping, *fields) for fields in _SIDES]
        ids = [self._find(draft, side) for side in sides]
        value = mapping.get(values, "preference")
        said = preference(value, scale=mapping.scale, names=(sides[0].model, sides[1].model))
        winner, p_first = said.winner, said.p_first
        winner_id = None if winner is None else ids[winner]
        swapped = shown_second_first(mapping.get(values, "shown_first"))
        if swapped:
            ids.reverse()
            p_first = None if p_first is None else 1.0 - p_first
        return judgement_row(
            kind=label(mapping.get(values, "kind")) or "pairwise",
            judge=judge,
            completion_ids=ids,
            status=said.status,
            winner_id=winner_id,
            p_first=p_first,
            parser=LISTED if swapped is None else SHOWN,
            **_shared(draft, mapping, verdict=value),
        )

    # --- which completion ---------------------------------------------------------------------

    def _find(self, draft: Draft, side: Side) -> str:
        found = self._of_model(draft.prompt_id, side.model)
        if side.text is not None:
            return self._by_text(draft, side, found)
        if side.n_chars == 0 and not any(c.n_chars == 0 for c in found):
            # A text of no characters is known without being in the file.
            return self._add(draft, side, text="")
        fits = [
            c
            for c in found
            if c.text_hash is not None
            and side.n_chars in (None, c.n_chars)
            and side.sample_idx in (None, c.sample_idx)
        ]
        if len({c.text_hash for c in fits}) > 1:
            raise Rejected("ambiguous_completion", f"{side.model} has {len(fits)}: map sample_idx")
        if fits:
            return fits[0].completion_id
        if self.work.mapping.unseen == "keep":
            return self._add(draft, side, text=None)
        if any(c.text_hash is not None for c in found):
            raise Rejected("other_completion", f"{side.model}: not of {side.n_chars} characters")
        raise Rejected("unknown_completion", f"{side.model} has none for this prompt")

    def _of_model(self, prompt_id: str, model: str) -> list[Candidate]:
        if model:
            return self.known.get((prompt_id, model), [])
        return [c for (p, _), cs in self.known.items() if p == prompt_id for c in cs]

    def _by_text(self, draft: Draft, side: Side, found: Sequence[Candidate]) -> str:
        digest = text_hash(side.text or "")
        same = next((c for c in found if c.text_hash == digest), None)
        if same is not None:
            return same.completion_id
        if not side.model:
            raise Rejected("no_model", "the completion is new and its model has no name")
        return self._add(draft, side, text=side.text)

    def _add(self, draft: Draft, side: Side, *, text: str | None) -> str:
        """A completion that the judgement is the first to name."""
        if not side.model:
            raise Rejected("no_model")
        prompt_id, model_id = draft.prompt_id, self.work.model(side.model)
        if text is None:
            identity = unseen_completion_id(
                prompt_id=prompt_id, model_id=model_id, n_chars=side.n_chars
            )
        else:
            identity = recorded_completion_id(
                prompt_id=prompt_id, model_id=model_id, text=text, occurrence=1
            )
        listed = self.known.setdefault((prompt_id, side.model), [])
        if any(c.completion_id == identity for c in listed):
            return identity
        row = completion_row(
            completion_id=identity, prompt_id=prompt_id, model_id=model_id, text=text
        )
        self.new.append(row | {"sample_idx": None})
        if text is None:
            self.work.report.unseen += self.unseen.count(identity)[0] == 1
        size = side.n_chars if text is None else len(text)
        listed.append(Candidate(identity, row["text_hash"], size, -1))
        return identity


def _side(
    draft: Draft, mapping: ColumnMapping, model: Field, completion: Field, n_chars: Field | None
) -> Side:
    values = draft.values
    text = mapping.get(values, completion)
    if text is None and draft.conversation is not None:
        text = draft.conversation.answer
    size = score(mapping.get(values, n_chars)) if n_chars else None
    idx = score(mapping.get(values, "sample_idx"))
    side = Side(
        model=label_of(mapping.get(values, model), field=model),
        text=None if text is None else text_of(text, field=completion),
        n_chars=None if size is None else int(size),
        sample_idx=None if idx is None else int(idx),
    )
    if not side.model and side.text is None:
        raise Rejected("no_completion", f"neither {model} nor {completion}")
    return side


def _shared(draft: Draft, mapping: ColumnMapping, *, verdict: object) -> dict[str, Any]:
    """The columns that pairwise and pointwise judgements fill alike."""
    values = draft.values
    cost, seconds = score(mapping.get(values, "cost_usd")), score(mapping.get(values, "seconds"))
    replicate = score(mapping.get(values, "replicate"))
    raw = mapping.get(values, "raw")
    rationale = mapping.get(values, "rationale")
    return {
        "prompt_id": draft.prompt_id,
        "aspect": label(mapping.get(values, "aspect")),
        # Without the judge's text the verdict as published is the rawest there is (law 6).
        "raw": _stored(verdict if raw is None else raw),
        "rationale": None if rationale is None else _stored(rationale),
        "replicate": None if replicate is None else int(replicate),
        "cost_microusd": None if cost is None else round(cost * 1_000_000),
        "latency_ms": None if seconds is None else seconds * 1000,
    }


def _stored(value: object) -> str:
    """A judge's words: kept whatever they are; a lone surrogate becomes its escape."""
    return label(value).encode("utf-8", "backslashreplace").decode("utf-8")

"""Rows of things made elsewhere: their ids, and which prompt each is about.

What was recorded has no weights to hash and no seed, so its id is made of what is known: the
model's name, the prompt, the text. The same file read again gives the same ids.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from factory.prompting.cleaning.tags import tagger_of
from factory.prompting.content import (
    Conversation,
    Messages,
    Rejected,
    conversation_of,
    label_of,
)
from factory.prompting.formats import Row
from factory.prompting.ingest import Defaults, prompt_row
from factory.prompting.mapping import ColumnMapping
from factory.prompting.reading import Batch
from factory.prompting.writing import Rejects, Writer, held
from factory.rows import bucket_of, content_id, text_hash, token_hash

Tokenise = Callable[[Messages, str], tuple[Sequence[int], Sequence[int]]]
"""(messages, text) -> prompt token ids and completion token ids."""

PARAMS_ID = content_id("params", {"recorded": True})
"""Nobody knows how recorded completions were sampled; all of them share this row of `params`."""
PARAMS_ROW: dict[str, object] = {"params_id": PARAMS_ID, "json": '{"recorded":true}'}

_FINISH = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "max_length": "length",
    "model_length": "length", "max_output_tokens": "length", "max_new_tokens": "length",
    "truncated": "length", "incomplete": "length",
    "abort": "abort", "error": "abort", "cancelled": "abort", "content_filter": "abort",
    "safety": "abort", "tool_calls": "abort", "function_call": "abort",
}  # fmt: skip

# A prompt that was dropped as a duplicate keeps its own name in the drop: rows that know it by that
# name are about the prompt that was kept.
_BY_SOURCE_ID = """
    with kept as (
        select source_id, source, prompt_id, messages is not null as known
        from prompts where ($pool = '' or pool = $pool) and source_id in (select unnest($ids))
    ),
    repeated as (
        select json_extract_string(try_cast(detail as json), '$.source_id') as source_id,
               json_extract_string(try_cast(detail as json), '$.source') as source,
               prompt_id,
               json_extract_string(try_cast(detail as json), '$.pool') as pool
        from drops where stage = 'expand' and reason = 'duplicate'
    )
    select source_id, source, prompt_id, known from kept
    union
    select source_id, source, prompt_id, true from repeated
    where ($pool = '' or pool = $pool) and source_id in (select unnest($ids))
"""
_MESSAGES = """
    select prompt_id, messages from prompts
    where prompt_id in (select unnest($ids)) and messages is not null
"""


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What an import did, or in a dry run would do."""

    kind: str
    dry_run: bool = False
    mapping: str = ""
    read: int = 0
    added: int = 0
    """Rows of the kind that is imported."""
    present: int = 0
    """Rows that the store already held: an import of the same file adds nothing."""
    skipped: int = 0
    """Rows that the mapping's `where` leaves out."""
    prompts: int = 0
    models: int = 0
    completions: int = 0
    """Completions added along with judgements."""
    judgements: int = 0
    """Judgements added along with completions."""
    unseen: int = 0
    """Judged completions whose text nobody has."""
    statuses: Counter[str] = field(default_factory=lambda: Counter[str]())
    rejected: Counter[str] = field(default_factory=lambda: Counter[str]())

    @property
    def said(self) -> str:
        """The outcome as one sentence."""
        would = "would be added" if self.dry_run else "added"
        refused = sum(self.rejected.values())
        if self.present and not self.added:
            there = f"{self.present} {self.kind} were already in the store"
            return (
                f"nothing added: {there}, {refused} rejected"
                if refused
                else (f"nothing added: all {there}")
            )
        return f"{self.added} {self.kind} {would} of {self.read} rows read, {refused} rejected"

    def as_dict(self) -> dict[str, Any]:
        """The numbers, and what they amount to."""
        return {
            **asdict(self),
            "statuses": dict(self.statuses),
            "rejected": dict(self.rejected),
            "said": self.said,
        }


@dataclass(slots=True, kw_only=True)
class Import:
    """One import under way."""

    writer: Writer
    mapping: ColumnMapping
    defaults: Defaults
    pool: str
    """Where prompts are looked up by their source id; empty for every pool."""
    rejects: Rejects
    report: ImportReport
    tokenise: Tokenise | None = None
    models: dict[str, str] = field(default_factory=lambda: dict[str, str]())

    def model(self, name: str) -> str:
        """The id of a model known by name, and its row in `models`."""
        if name not in self.models:
            identity = model_id_of(name)
            row = {"model_id": identity, "name": name, "kind": "recorded"}
            self.report.models += self.writer.append("models", [row])
            self.models[name] = identity
        return self.models[name]


@dataclass(slots=True)
class Draft:
    """A row on its way in: its values, and the prompt it is about once that is known."""

    row: Row
    values: Mapping[str, Any]
    conversation: Conversation | None = None
    source: str = ""
    source_id: str = ""
    prompt_id: str = ""
    new_prompt: dict[str, Any] | None = None


def model_id_of(name: str) -> str:
    """Id of a model known by name alone."""
    return content_id("model-recorded", name)


def recorded_completion_id(*, prompt_id: str, model_id: str, text: str, occurrence: int) -> str:
    """Id of a recorded completion: the n-th time (from 1) a model gave this text."""
    return content_id("completion-recorded", [prompt_id, model_id, text_hash(text), occurrence])


def unseen_completion_id(*, prompt_id: str, model_id: str, n_chars: int | None) -> str:
    """Id of a completion that was judged and whose text is not known."""
    return content_id("completion-unseen", [prompt_id, model_id, n_chars])


def completion_row(
    *,
    completion_id: str,
    prompt_id: str,
    model_id: str,
    text: str | None,
    finish_reason: object = None,
    tokens: tuple[Sequence[int], Sequence[int]] | None = None,
) -> dict[str, Any]:
    """A row of `completions`; token ids are there only when a tokenizer made them (law 4)."""
    row: dict[str, Any] = {
        "completion_id": completion_id,
        "prompt_id": prompt_id,
        "model_id": model_id,
        "params_id": PARAMS_ID,
        "sample_idx": 0,
        "text": text,
        "text_hash": None if text is None else text_hash(text),
        "finish_reason": _FINISH.get(str(finish_reason).casefold(), "recorded"),
        "origin": "recorded",
        "retokenised": tokens is not None,
        "engine": "recorded",
        "bucket": bucket_of(prompt_id),
    }
    if tokens is not None:
        prompt, completion = list(tokens[0]), list(tokens[1])
        row |= {
            "prompt_token_ids": prompt,
            "token_ids": completion,
            "token_hash": token_hash(prompt, completion),
            "n_tokens": len(completion),
        }
    return row


# --- which prompt -----------------------------------------------------------------------------


def drafts_of(work: Import, batch: Batch) -> list[Draft]:
    """The rows of a batch that can be read and name a prompt; the others are refused."""
    drafts: list[Draft] = []
    work.report.read += len(batch.rows) + len(batch.bad)
    for bad in batch.bad:
        work.rejects.bad(bad)
    for row in batch.rows:
        for values in work.mapping.rows(row):
            if not work.mapping.keeps(values):
                work.report.skipped += 1
                continue
            try:
                drafts.append(_draft(row, values, work.mapping))
            except Rejected as why:
                work.rejects.refuse(row, why)
    return _with_prompts(work, drafts)


def _draft(row: Row, values: Mapping[str, Any], mapping: ColumnMapping) -> Draft:
    source_id = label_of(mapping.get(values, "source_id"), field="source_id")
    source = label_of(mapping.get(values, "source"), field="source")
    conversation = conversation_of(values, mapping)
    if conversation is None and not source_id:
        raise Rejected("unknown_prompt", "the row has neither a prompt nor its id")
    return Draft(row, values, conversation, source=source, source_id=source_id)


def _with_prompts(work: Import, drafts: Sequence[Draft]) -> list[Draft]:
    """Find every draft's prompt, adding those whose text the file has."""
    named = [d for d in drafts if d.conversation is None]
    found = _by_source_id(work, [d.source_id for d in named])
    kept: list[Draft] = []
    for draft in drafts:
        try:
            if draft.conversation is not None:
                draft.new_prompt = prompt_row(
                    draft.conversation.messages,
                    draft.values,
                    work.mapping,
                    work.defaults,
                    number=draft.row.number,
                )
                draft.prompt_id = draft.new_prompt["prompt_id"]
            else:
                _named_prompt(work, draft, found.get(draft.source_id, {}))
            kept.append(draft)
        except Rejected as why:
            work.rejects.refuse(draft.row, why)
    new = [d.new_prompt for d in kept if d.new_prompt is not None]
    first = {p["prompt_id"]: p for p in reversed(new)}
    tagger = tagger_of(work.writer.store.workspace)
    for prompt in first.values():
        tagger.tag(prompt)
    work.report.prompts += work.writer.append("prompts", list(first.values()))
    return kept


def _by_source_id(work: Import, ids: Iterable[str]) -> dict[str, dict[str, set[tuple[str, bool]]]]:
    found: dict[str, dict[str, set[tuple[str, bool]]]] = defaultdict(lambda: defaultdict(set))
    for r in held(work.writer.store, _BY_SOURCE_ID, ids, pool=work.pool):
        found[r["source_id"]][r["source"]].add((r["prompt_id"], r["known"]))
    return found


def _named_prompt(work: Import, draft: Draft, sources: Mapping[str, set[tuple[str, bool]]]) -> None:
    """The prompt of a row that knows it by (pool, source_id) and maybe source."""
    every = [one for s, ones in sources.items() if draft.source in ("", s) for one in ones]
    ids = {prompt_id for prompt_id, known in every if known} or {p for p, _ in every}
    name = f"{work.pool or 'any pool'}/{draft.source_id}"
    if len(ids) > 1:
        raise Rejected("ambiguous_prompt", f"{len(ids)} prompts are named {name}: map source")
    if ids:
        draft.prompt_id = ids.pop()
        return
    if work.mapping.unseen != "keep":
        raise Rejected("unknown_prompt", f"no prompt is named {name}")
    source = draft.source or work.defaults.source
    identity = content_id("prompt-unseen", [work.defaults.pool, source, draft.source_id])
    draft.prompt_id = identity
    draft.new_prompt = {
        "prompt_id": identity,
        "pool": work.defaults.pool,
        "source": source,
        "source_id": draft.source_id,
        "bucket": bucket_of(identity),
    }


def messages_by_id(work: Import, drafts: Sequence[Draft]) -> dict[str, str]:
    """JSON messages of the drafts' prompts, for the tokenizer."""
    found = {d.prompt_id: d.new_prompt["messages"] for d in drafts if d.new_prompt}
    wanted = [d.prompt_id for d in drafts if d.prompt_id not in found]
    rows = held(work.writer.store, _MESSAGES, wanted)
    return found | {r["prompt_id"]: r["messages"] for r in rows}


def once(values: Iterable[dict[str, Any]], key: str) -> Iterator[dict[str, Any]]:
    """The first row of each id."""
    seen: set[str] = set()
    for value in values:
        if value[key] not in seen:
            seen.add(value[key])
            yield value

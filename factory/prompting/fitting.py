"""Fits a mapping to a file: finds the common names, and refuses a mapping that does not fit."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from factory.errors import UserError
from factory.prompting.formats import Row
from factory.prompting.mapping import Column, ColumnMapping, Field, lookup
from factory.prompting.reading import Batch
from factory.prompting.verdicts import NUMBERS, TWO_WAYS, label, score, verdict_label

Kind = Literal["prompts", "completions", "judgements"]

_COMMON: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversation", "conversations"),
    "text": ("prompt", "instruction", "question", "text", "problem", "query"),
    "system": ("system", "system_prompt"),
    "source": ("source",),
    "source_id": ("source_id", "id", "idx", "prompt_id", "question_id", "uid", "key"),
    "domain": ("domain", "category"),
    "lang": ("lang", "language"),
    "license": ("license", "licence"),
    "reference": ("reference", "final", "expected_answer", "ground_truth", "answer"),
    "constraints": ("constraints",),
}
_COMMON_COMPLETION: dict[str, tuple[str, ...]] = {
    "completion": ("completion", "output", "response", "solution", "generation", "answer"),
    "model": ("model", "generator", "model_name", "model_id"),
    "finish_reason": ("finish_reason",),
    "sample_idx": ("sample_idx", "sample"),
}
_COMMON_JUDGEMENT: dict[str, tuple[str, ...]] = {
    "model_1": ("model_1", "generator_1", "model_a"),
    "model_2": ("model_2", "generator_2", "model_b"),
    "completion_1": ("completion_1", "output_1", "response_1", "response1", "response_a"),
    "completion_2": ("completion_2", "output_2", "response_2", "response2", "response_b"),
    "judge": ("judge", "annotator"),
    "aspect": ("aspect", "criterion"),
    "preference": ("preference", "winner"),
    "score": ("score", "rating"),
    "raw": ("raw", "judgement", "judgment"),
    "rationale": ("rationale", "explanation"),
}


def detect(rows: Sequence[Row], *, kind: Kind) -> ColumnMapping:
    """The mapping that the common column names give; it may lack what the verb needs."""
    names = _names(rows)
    tables = [_COMMON]
    if kind != "prompts":
        tables.append(_COMMON_COMPLETION)
    if kind == "judgements":
        tables.append(_COMMON_JUDGEMENT)
    columns: dict[str, str] = {}
    taken: set[str] = set()
    # The rarer fields choose first: `answer` is a completion where completions are read.
    for table in reversed(tables):
        for field, candidates in table.items():
            found = next((c for c in candidates if c in names and c not in taken), None)
            if found is not None:
                columns[field] = found
                taken.add(found)
    if columns.get("text") and isinstance(_first(rows, columns["text"]), list):
        columns["messages"] = columns.pop("text")
    answered = _answered(_first(rows, columns["messages"])) if "messages" in columns else False
    if answered and "text" in columns:
        del columns["messages"]
    cut = "messages" in columns and answered
    return ColumnMapping.model_validate(
        {"name": "found by name", "columns": columns, "until_last_user": cut}
    )


def _first(rows: Sequence[Row], name: str) -> Any:
    return next((r.values[name] for r in rows if r.values.get(name) is not None), None)


def _answered(messages: Any) -> bool:
    """Whether a conversation ends with the assistant's turn."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and (last.get("role") or last.get("from")) in {"assistant", "gpt"}


def check(
    mapping: ColumnMapping, rows: Sequence[Row], *, file: str, kind: Kind, command: str
) -> None:
    """Refuse a mapping that names a column no row has, or lacks a field the verb needs.

    Raises:
        UserError: naming the file, the field, the nearest column and the next command.
    """
    names = _names(rows)
    shown = [v for row in rows for v in mapping.rows(row)]
    for verdict in mapping.each_verdict():
        for field, column in verdict.columns.items():
            for name in column.column:
                known = column.optional or name in names
                if known or any(lookup(v, name) is not None for v in shown):
                    continue
                raise _no_column(name, field, names, file=file, command=command)
    for name in (*mapping.where, *([mapping.explode] if mapping.explode else [])):
        if name.split(".")[0] not in names and not any(name in v for v in shown):
            raise _no_column(name, "where", names, file=file, command=command)
    _needs(mapping, names, file=file, kind=kind, command=command)


def check_scale(
    mapping: ColumnMapping, batches: Callable[[], Iterable[Batch]], *, file: str, command: str
) -> None:
    """Refuse a preference in numbers that no scale explains.

    Zeros and ones alone would by the common labels be draws and first winners, where their author
    most likely meant losers and winners. Of -1 and 1, of five grades or of probabilities, the
    labels would read a few and lose the others. The file is read while a column says numbers alone.

    Raises:
        UserError: naming the column and the scale to write.
    """
    doubts = [
        _Doubt(column, mapping=verdict)
        for verdict in mapping.each_verdict()
        if verdict.scale is None and (column := verdict.columns.get("preference")) is not None
    ]
    for batch in batches() if doubts else ():
        for row in batch.rows:
            for values in filter(mapping.keeps, mapping.rows(row)):
                doubts = [doubt for doubt in doubts if not doubt.ends(values)]
        strange = next((doubt for doubt in doubts if doubt.strange), None)
        if strange is not None:
            raise _no_scale(
                f"{file}: no scale says what {strange.strange} means",
                strange, "{first: [1], second: [2], draws: [1.5], between: true}", command,
            )  # fmt: skip
        if not doubts:
            return
    for doubt in doubts:
        if doubt.said and not doubt.other:
            raise _no_scale(
                f"{file}: the preferences in {'+'.join(doubt.column.column)!r} are only 0 and 1, "
                "which may be draws and first winners or losers and winners",
                None, "{first: [1], second: [0], draws: []}", command,
            )  # fmt: skip


def _no_scale(what: str, doubt: _Doubt | None, scale: str, command: str) -> UserError:
    where = f" in {'+'.join(doubt.column.column)!r}" if doubt else ""
    return UserError(
        f"{what}{where}: write `scale: {scale}`, or what else they mean, in a mapping file",
        next=f"{command} --map ./MAPPING.yaml",
    )


@dataclass(slots=True)
class _Doubt:
    """A preference column that has said nothing but numbers so far, or nothing at all."""

    column: Column
    mapping: ColumnMapping
    said: bool = False
    other: bool = False
    """Whether it said another number than 0 and 1."""
    strange: str = ""
    """The first number that has no common meaning."""

    def ends(self, values: Mapping[str, Any]) -> bool:
        """Whether this row says a word, which numbers beside it do not make doubtful."""
        value = self.column.read(values)
        written = verdict_label(value)
        if not written or label(value) in self._names(values):
            return False
        if score(written) is None:
            return True
        self.said = True
        self.other = self.other or written not in TWO_WAYS
        if written not in NUMBERS:
            self.strange = self.strange or label(value)
        return False

    def _names(self, values: Mapping[str, Any]) -> set[str]:
        """The two models, which a verdict may name."""
        return {label(self.mapping.get(values, name)) for name in ("model_1", "model_2")} - {""}


def _no_column(
    name: str, field: str, names: Iterable[str], *, file: str, command: str
) -> UserError:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    hint = f"the nearest is {near[0]!r}" if near else f"there are {_json(sorted(names))}"
    return UserError(
        f"{file}: no row has a column {name!r}, which the mapping reads as {field}; {hint}",
        next=f"{command} --map {field}={near[0] if near else 'COLUMN'}",
    )


def _needs(
    mapping: ColumnMapping, names: Iterable[str], *, file: str, kind: Kind, command: str
) -> None:
    has = mapping.has
    asked = has("text") or has("messages") or has("turns")
    two = has("model_1") or has("completion_1")
    wants: list[tuple[bool, Field]] = [(asked or (kind != "prompts" and has("source_id")), "text")]
    if kind == "completions":
        from_chat = has("messages") and mapping.until_last_user
        wants.append((has("completion") or has("completion_1") or from_chat, "completion"))
        wants.append((has("model") or has("model_1"), "model"))
    if kind == "judgements":
        wants.append((two or has("model") or has("completion"), "completion"))
        verdicts = mapping.each_verdict()
        wants.append((all(v.has("judge") for v in verdicts), "judge"))
        wants.append((all(v.has("score") or v.has("preference") for v in verdicts), "score"))
    for met, field in wants:
        if not met:
            raise UserError(
                f"{file}: no column is mapped to {field}; there are {_json(sorted(names))}",
                next=f"{command} --map {field}=COLUMN",
            )


def _names(rows: Iterable[Row]) -> set[str]:
    return {name for row in rows for name in row.values}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

"""Which column of a file is which field: the documented column mapping of `add` and `import`.

A mapping is a YAML file in `storage/imports/` (or any path), pairs typed on the command line
(`text=instruction`, `judge:=gpt-4` for a constant), or, where nothing is said, the common names.
`a.0.b` reaches into lists and objects. The fields:

    prompt      text messages system source source_id domain lang license reference constraints
    completion  completion model finish_reason sample_idx, or two a row: completion_1 model_1
                n_chars_1 and completion_2 model_2 n_chars_2
    judgement   judge kind aspect score preference shown_first raw rationale cost_usd seconds
                replicate
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from factory import rooms
from factory.errors import RecipeError
from factory.prompting.formats import Row
from factory.prompting.verdicts import Scale, label, verdict_label

ROOM = "storage/imports"

Field = Literal[
    "text", "messages", "turns", "system", "source", "source_id", "domain", "lang", "license",
    "reference", "constraints",
    "completion", "model", "finish_reason", "sample_idx",
    "completion_1", "model_1", "n_chars_1", "completion_2", "model_2", "n_chars_2",
    "judge", "kind", "aspect", "score", "preference", "shown_first", "raw", "rationale",
    "cost_usd", "seconds", "replicate",
]  # fmt: skip
FIELDS: tuple[str, ...] = get_args(Field)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """Where a field's value is: one column, or several joined, then cut and recoded."""

    column: tuple[str, ...]
    join: str = "\n\n"
    """Between the parts of several columns; empty parts are left out."""
    collect: bool = False
    """Several columns as one JSON object instead of joined text."""
    split: str | None = None
    part: int | None = None
    """Cut the text at `split` and take this part (negative from the end)."""
    optional: bool = False
    """Whether a file may lack the column."""
    values: dict[str, str | int | float | None] | None = None
    """Value as written -> value meant; a value that is not listed is missing."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str | list) else given

    @field_validator("column", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("values", mode="before")
    @classmethod
    def _labels(cls, given: Any) -> Any:
        return {label(k): v for k, v in given.items()} if isinstance(given, dict) else given

    def read(self, values: Mapping[str, Any]) -> Any:
        """The field's value in a row; None where it is missing."""
        found = [lookup(values, name) for name in self.column]
        if self.collect:
            value: Any = dict(zip(self.column, found, strict=True))
        elif len(found) == 1:
            value = found[0]
        else:
            value = self.join.join(label(v) for v in found if v is not None and v != "")
        if self.split is not None and value is not None:
            parts = str(value).split(self.split)
            at = self.part or 0
            value = parts[at].strip() if -len(parts) <= at < len(parts) else None
        if self.values is None:
            return value
        written = label(value)
        return self.values.get(written if written in self.values else verdict_label(value))


class Verdict(_Strict):
    """One of several verdicts in a row: what it says differently from the mapping around it."""

    columns: dict[Field, Column] = {}
    constants: dict[Field, str | int | float | bool] = {}
    scale: Scale | None = None


class ColumnMapping(Verdict):
    """A whole mapping. `name` is for messages; `about` says where such files come from."""

    name: str = ""
    about: str = ""
    explode: str | None = None
    """A column that holds a list: each element is a row of its own, over the row's columns."""
    where: dict[str, str | int | float | bool] = {}
    """Rows whose column has another value are skipped and counted."""
    until_last_user: bool = False
    """Cut a conversation after its last user turn; what followed is a recorded completion."""
    unseen: Literal["reject", "keep"] = "reject"
    """A judged completion whose text nobody has: refuse the row, or keep a row without text."""
    verdicts: tuple[Verdict, ...] = ()

    def has(self, field: Field) -> bool:
        """Whether the field has a column or a constant."""
        return field in self.columns or field in self.constants

    def get(self, values: Mapping[str, Any], field: Field) -> Any:
        """The field's value in a row; None where it is missing or unmapped."""
        if field in self.columns:
            found = self.columns[field].read(values)
            if found is not None:
                return found
        return self.constants.get(field)

    def each_verdict(self) -> list[ColumnMapping]:
        """The mapping of each verdict in a row, with what they share."""
        return [
            self.model_copy(
                update={
                    "columns": {**self.columns, **v.columns},
                    "constants": {**self.constants, **v.constants},
                    "scale": v.scale or self.scale,
                    "verdicts": (),
                }
            )
            for v in self.verdicts or (Verdict(),)
        ]

    def rows(self, row: Row) -> Iterator[dict[str, Any]]:
        """A file's row as one row or, with `explode`, as one for each element."""
        if self.explode is None:
            yield row.values
            return
        elements = lookup(row.values, self.explode)
        for element in elements if isinstance(elements, list) else []:
            yield {**row.values, **element} if isinstance(element, dict) else row.values

    def keeps(self, values: Mapping[str, Any]) -> bool:
        """Whether `where` lets a row in."""
        return all(label(lookup(values, name)) == label(want) for name, want in self.where.items())

    def said(self) -> str:
        """One line: what is read from where."""
        columns = [f"{f}={'+'.join(c.column)}" for f, c in self.columns.items()]
        constants = [f"{f}:={v}" for f, v in self.constants.items()]
        more = [f"{len(self.verdicts)} verdicts"] if self.verdicts else []
        more += [f"explode {self.explode}"] if self.explode else []
        more += ["until_last_user"] if self.until_last_user else []
        more += [f"where {k}={v}" for k, v in self.where.items()]
        head = f"{self.name}: " if self.name else ""
        return head + " ".join([*columns, *constants, *more])


def lookup(values: Mapping[str, Any], name: str) -> Any:
    """A column by its whole name, or by a dotted path into objects and lists; None if absent."""
    if name in values:
        return values[name]
    found: Any = values
    for step in name.split("."):
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and step.lstrip("-").isdigit():
            at = int(step)
            found = found[at] if -len(found) <= at < len(found) else None
        else:
            return None
    return found


def load(
    named: str | Path | None = None,
    *,
    pairs: Sequence[str] = (),
    workspace: Path | None = None,
) -> ColumnMapping | None:
    """A mapping by name or file, with pairs typed over it; None when nothing is given.

    Args:
        named: a preset of `storage/imports/`, or the path of a YAML file.
        pairs: `field=column`, `field=column+column`, or `field:=constant`.
        workspace: whose `storage/imports/` overrides the packaged one.

    Raises:
        UserError: naming the file, the field and the nearest valid name.
    """
    if named is None and not pairs:
        return None
    base: dict[str, Any] = {}
    if named is not None:
        text = str(named)
        is_path = text.endswith((".yaml", ".yml")) or "/" in text
        content = (
            rooms.read_file(Path(text), suffix=".yaml")
            if is_path
            else rooms.read(ROOM, text, suffix=".yaml", workspace=workspace)
        )
        base = {"name": content.name, **_parsed(content)}
    columns: dict[str, Any] = dict(base.get("columns") or {})
    constants: dict[str, Any] = dict(base.get("constants") or {})
    for pair in pairs:
        _pair(pair, columns, constants)
    return _validated({**base, "columns": columns, "constants": constants}, str(named or "--map"))


def resolve(
    given: Mapping[str, str] | Sequence[str], *, workspace: Path | None = None
) -> ColumnMapping | None:
    """A mapping as recipes and command lines give it; None when they say nothing.

    Args:
        given: words that are `field=column`, `field:=constant` or the name of a mapping; or a
            mapping of fields to columns, where `preset` names a mapping.
        workspace: whose `storage/imports/` overrides the packaged one.
    """
    if isinstance(given, Mapping):
        pairs = [f"{field}={column}" for field, column in given.items() if field != "preset"]
        return load(given.get("preset"), pairs=pairs, workspace=workspace)
    names = [word for word in given if "=" not in word]
    if len(names) > 1:
        raise RecipeError(
            f"--map names two mappings, {names[0]} and {names[1]}", next=f"--map {names[0]}"
        )
    pairs = [word for word in given if "=" in word]
    return load(names[0] if names else None, pairs=pairs, workspace=workspace)


def _parsed(content: rooms.Content) -> dict[str, Any]:
    try:
        value = yaml.safe_load(content.text)
    except yaml.YAMLError as bad:
        raise RecipeError(f"{content.path}: not YAML: {bad}", next=f"edit {content.path}") from bad
    if not isinstance(value, dict):
        raise RecipeError(f"{content.path}: not a mapping", next=f"edit {content.path}")
    return value


def _pair(pair: str, columns: dict[str, Any], constants: dict[str, Any]) -> None:
    name, sign, value = pair.partition("=")
    constant = name.endswith(":")
    field = name.removesuffix(":").strip()
    if not sign or not value:
        raise RecipeError(f"{pair!r} is not field=column", next="--map text=instruction")
    _known(field, pair)
    if constant:
        constants[field] = value
        columns.pop(field, None)
    else:
        columns[field] = value.split("+")


def _known(field: str, where: str) -> None:
    if field in FIELDS:
        return
    near = difflib.get_close_matches(field, FIELDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(FIELDS)}"
    raise RecipeError(
        f"{where}: no field {field!r}; {hint}", next=f"--map {near[0] if near else 'text'}=COLUMN"
    )


def _validated(value: dict[str, Any], where: str) -> ColumnMapping:
    for part in (value, *(value.get("verdicts") or ())):
        for field in (*(part.get("columns") or ()), *(part.get("constants") or ())):
            _known(str(field), where)
    try:
        return ColumnMapping.model_validate(value)
    except ValidationError as bad:
        first = bad.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise RecipeError(f"{where}: {place}: {first['msg']}", next=f"edit {where}") from bad

"""A strategy is one SQL file: a SELECT over `candidates`, with its parameters declared on top.

The leading comment lines are the declaration. The first says what the strategy is; then

    -- kind pairs | sft
    -- param NAME TYPE = DEFAULT  what it is

with TYPE one of int, float, text, bool, and `null` as a possible default. The SELECT yields one
row per pair (prompt_id, chosen_id, rejected_id, score_chosen, score_rejected, reason) or per SFT
example (prompt_id, completion_id, rank, score, n_candidates, reason); a row whose reason is not
null is a prompt that gave nothing. A file in a workspace's `storage/strategies/` overrides ours.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from factory import rooms
from factory.errors import UserError

Value: TypeAlias = int | float | str | bool | None
Kind = Literal["pairs", "sft"]

ROOM = "storage/strategies"
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "pairs": ("prompt_id", "chosen_id", "rejected_id", "score_chosen", "score_rejected", "reason"),
    "sft": ("prompt_id", "completion_id", "rank", "score", "n_candidates", "reason"),
}
"""What the SELECT of each kind yields."""

RESERVED = {
    "run_id", "round", "pools", "model_ids", "judges", "policy_model_id", "first_bucket",
    "last_bucket",
}  # fmt: skip
"""Parameters that a build fills in: a strategy cannot declare them."""

_PARAM = re.compile(r"--\s*param\s+(\w+)\s+(int|float|text|bool)\s*=\s*('[^']*'|\S+)\s*(.*)")
_KIND = re.compile(r"--\s*kind\s+(\w+)\s*$")
_TYPES: dict[str, type] = {"int": int, "float": float, "text": str, "bool": bool}


@dataclass(frozen=True, slots=True)
class Param:
    """One declared parameter of a strategy."""

    name: str
    type: str
    default: Value
    about: str


@dataclass(frozen=True, slots=True)
class Strategy:
    """One strategy file, read."""

    name: str
    kind: Kind
    about: str
    sql: str
    sha: str
    params: tuple[Param, ...]

    def values(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Every parameter's value, `seed` (default 0) included.

        Raises:
            UserError: for a name that is not declared or a value of another type.
        """
        declared = {p.name: p for p in self.params} | {"seed": Param("seed", "int", 0, "")}
        for name in given:
            if name not in declared:
                near = difflib.get_close_matches(name, declared, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(declared)}"
                raise UserError(
                    f"strategy {self.name} has no parameter {name!r}; {hint}",
                    next=f"head {ROOM}/{self.name}.sql",
                )
        return {
            name: _typed(given.get(name, p.default), p, strategy=self.name)
            for name, p in declared.items()
        }


def strategies(workspace: Path | None = None) -> dict[str, Strategy]:
    """Every strategy there is, by name."""
    names = rooms.listing(ROOM, suffix=".sql", workspace=workspace)
    return {name: load_strategy(name, workspace=workspace) for name in names}


def load_strategy(name: str, *, workspace: Path | None, kind: Kind | None = None) -> Strategy:
    """Read one strategy.

    Args:
        name: of the file, without suffix.
        workspace: whose own strategies come first.
        kind: what the caller needs it to make.

    Raises:
        UserError: when it is missing, declares nothing, or makes something else.
    """
    content = rooms.read(ROOM, name, suffix=".sql", workspace=workspace)
    lines = content.text.splitlines()
    head = [line for line in lines if line.startswith("--")]
    named = [m.group(1) for line in head if (m := _KIND.match(line))]
    kinds: list[Kind] = [k for k in COLUMNS if named == [k]]
    if not kinds:
        raise UserError(
            f"{ROOM}/{name}.sql needs one line '-- kind pairs' or '-- kind sft'",
            next=f"edit {content.path}",
        )
    found = kinds[0]
    if kind is not None and found != kind:
        raise UserError(
            f"strategy {name} makes {found}, not {kind}", next=f"grep -l 'kind {kind}' {ROOM}/*.sql"
        )
    params = tuple(_param(line, name) for line in head if line.startswith("-- param"))
    return Strategy(
        name=name,
        kind=found,
        about=head[0].removeprefix("--").strip(),
        sql=content.text,
        sha=content.sha,
        params=params,
    )


def _param(line: str, strategy: str) -> Param:
    match = _PARAM.match(line)
    if not match or match.group(1) in RESERVED:
        why = "is reserved" if match else "is not '-- param NAME int|float|text|bool = DEFAULT …'"
        raise UserError(
            f"{ROOM}/{strategy}.sql: {line!r} {why}", next=f"edit {ROOM}/{strategy}.sql"
        )
    name, kind, default, about = match.groups()
    raw: Value = default.strip("'")
    if default == "null":
        raw = None
    elif kind == "bool":
        raw = default == "true"
    elif kind != "text":
        try:
            raw = _TYPES[kind](default)
        except ValueError as bad:
            raise UserError(
                f"{ROOM}/{strategy}.sql: the default of {name} is no {kind}: {default}",
                next=f"edit {ROOM}/{strategy}.sql",
            ) from bad
    return Param(name, kind, raw, about.strip())


def _typed(value: Value, param: Param, *, strategy: str) -> Value:
    if value is None:
        return None
    right = isinstance(value, _TYPES[param.type])
    if param.type == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not right or (param.type == "int" and isinstance(value, bool)):
        raise UserError(
            f"strategy {strategy}: parameter {param.name} is a {param.type}, not {value!r}",
            next=f"head {ROOM}/{strategy}.sql",
        )
    return value

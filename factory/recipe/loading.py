"""Reads recipes: file, then environment, then flags; errors say file, line, field and nearest name.

Values come from the file, then the environment (`FACTORY__SAMPLING__N=4`), then flags
(`--set sampling.n=4`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from factory import rooms
from factory.errors import RecipeError
from factory.recipe.model import Recipe, Section

ENV_PREFIX = "FACTORY__"


def load(
    name: str,
    *,
    workspace: Path | None = None,
    overrides: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe of that name or path, with environment and flags on top.

    Args:
        name: a file name in recipes/ without suffix, or a path to a YAML file.
        workspace: whose recipes/ overrides the packaged ones.
        overrides: `section.field=value` strings; values are YAML.
        environ: by default the process environment.

    Raises:
        RecipeError: with file, line, what was expected and the nearest valid name.
    """
    is_path = name.endswith((".yaml", ".yml")) or "/" in name
    content = (
        rooms.read_file(Path(name), suffix=".yaml")
        if is_path
        else rooms.read("recipes", name, suffix=".yaml", workspace=workspace)
    )
    raw, lines = _parse(content)
    for key, value in sorted((os.environ if environ is None else environ).items()):
        if key.startswith(ENV_PREFIX):
            _put(raw, key.removeprefix(ENV_PREFIX).lower().split("__"), value, source=key)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise RecipeError(f"--set {override}: expected field=value", next="--set sampling.n=4")
        _put(raw, key.split("."), value, source=f"--set {key}")
    try:
        return Recipe.model_validate(raw)
    except ValidationError as bad:
        raise RecipeError(_explain(content.path, bad, lines), next=f"edit {content.path}") from None


def _parse(content: rooms.Content) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    try:
        node = yaml.compose(content.text, Loader=yaml.SafeLoader)
        raw: Any = yaml.safe_load(content.text)
    except yaml.YAMLError as bad:
        mark = getattr(bad, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(bad, "problem", None) or bad
        raise RecipeError(
            f"{content.path}{where}: not YAML: {problem}", next=f"edit {content.path}"
        ) from bad
    if not isinstance(raw, dict):
        raise RecipeError(
            f"{content.path}: a recipe is a mapping of fields", next="prefactory init DIR"
        )
    lines: dict[tuple[Any, ...], int] = {}
    _collect_lines(node, (), lines)
    return raw, lines


def _collect_lines(node: Any, path: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, key.value)] = key.start_mark.line + 1
            _collect_lines(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _collect_lines(value, (*path, index), lines)


def _put(raw: dict[str, Any], path: list[str], value: str, *, source: str) -> None:
    at: Any = raw
    for part in path[:-1]:
        if isinstance(at, list) and part.isdigit() and int(part) < len(at):
            at = at[int(part)]
        elif isinstance(at, dict):
            at = at.setdefault(part, {})
        else:
            raise RecipeError(f"{source}: {part!r} is not a section", next="--set sampling.n=4")
    if not isinstance(at, dict):
        raise RecipeError(f"{source}: sets a field of something that has none", next="")
    try:
        at[path[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as bad:
        raise RecipeError(f"{source}: {value!r} is not a YAML value", next="") from bad


def _explain(path: Path, bad: ValidationError, lines: Mapping[tuple[Any, ...], int]) -> str:
    """One sentence a problem: file, line, field, what was expected, the nearest valid name."""
    said: list[str] = []
    for error in bad.errors():
        where: tuple[Any, ...] = tuple(error["loc"])
        line = next(
            (lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), None
        )
        field = ".".join(str(part) for part in where) or "recipe"
        place = f"{path}" + (f" line {line}" if line else "")
        said.append(f"{place}: {field}: {_expected(where, error)}")
    return "; ".join(said)


def _expected(where: tuple[Any, ...], error: Any) -> str:
    if error["type"] != "extra_forbidden":
        # A URL that is refused may be refused because it holds a password.
        hidden = error["type"] == "missing" or where[-1:] == ("base_url",)
        given = "" if hidden else f" (given {error['input']!r:.80})"
        return f"{error['msg'].removeprefix('Value error, ')}{given}"
    valid = sorted(fields_at(where[:-1]))
    near = difflib.get_close_matches(str(where[-1]), valid, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(valid)}"
    return f"no such field; {hint}"


def fields_at(path: tuple[Any, ...], *, of: type[BaseModel] = Recipe) -> set[str]:
    """Names of the fields of the section at a path."""
    section: Any = of
    keyed = False
    for part in path:
        if keyed or isinstance(part, int) or not _is_section(section):
            keyed = False  # a name that the user gave, as an endpoint's
            continue
        field = section.model_fields.get(part)
        section = _section_in(field.annotation) if field else None
        keyed = field is not None and get_origin(field.annotation) is dict
    return set(section.model_fields) if _is_section(section) else set()


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _section_in(annotation: Any) -> Any:
    if _is_section(annotation):
        return annotation
    if get_origin(annotation) is Literal:
        return None
    return next((s for s in map(_section_in, get_args(annotation)) if s is not None), None)


class WorkspaceConfig(Section):
    """workspace.yaml: where the ledger and the lake are."""

    ledger: str | None = None
    lake: str | None = None


def workspace_config(
    workspace: Path, *, environ: Mapping[str, str] | None = None
) -> WorkspaceConfig:
    """The workspace's URLs: file, then `FACTORY_LEDGER` and `FACTORY_LAKE`.

    Raises:
        RecipeError: when the file cannot be read as that.
    """
    environment = os.environ if environ is None else environ
    path = workspace / "workspace.yaml"
    raw: dict[str, Any] = {}
    if path.exists():
        content = rooms.read_file(path)
        raw = (yaml.safe_load(content.text) or {}) if content.text.strip() else {}
    for field in ("ledger", "lake"):
        if environment.get(f"FACTORY_{field.upper()}"):
            raw[field] = environment[f"FACTORY_{field.upper()}"]
    try:
        return WorkspaceConfig.model_validate(raw)
    except ValidationError as bad:
        raise RecipeError(_explain(path, bad, {}), next=f"edit {path}") from None


def default_workspace(environ: Mapping[str, str] | None = None) -> Path:
    """`FACTORY_WORKSPACE`, else the current directory."""
    environment = os.environ if environ is None else environ
    return Path(environment.get("FACTORY_WORKSPACE") or ".")

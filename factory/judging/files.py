"""A judge is one text file: YAML front matter that says how to ask, and a Jinja body that asks.

The file's sha is on every judgement it makes, so an edited rubric is another judge. Everything that
can be wrong with the file is found when it is read, before the first paid call.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from factory import rooms
from factory.errors import RecipeError
from factory.judging import parse, render, verifiers
from factory.rows import content_id

Kind = Literal["pointwise", "pairwise", "verifier"]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScaleSpec(_Strict):
    """The ends of the judge's scale, both included."""

    min: float
    max: float
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> ScaleSpec:
        if self.min >= self.max:
            raise ValueError("min must be below max")
        return self


class Aspect(_Strict):
    """One question of a judge: one call per aspect and completion."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    ask: str
    levels: dict[int, str] = {}
    """What each score means."""
    note: str = ""


class Thresholds(_Strict):
    """Rates above which a judge is stopped before it costs more, and what an audit asks of it."""

    unparsed: _Share = 1.0
    refused: _Share = 1.0
    truncated: _Share = 1.0
    error: _Share = 1.0
    after: Annotated[int, Field(ge=1)] = 100
    """Judgements before the rates are believed."""
    agreement: _Share = 0.0
    """Least agreement with people, without ties, that an audit lets pass."""
    consistent: _Share = 0.0
    """Pairwise: least share of pairs with one verdict in both orders that an audit lets pass."""


class Front(_Strict):
    """The front matter of a judge's file."""

    kind: Kind
    description: str
    scale: ScaleSpec = ScaleSpec(min=0, max=1)
    aspects: tuple[Aspect, ...] = ()
    orders: Literal["both", "one"] = "both"
    """Pairwise: ask both orders, or one that is drawn by hash."""
    parser: str = ""
    parser_args: dict[str, str | int | float | bool] = {}
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: Annotated[int, Field(ge=1, le=20)] | None = None
    """How many top log-probabilities to ask for."""
    response_format: dict[str, object] | None = None
    """Passed to the endpoint as it is, for servers with structured output."""
    verifier: str = ""
    verifier_args: dict[str, object] = {}
    timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """Verifiers in a child process: seconds a text may take."""
    max_chars: Annotated[int, Field(ge=1)] | None = None
    """Texts above it are not sent: a row with status `error`, never a cut text."""
    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _whole(self) -> Front:
        if self.kind == "verifier":
            if not self.verifier:
                raise ValueError("a verifier judge needs `verifier`")
            return self
        if self.verifier or self.verifier_args:
            raise ValueError(f"`verifier` belongs to kind verifier, not {self.kind}")
        fitting = parse.PAIRWISE if self.kind == "pairwise" else parse.POINTWISE
        if self.parser not in fitting:
            near = difflib.get_close_matches(self.parser, fitting, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"parser {self.parser!r} is none for {self.kind}{hint} "
                f"(there are {', '.join(sorted(fitting))})"
            )
        if self.parser.startswith("logprob_") and self.logprobs is None:
            raise ValueError(f"parser {self.parser} needs `logprobs`")
        names = [a.name for a in self.aspects]
        if len(set(names)) < len(names):
            raise ValueError("two aspects have one name")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A judge's file, read and checked."""

    name: str
    sha: str
    front: Front
    template: render.Template | None
    """None for verifiers."""

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names of the aspects; one empty name where the file has none."""
        return tuple(a.name for a in self.front.aspects) or ("",)

    @property
    def parser(self) -> str:
        """What reads the answer, with its version: `rating/1`, `gsm8k/1`."""
        if self.front.kind == "verifier":
            return f"{self.front.verifier}/{verifiers.find(self.front.verifier).version}"
        return parse.parser_name(self.front.parser)

    def identity(self, model: str = "", options: object = None) -> str:
        """The judge's id: file, model, the endpoint's own options and the parser's version."""
        return content_id("judge", [self.sha, model, options, self.parser])

    def aspect(self, name: str) -> Aspect | None:
        """The aspect of that name, or None."""
        return next((a for a in self.front.aspects if a.name == name), None)

    def ask(self) -> parse.Ask:
        """What the parser needs to know of this file."""
        s = self.front.scale
        return parse.Ask(
            scale=parse.Scale(min=s.min, max=s.max, integer=s.integer),
            pairwise=self.front.kind == "pairwise",
            args=self.front.parser_args,
        )


def load(name: str, *, workspace: Path | None = None) -> Judge:
    """The judge of that name: the workspace's file, else the packaged one.

    Raises:
        UserError: when there is none; it names the nearest.
        RecipeError: when the file says something that cannot be run.
    """
    content = rooms.read("judges", name, suffix=".md", workspace=workspace)
    return read(content.text, name=name, sha=content.sha)


def listed(workspace: Path | None = None) -> list[str]:
    """Names of every judge there is."""
    return list(rooms.listing("judges", suffix=".md", workspace=workspace))


_PARTS = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n(.*))?\Z", re.DOTALL)


def read(text: str, *, name: str, sha: str) -> Judge:
    """A judge from the text of its file.

    Raises:
        RecipeError: naming the file, the field and the nearest valid name.
    """
    file = f"judges/{name}.md"
    parts = _PARTS.match(text)
    if parts is None:
        raise _wrong(file, "it does not begin with front matter between two lines of `---`")
    front = _front(file, parts[1])
    if front.kind == "verifier":
        try:
            verifiers.find(front.verifier)
        except RecipeError as bad:
            raise _wrong(file, f"verifier: {bad.message}") from bad
        return Judge(name=name, sha=sha, front=front, template=None)
    try:
        template = render.compile_body(parts[2] or "", pairwise=front.kind == "pairwise")
    except render.BadTemplate as bad:
        line = parts[1].count("\n") + 3 + bad.line
        raise _wrong(file, f"line {line}: {bad}" if bad.line else str(bad)) from bad
    return Judge(name=name, sha=sha, front=front, template=template)


def _front(file: str, text: str) -> Front:
    try:
        value: object = yaml.safe_load(text)
    except yaml.YAMLError as bad:
        mark = getattr(bad, "problem_mark", None)
        line = f"line {mark.line + 2}: " if mark else ""
        raise _wrong(file, f"{line}the front matter is not YAML") from bad
    if not isinstance(value, dict):
        raise _wrong(file, "the front matter is not a list of `name: value`")
    try:
        return Front.model_validate(cast("dict[str, object]", value))
    except ValidationError as bad:
        raise _wrong(file, "; ".join(_complaints(bad))) from bad


def _complaints(bad: ValidationError) -> Iterator[str]:
    for error in bad.errors():
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(error["loc"][-1]), _fields(error["loc"]), n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            yield f"{where}: there is no such field{hint}"
        else:
            message = error["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}" if where else message


def _fields(location: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "scale": ScaleSpec, "aspects": Aspect, "thresholds": Thresholds,
    }  # fmt: skip
    inside = str(location[0]) if len(location) > 1 else ""
    return list(models.get(inside, Front).model_fields)


def _wrong(file: str, what: str) -> RecipeError:
    return RecipeError(f"{file}: {what}", next=f"edit {file}")

"""A maker is one text file: front matter that says what it is given and how its answer is read.

The body is a Jinja template, in parts for system and user as a judge's. The file's sha is on every
prompt it makes, so an edited file is another maker. What can be wrong with it is found when it is
read, before a model is asked.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jinja2
import yaml
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from factory import rooms
from factory.errors import RecipeError

ROOM = "prompts/makers"

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # a prompt is not a page; fences, not escapes, hold the text
    trim_blocks=True,
    lstrip_blocks=True,
)
_PARTS = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n(.*))?\Z", re.DOTALL)
_MARK = re.compile(r"^<!--\s*(system|user)\s*-->[ \t]*\n", re.MULTILINE)
_SHOWN = {"nothing": set[str](), "persona": {"persona"}, "prompt": {"prompt"},
          "prompts": {"prompts"}}  # fmt: skip

Given = Literal["nothing", "persona", "prompt", "prompts"]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Argument(_Strict):
    """How an argument of a checker is drawn: exactly one of the ways."""

    choose: tuple[str | int, ...] = ()
    between: tuple[int, int] | None = None
    """Both ends included, in steps of `step`."""
    step: Count = 1
    pick: tuple[str, ...] = ()
    """Several different ones, `count` says how many."""
    count: tuple[Count, Count] = (1, 1)
    names: dict[str, str] = {}
    """Value for the checker -> what the prompt says."""
    parent: bool = False
    """The text of the prompt itself."""

    @model_validator(mode="after")
    def _one_way(self) -> Argument:
        ways = (self.choose, self.between, self.pick, self.names, self.parent)
        if sum(map(bool, ways)) != 1:
            raise ValueError("an argument needs one of choose, between, pick, names, parent")
        if self.between and self.between[0] > self.between[1]:
            raise ValueError("between: the lower end comes first")
        if self.pick and not self.count[0] <= self.count[1] <= len(self.pick):
            raise ValueError("count: from the fewest to the most, no more than there are to pick")
        return self


class Constraint(_Strict):
    """A constraint that a program can check: its id, its words and its arguments."""

    id: str
    say: str
    args: dict[str, Argument] = {}
    apart: tuple[str, ...] = ()
    """Two constraints that share one of these words are never in one prompt."""
    alone: bool = False
    """Never in one prompt with another."""


class Front(_Strict):
    """The front matter of a maker's file."""

    description: str
    given: Given
    answer: Literal["turn", "tagged", "constraints"]
    """`turn`: the model goes on from its own user header; `tagged`: it writes <prompt>…</prompt>;
    `constraints`: nobody is asked, the body is the prompt."""
    examples: Count = 6
    """Given prompts: how many the body is shown."""
    most: Count = 1
    """Tagged: prompts that one answer may hold."""
    variants: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = {}
    """Name -> text; each making uses one, in equal shares on average."""
    personas: str = "personas"
    """Given a persona: the file in prompts/ that lists them."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Count = 1024
    words: tuple[str, ...] = ()
    """A list for YAML's own references; nothing else reads it."""
    constraints: tuple[Constraint, ...] = ()
    at_once: tuple[Count, Count] = (1, 1)
    """Fewest and most constraints of one prompt."""

    @model_validator(mode="after")
    def _fits(self) -> Front:
        if (self.answer == "constraints") != bool(self.constraints):
            raise ValueError("`answer: constraints` and a list `constraints` go together")
        if self.answer == "constraints" and self.given != "prompt":
            raise ValueError("constraints are added to a prompt: `given: prompt`")
        if self.answer == "turn" and self.given != "nothing":
            raise ValueError("`answer: turn` is given nothing: the body is a system turn")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """A maker's file, read and checked."""

    name: str
    sha: str
    front: Front
    parts: tuple[tuple[str, jinja2.Template], ...]
    says: tuple[jinja2.Template, ...] = ()
    """The words of each constraint."""
    personas: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether a model is asked."""
        return self.front.answer != "constraints"

    @property
    def has_parents(self) -> bool:
        """Whether it starts from prompts that are there."""
        return self.front.given in ("prompt", "prompts")


def listed(workspace: Path | None = None) -> list[str]:
    """Names of every maker there is."""
    return list(rooms.listing(ROOM, suffix=".md", workspace=workspace))


def load(name: str, *, workspace: Path | None = None) -> Maker:
    """The maker of that name: the workspace's file, else the packaged one.

    Raises:
        UserError: when there is none; it names the nearest.
        RecipeError: when the file says something that cannot be run.
    """
    content = rooms.read(ROOM, name, suffix=".md", workspace=workspace)
    return read(content.text, name=name, sha=content.sha, workspace=workspace)


def read(text: str, *, name: str, sha: str, workspace: Path | None = None) -> Maker:
    """A maker from the text of its file.

    Raises:
        RecipeError: naming the file, the field and the nearest valid name.
    """
    file = f"{ROOM}/{name}.md"
    parts = _PARTS.match(text)
    if parts is None:
        raise _wrong(file, "it does not begin with front matter between two lines of `---`")
    front = _front(file, parts[1])
    allowed = _SHOWN[front.given] | {"variant"} | ({"constraints"} & {front.answer})
    body = _templates(file, parts[2] or "", allowed, needed=_SHOWN[front.given])
    if front.answer == "tagged" and body[-1][0] != "user":
        raise _wrong(file, "the last part must be the user's")
    says = tuple(
        _template(file, c.say, set(c.args), where=f"constraint {c.id}") for c in front.constraints
    )
    personas: tuple[str, ...] = ()
    if front.given == "persona":
        found = rooms.read("prompts", front.personas, suffix=".txt", workspace=workspace)
        lines = (line.strip() for line in found.text.splitlines())
        personas = tuple(dict.fromkeys(line for line in lines if line and line[0] != "#"))
        if not personas:
            raise _wrong(str(found.path), "it lists nobody")
        # Who asks is part of what the maker is: another list is another maker.
        sha = f"{sha[:16]}{found.sha[:16]}"
    return Maker(name=name, sha=sha, front=front, parts=body, says=says, personas=personas)


def _front(file: str, text: str) -> Front:
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as bad:
        mark = getattr(bad, "problem_mark", None)
        line = f"line {mark.line + 2}: " if mark else ""
        raise _wrong(file, f"{line}the front matter is not YAML") from bad
    if not isinstance(value, dict):
        raise _wrong(file, "the front matter is not a list of `name: value`")
    try:
        return Front.model_validate(value)
    except ValidationError as bad:
        raise _wrong(file, "; ".join(_complaint(e) for e in bad.errors())) from bad


def _complaint(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        fields = Front if len(error["loc"]) == 1 else Argument if "args" in where else Constraint
        near = difflib.get_close_matches(str(error["loc"][-1]), fields.model_fields, n=1)
        return f"{where}: there is no such field{f', did you mean {near[0]!r}?' if near else ''}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _templates(
    file: str, body: str, allowed: set[str], *, needed: set[str]
) -> tuple[tuple[str, jinja2.Template], ...]:
    marks = list(_MARK.finditer(body))
    if marks and body[: marks[0].start()].strip():
        raise _wrong(file, "there is text before the first <!-- system --> or <!-- user -->")
    ends = [*(m.start() for m in marks[1:]), len(body)]
    texts = [(m[1], body[m.end() : end]) for m, end in zip(marks, ends, strict=False)]
    whole = _template(file, body, allowed, needed=needed)
    parts = tuple((role, _template(file, text, allowed)) for role, text in texts)
    return parts or (("user", whole),)


def _template(
    file: str, text: str, allowed: set[str], *, needed: Set[str] = frozenset(), where: str = ""
) -> jinja2.Template:
    place = f"{where}: " if where else ""
    try:
        used = meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
        template = _ENVIRONMENT.from_string(text)
    except jinja2.TemplateSyntaxError as bad:
        raise _wrong(file, f"{place}line {bad.lineno} of the body: {bad.message}") from bad
    for name in sorted(used - allowed):
        near = difflib.get_close_matches(name, allowed, n=1)
        known = ", ".join(sorted(allowed)) or "none"
        hint = f", did you mean {near[0]}?" if near else f" (there are: {known})"
        raise _wrong(file, f"{place}there is no {name!r}{hint}")
    for name in sorted(needed - used):
        raise _wrong(file, f"{place}the body never shows {{{{ {name} }}}}")
    return template


def _wrong(file: str, what: str) -> RecipeError:
    return RecipeError(f"{file}: {what}", next=f"edit {file}")

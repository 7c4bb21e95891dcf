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
from typing import cast

import yaml
from pydantic import BaseModel, ValidationError

from factory import rooms
from factory.errors import RecipeError
from factory.judging import parse, rankings, render, verifiers
from factory.judging.front import ASKING, Aspect, Front, Panel, Reward, ScaleSpec, Thresholds
from factory.rows import content_id

__all__ = ["Aspect", "Front", "Judge", "ScaleSpec", "Thresholds", "listed", "load", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A judge's file, read and checked."""

    name: str
    sha: str
    front: Front
    template: render.Template | None
    """None for judges that ask no model."""

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names of the aspects; one empty name where the file has none."""
        return tuple(a.name for a in self.front.aspects) or ("",)

    @property
    def parser(self) -> str:
        """What reads the answer, with its version: `rating/1`, `gsm8k/1`."""
        front = self.front
        if front.kind == "verifier":
            return f"{front.verifier}/{verifiers.find(front.verifier).version}"
        if front.panel is not None:
            return f"panel_{front.panel.rule}/1"
        if front.reward is not None:
            return f"reward_{front.reward.engine}/1"
        if front.kind == "human":
            return "people/1"
        named = rankings if front.kind in ("listwise", "revise") else parse
        return named.parser_name(front.parser)

    def identity(self, model: str = "", options: object = None, *, parser: str = "") -> str:
        """The judge's id: file, model, the endpoint's own options and the parser's version.

        `parser` is another version, whose verdicts on the same answers have that id.
        """
        return content_id("judge", [self.sha, model, options, parser or self.parser])

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
    if front.kind not in ASKING:
        return Judge(name=name, sha=sha, front=front, template=None)
    try:
        template = render.compile_body(parts[2] or "", kind=front.kind)
    except render.BadTemplate as bad:
        line = parts[1].count("\n") + 3 + bad.line
        raise _wrong(file, f"line {line}: {bad}" if bad.line else str(bad)) from bad
    return Judge(name=name, sha=sha, front=front, template=template)


def _front(file: str, text: str) -> Front:
    try:
        value: object = yaml.safe_load(text)
    # YAML's own dates raise ValueError, and braces without an end RecursionError.
    except (yaml.YAMLError, ValueError, RecursionError) as bad:
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
        "scale": ScaleSpec, "aspects": Aspect, "thresholds": Thresholds, "panel": Panel,
        "reward": Reward,
    }  # fmt: skip
    inside = str(location[0]) if len(location) > 1 else ""
    return list(models.get(inside, Front).model_fields)


def _wrong(file: str, what: str) -> RecipeError:
    return RecipeError(f"{file}: {what}", next=f"edit {file}")

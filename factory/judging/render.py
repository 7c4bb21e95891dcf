"""What a judge is shown: the file's body, rendered with the conversation and the texts in fences.

Model output is hostile. Every text that a model or a user wrote stands between two lines that carry
a tag made from the text itself, so no text can contain its own closing line, nor that of another
text in the same call. The body is split into system and user parts before anything is filled in, so
no text can open a part. No model's name is in reach of a body (law 11).
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from factory.judging.outcomes import storable

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # a prompt is not a page; fences, not escapes, hold the text
    trim_blocks=True,
    lstrip_blocks=True,
)
_BODY_ERRORS = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
"""What a body can raise: it is a small program, and `{{ 1 / 0 }}` is one."""
_MARK = re.compile(r"^<!--\s*(system|user)\s*-->[ \t]*\n", re.MULTILINE)
_COMMON = frozenset({"prompt", "reference", "aspect", "scale", "args"})
_SHOWN: dict[str, tuple[str, ...]] = {
    "pointwise": ("completion",),
    "revise": ("completion",),
    "pairwise": ("first", "second"),
    "listwise": ("answers",),
}
"""What a body of each kind shows. A listwise one also knows `count`, how many answers there are."""


class BadTemplate(Exception):
    """A body that cannot be rendered; `line` counts from 1 in the body, 0 where unknown."""

    def __init__(self, message: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled body: (role, template) in the order they are sent."""

    parts: tuple[tuple[str, jinja2.Template], ...]
    kind: str = "pointwise"


def compile_body(body: str, *, kind: str) -> Template:
    """Compile a body and check that it uses known names and shows the texts.

    Raises:
        BadTemplate: naming what is wrong and the nearest valid name.
    """
    shown = set(_SHOWN[kind])
    allowed = _COMMON | shown | ({"count"} if kind == "listwise" else set())
    try:
        tree = _ENVIRONMENT.parse(body)
        used = meta.find_undeclared_variables(tree)
        parts = tuple((role, _ENVIRONMENT.from_string(text)) for role, text in _split(body))
    except jinja2.TemplateSyntaxError as bad:
        raise BadTemplate(bad.message or "not a Jinja template", line=bad.lineno) from bad
    for name in sorted(used - allowed):
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = (
            f", did you mean {near[0]}?" if near else f" (there are {', '.join(sorted(allowed))})"
        )
        raise BadTemplate(f"there is no {name!r}{hint}", line=_line_of(tree, name))
    for name in sorted((shown | {"prompt"}) - used):
        raise BadTemplate(f"the body never shows {{{{ {name} }}}}")
    if parts[-1][0] != "user":
        raise BadTemplate("the last part must be the user's")
    return Template(parts, kind)


def _split(body: str) -> list[tuple[str, str]]:
    marks = list(_MARK.finditer(body))
    if not marks:
        return [("user", body)]
    if body[: marks[0].start()].strip():
        raise BadTemplate("there is text before the first <!-- system --> or <!-- user -->", line=1)
    ends = [m.start() for m in marks[1:]] + [len(body)]
    return [(m[1], body[m.end() : end]) for m, end in zip(marks, ends, strict=True)]


def _line_of(tree: nodes.Template, name: str) -> int:
    return next((n.lineno for n in tree.find_all(nodes.Name) if n.name == name), 0)


# --- fences ------------------------------------------------------------------------------------


def _tag(label: str, text: str, others: Sequence[str]) -> str:
    """A tag made from the text that occurs in none of the call's texts."""
    for salt in range(1_000):
        digest = hashlib.blake2b(f"{salt}\x1f{label}\x1f{text}".encode(), digest_size=6).hexdigest()
        if not any(digest in other for other in others):
            return digest
    raise ValueError("no tag is absent from the texts")  # 2**48 tags: needs a text of terabytes


def fenced(label: str, text: str, *, others: Sequence[str] = ()) -> str:
    """A text between two lines that it cannot contain.

    The tag depends on the text alone, so the blocks that several calls share are equal byte for
    byte and a server's prefix cache can reuse them.
    """
    tag = _tag(label, text, [text, *others])
    return f"<<<{label} {tag}>>>\n{text}\n<<<END {label} {tag}>>>"


_LABELS = {"system": "SYSTEM", "user": "USER", "assistant": "ASSISTANT", "tool": "TOOL"}


def messages_for(
    template: Template,
    *,
    conversation: Sequence[Mapping[str, str]],
    texts: Sequence[str],
    reference: str | None = None,
    aspect: object = None,
    scale: object = None,
    args: Mapping[str, object] | None = None,
) -> list[dict[str, str]]:
    """The chat messages of one call.

    Args:
        template: a compiled body.
        conversation: the prompt's messages.
        texts: the completions in the order shown: one, two, or for a list any number.
        reference: the prompt's known answer.
        aspect: the aspect asked for, with `ask`, `levels` and `note`.
        scale: with `min` and `max`.
        args: the arguments of the judge's file.

    Raises:
        BadTemplate: when the body fails on these values.
    """
    clean = [storable(t) for t in texts]
    said = [(_LABELS.get(m["role"], "MESSAGE"), storable(m["content"])) for m in conversation]
    known = None if reference is None else storable(reference)
    everything = [*clean, *(text for _, text in said), *([known] if known is not None else [])]
    names = _SHOWN[template.kind]
    labels = {1: ["ANSWER"], 2: ["ANSWER A", "ANSWER B"]}[len(names)]
    if template.kind == "listwise":
        labels = [f"ANSWER {n}" for n in range(1, len(clean) + 1)]
    blocks = [fenced(n, t, others=everything) for n, t in zip(labels, clean, strict=True)]
    values: dict[str, object] = {
        "prompt": "\n\n".join(fenced(n, t, others=everything) for n, t in said),
        "reference": "" if known is None else fenced("REFERENCE", known, others=everything),
        "aspect": aspect,
        "scale": scale,
        "args": args or {},
    }
    if template.kind == "listwise":
        values |= {"answers": "\n\n".join(blocks), "count": len(blocks)}
    else:
        values |= dict(zip(names, blocks, strict=True))
    try:
        made = [(role, part.render(values).strip()) for role, part in template.parts]
    except _BODY_ERRORS as bad:
        raise BadTemplate(f"{bad}" or type(bad).__name__) from bad
    return [{"role": role, "content": text} for role, text in made if text]

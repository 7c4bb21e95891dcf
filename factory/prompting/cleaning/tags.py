"""Tags a prompt by the words that a list names: `prompts/safety.yaml`, which a person edits.

A tag says that a word is there. Words cannot tell a harmful prompt from one that only sounds so:
the list is measured, not trusted (docs/prompts.md). Tags are for strata, filters, a first look.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from factory import rooms
from factory.errors import RecipeError
from factory.prompting.cleaning.benchmarks import later_turns, user_turns

FILE = "safety"


class Category(BaseModel):
    """What makes a prompt be tagged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: tuple[str, ...] = ()
    """Whole words or several, in any case; `*` is any ending."""
    patterns: tuple[str, ...] = ()
    """Regular expressions, in any case."""


_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Tagger:
    """A list, compiled."""

    categories: Mapping[str, re.Pattern[str]]
    exact: Mapping[str, frozenset[str]]
    """Lower-case word -> the categories that may be there where a text has it."""
    begun: Mapping[str, frozenset[str]]
    """The same of words with any ending."""
    always: frozenset[str]
    """Categories with patterns of their own, which no word announces."""

    def found(self, text: str) -> dict[str, str]:
        """Category -> the first piece of the text that is of it."""
        lengths = sorted({len(word) for word in self.begun})
        maybe = set(self.always)
        for word in set(_WORD.findall(text.lower())):
            maybe |= self.exact.get(word, frozenset())
            for length in lengths:
                maybe |= self.begun.get(word[:length], frozenset())
        hits = ((name, self.categories[name].search(text)) for name in sorted(maybe))
        return {name: hit[0] for name, hit in hits if hit is not None}

    def tags(self, text: str) -> list[str]:
        """The categories of a text, sorted."""
        return sorted(self.found(text))

    def tag(self, row: MutableMapping[str, Any]) -> None:
        """Write the tags of a row of `prompts`: of all that its user says, where that is known."""
        said = row.get("messages")
        turns = user_turns(json.loads(said)) if said else []
        turns += later_turns(row.get("next_turns"))
        row["tags"] = self.tags("\n".join(turns)) if turns else []

    def known(self, names: tuple[str, ...], *, where: str) -> None:
        """Refuse a name that is no category.

        Raises:
            RecipeError: naming the nearest.
        """
        for name in names:
            if name not in self.categories:
                near = difflib.get_close_matches(name, self.categories, n=1)
                there = ", ".join(self.categories) or "none"
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {there}"
                raise RecipeError(
                    f"{where}: prompts/{FILE}.yaml has no category {name!r}; {hint}",
                    next=f"edit prompts/{FILE}.yaml",
                )


def tagger_of(workspace: Path | None) -> Tagger:
    """The tagger of a workspace, or the packaged one.

    Raises:
        RecipeError: when the file says something that cannot be read.
    """
    content = rooms.read("prompts", FILE, suffix=".yaml", workspace=workspace)
    return _read(content.text)


@lru_cache(maxsize=4)
def _read(text: str) -> Tagger:
    file = f"prompts/{FILE}.yaml"
    try:
        value = yaml.safe_load(text) or {}
        given = {str(k): Category.model_validate(v) for k, v in value.items()}
        found = {name: _pattern(category) for name, category in given.items()}
    except (yaml.YAMLError, AttributeError, ValidationError, re.error) as bad:
        said = " ".join(str(bad).split())[:200]
        raise RecipeError(f"{file}: {said}", next=f"edit {file}") from bad
    exact: dict[str, set[str]] = {}
    begun: dict[str, set[str]] = {}
    for name, category in given.items():
        for word in category.words:
            first = _WORD.findall(word.lower())
            is_begun = word.endswith("*") and first == [word.lower().removesuffix("*")]
            table = begun if is_begun else exact
            table.setdefault(first[0] if first else "", set()).add(name)
    return Tagger(
        found,
        {word: frozenset(names) for word, names in exact.items()},
        {word: frozenset(names) for word, names in begun.items()},
        frozenset(name for name, category in given.items() if category.patterns),
    )


def _pattern(category: Category) -> re.Pattern[str]:
    words = [_word(word) for word in category.words]
    # A category without anything finds nothing, as an empty pattern would not.
    parts = [rf"\b(?:{'|'.join(words)})\b"] if words else [] if category.patterns else [r"(?!)"]
    return re.compile("|".join([*parts, *category.patterns]), re.IGNORECASE)


def _word(word: str) -> str:
    body = r"\s+".join(re.escape(part) for part in word.removesuffix("*").split())
    return body + (r"\w*" if word.endswith("*") else "")

"""What every section of a recipe has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a recipe: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def without_defaults(body: dict[str, Any], section: type[Section], names: Sequence[str]) -> None:
    """Take out fields that say what they would say unsaid."""
    for name in names:
        default = section.model_fields[name].default
        said = default.model_dump(mode="json") if isinstance(default, Section) else default
        if name in body and body[name] == (list(said) if isinstance(said, tuple) else said):
            del body[name]

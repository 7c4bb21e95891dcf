"""What a model's tokens cost: judges/prices.yaml, by model and by the day from which a price holds.

A recipe's own price goes first. Which line priced a call is kept with the call, so a bill can be
explained after the table has changed.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import Field, ValidationError

from factory import rooms
from factory.errors import RecipeError
from factory.recipe import Endpoint, Price
from factory.recipe.section import Section


class Line(Section):
    """One line of the table."""

    model: str
    since: date = Field(alias="from")
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    batch: float = Field(default=0.5, ge=0, le=1)
    source: str = ""

    def price(self) -> Price:
        """The line as an endpoint has it."""
        return Price(
            input=self.input,
            output=self.output,
            cached_input=self.cached_input,
            batch=self.batch,
            source=f"prices.yaml {self.model} {self.since}",
        )


class _Table(Section):
    prices: tuple[Line, ...] = ()


def price_of(
    model: str, *, workspace: Path | None = None, today: date | None = None
) -> Price | None:
    """The price that holds today; None for a model that is in no table.

    Raises:
        RecipeError: when a table cannot be read, naming the line.
    """
    day = today or datetime.now(UTC).date()
    # The workspace's lines on a model take the place of the packaged ones.
    places = [rooms.packaged("judges"), *([workspace / "judges"] if workspace else [])]
    for place in reversed(places):
        lines = [line for line in _read(place / "prices.yaml") if line.model == model]
        held = [line for line in lines if line.since <= day]
        if held:
            return max(held, key=lambda line: line.since).price()
    return None


def priced(endpoint: Endpoint, *, name: str, workspace: Path | None, budget: bool) -> Endpoint:
    """The endpoint with a price: its recipe's, else the table's, else none.

    Args:
        endpoint: as the recipe has it.
        name: its name in the recipe, for the error.
        workspace: whose prices.yaml goes first.
        budget: whether a budget has to be kept.

    Raises:
        RecipeError: when a budget cannot be kept, because nobody says what the model costs.
    """
    if endpoint.price is not None:
        return endpoint
    found = price_of(endpoint.model, workspace=workspace)
    if found is None and budget and not is_ours(endpoint.base_url or ""):
        where = f"judging.endpoints.{name}.price"
        raise RecipeError(
            f"nothing says what {endpoint.model} costs, so judging.budget_usd cannot be kept",
            next=f"--set {where}.input=2.5 --set {where}.output=10  # dollars per million tokens",
        )
    return endpoint.model_copy(update={"price": found or Price(source="none")})


def is_ours(url: str) -> bool:
    """Whether the server is on this machine or in this network: its tokens have no price."""
    host = urlsplit(url).hostname or ""
    if "." not in host and ":" not in host:
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def _read(file: Path) -> tuple[Line, ...]:
    if not file.is_file():
        return ()
    said = f"judges/{file.name}"
    try:
        value: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _Table.model_validate(value).prices
    except (yaml.YAMLError, UnicodeDecodeError) as bad:
        mark = getattr(bad, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{said}{line}: not YAML", next=f"edit {file}") from bad
    except ValidationError as bad:
        first = bad.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{said}: {where}: {first['msg']}", next=f"edit {file}") from bad

"""What a recipe can say about who answers for judges: servers, vendors, models started here."""

from __future__ import annotations

import os
from datetime import date
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from factory.errors import RecipeError
from factory.recipe.section import Section

PACE = (
    "max_concurrency", "timeout_s", "max_attempts", "price", "rpm", "tpm", "mode", "batch",
    "start_timeout_s",
)  # fmt: skip
"""Fields that change how fast and for how much an endpoint answers, and not what."""
LATER_FIELDS = ("settings", "revision")
"""Fields that are off by default: a recipe that never names them is the recipe it was."""


class Price(Section):
    """US dollars per million tokens."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    batch: float = Field(default=0.5, ge=0, le=1)
    """What a call costs in a vendor's batch, as a share of its price."""
    source: str = "recipe"
    """Whose price it is: `recipe`, or the file of prices with the date from which it holds."""


class Batch(Section):
    """How a vendor's batch interface is used."""

    size: int = Field(default=10_000, gt=0, le=50_000)
    """Calls a batch."""
    poll_s: float = Field(default=60.0, gt=0)
    """Seconds between two looks at a batch that is not done."""


class Endpoint(Section):
    """An OpenAI-compatible server, or a model that is served from here."""

    base_url: str | None = Field(default=None, pattern=r"^https?://")
    """Without it, `model` is a directory or a hub's name, and a vLLM server is started for it."""
    model: str
    revision: str | None = Field(default=None, min_length=1)
    """What stands behind the name, in a word of your own: another word is another judge. For a
    server whose weights change under one name, or two that serve different ones under the same."""
    api_key_env: str | tuple[str, ...] | None = None
    """Environment variables that hold keys, used in turn; the keys themselves are never written."""
    price: Price | None = None
    """By default that of prices.yaml for this model."""
    mode: Literal["online", "batch"] = "online"
    """`batch`: the vendor's batch interface, slower and at a lower price."""
    batch: Batch = Batch()
    max_concurrency: int = Field(default=64, gt=0)
    rpm: int | None = Field(default=None, gt=0)
    """Requests a minute, over all keys."""
    tpm: int | None = Field(default=None, gt=0)
    """Tokens a minute, over all keys: those of the prompt and those that may be written."""
    timeout_s: float = Field(default=120.0, gt=0)
    max_attempts: int = Field(default=6, gt=0)
    in_doubt: Literal["resend", "hold"] = "resend"
    extra_body: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default={})
    """Options of the vLLM server that is started here, as `max_model_len: 8192`."""
    start_timeout_s: float = Field(default=900.0, gt=0)
    """How long that server may take to load its weights."""

    @field_validator("revision", mode="before")
    @classmethod
    def _word(cls, given: object) -> object:
        """YAML reads some words as numbers and days."""
        return str(given) if isinstance(given, int | float | date) else given

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        # The URL is written to the ledger, to logs and to errors; a key in it would be too.
        parts = urlsplit(url or "")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a URL without user, password and query; name a key in api_key_env")
        return url

    @model_validator(mode="after")
    def _one_way(self) -> Endpoint:
        if self.base_url is None and (self.mode == "batch" or self.key_names):
            raise ValueError("mode batch and api_key_env need a base_url")
        if self.base_url is None and self.revision is not None:
            raise ValueError("revision is of a server elsewhere; a directory is known by its bytes")
        if self.base_url is not None and self.settings:
            raise ValueError("settings are of a server that is started here, without base_url")
        return self

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of the environment variables that hold keys."""
        names = self.api_key_env or ()
        return (names,) if isinstance(names, str) else names

    @property
    def url(self) -> str:
        """Where it answers. Of a model that is served from here only once the server runs."""
        if self.base_url is None:
            raise ValueError(f"no server runs for {self.model}")
        return self.base_url

    @property
    def known_as(self) -> str:
        """The model as judgements name it: with its revision, where one is said."""
        return self.model if self.revision is None else f"{self.model}@{self.revision}"

    def api_keys(self) -> tuple[str, ...]:
        """The keys, from the environment.

        Raises:
            RecipeError: when the recipe names a variable that is not set.
        """
        for name in self.key_names:
            if not os.environ.get(name, "").strip():
                raise RecipeError(
                    f"the environment variable {name} is not set", next=f"export {name}=…"
                )
        # From a file a key often has a line's end, which no header may hold.
        keys = tuple(os.environ[name].strip() for name in self.key_names)
        for name, key in zip(self.key_names, keys, strict=True):
            if not (key.isascii() and key.isprintable() and " " not in key):
                raise RecipeError(
                    f"the environment variable {name} holds no key: it has spaces or characters "
                    "that no header may hold",
                    next=f"export {name}=…",
                )
        return keys

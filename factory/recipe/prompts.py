"""What a recipe can say about prompts: where they come from, what is left out, what is drawn."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from factory.recipe.section import Section

Share = Annotated[float, Field(ge=0, lt=1)]
LATER_FIELDS = ("max_tokens", "tokenizer", "drop_tags", "licenses")
"""Fields of `clean` that are off by default: a recipe without them is the recipe it was."""
POLICY = "policy"
"""The model of `making` that is the recipe's own champion."""


class Making(Section):
    """How a maker fills a pool; what is not said here is as the maker's file has it."""

    model: str | None = None
    """A model directory or hub name, or `policy` for the champion when the pool is made."""
    endpoint: str | None = None
    """Instead of a model: a name of judging.endpoints."""
    parents: tuple[str, ...] = ()
    """Pools, listed before this one, whose train prompts it starts from."""
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_writer(self) -> Making:
        if self.model is not None and self.endpoint is not None:
            raise ValueError("model or endpoint, not both")
        return self


class Pool(Section):
    """Prompts from files, from a Hugging Face dataset, or made by a generator."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    files: tuple[str, ...] = ()
    dataset: str | None = None
    """A Hugging Face dataset: `owner/name`, or a directory made by `save_to_disk`."""
    make: str | None = None
    """A generator, as `toyworld`, or a maker of prompts/makers/, as `magpie`."""
    rows: int | None = Field(default=None, gt=0)
    """Read at most so many rows, or make so many prompts (1,000 where it is not said)."""
    map: dict[str, str] = Field(default_factory=dict)
    license: str = ""
    domain: str = ""
    lang: str = ""
    weight: float = Field(default=1.0, gt=0)
    against: tuple[str, ...] = ()
    """Benchmarks that the pool is kept clean of: files, `hf:` names, or pools listed before it."""
    making: Making = Making()
    """With `make`, where it names a file of prompts/makers/: who writes, from what, and how."""

    @model_validator(mode="after")
    def _one_source(self) -> Pool:
        if sum((bool(self.files), self.dataset is not None, self.make is not None)) != 1:
            raise ValueError("a pool needs exactly one of files, dataset, make")
        if self.making != Making() and self.make is None:
            raise ValueError("making goes with make")
        return self


class Splits(Section):
    """Shares of the prompts that are kept from training, by hash."""

    gate: Share = 0.1
    dev: Share = 0.02


class Clean(Section):
    """What is left out of every pool as it is read or made; `drops` keeps each with its reason."""

    near_duplicates: bool = False
    similarity: float = Field(default=0.8, gt=0, le=1)
    """Share of word 3-grams from which on a prompt is a near-duplicate of one that is kept."""
    lang: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = ()
    """Languages to keep, as `en`; a text whose language cannot be told is kept."""
    min_chars: int | None = Field(default=None, gt=0)
    max_chars: int | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    """Most tokens of all messages, by `tokenizer`."""
    tokenizer: str | None = None
    """A model directory, or its tokenizer.json."""
    drop_tags: tuple[str, ...] = ()
    """Categories of prompts/safety.yaml that are left out."""
    licenses: tuple[str, ...] = ()
    """Licences that may stay; by default all, and prompts without one."""

    @model_validator(mode="after")
    def _counts(self) -> Clean:
        if self.max_tokens is not None and self.tokenizer is None:
            raise ValueError("max_tokens needs a tokenizer: a model directory")
        return self


By = Literal["domain", "lang", "tags", "difficulty"]
DIFFICULTIES = ("new", "easy", "medium", "hard", "solved", "hopeless", "flat")
"""By pass rate in earlier rounds: always right is solved, always wrong hopeless, other scores that
are all the same flat."""


class Strata(Section):
    """Parts of a pool that a round draws in fixed shares."""

    by: By | Annotated[tuple[By, ...], Field(min_length=1)]
    """One of them or several: with `[domain, lang]` a stratum is called `math/en`."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Value -> how many times its own share it gets; 1 where a value is not named."""

    @property
    def names(self) -> tuple[str, ...]:
        """What a pool is divided by, in order."""
        return (self.by,) if isinstance(self.by, str) else self.by

    @model_validator(mode="after")
    def _known(self) -> Strata:
        if len(set(self.names)) < len(self.names):
            raise ValueError("by names one thing twice")
        for value in self.weights if self.names == ("difficulty",) else ():
            if value not in DIFFICULTIES:
                near = difflib.get_close_matches(value, DIFFICULTIES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {DIFFICULTIES}"
                raise ValueError(f"weights: no prompt is {value!r}; {hint}")
        return self


class Prompts(Section):
    """Where prompts come from and how many a round uses."""

    pools: tuple[Pool, ...] = Field(min_length=1)
    split: Splits = Splits()
    per_round: int = Field(default=1000, gt=0)
    reuse: bool | Annotated[int, Field(gt=0)] = False
    """Whether a later round may draw a prompt again while fresh ones are left; a number is the most
    rounds that may draw it at all."""
    clean: Clean = Clean()
    strata: Strata | None = None
    steer: bool = False
    """Draw prompts less often whose samples were all right or all wrong in earlier rounds."""

    @model_validator(mode="after")
    def _drawn_again(self) -> Prompts:
        if self.strata is not None and "difficulty" in self.strata.names and not self.reuse:
            raise ValueError(
                "strata by difficulty are of prompts that earlier rounds drew: set reuse to true "
                "or to a number"
            )
        return self

    @model_validator(mode="after")
    def _pools_in_order(self) -> Prompts:
        known: list[str] = []
        for pool in self.pools:
            for parent in pool.making.parents:
                if parent not in known:
                    near = difflib.get_close_matches(parent, known, n=1)
                    hint = f"did you mean {near[0]!r}?" if near else f"there are: {known}"
                    raise ValueError(
                        f"pool {pool.name}: making.parents: no pool before it is called "
                        f"{parent!r}; {hint}"
                    )
            known.append(pool.name)
        return self

"""What a recipe can say: every section, field, default and limit."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from factory.recipe import endpoint as endpoints
from factory.recipe.endpoint import Endpoint
from factory.recipe.prompts import LATER_FIELDS as CLEAN_FIELDS
from factory.recipe.prompts import Clean, Pool, Prompts
from factory.recipe.sampling import LATER_FIELDS, PACE, SETTINGS_PACE, Sampling
from factory.recipe.section import Section, without_defaults
from factory.rows import content_id


class Starter(Section):
    """A first checkpoint made here: random weights, fine-tuned on demonstrations."""

    demonstrations: str
    """A generator of demonstrations, as `toyworld`."""
    rows: int = Field(gt=0)
    architecture: dict[str, Any] = Field(default_factory=dict)
    sft: dict[str, Any] = Field(default_factory=dict)
    """Training settings, as `training.sft`."""


class Policy(Section):
    """The model that is improved: a directory of weights, or a starter made from nothing."""

    model: str | None = None
    starter: Starter | None = None
    line: str = Field(default="policy", pattern=r"^[A-Za-z0-9._-]+$")
    """Name of the champion pointer; two recipes of one line improve the same model."""

    @model_validator(mode="after")
    def _one_source(self) -> Policy:
        if (self.model is None) == (self.starter is None):
            raise ValueError("a policy needs exactly one of model, starter")
        return self


class Judging(Section):
    """Who scores completions."""

    judges: tuple[str, ...] = Field(min_length=1)
    """Names of files in judges/."""
    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    assign: dict[str, str] = Field(default_factory=dict)
    """Judge -> endpoint; a judge that is absent uses the first endpoint."""
    models: dict[str, str] = Field(default={})
    """Reward model's judge -> directory of its weights."""
    budget_usd: float | None = Field(default=None, ge=0)
    comparisons: int = Field(default=4, gt=0)
    """Pairs of completions a prompt that a pairwise judge compares."""
    shard: int = Field(default=2000, gt=0)

    def endpoint_of(self, judge: str) -> str | None:
        """Name of the endpoint a judge asks, or None when there is none."""
        return self.assign.get(judge) or next(iter(self.endpoints), None)


class Pairing(Section):
    """How pairs and SFT examples are built."""

    strategy: str = "best_vs_worst"
    params: dict[str, float | int | str] = Field(default_factory=dict)
    judge: str | None = None
    """Whose scores; by default the first of judging.judges."""
    sft: str | None = "best_of_n"
    sft_params: dict[str, float | int | str] = Field(default_factory=dict)


class Training(Section):
    """How a candidate is trained from the champion."""

    kind: Literal["dpo", "sft"] = "dpo"
    dpo: dict[str, Any] = Field(default_factory=dict)
    sft: dict[str, Any] = Field(default_factory=dict)


class Gate(Section):
    """How a candidate earns promotion on held-out prompts."""

    prompts: int = Field(default=200, gt=0)
    samples: int = Field(default=4, gt=0)
    judge: str | None = None
    """A verifier or pointwise judge; by default the pairing judge."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_win_rate: float = Field(default=0.5, ge=0, lt=1)


class Schedule(Section):
    """When `prefactory deploy` runs the next round."""

    cron: str
    timezone: str = "UTC"


class Recipe(Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    description: str = ""
    seed: int = 0
    rounds: int = Field(default=1, gt=0)
    prompts: Prompts
    policy: Policy
    sampling: Sampling = Sampling()
    judging: Judging
    pairing: Pairing = Pairing()
    training: Training = Training()
    gate: Gate = Gate()
    schedule: Schedule | None = None

    @model_validator(mode="after")
    def _prompts_fit(self) -> Recipe:
        # Makers have a max_tokens of their own, so this is no matter of the section alone.
        context, answer = self.sampling.context, self.sampling.max_tokens
        if context is not None and answer >= context:
            raise ValueError(
                f"sampling.max_tokens is {answer}, which leaves no room for a prompt in a "
                f"max_model_len of {context}"
            )
        return self

    @model_validator(mode="after")
    def _judges_exist(self) -> Recipe:
        for where, judge in (
            ("pairing.judge", self.pairing.judge),
            ("gate.judge", self.gate.judge),
        ):
            if judge is not None and judge not in self.judging.judges:
                raise ValueError(f"{where}: {judge!r} is not one of judging.judges")
        for judge, endpoint in self.judging.assign.items():
            if endpoint not in self.judging.endpoints:
                raise ValueError(f"judging.assign.{judge}: no endpoint is called {endpoint!r}")
        for pool in self.prompts.pools:
            asked = pool.making.endpoint
            if asked is not None and asked not in self.judging.endpoints:
                known = ", ".join(self.judging.endpoints) or "none"
                raise ValueError(
                    f"pool {pool.name}: making.endpoint: judging.endpoints has no {asked!r}; "
                    f"there are: {known}"
                )
        return self

    @property
    def pair_judge(self) -> str:
        """Whose scores make pairs."""
        return self.pairing.judge or self.judging.judges[0]

    @property
    def gate_judge(self) -> str:
        """Whose scores decide on promotion."""
        return self.gate.judge or self.pair_judge

    @property
    def recipe_id(self) -> str:
        """Identity of what the recipe does: everything but how often, when, and how fast.

        A raised budget or another timeout goes on with the same run.
        """
        body = self.model_dump(mode="json", exclude={"rounds", "schedule", "description"})
        body["judging"].pop("budget_usd")
        for unasked in ("exactness", *PACE):
            body["sampling"].pop(unasked)
        for pace in SETTINGS_PACE if self.sampling.engine == "openai" else ():
            body["sampling"]["settings"].pop(pace, None)
        without_defaults(body["judging"], Judging, ("models",))
        for endpoint in body["judging"]["endpoints"].values():
            for pace in endpoints.PACE:
                endpoint.pop(pace)
            without_defaults(endpoint, Endpoint, endpoints.LATER_FIELDS)
            # What becomes of a call in doubt is no part of what is asked.
            endpoint["in_doubt"] = "resend"
        # What is off is not part of a recipe: the runs of those who never name it go on.
        without_defaults(body["prompts"], Prompts, ("clean", "strata", "steer"))
        without_defaults(body["prompts"].get("clean", {}), Clean, CLEAN_FIELDS)
        without_defaults(body["sampling"], Sampling, LATER_FIELDS)
        for pool in body["prompts"]["pools"]:
            without_defaults(pool, Pool, ("against", "making"))
        return content_id("recipe", body)

    @property
    def run_id(self) -> str:
        """Id of the run of this recipe: the same recipe goes on with the same run."""
        return content_id("run", self.recipe_id)

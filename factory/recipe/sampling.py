"""What a recipe can say about sampling: who answers, how often, and how the answers differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from factory.recipe.section import Section
from factory.rows import SamplingParams

Weight = Annotated[float, Field(gt=0)]
Marker = Annotated[str, Field(min_length=1)]
LATER_FIELDS = (
    "references_per_prompt", "vary", "adaptive", "turns", "fold_system", "thinking",
)  # fmt: skip
"""Fields that are off by default: a recipe that never names them is the recipe it was."""
PACE = ("workers", "stall_s", "start_s", "budget_usd")
"""Fields that say how fast and for how much it is sampled, not what: no part of a recipe's id."""
SETTINGS_PACE = ("price", "in_doubt", "health_s")
"""The same of `settings`, where the engine calls servers."""
MEANING = (
    "dtype", "quantization", "quantization_config", "kv_cache_dtype", "hf_overrides", "load_format",
    "extra_body",
)  # fmt: skip
"""Those of `settings` that change what an engine answers: they are part of a completion's
parameters, so another one asks anew and never serves what was sampled without it."""
PLAIN = "none"
"""The name that stands for no principle."""


class Reference(Section):
    """Another model that answers the same prompts."""

    name: str
    model: str
    n: int = Field(default=1, gt=0)


class Vary(Section):
    """What is drawn anew for every sample of a train prompt: value -> weight, or a list of values.

    What is not named is as `sampling` has it. Held-out prompts are never varied.
    """

    temperature: dict[Annotated[float, Field(ge=0)], Weight] = Field(default_factory=dict)
    top_p: dict[Annotated[float, Field(gt=0, le=1)], Weight] = Field(default_factory=dict)
    min_p: dict[Annotated[float, Field(ge=0, le=1)], Weight] = Field(default_factory=dict)
    principles: dict[str, Weight] = Field(default_factory=dict)
    """Names of files in prompts/principles/; `none` is no principle."""

    @field_validator("*", mode="before")
    @classmethod
    def _alike(cls, given: Any) -> Any:
        """A list is a distribution whose values are equally likely."""
        if not isinstance(given, (list, tuple)):
            return given
        listed: list[Any] = list(given)
        if any(listed.count(value) > 1 for value in listed):
            raise ValueError("a value is listed twice; weights are written {value: weight}")
        return dict.fromkeys(listed, 1.0)


class Adaptive(Section):
    """Ask on until a prompt has a good and a bad answer, by the pairing judge.

    Without `good` and `bad` any difference between a finished answer and a worse one counts.
    """

    up_to: int = Field(gt=0)
    """Most samples of the policy for a prompt."""
    step: int = Field(default=4, gt=0)
    """Samples that are added at a time."""
    good: float | None = None
    """From this score on an answer is good."""
    bad: float | None = None
    """Up to this score an answer is bad; by default whatever is not good."""

    @model_validator(mode="after")
    def _apart(self) -> Adaptive:
        if self.good is not None and self.bad is not None and self.bad >= self.good:
            raise ValueError(f"bad must be less than good, which is {self.good:g}")
        return self


class Exactness(Section):
    """The engine's log-probabilities beside a float32 forward pass, in nats a token, every round.

    Two libraries round differently, so a difference is normal; one this large means other weights,
    another prompt or a broken kernel. Nothing of this is part of the recipe's identity.
    """

    rows: int = Field(default=16, ge=0)
    """Completions that are compared; 0 is off."""
    engines: tuple[Literal["vllm", "transformers", "openai", "echo"], ...] = ("vllm",)
    """Whose completions are compared, where they come with log-probabilities."""
    max_median: float = Field(default=0.05, gt=0)
    max_p99: float = Field(default=1.0, gt=0)


class Sampling(Section):
    """How completions are drawn."""

    engine: Literal["auto", "vllm", "transformers", "openai", "ray", "echo"] = "auto"
    n: int = Field(default=8, gt=0)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    min_p: float = Field(default=0.0, ge=0, le=1)
    max_tokens: int = Field(default=1024, gt=0)
    stop: tuple[Marker, ...] = ()
    repetition_penalty: float = Field(default=1.0, gt=0)
    max_model_len: int | None = Field(default=None, gt=0)
    """Longest prompt plus completion in tokens; by default the model's own context."""
    shard: int = Field(default=4096, gt=0)
    """Completions a shard: one task, one commit."""
    workers: int | None = Field(default=None, gt=0)
    """Engines side by side; by default one for each group of free GPUs, or one on a CPU."""
    stall_s: float = Field(default=900.0, gt=0)
    """Seconds without a step, inside a batch, after which an engine is ended as hung."""
    start_s: float = Field(default=3600.0, gt=0)
    """Seconds that an engine may take to load a model."""
    budget_usd: float | None = Field(default=None, ge=0)
    """What calls to servers may cost in a run; a hard stop that a raised budget goes on from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Passed to the engine as they are."""
    references: tuple[Reference, ...] = ()
    references_per_prompt: int | None = Field(default=None, gt=0)
    """How many of the references answer each prompt, chosen by hash; by default all."""
    vary: Vary = Vary()
    adaptive: Adaptive | None = None
    turns: int = Field(default=1, gt=0)
    """User turns that are answered, each after the model's own answer to the one before."""
    fold_system: bool = False
    """Where a template rejects a system turn: put it in front of the first user turn."""
    thinking: tuple[Marker, Marker] | None = None
    """What begins and ends reasoning; by default the markers that the tokenizer has."""
    exactness: Exactness = Exactness()

    @model_validator(mode="after")
    def _possible(self) -> Sampling:
        wanted, there = self.references_per_prompt, len(self.references)
        if wanted is not None and wanted > there:
            raise ValueError(f"references_per_prompt is {wanted}, of {there} references")
        if self.adaptive is not None and self.adaptive.up_to <= self.n:
            raise ValueError(f"adaptive.up_to must be more than n, which is {self.n}")
        if self.thinking is not None and self.thinking[0] == self.thinking[1]:
            raise ValueError("thinking: what begins reasoning must differ from what ends it")
        return self

    @property
    def context(self) -> int | None:
        """Longest prompt plus completion, as it is said here or to the engine; None: nowhere."""
        known = (self.max_model_len, self.settings.get("max_model_len"))
        return min((n for n in known if isinstance(n, int) and n > 0), default=None)

    def params(self) -> SamplingParams:
        """The part that is a completion's identity."""
        return SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            max_tokens=self.max_tokens,
            stop=self.stop,
            repetition_penalty=self.repetition_penalty,
            fold_system=self.fold_system,
            thinking=self.thinking,
            settings=_meant(self.settings, engine=self.engine),
        )


def _meant(settings: Mapping[str, Any], *, engine: str) -> str:
    """The settings of `MEANING` that are set, as JSON; "auto" is what is not set."""
    found = {name: settings[name] for name in MEANING if settings.get(name) not in (None, "auto")}
    if engine == "echo" or (engine == "ray" and settings.get("engine") == "echo"):
        # All other engines say what the weights say. What was only rehearsed is no model's answer.
        found["engine"] = "echo"
    return json.dumps(found, sort_keys=True, default=str) if found else ""

"""The front matter of a judge's file: every field, its default and its limits.

What cannot be run is found here, when the file is read, before the first paid call.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from factory.judging import parse

Kind = Literal[
    "pointwise", "pairwise", "listwise", "revise", "verifier", "reward_model", "panel", "human"
]
Rule = Literal["mean", "minimum", "majority", "borda", "bradley_terry", "first_decisive"]
ASKING: frozenset[str] = frozenset({"pointwise", "pairwise", "listwise", "revise"})
"""Kinds that ask a model over an endpoint, with the file's body."""
_PARSERS = {
    "pointwise": parse.POINTWISE,
    "pairwise": parse.PAIRWISE,
    "listwise": parse.LISTWISE,
    "revise": parse.REVISE,
}
_Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScaleSpec(Strict):
    """The ends of the judge's scale, both included."""

    min: Annotated[float, Field(allow_inf_nan=False)]
    max: Annotated[float, Field(allow_inf_nan=False)]
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> ScaleSpec:
        if self.min >= self.max:
            raise ValueError("min must be below max")
        return self


class Aspect(Strict):
    """One question of a judge: one call per aspect and completion."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    ask: str
    levels: dict[int, str] = {}
    """What each score means."""
    note: str = ""


class Thresholds(Strict):
    """Rates above which a judge is stopped before it costs more, and what an audit asks of it."""

    unparsed: _Share = 1.0
    refused: _Share = 1.0
    truncated: _Share = 1.0
    error: _Share = 1.0
    after: Annotated[int, Field(ge=1)] = 100
    """Judgements before the rates are believed."""
    agreement: _Share = 0.0
    """Least agreement with people, without ties, that an audit lets pass."""
    consistent: _Share = 0.0
    """Pairwise: least share of pairs with one verdict in both orders that an audit lets pass."""


class Panel(Strict):
    """Several judges and the rule that makes one verdict of theirs.

    No call is made, but by a panel `in_turn`: it asks its members itself, as far as is needed.
    """

    members: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of files in judges/."""
    rule: Rule = "mean"
    weights: dict[str, Annotated[float, Field(ge=0)]] | Literal["agreement"] = {}
    """Member -> weight (1 where unnamed), or `agreement`: from each member's agreement with people
    so far, log(a / (1 - a)), which is right for members that err independently (Nitzan and Paroush
    1982, doi 10.2307/2526438)."""
    passes: _Share = 0.5
    """majority: the share of its scale from which on a member's score is a vote for."""
    decisive: _Share = 0.0
    """first_decisive: a member decides where its scores differ by more than this share of its
    scale, or for pairs where its P(better) is further than this from a half."""
    absent: Literal["fail", "skip"] = "fail"
    """What a member without a verdict does: fail the panel's verdict, or leave it to the others."""
    in_turn: bool = False
    """Ask member after member, and no further than a prompt's pair needs. first_decisive: a cascade
    in which the next member is asked where those before it did not decide; the last one decides.
    mean: question after question (each aspect of each member), until best and worst are settled."""
    stop: Annotated[float, Field(gt=0, le=1)] | None = None
    """in_turn mean: a lead of this share of one question's scale settles. Without it only a lead
    that the questions left cannot make good does, and the pair is the one of all questions."""
    order: Literal["file", "drawn"] = "file"
    """in_turn mean: questions in the order of the files, or in one that is drawn by hash for each
    prompt, so that no question decides more prompts than another."""

    @model_validator(mode="after")
    def _named(self) -> Panel:
        if len(set(self.members)) < len(self.members):
            raise ValueError("two members have one name")
        self._turns()
        if len(self.members) < 2 and not (self.in_turn and self.rule == "mean"):
            raise ValueError("members: a panel has at least two")
        unknown = sorted(set(self.weights) - set(self.members)) if self.weighted else []
        if unknown:
            raise ValueError(f"weights: {unknown[0]!r} is no member")
        return self

    def _turns(self) -> None:
        if self.in_turn and self.rule not in ("mean", "first_decisive"):
            raise ValueError("in_turn: only the rules mean and first_decisive ask in turn")
        if self.in_turn and self.weights:
            raise ValueError("in_turn: members that are asked in turn have no weights")
        questions = self.in_turn and self.rule == "mean"
        if (self.stop is not None or self.order != "file") and not questions:
            raise ValueError("stop and order belong to the rule mean with in_turn")

    @property
    def weighted(self) -> bool:
        """Whether weights are written in the file."""
        return isinstance(self.weights, dict)


class Reward(Strict):
    """A sequence classifier that scores a conversation: raw logits, on the model's own scale."""

    model: str = ""
    """A directory of weights; `judging.models` of the recipe goes before it."""
    engine: Literal["transformers", "vllm"] = "transformers"
    output: Annotated[int, Field(ge=0)] | None = None
    """Which logit is the score; needed where the model has several."""
    dtype: str = "auto"
    batch: Annotated[int, Field(ge=1)] = 16
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longest conversation in tokens; longer ones are errors, never cut. By default the model's."""


class Front(Strict):
    """The front matter of a judge's file."""

    kind: Kind
    description: str
    scale: ScaleSpec = ScaleSpec(min=0, max=1)
    aspects: tuple[Aspect, ...] = ()
    orders: Literal["both", "one"] = "both"
    """Pairwise: ask both orders, or one that is drawn by hash. Listwise: the order drawn by hash
    and its reverse, or the first alone."""
    at_most: Annotated[int, Field(ge=2, le=26)] = 8
    """Listwise: completions in one call; more are shared out over several calls."""
    parser: str = ""
    parser_args: dict[str, str | int | float | bool] = {}
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: Annotated[int, Field(ge=1, le=20)] | None = None
    """How many top log-probabilities to ask for."""
    response_format: dict[str, object] | None = None
    """Passed to the endpoint as it is, for servers with structured output."""
    json_schema: dict[str, object] | None = None
    """The answer's JSON schema: asked for as strict structured output. An endpoint without it says
    `extra_body: {response_format: null}`, and the words of the body must do."""
    corrections: Annotated[int, Field(ge=0, le=5)] = 0
    """How often a judge is told that its reply has no verdict and asked again. Each is a call."""
    verifier: str = ""
    verifier_args: dict[str, object] = {}
    timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """Verifiers in a child process: seconds a text may take."""
    panel: Panel | None = None
    reward: Reward | None = None
    max_chars: Annotated[int, Field(ge=1)] | None = None
    """Texts above it are not sent: a row with status `error`, never a cut text."""
    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _whole(self) -> Front:
        self._belongs("verifier", self.verifier or self.verifier_args, self.verifier)
        self._belongs("panel", self.panel, self.panel)
        self._belongs("reward_model", self.reward, self.reward, field="reward")
        if self.kind in ASKING:
            self._asks()
        elif self.parser or self.corrections:
            raise ValueError(f"kind {self.kind} asks nobody: it has no parser and no corrections")
        return self

    def _belongs(self, kind: str, given: object, needed: object, *, field: str = "") -> None:
        field = field or kind
        if given and self.kind != kind:
            raise ValueError(f"`{field}` belongs to kind {kind}, not {self.kind}")
        if self.kind == kind and not needed:
            raise ValueError(f"a {kind} judge needs `{field}`")

    def _asks(self) -> None:
        fitting = _PARSERS[self.kind]
        if self.parser not in fitting:
            near = difflib.get_close_matches(self.parser, fitting, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"parser {self.parser!r} is none for {self.kind}{hint} "
                f"(there are {', '.join(sorted(fitting))})"
            )
        if self.parser.startswith("logprob_") and self.logprobs is None:
            raise ValueError(f"parser {self.parser} needs `logprobs`")
        if self.parser == "logprob_rating" and not 0 <= self.scale.min <= self.scale.max < 10:
            raise ValueError(
                "parser logprob_rating reads one token, and many tokenizers write 10 as two: the "
                "scale must lie within 0 and 9"
            )
        if self.response_format is not None and self.json_schema is not None:
            raise ValueError("`json_schema` and `response_format` say the same: keep one")
        names = [a.name for a in self.aspects]
        if len(set(names)) < len(names):
            raise ValueError("two aspects have one name")

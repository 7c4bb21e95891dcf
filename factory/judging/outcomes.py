"""What a judge can answer, as values: a `Reply` is what came back, a `Verdict` is what it means.

A verdict is typed (law 6): only `ok` carries a score or a winner, every other status carries a
short stable reason instead. Nothing here has a default score.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from factory.rows import Status

Winner = Literal["first", "second", "tie"]

TokenLogprobs = Sequence[Sequence[object]]
"""Top tokens of one position: `[[token, natural-log probability], ...]`."""


def storable(text: str) -> str:
    """The text without what JSON, Parquet or PostgreSQL refuse: lone surrogates and NUL."""
    return (
        text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One judgement, typed. `winner` and `p_first` speak of the order in which texts were shown."""

    status: Status
    score: float | None = None
    """Pointwise and verifier: on the judge's own scale. Pairwise: signed strength for the first."""
    winner: Winner | None = None
    p_first: float | None = None
    """Pairwise: the probability that the first shown is better; 0.5 is a tie."""
    reason: str = ""
    """Why the status is not `ok`; stable words, never model output."""
    rationale: str | None = None

    def __post_init__(self) -> None:
        """A failed verdict has no value, a good one has exactly one."""
        valued = self.score is not None or self.winner is not None
        if valued != (self.status == "ok"):
            raise ValueError(f"a verdict with status {self.status} and value {valued}")


def good(score: float, *, rationale: str | None = None, reason: str = "") -> Verdict:
    """A parsed score."""
    return Verdict(status="ok", score=score, rationale=rationale, reason=reason)


def failed(status: Status, reason: str) -> Verdict:
    """A verdict without a value."""
    return Verdict(status=status, reason=reason)


def preference(p_first: float, *, strength: float | None = None) -> Verdict:
    """A pairwise verdict from the probability that the first shown is better."""
    winner: Winner = "tie" if p_first == 0.5 else "first" if p_first > 0.5 else "second"
    return Verdict(status="ok", p_first=p_first, winner=winner, score=strength)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an endpoint answered to one call, as it is stored in the ledger."""

    text: str = ""
    finish_reason: str = "stop"
    refusal: str | None = None
    top_logprobs: Sequence[TokenLogprobs] | None = None
    """Per generated token, where the judge's file asked for it."""
    model: str = ""
    """The model name that the endpoint reported."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    error: str = ""
    """Non-empty when no answer came: a stable word such as `http_500`, `timeout`, `html`."""

    def dumps(self) -> str:
        """JSON, without empty fields."""
        # Not dataclasses.asdict, which copies every log-probability: this runs once per call.
        values = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        kept = {name: value for name, value, default in values if value != default}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def loads(text: str) -> Reply:
        """The inverse of `dumps`.

        Raises:
            ValueError: when the text is not such a JSON object.
        """
        value: Any = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("a stored reply is a JSON object")
        return Reply(**value)

    @property
    def raw(self) -> str:
        """What the judgement row keeps: the text, or JSON where log-probabilities decide."""
        if self.top_logprobs is None:
            return self.text or self.refusal or ""
        return json.dumps(
            {"text": self.text, "top_logprobs": self.top_logprobs}, ensure_ascii=False
        )


def reply_of_raw(raw: str, status: Status) -> Reply:
    """A reply again from a judgement row's `raw` and `status`, for a parser that reads it anew."""
    finish = "length" if status == "truncated" else "stop"
    if raw.startswith('{"text"'):
        try:
            value = json.loads(raw)
            text, top = value["text"], value["top_logprobs"]
            if isinstance(text, str) and _are_logprobs(top):
                return Reply(text=text, top_logprobs=top, finish_reason=finish)
        except (ValueError, KeyError, RecursionError):
            pass  # the judge itself wrote text that begins like that
    return Reply(text=raw, finish_reason=finish)


def _are_logprobs(value: Any) -> bool:
    """Whether it is `[[[token, log-probability], ...], ...]`, which a judge's own JSON is not."""
    try:
        return all(
            isinstance(token, str) and isinstance(logprob, int | float)
            for tops in value
            for token, logprob in tops
        )
    except (TypeError, ValueError):
        return False

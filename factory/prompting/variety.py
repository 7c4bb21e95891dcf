"""How answers to one prompt differ: which references give one, and with which parameters.

Everything is drawn by hash of the prompt, the model and the sample's place, so a draw can be made
again, and more samples of a prompt leave the first ones as they were. A roster per prompt is Tulu
3's plan (arXiv 2411.15124), principles as system turns are UltraFeedback's (arXiv 2310.01377).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from factory.rows import SamplingParams, share_of

Shares = Mapping[float, float] | Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """Base parameters, and for some of their fields a distribution: value -> weight."""

    base: SamplingParams
    fields: Mapping[str, Shares] = field(default_factory=lambda: dict[str, Shares]())

    def of(self, prompt_id: str, *, model_id: str, seed: int, sample: int) -> SamplingParams:
        """The parameters of one sample of one prompt, counted from 0 over all parameters."""
        drawn: dict[str, Any] = {}
        for name, shares in self.fields.items():
            if shares:
                salt = f"vary {seed} {model_id} {sample} {name}"
                drawn[name] = _pick(shares, share_of(prompt_id, salt))
        return replace(self.base, **drawn)

    def counts(
        self, prompt_id: str, *, model_id: str, seed: int, n: int, known: int = 0
    ) -> dict[SamplingParams, int]:
        """Samples of each set of parameters among the first `n`.

        With `known`, only of the sets that samples after the first `known` have.
        """
        if not any(self.fields.values()):
            return {self.base: n}
        drawn = [self.of(prompt_id, model_id=model_id, seed=seed, sample=i) for i in range(n)]
        fresh = set(drawn[known:])
        return {params: k for params, k in Counter(drawn).items() if params in fresh}


def _pick(shares: Shares, share: float) -> float | str:
    """The value whose part of the weights holds the share; values in order, so files may not be."""
    ordered = sorted(shares.items())
    left = share * sum(weight for _, weight in ordered)
    for value, weight in ordered:
        left -= weight
        if left < 0:
            return value
    return ordered[-1][0]


def roster(model_ids: Sequence[str], *, k: int | None, prompt_id: str, seed: int) -> list[str]:
    """The `k` models of a roster that answer a prompt; all of them where `k` is None.

    Each model draws a number for each prompt and the lowest win, so a model that joins the roster
    takes prompts from others but changes nothing else.
    """
    if k is None:
        return list(model_ids)
    lot = {m: share_of(prompt_id, f"roster {seed} {m}") for m in model_ids}
    return sorted(lot, key=lambda m: (lot[m], m))[:k]

"""Draws fewer prompts that teach nothing: always right or always wrong before, so no pairs.

A prompt's weight is the chance that its next samples hold both better and worse ones, given what
earlier rounds scored: with `a` above and `b` below the middle of its scores and Jeffreys' prior,
the pass rate is Beta(a + 1/2, b + 1/2) and the weight 1 - E[p^n] - E[(1-p)^n]. Nothing is ruled
out: a prompt that was always wrong comes back now and then, when the policy may have learned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from factory.store import Store

_PAST = """
    with earlier as (
        select prompt_id, model_id, params_id, seed, max(n) as samples from draws
        where run_id = $run_id and round < $round and purpose = 'train'
        group by prompt_id, model_id, params_id, seed
    ),
    scored as (
        select c.prompt_id, s.score, s.kind,
               min(s.score) over of_prompt as low, max(s.score) over of_prompt as high
        from earlier
        join completions c using (prompt_id, model_id, params_id, seed)
        join scores s on s.completion_id = c.completion_id and s.judge = $judge
        where c.sample_idx < earlier.samples
        window of_prompt as (partition by c.prompt_id)
    )
    select prompt_id, count(*) as n, count(*) filter (score > (low + high) / 2) as above,
           any_value(low) as low, any_value(high) as high, min(kind) as kind
    from scored
    group by prompt_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steer:
    """Whose scores steer a draw, and how many samples each drawn prompt will get."""

    judge: str
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What earlier rounds of a run scored on one prompt."""

    n: int
    above: int
    """Of `n`: how many scored above the middle between the prompt's lowest and highest."""
    flat: str = ""
    """`right`, `wrong` or `equal` when two or more scores are all the same."""

    @property
    def difficulty(self) -> str:
        """A stratum: `new`, `solved`, `hopeless` or `flat`, else by pass rate.

        `easy` from three quarters on, `hard` up to one, `medium` between; a single score says
        nothing yet.
        """
        if self.n < 2:
            return "new"
        if self.flat:
            return {"right": "solved", "wrong": "hopeless"}.get(self.flat, "flat")
        rate = self.above / self.n
        return "easy" if rate >= 0.75 else "hard" if rate <= 0.25 else "medium"

    def weight(self, samples: int) -> float:
        """Chance, in (0, 1), that `samples` new completions differ in score.

        One completion differs from none, so it is counted with another (a reference's, or that of
        a later round): its chance would be 0 for every prompt, and steering without a choice.
        """
        samples = max(2, samples)
        a, b = self.above + 0.5, self.n - self.above + 0.5
        return 1 - _all_of(a, b, samples) - _all_of(b, a, samples)


UNSEEN = Past(n=0, above=0)


def _all_of(a: float, b: float, n: int) -> float:
    """E[p^n] for p ~ Beta(a, b)."""
    return math.exp(
        math.lgamma(a + n) - math.lgamma(a) + math.lgamma(a + b) - math.lgamma(a + b + n)
    )


def past_scores(store: Store, *, run_id: str, round: int, judge: str) -> dict[str, Past]:
    """What rounds before `round` scored, prompt by prompt; drawing a round again gives the same."""
    rows = store.rows(_PAST, {"run_id": run_id, "round": round, "judge": judge})
    return {
        row["prompt_id"]: _past(row["n"], row["above"], row["low"], row["high"], row["kind"])
        for row in rows
    }


def _past(n: int, above: int, low: float, high: float, kind: str) -> Past:
    if low < high:
        return Past(n=n, above=above)
    right = kind == "verifier" and low >= 0.5
    flat = ("right" if right else "wrong") if kind == "verifier" else "equal"
    # Scores that are all the same count as one side, whichever side that is.
    return Past(n=n, above=n if right else 0, flat=flat if n > 1 else "")


def steered(share: float, weight: float) -> float:
    """The place of a prompt in the order of a draw, lowest first.

    Weighted sampling without replacement (Efraimidis and Spirakis 2006) from the prompt's fixed
    number; equal weights keep the order of the shares.
    """
    return -math.log1p(-share) / weight


def said(past: Mapping[str, Past], drawn: Iterable[str], *, judge: str) -> list[str]:
    """How many prompts gave nothing before, and how many of them are drawn all the same."""
    taken = set(drawn)
    notes: list[str] = []
    for flat, words in (
        ("right", "always right"), ("wrong", "always wrong"), ("equal", "always scored the same"),
    ):  # fmt: skip
        those = [prompt for prompt, one in past.items() if one.flat == flat]
        if those:
            again = sum(prompt in taken for prompt in those)
            notes.append(
                f"{len(those)} train prompts were {words} in earlier rounds ({judge}) and are "
                f"drawn less: {again} of them this round"
            )
    return notes

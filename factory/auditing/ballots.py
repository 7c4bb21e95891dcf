"""Who said what on which unit: the votes that agreement is counted on.

A unit is two completions of a prompt (the classes are: the one is better, a tie, the other is
better) or one completion and aspect (the classes are its scores). A rater is a judge or a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from factory.store import Store

Unit = tuple[str, ...]
Level = Literal["pairs", "completions"]
GROUPS = ("pool", "source", "domain", "lang")
"""What verdicts can be told apart by: columns of prompts."""

_PAIRS = """
select
  r.judge as rater, r.kind, r.prompt_id, [r.one_id, r.other_id] as unit,
  case when r.p_one is not null then sign(r.p_one - 0.5) end as class, r.p_one as value
from rated_pairs r
order by r.prompt_id, r.one_id, r.other_id, r.judge
"""
_COMPLETIONS = """
select
  r.judge as rater, r.kind, r.prompt_id, [r.completion_id, r.aspect] as unit,
  r.score as class, r.score as value
from rated_completions r
order by r.prompt_id, r.completion_id, r.aspect, r.judge
"""
_GROUPS = """
select prompt_id, struct_pack(pool, source, domain, lang) as values from prompts
"""


@dataclass(slots=True)
class Ballots:
    """Votes of one level: rater -> unit -> class, None where the rater failed."""

    level: Level
    votes: dict[str, dict[Unit, float | None]] = field(default_factory=dict)
    values: dict[str, dict[Unit, float]] = field(default_factory=dict)
    """Rater -> unit -> P(the one is better), or the score."""
    kinds: dict[str, str] = field(default_factory=dict)
    prompts: dict[Unit, str] = field(default_factory=dict)

    def people(self) -> list[str]:
        """Raters that are people."""
        return sorted(r for r, kind in self.kinds.items() if kind == "human")

    def judges(self) -> list[str]:
        """Raters that are not."""
        return sorted(r for r, kind in self.kinds.items() if kind != "human")

    def prompts_of(self, units: Iterable[Unit]) -> list[str]:
        """The prompt of each unit, in order."""
        return [self.prompts[unit] for unit in units]

    def within(self, prompt_ids: set[str]) -> Ballots:
        """The votes on these prompts alone."""
        return Ballots(
            level=self.level,
            votes={
                rater: {u: c for u, c in votes.items() if self.prompts[u] in prompt_ids}
                for rater, votes in self.votes.items()
            },
            values={
                rater: {u: v for u, v in values.items() if self.prompts[u] in prompt_ids}
                for rater, values in self.values.items()
            },
            kinds=self.kinds,
            prompts=self.prompts,
        )


def load(store: Store, level: Level) -> Ballots:
    """Every vote of the store on one level."""
    ballots = Ballots(level)
    for r in store.rows(_PAIRS if level == "pairs" else _COMPLETIONS):
        unit, rater = tuple(r["unit"]), r["rater"]
        ballots.kinds[rater] = r["kind"]
        ballots.prompts[unit] = r["prompt_id"]
        ballots.votes.setdefault(rater, {})[unit] = r["class"]
        if r["value"] is not None:
            ballots.values.setdefault(rater, {})[unit] = r["value"]
    return ballots


def groups(store: Store, by: str) -> dict[str, set[str]]:
    """Value of a prompt column -> the prompts that have it."""
    found: dict[str, set[str]] = {}
    for r in store.rows(_GROUPS):
        found.setdefault(r["values"][by] or "", set()).add(r["prompt_id"])
    return dict(sorted(found.items()))


def modes(classes: Iterable[float]) -> list[float]:
    """The most frequent classes, sorted: several where they are equally frequent."""
    count = Counter(classes)
    most = max(count.values(), default=0)
    return sorted(c for c, n in count.items() if n == most)


def majority(
    ballots: Ballots, raters: Sequence[str], *, leave_out: str | None = None
) -> dict[Unit, float]:
    """Unit -> the class that most of these raters gave; a unit they are split on has none."""
    said: dict[Unit, list[float]] = {}
    for rater in raters:
        if rater != leave_out:
            for unit, vote in ballots.votes.get(rater, {}).items():
                if vote is not None:
                    said.setdefault(unit, []).append(vote)
    found = {unit: modes(votes) for unit, votes in said.items()}
    return {unit: most[0] for unit, most in found.items() if len(most) == 1}


def paired(
    votes: Mapping[Unit, float | None], reference: Mapping[Unit, float]
) -> tuple[list[Unit], list[float], list[float], int]:
    """Units that both have a class for, both classes, and on how many the rater failed."""
    units: list[Unit] = []
    mine: list[float] = []
    theirs: list[float] = []
    failed = 0
    for unit, vote in votes.items():
        if unit not in reference:
            continue
        if vote is None:
            failed += 1
            continue
        units.append(unit)
        mine.append(vote)
        theirs.append(reference[unit])
    return units, mine, theirs, failed

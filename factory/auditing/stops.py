"""`stops`: how early a panel that asks in turn may stop, tried out on answers that are there.

Every pair that people decided and of which the members have answered everything is played again
under each stop, in every order that its file may draw, by the functions that decide in a run.
Nothing is asked or paid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from factory.auditing import ballots
from factory.auditing.choosing import CALLS, COST, MOST_LOSS, WHOLE, Measured, chosen, measured
from factory.auditing.numbers import Table
from factory.errors import UserError
from factory.judging import files
from factory.judging.files import Judge
from factory.judging.front import Panel
from factory.judging.panels import needs
from factory.judging.panels.rules import Member
from factory.store import Store

STOPS = (None, 0.75, 0.5, 0.25, 0.1)
"""A lead of 0.1 is any lead at all on the scales in use."""
MOST_ORDERS = 24
"""Of a panel that draws its order: all orders of four questions."""
_ANSWERS = """
select judge, prompt_id, completion_id, aspect, score, coalesce(cost_microusd, 0) as cost
from rated_completions
where list_contains($judges, judge) and kind <> 'human'
"""

Question = tuple[int, str]
"""Number of the member, and aspect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A pair that people decided, with every answer of the panel's members."""

    prompt_id: str
    first_better: bool
    """What people say."""
    shares: Mapping[Question, tuple[float | None, float | None]]
    """Of both answers, in [0, 1]; None where the judge gave no verdict."""
    costs: Mapping[Question, float]
    """Of both calls, in micro-dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """The table, and what to write into the panel's file; None where no choice can be made."""

    table: Table
    write: dict[str, Any] | None
    said: str
    """The choice in one sentence."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"write": self.write, "said": self.said, self.table.name: self.table.rows}


def stops(
    store: Store,
    panel: str,
    *,
    reference: Sequence[str] | None = None,
    most_loss: float = MOST_LOSS,
) -> Stops:
    """Try every stop of a panel, and choose one.

    Args:
        store: the workspace's store.
        panel: name of a panel's file, of `rule: mean` and `in_turn`.
        reference: raters whose majority is right; everybody of kind `human` by default.
        most_loss: points of agreement that the choice may lose, by its whole 95 % interval.

    Raises:
        UserError: when the file is another kind of judge, or no pair has everything that is needed.
    """
    spec, members = _read(panel, store)
    pairs = _answered(store, members, reference)
    if not pairs:
        raise UserError(
            f"no pair here was decided by people and answered in full by {_named(members)}",
            next=f"prefactory judge --judge {members[0].name}, on prompts that people labelled",
        )
    prompts = [pair.prompt_id for pair in pairs]
    whole = np.array([_whole(pair) for pair in pairs])
    orders = [_orders(pair, spec.order) for pair in pairs]
    made = {
        _words(stop): np.array(
            [_expected(pair, listed, stop=stop) for pair, listed in zip(pairs, orders, strict=True)]
        )
        for stop in STOPS
    }
    priced = bool(whole[:, COST].sum())
    if not priced:  # recorded answers cost nothing: what is saved is calls
        for plan in (whole, *made.values()):
            plan[:, COST] = plan[:, CALLS]
    best = chosen(whole, made, prompts, most_loss=most_loss)
    rows = [_row("everything", measured(whole, whole, prompts), priced)]
    rows += [_row(name, measured(whole, m, prompts), priced) for name, m in made.items()]
    rows.append(_row("chosen on the other prompts", best.measured, priced))
    title = f"{panel}: agreement with people lost by stopping early, in points"
    enough = best.measured.loss.low is not None
    named = {_words(stop): stop for stop in STOPS}
    write = {"stop": named[best.plan]} if enough and best.plan != WHOLE else None
    said = (
        f"too few prompts to choose by: {len(set(prompts))}" if not enough
        else f"nothing is shown to lose less than {most_loss:g} points: ask everything"
        if write is None
        else f"leave `stop` out of judges/{panel}.md" if write["stop"] is None
        else f"write into judges/{panel}.md: {best.plan}"
    )  # fmt: skip
    return Stops(table=Table("stops", title, rows), write=write, said=said)


def _read(panel: str, store: Store) -> tuple[Panel, list[Judge]]:
    spec = files.load(panel, workspace=store.workspace).front.panel
    if spec is None or not spec.in_turn or spec.rule != "mean":
        raise UserError(
            f"judges/{panel}.md is no panel that asks question after question (in_turn mean)",
            next="prefactory stops early-stop",
        )
    return spec, [files.load(name, workspace=store.workspace) for name in spec.members]


def _named(members: Sequence[Judge]) -> str:
    return " and ".join(member.name for member in members)


def _answered(
    store: Store, members: Sequence[Judge], reference: Sequence[str] | None
) -> list[Answered]:
    votes = ballots.load(store, "pairs")
    truth = ballots.majority(votes, list(reference) if reference else votes.people())
    said: dict[tuple[str, str, str], tuple[float | None, float]] = {}
    for row in store.rows(_ANSWERS, {"judges": [member.name for member in members]}):
        said[row["judge"], row["completion_id"], row["aspect"]] = (row["score"], row["cost"])
    found: list[Answered] = []
    for unit, side in sorted(truth.items()):
        both = [
            (question, [said.get((member.name, i, question[1])) for i in unit], member)
            for question, member in _questions(members)
        ]
        if side != 0 and all(None not in answers for _, answers, _ in both):
            found.append(_pair(votes.prompts[unit], side > 0, both))
    return found


def _questions(members: Sequence[Judge]) -> Iterator[tuple[Question, Judge]]:
    for k, member in enumerate(members):
        for aspect in member.aspects:
            yield (k, aspect), member


def _pair(
    prompt_id: str,
    first_better: bool,
    both: Sequence[tuple[Question, Sequence[tuple[float | None, float] | None], Judge]],
) -> Answered:
    shares: dict[Question, tuple[float | None, float | None]] = {}
    costs: dict[Question, float] = {}
    for question, answers, member in both:
        scale = member.front.scale
        voice = Member(name=member.name, low=scale.min, high=scale.max)
        one, other = (None if a is None or a[0] is None else voice.share(a[0]) for a in answers)
        shares[question] = (one, other)
        costs[question] = sum(a[1] for a in answers if a is not None)
    return Answered(prompt_id=prompt_id, first_better=first_better, shares=shares, costs=costs)


def _whole(pair: Answered) -> list[float]:
    """Everything is asked: kept, right, dollars, calls."""
    return _settled(pair, list(pair.shares), stop=None, asked=len(pair.shares))


def _orders(pair: Answered, order: str) -> list[list[Question]]:
    """The orders of questions to try: the file's, or all that may be drawn, or some of many."""
    questions = list(pair.shares)
    if order == "file":
        return [questions]
    if math.factorial(len(questions)) <= MOST_ORDERS:
        return [list(listed) for listed in permutations(questions)]
    salted = (f"{pair.prompt_id}/{k}" for k in range(MOST_ORDERS))
    return [needs.drawn(questions, prompt_id=each) for each in salted]


def _expected(
    pair: Answered, orders: Sequence[Sequence[Question]], *, stop: float | None
) -> list[float]:
    """The mean over orders: a draw's luck on these prompts says nothing of the next ones."""
    each = [_played(pair, questions, stop=stop) for questions in orders]
    return [sum(values) / len(each) for values in zip(*each, strict=True)]


def _played(pair: Answered, questions: Sequence[Question], *, stop: float | None) -> list[float]:
    """Question after question, as a run would ask."""
    asked = 0
    while needs.settle(_said(pair, questions[:asked]), questions=len(questions), stop=stop).ask:
        asked += 1
    return _settled(pair, questions, stop=stop, asked=asked)


def _said(pair: Answered, asked: Sequence[Question]) -> dict[str, list[float | None]]:
    return {side: [pair.shares[q][k] for q in asked] for k, side in enumerate("ab")}


def _settled(
    pair: Answered, questions: Sequence[Question], *, stop: float | None, asked: int
) -> list[float]:
    said = _said(pair, questions[:asked])
    scores = needs.settle(said, questions=len(questions), stop=stop).scores
    kept = len(scores) == 2 and scores["a"] != scores["b"]
    right = kept and (scores["a"] > scores["b"]) == pair.first_better
    cost = sum(pair.costs[q] for q in questions[:asked])
    return [float(kept), float(right), cost / 1e6, 2.0 * asked]


def _words(stop: float | None) -> str:
    """As it is written in a panel's file."""
    return "no stop" if stop is None else f"stop: {stop:g}"


def _row(plan: str, found: Measured, priced: bool) -> dict[str, Any]:
    return {
        "plan": plan, "pairs": found.pairs, "calls_per_kept": found.calls,
        "usd_per_kept": found.cost if priced else None, "kept": found.kept,
        "agreement": found.agreement, **found.saved.columns("saved"),
        **found.loss.columns("loss"), **found.loss_over_all.columns("loss_over_all"),
    }  # fmt: skip

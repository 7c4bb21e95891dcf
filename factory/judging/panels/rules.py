"""The rules of a panel: what several judges said of a prompt's completions -> one verdict for each.

Pure. Members speak in scores. Rules that add scores up (mean, minimum, majority) put each member on
its own scale from 0 to 1 first; rules that compare (Borda, Bradley-Terry) read no more than which
of two completions a member scored higher, so that a reward model's logits may sit on the same
panel. A member that gave no verdict is never counted as a low one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.judging.front import Panel
from factory.judging.outcomes import Verdict, failed, good, preference
from factory.judging.panels.needs import CLOSE
from factory.judging.rankings import places

if TYPE_CHECKING:
    from evalica import Winner

RELATIVE = frozenset({"borda", "bradley_terry", "first_decisive"})
UNBOUNDED = frozenset({"borda", "bradley_terry"})
"""Rules that ask for no scale."""
PRIOR = 0.5
"""bradley_terry: the weight of a draw that is added to every pair, so that a completion which won
everything has a finite strength."""

Scores = Mapping[str, float]
"""Completion -> a member's score, only where it gave one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member's voice: its weight and the ends of its scale."""

    name: str
    weight: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def share(self, score: float) -> float:
        """A score as a share of the scale, in [0, 1]."""
        return min(1.0, max(0.0, (score - self.low) / (self.high - self.low)))


def decide(
    spec: Panel, members: Sequence[Member], said: Mapping[str, Scores], ids: Sequence[str]
) -> dict[str, Verdict]:
    """One verdict per completion of a prompt; scores are in [0, 1].

    Args:
        spec: the panel's front matter.
        members: in the order of the file.
        said: member's name -> its scores.
        ids: the completions to decide on.
    """
    lacking = {i: sum(i not in said[m.name] for m in members) for i in ids}
    absent = 0 if spec.absent == "fail" else len(members) - 1
    heard = [i for i in ids if lacking[i] <= absent]
    verdicts = {i: failed("error", "member_missing") for i in ids if i not in set(heard)}
    if spec.rule in RELATIVE:
        return verdicts | _RELATIVE[spec.rule](spec, members, said, heard)
    for i in heard:
        shares = [(m, m.share(said[m.name][i])) for m in members if i in said[m.name]]
        verdicts[i] = _added(spec, shares)
    return verdicts


def _added(spec: Panel, shares: Sequence[tuple[Member, float]]) -> Verdict:
    if spec.rule == "minimum":
        return good(min(share for _, share in shares))
    total = sum(m.weight for m, _ in shares)
    if total <= 0:
        return failed("error", "no_weight")
    if spec.rule == "mean":
        return good(sum(m.weight * share for m, share in shares) / total)
    votes = sum(m.weight for m, share in shares if share >= spec.passes - CLOSE) / total
    return good(_side(votes))


def _side(p: float) -> float:
    """0, a half or 1. Sums of weights such as 0.1 and 0.2 are floats, and a tie stays a tie."""
    return 0.5 if abs(p - 0.5) <= CLOSE else float(p > 0.5)


def _borda(
    spec: Panel, members: Sequence[Member], said: Mapping[str, Scores], ids: Sequence[str]
) -> dict[str, Verdict]:
    """The weighted mean of what share of the others each member places a completion above."""
    points: dict[str, list[tuple[float, float]]] = {i: [] for i in ids}
    for member in members:
        known = [i for i in ids if i in said[member.name]]
        for i, share in _shares(said[member.name], known).items():
            points[i].append((member.weight, share))
    return {i: _weighted(listed) for i, listed in points.items()}


def _weighted(listed: Sequence[tuple[float, float]]) -> Verdict:
    total = sum(weight for weight, _ in listed)
    if not listed or total <= 0:
        return failed("error", "nothing_to_compare" if not listed else "no_weight")
    return good(sum(weight * share for weight, share in listed) / total)


def _shares(scores: Scores, ids: Sequence[str]) -> dict[str, float]:
    if len(ids) < 2:
        return {}
    order = sorted({scores[i] for i in ids}, reverse=True)
    groups = [[k for k, i in enumerate(ids) if scores[i] == value] for value in order]
    found = places(groups)
    return {i: found[k] for k, i in enumerate(ids)}


def _bradley_terry(
    spec: Panel, members: Sequence[Member], said: Mapping[str, Scores], ids: Sequence[str]
) -> dict[str, Verdict]:
    """P(this one beats another of the prompt), by strengths fitted to what every member said."""
    if len(ids) < 2:
        return {i: failed("error", "nothing_to_compare") for i in ids}
    import evalica

    xs: list[str] = []
    ys: list[str] = []
    winners: list[evalica.Winner] = []
    weights: list[float] = []
    for one, other in ((a, b) for k, a in enumerate(ids) for b in ids[k + 1 :]):
        games = [(evalica.Winner.Draw, PRIOR)]
        for member in members:
            scores = said[member.name]
            if one in scores and other in scores:
                games.append((_winner(scores[one], scores[other]), member.weight))
        for winner, weight in games:
            xs.append(one)
            ys.append(other)
            winners.append(winner)
            weights.append(weight)
    fitted = evalica.bradley_terry(xs, ys, winners, weights=weights, limit=1_000)
    strength = {str(i): float(value) for i, value in fitted.scores.items()}
    return {
        i: good(
            sum(strength[i] / (strength[i] + strength[j]) for j in ids if j != i) / (len(ids) - 1)
        )
        for i in ids
    }


def _winner(one: float, other: float) -> Winner:
    import evalica

    if one == other:
        return evalica.Winner.Draw
    return evalica.Winner.X if one > other else evalica.Winner.Y


def _first_decisive(
    spec: Panel, members: Sequence[Member], said: Mapping[str, Scores], ids: Sequence[str]
) -> dict[str, Verdict]:
    """The first member that tells a prompt's completions apart decides all of them."""
    for member in members:
        shares = {i: member.share(said[member.name][i]) for i in ids if i in said[member.name]}
        if (
            len(shares) == len(ids)
            and max(shares.values(), default=0.0) - min(shares.values(), default=0.0)
            > spec.decisive + CLOSE
        ):
            return {
                i: good(share, reason=f"decided_by_{member.name}") for i, share in shares.items()
            }
    return {i: good(0.5, reason="nobody_decided") for i in ids}


_RELATIVE: dict[
    str,
    Callable[[Panel, Sequence[Member], Mapping[str, Scores], Sequence[str]], dict[str, Verdict]],
] = {"borda": _borda, "bradley_terry": _bradley_terry, "first_decisive": _first_decisive}


def decide_pair(spec: Panel, members: Sequence[Member], said: Mapping[str, float]) -> Verdict:
    """The verdict of comparing members on one pair.

    Args:
        spec: the panel's front matter; its rule is mean, minimum, majority or first_decisive.
        members: in the order of the file.
        said: member's name -> P(the first is better), both orders combined, where it has a verdict.
    """
    voices = [(m, said[m.name]) for m in members if m.name in said]
    if not voices or (spec.absent == "fail" and len(voices) < len(members)):
        return failed("error", "member_missing")
    if spec.rule == "first_decisive":
        firm = (p for _, p in voices if abs(p - 0.5) > spec.decisive + CLOSE)
        return preference(next(firm, 0.5))
    if spec.rule == "minimum":
        agreed = {p > 0.5 for _, p in voices if p != 0.5}
        unsure = min((p for _, p in voices), key=lambda p: abs(p - 0.5))
        return preference(unsure if len(agreed) == 1 else 0.5)
    total = sum(m.weight for m, _ in voices)
    if total <= 0:
        return failed("error", "no_weight")
    if spec.rule == "mean":
        p_first = sum(m.weight * p for m, p in voices) / total
        return preference(0.5 if _side(p_first) == 0.5 else p_first)
    return preference(_side(sum(m.weight * _side(p) for m, p in voices) / total))

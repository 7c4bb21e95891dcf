"""Leaderboards from the lake: who beats the baseline, by how much, lengths and style aside.

Definitions are AlpacaEval's (github.com/tatsu-lab/alpaca_eval): win rate is 100 times the mean of
P(model is better), the standard error is the sample's over the square root of n (clustered by
prompt, where a prompt has several verdicts), the discrete win rate counts wins and half the draws,
the average length is the mean in characters, rounded down. Bradley-Terry strengths (Bradley and
Terry 1952) use every game of the judge; style control is Arena-Hard-Auto's
(github.com/lmarena/arena-hard-auto): Bradley-Terry with standardised differences in length and
Markdown as further terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.auditing import lengths
from factory.auditing.games import Game, load
from factory.auditing.lengths import Controlled, Weights
from factory.auditing.numbers import TOO_FEW, Floats, Table, mean
from factory.auditing.strength import Strength, Style, strengths, styled
from factory.errors import UserError
from factory.store import Store

_JUDGES = """
select judge, count(*) as n from games
where p_first is not null and kind <> 'human' group by judge order by n desc, judge
"""
_LENGTHS = """
select m.name as model, avg(length(c.text)) as chars
from completions c
join (select model_id, min(name) as name from models group by model_id) m
  on m.model_id = c.model_id
semi join (select distinct prompt_id from games where judge = $judge) j on j.prompt_id = c.prompt_id
where c.text is not null
group by m.name
"""


_ITSELF = Controlled(
    win_rate=50.0, standard_error=0.0, weights=Weights(length=0.0, difficulty=0.0, model=0.0)
)
"""The baseline against itself: even, by definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A model's view of one game against the baseline."""

    prompt_id: str
    source_id: str
    p: float
    shown_first: bool | None
    """None where the displayed order is not known."""
    chars: int | None
    opponent_chars: int | None


def leaderboard(
    store: Store,
    *,
    judge: str | None = None,
    baseline: str | None = None,
    difficulty: Mapping[str, float] | None = None,
    weights: Mapping[str, Weights] | None = None,
    style: bool = False,
    resamples: int = 200,
    seed: int = 0,
) -> list[Table]:
    """The models that a judge compared, best first.

    Args:
        store: the workspace's store.
        judge: whose verdicts; the judge of most games by default.
        baseline: what all are compared with; the model with most opponents by default.
        difficulty: prompt id or source id -> difficulty, for length control.
        weights: model -> published weights, used instead of an own fit; they need `difficulty`.
        style: also control for length and Markdown together.
        resamples: of prompts, for the Bradley-Terry interval.
        seed: of the resampling.

    Raises:
        UserError: when there is no such judge, no such baseline, or nothing was compared.
    """
    chosen = judge or _busiest(store)
    games = _games(store, chosen, style=style)
    base = _baseline(games, baseline, judge=chosen)
    chars = {r["model"]: r["chars"] for r in store.rows(_LENGTHS, {"judge": chosen})}
    between = [g for g in games if g.first != g.second]
    ranks = strengths(between, resamples=resamples, seed=seed)
    controls = styled(between, baseline=base) if style else None
    rows = [
        _row(
            model, sides, chars=chars.get(model), difficulty=difficulty, weights=weights,
            rank=ranks.get(model), style=None if controls is None else controls.models.get(model),
            is_baseline=model == base,
        )
        for model, sides in _sides(games, base).items()
    ]  # fmt: skip
    rows.sort(key=lambda row: (-row["win_rate"], row["model"]))
    tables = [Table("leaderboard", f"{chosen}, against {base}", rows)]
    if controls is not None:
        tables.append(Table("style", "What style is worth, in logits a deviation", controls.terms))
    return tables


def _busiest(store: Store) -> str:
    found = store.rows(_JUDGES)
    if not found:
        raise UserError(
            "no judge has compared completions here",
            next='prefactory sql "select kind, judge, count(*) from judgements group by all"',
        )
    return str(found[0]["judge"])


def _games(store: Store, judge: str, *, style: bool) -> list[Game]:
    games = load(store, judge, style=style)
    if not games:
        known = ", ".join(str(r["judge"]) for r in store.rows(_JUDGES)) or "none"
        raise UserError(
            f"judge {judge} has no comparisons here (judges that have: {known})",
            next='prefactory sql "from judge_bias"',
        )
    return games


def _baseline(games: Sequence[Game], given: str | None, *, judge: str) -> str:
    opponents: dict[str, set[str]] = {}
    count: Counter[str] = Counter()
    for g in games:
        opponents.setdefault(g.first, set()).add(g.second)
        opponents.setdefault(g.second, set()).add(g.first)
        count.update((g.first, g.second))
    if given is None:
        return min(opponents, key=lambda m: (-len(opponents[m] - {m}), -count[m], m))
    if given not in opponents:
        raise UserError(
            f"judge {judge} compared nothing with {given} (models: {', '.join(sorted(opponents))})",
            next="prefactory leaderboard --help",
        )
    return given


def _sides(games: Sequence[Game], baseline: str) -> dict[str, list[Side]]:
    """Model -> its games against the baseline, every verdict once."""
    found: dict[str, list[Side]] = {}
    for g in games:
        if g.second == baseline:
            side = Side(
                prompt_id=g.prompt_id, source_id=g.source_id, p=g.p,
                shown_first=True if g.order_known else None,
                chars=g.first_chars, opponent_chars=g.second_chars,
            )  # fmt: skip
            found.setdefault(g.first, []).append(side)
        elif g.first == baseline:
            side = Side(
                prompt_id=g.prompt_id, source_id=g.source_id, p=1 - g.p,
                shown_first=False if g.order_known else None,
                chars=g.second_chars, opponent_chars=g.first_chars,
            )  # fmt: skip
            found.setdefault(g.second, []).append(side)
    return found


def _row(
    model: str,
    sides: Sequence[Side],
    *,
    chars: float | None,
    difficulty: Mapping[str, float] | None,
    weights: Mapping[str, Weights] | None,
    rank: Strength | None,
    style: Style | None,
    is_baseline: bool,
) -> dict[str, Any]:
    p = np.array([s.p for s in sides])
    wins, draws = int((p > 0.5).sum()), int((p == 0.5).sum())
    few = len({s.prompt_id for s in sides}) < TOO_FEW
    row: dict[str, Any] = {
        "model": model,
        "win_rate": 100 * float(p.mean()),
        "standard_error": "too few" if few and not is_baseline else _sem(p, sides),
        "length_controlled_winrate": None,
        "lc_standard_error": None,
        "discrete_win_rate": 100 * (wins + 0.5 * draws) / len(p),
        "n_wins": wins,
        "n_wins_base": len(p) - wins - draws,
        "n_draws": draws,
        "n_total": len(p),
        "avg_length": None if chars is None else int(chars),
        "win_rate_shown_first": _where(p, sides, shown_first=True),
        "win_rate_shown_second": _where(p, sides, shown_first=False),
    }
    control = _ITSELF if is_baseline else _control(model, sides, p, difficulty, weights)
    if control is not None:
        row |= {
            "length_controlled_winrate": control.win_rate,
            "lc_standard_error": "too few" if few and not is_baseline else control.standard_error,
            "w_length": control.weights.length,
        }
    if rank is not None:
        unsure = "too few" if rank.value is not None and few else None
        row |= {
            "strength": rank.value,
            "strength_low": unsure if rank.low is None else rank.low,
            "strength_high": unsure if rank.high is None else rank.high,
        }
    if style is not None:
        row |= {
            "style_win_rate": style.win_rate, "style_low": style.low, "style_high": style.high
        }  # fmt: skip
    return row


def _where(p: Floats, sides: Sequence[Side], *, shown_first: bool) -> float | None:
    there = np.array([s.shown_first is shown_first for s in sides])
    return 100 * float(p[there].mean()) if there.any() else None


def _sem(p: Floats, sides: Sequence[Side]) -> float | None:
    """Clustered by prompt, for both orders of a pair are no two experiments.

    With one verdict a prompt it is the sample's deviation over the root of n; of one prompt, none.
    """
    error = mean(p, [s.prompt_id for s in sides]).error
    return None if error is None else 100 * error


def _control(
    model: str,
    sides: Sequence[Side],
    p: Floats,
    difficulty: Mapping[str, float] | None,
    weights: Mapping[str, Weights] | None,
) -> Controlled | None:
    """None where a length is not known, or a prompt has no difficulty: nothing is guessed."""
    hard: Floats | None = None
    if difficulty is not None:
        # By id, never by row: a set with a missing row would otherwise shift all that follow.
        looked = [difficulty.get(s.prompt_id, difficulty.get(s.source_id)) for s in sides]
        if any(d is None for d in looked):
            return None
        hard = np.array(looked, dtype=np.float64)
    if weights is not None:
        known = weights.get(model)
        if known is None or hard is None:
            return None
        return lengths.controlled(known, hard, groups=[s.prompt_id for s in sides])
    if any(s.chars is None or s.opponent_chars is None for s in sides):
        return None
    return lengths.fit(
        p,
        length_model=np.array([s.chars for s in sides], dtype=np.float64),
        length_baseline=np.array([s.opponent_chars for s in sides], dtype=np.float64),
        difficulty=hard,
        groups=[s.prompt_id for s in sides],
    )

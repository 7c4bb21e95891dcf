"""What moves a judge besides the answers: order, length, its own family, chance.

Swapping the order should not change a verdict; the first shown should win half the time; the
longer should win as often as it does with people; the judge's own family should win as often as it
does with people. Bias and variance are AlpacaEval's (github.com/tatsu-lab/alpaca_eval): bias is one
minus the agreement of the judge's most frequent verdict with people's, variance the chance that one
of its verdicts differs from the most frequent of its others. Where several verdicts are equally
frequent, each counts its share.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.auditing.ballots import Ballots, Unit, modes
from factory.auditing.numbers import Estimate, mean, rate
from factory.store import Store

_GAMES = """
select
  g.judge, g.kind, g.prompt_id, g.status, g.p_first, g.order_known,
  r.one_id, r.other_id, g.first_id = r.one_id as as_listed,
  case
    when g.first_chars is null or g.second_chars is null or g.first_chars = g.second_chars
      or g.p_first = 0.5 then null
    else (g.p_first > 0.5) = (g.first_chars > g.second_chars)
  end as longer_won
from games g
join (select distinct one_id, other_id from rated_pairs) r
  on r.one_id in (g.first_id, g.second_id) and r.other_id in (g.first_id, g.second_id)
where g.first_id <> g.second_id
order by g.prompt_id, g.judge, g.game_id
"""
_ALONE = """
with newest as (
  -- A judge that was edited counts with the version asked last, as in the views.
  select judge, prompt_id,
    arg_max(judge_id, (greatest(created_at, moved_at), judge_id)) as judge_id
  from judgements
  left join pointers on name = 'judge:' || judge and value = judge_id
  where completion_id is not null and kind <> 'human' group by judge, prompt_id
)
select j.judge, j.prompt_id, j.status, count(*) as n
from judgements j
semi join newest n
  on n.judge = j.judge and n.prompt_id = j.prompt_id and n.judge_id = j.judge_id
where j.completion_id is not null
group by j.judge, j.prompt_id, j.status
order by j.judge, j.prompt_id, j.status
"""
_COSTS = """
with
newest as (
  select
    judge, prompt_id, completion_id is null as compares,
    arg_max(judge_id, (greatest(created_at, moved_at), judge_id)) as judge_id
  from judgements
  left join pointers on name = 'judge:' || judge and value = judge_id
  where kind <> 'human' group by all
),
present as (
  select j.judgement_id, j.judge, j.kind, j.call_id, j.cost_microusd, j.raw
  from judgements j
  semi join newest n
    on n.judge = j.judge and n.prompt_id = j.prompt_id and n.judge_id = j.judge_id
    and n.compares = (j.completion_id is null)
),
told as (
  select distinct judge, unnest(from_json(said, '["VARCHAR"]')) as judgement_id
  from (
    select judge, unnest(json_extract(raw, '$.members.*.judgements')) as said
    from present where kind = 'panel' and json_valid(raw)
  )
),
heard as (
  -- A panel's verdicts cost what its members said of the same prompts, also of answers that it put
  -- out and has no verdict on.
  select distinct t.judge, m.judge_id, m.prompt_id
  from told t join judgements m on m.judgement_id = t.judgement_id
),
counted as (
  select judge, judge as payer, call_id, cost_microusd from present where kind <> 'panel'
  union all
  select h.judge, m.judge, m.call_id, m.cost_microusd
  from heard h join judgements m on m.judge_id = h.judge_id and m.prompt_id = h.prompt_id
),
prices as (
  -- The row that bought an answer has its price; the rows that another version of the parser read
  -- in the same answer have none, and are not for that free.
  select judge, call_id, max(cost_microusd) as cost
  from judgements where call_id is not null group by judge, call_id
)
select judge, sum(cost)::bigint as cost
from (
  select c.judge, p.cost
  from (select distinct judge, payer, call_id from counted where call_id is not null) c
  join prices p on p.judge = c.payer and p.call_id = c.call_id
  union all
  select judge, cost_microusd from counted where call_id is null
)
group by judge
"""
_SELF = """
select judge, prompt_id, family, p_own, p_people from self_games
order by judge, family, prompt_id, own_id, opponent_id, p_own
"""

Game = dict[str, Any]


def games_of(store: Store) -> dict[str, list[Game]]:
    """Rater -> every comparison that it was asked for, in a fixed order."""
    found: dict[str, list[Game]] = {}
    for row in store.rows(_GAMES):
        row["unit"] = (row["one_id"], row["other_id"])
        if row["p_first"] is not None:
            row["p_one"] = row["p_first"] if row["as_listed"] else 1 - row["p_first"]
        found.setdefault(row["judge"], []).append(row)
    return found


def order_and_length(
    judge: str, games: Sequence[Game], *, human_longer: Mapping[Unit, float]
) -> dict[str, Any]:
    """P(first), swap consistency, P(longer) and people's P(longer) on the same pairs.

    Args:
        judge: its name.
        games: its comparisons.
        human_longer: unit -> share of people's decided verdicts that went to the longer answer.
    """
    row: dict[str, Any] = {"judge": judge, "n": len(games)}
    decided = [g for g in games if g["order_known"] and g["p_first"] not in (None, 0.5)]
    row["n_first"] = len(decided)
    row |= _rate(decided, [g["p_first"] > 0.5 for g in decided]).columns("first")
    known = [g for g in games if g["order_known"] and g["p_first"] is not None]
    row |= _mean(known, [g["p_first"] for g in known], share=True).columns("mean_p_first")
    units, same = swaps(games)
    prompt_of = {g["unit"]: g["prompt_id"] for g in games}
    row["n_swaps"] = len(units)
    row |= rate([float(s) for s in same], [prompt_of[u] for u in units]).columns("consistent")
    sized = [g for g in games if g["longer_won"] is not None]
    row["n_longer"] = len(sized)
    row |= _rate(sized, [g["longer_won"] for g in sized]).columns("longer")
    both = [g for g in sized if g["unit"] in human_longer]
    row["n_with_people"] = len(both)
    row |= _mean(both, [human_longer[g["unit"]] for g in both], share=True).columns("human_longer")
    gaps = [float(g["longer_won"]) - human_longer[g["unit"]] for g in both]
    return row | _mean(both, gaps).columns("longer_excess")


def _rate(games: Sequence[Game], values: Sequence[bool]) -> Estimate:
    return rate([float(v) for v in values], [g["prompt_id"] for g in games])


def _mean(games: Sequence[Game], values: Sequence[float], *, share: bool = False) -> Estimate:
    return (rate if share else mean)(list(values), [g["prompt_id"] for g in games])


def swaps(games: Sequence[Game]) -> tuple[list[Unit], list[bool]]:
    """Units that were judged in both orders, and whether both gave one winner, or both a tie.

    Repetitions of an order are averaged. An order whose verdict failed agrees with nothing.
    """
    by_order: dict[Unit, dict[bool, list[float | None]]] = {}
    for g in games:
        if g["order_known"]:
            orders = by_order.setdefault(g["unit"], {})
            orders.setdefault(g["as_listed"], []).append(g.get("p_one"))
    units = [unit for unit, orders in by_order.items() if len(orders) == 2]
    return units, [_alike(by_order[u][True], by_order[u][False]) for u in units]


def _alike(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    a, b = (_class([p for p in ps if p is not None]) for ps in (one, other))
    return a is not None and a == b


def _class(ps: Sequence[float]) -> float | None:
    return float(np.sign(round(float(np.mean(ps)), 12) - 0.5)) if ps else None


def correct_in_orders(
    judge: str, games: Sequence[Game], reference: Mapping[Unit, float]
) -> dict[str, Any] | None:
    """Calls that say what the reference says, and units whose two orders both do.

    A failed call is a wrong one, unless a repetition of the same order made it good. None where no
    unit has a reference.
    """
    known = _made_good([g for g in games if g["unit"] in reference])
    if not known:
        return None
    right = [g.get("p_one") is not None and _class([g["p_one"]]) == reference[g["unit"]]
             for g in known]  # fmt: skip
    row: dict[str, Any] = {"judge": judge, "calls": len(known)}
    row |= _rate(known, right).columns("correct")
    orders: dict[Unit, dict[bool, bool]] = {}
    for g, ok in zip(known, right, strict=True):
        if g["order_known"]:
            before = orders.setdefault(g["unit"], {})
            before[g["as_listed"]] = before.get(g["as_listed"], True) and ok
    both = {unit: all(o.values()) for unit, o in orders.items() if len(o) == 2}
    prompt_of = {g["unit"]: g["prompt_id"] for g in known}
    row["n_swaps"] = len(both)
    found = rate([float(v) for v in both.values()], [prompt_of[u] for u in both])
    return row | found.columns("correct_in_both")


def _made_good(games: Sequence[Game]) -> list[Game]:
    """The games without failures that were asked again and then gave a verdict."""
    heard = {(g["unit"], g["as_listed"]) for g in games if g["p_first"] is not None}
    return [
        g for g in games if g["p_first"] is not None or (g["unit"], g["as_listed"]) not in heard
    ]


def human_longer(games: Mapping[str, Sequence[Game]], people: Sequence[str]) -> dict[Unit, float]:
    """Unit -> share of people's decided verdicts that went to the longer answer."""
    said: dict[Unit, list[float]] = {}
    for rater in people:
        for g in games.get(rater, ()):
            if g["longer_won"] is not None:
                said.setdefault(g["unit"], []).append(float(g["longer_won"]))
    return {unit: float(np.mean(votes)) for unit, votes in said.items()}


# --- bias and variance ----------------------------------------------------------------------------


def bias_and_variance(
    judge: str, games: Sequence[Game], votes: Ballots, people: Sequence[str]
) -> dict[str, Any] | None:
    """AlpacaEval's bias against people and variance, both as shares; None without verdicts.

    Every call (order, repetition) is one verdict on its unit.
    """
    said: dict[Unit, list[float]] = {}
    for g in games:
        if g.get("p_one") is not None:
            said.setdefault(g["unit"], []).append(float(np.sign(g["p_one"] - 0.5)))
    if not said:
        return None
    theirs: dict[Unit, list[float]] = {}
    for person in people:
        for unit, vote in votes.votes.get(person, {}).items():
            if vote is not None and unit in said:
                theirs.setdefault(unit, []).append(vote)
    wrong = {u: 1 - agreement_of_modes(said[u], human) for u, human in theirs.items()}
    noise = {u: leave_one_out(votes_) for u, votes_ in said.items() if len(votes_) > 1}
    row: dict[str, Any] = {"judge": judge, "n_bias": len(wrong), "n_variance": len(noise)}
    row |= rate(list(wrong.values()), votes.prompts_of(wrong)).columns("bias")
    return row | rate(list(noise.values()), votes.prompts_of(noise)).columns("variance")


def agreement_of_modes(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """P(a most frequent verdict drawn from each side is the same)."""
    a, b = modes(mine), modes(theirs)
    return len(set(a) & set(b)) / (len(a) * len(b))


def leave_one_out(votes: Sequence[float]) -> float:
    """Mean over the votes of P(it differs from a most frequent verdict of the others)."""
    wrong = 0.0
    for i, vote in enumerate(votes):
        most = modes([*votes[:i], *votes[i + 1 :]])
        wrong += 1 - (1 / len(most) if vote in most else 0)
    return wrong / len(votes)


# --- its own family ------------------------------------------------------------------------------


def self_preference(store: Store) -> list[dict[str, Any]]:
    """One row per judge and its family: how often it prefers its own, and more than people do."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in store.rows(_SELF):
        found.setdefault((r["judge"], r["family"]), []).append(r)
    rows: list[dict[str, Any]] = []
    for (judge, family), games in found.items():
        row: dict[str, Any] = {"judge": judge, "family": family, "n": len(games)}
        row |= _mean(games, [g["p_own"] for g in games], share=True).columns("own")
        both = [g for g in games if g["p_people"] is not None]
        row["n_with_people"] = len(both)
        row |= _mean(both, [g["p_people"] for g in both], share=True).columns("people")
        rows.append(row | _mean(both, [g["p_own"] - g["p_people"] for g in both]).columns("excess"))
    return rows


# --- what a judge answers at all ------------------------------------------------------------------


_Calls = tuple[str, str, int]
"""Prompt, status, how many verdicts."""


def outcomes(store: Store, games: Mapping[str, Sequence[Game]]) -> list[dict[str, Any]]:
    """One row per judge: verdicts, the share of each outcome, dollars, dollars per verdict."""
    calls: dict[str, list[_Calls]] = {}
    for judge, played in games.items():
        if played and played[0]["kind"] != "human":
            calls.setdefault(judge, []).extend((g["prompt_id"], g["status"], 1) for g in played)
    for r in store.rows(_ALONE):
        calls.setdefault(r["judge"], []).append((r["prompt_id"], r["status"], r["n"]))
    costs = {r["judge"]: r["cost"] for r in store.rows(_COSTS)}
    return [_outcome(judge, rows, costs.get(judge)) for judge, rows in sorted(calls.items())]


def _outcome(judge: str, rows: Sequence[_Calls], cost: int | None) -> dict[str, Any]:
    n = sum(r[2] for r in rows)
    ok = sum(r[2] for r in rows if r[1] == "ok")
    usd = None if cost is None else cost / 1e6
    statuses = [s for _, s, count in rows for _ in range(count)]
    prompts = [p for p, _, count in rows for _ in range(count)]
    row: dict[str, Any] = {"judge": judge, "n": n}
    for status in ("ok", "unparsed", "refused", "truncated", "error"):
        row |= rate([float(s == status) for s in statuses], prompts).columns(status)
    return row | {"cost_usd": usd, "usd_per_verdict": usd / ok if usd is not None and ok else None}


def spread(judge: str, values: Sequence[float]) -> dict[str, Any]:
    """How many distinct verdicts a judge gives, and their entropy in bits.

    A judge that gives everything one score has 0 bits and decides nothing.
    """
    count = Counter(values)
    shares = [n / len(values) for n in count.values()]
    bits = -sum(s * math.log2(s) for s in shares)
    most, n_most = count.most_common(1)[0]
    return {
        "judge": judge, "n": len(values), "distinct": len(count), "entropy_bits": abs(bits),
        "most_frequent": most, "most_frequent_share": n_most / len(values),
    }  # fmt: skip

"""Whether a judge still says what it said: the same questions, asked again later.

The anchors are a frozen pool of prompts whose completions are judged again from time to time (a
higher `replicate`, so that the answer is bought anew). Each later round of answers is compared with
the first on the same units: the share that is the same, and the mean change. A change whose
interval leaves out zero is drift, of the judge or of the model behind its name.
"""

from __future__ import annotations

from typing import Any

from factory.auditing.numbers import mean, rate
from factory.errors import UserError
from factory.store import Store

_ANSWERS = """
with
answers as (
  select
    j.judge, coalesce(j.replicate, 0) as replicate, j.prompt_id, j.completion_ids,
    -- A list has a row for each of its texts: the question is what was shown and which text of it.
    coalesce(j.completion_id, '') as subject_id,
    coalesce(j.aspect, '') as aspect, j.created_at, j.judge_id, j.model_reported,
    case
      when j.status <> 'ok' then null
      when j.completion_id is not null then j.score
      when j.p_first is not null then j.p_first
      when j.winner_id is null then 0.5
      else (j.winner_id = j.completion_ids[1])::integer
    end::double as value
  from judgements j
  join prompts p on p.prompt_id = j.prompt_id
  where j.kind <> 'human' and ($pool is null or p.pool = $pool)
),
numbered as (
  -- An edited judge or a new model behind its name asks the same question anew as well.
  select
    *, row_number() over (
      partition by judge, prompt_id, completion_ids, subject_id, aspect
      order by created_at, replicate, judge_id
    ) - 1 as round
  from answers
),
firsts as (select * from numbered where round = 0)
select
  n.judge, n.round, n.prompt_id, f.value as before, n.value as after,
  n.model_reported is distinct from f.model_reported as other_model,
  n.judge_id <> f.judge_id as other_version, n.created_at
from numbered n
join firsts f
  on f.judge = n.judge and f.prompt_id = n.prompt_id and f.completion_ids = n.completion_ids
  and f.subject_id = n.subject_id and f.aspect = n.aspect
where n.round > 0 and f.value is not null and n.value is not null
order by n.judge, n.round, n.prompt_id, n.completion_ids, n.subject_id, n.aspect
"""


_IN_POOL = "select 1 from prompts where pool = $pool limit 1"


def drift(store: Store, *, anchors: str | None = None) -> list[dict[str, Any]]:
    """One row per judge and round of asking again, against its first answers.

    Args:
        store: the workspace's store.
        anchors: the pool of anchor prompts; None for every question that was asked twice.

    Returns:
        Rows with `same`, `change` and their intervals; `drifted` is null with too few prompts.

    Raises:
        UserError: for a pool that does not exist.
    """
    if anchors is not None and not store.rows(_IN_POOL, {"pool": anchors}):
        raise UserError(
            f"there is no pool {anchors!r} here",
            next='prefactory sql "select pool, count(*) from prompts group by pool"',
        )
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for r in store.rows(_ANSWERS, {"pool": anchors}):
        found.setdefault((r["judge"], r["round"]), []).append(r)
    return [_row(judge, number, rows) for (judge, number), rows in found.items()]


def _row(judge: str, number: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    prompts = [r["prompt_id"] for r in rows]
    change = mean([r["after"] - r["before"] for r in rows], prompts)
    row: dict[str, Any] = {"judge": judge, "again": number, "n": len(rows)}
    row |= rate([float(r["after"] == r["before"]) for r in rows], prompts).columns("same")
    row |= change.columns("change")
    drifted = None
    if change.low is not None and change.high is not None:
        drifted = not change.low <= 0 <= change.high
    return row | {
        "drifted": drifted,
        "other_version": sum(bool(r["other_version"]) for r in rows),
        "other_model": sum(bool(r["other_model"]) for r in rows),
        "last": max(r["created_at"] for r in rows),
    }

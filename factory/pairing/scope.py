"""Which completions a build may choose from, and in which parts it is worked through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from factory.errors import UserError
from factory.rows import BUCKETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which completions may become pairs; what is left out means any."""

    run_id: str | None = None
    """With `round`: what this run drew to train on in this round."""
    round: int | None = None
    pools: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    """Whose scores. Needed where more than one judge has scored; with several, their mean."""
    model_ids: tuple[str, ...] = ()
    policy_model_id: str | None = None
    """Whose completions are on policy."""


def bound_values(
    scope: Scope, judges: tuple[str, ...], detectors: tuple[str, ...] = ()
) -> dict[str, object]:
    """The scope as the named parameters of `storage/candidates.sql`; null means any."""
    return {
        "run_id": scope.run_id,
        "round": scope.round,
        "pools": list(scope.pools) or None,
        "model_ids": list(scope.model_ids) or None,
        "judges": list(judges),
        "detectors": list(detectors),
        "policy_model_id": scope.policy_model_id,
    }


def bucket_range(first: int, last: int) -> dict[str, object]:
    """The named parameters of one range of buckets, both included."""
    return {"first_bucket": first, "last_bucket": last}


def judges_of(con: duckdb.DuckDBPyConnection, scope: Scope) -> tuple[str, ...]:
    """The judges of a scope: those asked for, or the only one there is."""
    found = con.sql("select distinct judge from judgements order by judge").fetchall()
    known = [row[0] for row in found if row[0] is not None]
    unknown = sorted(set(scope.judges) - set(known))
    there = f"judged so far: {', '.join(known) or 'nothing'}"
    if unknown:
        raise UserError(
            f"no judgement is by {', '.join(unknown)}; {there}", next="prefactory judge"
        )
    if scope.judges:
        return tuple(sorted(set(scope.judges)))
    if len(known) > 1:
        raise UserError(
            f"say whose scores make pairs; {there}", next=f"prefactory pair --judge {known[0]}"
        )
    return tuple(known) or ("",)


_TWO_KINDS = """
  select judge from scores
  where list_contains($judges, judge)
  group by completion_id, judge having count(*) > 1 order by judge limit 1
"""
_KINDS = """
  select count(*) from (
    select judge from judgements where list_contains($judges, judge)
    group by judge having count(completion_id) not in (0, count(*))
  )
"""


def refuse_two_kinds(con: duckdb.DuckDBPyConnection, judges: tuple[str, ...]) -> None:
    """Refuse a judge whose name stands for scores and for comparisons of one completion.

    Its file was edited from one kind to the other, or two recordings share its name. The mean of a
    rating and a probability is neither's word.

    Raises:
        UserError: naming the judge.
    """
    if not con.execute(_KINDS, {"judges": list(judges)}).fetchall()[0][0]:
        return
    if found := con.execute(_TWO_KINDS, {"judges": list(judges)}).fetchall():
        name = found[0][0]
        raise UserError(
            f"judge {name} both scored and compared the same completions: pairs need one kind",
            next=f"mv judges/{name}.md judges/{name}-2.md && prefactory judge --judge {name}-2",
        )


_DETECTORS = """
  select distinct judge_id from judgements
  where starts_with(judge, 'injection') or parser like 'injection/%' order by judge_id
"""


def detectors_of(con: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """The judges, by id, that look for texts which speak to their judge: `injection…` by name."""
    return tuple(row[0] for row in con.execute(_DETECTORS).fetchall() if row[0])


_VERSIONS = """
  select count(distinct judge_id) = count(distinct judge), list(distinct judge_id)
  from judgements where list_contains($judges, judge)
"""

# The newest version of each judge on each prompt, as the views `scores` and `matches` read them.
_JUDGE_IDS = """
  select distinct judge_id
  from (
    select arg_max(judge_id, (greatest(created_at, moved_at), judge_id)) as judge_id
    from judgements
    left join pointers on name = 'judge:' || judge and value = judge_id
    where list_contains($judges, judge)
      and prompt_id in (
        select prompt_id from prompts
        where split = 'train' and ($pools is null or list_contains($pools, pool))
      )
      and (
        $run_id is null
        or prompt_id in (
          select prompt_id from draws
          where run_id = $run_id and round = $round and purpose = 'train'
        )
      )
    group by prompt_id, judge, completion_id is null
  )
  order by judge_id
"""


def judge_ids_of(
    con: duckdb.DuckDBPyConnection, scope: Scope, judges: tuple[str, ...]
) -> tuple[str, ...]:
    """The versions of the judges whose scores a build of this scope reads, sorted."""
    one_each, ids = con.execute(_VERSIONS, {"judges": list(judges)}).fetchall()[0]
    if one_each:  # no judge was ever edited: nothing has to be found prompt by prompt
        return tuple(sorted(i for i in ids or () if i))
    bound = bound_values(scope, judges)
    named = ("run_id", "round", "pools", "judges")
    return tuple(
        row[0] for row in con.execute(_JUDGE_IDS, {n: bound[n] for n in named}).fetchall() if row[0]
    )


_SIZES_OF_DRAWS = """
  select bucket, sum(n) as n from draws
  where run_id = $run_id and round = $round and purpose = 'train' group by bucket
"""
_SIZES_OF_ALL = "select bucket, count(*) as n from completions group by bucket"


def bucket_groups(
    con: duckdb.DuckDBPyConnection, scope: Scope, *, max_rows: int
) -> Iterable[tuple[int, int]]:
    """Ranges of buckets, each with at most about `max_rows` completions."""
    if scope.run_id is not None:
        rows = con.execute(
            _SIZES_OF_DRAWS, {"run_id": scope.run_id, "round": scope.round}
        ).fetchall()
    else:
        rows = con.execute(_SIZES_OF_ALL).fetchall()
    sizes = {int(bucket): int(n) for bucket, n in rows}
    total = sum(sizes.values())
    # Even groups: each reads the lake anew, so a small last one would cost as much as any.
    groups = max(1, -(-total // max_rows))
    first, seen, made = 0, 0, 1
    for bucket in range(BUCKETS - 1):
        seen += sizes.get(bucket, 0)
        if made < groups and seen + sizes.get(bucket + 1, 0) / 2 > made * total / groups:
            yield first, bucket
            first, made = bucket + 1, made + 1
    yield first, BUCKETS - 1

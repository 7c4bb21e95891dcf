-- One row per pairwise judge: how often the first shown wins, and whether swapping changes it.
--
-- `first_wins_share` leaves draws out. `consistent_share`: of the comparisons made in both orders,
-- those whose verdict stays the same; 1 is a judge that looks at the texts alone.
with
verdicts as (
  select
    judge, judge_id, completion_ids[1] as first_id, completion_ids[2] as second_id, replicate,
    case
      when p_first is not null then p_first
      when winner_id is null then 0.5
      when winner_id = completion_ids[1] then 1.0
      when winner_id = completion_ids[2] then 0.0
    end::double as p_first
  from judgements
  where completion_id is null and status = 'ok' and len(completion_ids) = 2
    and completion_ids[1] <> completion_ids[2]
),
swapped as (
  select a.judge, sign(a.p_first - 0.5) = -sign(b.p_first - 0.5) as consistent
  from verdicts a
  join verdicts b
    on b.judge_id = a.judge_id and b.first_id = a.second_id and b.second_id = a.first_id
    and b.replicate is not distinct from a.replicate
  where a.first_id < a.second_id
),
by_order as (
  select
    judge,
    count(*) as n,
    avg(p_first) as mean_p_first,
    count(*) filter (p_first > 0.5)::double
      / nullif(count(*) filter (p_first <> 0.5), 0) as first_wins_share,
    count(*) filter (p_first = 0.5) as draws
  from verdicts
  group by judge
),
by_swap as (
  select judge, count(*) as both_orders, avg(consistent::integer) as consistent_share
  from swapped
  group by judge
)
select
  o.judge, o.n, o.draws, o.mean_p_first, o.first_wins_share,
  coalesce(s.both_orders, 0) as both_orders, s.consistent_share
from by_order o
left join by_swap s on s.judge = o.judge
order by o.judge

-- One row per pairwise judge: how often the first shown wins, and whether swapping changes it.
--
-- `first_wins_share` leaves draws out. `consistent_share`: of the comparisons made in both orders,
-- those whose verdict stays the same; 1 is a judge that looks at the texts alone. Recorded verdicts
-- that do not say which answer was displayed first are left out, and so are the versions of a judge
-- before its newest.
with
shown as (
  select judge, judge_id, first_id, second_id, p_first
  from games
  where kind <> 'human' and order_known and p_first is not null and first_id <> second_id
),
by_direction as (
  -- Repetitions of an order are one verdict: their mean. Decimals, so that a tie stays a tie.
  select
    judge, judge_id, first_id, second_id,
    sum(try_cast(p_first as decimal(38, 15)))::double / count(*) as p_first
  from shown
  group by judge, judge_id, first_id, second_id
),
swapped as (
  select a.judge, sign(a.p_first - 0.5) = -sign(b.p_first - 0.5) as consistent
  from by_direction a
  join by_direction b
    on b.judge_id = a.judge_id and b.first_id = a.second_id and b.second_id = a.first_id
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
  from shown
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

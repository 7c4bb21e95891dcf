-- One row per comparing judge: verdicts, failures, draws, P(first) and P(longer), people's beside it.
--
-- Rates leave draws out, as shares of 1. `first_share` reads only comparisons whose displayed order
-- is known. `human_longer_share` is people's own preference for the longer text on the same pairs of
-- completions, so that what is a bias and what is quality can be told apart.
with
played as (
  select
    *,
    case
      when first_chars is null or second_chars is null or first_chars = second_chars then null
      when p_first = 0.5 then null
      else (p_first > 0.5) = (first_chars > second_chars)
    end as longer_won,
    least(first_id, second_id) as one_id, greatest(first_id, second_id) as other_id
  from games
  where first_id <> second_id
),
by_people as (
  select one_id, other_id, avg(longer_won::integer) as share
  from played
  where kind = 'human' and longer_won is not null
  group by one_id, other_id
)
select
  p.judge, min(p.kind) as kind,
  count(*) as n,
  count(p.p_first) as verdicts,
  count(*) - count(p.p_first) as failed,
  (count(*) - count(p.p_first))::double / count(*) as failed_share,
  count(*) filter (p.p_first = 0.5) as draws,
  count(*) filter (p.order_known and p.p_first <> 0.5) as n_first,
  avg((p.p_first > 0.5)::integer) filter (p.order_known and p.p_first <> 0.5) as first_share,
  avg(p.p_first) filter (p.order_known) as mean_p_first,
  count(p.longer_won) as n_longer,
  avg(p.longer_won::integer) as longer_share,
  count(p.longer_won) filter (h.share is not null) as n_with_people,
  avg(p.longer_won::integer) filter (h.share is not null) as longer_share_with_people,
  avg(h.share) filter (p.longer_won is not null) as human_longer_share,
  sum(p.cost_microusd)::bigint as cost_microusd
from played p
left join by_people h on h.one_id = p.one_id and h.other_id = p.other_id
group by p.judge
order by p.judge

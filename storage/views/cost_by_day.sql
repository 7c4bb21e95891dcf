-- One row per UTC day, endpoint, model and kind of call: how many paid calls, and what they cost.
--
-- `exposed_microusd` is reserved for calls that have not come back: it may or may not be billed.
select
  cast(coalesce(done_at, sent_at) as date) as day,
  endpoint, model, kind,
  count(*) as calls,
  count(*) filter (state = 'done') as done,
  count(*) filter (state = 'failed') as failed,
  count(*) filter (state not in ('done', 'failed')) as open,
  sum(attempts)::bigint as attempts,
  coalesce(sum(tokens_in), 0)::bigint as tokens_in,
  coalesce(sum(tokens_out), 0)::bigint as tokens_out,
  sum(cost_microusd)::bigint as cost_microusd,
  coalesce(sum(reserve_microusd) filter (state not in ('done', 'failed')), 0)::bigint
    as exposed_microusd
from calls
group by day, endpoint, model, kind
order by day, endpoint, model, kind

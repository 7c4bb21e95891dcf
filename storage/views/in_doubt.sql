-- One row per paid call that left and has no known answer: sent, in doubt, or held.
select
  call_id, state, kind, endpoint, model, attempts, reserve_microusd, owner, run_id, sent_at,
  budget_id
from calls
where state in ('sent', 'in_doubt', 'held')
order by sent_at, call_id

-- One row per run, round and strategy: the share of pairs whose two sides the policy sampled.
select
  run_id, round, strategy,
  count(*) as pairs,
  count(*) filter (on_policy) as on_policy,
  count(*) filter (on_policy)::double / count(*) as share,
  count(distinct chosen_model_id) as chosen_models,
  count(distinct rejected_model_id) as rejected_models
from pairs
group by run_id, round, strategy
order by run_id, round, strategy

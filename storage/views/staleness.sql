-- One row per run, round and strategy: how many rounds old the models behind its pairs are.
--
-- A pair of round n from the checkpoint of round n - 1 is 0 rounds old: nothing fresher existed.
-- `unknown` counts the sides whose model this factory did not train.
with
trained as (
  select run_id, model_id, max(round) as round from checkpoints group by run_id, model_id
),
sides as (
  select run_id, round, strategy, pair_id, chosen_model_id as model_id from pairs
  union all
  select run_id, round, strategy, pair_id, rejected_model_id as model_id from pairs
)
select
  s.run_id, s.round, s.strategy,
  count(distinct s.pair_id) as pairs,
  avg(s.round - 1 - t.round) as mean_age,
  max(s.round - 1 - t.round) as max_age,
  count(*) filter (t.model_id is null) as unknown
from sides s
left join trained t on t.model_id = s.model_id and t.run_id = s.run_id
group by s.run_id, s.round, s.strategy
order by s.run_id, s.round, s.strategy

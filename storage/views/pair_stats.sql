-- One row per strategy, judge, run and round: how many pairs, how wide, how long.
select
  strategy, judge, round, run_id,
  count(*) as pairs,
  count(distinct prompt_id) as prompts,
  avg(score_chosen) as mean_score_chosen,
  avg(score_rejected) as mean_score_rejected,
  avg(margin) as mean_margin,
  min(margin) as min_margin,
  median(margin) as median_margin,
  avg(len_diff) as mean_len_diff,
  avg((len_diff > 0)::integer) as chosen_longer_share,
  avg(on_policy::integer) as on_policy_share,
  any_value(strategy_id) as strategy_id
from pairs
group by strategy, strategy_id, judge, round, run_id
order by run_id, round, strategy, judge, strategy_id

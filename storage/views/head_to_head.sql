-- One row per pairwise judge, model and opponent: how often the model's completions are better.
with
named as (select model_id, min(name) as name from models group by model_id),
played as (
  select
    m.judge, c.model_id, o.model_id as opponent_model_id, m.p
  from matches m
  join completions c on c.completion_id = m.completion_id
  join completions o on o.completion_id = m.opponent_id
)
select
  p.judge, p.model_id, coalesce(any_value(a.name), p.model_id) as model,
  p.opponent_model_id, coalesce(any_value(b.name), p.opponent_model_id) as opponent,
  count(*) as n,
  count(*) filter (p.p > 0.5) as wins,
  count(*) filter (p.p = 0.5) as draws,
  count(*) filter (p.p < 0.5) as losses,
  sum(p.p::decimal(38, 15))::double / count(*) as win_rate,
  (count(*) filter (p.p > 0.5) + 0.5 * count(*) filter (p.p = 0.5)) / count(*) as discrete_win_rate,
  stddev_samp(p.p) / sqrt(count(*)) as standard_error,
  sum(p.p * p.p) as sum_of_squares
from played p
left join named a on a.model_id = p.model_id
left join named b on b.model_id = p.opponent_model_id
group by p.judge, p.model_id, p.opponent_model_id
order by p.judge, model, opponent

-- One row per pairwise judge, model and opponent: how often the model's completions are better.
--
-- `standard_error` is clustered by prompt: matches on one prompt are not independent. With one match
-- a prompt it is the sample's deviation over the root of n.
with
named as (select model_id, min(name) as name from models group by model_id),
played as (
  select
    m.judge, m.prompt_id, c.model_id, o.model_id as opponent_model_id, m.p
  from matches m
  join completions c on c.completion_id = m.completion_id
  join completions o on o.completion_id = m.opponent_id
),
by_prompt as (
  select
    judge, model_id, opponent_model_id, prompt_id,
    count(*) as n,
    count(*) filter (p > 0.5) as wins,
    count(*) filter (p = 0.5) as draws,
    count(*) filter (p < 0.5) as losses,
    sum(p::decimal(38, 15))::double as won
  from played
  group by judge, model_id, opponent_model_id, prompt_id
),
summed as (
  select
    judge, model_id, opponent_model_id,
    sum(n) as n, sum(wins) as wins, sum(draws) as draws, sum(losses) as losses,
    sum(won) / sum(n) as mean,
    sum(won * won) as won_won, sum(won * n) as won_n, sum(n * n) as n_n, count(*) as prompts
  from by_prompt
  group by judge, model_id, opponent_model_id
)
select
  p.judge, p.model_id, coalesce(a.name, p.model_id) as model,
  p.opponent_model_id, coalesce(b.name, p.opponent_model_id) as opponent,
  p.n::bigint as n,
  p.wins::bigint as wins,
  p.draws::bigint as draws,
  p.losses::bigint as losses,
  p.mean as win_rate,
  (p.wins + 0.5 * p.draws)::double / p.n as discrete_win_rate,
  -- The squares of the prompts' sums around the mean; rounding may leave a little below 0.
  sqrt(
    greatest(p.won_won - 2 * p.mean * p.won_n + p.mean * p.mean * p.n_n, 0)
      * p.prompts / nullif(p.prompts - 1, 0)
  ) / p.n as standard_error
from summed p
left join named a on a.model_id = p.model_id
left join named b on b.model_id = p.opponent_model_id
order by p.judge, model, opponent

-- One row per pairwise judge and model: how often its completions are better than another's.
--
-- `win_rate` is the mean of P(this one is better), a draw being 0.5, as a share of 1: AlpacaEval's
-- win_rate (there in percent). `discrete_win_rate` counts wins and half the draws. `standard_error`
-- is clustered by prompt. A model against itself is left out here and shown in the view of single
-- opponents.
with
named as (select model_id, min(name) as name from models group by model_id),
by_prompt as (
  select
    m.judge, c.model_id, m.prompt_id,
    count(*) as n,
    count(*) filter (m.p > 0.5) as wins,
    count(*) filter (m.p = 0.5) as draws,
    count(*) filter (m.p < 0.5) as losses,
    sum(m.p::decimal(38, 15))::double as won,
    list(distinct o.model_id) as opponents
  from matches m
  join completions c on c.completion_id = m.completion_id
  join completions o on o.completion_id = m.opponent_id
  where c.model_id <> o.model_id
  group by m.judge, c.model_id, m.prompt_id
),
summed as (
  select
    judge, model_id,
    sum(n) as n, sum(wins) as wins, sum(draws) as draws, sum(losses) as losses,
    sum(won) / sum(n) as mean,
    sum(won * won) as won_won, sum(won * n) as won_n, sum(n * n) as n_n, count(*) as prompts,
    len(list_distinct(flatten(list(opponents)))) as opponents
  from by_prompt
  group by judge, model_id
)
select
  s.judge, s.model_id, coalesce(a.name, s.model_id) as model,
  s.n::bigint as n,
  s.wins::bigint as wins,
  s.draws::bigint as draws,
  s.losses::bigint as losses,
  s.mean as win_rate,
  (s.wins + 0.5 * s.draws)::double / s.n as discrete_win_rate,
  sqrt(
    greatest(s.won_won - 2 * s.mean * s.won_n + s.mean * s.mean * s.n_n, 0)
      * s.prompts / nullif(s.prompts - 1, 0)
  ) / s.n as standard_error,
  s.opponents
from summed s
left join named a on a.model_id = s.model_id
order by s.judge, win_rate desc, s.model_id

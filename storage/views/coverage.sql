-- One row per draw of a round: what was planned, what has been sampled, what has been scored.
with
scored_completions as (select distinct completion_id from scores),
-- A later wave of a round asks for the same samples and some more.
asked as (
  select run_id, round, purpose, model_id, params_id, seed, prompt_id, max(n) as n
  from draws
  group by all
),
found as (
  select
    d.run_id, d.round, d.purpose, d.model_id, d.params_id, d.seed, d.prompt_id,
    count(c.completion_id) as sampled,
    count(s.completion_id) as scored
  from asked d
  join completions c
    on c.prompt_id = d.prompt_id and c.model_id = d.model_id and c.params_id = d.params_id
    and c.seed = d.seed and c.sample_idx < d.n
  left join scored_completions s on s.completion_id = c.completion_id
  group by all
)
select
  d.run_id, d.round, d.purpose, d.model_id,
  count(distinct d.prompt_id) as prompts,
  sum(d.n)::bigint as planned,
  coalesce(sum(f.sampled), 0)::bigint as sampled,
  coalesce(sum(f.scored), 0)::bigint as scored,
  coalesce(sum(f.sampled), 0)::double / nullif(sum(d.n), 0) as sampled_share,
  coalesce(sum(f.scored), 0)::double / nullif(sum(f.sampled), 0) as scored_share
from asked d
left join found f using (run_id, round, purpose, model_id, params_id, seed, prompt_id)
group by d.run_id, d.round, d.purpose, d.model_id
order by d.run_id, d.round, d.purpose, d.model_id

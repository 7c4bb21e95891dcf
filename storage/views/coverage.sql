-- One row per draw of a round: what was planned, what has been sampled, what has been scored.
with
scored_completions as (select distinct completion_id from scores),
found as (
  select
    d.draw_id,
    count(c.completion_id) as sampled,
    count(s.completion_id) as scored
  from draws d
  join completions c
    on c.prompt_id = d.prompt_id and c.model_id = d.model_id and c.params_id = d.params_id
    and c.seed = d.seed and c.sample_idx < d.n
  left join scored_completions s on s.completion_id = c.completion_id
  group by d.draw_id
)
select
  d.run_id, d.round, d.purpose, d.model_id,
  count(distinct d.prompt_id) as prompts,
  sum(d.n)::bigint as planned,
  coalesce(sum(f.sampled), 0)::bigint as sampled,
  coalesce(sum(f.scored), 0)::bigint as scored,
  coalesce(sum(f.sampled), 0)::double / nullif(sum(d.n), 0) as sampled_share,
  coalesce(sum(f.scored), 0)::double / nullif(sum(f.sampled), 0) as scored_share
from draws d
left join found f on f.draw_id = d.draw_id
group by d.run_id, d.round, d.purpose, d.model_id
order by d.run_id, d.round, d.purpose, d.model_id

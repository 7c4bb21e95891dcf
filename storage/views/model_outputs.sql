-- One row per model: how many completions, how long, how many ran into the limit.
with
named as (select model_id, min(name) as name from models group by model_id)
select
  coalesce(n.name, c.model_id) as model,
  count(*) as completions,
  count(distinct c.prompt_id) as prompts,
  round(avg(c.n_tokens), 1) as mean_tokens,
  round(avg((c.finish_reason in ('length', 'abort', 'no_answer'))::integer), 4) as cut_share,
  count(distinct c.text_hash)::double / count(*) as distinct_share,
  min(c.origin) as origin,
  c.model_id
from completions c
left join named n on n.model_id = c.model_id
group by c.model_id, n.name
order by completions desc, model, c.model_id

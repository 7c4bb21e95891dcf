-- The SFT examples of a dataset version (`version_rows`) with their texts, as formats read them.
with
named as (select model_id, min(name) as name from models group by model_id)
select
  v.sft_id, v.prompt_id, q.messages, c.text as completion, v.score, v.rank, v.n_candidates, v.judge,
  v.completion_id, coalesce(a.name, v.model_id) as model,
  q.pool, q.source, q.license
from version_rows v
join prompts q on q.prompt_id = v.prompt_id
join completions c on c.completion_id = v.completion_id
left join named a on a.model_id = v.model_id
where v.bucket between $first_bucket and $last_bucket
  and q.bucket between $first_bucket and $last_bucket
  and c.bucket between $first_bucket and $last_bucket
order by v.bucket, v.sft_id

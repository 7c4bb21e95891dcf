-- The pairs of a dataset version (`version_rows`) with their texts, as formats read them.
with
named as (select model_id, min(name) as name from models group by model_id),
in_range as (from version_rows where bucket between $first_bucket and $last_bucket),
texts as materialized (
  -- One pass over the texts for both sides.
  select completion_id, text
  from completions
  where bucket between $first_bucket and $last_bucket
    and completion_id in (
      select chosen_id from in_range union all select rejected_id from in_range
    )
)
select
  v.pair_id, v.prompt_id, q.messages, c.text as chosen, r.text as rejected,
  v.score_chosen, v.score_rejected, v.margin, v.judge, v.chosen_id, v.rejected_id,
  coalesce(a.name, v.chosen_model_id) as chosen_model,
  coalesce(b.name, v.rejected_model_id) as rejected_model,
  q.pool, q.source, q.license
from in_range v
join prompts q on q.prompt_id = v.prompt_id
join texts c on c.completion_id = v.chosen_id
join texts r on r.completion_id = v.rejected_id
left join named a on a.model_id = v.chosen_model_id
left join named b on b.model_id = v.rejected_model_id
where q.bucket between $first_bucket and $last_bucket
order by v.bucket, v.pair_id

-- The prompts of a scope: what a round drew to train on, or without a round what has completions.
--
-- Each of them ends as a pair, an SFT example or a drop with a reason. Reads `scoped`.
with
drawn as (
  select distinct d.prompt_id, d.bucket
  from draws d
  join prompts p using (prompt_id)
  where d.run_id = $run_id and d.round = $round and d.purpose = 'train' and p.split = 'train'
    and ($pools is null or list_contains($pools, p.pool))
    and d.bucket between $first_bucket and $last_bucket
),
counted as (
  select
    prompt_id, any_value(bucket) as bucket, count(*) as n_completions, count(score) as n_scored,
    coalesce(bool_or(is_flagged and score is not null), false) as any_flagged
  from scoped
  group by prompt_id
)
select
  coalesce(c.prompt_id, d.prompt_id) as prompt_id,
  coalesce(c.n_completions, 0) as n_completions,
  coalesce(c.n_scored, 0) as n_scored,
  coalesce(c.any_flagged, false) as any_flagged
from counted c
full join drawn d on d.prompt_id = c.prompt_id

-- The best candidates of each prompt, for rejection-sampled SFT.
-- kind sft
-- param keep int = 1             most examples of one prompt
-- param min_score float = null   lowest score that is good enough; null takes the best there is
with
prompts_seen as (
  select
    prompt_id,
    count(*) as n_candidates,
    max(score) filter (can_be_chosen) as best_finished
  from candidates
  group by prompt_id
),
decided as (
  select
    *,
    case
      when best_finished is null then 'no_finished_candidate'
      when $min_score is not null and best_finished < $min_score then 'below_min_score'
    end as reason
  from prompts_seen
),
ranked as (
  select
    c.prompt_id, c.completion_id, c.score, d.n_candidates,
    row_number() over (
      partition by c.prompt_id order by c.score desc, c.lot, c.completion_id
    ) as rank
  from candidates c
  join decided d on d.prompt_id = c.prompt_id
  where d.reason is null and c.can_be_chosen
    and ($min_score is null or c.score >= $min_score)
  qualify rank <= $keep
),
answer as (
  select prompt_id, completion_id, rank, score, n_candidates, null as reason from ranked
  union all
  select prompt_id, null, null, null, n_candidates, reason from decided where reason is not null
)
from answer

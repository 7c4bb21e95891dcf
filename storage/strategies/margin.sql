-- Every two candidates of a prompt whose scores are far enough apart, the widest first.
-- kind pairs
-- param min_margin float = 0.0  smallest difference of scores that makes a pair
-- param max_pairs int = 4       most pairs of one prompt
with
prompts_seen as (
  select
    prompt_id,
    any_value(n_scored) as n_scored,
    max(score) as best,
    min(score) as worst,
    max(score) filter (can_be_chosen) as best_finished
  from candidates
  group by prompt_id
),
decided as (
  select
    *,
    case
      when n_scored < 2 then 'too_few_scored'
      when best = worst then 'tie'
      when best_finished is null or best_finished = worst then 'no_finished_candidate'
      when round(best_finished - worst, 10) < $min_margin then 'margin_too_small'
    end as reason
  from prompts_seen
),
combined as (
  select
    c.prompt_id,
    c.completion_id as chosen_id,
    r.completion_id as rejected_id,
    c.score as score_chosen,
    r.score as score_rejected,
    null as reason
  from candidates c
  join candidates r on r.prompt_id = c.prompt_id and r.score < c.score
  where c.can_be_chosen and round(c.score - r.score, 10) >= $min_margin
  qualify row_number() over (
    partition by c.prompt_id
    order by round(c.score - r.score, 10) desc, c.lot, r.lot, c.completion_id, r.completion_id
  ) <= $max_pairs
),
answer as (
  from combined
  union all
  select prompt_id, null, null, null, null, reason from decided where reason is not null
)
from answer

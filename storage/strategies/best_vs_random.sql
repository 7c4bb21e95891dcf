-- The best candidate of each prompt against one drawn by lot among the strictly lower ones.
-- kind pairs
-- param min_margin float = 0.0  smallest difference of scores that makes a pair
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
chosen as (
  select prompt_id, completion_id, score
  from candidates
  where can_be_chosen
  qualify row_number() over (partition by prompt_id order by score desc, lot, completion_id) = 1
),
rejected as (
  select c.prompt_id, c.completion_id, c.score
  from candidates c
  join decided d on d.prompt_id = c.prompt_id
  where d.reason is null
    and c.score < d.best_finished and round(d.best_finished - c.score, 10) >= $min_margin
  qualify row_number() over (partition by c.prompt_id order by c.lot, c.completion_id) = 1
),
answer as (
  select
    d.prompt_id,
    c.completion_id as chosen_id,
    r.completion_id as rejected_id,
    c.score as score_chosen,
    r.score as score_rejected,
    d.reason
  from decided d
  left join chosen c on c.prompt_id = d.prompt_id and d.reason is null
  left join rejected r on r.prompt_id = d.prompt_id and d.reason is null
)
from answer

-- Candidates that a verifier found right against candidates that it found wrong, drawn by lot.
-- kind pairs
-- param right_from float = 1.0  lowest score that counts as right
-- param wrong_to float = 0.0    highest score that counts as wrong
-- param max_right int = 3       most right candidates of one prompt that are used
-- param max_wrong int = 3       most wrong candidates of one prompt that are used
-- param k int = 1               most pairs of one prompt
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
      when best < $right_from then 'none_right'
      when worst > $wrong_to then 'none_wrong'
      when best_finished is null or best_finished < $right_from then 'no_finished_candidate'
    end as reason
  from prompts_seen
),
right_ones as (
  select
    prompt_id, completion_id, score,
    row_number() over (partition by prompt_id order by lot, completion_id) as place
  from candidates
  where can_be_chosen and score >= $right_from
  qualify place <= $max_right
),
wrong_ones as (
  select
    prompt_id, completion_id, score,
    row_number() over (partition by prompt_id order by lot, completion_id) as place
  from candidates
  where score <= $wrong_to
  qualify place <= $max_wrong
),
combined as (
  -- New faces first: (1, 1), (2, 2), (3, 3), then the rest.
  select
    c.prompt_id,
    c.completion_id as chosen_id,
    r.completion_id as rejected_id,
    c.score as score_chosen,
    r.score as score_rejected,
    null as reason
  from right_ones c
  join wrong_ones r on r.prompt_id = c.prompt_id and r.score < c.score
  qualify row_number() over (
    partition by c.prompt_id order by abs(c.place - r.place), c.place, r.place
  ) <= $k
),
answer as (
  from combined
  union all
  select prompt_id, null, null, null, null, reason from decided where reason is not null
)
from answer

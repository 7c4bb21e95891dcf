-- A pair or SFT example with a completion that answers another prompt.
with
used as (
  select pair_id as id, prompt_id, chosen_id as completion_id from checked_pairs
  union all
  select pair_id as id, prompt_id, rejected_id as completion_id from checked_pairs
  union all
  select sft_id as id, prompt_id, completion_id from checked_sft
)
select u.id, u.prompt_id, u.completion_id, c.prompt_id as answers
from used u
left join checked_completions c on c.completion_id = u.completion_id
where c.prompt_id is distinct from u.prompt_id

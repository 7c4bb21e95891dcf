-- A pair or SFT example of a prompt that is held out for the gate or for development.
with
used as (
  select pair_id as id, prompt_id from checked_pairs
  union all
  select sft_id as id, prompt_id from checked_sft
)
select u.id, u.prompt_id, p.split
from used u
left join prompts p on p.prompt_id = u.prompt_id
where p.split is distinct from 'train'

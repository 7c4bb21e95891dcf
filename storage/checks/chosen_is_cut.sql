-- A chosen completion, or an SFT example, that ran into the length limit or was aborted.
with
used as (
  select pair_id as id, chosen_id as completion_id from checked_pairs
  union all
  select sft_id as id, completion_id from checked_sft
)
select u.id, u.completion_id, c.finish_reason
from used u
join checked_completions c on c.completion_id = u.completion_id
where c.finish_reason in ('length', 'abort', 'no_answer') or c.finish_reason is null

-- The prompts of a scope that gave nothing, each with its one reason.
with
answered as (
  -- A prompt that a strategy both used and dropped was used.
  select prompt_id, min(reason) as reason, bool_or(reason is null) as used
  from outcome
  group by prompt_id
)
select
  s.prompt_id,
  case
    when s.n_completions = 0 then 'no_completions'
    when s.n_scored = 0 then 'unscored'
    -- What would have been chosen asks its judge for a better score, and no person preferred it.
    when a.reason = 'no_finished_candidate' and s.any_flagged then 'speaks_to_judge'
    else coalesce(a.reason, 'not_selected')
  end as reason,
  format('{} of {} completions scored', s.n_scored, s.n_completions) as detail
from scope_prompts s
left join answered a on a.prompt_id = s.prompt_id
where not coalesce(a.used, false)
order by s.prompt_id

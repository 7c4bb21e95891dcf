-- What changed between two dataset versions, row by row, and why.
--
-- A row is known by its completions, not by its id, which names the strategy too. It is `added`,
-- `removed`, `relabelled` (the two sides changed places) or `rescored` (the same sides, another
-- score). The cause is the first that holds, in this order: new prompts, new checkpoint, new judge,
-- new strategy, new verdicts or completions. Reads `before`, `after` (prompt_id, low_id, high_id,
-- chosen_id, judge, score, model_ids), `rejudged` (completion_id) and $same_strategy.
with
prompts_of as (
  select 'before' as version, prompt_id from before union select 'after', prompt_id from after
),
models_of as (
  select distinct 'before' as version, unnest(model_ids) as model_id from before
  union
  select distinct 'after', unnest(model_ids) from after
),
judges_of as (
  select 'before' as version, judge from before union select 'after', judge from after
),
sides as (
  select
    coalesce(b.prompt_id, a.prompt_id) as prompt_id,
    coalesce(b.low_id, a.low_id) as low_id,
    coalesce(b.high_id, a.high_id) as high_id,
    b.chosen_id as chosen_before, a.chosen_id as chosen_after,
    b.score as score_before, a.score as score_after,
    coalesce(a.judge, b.judge) as judge,
    coalesce(a.model_ids, b.model_ids) as model_ids,
    case
      when b.low_id is null then 'added'
      when a.low_id is null then 'removed'
      when a.chosen_id <> b.chosen_id then 'relabelled'
      when a.score is distinct from b.score then 'rescored'
    end as change,
    -- The version that lacks the row, or had it otherwise.
    if(a.low_id is null, 'after', 'before') as other
  from before b
  full join after a on a.low_id = b.low_id and a.high_id = b.high_id
),
answer as (
  select
    s.change,
    case
      when s.change in ('added', 'removed') and p.prompt_id is null then 'new prompts'
      when s.change in ('added', 'removed') and exists (
        from (select unnest(s.model_ids) as id) m
        where not exists (from models_of o where o.version = s.other and o.model_id = m.id)
      ) then 'new checkpoint'
      when j.judge is null
        or exists (from rejudged r where r.completion_id in (s.low_id, s.high_id)) then 'new judge'
      when not $same_strategy then 'new strategy'
      else 'new verdicts or completions'
    end as cause,
    s.prompt_id, s.chosen_before, s.chosen_after, s.score_before, s.score_after, s.judge,
    s.low_id, s.high_id
  from sides s
  left join prompts_of p on p.version = s.other and p.prompt_id = s.prompt_id
  left join judges_of j on j.version = s.other and j.judge is not distinct from s.judge
  where s.change is not null
)
from answer
order by change, cause, prompt_id, low_id, high_id

-- One row per run, round, stage and reason: how much was dropped, and one example to look up.
select
  stage, reason, round, run_id,
  count(*) as drops,
  count(distinct prompt_id) as prompts,
  min(item_kind) as item_kind,
  min(item_id) as example
from drops
group by stage, reason, round, run_id
order by run_id, round, stage, drops desc, reason

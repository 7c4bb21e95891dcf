-- One row per run, round and number of samples: where adaptive sampling stopped, and why.
--
-- `settled` prompts had a good and a bad answer then; `unsettled` ones were still all alike at the
-- cap. Rounds without adaptive sampling have no row.
with
last_wave as (
  select run_id, round, detail
  from steps
  where stage like 'ask-%' and state = 'done' and json_extract(detail, '$.tally') is not null
  qualify row_number() over (
    partition by run_id, round order by substr(stage, 5)::integer desc
  ) = 1
),
counted as (
  select
    run_id, round,
    unnest(from_json(
      json_extract(detail, '$.tally'),
      '[{"samples": "INTEGER", "settled": "BIGINT", "unsettled": "BIGINT"}]'
    )) as each
  from last_wave
)
select
  run_id, round, each.samples as samples, each.settled as settled, each.unsettled as unsettled
from counted
order by run_id, round, samples

-- One row per pool and reason: what was kept, what was left out and why, what cannot be sampled.
--
-- `what` is kept (its reason then says what to know: no licence, a safety tag), left out (before it
-- became a prompt) or not sampled (a prompt that does not fit a model). A row may have several tags.
with
kept as (
  select pool, 'kept' as what, 'prompts' as reason, count(*) as prompts, min(prompt_id) as example
  from prompts group by pool
),
unlicensed as (
  select pool, 'kept' as what, 'without a licence' as reason, count(*) as prompts,
    min(prompt_id) as example
  from prompts where coalesce(trim(license), '') = '' group by pool
),
tagged as (
  select pool, 'kept' as what, 'tagged ' || tag as reason, count(*) as prompts,
    min(prompt_id) as example
  from (select pool, prompt_id, unnest(tags) as tag from prompts)
  group by pool, tag
),
left_out as (
  select coalesce(json_extract_string(try_cast(detail as json), '$.pool'), '') as pool,
    'left out' as what, reason, count(*) as prompts, min(item_id) as example
  from drops where stage = 'expand' group by all
),
not_sampled as (
  select p.pool, 'not sampled' as what, d.reason, count(distinct p.prompt_id) as prompts,
    min(p.prompt_id) as example
  from drops d
  join prompts p on p.prompt_id = d.prompt_id
  where d.stage = 'sample' group by all
),
every_row as (
  from kept union all by name from unlicensed union all by name from tagged
  union all by name from left_out union all by name from not_sampled
),
sizes as (
  select pool, sum(prompts) as total from every_row
  where what = 'left out' or reason = 'prompts' group by pool
)
select
  e.pool, e.what, e.reason, e.prompts, round(e.prompts / s.total, 4) as share, e.example
from every_row e
left join sizes s using (pool)
order by e.pool, e.what, e.prompts desc, e.reason

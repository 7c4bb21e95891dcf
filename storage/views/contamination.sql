-- One row per pool, source and benchmark: what was kept out because the benchmark holds it.
--
-- Each prompt counts for the item that it matches best.
with
found as (
  select prompt_id, try_cast(detail as json) as facts
  from drops
  where stage = 'expand' and reason = 'contaminated'
),
matches as (
  select
    prompt_id,
    json_extract_string(facts, '$.pool') as pool,
    json_extract_string(facts, '$.source') as source,
    json_extract_string(facts, '$.benchmark') as benchmark,
    json_extract_string(facts, '$.item') as item,
    json_extract_string(facts, '$.kind') as kind,
    json_extract_string(facts, '$.benchmark_items')::bigint as benchmark_items
  from found
)
select
  pool, source, benchmark,
  count(*) as prompts,
  count(distinct item) as items,
  max(benchmark_items) as benchmark_items,
  round(count(distinct item) / max(benchmark_items), 4) as share,
  count(*) filter (kind = 'exact') as exact,
  count(*) filter (kind = 'embedded') as embedded,
  count(*) filter (kind = 'truncated') as truncated,
  count(*) filter (kind = 'overlap') as overlap
from matches
group by pool, source, benchmark
order by share desc, pool, source, benchmark

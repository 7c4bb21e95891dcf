-- The licences of a set's prompts, by share of its rows.
select
  coalesce(nullif(q.license, ''), 'unknown') as license,
  coalesce(nullif(q.source, ''), q.pool) as source,
  count(*) as rows,
  round(count(*) / sum(count(*)) over (), 4) as share
from version_rows v
join prompts q on q.prompt_id = v.prompt_id
group by all
order by rows desc, license, source

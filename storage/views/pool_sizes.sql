-- One row per pool and split: how many prompts, of which licences.
select
  pool, split, count(*) as prompts,
  round(avg(n_chars), 1) as mean_chars,
  string_agg(distinct nullif(license, ''), ', ' order by nullif(license, '')) as licenses
from prompts
group by pool, split
order by pool, split

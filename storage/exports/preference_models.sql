-- Who wrote the two sides of a preference set.
with
named as (select model_id, min(name) as name from models group by model_id),
sides as (
  select chosen_model_id as model_id, 1 as chosen, 0 as rejected from version_rows
  union all
  select rejected_model_id as model_id, 0 as chosen, 1 as rejected from version_rows
)
select
  coalesce(n.name, s.model_id) as model,
  sum(s.chosen)::bigint as chosen,
  sum(s.rejected)::bigint as rejected,
  s.model_id
from sides s
left join named n on n.model_id = s.model_id
group by all
order by chosen desc, model, s.model_id

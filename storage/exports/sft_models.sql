-- Who wrote the examples of an SFT set.
with
named as (select model_id, min(name) as name from models group by model_id)
select coalesce(n.name, s.model_id) as model, count(*) as examples, s.model_id
from version_rows s
left join named n on n.model_id = s.model_id
group by all
order by examples desc, model, s.model_id

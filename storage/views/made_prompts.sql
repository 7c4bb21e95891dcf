-- One row per prompt that a maker wrote: by which file, from which prompts, with which model.
with
made as (
  select prompt_id, pool, split, left(source_id, 32) as making_id
  from prompts
  where starts_with(source, 'made:')
)
select
  m.prompt_id, m.pool, m.split, k.maker, k.maker_sha, k.variant, k.persona, k.parent_ids,
  k.model_id, k.params_id, k.cost_microusd, m.making_id
from made m
join makings k using (making_id)
order by m.pool, m.prompt_id

-- One row per thing that a round's draw said: prompts drawn less, used up, or drawn again.
with
drawn as (
  select run_id, round, ended_at as drawn_at,
    (detail->>'$.train')::integer as train,
    (detail->>'$.gate')::integer as gate,
    unnest(coalesce(cast(detail->'$.notes' as varchar[]), [])) as note
  from steps
  where stage = 'draw' and state = 'done'
)
select run_id, round, train, gate, note, drawn_at
from drawn
order by run_id, round, note

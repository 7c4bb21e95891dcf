-- One row per pair: the prompt, completions, models, judgements and dataset versions behind it.
with
judged as (
  select judgement_id, unnest(completion_ids) as completion_id from judgements
),
verdicts as (
  select completion_id, list(distinct judgement_id order by judgement_id) as judgement_ids
  from judged
  group by completion_id
),
named as (select model_id, min(name) as name from models group by model_id)
select
  p.pair_id, p.prompt_id, q.pool, q.source, q.source_id, q.license,
  p.strategy, p.strategy_id, p.judge, p.score_chosen, p.score_rejected, p.margin,
  p.chosen_id, p.chosen_model_id, a.name as chosen_model, c.params_id as chosen_params_id,
  c.engine as chosen_engine, c.origin as chosen_origin,
  p.rejected_id, p.rejected_model_id, b.name as rejected_model, r.params_id as rejected_params_id,
  r.engine as rejected_engine, r.origin as rejected_origin,
  v.judgement_ids as chosen_judgement_ids,
  w.judgement_ids as rejected_judgement_ids,
  (
    select list(d.version_id order by d.version_id)
    from dataset_versions d
    where d.kind = 'preference' and d.strategy_id = p.strategy_id
      and case
        when d.build_id is not null then d.build_id = p.build_id
        else d.round is null or (d.round = p.round and d.run_id = p.run_id)
      end
  ) as version_ids,
  p.round, p.run_id, p.created_at
from pairs p
left join prompts q on q.prompt_id = p.prompt_id
left join completions c on c.completion_id = p.chosen_id
left join completions r on r.completion_id = p.rejected_id
left join named a on a.model_id = p.chosen_model_id
left join named b on b.model_id = p.rejected_model_id
left join verdicts v on v.completion_id = p.chosen_id
left join verdicts w on w.completion_id = p.rejected_id

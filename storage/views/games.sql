-- One row per comparison that was asked for: who judged, what was shown, how long, and the verdict.
--
-- People's labels are rows as well, with the annotator as the judge and kind `human`. `p_first` is
-- P(first shown is better), null without a verdict. `order_known` is false where a recorded verdict
-- does not say which answer was displayed first. A judge that was edited counts with its newest
-- version only. Lengths are in characters.
with
judges_in_versions as (
  select judge from judgements where completion_id is null
  group by judge having min(judge_id) <> max(judge_id)
),
newest as (
  select prompt_id, judge,
    arg_max(judge_id, (greatest(created_at, moved_at), judge_id)) as judge_id
  from judgements
  left join pointers on name = 'judge:' || judge and value = judge_id
  where completion_id is null and judge in (from judges_in_versions)
  group by prompt_id, judge
),
judged as (
  select
    j.judgement_id as game_id, j.judge, j.judge_id, j.kind, j.judge_model_id, j.model_reported,
    j.prompt_id, j.completion_ids[1] as first_id, j.completion_ids[2] as second_id, j.status,
    case
      when j.status <> 'ok' then null
      when j.p_first is not null then if(isfinite(j.p_first), j.p_first, null)
      when j.winner_id is null then 0.5
      when j.winner_id = j.completion_ids[1] then 1.0
      when j.winner_id = j.completion_ids[2] then 0.0
    end::double as p_first,
    j.parser is distinct from 'recorded/listed' as order_known,
    j.cost_microusd
  from judgements j
  left join newest n on n.prompt_id = j.prompt_id and n.judge = j.judge
  where j.completion_id is null and len(j.completion_ids) = 2
    and (n.judge_id is null or n.judge_id = j.judge_id)
),
replaced as (select supersedes_id from labels where supersedes_id is not null),
labelled as (
  select
    l.label_id as game_id, l.annotator as judge, l.annotator as judge_id, 'human' as kind,
    null as judge_model_id, null as model_reported,
    l.prompt_id, l.completion_ids[1] as first_id, l.completion_ids[2] as second_id, 'ok' as status,
    case
      when l.winner_id = l.completion_ids[1] then 1.0
      when l.winner_id = l.completion_ids[2] then 0.0
      when l.choice ilike 'tie%' or l.choice ilike 'draw%' then 0.5
    end::double as p_first,
    true as order_known,
    null as cost_microusd
  from labels l
  anti join replaced r on r.supersedes_id = l.label_id
  where len(l.completion_ids) = 2
),
asked as (
  from judged
  union all
  from labelled where p_first is not null
),
named as (select model_id, min(name) as name from models group by model_id),
sized as (
  select c.completion_id, c.model_id, coalesce(m.name, c.model_id) as model, length(c.text) as chars
  from completions c
  left join named m on m.model_id = c.model_id
)
select
  a.judge, a.judge_id, a.kind, a.prompt_id, a.first_id, a.second_id, a.status, a.p_first,
  a.order_known,
  f.model_id as first_model_id, f.model as first_model, f.chars as first_chars,
  s.model_id as second_model_id, s.model as second_model, s.chars as second_chars,
  a.cost_microusd, a.judge_model_id, a.model_reported, a.game_id
from asked a
left join sized f on f.completion_id = a.first_id
left join sized s on s.completion_id = a.second_id

-- One row per comparing judge, completion and opponent: P(completion is better), both orders combined.
--
-- An order that was asked and did not give a verdict makes the match unknown: half a verdict carries
-- the judge's position bias in full. People's comparisons count as a judge's do. Of a judge that was edited counts the version asked last.
with
judges_in_versions as (
  select judge from judgements group by judge having min(judge_id) <> max(judge_id)
),
newest as (
  select j.prompt_id, j.judge, 
    arg_max(j.judge_id, (greatest(j.created_at, p.moved_at), j.judge_id)) as judge_id
  from judgements j
  join judges_in_versions v on v.judge = j.judge
  left join pointers p on p.name = 'judge:' || j.judge and p.value = j.judge_id
  where j.completion_id is null
  group by j.prompt_id, j.judge
),
verdicts as (
  select
    j.prompt_id, j.bucket, j.judge, j.kind,
    j.completion_ids[1] as first_id,
    j.completion_ids[2] as second_id,
    case
      when j.status <> 'ok' then null
      when j.p_first is not null then try_cast(j.p_first as decimal(38, 15))
      when j.winner_id is null then 0.5
      when j.winner_id = j.completion_ids[1] then 1.0
      when j.winner_id = j.completion_ids[2] then 0.0
    end as p_first
  from judgements j
  left join newest n on n.prompt_id = j.prompt_id and n.judge = j.judge
  where j.completion_id is null and len(j.completion_ids) = 2
    and (n.judge_id is null or n.judge_id = j.judge_id)
),
sides as (
  select
    prompt_id, bucket, judge, kind, first_id as completion_id, second_id as opponent_id,
    true as shown_first, p_first as p
  from verdicts
  union all
  select
    prompt_id, bucket, judge, kind, second_id as completion_id, first_id as opponent_id,
    false as shown_first, 1 - p_first as p
  from verdicts
),
by_order as (
  -- Decimals, because a sum of floats depends on the order of its rows and a tie must stay a tie.
  select
    prompt_id, bucket, judge, completion_id, opponent_id, shown_first, min(kind) as kind,
    sum(p)::double / count(p) as p,
    count(p) as n
  from sides
  group by prompt_id, bucket, judge, completion_id, opponent_id, shown_first
)
select
  judge, prompt_id, completion_id, opponent_id,
  sum(p::decimal(38, 15))::double / count(*) as p,
  count(*) as orders,
  sum(n)::bigint as n_judgements,
  bucket, min(kind) as kind
from by_order
group by judge, prompt_id, completion_id, opponent_id, bucket
having count(p) = count(*)

-- One row per rater, completion and aspect: its score, from verdicts with status ok alone.
--
-- The mean over repetitions; null where none gave a verdict. People's labels are rows as well, with
-- the annotator as the judge. A judge that was edited counts with its newest version only.
with
judges_in_versions as (
  select judge from judgements where completion_id is not null
  group by judge having min(judge_id) <> max(judge_id)
),
newest as (
  select prompt_id, judge,
    arg_max(judge_id, (greatest(created_at, moved_at), judge_id)) as judge_id
  from judgements
  left join pointers on name = 'judge:' || judge and value = judge_id
  where completion_id is not null and judge in (from judges_in_versions)
  group by prompt_id, judge
),
settled_anew as (
  -- A panel that settles a prompt anew writes a further replicate in the place of the one before.
  select completion_id, judge_id, max(replicate) as replicate
  from judgements
  where kind = 'panel' and replicate > 0 and completion_id is not null
  group by completion_id, judge_id
),
replaced as (select supersedes_id from labels where supersedes_id is not null),
said as (
  select
    j.judge, j.kind, j.prompt_id, j.completion_id, coalesce(j.aspect, '') as aspect,
    case when j.status = 'ok' then try_cast(j.score as decimal(38, 15)) end as score,
    j.cost_microusd
  from judgements j
  left join newest n on n.prompt_id = j.prompt_id and n.judge = j.judge
  left join settled_anew s on s.completion_id = j.completion_id and s.judge_id = j.judge_id
  where j.completion_id is not null and (n.judge_id is null or n.judge_id = j.judge_id)
    and (s.replicate is null or s.replicate = j.replicate)
  union all
  select
    l.annotator, 'human', l.prompt_id, l.completion_ids[1], '',
    try_cast(l.score as decimal(38, 15)), null
  from labels l
  anti join replaced r on r.supersedes_id = l.label_id
  where len(l.completion_ids) = 1 and l.score is not null
)
select
  judge, min(kind) as kind, prompt_id, completion_id, aspect,
  sum(score)::double / count(score) as score,
  count(score) as n_verdicts, count(*) as n, sum(cost_microusd)::bigint as cost_microusd
from said
group by judge, prompt_id, completion_id, aspect

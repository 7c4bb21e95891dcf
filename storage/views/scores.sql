-- One row per completion and judge: its score, from verdicts with status ok alone.
--
-- Verdicts on one completion: the mean over replicates (of a panel, which speaks once, the last of
-- them), then over aspects, and no score until every aspect that the judge asks has a verdict.
-- Comparisons: the mean over opponents of P(this one is better). Rounded to ten decimals: a mean of
-- thirds must not break a tie. Of a judge that was edited counts, prompt by prompt, the version that
-- was asked last: an edit that was taken back makes no new verdicts, so a pointer of the ledger says
-- when it was asked.
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
  where j.completion_id is not null
  group by j.prompt_id, j.judge
),
settled_anew as (
  -- A panel that settles a prompt anew writes a further replicate in the place of the one before.
  select completion_id, judge_id, max(replicate) as replicate
  from judgements
  where kind = 'panel' and replicate > 0 and completion_id is not null
  group by completion_id, judge_id
),
aspects_asked as (
  -- Over the whole table, whatever part of it is asked for: columns of few values alone are read.
  select judge_id, count(*) as n
  from (select distinct judge_id, coalesce(aspect, '') from judgements where kind <> 'pairwise')
  group by judge_id
),
by_aspect as (
  -- Decimals, because a sum of floats depends on the order of its rows and a tie must stay a tie.
  -- NaN and infinity become null here: they are no scores.
  select
    j.completion_id, j.prompt_id, j.bucket, j.judge, j.judge_id, j.kind,
    coalesce(j.aspect, '') as aspect,
    sum(try_cast(j.score as decimal(38, 15)))::double
      / count(try_cast(j.score as decimal(38, 15))) as score,
    count(*) as n
  from judgements j
  left join newest n on n.prompt_id = j.prompt_id and n.judge = j.judge
  left join settled_anew s on s.completion_id = j.completion_id and s.judge_id = j.judge_id
  where j.completion_id is not null and j.status = 'ok'
    and (s.replicate is null or s.replicate = j.replicate)
    and try_cast(j.score as decimal(38, 15)) is not null
    and (n.judge_id is null or n.judge_id = j.judge_id)
  group by all
),
one_by_one as (
  select
    a.completion_id, a.prompt_id, a.judge, min(a.kind) as kind,
    round(sum(a.score::decimal(38, 15))::double / count(*), 10) as score,
    sum(a.n)::bigint as n_judgements,
    a.bucket
  from by_aspect a
  join aspects_asked q on q.judge_id = a.judge_id
  group by a.completion_id, a.prompt_id, a.judge, a.judge_id, a.bucket
  having count(*) = any_value(q.n)
),
against_others as (
  select
    completion_id, prompt_id, judge, min(kind) as kind,
    round(sum(p::decimal(38, 15))::double / count(*), 10) as score,
    sum(n_judgements)::bigint as n_judgements,
    bucket
  from matches
  where completion_id <> opponent_id
  group by completion_id, prompt_id, judge, bucket
)
from one_by_one
union all
from against_others

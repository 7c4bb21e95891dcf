-- One row per judge: how its scores are spread, and how many completions have none.
with
seen as (
  select judge, count(distinct c.completion_id) as judged
  from (select judge, unnest(completion_ids) as completion_id from judgements) c
  group by judge
),
spread as (
  select
    judge, min(kind) as kind, count(*) as scored, avg(score) as mean, min(score) as lowest,
    quantile_cont(score, 0.25) as q25, median(score) as median, quantile_cont(score, 0.75) as q75,
    max(score) as highest
  from scores
  group by judge
)
select
  n.judge, s.kind, coalesce(s.scored, 0) as scored, n.judged - coalesce(s.scored, 0) as unscored,
  s.mean, s.lowest, s.q25, s.median, s.q75, s.highest
from seen n
left join spread s on s.judge = n.judge
order by n.judge

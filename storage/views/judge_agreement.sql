-- One row per two judges: how often they order two completions of a prompt the same way.
--
-- Both must have scored both completions; where either sees a tie, the two count as `ties`.
with
ordered as (
  select
    a.judge, a.completion_id as one, b.completion_id as other, sign(a.score - b.score) as verdict
  from scores a
  join scores b
    on b.judge = a.judge and b.prompt_id = a.prompt_id and b.completion_id > a.completion_id
)
select
  x.judge as judge_a, y.judge as judge_b,
  count(*) filter (x.verdict <> 0 and y.verdict <> 0) as n,
  count(*) filter (x.verdict <> 0 and x.verdict = y.verdict) as agree,
  count(*) filter (x.verdict = 0 or y.verdict = 0) as ties,
  count(*) filter (x.verdict <> 0 and x.verdict = y.verdict)::double
    / nullif(count(*) filter (x.verdict <> 0 and y.verdict <> 0), 0) as agreement
from ordered x
join ordered y on y.one = x.one and y.other = x.other and y.judge > x.judge
group by x.judge, y.judge
order by x.judge, y.judge

-- One row per judge: how often the longer of two completions scores higher, and by how much.
--
-- Lengths are in characters: tokens are not known of every completion, and those of two models do not
-- compare. Every two completions of a prompt that differ in length and in score count once. 0.5 is no
-- preference for length; whether a preference is a bias, only a comparison with people tells.
with
lengths as (
  select completion_id, length(text) as size from completions where text is not null
),
sized as (
  select s.judge, s.prompt_id, s.completion_id, s.score, l.size
  from scores s
  join lengths l on l.completion_id = s.completion_id
),
by_pair as (
  select
    a.judge,
    (a.size > b.size) = (a.score > b.score) as longer_is_better,
    abs(a.size - b.size) as difference
  from sized a
  join sized b
    on b.judge = a.judge and b.prompt_id = a.prompt_id and b.completion_id > a.completion_id
  where a.size <> b.size and a.score <> b.score
),
by_judge as (
  select
    judge, count(*) as n, avg(longer_is_better::integer) as longer_is_better_share,
    avg(difference) as mean_length_difference
  from by_pair
  group by judge
),
correlated as (
  select judge, corr(score, size) as score_length_correlation, count(*) as completions
  from sized
  group by judge
)
select
  c.judge, c.completions, coalesce(b.n, 0) as n, b.longer_is_better_share, b.mean_length_difference,
  case when isfinite(c.score_length_correlation) then c.score_length_correlation end
    as score_length_correlation
from correlated c
left join by_judge b on b.judge = c.judge
order by c.judge

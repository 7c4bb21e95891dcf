-- One row per rater and two completions of a prompt: P(the one is better than the other).
--
-- The one is what people saw first, where all saw the same, else the completion with the lower id.
-- All orders and repetitions of a rater are combined; where one of its orders gave no verdict,
-- `p_one` is null. Judges that score completions one by one count where people or another judge
-- compared the same two: the higher score is the verdict, `implied` is then true.
with
played as (
  select
    judge, kind, prompt_id, first_id, second_id, p_first,
    least(first_id, second_id) as lower_id, greatest(first_id, second_id) as upper_id
  from games
  where first_id <> second_id
),
turned as (
  select
    lower_id, upper_id,
    coalesce(bool_and(first_id = upper_id) filter (kind = 'human'), false) as upper_first
  from played
  group by lower_id, upper_id
),
sides as (
  select
    p.judge, p.kind, p.prompt_id,
    if(t.upper_first, p.upper_id, p.lower_id) as one_id,
    if(t.upper_first, p.lower_id, p.upper_id) as other_id,
    (p.first_id = p.lower_id) <> t.upper_first as as_listed,
    case when (p.first_id = p.lower_id) <> t.upper_first then p.p_first else 1 - p.p_first end
      as p_one
  from played p
  join turned t on t.lower_id = p.lower_id and t.upper_id = p.upper_id
),
by_order as (
  -- Decimals, because a sum of floats depends on the order of its rows and a tie must stay a tie.
  select
    judge, prompt_id, one_id, other_id, as_listed, min(kind) as kind,
    sum(try_cast(p_one as decimal(38, 15)))::double / count(p_one) as p_one, count(p_one) as n
  from sides
  group by judge, prompt_id, one_id, other_id, as_listed
),
explicit as (
  select
    judge, min(kind) as kind, prompt_id, one_id, other_id,
    case when count(p_one) = count(*) then sum(p_one::decimal(38, 15))::double / count(*) end
      as p_one,
    sum(n)::bigint as n_verdicts
  from by_order
  group by judge, prompt_id, one_id, other_id
),
compared as (select distinct prompt_id, one_id, other_id from explicit),
one_by_one as (
  -- Scores that only follow from comparisons with others imply nothing about these two.
  select s.judge, s.kind, s.completion_id, s.score
  from scores s
  semi join rated_completions r on r.judge = s.judge and r.completion_id = s.completion_id
),
implied as (
  select
    a.judge, a.kind, c.prompt_id, c.one_id, c.other_id,
    case when a.score > b.score then 1.0 when a.score < b.score then 0.0 else 0.5 end as p_one,
    1 as n_verdicts
  from compared c
  join one_by_one a on a.completion_id = c.one_id
  join one_by_one b on b.completion_id = c.other_id and b.judge = a.judge
  anti join explicit e on e.judge = a.judge and e.one_id = c.one_id and e.other_id = c.other_id
)
select judge, kind, prompt_id, one_id, other_id, p_one, n_verdicts, false as implied from explicit
union all
select judge, kind, prompt_id, one_id, other_id, p_one, n_verdicts, true as implied from implied

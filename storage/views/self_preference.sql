-- One row per comparing judge: how often it prefers its own family's completion, people's beside it.
--
-- `excess` compares the judge and people on the games that both judged: above 0 the judge favours its
-- own more than people do. The families are those of the view of single games.
select
  judge, family, count(*) as n,
  avg(p_own) as own_win_rate,
  count(p_people) as n_with_people,
  avg(p_own) filter (p_people is not null) as own_win_rate_with_people,
  avg(p_people) as human_win_rate,
  avg(p_own - p_people) as excess
from self_games
group by judge, family
order by judge, family

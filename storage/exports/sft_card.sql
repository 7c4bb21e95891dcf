-- The numbers of an SFT set's card, over its rows (`version_rows`).
select
  count(*) as examples,
  count(distinct prompt_id) as prompts,
  round(avg(score), 4) as mean_score,
  round(min(score), 4) as lowest_score,
  round(avg(n_candidates), 2) as mean_candidates,
  string_agg(distinct judge, ', ' order by judge) as judges
from version_rows

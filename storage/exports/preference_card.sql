-- The numbers of a preference set's card, over its rows (`version_rows`).
select
  count(*) as pairs,
  count(distinct prompt_id) as prompts,
  round(avg(score_chosen), 4) as mean_score_chosen,
  round(avg(score_rejected), 4) as mean_score_rejected,
  round(avg(margin), 4) as mean_margin,
  round(min(margin), 4) as smallest_margin,
  round(avg(len_diff), 2) as mean_length_difference,
  round(avg((len_diff > 0)::integer), 4) as chosen_longer_share,
  round(avg(on_policy::integer), 4) as on_policy_share,
  string_agg(distinct judge, ', ' order by judge) as judges
from version_rows

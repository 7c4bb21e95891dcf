-- One row per pairwise judge and model: how often its completions are better than another's.
--
-- `win_rate` is the mean of P(this one is better), a draw being 0.5, as a share of 1: AlpacaEval's
-- win_rate (there in percent). `discrete_win_rate` counts wins and half the draws. A model against
-- itself is left out here and shown in the view of single opponents.
select
  judge, model_id, any_value(model) as model,
  sum(n)::bigint as n,
  sum(wins)::bigint as wins,
  sum(draws)::bigint as draws,
  sum(losses)::bigint as losses,
  sum(win_rate * n) / sum(n) as win_rate,
  (sum(wins) + 0.5 * sum(draws)) / sum(n) as discrete_win_rate,
  -- Within and between opponents: the spread of all P together.
  sqrt(
    (sum(sum_of_squares) - pow(sum(win_rate * n), 2) / sum(n)) / nullif(sum(n) - 1, 0) / sum(n)
  ) as standard_error,
  count(*) as opponents
from head_to_head
where model_id <> opponent_model_id
group by judge, model_id
order by judge, win_rate desc, model_id

-- Two pairs of one strategy and judge that say the opposite of each other.
select a.pair_id, b.pair_id as other_pair_id, a.prompt_id, a.chosen_id, a.rejected_id
from checked_pairs a
join checked_pairs b
  on b.chosen_id = a.rejected_id and b.rejected_id = a.chosen_id
  and b.strategy_id = a.strategy_id
where a.chosen_id < a.rejected_id

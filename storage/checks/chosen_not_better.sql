-- A pair whose chosen side does not score strictly higher than its rejected side.
select pair_id, prompt_id, score_chosen, score_rejected
from checked_pairs
where score_chosen <= score_rejected or score_chosen is null or score_rejected is null

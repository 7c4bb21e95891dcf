-- A pair whose two sides are one text, or one list of tokens.
select p.pair_id, p.prompt_id, p.chosen_id, p.rejected_id
from checked_pairs p
join checked_completions c on c.completion_id = p.chosen_id
join checked_completions r on r.completion_id = p.rejected_id
where p.chosen_id = p.rejected_id or c.text_hash = r.text_hash or c.token_hash = r.token_hash

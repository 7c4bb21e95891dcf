-- The tokenizers behind a strategy's pairs, the commonest first.
select m.tokenizer_digest, any_value(m.template_digest) as template_digest, count(*) as n
from pairs p
join models m on m.model_id = p.chosen_model_id
where p.strategy_id = $strategy_id and m.tokenizer_digest is not null
  and ($build_id is null or p.build_id = $build_id)
  and ($build_id is not null or $round is null or (p.run_id = $run_id and p.round = $round))
group by m.tokenizer_digest
order by n desc, m.tokenizer_digest

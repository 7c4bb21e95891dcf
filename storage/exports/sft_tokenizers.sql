-- The tokenizers behind a strategy's SFT examples, the commonest first.
select m.tokenizer_digest, any_value(m.template_digest) as template_digest, count(*) as n
from sft_examples s
join models m on m.model_id = s.model_id
where s.strategy_id = $strategy_id and m.tokenizer_digest is not null
  and ($build_id is null or s.build_id = $build_id)
  and ($build_id is not null or $round is null or (s.run_id = $run_id and s.round = $round))
group by m.tokenizer_digest
order by n desc, m.tokenizer_digest

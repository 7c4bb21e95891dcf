-- The pairs of a selection with what identifies and trains them: rows of a dataset version.
--
-- A selection is one strategy's pairs: of one build ($build_id), else of one round ($run_id, $round),
-- or of every round where $round is null. Without a build, a round's pairs are those it built, and those an earlier run built from the same
-- completions: such a pair is in the store already and is not written twice.
with
drawn as (
  select prompt_id, model_id, params_id, seed, max(n) as n
  from draws
  where run_id = $run_id and round = $round and purpose = 'train'
  group by prompt_id, model_id, params_id, seed
),
tokenizers as (
  select model_id, min(tokenizer_digest) as digest from models group by model_id
),
in_range as (
  select * from pairs
  where strategy_id = $strategy_id and ($build_id is null or build_id = $build_id)
    and bucket between $first_bucket and $last_bucket
),
sides as materialized (
  -- One pass over the completions for both sides.
  select
    completion_id, prompt_id, model_id, params_id, seed, sample_idx, text_hash, token_hash,
    prompt_token_ids, token_ids
  from completions
  where bucket between $first_bucket and $last_bucket
    and completion_id in (
      select chosen_id from in_range union all select rejected_id from in_range
    )
)
select
  p.pair_id, p.prompt_id, p.chosen_id, p.rejected_id, p.score_chosen, p.score_rejected, p.margin,
  p.weight, p.judge, p.source, p.chosen_model_id, p.rejected_model_id, p.len_diff, p.on_policy,
  p.round, p.bucket,
  c.text_hash as chosen_text_hash, c.token_hash as chosen_token_hash,
  r.text_hash as rejected_text_hash, r.token_hash as rejected_token_hash,
  c.prompt_token_ids as prompt_ids, c.token_ids as chosen_ids, r.token_ids as rejected_ids,
  case
    when c.token_ids is null or r.token_ids is null
      or c.prompt_token_ids is null or r.prompt_token_ids is null then 'no_token_ids'
    when c.prompt_token_ids <> r.prompt_token_ids then 'prompt_tokens_differ'
    when tc.digest <> $tokenizer_digest or tr.digest <> $tokenizer_digest then 'other_tokenizer'
  end as untrainable
from in_range p
join sides c on c.completion_id = p.chosen_id
join sides r on r.completion_id = p.rejected_id
left join tokenizers tc on tc.model_id = p.chosen_model_id
left join tokenizers tr on tr.model_id = p.rejected_model_id
left join drawn d
  on d.prompt_id = c.prompt_id and d.model_id = c.model_id
  and d.params_id = c.params_id and d.seed = c.seed and c.sample_idx < d.n
left join drawn e
  on e.prompt_id = r.prompt_id and e.model_id = r.model_id
  and e.params_id = r.params_id and e.seed = r.seed and r.sample_idx < e.n
where $build_id is not null or $round is null
  or (p.run_id = $run_id and p.round = $round)
  or (d.prompt_id is not null and e.prompt_id is not null)
order by p.bucket, p.pair_id

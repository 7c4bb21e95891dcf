-- The SFT examples of a selection with what identifies and trains them: rows of a dataset version.
--
-- A selection is one strategy's examples: of one build ($build_id), else of one round ($run_id,
-- $round), or of every round where $round is null, as for pairs.
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
  select * from sft_examples
  where strategy_id = $strategy_id and ($build_id is null or build_id = $build_id)
    and bucket between $first_bucket and $last_bucket
),
sides as (
  select
    completion_id, prompt_id, model_id, params_id, seed, sample_idx, text_hash, token_hash,
    prompt_token_ids, token_ids
  from completions
  where bucket between $first_bucket and $last_bucket
)
select
  s.sft_id, s.prompt_id, s.completion_id, s.rank, s.score, s.n_candidates, s.judge, s.model_id,
  s.round, s.bucket, 1.0::double as weight,
  c.text_hash, c.token_hash,
  c.prompt_token_ids as prompt_ids, c.token_ids as completion_ids,
  case
    when c.token_ids is null or c.prompt_token_ids is null then 'no_token_ids'
    when t.digest <> $tokenizer_digest then 'other_tokenizer'
  end as untrainable
from in_range s
join sides c on c.completion_id = s.completion_id
left join tokenizers t on t.model_id = s.model_id
left join drawn d
  on d.prompt_id = c.prompt_id and d.model_id = c.model_id
  and d.params_id = c.params_id and d.seed = c.seed and c.sample_idx < d.n
where $build_id is not null or $round is null
  or (s.run_id = $run_id and s.round = $round)
  or d.prompt_id is not null
order by s.bucket, s.sft_id

-- The completions of a scope, with their scores: what strategies choose from.
--
-- Joins are made as written, the wide side first and the narrow one, which is held in memory, second.
-- It becomes the temporary table `scoped`, of which strategies see two views: `candidates` (scored,
-- copies left out) and `unscored`. Parameters, all named; a null list or run means "any":
--   $run_id, $round               completions that this round drew to train on
--   $pools, $model_ids            lists of pools and models
--   $judges                       list of judges; with several, the mean, once all have scored
--   $detectors                    list of judge ids that look for texts which speak to their judge
--   $policy_model_id              the model whose completions are on policy
--   $seed                         of every draw by lot
--   $first_bucket, $last_bucket   which part of the prompts, both included
with
drawn as (
  select prompt_id, model_id, params_id, seed, max(n) as n
  from draws
  where run_id = $run_id and round = $round and purpose = 'train'
    and bucket between $first_bucket and $last_bucket
  group by prompt_id, model_id, params_id, seed
),
train_prompts as (
  select prompt_id
  from prompts
  where split = 'train' and ($pools is null or list_contains($pools, pool))
    and bucket between $first_bucket and $last_bucket
),
revised as (
  -- A revision is drawn where the answer that it revises was drawn.
  select r.completion_id, c.model_id, c.params_id, c.seed, c.sample_idx
  from completions c
  join completions r on r.revises_id = c.completion_id
  where r.revises_id is not null
    and r.bucket between $first_bucket and $last_bucket
    and c.bucket between $first_bucket and $last_bucket
),
in_scope as materialized (
  select
    c.prompt_id, c.completion_id, c.model_id, c.text_hash, c.token_hash, c.n_tokens,
    c.finish_reason, c.origin, c.retokenised, c.bucket,
    -- What was sampled with a principle in front is trained without it.
    c.given_token_ids is not null as was_guided
  from completions c
  semi join train_prompts p on p.prompt_id = c.prompt_id
  left join revised r on r.completion_id = c.completion_id
  left join drawn d
    on d.prompt_id = c.prompt_id and d.model_id = coalesce(r.model_id, c.model_id)
    and d.params_id = coalesce(r.params_id, c.params_id) and d.seed = coalesce(r.seed, c.seed)
    and coalesce(r.sample_idx, c.sample_idx) < d.n
  where c.bucket between $first_bucket and $last_bucket
    and ($model_ids is null or list_contains($model_ids, coalesce(r.model_id, c.model_id)))
    and ($run_id is null or d.prompt_id is not null)
),
lengths as (
  -- Only where tokens are not known: reading every text would cost more than all pairing.
  select completion_id, length(text) as n_chars
  from completions
  where n_tokens is null and bucket between $first_bucket and $last_bucket
),
scored as materialized (
  select
    completion_id,
    min(kind) as judge_kind,
    round(sum(score::decimal(38, 15))::double / count(*), 10) as score
  from scores
  where list_contains($judges, judge) and bucket between $first_bucket and $last_bucket
  group by completion_id
  having count(*) = len($judges) and count(distinct judge) = len($judges)
),
flagged as (
  -- What speaks to its judge by the newest word of any detector, and every copy of it.
  select distinct c.prompt_id, c.text_hash
  from in_scope c
  join (
    select completion_id
    from judgements
    where list_contains($detectors, judge_id) and status = 'ok'
      and completion_id is not null and bucket between $first_bucket and $last_bucket
    group by completion_id, judge
    having arg_max(score, (created_at, judgement_id)) < 0.5
  ) j on j.completion_id = c.completion_id
),
said as (
  select * from labels
  where label_id not in (select supersedes_id from labels where supersedes_id is not null)
),
worst as (select annotator, min(score) as score from said where isfinite(score) group by annotator),
voted as (
  -- A person preferred it, or scored it above the worst that they gave: their word goes before the
  -- detector's. Who gave it their lowest score has agreed with the detector.
  select winner_id as completion_id from said where winner_id is not null
  union
  select s.completion_ids[1]
  from said s
  join worst w on w.annotator is not distinct from s.annotator and s.score > w.score
  where isfinite(s.score) and len(s.completion_ids) = 1
),
joined as not materialized (
  select
    c.*, l.n_chars, s.judge_kind,
    -- A completion that is known from its judgements alone has no text to train on.
    case when c.text_hash is not null then s.score end as score,
    array_to_string(list_sort($judges), '+') as judge,
    coalesce(c.finish_reason in ('stop', 'recorded'), false)
      and (f.text_hash is null or v.completion_id is not null) as can_be_chosen,
    f.text_hash is not null and v.completion_id is null as is_flagged,
    coalesce(c.model_id = $policy_model_id and not c.was_guided, false) as on_policy,
    -- MD5 is the same in every version of every database; row order and random() are not.
    left(md5(c.completion_id || '/' || $seed::varchar), 12) as lot
  from in_scope c
  left join lengths l on l.completion_id = c.completion_id
  left join scored s on s.completion_id = c.completion_id
  left join flagged f on f.prompt_id = c.prompt_id and f.text_hash = c.text_hash
  left join voted v on v.completion_id = c.completion_id
),
twins as (
  -- Completions that another one equals, by text or by tokens. They are few: all that is said of
  -- copies is worked out among them alone.
  select c.completion_id
  from in_scope c
  where (c.prompt_id, c.text_hash) in (
    select (prompt_id, text_hash) from in_scope where text_hash is not null
    group by prompt_id, text_hash having count(*) > 1
  ) or (c.prompt_id, c.token_hash) in (
    select (prompt_id, token_hash) from in_scope where token_hash is not null
    group by prompt_id, token_hash having count(*) > 1
  )
),
text_copies as (
  -- A copy never competes with its twin; a finished twin stands for both.
  select
    *,
    score is not null and row_number() over (
      partition by prompt_id, text_hash, score is null
      order by can_be_chosen desc, lot, completion_id
    ) > 1 as is_copy
  from joined semi join twins on twins.completion_id = joined.completion_id
),
copies as (
  select
    completion_id,
    is_copy or (
      score is not null and token_hash is not null and row_number() over (
        partition by prompt_id, token_hash, is_copy, score is null
        order by can_be_chosen desc, lot, completion_id
      ) > 1
    ) as is_copy
  from text_copies
),
counted as (
  select c.prompt_id, count(*) as n_scored
  from in_scope c
  join scored s on s.completion_id = c.completion_id
  where c.text_hash is not null and s.score is not null
  group by c.prompt_id
)
select
  j.prompt_id, j.completion_id, j.model_id, j.judge, j.judge_kind, j.score, j.text_hash,
  j.token_hash, j.n_tokens, j.n_chars, j.finish_reason, j.can_be_chosen, j.is_flagged, j.origin,
  j.retokenised,
  j.on_policy, j.lot, coalesce(n.n_scored, 0) as n_scored, j.bucket,
  coalesce(t.is_copy, false) as is_copy
from joined j
left join counted n on n.prompt_id = j.prompt_id
left join copies t on t.completion_id = j.completion_id

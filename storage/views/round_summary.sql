-- One row per round of each run: what was sampled, paired and dropped, and what the gate decided.
--
-- Round 0 is the starter checkpoint. A round whose gate has not been held yet has no rates.
with
train_draws as (
  select run_id, round, prompt_id, model_id, params_id, seed, max(n) as n
  from draws where purpose = 'train'
  group by run_id, round, prompt_id, model_id, params_id, seed
),
rounds as (
  select run_id, round from train_draws
  union
  select run_id, round from gates
),
planned as (
  select run_id, round, count(distinct prompt_id) as prompts from train_draws group by run_id, round
),
sampled as (
  select
    d.run_id, d.round, count(*) as completions,
    sum(c.n_tokens)::double / count(c.n_tokens) as mean_length
  from train_draws d
  join completions c
    on c.prompt_id = d.prompt_id and c.model_id = d.model_id and c.params_id = d.params_id
    and c.seed = d.seed and c.sample_idx < d.n
  group by d.run_id, d.round
),
paired as (select run_id, round, count(*) as pairs from pairs group by run_id, round),
picked as (select run_id, round, count(*) as sft_examples from sft_examples group by run_id, round),
dropped as (select run_id, round, count(*) as drops from drops group by run_id, round),
-- Rows that an earlier run made are not made again: the step says what this run's round came to.
said as (
  select
    run_id, round,
    (detail->>'$.pairs.pairs')::bigint as pairs,
    (detail->>'$.sft.pairs')::bigint as sft_examples,
    list_sum(map_values((detail->'$.pairs.dropped')::map(varchar, bigint))) as drops
  from steps where stage = 'pair' and state = 'done'
),
decided as (
  select * from gates
  qualify row_number() over (partition by run_id, round order by created_at desc, gate_id) = 1
)
select
  r.round,
  coalesce(planned.prompts, 0) as prompts,
  coalesce(sampled.completions, 0) as completions,
  coalesce(said.pairs, paired.pairs, 0) as pairs,
  coalesce(said.sft_examples, picked.sft_examples, 0) as sft_examples,
  greatest(coalesce(said.drops, 0), coalesce(dropped.drops, 0)) as drops,
  -- Round 0 samples nothing to train on: its length is that of its held-out answers.
  coalesce(sampled.mean_length, g.mean_length) as mean_length,
  g.heldout_rate, g.heldout_low, g.heldout_high, g.win_rate, g.win_low, g.promoted,
  g.candidate_id as model_id,
  r.run_id,
  runs.recipe_name as recipe,
  g.champion_rate, g.difference, g.difference_low
from rounds r
left join planned using (run_id, round)
left join sampled using (run_id, round)
left join paired using (run_id, round)
left join picked using (run_id, round)
left join dropped using (run_id, round)
left join said using (run_id, round)
left join decided g using (run_id, round)
left join runs using (run_id)
order by r.run_id, r.round

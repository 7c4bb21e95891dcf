-- The pairs of a build: what a strategy chose (`outcome`), with what is known of both sides.
select
  o.prompt_id, o.chosen_id, o.rejected_id,
  o.score_chosen::double as score_chosen,
  o.score_rejected::double as score_rejected,
  o.score_chosen::double - o.score_rejected::double as margin,
  c.judge,
  case when c.judge_kind in ('verifier', 'human') then c.judge_kind else 'judge' end as source,
  c.model_id as chosen_model_id,
  r.model_id as rejected_model_id,
  -- In tokens; in characters where tokens of either side are not known.
  case
    when c.n_tokens is not null and r.n_tokens is not null then c.n_tokens - r.n_tokens
    when c.n_tokens is null and r.n_tokens is null then c.n_chars - r.n_chars
  end::integer as len_diff,
  c.on_policy and r.on_policy as on_policy,
  1.0::double as weight,
  c.bucket
from outcome o
join scoped c on c.completion_id = o.chosen_id
join scoped r on r.completion_id = o.rejected_id
where o.reason is null
order by o.chosen_id, o.rejected_id

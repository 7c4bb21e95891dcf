-- The SFT examples of a build: what a strategy chose (`outcome`), with what is known of it.
select
  o.prompt_id, o.completion_id,
  o.rank::integer as rank,
  o.score::double as score,
  o.n_candidates::integer as n_candidates,
  c.judge, c.model_id, c.bucket
from outcome o
join scoped c on c.completion_id = o.completion_id
where o.reason is null
order by o.completion_id

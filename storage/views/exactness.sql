-- One row per run and round: an engine's log-probabilities beside a float32 forward pass.
--
-- Absolute differences in nats a token, on a few completions of the policy. `status` is ok, nothing
-- (no completion to compare), not_finite (the forward pass gave no number) or failed (there was none).
select
  run_id, round,
  detail->>'$.engine' as engine,
  detail->>'$.engine_version' as engine_version,
  detail->>'$.model_id' as model_id,
  detail->>'$.status' as status,
  (detail->>'$.rows')::integer as rows,
  (detail->>'$.tokens')::integer as tokens,
  (detail->>'$.median')::double as median,
  (detail->>'$.p99')::double as p99,
  (detail->>'$.largest')::double as largest,
  detail->>'$.detail' as detail,
  ended_at as measured_at
from steps
where stage = 'exactness' and state = 'done'
order by run_id, round

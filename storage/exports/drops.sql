-- What was left out while a set's rows were built and frozen, by reason.
select stage, reason, count(*) as dropped
from drops
where stage in ('pair', 'freeze') and strategy = $strategy
  and ($round is null or (run_id = $run_id and round = $round))
group by stage, reason
order by stage desc, dropped desc, reason

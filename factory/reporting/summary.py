"""What a run ends with: one table of its rounds, where its rows went, and what to try next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from factory.reporting.tables import Table
from factory.store import Store

_ROUNDS = """
select round, prompts, completions, pairs, sft_examples, drops, mean_length,
       heldout_rate, heldout_low, heldout_high, win_rate, win_low, promoted, model_id
from round_summary where run_id = $run order by round
"""
_DROPS = """
select round, stage, reason, count(*) as rows from drops where run_id = $run
group by all order by all
"""
_SAMPLES = """
select round, samples, settled, unsettled from samples_per_prompt
where run_id = $run order by round, samples
"""
_EXACTNESS = """
select round, engine, status, rows, tokens, median, p99 from exactness
where run_id = $run and status <> 'nothing' order by round
"""
_STEPS = """
select round, stage, state, round(seconds, 1) as seconds, attempts from steps
where run_id = $run order by started_at
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """The tables of one run."""

    tables: list[Table]
    rounds: int
    next_commands: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {table.name: table.rows for table in self.tables}
        return {**found, "next": self.next_commands}


def of_run(store: Store, run_id: str) -> Summary:
    """The rounds of a run, its drops by reason and the time of every stage."""
    run = {"run": run_id}
    rounds = _table(store, "rounds", "Rounds", _ROUNDS, run)
    tables = [
        rounds,
        _table(store, "drops", "Dropped, by reason", _DROPS, run),
        _table(store, "samples", "Prompts, by the samples they stopped at", _SAMPLES, run),
        _table(
            store, "exactness", "Engine beside a float32 forward pass, nats a token",
            _EXACTNESS, run,
        ),
        _table(store, "steps", "Time per stage", _STEPS, run),
    ]  # fmt: skip
    last = max((row["round"] for row in rounds.rows), default=0)
    where = f" --workspace {store.workspace}"
    return Summary(
        tables=[t for t in tables if t.rows],
        rounds=last,
        next_commands=[
            f'prefactory sql "select * from round_summary"{where}',
            f"prefactory stats{where}",
            f"prefactory export --format hf --out pairs{where}",
        ],
    )


def status(store: Store) -> list[Table]:
    """Runs, champions, steps under way, and what was paid."""
    return [
        _table(
            store, "runs", "Runs",
            "select recipe_name, state, rounds, started_at, ended_at, error, run_id "
            "from runs where rounds > 0 order by started_at desc limit 10",
        ),
        _table(
            store, "steps", "Under way",
            "select r.recipe_name, s.round, s.stage, s.attempts, s.started_at "
            "from steps s join runs r using (run_id) "
            "where s.state = 'running' and r.state = 'running' order by s.started_at",
        ),
        _table(
            store, "champions", "Champions",
            "select name, value as model_id, moved_at from pointers "
            "where name like 'champion:%' order by 1",
        ),
        _table(
            store, "leases", "Leases",
            "select name, owner, taken_at, expires_at from leases order by 1",
        ),
        _table(
            store, "calls", "Paid calls",
            "select endpoint, state, count(*) as calls, sum(attempts) as attempts, "
            "sum(cost_microusd) / 1e6 as usd, coalesce(sum(reserve_microusd) filter "
            "(state in ('sent', 'in_doubt')), 0) / 1e6 as reserved_usd "
            "from calls group by all order by all",
        ),
        _table(
            store, "budgets", "Budgets",
            "select budget_id, limit_microusd / 1e6 as limit_usd, "
            "spent_microusd / 1e6 as spent_usd, reserved_microusd / 1e6 as reserved_usd "
            "from budgets order by 1",
        ),
    ]  # fmt: skip


def _table(
    store: Store, name: str, title: str, sql: str, params: dict[str, Any] | None = None
) -> Table:
    found = store.query(sql, params)
    return Table(name=name, title=title, columns=list(found.column_names), rows=found.to_pylist())

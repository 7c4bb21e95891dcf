"""The ledger's tables: the only state that changes, in SQLite or PostgreSQL by one URL.

Everything here is small and mutable (what is in flight, who holds what, where pointers point);
what is true for ever goes to the lake.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, Table, Text

SCHEMA_VERSION = 4

metadata = MetaData()

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text))

calls = Table(
    "calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    # sent -> done | failed; sent by a dead owner -> in_doubt -> sent (resend) or held
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("owner", Text, nullable=False),
    Column("budget_id", Text),
    Column("reserve_microusd", BigInteger, nullable=False, default=0),
    Column("cost_microusd", BigInteger, nullable=False, default=0),
    Column("tokens_in", BigInteger),
    Column("tokens_out", BigInteger),
    Column("outcome", Text),
    Column("http_status", Integer),
    Column("response", Text),
    Column("error", Text),
    Column("provider_request_id", Text),
    Column("price", Text),
    Column("latency_ms", Float),
    Column("run_id", Text),
    Column("batch_id", Text),
    Column("sent_at", Float),
    Column("done_at", Float),
    Index("calls_state", "state"),
    Index("calls_run", "run_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("sent_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", Text),
    Column("cost_microusd", BigInteger, nullable=False, default=0),
)

batches = Table(
    "batches",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("provider_batch_id", Text),
    Column("endpoint", Text, nullable=False),
    # submitting -> submitted -> fetched | failed
    Column("state", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)

budgets = Table(
    "budgets",
    metadata,
    Column("budget_id", Text, primary_key=True),
    Column("limit_microusd", BigInteger),
    Column("reserved_microusd", BigInteger, nullable=False, default=0),
    Column("spent_microusd", BigInteger, nullable=False, default=0),
)

rates = Table(
    "rates",
    metadata,
    Column("name", Text, primary_key=True),
    Column("level", Float, nullable=False),
    Column("at", Float, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("taken_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("recipe_name", Text, nullable=False),
    Column("recipe_id", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("rounds", Integer, nullable=False),
    Column("engine_run_id", Text),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("error", Text),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("detail", Text),
)

pointers = Table(
    "pointers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("moved_at", Float, nullable=False),
)

pointer_moves = Table(
    "pointer_moves",
    metadata,
    Column("name", Text, primary_key=True),
    Column("serial", Integer, primary_key=True),
    Column("old", Text),
    Column("new", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("run_id", Text),
    Column("moved_at", Float, nullable=False),
)

human_tasks = Table(
    "human_tasks",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("route_id", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("prompt_id", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("shown_order", Text, nullable=False),
    Column("priority", Float, nullable=False, default=0.0),
    Column("state", Text, nullable=False),
    Column("assigned_to", Text),
    Column("lease_until", Float),
    Column("gold", Text),
    Column("created_at", Float, nullable=False),
    Index("human_tasks_state", "state", "priority"),
)

votes = Table(
    "votes",
    metadata,
    Column("vote_id", Text, primary_key=True),
    Column("task_id", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("choice", Text),
    Column("score", Float),
    Column("criteria", Text),
    Column("comment", Text),
    Column("seconds", Float),
    Column("supersedes_id", Text),
    Column("created_at", Float, nullable=False),
    Index("votes_task", "task_id"),
)

LEDGER_TABLES = {
    t.name: t
    for t in (
        calls, attempts, batches, budgets, leases, runs, steps, pointers, pointer_moves,
        human_tasks, votes,
    )
}  # fmt: skip
"""The ledger tables that SQL shows, by name."""

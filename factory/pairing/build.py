"""Builds pairs and SFT examples: scope, strategy, checks, commit, one group of buckets at a time.

Every candidate and score is kept in the lake, so pairs can be built again by another strategy
without sampling or judging again. The same inputs give the same rows in any order of arrival: ties
are broken by a seeded hash, never by row order.

Prompts are independent of each other and lie in buckets, so a large scope is worked through in
groups of buckets that fit in memory: one query that spills takes many times as long.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from factory import rooms
from factory.errors import UserError
from factory.pairing.checks import check_texts, failures, refuse
from factory.pairing.made import TABLES, Digest, drop_rows, shaped, with_ids
from factory.pairing.scope import (
    Scope,
    bound_values,
    bucket_groups,
    bucket_range,
    detectors_of,
    judge_ids_of,
    judges_of,
    refuse_two_kinds,
)
from factory.pairing.strategy import COLUMNS, Kind, Strategy, Value, load_strategy
from factory.rows import SCHEMAS, content_id
from factory.store import Store

MAX_ROWS_AT_ONCE = 820_000
"""Candidates in memory at once, within MEMORY: as fast as more at a time."""
MEMORY = "800MB"
"""DuckDB's share. What one bucket alone needs beyond it goes to the scratch folder."""


@dataclass(slots=True, kw_only=True)
class PairReport:
    """What a build made."""

    strategy: str
    strategy_id: str
    kind: Kind
    judges: tuple[str, ...]
    prompts: int = 0
    """Prompts in scope."""
    pairs: int = 0
    """Pairs, or SFT examples, that the scope gives."""
    added: int = 0
    """Of these, new in the store."""
    build_id: str = ""
    """Names exactly these rows: a version of the build holds them and no others."""
    dropped: dict[str, int] = field(default_factory=dict[str, int])
    """Reason -> prompts that gave nothing."""

    def count(self, dropped: pa.Table) -> None:
        """Add the prompts of one group that gave nothing."""
        for counted in dropped.column("reason").value_counts().to_pylist():
            reason = str(counted["values"])
            self.dropped[reason] = self.dropped.get(reason, 0) + int(counted["counts"])


def strategy_id_of(
    strategy: Strategy,
    params: Mapping[str, Value],
    judges: Iterable[str],
    *,
    judge_ids: Iterable[str] = (),
) -> str:
    """Id of a strategy: its text, every parameter's value, and whose scores it reads.

    `judge_ids` are the versions of those judges: pairs of an edited judge are another strategy's,
    so that a dataset never mixes them with those of the judge as it was.
    """
    said = {"sql": strategy.sha, "params": strategy.values(params), "judges": sorted(judges)}
    return content_id("strategy", said | {"judge_ids": sorted(set(judge_ids))})


def build_pairs(
    store: Store,
    *,
    strategy: str,
    scope: Scope,
    run_id: str,
    round: int | None = None,
    params: Mapping[str, Value] | None = None,
    max_rows_at_once: int = MAX_ROWS_AT_ONCE,
    memory_limit: str = MEMORY,
) -> PairReport:
    """Build preference pairs and the drops of every prompt that gave none.

    Args:
        store: where everything is read and written.
        strategy: name of a file of kind `pairs` in `storage/strategies/`.
        scope: which completions may be chosen from; only prompts of the train split count.
        run_id: the run that makes the rows.
        round: the round that the rows belong to.
        params: values of the strategy's parameters, and `seed`.
        max_rows_at_once: candidates in memory at once.
        memory_limit: of DuckDB; what is over it goes to the run's scratch folder.

    Raises:
        UserError: for an unknown strategy, parameter or judge, for SQL that fails, and for rows
            that fail a check of `storage/checks/` (nothing is written then).
    """
    loaded = load_strategy(strategy, workspace=store.workspace, kind="pairs")
    return _build(
        store, loaded, scope=scope, params=params or {}, run_id=run_id, round=round,
        max_rows_at_once=max_rows_at_once, memory_limit=memory_limit,
    )  # fmt: skip


def build_sft(
    store: Store,
    *,
    strategy: str,
    scope: Scope,
    run_id: str,
    round: int | None = None,
    params: Mapping[str, Value] | None = None,
    max_rows_at_once: int = MAX_ROWS_AT_ONCE,
    memory_limit: str = MEMORY,
) -> PairReport:
    """Build rejection-sampled SFT examples, as `build_pairs` builds pairs."""
    loaded = load_strategy(strategy, workspace=store.workspace, kind="sft")
    return _build(
        store, loaded, scope=scope, params=params or {}, run_id=run_id, round=round,
        max_rows_at_once=max_rows_at_once, memory_limit=memory_limit,
    )  # fmt: skip


def _build(
    store: Store,
    strategy: Strategy,
    *,
    scope: Scope,
    params: Mapping[str, Value],
    run_id: str,
    round: int | None,
    max_rows_at_once: int,
    memory_limit: str,
) -> PairReport:
    if (scope.run_id is None) != (scope.round is None):
        raise UserError("a scope has both run_id and round, or neither", next="prefactory pair -h")
    values = strategy.values(params)
    texts = {n: _sql(store, n) for n in ("candidates", "scope", "undecided", TABLES[strategy.kind])}
    scratch = store.workspace / "runs" / run_id / f"scratch-{os.getpid()}"
    needs = " ".join(
        [
            "pointers scores judgements",
            *texts.values(),
            strategy.sql,
            *check_texts(store.workspace).values(),
        ]
    )
    try:
        with store.connect(mentioned_in=needs) as con:
            _limits(con, scratch=scratch, memory_limit=memory_limit)
            judges = judges_of(con, scope)
            refuse_two_kinds(con, judges)
            report = PairReport(
                strategy=strategy.name,
                strategy_id=strategy_id_of(
                    strategy, params, judges, judge_ids=judge_ids_of(con, scope, judges)
                ),
                kind=strategy.kind,
                judges=judges,
            )
            known = values | bound_values(scope, judges, detectors_of(con))
            digest = Digest(strategy.kind)
            groups = list(bucket_groups(con, scope, max_rows=max_rows_at_once))
            for place, (first, last) in enumerate(groups):
                group = _Group(con, strategy, texts, known | bucket_range(first, last))
                made, dropped = group.run(strategy_id=report.strategy_id, round=round)
                refuse(failures(con, workspace=store.workspace))
                digest.add(con, made)
                # Aside: the id of every row names the whole build, known after the last group.
                pq.write_table(made, scratch / f"made-{place}.parquet")
                pq.write_table(dropped, scratch / f"dropped-{place}.parquet")
                report.prompts += group.count("scope_prompts")
            report.build_id = digest.build_id(report.strategy_id)
        for place in range(len(groups)):
            tables = [pq.read_table(scratch / f"{n}-{place}.parquet") for n in ("made", "dropped")]
            _write(store, strategy, report, *tables, run_id=run_id, round=round)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report.dropped = dict(sorted(report.dropped.items()))
    return report


def _write(
    store: Store,
    strategy: Strategy,
    report: PairReport,
    made: pa.Table,
    dropped: pa.Table,
    *,
    run_id: str,
    round: int | None,
) -> None:
    """Write one group's rows and the prompts that gave none, and count them."""
    named = with_ids(made, strategy.kind, report.build_id)
    report.added += store.append(TABLES[strategy.kind], named, run_id=run_id)
    report.pairs += made.num_rows
    dropped_rows = drop_rows(
        dropped, strategy=strategy, strategy_id=report.strategy_id, run_id=run_id, round=round
    )
    store.append("drops", dropped_rows, run_id=run_id)
    report.count(dropped)


def _sql(store: Store, name: str) -> str:
    return rooms.read("storage", name, suffix=".sql", workspace=store.workspace).text


def _limits(con: duckdb.DuckDBPyConnection, *, scratch: Path, memory_limit: str) -> None:
    con.execute("set preserve_insertion_order = false")
    scratch.mkdir(parents=True, exist_ok=True)
    con.execute("set temp_directory = '" + str(scratch).replace("'", "''") + "'")
    con.execute("set memory_limit = '" + memory_limit.replace("'", "''") + "'")


class _Group:
    """One group of buckets on its way from completions to rows."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        strategy: Strategy,
        texts: Mapping[str, str],
        bound: Mapping[str, object],
    ) -> None:
        self.con = con
        self.strategy = strategy
        self.texts = texts
        self.bound = bound

    def run(self, *, strategy_id: str, round: int | None) -> tuple[pa.Table, pa.Table]:
        """The rows to write and the prompts that gave nothing (prompt_id, reason, detail)."""
        # One DuckDB connection serves every group. The last group's tables go first: with both
        # there, the peak would be that of two.
        for name in ("outcome", "scope_prompts", "scoped"):
            self.con.execute(f"drop table if exists {name} cascade")
        # DuckDB's guess at sizes is misled by a range of buckets: it would hold the wide side of
        # joins in memory, which is slower and nearly doubles the peak.
        self.con.execute("set disabled_optimizers = 'build_side_probe_side'")
        self._table("scoped", self.texts["candidates"])
        self.con.execute("reset disabled_optimizers")
        self.con.execute(
            "create or replace temp view candidates as "
            "select * exclude (is_copy) from scoped where score is not null and not is_copy"
        )
        self.con.execute(
            "create or replace temp view unscored as "
            "select prompt_id, completion_id, model_id, finish_reason from scoped "
            "where score is null"
        )
        self._table("scope_prompts", self.texts["scope"])
        self._outcome()
        table = TABLES[self.strategy.kind]
        made = shaped(
            self.con.sql(self.texts[table]).to_arrow_table(), self.strategy, strategy_id, round
        )
        self._show(made)
        return made, self.con.sql(self.texts["undecided"]).to_arrow_table()

    def count(self, relation: str) -> int:
        """Rows of one of the relations made."""
        return len(self.con.table(relation))

    def _table(self, name: str, sql: str) -> None:
        text = f"create or replace temp table {name} as {sql.rstrip().rstrip(';')}"
        # DuckDB refuses a parameter that a statement does not name.
        wanted = duckdb.extract_statements(text)[0].named_parameters
        self.con.execute(text, {n: v for n, v in self.bound.items() if n in wanted})

    def _outcome(self) -> None:
        name = self.strategy.name
        try:
            self._table("outcome", self.strategy.sql)
        except duckdb.Error as bad:
            raise UserError(
                f"storage/strategies/{name}.sql failed: {bad}",
                next=f"edit storage/strategies/{name}.sql",
            ) from bad
        lacking = set(COLUMNS[self.strategy.kind]) - set(self.con.table("outcome").columns)
        if lacking:
            raise UserError(
                f"storage/strategies/{name}.sql yields no column {', '.join(sorted(lacking))}",
                next=f"edit storage/strategies/{name}.sql",
            )

    def _show(self, made: pa.Table) -> None:
        """Give the checks what they read."""
        relations: dict[Kind, str] = {"pairs": "checked_pairs", "sft": "checked_sft"}
        for kind, relation in relations.items():
            rows = made if kind == self.strategy.kind else SCHEMAS[TABLES[kind]].empty_table()
            self.con.register(relation, rows)
        self.con.execute("create or replace temp view checked_completions as select * from scoped")

"""The ledger, the only mutable store: calls, leases, runs, budgets, pointers, human tasks."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow as pa
from sqlalchemy import DDL, Connection, func, insert, inspect, select, types, update
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

from factory.errors import StoreError, UserError
from factory.store import tables as t
from factory.store.doubt import Doubt
from factory.store.leases import Leases
from factory.store.rates import Rates
from factory.store.runs import Runs


class Ledger(Doubt, Leases, Rates, Runs):
    """The mutable tables behind one URL."""

    def __init__(self, url: str, *, create: bool = False, owner: str | None = None) -> None:
        super().__init__(url, owner=owner)
        try:
            self._open(create=create)
        except BaseException:
            self.close()
            raise

    def _open(self, *, create: bool) -> None:
        version = None if create else self._version()
        if version is None or version < t.SCHEMA_VERSION:
            version = self._create()
        if version > t.SCHEMA_VERSION:
            raise StoreError(
                f"the ledger has schema version {version}, this program knows {t.SCHEMA_VERSION}: "
                "it was written by a newer program; install that one"
            )

    def _create(self) -> int:
        """Make the tables and columns that are missing; gives the version found or made."""
        try:
            with self.transaction(alone="schema") as con:
                t.metadata.create_all(con)
                row = {"key": "schema_version", "value": str(t.SCHEMA_VERSION)}
                con.execute(self.upsert(t.meta, [row]))
                version = int(con.execute(_VERSION).scalar() or 0)
                if version < t.SCHEMA_VERSION:
                    self._add_columns(con)
                    con.execute(
                        update(t.meta)
                        .where(t.meta.c.key == "schema_version")
                        .values(value=str(t.SCHEMA_VERSION))
                    )
        except OperationalError as failed:
            raise UserError(
                f"the ledger {self.shown} cannot be opened: {failed.orig}", next="prefactory doctor"
            ) from failed
        return max(version, t.SCHEMA_VERSION)

    def _add_columns(self, con: Connection) -> None:
        """An older ledger gains the columns that this program knows; every one may be null."""
        look = inspect(con)
        for table in t.metadata.sorted_tables:
            there = {column["name"] for column in look.get_columns(table.name)}
            for column in table.c:
                if column.name not in there:
                    kind = column.type.compile(self.engine.dialect)
                    con.execute(DDL(f"alter table {table.name} add column {column.name} {kind}"))

    def _version(self) -> int | None:
        try:
            with self.reading() as con:
                found = con.execute(_VERSION).scalar()
        except (OperationalError, ProgrammingError) as failed:
            raise UserError(
                f"the ledger {self.shown} cannot be read: {str(failed.orig).splitlines()[0]}",
                next="prefactory init DIR  # or correct `ledger` in workspace.yaml",
            ) from failed
        except DatabaseError as damaged:
            raise StoreError(
                f"the ledger {self.shown} is damaged: {damaged.orig}; restore a backup"
            ) from damaged
        return None if found is None else int(found)

    # --- pointers -----------------------------------------------------------------------------

    def pointer(self, name: str) -> str | None:
        """What a pointer points to, or None."""
        with self.reading() as con:
            return con.execute(select(t.pointers.c.value).where(t.pointers.c.name == name)).scalar()

    def move_pointer(
        self, name: str, new: str, *, expect: str | None, reason: str, run_id: str = ""
    ) -> None:
        """Move a pointer from `expect` to `new` and keep the move in its history.

        A move that was made already (the pointer is at `new` by this reason and run) is not made
        twice.

        Raises:
            UserError: when the pointer is somewhere else than expected.
        """
        with self.transaction(alone="pointers") as con:
            now = con.execute(select(t.pointers.c.value).where(t.pointers.c.name == name)).scalar()
            if now == new:
                return
            if now != expect:
                raise UserError(
                    f"{name} points to {now}, not to {expect}: somebody moved it meanwhile",
                    next="prefactory status",
                )
            at = time.time()
            row = {"name": name, "value": new, "moved_at": at}
            con.execute(self.upsert(t.pointers, [row], on_conflict={"value": new, "moved_at": at}))
            moves = t.pointer_moves
            last = con.execute(
                select(func.max(moves.c.serial)).where(moves.c.name == name)
            ).scalar()
            move = {"name": name, "serial": (last or 0) + 1, "old": now, "new": new}
            con.execute(insert(moves).values(**move, reason=reason, run_id=run_id, moved_at=at))

    def point(self, name: str, new: str, *, reason: str, run_id: str = "") -> None:
        """Point to `new` as of now, wherever it pointed; the history keeps what is a move."""
        now = self.pointer(name)
        if now != new:
            self.move_pointer(name, new, expect=now, reason=reason, run_id=run_id)
            return
        with self.transaction() as con:
            moved = update(t.pointers).where(t.pointers.c.name == name)
            con.execute(moved.values(moved_at=time.time()))

    def pointer_history(self, name: str) -> list[dict[str, Any]]:
        """Every move of a pointer, oldest first."""
        moves = t.pointer_moves
        with self.reading() as con:
            found = con.execute(select(moves).where(moves.c.name == name).order_by(moves.c.serial))
            return [dict(row) for row in found.mappings()]

    # --- budgets ------------------------------------------------------------------------------

    def set_budget(self, budget_id: str, *, limit_microusd: int | None) -> None:
        """Make a budget or change its limit; what was spent stays spent."""
        row = {"budget_id": budget_id, "limit_microusd": limit_microusd}
        with self.transaction() as con:
            con.execute(
                self.upsert(
                    t.budgets,
                    [row | {"reserved_microusd": 0, "spent_microusd": 0}],
                    on_conflict={"limit_microusd": limit_microusd},
                )
            )

    def budget(self, budget_id: str) -> dict[str, Any] | None:
        """A budget's limit, reservation and spending in micro-dollars."""
        with self.reading() as con:
            row = con.execute(
                select(t.budgets).where(t.budgets.c.budget_id == budget_id)
            ).mappings()
            return next((dict(r) for r in row), None)

    def first_asked_at(self, model: str, url: str) -> list[str]:
        """Remember that a model is asked at a URL; where that is new, the URLs before it."""
        key = f"asked {model}"
        with self.transaction(alone="asked") as con:
            kept = con.execute(select(t.meta.c.value).where(t.meta.c.key == key)).scalar()
            known: list[str] = json.loads(kept) if kept else []
            if url in known:
                return []
            row = {"key": key, "value": json.dumps([*known, url])}
            con.execute(self.upsert(t.meta, [row], on_conflict={"value": row["value"]}))
        return known

    def table(self, name: str, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Every row of a ledger table, for SQL over it."""
        columns = [c for c in t.LEDGER_TABLES[name].c if c.name not in without]
        with self.reading() as con:
            return [dict(row) for row in con.execute(select(*columns)).mappings()]

    def arrow(self, name: str, *, without: tuple[str, ...] = ()) -> pa.Table:
        """A ledger table as columns, read in steps: a large one costs no dict per row."""
        columns = [c for c in t.LEDGER_TABLES[name].c if c.name not in without]
        schema = pa.schema([pa.field(c.name, _arrow_type(c.type)) for c in columns])
        batches: list[pa.RecordBatch] = []
        with self.reading() as con:
            found = con.execution_options(stream_results=True).execute(select(*columns))
            for rows in found.partitions(50_000):
                arrays = [
                    pa.array(values, f.type)
                    for values, f in zip(zip(*rows, strict=True), schema, strict=True)
                ]
                batches.append(pa.record_batch(arrays, schema=schema))
        return pa.Table.from_batches(batches, schema=schema)

    def set_engine_run(self, run_id: str, engine_run_id: str) -> None:
        """Remember which Prefect flow run does this run."""
        with self.transaction() as con:
            con.execute(
                update(t.runs).where(t.runs.c.run_id == run_id).values(engine_run_id=engine_run_id)
            )


def _arrow_type(kind: types.TypeEngine[object]) -> pa.DataType:
    if isinstance(kind, types.Float):
        return pa.float64()
    return pa.int64() if isinstance(kind, types.Integer) else pa.string()


_VERSION = select(t.meta.c.value).where(t.meta.c.key == "schema_version")

"""The ledger, the only mutable store: calls, leases, runs, budgets, pointers, human tasks."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import func, insert, make_url, select, update
from sqlalchemy.exc import OperationalError

from factory.errors import StoreError, UserError
from factory.store import tables as t
from factory.store.calls import Calls
from factory.store.leases import Leases
from factory.store.runs import Runs


class Ledger(Calls, Leases, Runs):
    """The mutable tables behind one URL."""

    def __init__(self, url: str, *, create: bool = False, owner: str | None = None) -> None:
        super().__init__(url, owner=owner)
        if create:
            self._create()
        self._check_version()

    def _create(self) -> None:
        try:
            with self.transaction() as con:
                t.metadata.create_all(con)
                row = {"key": "schema_version", "value": str(t.SCHEMA_VERSION)}
                con.execute(self.upsert(t.meta, [row], on_conflict="nothing"))
        except OperationalError as failed:
            raise UserError(
                f"the ledger {_shown(self.url)} cannot be opened: {failed.orig}",
                next="prefactory doctor",
            ) from failed

    def _check_version(self) -> None:
        try:
            with self.reading() as con:
                version = con.execute(
                    select(t.meta.c.value).where(t.meta.c.key == "schema_version")
                ).scalar()
        except OperationalError as failed:
            raise UserError(
                f"the ledger {_shown(self.url)} cannot be read: {failed.orig}",
                next="prefactory init DIR",
            ) from failed
        if version is not None and int(version) > t.SCHEMA_VERSION:
            raise StoreError(
                f"the ledger has schema version {version}, this program knows {t.SCHEMA_VERSION}: "
                "it was written by a newer program; install that one"
            )

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
        with self.transaction() as con:
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

    def table(self, name: str, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Every row of a ledger table, for SQL over it."""
        columns = [c for c in t.LEDGER_TABLES[name].c if c.name not in without]
        with self.reading() as con:
            return [dict(row) for row in con.execute(select(*columns)).mappings()]

    def set_engine_run(self, run_id: str, engine_run_id: str) -> None:
        """Remember which Prefect flow run does this run."""
        with self.transaction() as con:
            con.execute(
                update(t.runs).where(t.runs.c.run_id == run_id).values(engine_run_id=engine_run_id)
            )


def _shown(url: str) -> str:
    """A URL without its password."""
    return make_url(url).render_as_string(hide_password=True)

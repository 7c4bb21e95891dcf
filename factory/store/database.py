"""The ledger's database: durable transactions in SQLite or PostgreSQL, by one URL.

SQLite runs in WAL mode with `synchronous = FULL`: an acknowledged commit survives a power cut,
readers never wait, and writers wait up to a minute for each other.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import psutil
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite

BUSY_SECONDS = 60.0


class Database:
    """An engine, and who this process is to the others."""

    def __init__(self, url: str, *, owner: str | None = None) -> None:
        self.url = url
        self.owner = owner or process_owner()
        self.engine = _engine(url)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One durable write transaction; it is on disk when the block ends."""
        with self.engine.begin() as con:
            yield con

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent read that no writer waits for."""
        with self.engine.connect().execution_options(reading=True) as con:
            yield con
            con.rollback()

    def upsert(
        self,
        table: Table,
        rows: list[dict[str, Any]],
        *,
        on_conflict: str | Mapping[str, Any] = "nothing",
        where: Any = None,
    ) -> Any:
        """`insert … on conflict` in the dialect of this ledger.

        `on_conflict` is "nothing", or the columns to set; a callable value gets the excluded row.
        `where` limits which present rows are updated.
        """
        make = postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert
        statement: Any = make(table).values(rows)
        key = [c.name for c in table.primary_key]
        if isinstance(on_conflict, str):
            return statement.on_conflict_do_nothing(index_elements=key)
        new = statement.excluded
        values = {k: v(new) if callable(v) else v for k, v in on_conflict.items()}
        return statement.on_conflict_do_update(index_elements=key, set_=values, where=where)


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def durable(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # we send BEGIN ourselves: see below
        raw.execute("pragma journal_mode = wal")
        raw.execute("pragma synchronous = full")
        raw.execute("pragma foreign_keys = on")

    @event.listens_for(engine, "begin")
    def begin(con: Connection) -> None:
        # A deferred transaction that reads and then writes fails at once with "database is locked"
        # when another process wrote in between; taking the write lock first waits instead.
        reading = con.get_execution_options().get("reading")
        con.exec_driver_sql("begin" if reading else "begin immediate")

    return engine


@cache
def process_owner() -> str:
    """This process as an owner of leases and calls: host, pid and start time."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{pid}/{psutil.Process(pid).create_time():.2f}"


def owner_is_dead(owner: str) -> bool:
    """True only when the owner was a process of this host that no longer runs."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started.partition("/")[0]
    except psutil.NoSuchProcess:
        return True

"""The ledger's database: durable transactions in SQLite or PostgreSQL, by one URL.

SQLite runs in WAL mode with `synchronous = FULL`: an acknowledged commit survives a power cut,
readers never wait, and writers wait up to a minute for each other.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from factory.errors import MissingExtra, UserError

BUSY_SECONDS = 60.0
_PROC = Path("/proc")


class Database:
    """An engine, and who this process is to the others."""

    def __init__(self, url: str, *, owner: str | None = None) -> None:
        self.url = url
        self.owner = owner or process_owner()
        self.engine = _engine(url)
        self.postgres = self.engine.dialect.name == "postgresql"
        self.shown = self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def transaction(self, *, alone: str = "") -> Iterator[Connection]:
        """One durable write transaction; it is on disk when the block ends.

        Args:
            alone: a name under which transactions run one after another, for those that decide by
                what they read. SQLite's writers always do.

        Raises:
            UserError: when the disk is full, the file cannot be written, or another process has
                held the ledger for longer than `BUSY_SECONDS`. Nothing was written then.
        """
        with _explained(self.shown), self.engine.begin() as con:
            if alone and self.postgres:
                con.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"factory:{alone}"))))
            yield con

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent read that no writer waits for."""
        with _explained(self.shown), self.engine.connect() as plain:
            con = plain.execution_options(reading=True)
            yield con
            con.rollback()

    def upsert(
        self,
        table: Table,
        rows: list[dict[str, Any]] | None = None,
        *,
        on_conflict: str | Mapping[str, Any] = "nothing",
        where: Any = None,
    ) -> Any:
        """`insert … on conflict` in the dialect of this ledger.

        `on_conflict` is "nothing", or the columns to set; a callable value gets the excluded row.
        `where` limits which present rows are updated. Without `rows` the statement is executed with
        a list of them, which is compiled once whatever their number.
        """
        make = postgresql.insert if self.postgres else sqlite.insert
        statement: Any = make(table).values(rows) if rows is not None else make(table)
        key = [c.name for c in table.primary_key]
        if isinstance(on_conflict, str):
            return statement.on_conflict_do_nothing(index_elements=key)
        new = statement.excluded
        values = {k: v(new) if callable(v) else v for k, v in on_conflict.items()}
        return statement.on_conflict_do_update(index_elements=key, set_=values, where=where)


def _engine(url: str) -> Engine:
    if url.startswith("postgres"):
        return _postgres(url)
    # The path as it is: SQLAlchemy would read a % or ? of a folder's name as a URL's.
    file = URL.create("sqlite", database=url.removeprefix("sqlite:///"))
    engine = create_engine(file, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

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


def _postgres(url: str) -> Engine:
    # SQLAlchemy knows neither the short scheme nor that psycopg 3 is the driver we ship.
    full = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
    try:
        engine = create_engine(full, pool_pre_ping=True, connect_args={"client_encoding": "utf8"})
    except ImportError as missing:
        raise MissingExtra(
            "a PostgreSQL ledger needs psycopg", next="pip install 'prefactory[postgres]'"
        ) from missing

    @event.listens_for(engine, "connect")
    def durable(raw: Any, _record: object) -> None:
        # A server may be configured to answer before the log is on its disk.
        raw.execute("set synchronous_commit = on")
        raw.execute(f"set lock_timeout = '{BUSY_SECONDS:.0f}s'")
        raw.commit()

    return engine


@contextmanager
def _explained(shown: str) -> Iterator[None]:
    """What a user can mend, in one sentence."""
    try:
        yield
    except DBAPIError as failed:
        said = str(failed.orig)
        if "locked" in said or "lock timeout" in said:
            raise UserError(
                f"the ledger {shown} has been locked by another process for "
                f"{BUSY_SECONDS:.0f} s; nothing was written",
                next="prefactory status  # then type the same command again: it goes on from here",
            ) from failed
        if "full" in said or "disk I/O error" in said or "No space left" in said:
            raise UserError(
                f"there is no room left to write the ledger {shown}; nothing of it was kept",
                next="df -h  # free some space, then type the same command again",
            ) from failed
        if "readonly database" in said or "read-only" in said:
            raise UserError(
                f"the ledger {shown} cannot be written",
                next="ls -l ledger.sqlite*  # then chmod or chown them, and their folder",
            ) from failed
        if "connection failed" in said or "server closed" in said or "Connection refused" in said:
            raise UserError(
                f"the ledger {shown} cannot be reached: {said.splitlines()[0]}",
                next="start its PostgreSQL server, then type the same command again",
            ) from failed
        raise


@cache
def process_owner() -> str:
    """This process as an owner of leases and calls: host, pid and when it was started."""
    pid = os.getpid()
    started = _started(pid) if _PROC.is_dir() else _started_by_clock(pid)
    return f"{socket.gethostname()}/{pid}/{started}"


def _started(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks; None where it has ended.

    Ticks count from the machine's start. A time of day is made of them and of the clock, so it
    changes while a process lives when the clock is set, and a live owner would be taken for dead.
    """
    try:
        state, *rest = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A zombie answers no more, and where nobody reaps, as in many a container, it stays for ever.
    return None if state in {"Z", "X"} else rest[18]


def _started_by_clock(pid: int) -> str | None:
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def same_host(owner: str, other: str) -> bool:
    """Whether two owners are processes of one machine."""
    return owner.partition("/")[0] == other.partition("/")[0]


def owner_is_dead(owner: str) -> bool:
    """True only when the owner was a process of this host that no longer runs."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    said = started.partition("/")[0]
    find = _started_by_clock if "." in said else _started
    return find(int(pid)) != said

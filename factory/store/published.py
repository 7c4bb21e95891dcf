"""`factory.duckdb`: a small file of views for the plain DuckDB command line.

    duckdb -readonly factory.duckdb "select * from pair_stats"

It holds explicit lists of the lake's files and a copy of the ledger's small tables, is built aside
and put in place by one rename, so a reader has the old one or the new one. Nobody keeps it open for
writing. A lake in an object store has none: DuckDB would need an extension to read it.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from factory.errors import FactoryError
from factory.rows import SCHEMAS
from factory.store.columns import quiet, view_sql
from factory.store.tables import LEDGER_TABLES
from factory.store.views import HIDDEN, ledger_select, view_texts, views_in_order

if TYPE_CHECKING:
    from factory.store.store import Store

FILE = "factory.duckdb"
EVERY_S = 2.0
SHARE = 0.02
"""At most this share of a writer's time goes into publishing."""
OLDEST_READER = "v1.0.0"
"""The storage version of the file: every DuckDB from here on opens it."""

log_ = logging.getLogger(__name__)


class Publisher:
    """Publishes after commits, now and then, and once more at the end."""

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)
        # Not at once: a verb that commits little publishes once, when it ends.
        self._next = time.monotonic() + 5 * EVERY_S
        self._stale = False
        self._pid = os.getpid()
        self._busy = threading.Lock()
        atexit.register(_at_exit, weakref.ref(self))

    def committed(self) -> None:
        """Told after each commit."""
        self._stale = True
        if time.monotonic() >= self._next:
            self.publish()

    def publish(self) -> None:
        """Publish now, unless another thread or process is at it. It never fails its caller."""
        store = self._store()
        if store is None or not store.lake.place.local or os.getpid() != self._pid:
            return
        started = time.monotonic()
        with self._busy, _only_one(store.lake.place.path) as ours:
            if ours:
                self._stale = False
                try:
                    publish(store)
                except (FactoryError, duckdb.Error, OSError) as failed:
                    log_.debug("%s was not renewed: %s", FILE, failed)
        spent = time.monotonic() - started
        self._next = time.monotonic() + max(EVERY_S, spent / SHARE)

    def close(self) -> None:
        """Publish what is not published yet."""
        if self._stale:
            self.publish()


def _at_exit(publisher: weakref.ref[Publisher]) -> None:
    alive = publisher()
    if alive is not None:
        alive.close()


@contextmanager
def _only_one(lake: Path) -> Iterator[bool]:
    """True for the one process that publishes now; the others leave it to that one."""
    try:
        handle = (lake / "_locks" / "publish.lock").open("a")
    except OSError:
        yield False
        return
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def publish(store: Store) -> Path:
    """Build the file aside and put it in place; returns its path."""
    target = store.workspace / FILE
    aside = store.workspace / f".{FILE}.{os.getpid()}"
    aside.unlink(missing_ok=True)
    try:
        with quiet() as con:
            quoted = str(aside).replace("'", "''")
            con.execute(f"attach '{quoted}' as made (storage_version '{OLDEST_READER}')")
            con.execute("use made")
            con.execute("set timezone = 'UTC'")
            _fill(con, store)
            con.execute("use memory")
            con.execute("detach made")
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
        aside.with_name(aside.name + ".wal").unlink(missing_ok=True)
    return target


def _fill(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    for table in SCHEMAS:
        first = store.lake.layout.schema_file(table)
        files = [*([str(first)] if first else []), *store.lake.files(table)]
        if files:
            con.execute(view_sql(table, files, uniform=store.lake.layout.is_uniform(table)))
    for name in LEDGER_TABLES:
        con.register(f"_{name}", store.ledger.arrow(name, without=HIDDEN.get(name, ())))
        con.execute(f"create table {name} as {ledger_select(name)}")
        con.unregister(f"_{name}")
    texts = view_texts(store.workspace)
    for name in views_in_order(texts):
        con.execute(f"create view {name} as {texts[name].rstrip().rstrip(';')}")

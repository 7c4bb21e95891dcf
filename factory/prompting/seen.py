"""Counts keys in a temporary file, so that finding repetitions needs no memory.

A Python set of ten million prompt ids takes a gigabyte; a private SQLite database (no name: it is
deleted when closed and spills from its cache to disk) takes a few megabytes.
"""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Self

_COUNT = """
    insert into seen values (?, 1, ?)
    on conflict (key) do update set n = n + 1
    returning n, first
"""


class Seen:
    """How often each key came so far, and where it came first."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("pragma journal_mode = off")
        self._db.execute("pragma synchronous = off")
        self._db.execute(
            "create table seen (key text primary key, n int, first text) without rowid"
        )
        self._db.execute("begin")

    def count(self, key: str, *, where: str = "") -> tuple[int, str]:
        """Count one more; returns how often the key came with this one, and where first."""
        n, first = self._db.execute(_COUNT, (key, where)).fetchone()
        return int(n), str(first)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

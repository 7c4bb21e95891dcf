"""Data files of the lake on their way: encoded beside other work, named by the hash of their bytes.

Encoding Parquet is most of what a commit costs, and so is making sure that no id is there twice.
Both let other threads run, so they run side by side; the file appears under its name only when the
commit takes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from factory.store.columns import as_parquet, by_bucket, write_parquet
from factory.store.places import Place, blaming


@dataclass(frozen=True, slots=True)
class Written:
    """A data file that is durable: its name in the table's folder, and its bytes."""

    name: str
    size: int


class Draft:
    """One data file being made. `keep` gives it its name; a draft that is left is taken away."""

    def __init__(self, place: Place, table: str, data: pa.Table, pool: ThreadPoolExecutor) -> None:
        self._place = place
        self._table = table
        self._data = data
        self._pool = pool
        self._aside = Path(place.full(f"{table}/.{uuid.uuid4().hex}.{os.getpid()}.tmp"))
        self._done: Future[tuple[str, int]] | None = (
            pool.submit(self._encode) if place.local else None
        )

    def keep(self) -> Written:
        """Wait until the bytes are on the disk and give them their name.

        Raises:
            UserError: when there is no room or no permission; nothing is left behind then.
        """
        if self._done is None:
            return self._put()
        digest, size = self._done.result()
        # The time keeps two equal files apart; a name must never be used twice.
        name = f"{digest}-{time.time_ns():x}.parquet"
        with blaming(self._place.full(f"{self._table}/{name}")):
            os.replace(self._aside, self._aside.with_name(name))
        self._place.sync(self._table)
        return Written(name, size)

    def leave(self) -> None:
        """Take away what was not kept."""
        if self._done is not None:
            with contextlib.suppress(Exception):
                self._done.result()
            self._aside.unlink(missing_ok=True)

    def _encode(self) -> tuple[str, int]:
        with blaming(str(self._aside)):
            # A table that a newer program knows has no folder in an older lake yet.
            self._aside.parent.mkdir(exist_ok=True)
        with blaming(str(self._aside)), self._aside.open("wb", buffering=1 << 20) as handle:
            write_parquet(by_bucket(self._data), handle)
            handle.flush()
            digest = self._pool.submit(_digest, self._aside)  # while the disk works
            os.fsync(handle.fileno())
            return digest.result(), handle.tell()

    def _put(self) -> Written:
        """An object store takes the bytes as one object, durable and visible at once."""
        content = as_parquet(by_bucket(self._data))
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        name = f"{digest}-{time.time_ns():x}.parquet"
        self._place.write(f"{self._table}/{name}", content)
        return Written(name, content.size)


def _digest(path: Path) -> str:
    with pa.memory_map(str(path)) as file:
        return hashlib.blake2b(file.read_buffer(), digest_size=16).hexdigest()


@contextmanager
def draft(place: Place, table: str, data: pa.Table) -> Iterator[Draft]:
    """Begin to encode rows; in a directory that goes on beside the block."""
    with ThreadPoolExecutor(2, thread_name_prefix="draft") as pool:
        made = Draft(place, table, data, pool)
        try:
            yield made
        finally:
            made.leave()

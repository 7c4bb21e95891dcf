"""Data files of the lake on their way: encoded beside other work, named by the hash of their bytes.

Encoding Parquet is most of what a commit costs, and making sure that no id is there twice the next
part of it. Both let other threads run, so they run side by side, and a large commit is several
files that are encoded at once. A file appears under its name only when the commit takes it.
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
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from factory.store.columns import as_parquet, bucket_order, write_parquet
from factory.store.places import Place, blaming

PART_BYTES = 8 << 20
"""Bytes in memory from which on a part of a commit is worth a file of its own."""
MOST_PARTS = 4


@dataclass(frozen=True, slots=True)
class Written:
    """A data file that is durable: its name in the table's folder, its rows and its bytes."""

    name: str
    rows: int
    size: int


class Draft:
    """The data files of one commit being made. What is not kept in the end is taken away."""

    def __init__(
        self, place: Place, table: str, data: pa.Table, *, pool: ThreadPoolExecutor, parts: int
    ) -> None:
        self._place = place
        self._table = table
        self._data = data
        self._order = bucket_order(data)
        self._pool = pool
        ends = [data.num_rows * i // parts for i in range(parts + 1)]
        self._slices = list(pairwise(ends))
        self._asides = [
            Path(place.full(f"{table}/.{uuid.uuid4().hex}.{os.getpid()}.tmp")) for _ in self._slices
        ]
        self._done: list[Future[tuple[str, int]]] = []
        if place.local:
            with blaming(place.full(table)):
                # A table that an older lake does not know yet has no folder in it.
                Path(place.full(table)).mkdir(exist_ok=True)
            asked = zip(self._asides, self._slices, strict=True)
            self._done = [pool.submit(self._encode, aside, part) for aside, part in asked]

    def keep(self) -> list[Written]:
        """Wait until the bytes are on the disk and give the files their names.

        Raises:
            UserError: when there is no room or no permission; nothing is left behind then.
        """
        if not self._place.local:
            return [self._put(part) for part in self._slices]
        made = [done.result() for done in self._done]
        kept: list[Written] = []
        for aside, (first, last), (digest, size) in zip(
            self._asides, self._slices, made, strict=True
        ):
            name = _name(digest)
            with blaming(self._place.full(f"{self._table}/{name}")):
                os.replace(aside, aside.with_name(name))
            kept.append(Written(name, last - first, size))
        self._place.sync(self._table)
        return kept

    def leave(self) -> None:
        """Take away what was not kept."""
        for done, aside in zip(self._done, self._asides, strict=False):
            with contextlib.suppress(Exception):
                done.result()
            aside.unlink(missing_ok=True)

    def _rows(self, part: tuple[int, int]) -> pa.Table:
        first, last = part
        if self._order is None:
            return self._data.slice(first, last - first)
        return self._data.take(self._order[first:last])

    def _encode(self, aside: Path, part: tuple[int, int]) -> tuple[str, int]:
        with blaming(str(aside)), aside.open("wb", buffering=1 << 20) as handle:
            write_parquet(self._rows(part), handle)
            handle.flush()
            digest = self._pool.submit(_digest, aside)  # while the disk works
            os.fsync(handle.fileno())
            return digest.result(), handle.tell()

    def _put(self, part: tuple[int, int]) -> Written:
        """An object store takes the bytes as one object, durable and visible at once."""
        content = as_parquet(self._rows(part))
        name = _name(hashlib.blake2b(content, digest_size=16).hexdigest())
        self._place.write(f"{self._table}/{name}", content)
        return Written(name, part[1] - part[0], content.size)


def _name(digest: str) -> str:
    # The time keeps two equal files apart; a name must never be used twice.
    return f"{digest}-{time.time_ns():x}.parquet"


def _digest(path: Path) -> str:
    with pa.memory_map(str(path)) as file:
        return hashlib.blake2b(file.read_buffer(), digest_size=16).hexdigest()


@contextmanager
def draft(place: Place, table: str, data: pa.Table, *, whole: bool = False) -> Iterator[Draft]:
    """Begin to encode rows; in a directory that goes on beside the block.

    Args:
        place: the lake's.
        table: whose folder.
        data: the rows, at least one.
        whole: one file, however large.
    """
    most = min(MOST_PARTS, os.cpu_count() or 1)
    parts = 1 if whole else max(1, min(most, data.nbytes // PART_BYTES, data.num_rows))
    with ThreadPoolExecutor(2 * parts, thread_name_prefix="draft") as pool:
        made = Draft(place, table, data, pool=pool, parts=parts)
        try:
            yield made
        finally:
            made.leave()

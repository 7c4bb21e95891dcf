"""The Delta log as files: which entries there are, what they say, and mending a torn last one.

A log entry appears by one rename, so no program can leave half of one; a power cut can, because
delta-rs does not sync. An emptied entry is the dangerous kind: Delta opens the table without a word
and its rows are silently missing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from factory.errors import StoreError
from factory.store.places import Place

READER_VERSION = 1
"""Reader protocol 1 has neither deletion vectors nor column mapping. Anything newer is refused."""

log_ = logging.getLogger(__name__)

Action = dict[str, Any]


class LiveFile(NamedTuple):
    """One data file of a table, by its name in the table's folder."""

    name: str
    rows: int
    size: int


def live_files(actions: pa.Table) -> list[LiveFile]:
    """The files of a table from its flattened add actions."""
    wanted = actions.select(["path", "num_records", "size_bytes"]).to_pydict()
    rows = zip(wanted["path"], wanted["num_records"], wanted["size_bytes"], strict=True)
    return sorted(LiveFile(unquote(path), int(n or 0), int(size)) for path, n, size in rows)


def check_protocol(table: str, protocol: Any) -> None:
    """Refuse a table that asks for more of its readers than this program knows."""
    if protocol.min_reader_version > READER_VERSION or protocol.reader_features:
        raise StoreError(
            f"lake table {table} needs reader version {protocol.min_reader_version} "
            f"{protocol.reader_features or ''}: it was written by a newer program"
        )


def entry_name(table: str, version: int) -> str:
    """The file of a version's log entry."""
    return f"{table}/_delta_log/{version:020d}.json"


def versions(place: Place, table: str) -> list[int]:
    """Every version that has a log entry, oldest first."""
    found = place.names(f"{table}/_delta_log")
    return sorted(int(n[:20]) for n in found if n.endswith(".json") and n[:20].isdigit())


def actions(place: Place, table: str, version: int) -> list[Action]:
    """What a version did.

    Raises:
        StoreError: when the entry is torn.
    """
    parsed = _parse(place.read(entry_name(table, version)))
    if parsed is None:
        raise StoreError(
            f"lake table {table}: log entry {version} is torn; restore a backup of this table"
        )
    return parsed


def _parse(data: bytes) -> list[Action] | None:
    """The actions of an entry, or None when it is torn: empty, cut, or without its first line."""
    try:
        found = [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError:  # a cut line, or bytes that are no UTF-8
        return None
    whole = bool(found) and all(isinstance(action, dict) for action in found)
    return found if whole and data.endswith((b"}", b"}\n")) else None


def torn(place: Place, table: str) -> int | None:
    """The newest version when its entry is torn, else None."""
    listed = versions(place, table)
    if not listed or _parse(place.read(entry_name(table, listed[-1]))) is not None:
        return None
    return listed[-1]


def mend_torn(
    place: Place, tables: Iterable[str], lock: Callable[[str], AbstractContextManager[object]]
) -> list[str]:
    """Mend every table whose newest entry or checkpoint is torn, under its lock."""
    done: list[str] = []
    for table in tables:
        try:
            suspect = torn(place, table) is not None or checkpoint_is_torn(place, table)
        except FileNotFoundError:
            continue  # a live lake moved on meanwhile
        if suspect:
            with lock(table):
                done += mend(place, table)
    return done


def mend(place: Place, table: str) -> list[str]:
    """Set torn newest entries and torn checkpoints aside; returns what was done, in words.

    The rows of a torn commit were never acknowledged whole, so their ids are missing again and the
    stage that made them makes them again: from the ledger where they were paid for.
    """
    done: list[str] = []
    while (version := torn(place, table)) is not None:
        name = entry_name(table, version)
        place.make("_torn")
        place.write(f"_torn/{table}-{version:020d}.json", place.read(name))
        place.delete(name)
        place.sync(f"{table}/_delta_log")
        done.append(
            f"lake table {table}: its last commit ({version}) was torn by a power cut and was set "
            "aside; the same run makes its rows again and pays for none of them twice"
        )
    if (why := _set_checkpoint_aside(place, table)) is not None:
        done.append(f"lake table {table}: {why} was torn and was dropped; the log has it all")
    for words in done:
        log_.warning(words)
    return done


def checkpoint_is_torn(place: Place, table: str) -> bool:
    """Whether the newest checkpoint, or the pointer to it, cannot be read."""
    folder = f"{table}/_delta_log"
    if not place.exists(f"{folder}/_last_checkpoint"):
        return False
    try:
        version = int(json.loads(place.read(f"{folder}/_last_checkpoint"))["version"])
    except (ValueError, KeyError, TypeError):
        return True
    return not _is_parquet(place, f"{folder}/{version:020d}.checkpoint.parquet")


def _set_checkpoint_aside(place: Place, table: str) -> str | None:
    """Drop the checkpoints when the newest is torn. They only save reading the log from 0."""
    if not checkpoint_is_torn(place, table):
        return None
    folder = f"{table}/_delta_log"
    place.delete(f"{folder}/_last_checkpoint")
    for version in _checkpoints(place, folder):
        name = f"{folder}/{version:020d}.checkpoint.parquet"
        if not _is_parquet(place, name):
            place.delete(name)
    return "its checkpoint"


def _checkpoints(place: Place, folder: str) -> Iterator[int]:
    for name in place.names(folder):
        if name.endswith(".checkpoint.parquet") and name[:20].isdigit():
            yield int(name[:20])


def _is_parquet(place: Place, name: str) -> bool:
    """By its ends: a file cut short by a power cut lacks the last."""
    path = place.path / name
    if not path.exists() or path.stat().st_size < 12:
        return False
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(-4, os.SEEK_END)
        return start == file.read(4) == b"PAR1"


def added(entry: list[Action]) -> list[str]:
    """Names of the files that a version added."""
    return [unquote(a["add"]["path"]) for a in entry if "add" in a]


def removed(entry: list[Action]) -> list[str]:
    """Names of the files that a version took out of the table."""
    return [unquote(a["remove"]["path"]) for a in entry if "remove" in a]


def times(place: Place, table: str) -> dict[int, float]:
    """Version -> when it was committed, in seconds since 1970, as the log itself says."""
    found: dict[int, float] = {}
    for version in versions(place, table):
        for action in actions(place, table, version):
            if "commitInfo" in action:
                found[version] = action["commitInfo"].get("timestamp", 0) / 1000
    return found

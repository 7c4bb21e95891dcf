"""The lake as it was: at a dataset version, or at a time.

A dataset version's manifest keeps, under `lake`, the version of every table it was made from. Those
versions are pinned: clean-up never takes a file that one of them needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UserError
from factory.rows import SCHEMAS
from factory.store import log

if TYPE_CHECKING:
    from factory.store.store import Store

_ID = re.compile(r"[0-9a-f]{6,32}")


def snapshot(store: Store) -> dict[str, int]:
    """The version of every table at this moment: put it under `lake` into a manifest to pin it."""
    return {table: store.lake.version(table) for table in SCHEMAS}


def versions_at(store: Store, at: str | datetime) -> dict[str, int]:
    """Table -> version, as they were.

    Args:
        store: the workspace's.
        at: a dataset version's id (or its first letters), or a time, as `2026-11-20` or
            `2026-11-20T08:30Z`; a time without a zone is UTC.

    Raises:
        UserError: when it is neither, names no version, or lies before the first commit.
    """
    if isinstance(at, str) and _ID.fullmatch(at) and not re.fullmatch(r"\d{8}", at):
        return _of_dataset(store, at)
    return _of_time(store, _time(at))


def _of_dataset(store: Store, prefix: str) -> dict[str, int]:
    found = {m["version_id"]: m for m in manifests(store) if m["version_id"].startswith(prefix)}
    if len(found) != 1:
        why = "no dataset version begins with" if not found else "several versions begin with"
        raise UserError(
            f"{why} {prefix}", next='prefactory sql "select version_id, name from dataset_versions"'
        )
    (manifest,) = found.values()
    tables = manifest.get("lake")
    if not isinstance(tables, dict):
        raise UserError(
            f"dataset version {prefix} does not say which state of the lake it was made from",
            next="prefactory sql --at TIME  # the time when it was made",
        )
    # A table invented since then was empty.
    return {table: int(tables.get(table, 0)) for table in SCHEMAS}


def _of_time(store: Store, moment: datetime) -> dict[str, int]:
    wanted = moment.timestamp()
    found: dict[str, int] = {}
    for table in SCHEMAS:
        times = log.times(store.lake.place, table)
        # The newest version whose own clock was not past the moment: a clock that was set back
        # once makes later versions look older, and they are older in the log's order only.
        found[table] = max((v for v, time in times.items() if time <= wanted), default=0)
    if not any(found.values()):
        raise UserError(
            f"the lake had no rows yet at {moment.isoformat()}", next='prefactory sql "from runs"'
        )
    return found


def _time(at: str | datetime) -> datetime:
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    except ValueError:
        raise UserError(
            f"--at {at}: neither a dataset version's id nor a time as 2026-11-20T08:30Z",
            next='prefactory sql "select version_id, created_at from dataset_versions"',
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def manifests(store: Store) -> Iterator[dict[str, Any]]:
    """Every dataset version's manifest, from the lake and from `datasets/`."""
    seen: set[str] = set()
    rows = store.rows("select version_id, manifest from dataset_versions")
    texts = [(str(row["version_id"]), row["manifest"] or "{}") for row in rows]
    folder = store.workspace / "datasets"
    texts += [(p.parent.name, p.read_text()) for p in sorted(folder.glob("*/manifest.json"))]
    for identity, text in texts:
        manifest = _json(text)
        if identity not in seen and manifest:
            seen.add(identity)
            yield {**manifest, "version_id": identity}


def _json(text: str) -> dict[str, Any]:
    try:
        found: object = json.loads(text)
    except ValueError:
        # The column may hold the manifest's path instead of its text.
        path = Path(text)
        return _json(path.read_text()) if len(text) < 4096 and path.is_file() else {}
    return dict(found) if isinstance(found, Mapping) else {}


def pins(store: Store) -> dict[str, list[int]]:
    """Table -> versions that dataset versions were made from: no file of theirs may go."""
    found: dict[str, set[int]] = {table: set() for table in SCHEMAS}
    for manifest in manifests(store):
        for table, version in dict(manifest.get("lake") or {}).items():
            if table in found:
                found[table].add(int(version))
    return {table: sorted(versions) for table, versions in found.items()}

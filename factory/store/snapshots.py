"""The lake as it was: at a dataset version, or at a time.

A dataset version's manifest keeps, under `lake_versions`, the version of each table it was made
from. Those versions are pinned: clean-up never takes a file that one of them needs.
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
    """The version of every table at this moment; under `lake_versions` a manifest pins it."""
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
    pinned: dict[str, int] = manifest.get("lake_versions") or {}
    made = store.rows(
        "select min(created_at) as at from dataset_versions where version_id = $id",
        {"id": manifest["version_id"]},
    )[0]["at"]
    # Tables that the version does not name, as they were when it was registered.
    others = _of_time(store, made, only=set(SCHEMAS) - set(pinned)) if made else {}
    return others | {table: int(version) for table, version in pinned.items()}


def _of_time(store: Store, moment: datetime, *, only: set[str] | None = None) -> dict[str, int]:
    wanted = moment.timestamp()
    found: dict[str, int] = {}
    for table in SCHEMAS if only is None else sorted(only):
        times = log.times(store.lake.place, table)
        # Up to the first version past the moment: a clock that was set back later changes nothing.
        found[table] = next((v - 1 for v, time in times.items() if time > wanted), max(times))
    if only is None and not any(v > 0 for v in found.values()):
        raise UserError(
            f"the lake had no rows yet at {moment.isoformat()}", next='prefactory sql "from runs"'
        )
    return {table: max(version, 0) for table, version in found.items()}


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
    rows = store.rows("select version_id, manifest from dataset_versions")
    paths = {str(r["version_id"]): store.workspace / str(r["manifest"]) for r in rows}
    for path in sorted((store.workspace / "datasets").glob("*/manifest.json")):
        paths.setdefault(path.parent.name, path)
    for identity, path in paths.items():
        manifest = _read(path)
        if manifest:
            yield {**manifest, "version_id": identity}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: object = json.loads(path.read_text("utf-8"))
    return dict(found) if isinstance(found, Mapping) else {}


def pins(store: Store) -> dict[str, list[int]]:
    """Table -> versions that dataset versions were made from: no file of theirs may go."""
    found: dict[str, set[int]] = {table: set() for table in SCHEMAS}
    for manifest in manifests(store):
        for table, version in dict(manifest.get("lake_versions") or {}).items():
            if table in found:
                found[table].add(int(version))
    return {table: sorted(versions) for table, versions in found.items()}

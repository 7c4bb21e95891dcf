"""Looks at the installation and a workspace, and says what to do about what is wrong."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from factory import rooms
from factory.errors import FactoryError, UserError
from factory.recipe import workspace_config
from factory.store import Store, integrity, open_store, weights

LOW_DISK_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: `state` is ok, note or bad."""

    check: str
    state: str
    said: str
    next: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For tables and JSON."""
        return asdict(self)


def check(workspace: Path) -> list[Check]:
    """Every check; a broken one never hides the others."""
    found = [_python(), *_engines(), _disk(workspace)]
    try:
        urls = workspace_config(workspace)
        store = open_store(workspace, ledger_url=urls.ledger, lake_url=urls.lake)
    except UserError as bad:
        return [*found, Check("workspace", "bad", bad.message, bad.next)]
    except FactoryError as bad:
        return [*found, Check("workspace", "bad", str(bad), "restore a backup of this directory")]
    found.append(Check("workspace", "ok", str(workspace)))
    for look in (_files, _ledger, _lake, _links, _models, _exactness):
        found += _guarded(look, store)
    return found


def _guarded(look: Callable[[Store], Iterator[Check]], store: Store) -> list[Check]:
    found: list[Check] = []
    name = look.__name__.lstrip("_")
    try:
        found.extend(look(store))
    except Exception as bad:  # a damaged part must not hide the state of the rest
        found.append(Check(name, "bad", f"{type(bad).__name__}: {bad}", "restore a backup"))
    return found


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Check("python", "ok" if good else "bad", version, "" if good else "install Python 3.11")


def _engines() -> Iterator[Check]:
    for name, module, extra in (("vllm", "vllm", "cpu or gpu"), ("transformers", "torch", "")):
        there = importlib.util.find_spec(module) is not None
        hint = "" if there else f"pip install 'prefactory[{extra}]'"
        state, said = ("ok", "found") if there else ("note", "absent")
        yield Check(f"engine {name}", state, said, hint)


def _disk(workspace: Path) -> Check:
    place = workspace if workspace.exists() else workspace.parent
    if not place.exists():
        return Check("disk", "bad", f"{place} does not exist", f"mkdir -p {place}")
    free = shutil.disk_usage(place).free
    said = f"{free / 1024**3:.1f} GiB free"
    if not os.access(place, os.W_OK):
        return Check("disk", "bad", f"{place} cannot be written", f"chmod u+w {place}")
    low = free < LOW_DISK_BYTES
    return Check("disk", "note" if low else "ok", said, "free some space" if low else "")


def _files(store: Store) -> Iterator[Check]:
    stand = rooms.copies(store.workspace)
    said = f"{len(stand.edited)} of your own" if stand.edited else "as packaged"
    if not stand.outdated:
        yield Check("files", "ok", said)
        return
    old = ", ".join(stand.outdated)
    yield Check(
        "files", "note", f"of an older version and never edited: {old}",
        f"prefactory init {store.workspace} --refresh",
    )  # fmt: skip


def _ledger(store: Store) -> Iterator[Check]:
    yield from _as_checks(integrity.check_ledger(store))
    doubt = [row for row in store.ledger.in_doubt() if row["state"] in {"in_doubt", "held"}]
    calls, price = sum(r["calls"] for r in doubt), sum(r["microusd"] for r in doubt)
    if calls:
        yield Check(
            "calls in doubt", "note", f"{calls} calls, {price / 1e6:.4f} USD at risk",
            'prefactory sql "select * from in_doubt"',
        )  # fmt: skip


def _exactness(store: Store) -> Iterator[Check]:
    rows = store.rows(
        "select * from exactness where status <> 'nothing' order by measured_at desc limit 1"
    )
    for row in rows:
        if row["status"] != "ok":
            said = f"round {row['round']}: {row['status']}: {row['detail']}"
            yield Check("exactness", "note", said, 'prefactory sql "from exactness"')
            continue
        said = (
            f"{row['engine']} and a float32 forward pass differ by {row['median']:.2g} nats a "
            f"token (median), {row['p99']:.2g} (99th percentile), on {row['tokens']} tokens"
        )
        yield Check("exactness", "ok", said)


def _lake(store: Store) -> Iterator[Check]:
    yield from _as_checks(integrity.check_files(store))


def _links(store: Store) -> Iterator[Check]:
    yield from _as_checks(integrity.check_links(store))


def _as_checks(findings: Iterator[integrity.Finding]) -> Iterator[Check]:
    for found in findings:
        yield Check(found.what, found.state, found.said, found.next)


def _models(store: Store) -> Iterator[Check]:
    for pointer in store.rows("select name, value from pointers where name like 'champion:%'"):
        there = any(path.is_dir() for path in weights.places(store, pointer["value"]))
        said = f"{pointer['name']} = {pointer['value'][:12]}"
        yield Check(
            "champion", "ok" if there else "bad", said if there else f"{said}: weights are gone",
            "" if there else "prefactory rollback",
        )  # fmt: skip

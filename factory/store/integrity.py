"""Whether the store still is what was written: files, bytes, rows, ids and money."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from factory.errors import FactoryError
from factory.rows import KEYS, SCHEMAS
from factory.store import log
from factory.store.upkeep import ORPHAN_H, WHEN_FILES, orphans

if TYPE_CHECKING:
    from factory.store.store import Store

SAMPLE = 20
"""Files a table whose bytes are read again."""

LINKS: tuple[tuple[str, str, str], ...] = (
    ("completions", "prompt_id", "prompts"),
    ("judgements", "prompt_id", "prompts"),
    ("judgements", "completion_id", "completions"),
    ("pairs", "chosen_id", "completions"),
    ("pairs", "rejected_id", "completions"),
    ("sft_examples", "completion_id", "completions"),
    ("checkpoints", "version_id", "dataset_versions"),
    ("gates", "candidate_id", "models"),
)
"""Ids that must lead somewhere: table, column, other table."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `state` is ok, note or bad."""

    what: str
    state: str
    said: str
    next: str = ""


def check_ledger(store: Store) -> Iterator[Finding]:
    """The database's own check, and the money: reservations are those of calls in flight."""
    if not store.ledger.postgres:
        with store.ledger.reading() as con:
            said = con.exec_driver_sql("pragma quick_check").scalar()
        state = "ok" if said == "ok" else "bad"
        yield Finding("ledger", state, f"quick_check: {said}", "" if state == "ok" else _BACKUP)
    with store.ledger.reading() as con:
        wrong = con.execute(_RESERVED).all()
    for budget_id, kept, owed in wrong:
        yield Finding(
            "budget", "bad", f"{budget_id}: {kept} micro-dollars reserved, calls in flight: {owed}",
            "prefactory sql \"from in_doubt\"",
        )  # fmt: skip


_BACKUP = "prefactory restore BACKUP NEW_DIR"
_RESERVED = text("""
    select b.budget_id, b.reserved_microusd, coalesce(sum(c.reserve_microusd), 0) as owed
    from budgets b
    left join calls c on c.budget_id = b.budget_id and c.state in ('sent', 'in_doubt')
    group by b.budget_id, b.reserved_microusd
    having b.reserved_microusd <> coalesce(sum(c.reserve_microusd), 0)
""")


def check_files(store: Store, *, sample: int = SAMPLE) -> Iterator[Finding]:
    """Every table's log, its files, and the bytes of a sample of them."""
    for table in SCHEMAS:
        try:
            yield from _table(store, table, sample)
        except (FactoryError, OSError) as broken:
            yield Finding(f"lake {table}", "bad", str(broken), _BACKUP)


def _table(store: Store, table: str, sample: int) -> Iterator[Finding]:
    lake, what = store.lake, f"lake {table}"
    live = lake.live(table)
    for version in log.versions(lake.place, table):
        log.actions(lake.place, table, version)  # raises where an entry is torn
    sizes = {name: info.size for name, info in lake.place.names(table).items()}
    gone = [f.name for f in live if f.name not in sizes]
    short = [f.name for f in live if sizes.get(f.name, f.size) != f.size]
    lot = random.Random(table)
    read = lot.sample(live, min(sample, len(live)))
    whole = [f.name for f in read if sizes.get(f.name) == f.size]
    rotten = [name for name in whole if not _as_named(store, table, name)]
    for files, why in ((gone, "are gone"), (short, "have another size"), (rotten, "have rotted")):
        if files:
            said = f"{len(files)} of {len(live)} files {why}: {files[0]}"
            yield Finding(what, "bad", said, _BACKUP)
    if gone or short or rotten:
        return
    left = orphans(lake, table, older_h=ORPHAN_H)
    if left:
        yield Finding(what, "note", f"{len(left)} files were never committed", "prefactory gc")
    if len(live) >= WHEN_FILES:
        yield Finding(what, "note", f"{len(live)} files", f"prefactory compact {table}")
    if live:
        yield from _rows(store, table, sum(f.rows for f in live), len(live), len(read))


def _as_named(store: Store, table: str, name: str) -> bool:
    """Whether a file's bytes have the hash that its name begins with."""
    digest = name.partition("-")[0]
    if len(digest) != 32:
        return True  # not a file of ours: another program wrote it
    data = store.lake.place.read(f"{table}/{name}")
    return hashlib.blake2b(data, digest_size=16).hexdigest() == digest


def _rows(store: Store, table: str, logged: int, files: int, read: int) -> Iterator[Finding]:
    key = KEYS[table]
    (row,) = store.rows(f'select count(*) n, count(distinct "{key}") d from {table}')
    if not row["n"] == row["d"] == logged:
        said = f"{row['n']} rows, {row['d']} distinct ids, {logged} in the log"
        yield Finding(f"lake {table}", "bad", said, _BACKUP)
    else:
        said = f"{row['n']} rows in {files} files, {read} of them read again"
        yield Finding(f"lake {table}", "ok", said)


def check_links(store: Store) -> Iterator[Finding]:
    """Ids that lead nowhere: a stage that was interrupted may leave some until it is run again."""
    for table, column, other in LINKS:
        sql = (
            f'select count(*) as n, min("{column}") as first from {table} t '
            f'anti join {other} o on o."{KEYS[other]}" = t."{column}" '
            f'where t."{column}" is not null'
        )
        (row,) = store.rows(sql)
        if row["n"]:
            yield Finding(
                f"ids of {table}", "note",
                f"{row['n']} {column} lead to no row of {other}, as {row['first']}",
                "run the same recipe again: it makes what is missing",
            )  # fmt: skip

"""Checks are SQL files that must return no rows; pairs that fail one are never written.

A check reads `checked_pairs`, `checked_sft` (columns as the tables pairs and sft_examples),
`checked_completions` (completion_id, prompt_id, text_hash, token_hash, finish_reason) and
`prompts`.
During a build these are the rows about to be written; over a whole store they are its tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from factory import rooms
from factory.errors import UserError
from factory.store import Store

ROOM = "storage/checks"
SHOWN = 5
"""Rows of a failed check that its message shows."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One check that returned rows."""

    check: str
    about: str
    n: int
    rows: list[dict[str, Any]]
    """The first SHOWN of them."""


def check_texts(workspace: Path | None) -> dict[str, str]:
    """Name -> SQL of every check."""
    files = rooms.listing(ROOM, suffix=".sql", workspace=workspace)
    return {name: rooms.read_file(path).text for name, path in files.items()}


def failures(con: duckdb.DuckDBPyConnection, *, workspace: Path | None) -> list[Failure]:
    """Run every check on a connection that has what they read."""
    found: list[Failure] = []
    for name, sql in check_texts(workspace).items():
        rows = con.sql(sql).to_arrow_table()
        if rows.num_rows:
            about = sql.splitlines()[0].removeprefix("--").strip()
            found.append(Failure(name, about, rows.num_rows, rows.slice(0, SHOWN).to_pylist()))
    return found


def refuse(found: list[Failure]) -> None:
    """Stop where a check failed.

    Raises:
        UserError: naming the first check and its first rows.
    """
    if found:
        first = found[0]
        rows = "; ".join(", ".join(f"{k}={v}" for k, v in row.items()) for row in first.rows)
        raise UserError(
            f"check {first.check} found {first.n} rows, so nothing was written: "
            f"{first.about} {rows}",
            next=f"cat {ROOM}/{first.check}.sql  # then mend the strategy or the judgements",
        )


def check_store(store: Store) -> list[Failure]:
    """Run every check over all pairs and SFT examples of a store."""
    needs = " ".join([*check_texts(store.workspace).values(), "pairs sft_examples completions"])
    with store.connect(mentioned_in=needs) as con:
        con.execute("create temp view checked_pairs as select * from pairs")
        con.execute("create temp view checked_sft as select * from sft_examples")
        con.execute("create temp view checked_completions as select * from completions")
        return failures(con, workspace=store.workspace)

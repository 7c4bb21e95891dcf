"""Views and queries as plain tables that a terminal, a page or JSON can show."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factory.errors import UserError
from factory.store import Store
from factory.store.views import view_texts


@dataclass(frozen=True, slots=True)
class Table:
    """A named table: its title, its columns in order, and its rows."""

    name: str
    title: str
    columns: list[str]
    rows: list[dict[str, Any]]


STATS: tuple[tuple[str, str], ...] = (
    ("pool_sizes", "Prompts"),
    ("model_outputs", "Completions per model"),
    ("score_stats", "Scores per judge"),
    ("pair_stats", "Pairs"),
    ("win_rates", "Win rates per model"),
    ("drops_by_reason", "Dropped, by reason"),
    ("draw_notes", "What draws said"),
)
"""The views that say at a glance what a store holds, and their titles."""


def view(store: Store, name: str, *, title: str | None = None, limit: int | None = None) -> Table:
    """One view of `storage/views/` as a table.

    Args:
        store: what is looked at.
        name: of the view's file, without suffix.
        title: what stands above it; by default its name in words.
        limit: most rows.

    Raises:
        UserError: when there is no such view.
    """
    known = view_texts(store.workspace)
    if name not in known:
        raise UserError(
            f"there is no view {name}; there are: {', '.join(known)}", next="prefactory stats"
        )
    tail = f" limit {int(limit)}" if limit is not None else ""
    # The name is one of the files just listed.
    return query(store, f"select * from {name}{tail}", name=name, title=title)


def query(
    store: Store,
    sql: str,
    *,
    name: str,
    title: str | None = None,
    params: Mapping[str, object] | None = None,
) -> Table:
    """One query as a table."""
    found = store.query(sql, params)
    return Table(
        name=name,
        title=title if title is not None else name.replace("_", " ").capitalize(),
        columns=list(found.column_names),
        rows=found.to_pylist(),
    )


def stats(store: Store) -> list[Table]:
    """Pools, completions, scores, pairs, win rates and drops; tables without rows are left out."""
    tables = [view(store, name, title=title) for name, title in STATS]
    return [table for table in tables if table.rows]


_POOLS: tuple[tuple[str, str], ...] = (
    ("pool_report", "Pools: what was kept, what was left out and why"),
    ("contamination", "Benchmarks found, by pool and source"),
    ("made_by", "Prompts that makers wrote"),
)
_MADE_BY = """
select pool, maker, variant, model_id, count(*) as prompts, sum(cost_microusd) / 1e6 as usd
from made_prompts group by all order by all
"""


def pools(store: Store, names: Sequence[str]) -> list[Table]:
    """What pools hold and what was left out of them; tables without rows are left out.

    Raises:
        UserError: when nothing is known of a pool.
    """
    found = [
        query(store, _MADE_BY, name=name, title=title)
        if name == "made_by"
        else view(store, name, title=title)
        for name, title in _POOLS
    ]
    known = sorted({row["pool"] for row in found[0].rows})
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or '-'}"
            raise UserError(f"there is no pool {name!r}; {hint}", next="prefactory prompts report")
    chosen = [
        replace(table, rows=[r for r in table.rows if not names or r["pool"] in names])
        for table in found
    ]
    return [table for table in chosen if table.rows]

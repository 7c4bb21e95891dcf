"""What a build found, as rows of the tables it is written to."""

from __future__ import annotations

import hashlib

import duckdb
import pyarrow as pa

from factory.pairing.strategy import Kind, Strategy
from factory.rows import SCHEMAS, canonical, content_id, drop_id_of

TABLES: dict[Kind, str] = {"pairs": "pairs", "sft": "sft_examples"}
"""The table of each kind."""


_SIDES: dict[Kind, tuple[str, ...]] = {
    "pairs": ("chosen_id", "rejected_id"),
    "sft": ("completion_id",),
}
_SAID: dict[Kind, tuple[str, ...]] = {
    "pairs": (*_SIDES["pairs"], "score_chosen", "score_rejected", "weight"),
    "sft": (*_SIDES["sft"], "rank", "score", "n_candidates"),
}
"""What a build says of a row: another word of it is another build."""


class Digest:
    """Hash of all rows of a build, whatever the order and the groups that they come in."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self._parts = [0, 0, 0]

    def add(self, con: duckdb.DuckDBPyConnection, made: pa.Table) -> None:
        """Count in rows of the kind's table."""
        row = f"concat_ws('/', {', '.join(_SAID[self.kind])})"
        con.register("rows_to_hash", made)
        # MD5 is the same in every version of every database; sums do not depend on the order.
        found = con.execute(
            f"select coalesce(sum(md5_number_lower({row})::hugeint), 0), "
            f"coalesce(sum(md5_number_upper({row})::hugeint), 0), count(*) from rows_to_hash"
        ).fetchall()[0]
        con.unregister("rows_to_hash")
        self._parts = [a + int(b) for a, b in zip(self._parts, found, strict=True)]

    def build_id(self, strategy_id: str) -> str:
        """Id of the build: the strategy and everything that it said."""
        return content_id("build", [strategy_id, *map(str, self._parts)])


def shaped(found: pa.Table, strategy: Strategy, strategy_id: str, round: int | None) -> pa.Table:
    """Rows of the kind's table: what the SQL found plus what all rows share; no ids yet."""
    schema = SCHEMAS[TABLES[strategy.kind]]
    shared = {"strategy": strategy.name, "strategy_id": strategy_id, "round": round}
    columns: list[pa.Array | pa.ChunkedArray] = []
    for wanted in schema:
        if wanted.name in found.column_names:
            columns.append(found.column(wanted.name).cast(wanted.type))
        else:
            value = pa.scalar(shared.get(wanted.name), wanted.type)
            columns.append(pa.repeat(value, found.num_rows))
    return pa.Table.from_arrays(columns, schema=schema)


def with_ids(made: pa.Table, kind: Kind, build_id: str) -> pa.Table:
    """The same rows with the build's id and their own."""
    parts = [made.column(name) for name in _SIDES[kind]]
    ids = _content_ids({"pairs": "pair", "sft": "sft"}[kind], parts, build_id)
    place = made.column_names.index("build_id")
    named = made.set_column(place, made.field(place), pa.repeat(build_id, made.num_rows))
    return named.set_column(0, made.field(0), ids)


def _content_ids(domain: str, parts: list[pa.ChunkedArray], build_id: str) -> pa.Array:
    """`content_id(domain, [part, …, build_id])` of every row.

    Ids are hex, so their canonical JSON needs no escaping and is put together directly: hundreds of
    thousands of pairs a second instead of tens of thousands.
    """
    ending = canonical([build_id])[1:].decode()
    start = hashlib.blake2b(domain.encode() + b"\x1f", digest_size=16)
    made: list[str] = []
    for row in zip(*(p.to_pylist() for p in parts), strict=True):
        if "".join(row).isalnum():
            digest = start.copy()
            digest.update(('["' + '","'.join(row) + '",' + ending).encode())
            made.append(digest.hexdigest())
        else:
            made.append(content_id(domain, [*row, build_id]))
    return pa.array(made, pa.string())


def drop_rows(
    dropped: pa.Table, *, strategy: Strategy, strategy_id: str, run_id: str, round: int | None
) -> pa.Table:
    """Rows of `drops` for prompts that gave nothing (prompt_id, reason, detail)."""
    scope = f"{run_id}|{strategy_id}|{round}"
    pairs = zip(
        dropped.column("prompt_id").to_pylist(), dropped.column("reason").to_pylist(), strict=True
    )
    ids = [drop_id_of(stage="pair", item_id=p, reason=r, scope=scope) for p, r in pairs]
    known = {
        "drop_id": pa.array(ids, pa.string()),
        "item_id": dropped.column("prompt_id"),
        "prompt_id": dropped.column("prompt_id"),
        "reason": dropped.column("reason"),
        "detail": dropped.column("detail"),
    }
    shared = {"stage": "pair", "item_kind": "prompt", "strategy": strategy.name, "round": round}
    schema = SCHEMAS["drops"]
    columns = [
        known[f.name].cast(f.type)
        if f.name in known
        else pa.repeat(pa.scalar(shared.get(f.name), f.type), dropped.num_rows)
        for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)

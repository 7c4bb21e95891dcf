"""What a build found, as rows of the tables it is written to."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from factory.pairing.strategy import Kind, Strategy
from factory.rows import SCHEMAS, canonical, content_id, drop_id_of

TABLES: dict[Kind, str] = {"pairs": "pairs", "sft": "sft_examples"}
"""The table of each kind."""


def with_ids(found: pa.Table, strategy: Strategy, strategy_id: str, round: int | None) -> pa.Table:
    """Rows of the kind's table: what the SQL found plus ids and what all rows share."""
    schema = SCHEMAS[TABLES[strategy.kind]]
    if strategy.kind == "pairs":
        parts = [found.column("chosen_id"), found.column("rejected_id")]
        ids = _content_ids("pair", parts, strategy_id)
    else:
        ids = _content_ids("sft", [found.column("completion_id")], strategy_id)
    shared = {"strategy": strategy.name, "strategy_id": strategy_id, "round": round}
    columns: list[pa.Array | pa.ChunkedArray] = []
    for place, wanted in enumerate(schema):
        if place == 0:
            columns.append(ids)
        elif wanted.name in found.column_names:
            columns.append(found.column(wanted.name).cast(wanted.type))
        else:
            value = pa.scalar(shared.get(wanted.name), wanted.type)
            columns.append(pa.repeat(value, found.num_rows))
    return pa.Table.from_arrays(columns, schema=schema)


def _content_ids(domain: str, parts: list[pa.ChunkedArray], strategy_id: str) -> pa.Array:
    """`content_id(domain, [part, …, strategy_id])` of every row.

    Ids are hex, so their canonical JSON needs no escaping and is put together directly: hundreds of
    thousands of pairs a second instead of tens of thousands.
    """
    ending = canonical([strategy_id])[1:].decode()
    start = hashlib.blake2b(domain.encode() + b"\x1f", digest_size=16)
    made: list[str] = []
    for row in zip(*(p.to_pylist() for p in parts), strict=True):
        if "".join(row).isalnum():
            digest = start.copy()
            digest.update(('["' + '","'.join(row) + '",' + ending).encode())
            made.append(digest.hexdigest())
        else:
            made.append(content_id(domain, [*row, strategy_id]))
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

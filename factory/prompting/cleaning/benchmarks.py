"""Reads the items of a benchmark: a file or dataset by its common column names, or a whole pool."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.prompting import fitting
from factory.prompting.content import Rejected, conversation_of, label_of, text_of
from factory.prompting.formats import READERS
from factory.prompting.mapping import ColumnMapping
from factory.prompting.reading import batches, source_name
from factory.store import Store

_POOL = """
    select coalesce(nullif(source_id, ''), prompt_id) as item, messages, next_turns
    from prompts where pool = $pool and parent_completion_id is null order by prompt_id
"""


@dataclass(frozen=True, slots=True)
class BenchItem:
    """One item: what it asks, turn by turn; no turns when the row could not be read."""

    name: str
    turns: Sequence[str]


def read_benchmark(store: Store | None, named: str) -> tuple[str, Iterator[BenchItem]]:
    """A benchmark's name and its items.

    Args:
        store: where pools are; files are read without.
        named: a file, a directory, `hf:owner/name`, or the name of a pool of this workspace.

    Raises:
        UserError: neither a file nor a pool, or no column with the items' text.
    """
    if store is None or _is_source(named):
        return source_name(named), _of_file(named)
    counted = store.rows("select pool from prompts group by pool order by pool")
    pools = [str(row["pool"]) for row in counted]
    if named not in pools:
        near = difflib.get_close_matches(named, pools, n=1)
        hint = f"; did you mean the pool {near[0]!r}?" if near else ""
        raise UserError(
            f"--against {named}: no file and no pool is called so{hint}",
            next=f"prefactory prompts add FILE --pool {named}  # or give the file's path",
        )
    return named, _of_pool(store, named)


def _is_source(named: str) -> bool:
    path = Path(named)
    return (
        named.startswith("hf:")
        or path.expanduser().exists()
        or "/" in named
        or any(suffix in READERS for suffix in path.suffixes)
    )


def _of_pool(store: Store, pool: str) -> Iterator[BenchItem]:
    with store.connect(mentioned_in=_POOL) as con:
        found = con.execute(_POOL, {"pool": pool})
        while rows := found.fetchmany(10_000):
            for item, messages, later in rows:
                turns = [*user_turns(json.loads(messages)), *later_turns(later)]
                yield BenchItem(str(item), turns)


def user_turns(messages: Sequence[Mapping[str, str]]) -> list[str]:
    """What a model is told, turn by turn: everything but what it said itself."""
    return [m["content"] for m in messages if m["role"] != "assistant"]


def later_turns(next_turns: str | None) -> list[str]:
    """The turns of a conversation that are still to come."""
    return [str(turn) for turn in json.loads(next_turns)] if next_turns else []


def _of_file(named: str) -> Iterator[BenchItem]:
    stream = batches(named)
    first = next(stream, None)
    if first is None:
        return
    mapping = fitting.detect(first.rows, kind="prompts")
    listed = any(isinstance(row.values.get("turns"), list) for row in first.rows)
    if first.rows and not (listed or mapping.has("text") or mapping.has("messages")):
        columns = ", ".join(sorted(first.rows[0].values))
        raise UserError(
            f"{named}: no column holds a benchmark's items; there are {columns}",
            next=f"prefactory prompts add {named} --pool BENCH --map text=COLUMN",
        )
    for batch in chain([first], stream):
        for bad in batch.bad:
            yield BenchItem(str(bad.number), ())
        for row in batch.rows:
            try:
                turns = _turns(row.values, mapping)
                name = label_of(mapping.get(row.values, "source_id"), field="source_id")
            except Rejected:
                turns, name = [], ""
            yield BenchItem(name or str(row.number), turns)


def _turns(values: Mapping[str, Any], mapping: ColumnMapping) -> list[str]:
    """The turns of a row: a list of `turns` (MT-bench), messages, or a text with its `input`."""
    listed = values.get("turns")
    if isinstance(listed, list):
        texts = [t.get("content") if isinstance(t, Mapping) else t for t in listed]
        return [text_of(text, field="turns") for text in texts]
    conversation = conversation_of(values, mapping)
    if conversation is None:
        return []
    turns = user_turns(conversation.messages)
    more = values.get("input")
    if not mapping.has("messages") and isinstance(more, str) and more.strip():
        turns[-1] = f"{turns[-1]}\n\n{more}"
    return turns

"""What a critique-and-revise judge wrote becomes a completion: a candidate like any other.

A revision is committed before the judgement that holds it, so a process that is killed between the
two finds the same revision again, by id, in the answer that the ledger kept. It is text from
elsewhere: its tokens are made once, as the model that wrote the criticised answer would read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from factory.judging.outcomes import storable
from factory.judging.rankings import revision_of
from factory.judging.work import Source
from factory.rows import content_id, text_hash, token_hash
from factory.store import Store

Tokenise = Callable[[str, Any, str], tuple[Sequence[int], Sequence[int]] | None]
"""(model id, messages, text) -> prompt and completion token ids; None where that model is gone."""

_PARENTS = """
select c.completion_id, c.model_id, c.text_hash, p.messages
from completions c
join prompts p on p.prompt_id = c.prompt_id
semi join wanted w on w.completion_id = c.completion_id
"""
_CHILDREN = """
select c.completion_id
from completions c
semi join wanted w on w.completion_id = c.revises_id
where c.params_id = $params_id
order by 1
"""


def params_id_of(source: Source) -> str:
    """The row of `params` of a judge's revisions: how they were written is who wrote them."""
    return content_id("params", {"revised_by": source.judge_id})


def add(
    store: Store,
    rows: Sequence[Mapping[str, Any]],
    *,
    source: Source,
    run_id: str,
    tokenise: Tokenise | None = None,
) -> int:
    """Append the revisions that some judgements hold; returns how many are new.

    A revision that repeats the answer to the letter is none.
    """
    found = {
        str(row["judgement_id"]): (row, parts[1])
        for row in rows
        if row["status"] == "ok" and (parts := revision_of(str(row["raw"]))) is not None
    }
    if not found:
        return 0
    parents = _parents(store, [str(row["completion_id"]) for row, _ in found.values()])
    name = next(iter(found.values()))[0]["model_reported"] or source.judge.name
    model_id = content_id("model-recorded", name)
    made = [
        _completion(row, storable(text), parents[row["completion_id"]], source, model_id, tokenise)
        for row, text in found.values()
        if text_hash(storable(text)) != parents[row["completion_id"]]["text_hash"]
    ]
    if not made:
        return 0
    said = {"revised_by": source.judge_id, "judge": source.judge.name, "model": name}
    params = {"params_id": params_id_of(source), "json": json.dumps(said)}
    store.append("params", [params], run_id=run_id)
    model = {"model_id": model_id, "name": name, "kind": "judge"}
    store.append("models", [model], run_id=run_id)
    return store.append("completions", made, run_id=run_id)


def _completion(
    row: Mapping[str, Any],
    text: str,
    parent: Mapping[str, Any],
    source: Source,
    model_id: str,
    tokenise: Tokenise | None,
) -> dict[str, object]:
    tokens = None
    if tokenise is not None:
        tokens = tokenise(parent["model_id"], json.loads(parent["messages"]), text)
    made: dict[str, object] = {
        "completion_id": content_id("completion-revised", row["judgement_id"]),
        "prompt_id": row["prompt_id"],
        "model_id": model_id,
        "params_id": params_id_of(source),
        "sample_idx": row["replicate"],
        "seed": 0,
        "text": text,
        "text_hash": text_hash(text),
        "finish_reason": "stop",
        "origin": "revised",
        "revises_id": row["completion_id"],
        "retokenised": tokens is not None,
        "bucket": row["bucket"],
    }
    if tokens is None:
        return made
    prompt_ids, ids = list(tokens[0]), list(tokens[1])
    return made | {
        "prompt_token_ids": prompt_ids,
        "token_ids": ids,
        "token_hash": token_hash(prompt_ids, ids),
        "n_tokens": len(ids),
    }


def _parents(store: Store, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = _select(store, _PARENTS, ids).to_pylist()
    return {row["completion_id"]: row for row in rows}


def children(store: Store, source: Source, completion_ids: Sequence[str]) -> list[str]:
    """Ids of this judge's revisions of these completions."""
    found = _select(store, _CHILDREN, completion_ids, params_id=params_id_of(source))
    return [str(i) for i in found.column("completion_id").to_pylist()]


def _select(store: Store, sql: str, ids: Sequence[str], **params: object) -> pa.Table:
    wanted = pa.table({"completion_id": pa.array(list(ids), pa.string())})
    with store.connect(mentioned_in=sql) as con:
        con.register("wanted", wanted)
        return con.sql(sql, params=params).to_arrow_table()

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
select c.completion_id, c.revises_id, c.text_hash
from completions c
semi join wanted w on w.completion_id = c.revises_id
where list_contains($params_ids, c.params_id)
order by 1
"""

_VERSIONS = """
select distinct judge_id, parser
from judgements
where judge = $judge and judge_sha = $sha and judge_model_id is not distinct from $model
  and parser is not null
order by judge_id
"""


def params_id_of(source: Source) -> str:
    """The row of `params` of a judge's revisions: how they were written is who wrote them."""
    return _params_id(source.judge_id)


def _params_id(judge_id: str) -> str:
    return content_id("params", {"revised_by": judge_id})


def add(
    store: Store,
    rows: Sequence[Mapping[str, Any]],
    *,
    source: Source,
    run_id: str,
    tokenise: Tokenise | None = None,
    beside: Sequence[str] = (),
) -> int:
    """Append the revisions that some judgements hold; returns how many are new.

    A revision that repeats the answer to the letter is none. What another version of the parser
    read in the same reply is a candidate already; `beside` are further judge ids of which that is
    so.
    """
    found = {
        str(row["judgement_id"]): (row, parts[1])
        for row in rows
        if row["status"] == "ok" and (parts := revision_of(str(row["raw"]))) is not None
    }
    if not found:
        return 0
    ids = sorted({str(row["completion_id"]) for row, _ in found.values()})
    parents = _parents(store, ids)
    others = [*versions_of(store, source), *beside]
    known = {(row["revises_id"], row["text_hash"]) for row in _children(store, ids, others)}
    made: list[dict[str, object]] = []
    models: dict[str, str] = {}
    for row, text in found.values():
        parent = parents.get(str(row["completion_id"]))
        said = text_hash(storable(text))
        if parent is None or said == parent["text_hash"]:
            continue
        if (row["completion_id"], said) in known:
            continue
        # An endpoint may answer with several models: each revision is of the one that wrote it.
        name = str(row["model_reported"] or source.judge.name)
        models[name] = content_id("model-recorded", name)
        made.append(_completion(row, storable(text), parent, source, models[name], tokenise))
    if not made:
        return 0
    params = {"revised_by": source.judge_id, "judge": source.judge.name}
    if len(models) == 1:
        params["model"] = next(iter(models))
    store.append(
        "params", [{"params_id": params_id_of(source), "json": json.dumps(params)}], run_id=run_id
    )
    store.append(
        "models",
        [{"model_id": i, "name": name, "kind": "judge"} for name, i in sorted(models.items())],
        run_id=run_id,
    )
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
    """Ids of this judge's revisions of these completions, by whatever version of its parser."""
    found = _children(store, completion_ids, [source.judge_id, *versions_of(store, source)])
    return [str(row["completion_id"]) for row in found]


def versions_of(store: Store, source: Source) -> list[str]:
    """Ids under which other versions of the parser read answers to the very same questions.

    The same file and model are not enough: an endpoint's own options (a temperature, an effort)
    make another judge, whose answers are not this one's.
    """
    wanted = {
        "judge": source.judge.name,
        "sha": source.judge.sha,
        "model": source.endpoint.known_as if source.endpoint else None,
    }
    return [
        row["judge_id"]
        for row in store.rows(_VERSIONS, wanted)
        if row["parser"] != source.judge.parser
        and row["judge_id"]
        == source.judge.identity(wanted["model"] or "", source.options, parser=row["parser"])
    ]


def _children(
    store: Store, completion_ids: Sequence[str], judge_ids: Sequence[str]
) -> list[dict[str, Any]]:
    if not judge_ids:
        return []
    params_ids = [_params_id(judge_id) for judge_id in judge_ids]
    return _select(store, _CHILDREN, completion_ids, params_ids=params_ids).to_pylist()


def _select(store: Store, sql: str, ids: Sequence[str], **params: object) -> pa.Table:
    wanted = pa.table({"completion_id": pa.array(list(ids), pa.string())})
    with store.connect(mentioned_in=sql) as con:
        con.register("wanted", wanted)
        return con.sql(sql, params=params).to_arrow_table()

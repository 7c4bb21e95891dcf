"""`reparse`: reads stored answers with the present parser. No call is made, no row is changed.

A parser that was mended has a new version, so its verdicts are new rows under a new judge id beside
the old ones, and they cost nothing: the answers were kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from factory.judging.outcomes import Reply, reply_of_raw
from factory.judging.plan import task_of
from factory.judging.work import Source, read, row_of, subject_id
from factory.store import CallRow, Store

BATCH = 10_000

_STORED = """
select kind, aspect, prompt_id, completion_ids, completion_id, status, raw, replicate, call_id,
  model_reported, tokens_in, tokens_out, latency_ms, bucket
from judgements
where judge = $judge and status <> 'error' and raw is not null
  and case
    when $from_judge_id is null
      then judge_sha = $sha and judge_model_id = $model and parser <> $parser
    else judge_id = $from_judge_id
  end
qualify row_number() over (
  partition by completion_ids, completion_id, aspect, replicate
  order by created_at desc, judgement_id
) = 1
order by prompt_id, judgement_id
"""


def reparse(
    store: Store, source: Source, *, run_id: str, from_judge_id: str | None = None
) -> Counter[str]:
    """Judge stored answers anew; returns the new rows' statuses.

    Args:
        store: the workspace's store.
        source: the judge as it is now, made ready by `verb.source_for`.
        run_id: written on the new rows.
        from_judge_id: whose answers. By default those to the same file and model that another
            version of the parser read. Name it where the file was edited in a way that leaves its
            question as it was, or where the judgements were recorded elsewhere.
    """
    wanted = {
        "judge": source.judge.name,
        "sha": source.judge.sha,
        "model": source.endpoint.model if source.endpoint else None,
        "parser": source.judge.parser,
        "from_judge_id": from_judge_id,
    }
    rows = store.rows(_STORED, wanted)
    statuses: Counter[str] = Counter()
    for start in range(0, len(rows), BATCH):
        made = _reread(store, rows[start : start + BATCH], source)
        owed = set(store.missing("judgements", [str(row["judgement_id"]) for row in made]))
        fresh = [row for row in made if row["judgement_id"] in owed]
        store.append("judgements", fresh, run_id=run_id)
        statuses.update(str(row["status"]) for row in fresh)
    return statuses


def _reread(
    store: Store, rows: Sequence[Mapping[str, Any]], source: Source
) -> list[dict[str, object]]:
    calls = store.ledger.calls([row["call_id"] for row in rows if row["call_id"]])
    return [_again(row, calls.get(row["call_id"]), source) for row in rows]


def _again(row: Mapping[str, Any], call: CallRow | None, source: Source) -> dict[str, object]:
    whole = call is not None and call.response is not None
    # The ledger keeps the finish reason and an endpoint's refusal too; a lake alone has the text.
    reply = (
        Reply.loads(call.response)
        if call is not None and call.response is not None
        else reply_of_raw(row["raw"], row["status"])
    )
    shown = tuple(row["completion_ids"])
    task = task_of(
        source.judge,
        shown,
        judge_id=source.judge_id,
        prompt_id=row["prompt_id"],
        aspect=row["aspect"] or "",
        replicate=row["replicate"] or 0,
        bucket=row["bucket"],
    )
    verdicts = read(source.judge, reply, shown=len(shown))
    kept = ("call_id", "model_reported", "tokens_in", "tokens_out", "latency_ms")
    subject = row["completion_id"]
    made = row_of(
        task,
        verdicts[shown.index(subject) if len(verdicts) > 1 else 0],
        source,
        raw=reply.raw if whole else row["raw"],
        cost_microusd=0,  # the row that paid for the answer carries its price
        **{name: row[name] for name in kept},
    )
    if source.judge.front.kind == "listwise":
        made |= {"judgement_id": subject_id(task, subject, source), "completion_id": subject}
    return made

"""`reparse`: reads stored answers with the present parser. No call is made, no row is changed.

A parser that was mended has a new version, so its verdicts are new rows under a new judge id beside
the old ones, and they cost nothing: the answers were kept. Where a reply was corrected, the first
one that can be read now is the verdict, as it would have been then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from factory.errors import UserError
from factory.judging import revising
from factory.judging.front import ASKING
from factory.judging.outcomes import Reply, reply_of_raw
from factory.judging.plan import task_of
from factory.judging.work import Source, read, row_of, subject_id
from factory.store import CallRow, Store

BATCH = 10_000

_STORED = """
select judgement_id, kind, aspect, prompt_id, completion_ids, completion_id, status, raw, replicate,
  call_id, earlier_call_ids, model_reported, tokens_in, tokens_out, latency_ms, rationale, bucket
from judgements
where list_contains($judge_ids, judge_id) and status <> 'error' and raw is not null
qualify row_number() over (
  partition by completion_ids, completion_id, aspect, replicate
  order by created_at desc, judgement_id
) = 1
order by prompt_id, judgement_id
"""


_VERSIONS = """
select judge_id, count(*) as n from judgements
where judge = $judge and status <> 'error' and raw is not null
group by judge_id order by judge_id = $own desc, n desc, judge_id
"""


def reparse(
    store: Store,
    source: Source,
    *,
    run_id: str,
    from_judge_id: str | None = None,
    tokenise: revising.Tokenise | None = None,
) -> Counter[str]:
    """Judge stored answers anew; returns the new rows' statuses.

    Args:
        store: the workspace's store.
        source: the judge as it is now, made ready by `verb.source_for`.
        run_id: written on the new rows.
        from_judge_id: whose answers. By default those to the same file, model and options that
            another version of the parser read. Name it where the file was edited in a way that
            leaves its question as it was, or where the judgements were recorded elsewhere.
        tokenise: reads revisions as the model that wrote the revised answer does.

    Raises:
        UserError: for a judge that reads no answers, where nothing of `from_judge_id` is kept, and
            where other versions of the judge alone have answers.
    """
    kind = source.judge.front.kind
    if kind not in ASKING:
        raise UserError(
            f"judge {source.judge.name} is a {kind}: it reads no model's answers that a parser "
            "could read again",
            next=f"prefactory judge --judge {source.judge.name}",
        )
    ids = [from_judge_id] if from_judge_id is not None else revising.versions_of(store, source)
    rows = store.rows(_STORED, {"judge_ids": ids})
    if from_judge_id is not None and not rows:
        raise UserError(
            f"no answers of a judge with the id {from_judge_id} are kept here",
            next='prefactory sql "select distinct judge, judge_id from judgements"',
        )
    if not rows:
        _other_versions(store, source)
    _fitting(rows, source)
    before = _told_before(rows)
    statuses: Counter[str] = Counter()
    for start in range(0, len(rows), BATCH):
        made = _reread(store, rows[start : start + BATCH], source, before=before)
        owed = set(store.missing("judgements", [str(row["judgement_id"]) for row in made]))
        fresh = [row for row in made if row["judgement_id"] in owed]
        if kind == "revise":
            revising.add(store, fresh, source=source, run_id=run_id, tokenise=tokenise, beside=ids)
        store.append("judgements", fresh, run_id=run_id)
        statuses.update(str(row["status"]) for row in fresh)
    return statuses


def _other_versions(store: Store, source: Source) -> None:
    """Refuse where only other versions of the judge have answers: which are meant is not guessed.

    Raises:
        UserError: names the version with the most answers.
    """
    found = store.rows(_VERSIONS, {"judge": source.judge.name, "own": source.judge_id})
    if found and found[0]["judge_id"] != source.judge_id:
        most = found[0]
        raise UserError(
            f"judge {source.judge.name} as it stands has no answers here; {len(found)} other "
            f"versions of it have (file, model, options), {most['judge_id']} the most: {most['n']}",
            next=f"prefactory judge --judge {source.judge.name} --reparse "
            f"--answers-of {most['judge_id']}",
        )


def _fitting(rows: Sequence[Mapping[str, Any]], source: Source) -> None:
    kind = source.judge.front.kind
    other = next((row["kind"] for row in rows if row["kind"] != kind), None)
    if other is not None:
        raise UserError(
            f"judge {source.judge.name} is {kind}, and these answers were given to a {other} "
            "question",
            next='prefactory sql "select distinct kind, judge, judge_id from judgements"',
        )


def _told_before(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Last call -> the calls before it whose replies were corrected; of a list one row has them."""
    return {r["call_id"]: r["earlier_call_ids"] for r in rows if r["earlier_call_ids"]}


def _reread(
    store: Store,
    rows: Sequence[Mapping[str, Any]],
    source: Source,
    *,
    before: Mapping[str, Sequence[str]],
) -> list[dict[str, object]]:
    last = {str(row["call_id"]) for row in rows if row["call_id"]}
    turns = {call_id for one in last for call_id in before.get(one, ())}
    calls = store.ledger.calls(sorted(last | turns))
    return [
        _again(row, list(_replies(row, calls, before.get(row["call_id"], ()))), source)
        for row in rows
    ]


def _replies(
    row: Mapping[str, Any], calls: Mapping[str, CallRow], earlier: Sequence[str]
) -> Iterator[Reply]:
    """What was answered, turn by turn; what was corrected is in the ledger alone."""
    for call_id in earlier:
        call = calls.get(call_id)
        if call is not None and call.response is not None:
            yield Reply.loads(call.response)
    call = calls.get(row["call_id"])
    # The ledger keeps the finish reason and an endpoint's refusal too; a lake alone has the text.
    if call is not None and call.response is not None:
        yield Reply.loads(call.response)
    else:
        yield _of_the_lake(row)


def _of_the_lake(row: Mapping[str, Any]) -> Reply:
    reply = reply_of_raw(row["raw"], row["status"])
    # Its words were kept; that the endpoint itself refused stands in the reason alone.
    refused = row["status"] == "refused" and row["rationale"] == "refused_by_endpoint"
    return replace(reply, refusal=reply.text) if refused else reply


def _again(row: Mapping[str, Any], replies: Sequence[Reply], source: Source) -> dict[str, object]:
    """The row that the present parser makes of the first of these replies that it can read."""
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
    read_ = [(reply, read(source.judge, reply, shown=len(shown))) for reply in replies]
    told = (turn for turn in read_ if any(v.status != "unparsed" for v in turn[1]))
    reply, verdicts = next(told, read_[-1])
    kept = (
        "call_id", "earlier_call_ids", "model_reported", "tokens_in", "tokens_out", "latency_ms",
    )  # fmt: skip
    subject = row["completion_id"]
    made = row_of(
        task,
        verdicts[shown.index(subject) if len(verdicts) > 1 else 0],
        source,
        raw=reply.raw,
        cost_microusd=0,  # the row that paid for the answer carries its price
        **{name: row[name] for name in kept},
    )
    if source.judge.front.kind == "listwise":
        made |= {"judgement_id": subject_id(task, subject, source), "completion_id": subject}
    return made

"""Judging by models: shards of questions through the paid-call client, each shard one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa

from factory.errors import BudgetExhausted, FactoryError, RecipeError
from factory.judging import corrections, render
from factory.judging.client.batch import Batcher
from factory.judging.client.calls import Answer, Call, Client, call_of, kept_answer
from factory.judging.outcomes import Reply, Verdict, failed
from factory.judging.plan import Task
from factory.judging.work import Block, Commit, Source, messages_of, read, rows_of
from factory.store import Store
from factory.store.database import owner_is_dead

LOOK_AGAIN_S = 0.5
SHARDS_AT_ONCE = 2
"""While one shard is being committed the next one keeps the endpoint busy."""
BATCHES_AT_ONCE = 8
"""A vendor takes up to a day for each; the texts of all of them are in memory."""


@dataclass(slots=True)
class _Asker:
    """What the shards of one judge share."""

    client: Client | Batcher
    source: Source
    commit: Commit
    charged: set[str] = field(default_factory=set)
    """Calls whose price stands on a row already: two judgements of one call cost one call."""
    patient_until: float = 0.0
    """Until when calls of other processes are waited for, once one is; on the loop's clock."""


async def ask(
    blocks: Iterable[Block], *, source: Source, commit: Commit, shard: int, budget_id: str | None
) -> None:
    """Ask about every block, a few shards at a time. What was answered is committed, come what may.

    Raises:
        Stopped: when the endpoint or the budget ends the run; answers until then are committed.
    """
    assert source.endpoint is not None
    batches = source.endpoint.mode == "batch"
    client = (Batcher if batches else Client)(
        source.endpoint,
        name=source.endpoint_name,
        ledger=commit.store.ledger,
        budget_id=budget_id,
        run_id=commit.run_id,
    )
    asker = _Asker(client=client, source=source, commit=commit)
    running: set[asyncio.Task[None]] = set()
    try:
        await client.resume()
        size, at_once = (
            (source.endpoint.batch.size, BATCHES_AT_ONCE) if batches else (shard, SHARDS_AT_ONCE)
        )
        parts = _shards(blocks, size)
        # In a thread: texts are read from the lake, and calls in flight must not wait for it.
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            running.add(asyncio.create_task(_ask_shard(part, asker)))
            if len(running) >= at_once:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                _raise_for([task.exception() for task in done])
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            _raise_for([task.exception() for task in done])
    except BaseException as stopped:
        if not (batches and isinstance(stopped, BudgetExhausted)):
            client.stop()  # a batch that is on its way is paid for: it is waited for
        raise
    finally:
        # One shard failed or a person pressed Ctrl-C: nothing more leaves, what is in flight comes
        # back, and every shard commits what it has before the error goes on.
        await asyncio.gather(*running, return_exceptions=True)
        await client.close()


def _shards(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    for block in blocks:
        for start in range(0, len(block.tasks), size):
            yield Block(tasks=block.tasks[start : start + size], texts=block.texts)


async def _ask_shard(block: Block, asker: _Asker) -> None:
    calls: list[tuple[Task, Call]] = []
    rows: list[dict[str, object]] = []
    revision = asker.client.endpoint.revision
    for task in block.tasks:
        refused = _too_long(block, task, asker.source)
        if refused is not None:
            rows += rows_of(task, [refused], asker.source)
        else:
            body = body_of(block, task, asker.source)
            calls.append((task, call_of(body, replicate=task.replicate, revision=revision)))
    answers = await _answers(asker, [call for _, call in calls])
    turns = await corrections.correct(
        asker.source.judge, calls, answers, revision=revision,
        ask=lambda more: _answers(asker, more),
    )  # fmt: skip
    for (task, call), answer, earlier in zip(calls, answers, turns, strict=True):
        if isinstance(answer, Answer):
            if answer.reply is None:
                asker.commit.report.held += 1
            else:
                rows += _rows(task, [*earlier, (call, answer)], answer.reply, asker)
    await asyncio.to_thread(asker.commit, rows)
    _raise_for(answers)


def _raise_for(ended: Iterable[object]) -> None:
    """Raise the failure among what ended: a bug, which keeps its trace, before what can be mended.

    Raises:
        BaseException: the failure, if there is one.
    """
    failures = [end for end in ended if isinstance(end, BaseException)]
    if failures:
        raise next((f for f in failures if not isinstance(f, FactoryError)), failures[0])


def _too_long(block: Block, task: Task, source: Source) -> Verdict | None:
    most = source.judge.front.max_chars
    if most is None or all(len(text) <= most for text in block.shown(task)):
        return None
    return failed("error", "text_above_max_chars")


async def _answers(asker: _Asker, calls: Sequence[Call]) -> list[Answer | BaseException]:
    """The answers to calls, in their order; those that another process has are waited for."""
    found = await _answers_now(asker, calls)
    while waiting := await _with_others(asker, calls, found):
        now = asyncio.get_running_loop().time()
        asker.patient_until = asker.patient_until or now + asker.client.endpoint.timeout_s
        if now > asker.patient_until:
            break
        await asyncio.sleep(LOOK_AGAIN_S)
        # Its process may have died, or failed, meanwhile: then they are ours.
        await asyncio.to_thread(asker.commit.store.ledger.mark_in_doubt, is_dead=owner_is_dead)
        more = await _answers_now(asker, [calls[i] for i in waiting])
        for i, answer in zip(waiting, more, strict=True):
            found[i] = answer
    return found


async def _with_others(
    asker: _Asker, calls: Sequence[Call], found: Sequence[Answer | BaseException]
) -> list[int]:
    """Which calls are in flight in another process. A batch takes too long to be waited for."""
    none = [i for i, a in enumerate(found) if isinstance(a, Answer) and a.reply is None]
    if not none or asker.client.endpoint.mode == "batch":
        return []
    known = await asyncio.to_thread(
        asker.commit.store.ledger.calls, [calls[i].call_id for i in none]
    )
    return [i for i in none if (row := known.get(calls[i].call_id)) and row.state == "sent"]


async def _answers_now(asker: _Asker, calls: Sequence[Call]) -> list[Answer | BaseException]:
    """The answers to calls, in their order: the ledger's, and the endpoint's for all others."""
    kept = await _recovered(asker, [call.call_id for call in calls])
    asked = [call for call in calls if call.call_id not in kept]
    found = await asker.client.ask_all(asked)
    report = asker.commit.report
    answered = [a for a in found if isinstance(a, Answer) and a.reply is not None]
    report.recovered += len(calls) - len(asked) + sum(a.kept for a in answered)
    report.paid_calls += sum(not a.kept for a in answered)
    fresh = iter(found)
    return [kept.get(call.call_id) or next(fresh) for call in calls]


async def _recovered(asker: _Asker, call_ids: Sequence[str]) -> dict[str, Answer]:
    """Answers that are in the ledger already; calls in doubt are decided as the endpoint says."""
    ledger, hold = asker.commit.store.ledger, asker.client.endpoint.in_doubt == "hold"
    known = await asyncio.to_thread(ledger.calls, call_ids)
    doubtful = [row.call_id for row in known.values() if row.state == "in_doubt"]
    if doubtful:
        await asyncio.to_thread(ledger.release_in_doubt, doubtful, hold=hold)
    held = [row.call_id for row in known.values() if row.state == "held"]
    if held and not hold:
        await asyncio.to_thread(ledger.resend_held, held)
    kept = {row.call_id: kept_answer(row) for row in known.values() if row.state == "done"}
    if kept:
        asker.charged |= await asyncio.to_thread(_charged, asker.commit.store, list(kept))
    return kept


def _charged(store: Store, call_ids: list[str]) -> set[str]:
    """Calls whose price stands on a row of the lake: another judge, or an earlier shard, asked."""
    sql = (
        "select distinct call_id from ("
        "from (select call_id from judgements) "
        "union all select unnest(earlier_call_ids) from judgements"
        ") semi join wanted using (call_id)"
    )
    with store.connect(mentioned_in=sql) as con:
        con.register("wanted", pa.table({"call_id": pa.array(call_ids, pa.string())}))
        return {call_id for (call_id,) in con.execute(sql).fetchall()}


def _rows(
    task: Task, turns: Sequence[tuple[Call, Answer]], reply: Reply, asker: _Asker
) -> list[dict[str, object]]:
    """The rows of a question: the last turn's reply, and the bill of all of them."""
    verdicts = read(asker.source.judge, reply, shown=len(task.completion_ids))
    ids = [call.call_id for call, _ in turns]
    cost = sum(a.cost_microusd for call, a in turns if call.call_id not in asker.charged)
    asker.charged.update(ids)
    asker.commit.report.cost_microusd += cost
    heard = [a.reply for _, a in turns if a.reply is not None]
    return rows_of(
        task,
        verdicts,
        asker.source,
        raw=reply.raw,
        call_id=ids[-1],
        earlier_call_ids=ids[:-1] or None,
        model_reported=reply.model or None,
        tokens_in=_sum(r.tokens_in for r in heard),
        tokens_out=_sum(r.tokens_out for r in heard),
        cost_microusd=cost,
        latency_ms=_sum(a.latency_ms for _, a in turns),
    )


_N = TypeVar("_N", int, float)


def _sum(values: Iterable[_N | None]) -> _N | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def body_of(block: Block, task: Task, source: Source) -> dict[str, Any]:
    """The request of one judgement, as it goes over the wire.

    Raises:
        RecipeError: when the judge's body fails on these texts.
    """
    judge, endpoint = source.judge, source.endpoint
    assert judge.template is not None
    assert endpoint is not None
    front, row = judge.front, block.prompt(task)
    try:
        messages = render.messages_for(
            judge.template,
            conversation=messages_of(row),
            texts=block.shown(task),
            reference=row["reference"],
            aspect=judge.aspect(task.aspect),
            scale=front.scale,
            args=front.parser_args,
        )
    except render.BadTemplate as bad:
        raise RecipeError(
            f"judges/{judge.name}.md: {bad}", next=f"edit judges/{judge.name}.md"
        ) from bad
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": messages,
        "max_tokens": front.max_tokens,
        "temperature": front.temperature,
        "top_p": front.top_p,
    }
    if front.seed is not None:
        body["seed"] = front.seed + task.replicate
    if front.stop:
        body["stop"] = list(front.stop)
    if front.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": front.logprobs}
    if front.response_format is not None:
        body["response_format"] = front.response_format
    if front.json_schema is not None:
        wanted = {"name": "verdict", "strict": True, "schema": front.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    # The endpoint's own fields last: a vendor that wants max_completion_tokens can be told so.
    body |= endpoint.extra_body
    return {name: value for name, value in body.items() if value is not None}

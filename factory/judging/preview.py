"""What judging would cost, and what the first request looks like, before anything is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.judging.asking import body_of
from factory.judging.client.replies import Usage, cost_of, most_it_can_cost
from factory.judging.verb import JudgeReport, blocks_of, failed_tasks, missing_tasks, source_for
from factory.judging.work import Source
from factory.recipe import Endpoint
from factory.recipe.model import Judging
from factory.rows import Status
from factory.store import Store

SAMPLE = 200
"""Requests that are rendered to estimate the price of all."""
BYTES_A_TOKEN = 4
SHARE_OF_LIMIT = 0.3
"""How much of its token limit a judge usually writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One judge's bill, estimated."""

    judge: str
    planned: int
    missing: int
    calls: int
    estimate_microusd: int
    most_microusd: int
    """What the same calls cost if every text were one token a byte and every answer full."""
    first: list[dict[str, str]]
    """The messages of the first request; empty for verifiers."""


def preview(
    store: Store,
    *,
    judges: Sequence[str],
    completion_ids: Sequence[str],
    judging: Judging,
    seed: int = 0,
    replicates: int = 1,
    retry: Sequence[Status] = (),
) -> list[Preview]:
    """What `judge` with the same arguments would do. Reads only; asks no endpoint."""
    made: list[Preview] = []
    for name in judges:
        source = source_for(store, name, judging)
        spec = source.judge.front.panel
        asked = source.members if spec is not None and spec.in_turn else (source,)
        bills = [
            _of_one(
                store, one, completion_ids, judging, seed=seed, replicates=replicates, retry=retry
            )
            for one in asked
        ]
        made.append(bills[0] if asked[0] is source else _together(name, bills))
    return made


def _together(name: str, bills: Sequence[Preview]) -> Preview:
    """The bill of a panel that asks its members in turn, if it has to ask all of them all."""
    return Preview(
        judge=name,
        planned=sum(b.planned for b in bills),
        missing=sum(b.missing for b in bills),
        calls=sum(b.calls for b in bills),
        estimate_microusd=sum(b.estimate_microusd for b in bills),
        most_microusd=sum(b.most_microusd for b in bills),
        first=bills[0].first,
    )


def _of_one(
    store: Store,
    source: Source,
    completion_ids: Sequence[str],
    judging: Judging,
    *,
    seed: int,
    replicates: int,
    retry: Sequence[Status],
) -> Preview:
    done = JudgeReport(judge=source.judge.name, judge_id=source.judge_id)
    tasks = missing_tasks(
        store, source, completion_ids, judging, seed=seed, replicates=replicates, done=done
    )
    if retry:
        tasks += failed_tasks(store, source, completion_ids, retry, skip=tasks)
    step = max(1, len(tasks) // SAMPLE)
    bodies: list[dict[str, Any]] = []
    if source.endpoint is not None:
        for block in blocks_of(store, tasks[::step]):
            bodies += [body_of(block, task, source) for task in block.tasks]
    return _preview(source, done, len(tasks), bodies)


def _preview(
    source: Source, done: JudgeReport, missing: int, bodies: Sequence[dict[str, Any]]
) -> Preview:
    usual, most = 0.0, 0.0
    if source.endpoint is not None and bodies:
        scale = missing / len(bodies)
        usual = scale * sum(_usual_cost(body, source.endpoint) for body in bodies)
        most = scale * sum(most_it_can_cost(body, source.endpoint) for body in bodies)
    return Preview(
        judge=done.judge,
        planned=done.planned,
        missing=missing,
        calls=missing if source.endpoint is not None else 0,
        estimate_microusd=round(usual),
        most_microusd=round(most),
        first=bodies[0]["messages"] if bodies else [],
    )


def _usual_cost(body: dict[str, Any], endpoint: Endpoint) -> int:
    size = sum(len(m["content"].encode()) for m in body["messages"])
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or 1024
    written = int(limit * SHARE_OF_LIMIT) + 1
    return cost_of(Usage(tokens_in=size // BYTES_A_TOKEN, tokens_out=written), endpoint)

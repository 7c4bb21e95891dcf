"""Which judgements a judge owes: known by id before a text is read or a call is paid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from factory.judging.files import Judge
from factory.rows import content_id, judgement_id_of, share_of

Shown = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A completion as the plan sees it."""

    completion_id: str
    prompt_id: str
    text_hash: str
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One judgement to be made; `completion_ids` in the order in which they are shown."""

    judgement_id: str
    prompt_id: str
    completion_ids: tuple[str, ...]
    aspect: str
    replicate: int
    bucket: int


def plan(
    judge: Judge,
    candidates: Iterable[Candidate],
    *,
    judge_id: str,
    comparisons: int,
    seed: int,
    replicates: int = 1,
) -> list[Task]:
    """Every judgement of these completions, prompt by prompt.

    Args:
        judge: the judge's file.
        candidates: completions in any order, each once.
        judge_id: the judge's identity.
        comparisons: pairwise judges: pairs of completions a prompt.
        seed: pairwise judges: which pairs.
        replicates: how often each question is asked.
    """
    ordered = sorted(candidates, key=lambda c: (c.prompt_id, c.completion_id))
    tasks: list[Task] = []
    for prompt_id, group in groupby(ordered, key=lambda c: c.prompt_id):
        listed = list(group)
        for shown in _shown(judge, listed, comparisons=comparisons, seed=seed):
            for aspect in judge.aspects:
                for replicate in range(replicates):
                    tasks.append(
                        task_of(
                            judge, shown, judge_id=judge_id, prompt_id=prompt_id, aspect=aspect,
                            replicate=replicate, bucket=listed[0].bucket,
                        )
                    )  # fmt: skip
    return tasks


def task_of(
    judge: Judge,
    shown: Shown,
    *,
    judge_id: str,
    prompt_id: str,
    aspect: str,
    replicate: int,
    bucket: int,
) -> Task:
    """One question with its id. A list's is the id of the row of its first text."""
    ids = [shown[0], *shown] if judge.front.kind == "listwise" else shown
    identity = judgement_id_of(
        kind=judge.front.kind,
        judge_id=judge_id,
        completion_ids=ids,
        aspect=aspect,
        replicate=replicate,
    )
    return Task(
        judgement_id=identity,
        prompt_id=prompt_id,
        completion_ids=shown,
        aspect=aspect,
        replicate=replicate,
        bucket=bucket,
    )


def again(judge: Judge, row: Mapping[str, Any], *, judge_id: str) -> Task:
    """The next replicate of a judgement that is there, from its row."""
    return task_of(
        judge,
        tuple(row["completion_ids"]),
        judge_id=judge_id,
        prompt_id=row["prompt_id"],
        aspect=row["aspect"],
        replicate=row["replicate"] + 1,
        bucket=row["bucket"],
    )


def _shown(
    judge: Judge, candidates: Sequence[Candidate], *, comparisons: int, seed: int
) -> Iterator[tuple[str, ...]]:
    if judge.front.kind == "listwise":
        yield from lists(judge, candidates, seed=seed)
        return
    if judge.front.kind != "pairwise":
        yield from ((c.completion_id,) for c in candidates)
        return
    for first, second in islice(pairs(candidates, seed=seed), comparisons):
        if judge.front.orders == "both":
            yield (first, second)
            yield (second, first)
        else:
            swap = share_of(content_id("order", [first, second]), str(seed)) < 0.5
            yield (second, first) if swap else (first, second)


def lists(judge: Judge, candidates: Sequence[Candidate], *, seed: int) -> Iterator[Shown]:
    """The different texts of a prompt in an order drawn by hash, and that order reversed.

    More texts than the judge takes at once are shared out evenly; one text alone has no rank. Of
    copies the lowest id stands for all.
    """
    first: dict[str, str] = {}
    for candidate in candidates:
        first.setdefault(candidate.text_hash, candidate.completion_id)
    drawn = sorted(first.values(), key=lambda i: (share_of(i, f"list:{seed}"), i))
    if len(drawn) < 2:
        return
    parts = -(-len(drawn) // judge.front.at_most)
    for part in range(parts):
        shown = tuple(drawn[part::parts])
        yield shown
        if judge.front.orders == "both":
            yield shown[::-1]


def pairs(candidates: Sequence[Candidate], *, seed: int) -> Iterator[tuple[str, str]]:
    """Pairs of different texts, so that any number of first ones covers the completions evenly.

    The completions stand in a ring, shuffled by hash; neighbours come first, every other edge of
    the ring before the rest, then those two apart, and so on: all pairs, each once. The lower id is
    named first.
    """
    ring = sorted(
        candidates, key=lambda c: (share_of(c.completion_id, f"ring:{seed}"), c.completion_id)
    )
    n = len(ring)
    for apart in range(1, n // 2 + 1):
        edges = n // 2 if 2 * apart == n else n
        for at in [*range(0, edges, 2), *range(1, edges, 2)]:
            one, other = ring[at], ring[(at + apart) % n]
            if one.text_hash != other.text_hash:
                low, high = sorted((one.completion_id, other.completion_id))
                yield low, high

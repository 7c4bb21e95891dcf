"""What the two ways of judging share: a judge made ready, texts in memory, rows, commits."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from factory.errors import Stopped
from factory.judging import parse, rankings
from factory.judging.files import Judge
from factory.judging.outcomes import Reply, Verdict
from factory.judging.plan import Task
from factory.recipe import Endpoint
from factory.rows import judgement_id_of
from factory.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A judge made ready: its file, its id, and the endpoint it asks."""

    judge: Judge
    judge_id: str
    endpoint: Endpoint | None
    endpoint_name: str = ""
    model: Path | None = None
    """A reward model's directory, and below the hash of its weights."""
    model_id: str = ""
    options: object = None
    """What else the id is made of: the endpoint's own options."""
    members: tuple[Source, ...] = ()
    """A panel's members, and below the weight of each."""
    weights: tuple[float, ...] = ()


def source_of(judge: Judge, *, endpoint: Endpoint | None = None, endpoint_name: str = "") -> Source:
    """A judge with its identity: a model asked with other options is another judge."""
    if endpoint is None:
        return Source(judge=judge, judge_id=judge.identity(), endpoint=None)
    options = dict(endpoint.extra_body) or None
    return Source(
        judge=judge,
        judge_id=judge.identity(endpoint.known_as, options),
        endpoint=endpoint,
        endpoint_name=endpoint_name,
        options=options,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Judgements to make, and the rows of the completions they are about."""

    tasks: Sequence[Task]
    texts: Mapping[str, Mapping[str, Any]]

    def prompt(self, task: Task) -> Mapping[str, Any]:
        """The row that carries the prompt's messages, reference and constraints."""
        return self.texts[task.completion_ids[0]]

    def shown(self, task: Task) -> list[str]:
        """The texts in the order in which they are shown."""
        return [str(self.texts[i]["text"] or "") for i in task.completion_ids]


def messages_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The prompt's messages: the column holds them as JSON."""
    value = row["messages"]
    return json.loads(value) if isinstance(value, str) else list(value)


def row_of(task: Task, verdict: Verdict, source: Source, **more: object) -> dict[str, object]:
    """The row of a judgement."""
    judge, ids = source.judge, task.completion_ids
    winners = {"first": ids[0], "second": ids[-1]} if len(ids) == 2 else {}
    return {
        "judgement_id": task.judgement_id,
        "kind": judge.front.kind,
        "judge": judge.name,
        "judge_id": source.judge_id,
        "judge_sha": judge.sha,
        "judge_model_id": source.endpoint.known_as if source.endpoint else source.model_id or None,
        "aspect": task.aspect,
        "prompt_id": task.prompt_id,
        "completion_ids": list(ids),
        "completion_id": ids[0] if len(ids) == 1 else None,
        "status": verdict.status,
        "score": verdict.score,
        "winner_id": winners.get(verdict.winner or ""),
        "p_first": verdict.p_first,
        # A failed verdict has its reason, in stable words, where a good one has its rationale.
        "rationale": verdict.rationale or verdict.reason or None,
        "parser": judge.parser,
        "replicate": task.replicate,
        "origin": "sampled",
        "bucket": task.bucket,
        **more,
    }


def read(judge: Judge, reply: Reply, *, shown: int) -> list[Verdict]:
    """What a reply says: one verdict, or of a list one for each text in the order shown."""
    kind, parser = judge.front.kind, judge.front.parser
    if kind == "listwise":
        return rankings.parse_list(reply, parser=parser, ask=judge.ask(), shown=shown)
    if kind == "revise":
        return [rankings.parse_revision(reply, ask=judge.ask())]
    return [parse.parse(reply, parser=parser, ask=judge.ask())]


_OF_THE_CALL = ("cost_microusd", "tokens_in", "tokens_out", "latency_ms", "earlier_call_ids")


def rows_of(
    task: Task, verdicts: Sequence[Verdict], source: Source, **more: object
) -> list[dict[str, object]]:
    """The rows of an answer: one, or of a list one for each text; the first has the bill."""
    if source.judge.front.kind != "listwise":
        return [row_of(task, verdicts[0], source, **more)]
    verdicts = list(verdicts) * (len(task.completion_ids) if len(verdicts) == 1 else 1)
    rows: list[dict[str, object]] = []
    for subject, verdict in zip(task.completion_ids, verdicts, strict=True):
        row = row_of(task, verdict, source, **more)
        row |= {"judgement_id": subject_id(task, subject, source), "completion_id": subject}
        if rows:
            row |= {name: 0 if name == "cost_microusd" else None for name in _OF_THE_CALL}
        rows.append(row)
    return rows


def subject_id(task: Task, subject: str, source: Source) -> str:
    """Id of a list's row about one of its texts."""
    return judgement_id_of(
        kind=source.judge.front.kind,
        judge_id=source.judge_id,
        completion_ids=[subject, *task.completion_ids],
        aspect=task.aspect,
        replicate=task.replicate,
    )


class Tally(Protocol):
    """What a commit adds to."""

    judge: str
    made: int
    statuses: Counter[str]


class Commit:
    """Appends rows, counts them, and stops a judge that fails its own thresholds."""

    def __init__(
        self,
        store: Store,
        *,
        source: Source,
        run_id: str,
        report: Any,
        tell: Callable[[int, int], None] | None,
        before: Callable[[Sequence[Mapping[str, Any]]], object] | None = None,
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.report = report
        self._thresholds = source.judge.front.thresholds
        self._tell = tell
        self._told = report.cost_microusd
        self._before = before
        self._one = threading.Lock()

    def __call__(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append one shard's rows in one commit.

        Raises:
            Stopped: when the judge's failures pass the thresholds of its file.
        """
        if not rows:
            return
        if self._before is not None:
            self._before(rows)
        added = self.store.append("judgements", rows, run_id=self.run_id)
        with self._one:  # several shards commit side by side
            self.report.made += added
            self.report.statuses.update(str(row["status"]) for row in rows)
            if self._tell is not None:
                spent = self.report.cost_microusd
                self._tell(added, spent - self._told)
                self._told = spent
            self._check()

    def _check(self) -> None:
        seen: Counter[str] = self.report.statuses
        total = seen.total()
        if total < self._thresholds.after:
            return
        for status in ("unparsed", "refused", "truncated", "error"):
            limit = getattr(self._thresholds, status)
            if seen[status] / total > limit:
                name = self.report.judge
                raise Stopped(
                    f"judge {name}: {seen[status]} of {total} judgements are {status}, more than "
                    f"its threshold of {limit:.0%}",
                    next=f"prefactory sql \"select raw from judgements where judge = '{name}' "
                    f"and status = '{status}' limit 5\"",
                )

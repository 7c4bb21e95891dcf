"""`judge`: what the judges of a recipe owe is planned by id, made, and appended to `judgements`.

A shard is one lake commit. Answers that were paid for and are in the ledger but not in the lake
(the process was killed between) are taken from the ledger, so nothing is paid twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from factory.judging import asking, checking, files, revising, rewarding
from factory.judging.client import names
from factory.judging.front import ASKING
from factory.judging.local import servers
from factory.judging.panels import deciding, in_turn
from factory.judging.plan import Candidate, Task, again, plan
from factory.judging.sources import asked_last, source_for
from factory.judging.work import Block, Commit, Source
from factory.recipe.model import Judging
from factory.rows import Status
from factory.store import Store
from factory.store.database import owner_is_dead

log_ = logging.getLogger(__name__)

BLOCK = 20_000
"""Judgements whose texts are in memory at once."""

_CANDIDATES = """
select c.completion_id, c.prompt_id, c.text_hash, c.bucket
from completions c
semi join wanted w on w.completion_id = c.completion_id
semi join (from prompts where messages is not null) p on p.prompt_id = c.prompt_id
-- What was recorded without its text cannot be judged, and is no empty answer.
where c.text is not null
"""
_FAILED = """
with asked as (
  select u.judgement_id
  from (
    select judgement_id, unnest(completion_ids) as completion_id
    from judgements where judge_id = $judge_id
  ) u
  left join (select distinct completion_id from wanted) w using (completion_id)
  group by u.judgement_id
  having count(*) = count(w.completion_id)
)
select j.prompt_id, j.completion_ids, j.aspect, j.replicate, j.bucket
from judgements j
semi join asked using (judgement_id)
where j.judge_id = $judge_id
qualify row_number() over (
    partition by j.completion_ids, j.aspect order by j.replicate desc
  ) = 1
  and list_contains($retry, j.status)
order by j.prompt_id, j.judgement_id
"""
_TEXTS = """
select c.completion_id, c.prompt_id, c.text, p.messages, p.reference, p.constraints
from completions c
join prompts p on p.prompt_id = c.prompt_id
semi join wanted w on w.completion_id = c.completion_id
"""


@dataclass(slots=True)
class JudgeReport:
    """What one judge did."""

    judge: str
    judge_id: str
    planned: int = 0
    """Judgements that the completions ask for."""
    present: int = 0
    """Of these, how many the lake held already."""
    made: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    paid_calls: int = 0
    recovered: int = 0
    """Answers taken from the ledger: paid for by an earlier process, or by another judgement."""
    held: int = 0
    """Calls in another process's hands, or in doubt and held: no judgement yet."""
    cost_microusd: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"statuses": dict(sorted(self.statuses.items()))}


@dataclass(slots=True)
class Report:
    """What a run of `judge` did, judge by judge."""

    judges: list[JudgeReport] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {report.judge: report.as_dict() for report in self.judges}

    def of(self, source: Source) -> JudgeReport:
        """The report of a judge, a new one where it has none yet."""
        found = next((r for r in self.judges if r.judge_id == source.judge_id), None)
        if found is None:
            found = JudgeReport(judge=source.judge.name, judge_id=source.judge_id)
            self.judges.append(found)
        return found

    @property
    def made(self) -> int:
        """Judgements appended."""
        return sum(report.made for report in self.judges)


@servers.keeping_servers
def judge(
    store: Store,
    *,
    judges: Sequence[str],
    completion_ids: Sequence[str],
    judging: Judging,
    run_id: str,
    seed: int = 0,
    replicates: int = 1,
    retry: Sequence[Status] = (),
    budget_id: str | None = None,
    log: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    tokenise: revising.Tokenise | None = None,
) -> Report:
    """Have judges score completions; only what is missing is made.

    Args:
        store: the workspace's store.
        judges: names of files in judges/.
        completion_ids: what to judge. Unknown ids are ignored.
        judging: the recipe's section: endpoints, budget, comparisons, shard size.
        run_id: written on every row and call.
        seed: which pairs a pairwise judge compares.
        replicates: how often each question is asked of a model, all times together.
        retry: statuses of judgements that are made once more, as a further replicate.
        budget_id: the budget that pays; by default the run's own, of `judging.budget_usd`.
        log: a file that gets one line per judge.
        on_progress: told commit by commit how many judgements were added, and what they cost.
        tokenise: reads revisions as the model that wrote the revised answer does.

    Raises:
        UserError: when a judge's file or endpoint cannot be used.
        BudgetExhausted: when the next call does not fit the budget; nothing is lost.
        Stopped: when an endpoint cannot be reached, or a judge fails its own thresholds.
    """
    sources = sorted((source_for(store, name, judging) for name in judges), key=_turn)
    how = _How(
        store=store, judging=judging, run_id=run_id, seed=seed, replicates=replicates, retry=retry,
        budget=_budget(store, judging, run_id=run_id, budget_id=budget_id), tell=on_progress,
    )  # fmt: skip
    report = Report()
    ids, revised = list(completion_ids), list[str]()
    for source in sources:
        writes = source.judge.front.kind == "revise"
        done, started = report.of(source), time.monotonic()
        keep = partial(revising.add, store, source=source, run_id=run_id, tokenise=tokenise)
        commit = how.commit(source, done, before=keep if writes else None)
        asked = ids if writes else [*ids, *revised]
        try:
            if source.members:
                _panel(source, asked, commit, how=how, report=report)
                continue
            how.make(how.owed(source, asked, done=done), source=source, commit=commit)
            revised += revising.children(store, source, ids) if writes else []
        finally:
            done.seconds = round(time.monotonic() - started, 3)
            _note(log, done)
    asked_last(store, {d.judge: d.judge_id for d in report.judges if d.planned}, run_id=run_id)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How a run asks: the same for every judge and for every member of a panel."""

    store: Store
    judging: Judging
    run_id: str
    seed: int
    replicates: int
    retry: Sequence[Status]
    budget: str | None
    tell: Callable[[int, int], None] | None

    def commit(
        self, source: Source, done: JudgeReport, *, before: Callable[..., object] | None = None
    ) -> Commit:
        return Commit(
            self.store, source=source, run_id=self.run_id, report=done, tell=self.tell,
            before=before,
        )  # fmt: skip

    def owed(
        self,
        source: Source,
        completion_ids: Sequence[str],
        *,
        done: JudgeReport,
        only: Callable[[Task], bool] | None = None,
    ) -> list[Task]:
        tasks = missing_tasks(
            self.store, source, completion_ids, self.judging,
            seed=self.seed, replicates=self.replicates, done=done, only=only,
        )  # fmt: skip
        if self.retry:
            failed = failed_tasks(self.store, source, completion_ids, self.retry, skip=tasks)
            tasks += [task for task in failed if only is None or only(task)]
        return tasks

    def make(self, tasks: Sequence[Task], *, source: Source, commit: Commit) -> None:
        shard, budget = self.judging.shard, self.budget
        _make(self.store, tasks, source=source, commit=commit, shard=shard, budget=budget)


def _panel(
    source: Source, completion_ids: Sequence[str], commit: Commit, *, how: _How, report: Report
) -> None:
    spec = source.judge.front.panel
    if spec is None or not spec.in_turn:
        deciding.judge_panel(how.store, source, completion_ids, commit)
        return

    def ask(member: Source, ids: Sequence[str], only: Callable[[Task], bool]) -> None:
        """A member answers what the panel asks; it has a report of its own."""
        done, started = report.of(member), time.monotonic()
        part = JudgeReport(judge=done.judge, judge_id=done.judge_id)
        try:
            tasks = how.owed(member, ids, done=part, only=only)
            how.make(tasks, source=member, commit=how.commit(member, done))
        finally:
            done.planned += part.planned
            done.present += part.present
            done.seconds = round(done.seconds + time.monotonic() - started, 3)

    in_turn.judge_in_turn(how.store, source, completion_ids, commit, ask=ask, retry=how.retry)


def _turn(source: Source) -> int:
    """Who writes speaks first and is then judged; a panel reads what its members said."""
    return 2 if source.members else source.judge.front.kind != "revise"


def without_members(judges: Sequence[str], *, keep: str, workspace: Path) -> list[str]:
    """The judges, without those that a panel among them asks in turn; `keep` stays.

    A recipe lists such a member where it decides at the gate; asked about everything it would cost
    what the panel saves.
    """
    spoken = [files.load(name, workspace=workspace).front.panel for name in judges]
    asked = {m for panel in spoken if panel is not None and panel.in_turn for m in panel.members}
    return [name for name in judges if name == keep or name not in asked]


def guarded(store: Store, judges: Sequence[str]) -> list[str]:
    """The judges, and with them the verifier `injection` where one of them asks a model.

    A completion that asks its judge for a better score is then flagged, and never chosen without
    a person's vote, whatever list of judges a recipe has.
    """
    listed = list(dict.fromkeys(judges))
    loaded = [files.load(name, workspace=store.workspace).front for name in listed]
    asks = any(front.kind in ASKING or front.kind == "panel" for front in loaded)
    known = any(front.verifier == "injection" for front in loaded)
    return [*listed, "injection"] if asks and not known else listed


def _budget(store: Store, judging: Judging, *, run_id: str, budget_id: str | None) -> str | None:
    if budget_id is not None or judging.budget_usd is None:
        return budget_id
    store.ledger.set_budget(run_id, limit_microusd=round(judging.budget_usd * 1_000_000))
    return run_id


def missing_tasks(
    store: Store,
    source: Source,
    completion_ids: Sequence[str],
    judging: Judging,
    *,
    seed: int,
    replicates: int,
    done: JudgeReport,
    only: Callable[[Task], bool] | None = None,
) -> list[Task]:
    """What the judge owes of these completions; `done` is told how much is there already."""
    found = _select(store, _CANDIDATES, completion_ids)
    tasks = plan(
        source.judge,
        (Candidate(**row) for row in found.to_pylist()),
        judge_id=source.judge_id,
        comparisons=judging.comparisons,
        seed=seed,
        replicates=replicates if source.endpoint is not None else 1,  # a program says it again
    )
    tasks = [task for task in tasks if only is None or only(task)]
    owed = set(store.missing("judgements", [task.judgement_id for task in tasks]))
    done.planned, done.present = len(tasks), len(tasks) - len(owed)
    return [task for task in tasks if task.judgement_id in owed]


def _make(
    store: Store,
    tasks: Sequence[Task],
    *,
    source: Source,
    commit: Commit,
    shard: int,
    budget: str | None,
) -> None:
    if not tasks:
        return
    blocks = blocks_of(store, tasks)
    if source.model is not None and source.endpoint is None:
        rewarding.score_all(blocks, source=source, commit=commit, shard=shard)
        return
    if source.endpoint is None:
        for block in blocks:
            checking.check(block, source=source, commit=commit)
        return
    alone = store.ledger.holds(f"run:{commit.run_id}")
    store.ledger.mark_in_doubt(is_dead=owner_is_dead, run_id=commit.run_id if alone else "")
    names.tell_of_others(store.ledger, source.endpoint, name=source.endpoint_name)
    with servers.answering(source, store, run_id=commit.run_id) as endpoint:
        ready = replace(source, endpoint=endpoint)
        asyncio.run(asking.ask(blocks, source=ready, commit=commit, shard=shard, budget_id=budget))


def failed_tasks(
    store: Store,
    source: Source,
    completion_ids: Sequence[str],
    retry: Sequence[Status],
    *,
    skip: Sequence[Task],
) -> list[Task]:
    """One more replicate of every question whose newest judgement has one of these statuses."""
    found = _select(store, _FAILED, completion_ids, judge_id=source.judge_id, retry=list(retry))
    owed = {task.judgement_id for task in skip}
    tasks = [again(source.judge, row, judge_id=source.judge_id) for row in found.to_pylist()]
    return [task for task in tasks if task.judgement_id not in owed]


def blocks_of(store: Store, tasks: Sequence[Task]) -> Iterator[Block]:
    """The tasks with their texts, a bounded number at a time."""
    for start in range(0, len(tasks), BLOCK):
        part = tasks[start : start + BLOCK]
        ids = sorted({identity for task in part for identity in task.completion_ids})
        rows = _select(store, _TEXTS, ids).to_pylist()
        yield Block(tasks=part, texts={row["completion_id"]: row for row in rows})


def _select(store: Store, sql: str, completion_ids: Sequence[str], **params: object) -> pa.Table:
    wanted = pa.table({"completion_id": pa.array(completion_ids, pa.string())})
    with store.connect(mentioned_in=sql) as con:
        con.register("wanted", wanted)
        return con.sql(sql, params=params).to_arrow_table()


def _note(log: Path | None, done: JudgeReport) -> None:
    log_.debug("judge %s: %s", done.judge, done.as_dict())
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{done.as_dict()}\n")

"""Runs and their steps: what was started, what is done, and how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import case, select, update

from factory.store import tables as t
from factory.store.database import Database


class Step:
    """A step that is running: stages put what they found into `detail`."""

    def __init__(self) -> None:
        self.detail: dict[str, Any] = {}


class Runs(Database):
    """The part of the ledger that runs use."""

    def start_run(self, run: Mapping[str, Any]) -> None:
        """Begin a run or go on with it. `run` has the columns of `runs` that a caller knows."""
        values = {"state": "running", "started_at": time.time(), **run}
        more = case((t.runs.c.rounds > run["rounds"], t.runs.c.rounds), else_=run["rounds"])
        again = {"state": "running", "ended_at": None, "error": None, "rounds": more}
        with self.transaction() as con:
            con.execute(self.upsert(t.runs, [values], on_conflict=again))

    def finish_run(self, run_id: str, *, state: str, error: str = "") -> None:
        """End a run: done, failed or stopped."""
        with self.transaction() as con:
            con.execute(
                update(t.runs)
                .where(t.runs.c.run_id == run_id)
                .values(state=state, error=error, ended_at=time.time())
            )

    def run(self, run_id: str) -> dict[str, Any] | None:
        """One run, or None."""
        with self.reading() as con:
            found = con.execute(select(t.runs).where(t.runs.c.run_id == run_id)).mappings()
            return next((dict(r) for r in found), None)

    def step_detail(self, run_id: str, round: int, stage: str) -> dict[str, Any] | None:
        """What a finished step left, or None when it is not done."""
        s = t.steps.c
        with self.reading() as con:
            found = con.execute(
                select(s.detail).where(
                    s.run_id == run_id, s.round == round, s.stage == stage, s.state == "done"
                )
            ).scalar()
        return None if found is None else json.loads(found)

    @contextmanager
    def step(self, run_id: str, round: int, stage: str) -> Iterator[Step]:
        """Record a step around a block: running, then done with its detail, or failed.

        `seconds` adds up over attempts, so that a resumed run shows the time really spent.
        """
        key = {"run_id": run_id, "round": round, "stage": stage}
        started = time.time()
        row = {**key, "state": "running", "attempts": 1, "started_at": started, "seconds": 0.0}
        again = {"state": "running", "attempts": t.steps.c.attempts + 1}
        with self.transaction() as con:
            con.execute(self.upsert(t.steps, [row], on_conflict=again))
        step = Step()
        clock = time.monotonic()
        try:
            yield step
        except BaseException:
            self._end_step(key, "failed", step, time.monotonic() - clock)
            raise
        self._end_step(key, "done", step, time.monotonic() - clock)

    def _end_step(self, key: dict[str, Any], state: str, step: Step, seconds: float) -> None:
        s = t.steps.c
        with self.transaction() as con:
            con.execute(
                update(t.steps)
                .where(*(s[name] == value for name, value in key.items()))
                .values(
                    state=state,
                    ended_at=time.time(),
                    seconds=s.seconds + seconds,
                    detail=json.dumps(step.detail, default=str),
                )
            )

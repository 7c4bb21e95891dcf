"""Several engines side by side: shards go to whichever is free.

One worker is one group of devices with one engine on it. Each has two hands: while the engine has
one shard, the other is rendered before it or committed after it, so that a GPU does not wait for a
disk. A shard is the same batch whoever takes it, so any number of workers gives the same rows.

An engine that dies or hangs is ended, and its shard is taken by whoever is free, with a fresh
engine: at most `TRIES` times. One that runs out of memory is opened again with half the batch,
down to 1. Both are said in `notes`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from factory.errors import StageFailed
from factory.sampling.base import Sampler
from factory.sampling.faults import EngineClosed, OutOfMemory, WorkerGone

TRIES = 3
_HANDS = 2
_LAST_WORDS_S = 60.0

log_ = logging.getLogger(__name__)


class Task(Protocol):
    """What a worker works on: a shard."""

    @property
    def model_id(self) -> str:
        """Which model its engine must have."""
        ...

    @property
    def shard_id(self) -> str:
        """Its name, for the log."""
        ...


T = TypeVar("T", bound=Task)
Group = TypeVar("Group")


@dataclass(slots=True)
class Way(Generic[T, Group]):
    """How a pool opens an engine and what it does with one; all are called from its threads."""

    open: Callable[[str, int, Group, int | None], Sampler]
    """Model, number of the worker, its devices, and the batch if it had to be halved."""
    work: Callable[[Sampler, T, Group], int]
    """Sample one shard and commit it; returns the rows added."""
    half: Callable[[int | None, int | None], int | None]
    """From the batch now asked for and the one an engine said it has: half, or None below 1."""


@dataclass(slots=True)
class _Job(Generic[T]):
    task: T
    result: Future[int] = field(default_factory=Future[int])
    tries: int = 0


class Pool(Generic[T, Group]):
    """Workers on groups of devices, started as shards come in."""

    def __init__(self, groups: Sequence[Group], way: Way[T, Group]) -> None:
        self._groups = groups
        self._way = way
        self._ready = threading.Condition()
        self._jobs: deque[_Job[T]] = deque()
        self._threads: list[threading.Thread] = []
        self._workers: list[_Worker[T, Group]] = []
        self._batch: dict[str, int] = {}
        self._closing = False
        self._gone: WorkerGone | None = None
        self.notes: list[str] = []
        """What went wrong and was mended, in sentences, oldest first."""

    @property
    def workers(self) -> int:
        """How many were started."""
        return len(self._workers)

    def submit(self, task: T) -> Future[int]:
        """Queue a shard. Its result is the rows added, or the error that no other try mended."""
        job = _Job(task)
        with self._ready:
            if self._closing:
                raise EngineClosed("the workers were ended")
            if self._gone is not None:
                job.result.set_exception(self._gone)
                return job.result
            self._jobs.append(job)
            wanted = len(self._jobs) + sum(worker.busy for worker in self._workers)
            if len(self._workers) < min(len(self._groups), wanted):
                self._start()
            self._ready.notify_all()
        return job.result

    def close(self) -> None:
        """End every engine; what is queued is not begun, what is being committed is committed."""
        with self._ready:
            self._closing = True
            for job in self._jobs:
                job.result.cancel()
            self._jobs.clear()
            self._ready.notify_all()
        for worker in self._workers:
            worker.end()
        for thread in self._threads:
            thread.join(_LAST_WORDS_S)

    def _start(self) -> None:
        number = len(self._workers)
        worker = _Worker(self, number, self._groups[number], self._way)
        self._workers.append(worker)
        for hand in range(_HANDS):
            name = f"sample-{number}-{hand}"
            thread = threading.Thread(target=self._serve, args=(worker,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, worker: _Worker[T, Group]) -> None:
        while (job := self._next(worker)) is not None:
            try:
                job.result.set_result(worker.do(job.task))
            except EngineClosed:
                self._again(job)  # another shard's batch ended the engine
            except WorkerGone as gone:
                self._retire(worker, job, gone)
            except StageFailed as failed:
                self._failed(job, failed, worker)
            except BaseException as error:
                job.result.set_exception(error)
            finally:
                with self._ready:
                    worker.busy -= 1
                    self._ready.notify_all()

    def _next(self, worker: _Worker[T, Group]) -> _Job[T] | None:
        with self._ready:
            while not (self._closing or worker.retired
                       or (self._jobs and self._may_take(worker))):  # fmt: skip
                self._ready.wait()
            if self._closing or worker.retired:
                return None
            worker.busy += 1
            self._ready.notify_all()
            return self._jobs.popleft()

    def _may_take(self, worker: _Worker[T, Group]) -> bool:
        """A second shard is taken only when no worker has none."""
        if not worker.busy:
            return True
        unstarted = len(self._groups) - len(self._workers)
        return not unstarted and all(other.busy or other.retired for other in self._workers)

    def _again(self, job: _Job[T]) -> None:
        with self._ready:
            if self._closing:
                job.result.cancel()
                return
            if self._gone is not None:  # the last worker left while this shard was on its way back
                job.result.set_exception(self._gone)
                return
            self._jobs.appendleft(job)
            self._ready.notify_all()

    def _retire(self, worker: _Worker[T, Group], job: _Job[T], gone: WorkerGone) -> None:
        """Go on without a worker; when none is left, what is queued fails."""
        with self._ready:
            known, worker.retired = worker.retired, True  # its other hand may have met the same
            unstarted = len(self._groups) - len(self._workers)
            alone = not unstarted and all(other.retired for other in self._workers)
            doomed = [job, *self._jobs] if alone else []
            if alone:
                self._gone = gone
                self._jobs.clear()
            elif unstarted and not known:
                self._start()
        if not doomed:
            if not known:
                self.note(f"{gone}; its shards go to the others")
            self._again(job)
        for each in doomed:
            each.result.set_exception(gone)

    def _failed(self, job: _Job[T], failed: StageFailed, worker: _Worker[T, Group]) -> None:
        job.tries += 1
        if job.tries >= TRIES or self._closing:
            job.result.set_exception(failed)
            return
        first = str(failed).partition("\n")[0]
        self.note(
            f"worker {worker.number}: {first}; shard {job.task.shard_id[:8]} is sampled again "
            f"(try {job.tries + 1} of {TRIES})"
        )
        self._again(job)

    # --- what workers share ---------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Say something to the log and to whoever reads `notes`."""
        log_.warning("%s", text)
        self.notes.append(text)

    def batch(self, model_id: str) -> int | None:
        """The batch that engines of a model are opened with, once one ran out of memory."""
        return self._batch.get(model_id)

    def halve(self, model_id: str, *, used: int | None, said: int | None) -> bool:
        """Halve a model's batch after an engine with `used` failed; False when it is 1 already."""
        with self._ready:
            now = self._batch.get(model_id)
            if now != used:
                return True  # another worker has halved it meanwhile
            half = self._way.half(now, said)
            if half is None:
                return False
            self._batch[model_id] = half
        self.note(f"out of memory: model {model_id[:8]} is opened again with a batch of {half}")
        return True


@dataclass(slots=True)
class _Engine:
    """An open engine and how many hands are in it."""

    model_id: str
    batch: int | None
    sampler: Sampler
    hands: int = 0
    broken: bool = False


class _Worker(Generic[T, Group]):
    """One group of devices; its hands share one engine at a time."""

    def __init__(self, pool: Pool[T, Group], number: int, group: Group, way: Way[T, Group]) -> None:
        self.number = number
        self.busy = 0
        """Shards in its hands; the pool's to change."""
        self.retired = False
        self._pool = pool
        self._group = group
        self._way = way
        self._turn = threading.Condition()
        self._engine: _Engine | None = None
        self._ended = False

    def do(self, task: T) -> int:
        """Sample and commit one shard, with less at a time when memory runs out."""
        while True:
            engine = self._take(task.model_id)
            try:
                return self._way.work(engine.sampler, task, self._group)
            except OutOfMemory:
                self._break(engine)
                said = engine.sampler.batch_size
                if not self._pool.halve(task.model_id, used=engine.batch, said=said):
                    raise
            except StageFailed:
                self._break(engine)
                raise
            finally:
                self._give(engine)

    def end(self) -> None:
        """Close the engine, whatever it does now."""
        self._ended = True
        engine = self._engine
        if engine is not None:
            engine.sampler.close()

    def _take(self, model_id: str) -> _Engine:
        """The engine of a model; that of another model ends first, its memory with it."""
        with self._turn:
            while self._engine and self._engine.hands and not self._fits(self._engine, model_id):
                self._turn.wait()
            if self._ended:
                raise EngineClosed("the workers were ended")
            if self._engine is None or not self._fits(self._engine, model_id):
                self._close()
                self._engine = self._open(model_id)
                if self._ended:  # while it was opened: whoever ended us may not have seen it
                    self._close()
                    raise EngineClosed("the workers were ended")
            self._engine.hands += 1
            return self._engine

    def _fits(self, engine: _Engine, model_id: str) -> bool:
        return engine.model_id == model_id and not engine.broken

    def _open(self, model_id: str) -> _Engine:
        while True:
            batch = self._pool.batch(model_id)
            try:
                sampler = self._way.open(model_id, self.number, self._group, batch)
            except OutOfMemory:
                if not self._pool.halve(model_id, used=batch, said=None):
                    raise
                continue
            return _Engine(model_id, batch, sampler)

    def _close(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            with contextlib.suppress(StageFailed):
                engine.sampler.close()

    def _break(self, engine: _Engine) -> None:
        engine.broken = True
        engine.sampler.close()

    def _give(self, engine: _Engine) -> None:
        with self._turn:
            engine.hands -= 1
            self._turn.notify_all()

"""The engines that sample for a stage: their devices, their number, and what is checked each shard.

Nothing starts before a shard is asked for. Then every GPU group that is free in the ledger gets a
worker (on a CPU: one, or `sampling.workers`), and shards go to whichever is free. Whoever asks
waits for each shard in its own order, so a run with one worker and a run with eight look alike.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from factory.errors import UserError
from factory.recipe import Sampling
from factory.sampling import remote
from factory.stages import models
from factory.stages.accounts import account_of
from factory.store import Store, devices

if TYPE_CHECKING:
    from factory.sampling.base import Sampler
    from factory.sampling.verb import Shard


class Workers(Protocol):
    """Where shards are sampled: on this machine or on a cluster."""

    notes: list[str]

    @property
    def workers(self) -> int:
        """How many were started."""
        ...

    def submit(self, task: Shard) -> Future[int]:
        """Queue a shard."""
        ...

    def close(self) -> None:
        """End them all."""
        ...


@dataclass(slots=True)
class Crew:
    """Engines for the shards of one stage. `log` names the log of a model and a worker."""

    store: Store
    settings: Sampling
    run_id: str
    log: Callable[[str], Path]
    note: Callable[[str], None]
    work: Callable[[Sampler, Any], int] | None = None
    """What is done with an engine and a task, where that is not to sample a shard."""
    elsewhere: Callable[..., Workers] | None = None
    """Starts workers on a cluster: `cluster.pool`, where the work may be done there."""
    budget_id: str | None = None
    """What pays for calls to servers where `sampling.budget_usd` does not say."""
    _workers: Workers | None = None
    _asked: dict[str, Future[int]] = field(default_factory=dict["str", "Future[int]"])
    _held: ExitStack = field(default_factory=ExitStack)
    _stop: threading.Event = field(default_factory=threading.Event)
    _told: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, shards: Sequence[Shard]) -> None:
        """Queue shards, each of which `sample` is called for later."""
        if not shards:
            return
        with self._lock:
            workers = self._workers = self._workers or self._start()
            for shard in shards:
                if shard.shard_id not in self._asked:
                    self._asked[shard.shard_id] = workers.submit(shard)

    def sample(self, shard: Shard) -> int:
        """Wait for one shard; returns the completions it added. A failed one is tried anew."""
        before = self._asked.get(shard.shard_id)
        if before is not None and before.done() and before.exception():
            del self._asked[shard.shard_id]
        self.begin([shard])
        try:
            return self._asked[shard.shard_id].result()
        finally:
            self._tell()

    @property
    def engine(self) -> str:
        """The engine that the recipe's word means here."""
        from factory.sampling.base import resolve_engine

        return resolve_engine(self.settings.engine)

    @property
    def workers(self) -> int:
        """How many engines were started."""
        return self._workers.workers if self._workers else 0

    @property
    def notes(self) -> list[str]:
        """What went wrong and was mended."""
        return list(self._workers.notes) if self._workers else []

    def close(self) -> None:
        """End every engine and give the devices back."""
        self._stop.set()
        with self._held:  # whatever happens to the engines, the devices are given back
            if self._workers is not None:
                self._workers.close()
                self._tell()

    def _tell(self) -> None:
        for text in self.notes[self._told :]:
            self.note(text)
        self._told = len(self.notes)

    # --- on this machine ------------------------------------------------------------------------

    def _start(self) -> Workers:
        from factory.sampling.base import resolve_engine, smaller
        from factory.sampling.workers import Pool, Way

        engine = resolve_engine(self.settings.engine)
        if engine == "ray":
            return self._on_cluster()
        groups = self._groups(engine)
        given = self.settings.settings
        unchanged = models.Unchanged(self.store)

        def opened(model_id: str, number: int, group: devices.Group, batch: int | None) -> Sampler:
            halved = smaller(engine, given, batch_size=2 * batch) if batch else None
            return self._open(
                unchanged, model_id, number,
                settings=halved[0] if halved else given,
                env=environment(group, workers=len(groups)),
            )  # fmt: skip

        def work(sampler: Sampler, shard: Shard, group: devices.Group) -> int:
            from factory.sampling.verb import sample_shard

            group.check()
            unchanged.check(shard.model_id)
            if self.work is not None:
                return self.work(sampler, shard)
            return sample_shard(
                self.store, sampler, shard, run_id=self.run_id,
                unchanged=lambda: unchanged.check(shard.model_id),
            )  # fmt: skip

        def half(now: int | None, said: int | None) -> int | None:
            found = smaller(engine, given, batch_size=said or now)
            return found[1] if found else None

        return Pool(groups, Way(opened, work, half))

    def _on_cluster(self) -> Workers:
        if self.elsewhere is None:
            raise UserError("prompts are not written on a cluster", next="set another engine")
        return self.elsewhere(
            self.store, self.settings, run_id=self.run_id, logs=self.log("cluster").parent,
            close=self._held.callback,
        )  # fmt: skip

    def _groups(self, engine: str) -> list[devices.Group]:
        if engine in ("echo", "openai"):  # nothing of this machine is needed
            return [devices.Group(())] * (self.settings.workers or 1)
        from factory.sampling.base import spans

        held = devices.hold(
            self.store.ledger,
            groups=self.settings.workers,
            size=spans(self.settings.settings),
            note=self.note,
        )
        return self._held.enter_context(held)

    def _open(
        self, unchanged: models.Unchanged, model_id: str, number: int, *,
        settings: dict[str, object], env: dict[str, str],
    ) -> Sampler:  # fmt: skip
        from factory.sampling.base import open_sampler

        place = unchanged.check(model_id)
        engine, (model, adapter) = self.settings.engine, models.parts(place)
        if remote.is_remote(place):  # whatever samples the others
            engine, settings = "openai", remote.read(place).engine_settings()
        account = None
        if engine == "openai":
            account = account_of(
                self.store, self.settings, model_id=model_id, settings=settings,
                run_id=self.run_id, budget_id=self.budget_id,
            )  # fmt: skip
        sampler = open_sampler(
            engine,
            model,
            settings=settings,
            log=self.log(model_id[:8] + (f"-{number}" if number else "")),
            max_model_len=self.settings.max_model_len,
            adapter=adapter,
            env=env,
            stall_s=self.settings.stall_s,
            start_s=self.settings.start_s,
            stop=self._stop,
            account=account,
        )
        try:
            # Files that were replaced while the engine read them.
            unchanged.check(model_id)
        except BaseException:
            sampler.close()
            raise
        return sampler


def environment(group: devices.Group, *, workers: int) -> dict[str, str]:
    """What a worker's process is told: its GPUs, or its share of the processor's cores."""
    if group.env or workers == 1:
        return group.env
    threads = max(1, (os.cpu_count() or 1) // workers)
    # vLLM pins threads to the first cores it finds: two engines would sit on the same ones.
    shares = {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return {name: value for name, value in shares.items() if name not in os.environ}

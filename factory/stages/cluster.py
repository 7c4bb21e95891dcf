"""Sampling on a Ray cluster: one worker per GPU group, each writing its shards to the lake itself.

What travels is a shard (prompt ids and parameters) one way and a number the other way. A worker is
a whole crew of one engine on its node: it opens the workspace, leases its GPUs in the ledger, mends
an engine that dies or needs too much, and commits. A node that is lost takes its uncommitted shards
with it, and they are sampled by who is left.

Every node must see the same workspace and model directories: a shared file system, or a lake in an
object store and a ledger in PostgreSQL. Nodes trust each other, as Ray itself does.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import MissingExtra, StageFailed, UserError
from factory.recipe import Sampling
from factory.sampling.base import spans
from factory.sampling.faults import WorkerGone
from factory.sampling.workers import Pool, Way
from factory.store import Store, open_store

if TYPE_CHECKING:
    from factory.sampling.shards import Shard

REPLACED_WITHIN_S = 60.0
"""How long a worker whose node was lost waits for room elsewhere before it is given up."""

log_ = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker on another node needs to know."""

    workspace: Path
    ledger_url: str
    lake_url: str
    settings: Sampling
    run_id: str
    logs: Path


class Seat:
    """The worker on its node; an instance of it is a Ray actor."""

    def __init__(self, post: Post, number: int) -> None:
        from factory.stages.crew import Crew

        store = open_store(post.workspace, ledger_url=post.ledger_url, lake_url=post.lake_url)
        self._notes: list[str] = []
        self._crew = Crew(
            store,
            post.settings,
            run_id=post.run_id,
            log=lambda name: post.logs / f"sample-{name}-ray-{number}.log",
            note=self._notes.append,
        )

    def ready(self) -> bool:
        """That it was placed."""
        return True

    def sample(self, shard: Shard) -> tuple[int, list[str]]:
        """Sample and commit one shard: the rows it added, and what had to be mended."""
        added = self._crew.sample(shard)
        said = list(self._notes)
        del self._notes[: len(said)]
        return added, said


class Remote:
    """A seat, in place of an engine in this process."""

    engine = "ray"
    engine_version = ""
    max_model_len = 0
    batch_size: int | None = None

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def sample(self, requests: Any, params: Any) -> Any:
        """Never asked: a seat takes whole shards, and says so to whoever asks all the same."""
        raise StageFailed("a worker on a Ray cluster takes whole shards, not requests")

    def close(self) -> None:
        """Kill it, and with it its engine."""
        import ray

        if ray.is_initialized():
            ray.kill(self.actor)


def pool(
    store: Store, settings: Sampling, *, run_id: str, logs: Path, close: Callable[[Any], Any]
) -> Pool[Shard, int]:
    """Workers on the cluster that `sampling.settings.address` names (by default the running one).

    Args:
        store: the workspace, whose ledger and lake the nodes open themselves.
        settings: of the recipe; `settings.settings` is the engine's, but for `address` and
            `engine` (the engine on each node, by default auto).
        run_id: the run that samples.
        logs: where the engines' logs go.
        close: is given what has to be called when all is done.

    Raises:
        MissingExtra: when Ray is not installed.
        UserError: when there is no cluster, or no room in it.
    """
    try:
        import ray
    except ImportError as missing:
        raise MissingExtra(
            "ray is not installed", next='pip install "prefactory[ray]"'
        ) from missing
    given = dict(settings.settings)
    address = str(given.pop("address", "auto"))
    if given.get("engine") == "ray":
        raise UserError(
            "sampling.settings.engine is ray, which is no engine of a node",
            next="--set sampling.settings.engine=vllm",
        )
    inner = settings.model_copy(
        update={"engine": str(given.pop("engine", "auto")), "settings": given, "workers": 1}
    )
    if not ray.is_initialized():
        try:
            _reach(address)
            with _own_signals():
                ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except (OSError, ValueError) as failed:
            raise UserError(
                f"there is no Ray cluster at {address}: {failed}", next="ray start --head"
            ) from failed
        close(ray.shutdown)
    size = spans(given)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    nodes = sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))
    count = settings.workers or (gpus // size if gpus else nodes)
    if count < 1:
        raise UserError(
            f"the cluster has {gpus} GPUs and a worker needs {size}",
            next="lower tensor_parallel_size in sampling.settings, or add a node",
        )
    post = Post(store.workspace, store.ledger.url, store.lake.place.url, inner, run_id, logs)
    seats = _Seats(post, gpus=size if gpus else 0, start_s=settings.start_s)
    made: Pool[Shard, int] = Pool(range(count), Way(seats.open, seats.work, lambda a, b: None))
    seats.note = made.note
    return made


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; whoever stops a run means the run."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    yield
    if main and before is not None:
        signal.signal(signal.SIGTERM, before)


def _reach(address: str) -> None:
    """Raises OSError where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Seats:
    """Makes actors and asks them."""

    def __init__(self, post: Post, *, gpus: int, start_s: float) -> None:
        self._post = post
        self._gpus = gpus
        self._start_s = start_s
        self._opened: set[int] = set()
        self.note: Callable[[str], None] = log_.warning

    def open(self, model_id: str, number: int, group: int, batch: int | None) -> Remote:
        import ray
        from ray import exceptions

        again = number in self._opened
        self._opened.add(number)
        make: Any = ray.remote(Seat)
        actor = make.options(
            num_cpus=1, num_gpus=self._gpus, max_concurrency=2, scheduling_strategy="SPREAD"
        ).remote(self._post, number)
        try:
            ray.get(actor.ready.remote(), timeout=REPLACED_WITHIN_S if again else self._start_s)
        except exceptions.GetTimeoutError as nowhere:
            ray.kill(actor)
            raise WorkerGone(f"worker {number} finds no room on the cluster") from nowhere
        except exceptions.RayError as failed:
            raise _own(failed) from failed
        return Remote(actor)

    def work(self, seat: Any, shard: Shard, group: int) -> int:
        import ray
        from ray import exceptions

        try:
            added, notes = ray.get(seat.actor.sample.remote(shard))
        except exceptions.RayError as failed:
            raise _own(failed) from failed
        for text in notes:
            self.note(f"worker {group}: {text}")
        return int(added)


def _own(failed: Exception) -> BaseException:
    """Our own error that a worker raised, or what happened to the worker."""
    cause = getattr(failed, "cause", None)
    if isinstance(cause, BaseException):
        return cause
    return StageFailed(f"a worker of the cluster was lost: {type(failed).__name__}")

"""On a cluster every worker writes its own shards, and a lost node loses none."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from factory.errors import UserError
from factory.recipe import Sampling
from factory.rows import SamplingParams
from factory.sampling.base import open_sampler
from factory.sampling.verb import Shard, plan
from factory.stages import cluster as clusters
from factory.stages import models
from factory.stages.crew import Crew
from factory.store import Store

pytestmark = [
    pytest.mark.slow,
    # Ray leaves its own sockets and files to the collector when it shuts down.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that computes nothing and two nodes, on loopback."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        yield made
    finally:
        made.shutdown()


def _power_off(cluster: Any, node: Any) -> None:
    """Lose a node with all that runs on it: its workers would live on for a moment."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    running = raylet.children(recursive=True)
    cluster.remove_node(node, allow_graceful=False)
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def shards_of(store: Store, model_dir: Path, prompts: list[str]) -> list[Shard]:
    model_id = models.register(store, model_dir, kind="policy", run_id="r")
    params = SamplingParams(max_tokens=8)
    draw = {"model_id": model_id, "params_id": params.params_id, "seed": 7, "n": 4,
            "prompt_ids": prompts, "round": 1}  # fmt: skip
    return plan(
        store, draws=[draw], params=params, model_dir=model_dir, run_id="r", shard_size=8
    )  # fmt: skip


def test_a_node_that_is_killed_half_way_loses_no_row_and_doubles_none(
    cluster: Any, store: Store, add_prompts: Callable[..., list[str]], model_dir: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(clusters, "REPLACED_WITHIN_S", 3.0)
    small = {"num_cpus": 1, "object_store_memory": 80_000_000}
    first, second = cluster.add_node(**small), cluster.add_node(**small)
    cluster.wait_for_nodes()
    shards = shards_of(store, model_dir, add_prompts(*(f"question {i}" for i in range(60))))
    assert len(shards) == 30
    notes: list[str] = []
    settings = Sampling(
        engine="ray", settings={"address": cluster.address, "engine": "echo", "process": True}
    )
    crew = Crew(
        store,
        settings,
        run_id="r",
        log=lambda name: tmp_path / name,
        note=notes.append,
        elsewhere=clusters.pool,
    )
    both = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    try:
        crew.begin(shards[:16])
        assert crew.sample(shards[0]) == 8
        assert signal.getsignal(signal.SIGTERM) == before, "a run is stopped as without Ray"
        while crew._workers is not None and crew._workers.workers < 2 and not both.wait(0.1):
            pass
        crew.sample(shards[1])
        _power_off(cluster, second)
        crew.begin(shards)  # however quick the first half was, the lost node is given more
        for shard in shards[2:]:
            crew.sample(shard)
        assert crew.workers == 2
    finally:
        crew.close()
    rows = store.rows("select completion_id, shard_id from completions")
    assert len(rows) == 240 == len({row["completion_id"] for row in rows})
    assert {row["shard_id"] for row in rows} == {shard.shard_id for shard in shards}
    assert any("lost" in note or "no room" in note for note in notes), notes
    assert shards_of(store, model_dir, [w.prompt_id for s in shards for w in s.wanted]) == []
    assert first


def test_without_a_cluster_the_command_that_starts_one_is_named(
    store: Store, tmp_path: Path, add_prompts: Callable[..., list[str]], model_dir: Path
) -> None:
    settings = Sampling(engine="ray", settings={"address": "127.0.0.1:1", "engine": "echo"})
    crew = Crew(
        store,
        settings,
        run_id="r",
        log=lambda name: tmp_path / name,
        note=print,
        elsewhere=clusters.pool,
    )
    with pytest.raises(UserError) as caught:
        crew.sample(shards_of(store, model_dir, add_prompts("hello"))[0])
    assert caught.value.next == "ray start --head"
    crew.close()


def test_a_cluster_is_no_engine_of_its_own_nodes(
    store: Store, tmp_path: Path, add_prompts: Callable[..., list[str]], model_dir: Path
) -> None:
    settings = Sampling(engine="ray", settings={"engine": "ray"})
    crew = Crew(
        store,
        settings,
        run_id="r",
        log=lambda name: tmp_path / name,
        note=print,
        elsewhere=clusters.pool,
    )
    with pytest.raises(UserError, match=r"settings\.engine is ray"):
        crew.sample(shards_of(store, model_dir, add_prompts("hello"))[0])
    crew.close()


def test_the_cluster_engine_opens_no_model_here(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model of this process"):
        open_sampler("ray", model_dir, log=tmp_path / "log")

"""Several engines side by side: the same rows whoever samples them, nothing lost, nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from factory.errors import StageFailed, UserError
from factory.recipe import Sampling
from factory.rows import SamplingParams
from factory.sampling import base, workers
from factory.sampling.engines.process import ProcessSampler
from factory.sampling.faults import WorkerGone
from factory.sampling.verb import Shard, plan
from factory.stages import crew as crews
from factory.stages import models
from factory.stages.crew import Crew
from factory.store import Ledger, Store, open_store
from tests.sampling.conftest import weights

AddPrompts = Callable[..., list[str]]
QUESTIONS = [f"say the number {i} please" for i in range(12)]


class World:
    """A workspace, a model, and a crew that keeps its open engines in sight."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.notes: list[str] = []

    def shards(self, model_dir: Path, prompt_ids: Sequence[str], *, size: int = 8) -> list[Shard]:
        model_id = models.register(self.store, model_dir, kind="policy", run_id="r")
        params = SamplingParams(max_tokens=8)
        draw = {"model_id": model_id, "params_id": params.params_id, "seed": 7, "n": 4,
                "prompt_ids": list(prompt_ids), "round": 1}  # fmt: skip
        return plan(
            self.store, draws=[draw], params=params, model_dir=model_dir, run_id="r",
            shard_size=size,
        )  # fmt: skip

    def crew(self, engine: str = "transformers", **sampling: Any) -> Crew:
        settings = Sampling(engine=engine, **sampling)  # type: ignore[arg-type]
        return Crew(
            self.store, settings, run_id="r", log=lambda name: self.folder / f"{name}.log",
            note=self.notes.append,
        )  # fmt: skip

    def sample(self, shards: Sequence[Shard], crew: Crew) -> int:
        try:
            crew.begin(shards)
            return sum(crew.sample(shard) for shard in shards)
        finally:
            crew.close()

    def rows(self) -> dict[str, tuple[Any, ...]]:
        found = self.store.rows("select * from completions")
        rows = {
            r["completion_id"]: (r["token_ids"], r["text"], r["logprobs"], r["shard_id"])
            for r in found
        }
        assert len(rows) == len(found)
        return rows


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    return World(store, tmp_path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[ProcessSampler]:
    """Every engine that was opened, in order."""
    found: list[ProcessSampler] = []
    real = ProcessSampler.__init__

    def noted(self: ProcessSampler, *args: Any, **named: Any) -> None:
        real(self, *args, **named)
        found.append(self)

    monkeypatch.setattr(ProcessSampler, "__init__", noted)
    return found


def at_first_batch(
    monkeypatch: pytest.MonkeyPatch, strike: Callable[[ProcessSampler], None], *, times: int = 1
) -> None:
    """Do something to an engine just before it gets a batch, so that it happens in the middle."""
    real, left, lock = ProcessSampler.sample, [times], threading.Lock()

    def struck(self: ProcessSampler, *args: Any) -> Any:
        with lock:
            now, left[0] = left[0] > 0, left[0] - 1
        if now:
            strike(self)
        return real(self, *args)

    monkeypatch.setattr(ProcessSampler, "sample", struck)


def kill(engine: ProcessSampler) -> None:
    assert engine.pid
    os.kill(engine.pid, signal.SIGKILL)


def stop(engine: ProcessSampler) -> None:
    assert engine.pid
    os.kill(engine.pid, signal.SIGSTOP)


# --- the same rows --------------------------------------------------------------------------------


def test_two_workers_give_the_rows_of_one(
    world: World, add_prompts: AddPrompts, model_dir: Path, tmp_path: Path,
    opened: list[ProcessSampler],
) -> None:  # fmt: skip
    prompts = add_prompts(*QUESTIONS)
    shards = world.shards(model_dir, prompts)
    assert len(shards) == 6
    assert world.sample(shards, world.crew(workers=2)) == 48
    assert len({engine.pid for engine in opened}) == 1 and len(opened) == 2
    by_two = world.rows()

    alone = World(open_store(tmp_path / "alone", create=True), tmp_path)
    alone.store.append("prompts", world.store.query("from prompts"), run_id="r")
    assert alone.sample(alone.shards(model_dir, prompts), alone.crew(workers=1)) == 48
    assert len(opened) == 3
    assert alone.rows() == by_two
    assert world.store.ledger.table("leases") == []


class Toy:
    """An engine and a shard in one, for the pool alone."""

    engine, engine_version, max_model_len, batch_size = "toy", "1", 1, None
    model_id, shard_id = "m", "s"

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def close(self) -> None:
        """Nothing to end."""


def pool_of(count: int, opened: Callable[[int], Any], work: Callable[[Any], int]) -> Any:
    way: Any = workers.Way(
        lambda model, number, group, batch: opened(number),
        lambda engine, job, group: work(engine),
        lambda now, said: None,
    )
    return workers.Pool([None] * count, way)


def test_each_worker_gets_a_shard_before_any_gets_two() -> None:
    taken: list[int] = []
    arrived = threading.Barrier(3)

    def work(engine: Toy) -> int:
        taken.append(engine.number)
        arrived.wait(60)
        return 1

    pool = pool_of(2, Toy, work)
    results = [pool.submit(Toy()) for _ in range(2)]
    arrived.wait(60)
    assert sorted(taken) == [0, 1]
    assert [r.result(60) for r in results] == [1, 1]
    pool.close()


def test_a_worker_that_finds_no_room_for_two_shards_leaves_once() -> None:
    both, late = threading.Barrier(2), threading.Event()

    def opened(number: int) -> Toy:
        return Toy(number)

    def work(engine: Toy) -> int:
        if engine.number == 0:
            both.wait(60)
            raise WorkerGone("worker 0 finds no room")
        late.wait(60)  # until worker 0 has two shards in its hands
        return 1

    pool = pool_of(2, opened, work)
    results = [pool.submit(Toy()) for _ in range(8)]
    while not pool.notes:
        time.sleep(0.01)
    late.set()
    assert [r.result(60) for r in results] == [1] * 8
    assert pool.notes == ["worker 0 finds no room; its shards go to the others"]
    assert pool.workers == 2
    pool.close()


def test_a_worker_with_nowhere_to_run_leaves_its_work_to_the_others() -> None:
    def opened(number: int) -> Toy:
        if number == 0:
            raise WorkerGone("worker 0 finds no room")
        return Toy(number)

    pool = pool_of(2, opened, lambda engine: engine.number)
    results = [pool.submit(Toy()) for _ in range(8)]
    assert [r.result(60) for r in results] == [1] * 8
    assert pool.notes == ["worker 0 finds no room; its shards go to the others"]
    pool.close()


def test_when_no_worker_is_left_every_shard_fails_with_the_reason() -> None:
    def opened(number: int) -> Toy:
        raise WorkerGone(f"worker {number} finds no room")

    pool = pool_of(2, opened, lambda engine: 1)
    results = [pool.submit(Toy()) for _ in range(6)]
    for result in results:
        with pytest.raises(StageFailed, match="finds no room"):
            result.result(60)
    with pytest.raises(StageFailed, match="finds no room"):
        pool.submit(Toy()).result(60)
    pool.close()


def test_a_shard_handed_back_after_the_last_worker_left_fails_too() -> None:
    def opened(number: int) -> Toy:
        raise WorkerGone(f"worker {number} finds no room")

    pool = pool_of(2, opened, lambda engine: 1)
    results: list[Future[int]] = []
    pool.note = lambda text: wait(results, 60, FIRST_COMPLETED)  # one of the two is on its way back
    with pool._ready:
        results += [pool.submit(Toy()) for _ in range(2)]
    for result in results:
        with pytest.raises(StageFailed, match="finds no room"):
            result.result(60)
    pool.close()


def test_an_engine_that_comes_up_while_the_workers_are_ended_is_ended_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed, ended = threading.Event(), threading.Event()

    class Closing(Toy):
        def close(self) -> None:
            closed.set()

    def made(*args: Any) -> Any:
        closer.start()
        assert ended.wait(60)  # the worker was told to end, and had no engine yet
        return engine(*args)

    engine, end = workers._Engine, workers._Worker.end
    monkeypatch.setattr(workers, "_Engine", made)
    monkeypatch.setattr(workers._Worker, "end", lambda self: (end(self), ended.set()))
    worked: list[Any] = []
    pool = pool_of(1, Closing, lambda engine: worked.append(engine) or 1)
    closer = threading.Thread(target=pool.close)
    result = pool.submit(Toy())
    assert closed.wait(60)
    closer.join(60)
    assert result.cancelled()
    assert worked == []


def test_shards_of_two_models_are_answered_by_their_own_weights(
    world: World, add_prompts: AddPrompts, model_dir: Path, own_model: Path,
    opened: list[ProcessSampler],
) -> None:  # fmt: skip
    save_file(weights(1), own_model / "model.safetensors", metadata={"format": "pt"})
    prompts = add_prompts(*QUESTIONS[:4])
    first, second = world.shards(model_dir, prompts), world.shards(own_model, prompts)
    assert world.sample([*first, *second], world.crew(workers=1)) == 32
    assert len(opened) == 2
    texts = world.store.rows(
        "select model_id, list(text order by completion_id) as texts from completions group by 1"
    )
    assert len(texts) == 2 and texts[0]["texts"] != texts[1]["texts"]


def test_devices_are_leased_while_an_engine_runs(
    world: World, add_prompts: AddPrompts, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    other = Ledger(world.store.ledger.url)
    at_first_batch(
        monkeypatch, lambda _: seen.append({row["name"] for row in other.table("leases")})
    )
    shards = world.shards(model_dir, add_prompts(*QUESTIONS[:2]))
    world.sample(shards, world.crew(workers=2))
    other.close()
    host = socket.gethostname()
    assert seen == [{f"device:{host}/slot-0", f"device:{host}/slot-1"}]


def test_engines_on_a_cpu_share_its_cores_and_are_not_pinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from factory.store.devices import Device, Group

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(crews.os, "cpu_count", lambda: 8)
    slot, gpu = Group((Device("slot"),)), Group((Device("x", "0"), Device("y", "1")))
    assert crews.environment(slot, workers=1) == {}
    assert crews.environment(slot, workers=2) == {
        "OMP_NUM_THREADS": "4", "VLLM_CPU_OMP_THREADS_BIND": "nobind"
    }  # fmt: skip
    assert crews.environment(gpu, workers=2) == gpu.env
    assert gpu.env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert base.spans({"tensor_parallel_size": 4, "pipeline_parallel_size": 2}) == 8


# --- engines that die, hang, or need too much -----------------------------------------------------


def test_a_shard_whose_engine_is_killed_is_sampled_again_and_no_row_is_lost_or_doubled(
    world: World, add_prompts: AddPrompts, model_dir: Path, opened: list[ProcessSampler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    at_first_batch(monkeypatch, kill)
    shards = world.shards(model_dir, add_prompts(*QUESTIONS))
    assert world.sample(shards, world.crew(workers=2)) == 48
    assert len(world.rows()) == 48
    assert len(opened) == 3
    assert len(world.notes) == 1
    assert "killed from outside (signal 9)" in world.notes[0]
    assert "is sampled again (try 2 of 3)" in world.notes[0]


def test_an_engine_that_hangs_is_ended_and_its_shard_sampled_again(
    world: World, add_prompts: AddPrompts, model_dir: Path, opened: list[ProcessSampler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def stop_the_first(engine: ProcessSampler) -> None:
        if engine is opened[0]:
            stop(engine)
        else:
            engine._stall_s = 60  # however busy this machine is

    at_first_batch(monkeypatch, stop_the_first, times=2)
    shards = world.shards(model_dir, add_prompts(*QUESTIONS[:4]))
    assert world.sample(shards, world.crew(workers=1, stall_s=2.0)) == 16
    assert len(opened) == 2
    assert "made no step for 2 s and was ended" in world.notes[0]


def test_a_shard_that_kills_every_engine_fails_after_three_and_can_be_asked_for_again(
    world: World, add_prompts: AddPrompts, model_dir: Path, opened: list[ProcessSampler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    at_first_batch(monkeypatch, kill, times=3)
    shards = world.shards(model_dir, add_prompts(*QUESTIONS[:2]))
    crew = world.crew("echo", settings={"process": True})
    with pytest.raises(StageFailed, match="signal 9"):
        crew.sample(shards[0])
    assert len(opened) == 3 and len(world.notes) == 2
    assert world.rows() == {}
    assert crew.sample(shards[0]) == 8
    crew.close()


def test_memory_that_runs_out_halves_the_batch_until_it_fits_and_says_so(
    world: World, add_prompts: AddPrompts, model_dir: Path, opened: list[ProcessSampler]
) -> None:
    shards = world.shards(model_dir, add_prompts(*QUESTIONS), size=48)
    crew = world.crew("echo", settings={"process": True, "memory": 10, "batch_size": 32})
    assert world.sample(shards, crew) == 48
    assert [engine.batch_size for engine in opened] == [32, 16, 8]
    assert [note.rpartition(" ")[2] for note in world.notes] == ["16", "8"]
    assert "out of memory" in world.notes[0]


def test_a_batch_of_one_that_does_not_fit_is_the_users_to_mend(
    world: World, add_prompts: AddPrompts, model_dir: Path, opened: list[ProcessSampler]
) -> None:
    shards = world.shards(model_dir, add_prompts(*QUESTIONS[:2]))
    crew = world.crew("echo", settings={"process": True, "memory": 0, "batch_size": 4})
    with pytest.raises(UserError, match="ran out of memory") as caught:
        world.sample(shards, crew)
    assert "max_model_len" in caught.value.next
    assert [engine.batch_size for engine in opened] == [4, 2, 1]


def test_closing_in_the_middle_ends_every_engine_and_gives_its_devices_back(
    world: World, add_prompts: AddPrompts, model_dir: Path, opened: list[ProcessSampler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    struck = threading.Event()

    def hang(engine: ProcessSampler) -> None:
        stop(engine)
        struck.set()

    at_first_batch(monkeypatch, hang)
    shards = world.shards(model_dir, add_prompts(*QUESTIONS))
    crew = world.crew("echo", settings={"process": True})
    crew.begin(shards)
    assert struck.wait(60)
    results = list(crew._asked.values())
    crew.close()
    assert all(result.done() for result in results)
    assert all(engine.pid is None for engine in opened)
    assert world.store.ledger.table("leases") == []


# --- weights that change --------------------------------------------------------------------------


@pytest.fixture
def changing(own_model: Path) -> Iterator[Path]:
    """A model directory that somebody writes to."""
    yield own_model
    shutil.rmtree(own_model, ignore_errors=True)


@pytest.mark.parametrize("file", ["model.safetensors", "chat_template.jinja"])
def test_a_checkpoint_replaced_between_two_shards_is_refused(
    world: World, add_prompts: AddPrompts, changing: Path, file: str
) -> None:
    shards = world.shards(changing, add_prompts(*QUESTIONS[:4]))
    crew = world.crew("echo")
    assert crew.sample(shards[0]) == 8
    if file == "model.safetensors":
        save_file(weights(1), changing / file, metadata={"format": "pt"})
    else:
        (changing / file).write_text("{{ messages[0]['content'] }}!")
    with pytest.raises(UserError, match="changed: it holds model"):
        crew.sample(shards[1])
    crew.close()
    assert {row[3] for row in world.rows().values()} == {shards[0].shard_id}


@pytest.mark.parametrize("file", ["model.safetensors", "chat_template.jinja"])
def test_a_checkpoint_replaced_in_the_middle_of_a_shard_commits_nothing_of_it(
    world: World, add_prompts: AddPrompts, changing: Path, monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:  # fmt: skip
    def overwrite(engine: ProcessSampler) -> None:
        (changing / file).write_bytes((changing / file).read_bytes() + b" ")

    at_first_batch(monkeypatch, overwrite)
    shards = world.shards(changing, add_prompts(*QUESTIONS[:2]))
    with pytest.raises(UserError, match="changed: it holds model"):
        world.sample(shards, world.crew("echo", settings={"process": True}))
    assert world.rows() == {}


@pytest.mark.parametrize(
    ("engine", "settings", "named"),
    [
        ("echo", {"batch_size": 0}, "batch_size is 0"),
        ("transformers", {"batch_size": -1}, "batch_size is -1"),
        ("transformers", {"tensor_parallel_size": 0}, "tensor_parallel_size is 0"),
        ("vllm", {"pipeline_parallel_size": "two"}, "pipeline_parallel_size is 'two'"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_field_and_nothing_is_left_held(
    world: World, add_prompts: AddPrompts, model_dir: Path, engine: str,
    settings: dict[str, object], named: str,
) -> None:  # fmt: skip
    shards = world.shards(model_dir, add_prompts(*QUESTIONS[:2]))
    with pytest.raises(UserError, match=f"sampling.settings.{named}"):
        world.sample(shards, world.crew(engine, settings=settings))
    assert world.store.ledger.table("leases") == []


def test_files_that_were_touched_and_hold_the_same_bytes_are_no_change(
    world: World, add_prompts: AddPrompts, changing: Path
) -> None:
    shards = world.shards(changing, add_prompts(*QUESTIONS[:4]))
    crew = world.crew("echo")
    assert crew.sample(shards[0]) == 8
    (changing / "model.safetensors").touch()
    (changing / "README.md").write_text("a card")
    assert crew.sample(shards[1]) == 8
    crew.close()


def test_a_checkpoint_replaced_while_the_engine_reads_it_is_refused(
    world: World, add_prompts: AddPrompts, changing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.sampling import base

    real = base.open_sampler

    def replaced(*args: Any, **named: Any) -> Any:
        opened = real(*args, **named)
        save_file(weights(1), changing / "model.safetensors", metadata={"format": "pt"})
        return opened

    monkeypatch.setattr(base, "open_sampler", replaced)
    shards = world.shards(changing, add_prompts(*QUESTIONS[:4]))
    with pytest.raises(UserError, match="changed: it holds model"):
        world.sample(shards, world.crew("echo"))
    assert world.rows() == {}

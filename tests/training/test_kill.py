"""kill -9 at any moment, then the same job: the same bits. Real children, really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from factory.errors import StageFailed, Stopped, UserError
from factory.training.verb import result_of, train

from .conftest import events, preference_rows, sft_rows, weights  # noqa: TID252 - importlib mode


def start(job) -> subprocess.Popen[bytes]:
    job.work_dir.mkdir(parents=True, exist_ok=True)
    (job.work_dir / "job.json").write_text(job.model_dump_json())
    (job.work_dir / "progress.jsonl").touch()
    return subprocess.Popen(
        [sys.executable, "-m", "factory.training", str(job.work_dir / "job.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def signalled_at(job, count: int, number: int = signal.SIGKILL) -> int:
    """Signal a child the moment its progress file has `count` more lines; its exit code."""
    child = start(job)
    have = len(events(job))
    while child.poll() is None and len(events(job)) < have + count:
        threading.Event().wait(0.002)
    child.send_signal(number)
    return child.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_a_job_killed_again_and_again_ends_in_the_same_weights(write, make_job, kind, tmp_path):
    rows = preference_rows(300) if kind == "dpo" else sft_rows(300)
    data = write("d", rows)
    config = {"kind": kind, "max_steps": 24, "save_steps": 3, "packing": kind == "sft"}
    # Each has its own reference table, so that nothing of the first helps the second.
    whole, killed = (
        make_job(name, data, **config).model_copy(
            update={"reference_cache": tmp_path / f"{name}.sqlite"}
        )
        for name in ("whole", "killed")
    )
    assert start(whole).wait() == 0
    codes = [signalled_at(killed, count) for count in (1, 2, 9, 7, 5)]
    assert codes.count(-signal.SIGKILL) >= 4
    result = train(killed, log=tmp_path / "log")
    assert result.steps == 24
    one, two = weights(whole.out_dir), weights(killed.out_dir)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert result.loss_first == result_of(whole.out_dir).loss_first


def test_sigterm_saves_exits_75_and_the_same_job_finishes(write, make_job, tmp_path):
    job = make_job("m", write("d", preference_rows(64)), max_steps=60, save_steps=1000)
    assert signalled_at(job, 4, signal.SIGTERM) == 75
    assert len(list((job.work_dir / "checkpoints").iterdir())) == 1
    short = job.model_copy(
        update={"config": job.config.model_copy(update={"save_steps": 500})}
    )  # fmt: skip
    seen: list[dict[str, object]] = []
    result = train(short, log=tmp_path / "log", on_progress=seen.append)
    assert result.steps == 60
    assert [e["event"] for e in seen].count("resume") == 1
    assert seen[-1]["step"] == 60
    assert train(short, log=tmp_path / "log") == result


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_two_processes_take_the_same_steps_as_one(write, make_job, tmp_path, kind):
    rows = preference_rows(32) if kind == "dpo" else sft_rows(32)
    extra = {"nll_coefficient": 0.5} if kind == "dpo" else {}
    one = make_job("one", write("d", rows), kind=kind, micro_batch_size=2, max_steps=4, **extra)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")
    two = one.model_copy(
        update={
            "out_dir": tmp_path / "two", "work_dir": tmp_path / "w2", "launch": torchrun,
            "reference_cache": tmp_path / "two.sqlite",
        }
    )  # fmt: skip
    first, second = (train(job, log=tmp_path / f"{i}.log") for i, job in enumerate((one, two)))
    assert second.loss_last == pytest.approx(first.loss_last, abs=1e-5)
    assert second.metrics["grad_norm"] == pytest.approx(first.metrics["grad_norm"], rel=1e-4)
    a, b = weights(one.out_dir), weights(two.out_dir)
    assert max((a[k] - b[k]).abs().max().item() for k in a) < 1e-4


def test_a_childs_user_error_reaches_the_parent_with_its_next_command(write, make_job, tmp_path):
    rows = [row | {"chosen_ids": [9, 9]} for row in preference_rows(8)]
    with pytest.raises(UserError, match="forget how to stop") as caught:
        train(make_job("m", write("d", rows)), log=tmp_path / "log")
    assert "min_stop_share" in caught.value.next


def test_a_crash_of_the_child_shows_the_end_of_its_log(write, make_job, tmp_path):
    job = make_job("m", write("d", preference_rows(8)))
    broken = job.model_copy(update={"launch": (sys.executable, "-c", "raise SystemExit('boom')")})
    with pytest.raises(StageFailed, match="boom"):
        train(broken, log=tmp_path / "log")


def test_terminating_the_parent_stops_the_child_which_saves(write, make_job, tmp_path):
    job = make_job("m", write("d", preference_rows(64)), max_steps=5000)
    timer = threading.Event()

    def progress(event: dict[str, object]) -> None:
        if event["event"] == "step" and not timer.is_set():
            timer.set()
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(job, log=tmp_path / "log", on_progress=progress)
    assert list((job.work_dir / "checkpoints").iterdir())


def test_the_parent_needs_no_torch(repository: Path):
    code = "import factory.training.verb, sys; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.check_output([sys.executable, "-c", "import json;" + code], cwd=repository)
    loaded = set(json.loads(out))
    assert not loaded & {"torch", "transformers", "accelerate", "datasets", "pandas"}

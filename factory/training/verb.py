"""The train verb: one child process per job, followed through its progress file.

The parent never imports torch. A child's exit returns all its memory; a job file goes in, a sealed
directory with a manifest comes out.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, cast

from factory.errors import StageFailed, Stopped, UserError
from factory.training.config import TrainConfig, TrainJob, TrainResult
from factory.training.files import manifest_of, write_json

__all__ = ["TrainConfig", "TrainJob", "TrainResult", "result_of", "train"]

TICK_S = 0.2
Progress = Callable[[dict[str, Any]], None]


def train(
    job: TrainJob,
    *,
    log: Path,
    on_progress: Progress | None = None,
    env: Mapping[str, str] | None = None,
) -> TrainResult:
    """Train a job in a child process, or go on with it, or return what it left when it is done.

    `log` receives the child's output. Progress events are `{"event": "reference"|"step"|...}`.
    `env` is added to the child's environment: the GPUs that it may use.

    Raises:
        UserError: the child's own, with its next command.
        Stopped: the child was asked to stop (SIGTERM to this process or to it) and saved.
        StageFailed: the child crashed; the message ends with the log's last lines.
    """
    job.work_dir.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    job_file, progress = job.work_dir / "job.json", job.work_dir / "progress.jsonl"
    write_json(job_file, job.model_dump(mode="json"))
    progress.touch()
    (job.work_dir / "error.json").unlink(missing_ok=True)
    with log.open("ab") as output, progress.open(encoding="utf-8") as lines:
        lines.seek(0, os.SEEK_END)
        child = subprocess.Popen(
            _command(job, job_file), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        with _ending(child) as asked_to_stop:
            _follow(child, lambda: _relay(lines, on_progress))
    result = _outcome(job, child.returncode, log=log)
    if asked_to_stop.is_set():
        # The child was at its last step and ended well; whoever asked meant this process too.
        raise Stopped("stopped by a signal", next="the same command goes on")
    return result


def result_of(out_dir: Path) -> TrainResult:
    """What a sealed checkpoint directory says about itself.

    Raises:
        UserError: when it is not whole.
    """
    said = manifest_of(out_dir)
    if said is None or "result" not in said:
        raise UserError(f"{out_dir} is not a whole checkpoint", next="prefactory doctor")
    result = cast("dict[str, Any]", said["result"])
    return TrainResult(
        out_dir=out_dir,
        steps=result["steps"],
        loss_first=result["loss_first"],
        loss_last=result["loss_last"],
        metrics=result["metrics"],
        n_rows=result["n_rows"],
        dropped=result["dropped"],
        seconds=result["seconds"],
        job_digest=str(said["job_digest"]),
        drops_file=Path(result["drops_file"]),
    )


def _command(job: TrainJob, job_file: Path) -> list[str]:
    return [*(job.launch or (sys.executable, "-m")), "factory.training", str(job_file)]


def _follow(child: subprocess.Popen[bytes], relay: Callable[[], None]) -> None:
    while True:
        try:
            child.wait(timeout=TICK_S)
        except subprocess.TimeoutExpired:
            relay()
        else:
            relay()
            return


def _relay(lines: Any, on_progress: Progress | None) -> None:
    while True:
        at = lines.tell()
        line = lines.readline()
        if not line.endswith("\n"):
            lines.seek(at)  # the rest of this line is still being written
            return
        # A child that was killed while writing leaves half a line before the next child's first.
        with contextlib.suppress(json.JSONDecodeError):
            if on_progress:
                on_progress(json.loads(line))


@contextlib.contextmanager
def _ending(child: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Pass SIGTERM on to the child, and never leave it behind when this process fails.

    Gives an event that is set once SIGTERM came.
    """
    asked = threading.Event()

    def forward(number: int, frame: FrameType | None) -> None:
        asked.set()
        child.terminate()

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, forward) if main else None
    try:
        yield asked
    except BaseException:
        child.terminate()
        child.wait()
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _outcome(job: TrainJob, code: int, *, log: Path) -> TrainResult:
    if code == 0:
        return result_of(job.out_dir)
    error = job.work_dir / "error.json"
    if error.is_file():
        said = json.loads(error.read_text("utf-8"))
        raise (Stopped if said["stopped"] else UserError)(said["message"], next=said["next"])
    if code == -signal.SIGTERM:  # while it was still importing, before it could listen
        raise Stopped("stopped before the training began", next="the same command goes on")
    tail = log.read_text("utf-8", "replace").splitlines()[-15:]
    raise StageFailed(f"training ended with exit code {code}; {log} ends:\n" + "\n".join(tail))

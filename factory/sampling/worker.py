"""The engine's side: `python -m factory.sampling.worker ENGINE`, one process per model.

The process that is started imports the engine's libraries (15 s for vLLM, all of it Python) and
then waits. For each model it forks a child, which already has the imports, loads the model and
answers requests until its pipe closes. So a run that opens four checkpoints imports once, and every
model still has a process of its own whose exit gives back all of its memory.

Nothing outlives the process that sampled: the server watches its parent and kills each child's
whole process group when the parent is gone, even by kill -9; the children ask the kernel to be
killed with the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from factory.rows import SamplingParams
from factory.sampling.frames import read_frame, requests_of, samples_table, write_frame
from factory.sampling.identity import weight_files
from factory.sampling.requests import Sampled, SampleRequest

_PR_SET_PDEATHSIG = 1
_SMALL_WEIGHTS = 256 << 20
TICK_S = 1.0

Tick = Callable[[], None]


class Refused(Exception):
    """The engine failed; the parent has been told and the log has the traceback."""


class Backend(Protocol):
    """A loaded model, inside the engine's process."""

    version: str
    max_model_len: int
    batch_size: int

    def generate(
        self, requests: Sequence[SampleRequest], params: SamplingParams, *, tick: Tick = ...
    ) -> list[Sampled]:
        """All samples of all requests; `tick` is called after each step of the engine."""
        ...


def silent() -> None:
    """Nobody listens."""


class Ticker:
    """Tells the other side, at most once a second, that a batch goes on."""

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._next = 0.0

    def __call__(self) -> None:
        """A step was made."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + TICK_S
            write_frame(self._replies, {"tick": True})


def main(engine: str, control_fd: int, parent: int) -> None:
    """Import the engine, then fork a child for every `open` until the parent is gone."""
    die_with_parent(parent)
    control = socket.socket(fileno=control_fd)
    module = importlib.import_module(f"factory.sampling.engines.{engine}")
    module.preload()
    # The kernel means the thread that started us, not the process, and threads come and go; from
    # here on we watch the process ourselves.
    die_with_parent(parent, signal_number=0)
    children: set[int] = set()
    try:
        while _parent_speaks(control, parent, children):
            data, fds, _, _ = socket.recv_fds(control, 1 << 20, 3)
            if not data:
                return
            order = json.loads(data)
            if order["op"] == "open":
                pid = _fork(module, order, fds, control)
                children.add(pid)
                answer = {"pid": pid}
            else:
                children.discard(order["pid"])
                answer = {"status": _end(order["pid"])}
            control.sendall(json.dumps(answer).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        for pid in children:
            _end(pid)
        sys.stderr.flush()
        # Taking down thousands of modules in order takes seconds and frees nothing.
        os._exit(0)


def _parent_speaks(control: socket.socket, parent: int, children: set[int]) -> bool:
    """Wait for the parent's next word; False when the parent has died.

    A closed socket says that too, except when a process that the parent forked still holds it. A
    child that dies meanwhile takes its group along: what it had started may hold its pipe open, and
    whoever reads there would not learn that it died.
    """
    watch = select.poll()
    watch.register(control.fileno(), select.POLLIN)
    if not hasattr(os, "pidfd_open"):
        watch.poll()
        return True
    with contextlib.ExitStack() as stack:
        try:
            watch.register(_death_of(parent, stack), select.POLLIN)
        except ProcessLookupError:
            return False
        # A dead child that nobody has waited for yet still has its number.
        alive = {_death_of(pid, stack): pid for pid in children}
        for pidfd in alive:
            watch.register(pidfd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in watch.poll()}
            for pidfd in ready & alive.keys():
                watch.unregister(pidfd)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(alive[pidfd], signal.SIGKILL)
            if ready - alive.keys():
                return control.fileno() in ready


def _death_of(pid: int, stack: contextlib.ExitStack) -> int:
    """A descriptor that is readable when a process has ended."""
    pidfd = os.pidfd_open(pid)
    stack.callback(os.close, pidfd)
    return pidfd


def _fork(module: Any, order: Mapping[str, Any], fds: list[int], control: socket.socket) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid:
        for fd in fds:
            os.close(fd)
        return pid
    code = 1
    try:
        os.setsid()
        die_with_parent(server)
        control.close()
        os.dup2(fds[2], 1)
        os.dup2(fds[2], 2)
        serve(module, order, os.fdopen(fds[0], "rb"), os.fdopen(fds[1], "wb"))
        code = 0
    except Refused:
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end(pid: int) -> int:
    """Kill a child's process group; returns how the child itself had ended (negative: signal)."""
    for kill in (os.killpg, os.kill):  # os.kill for a child that has not made its group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0


def serve(module: Any, order: Mapping[str, Any], requests: BinaryIO, replies: BinaryIO) -> None:
    """Load one model and answer until the request pipe closes."""
    os.environ.update(order["env"])
    if "OMP_NUM_THREADS" in order["env"] and (torch := sys.modules.get("torch")):
        torch.set_num_threads(int(order["env"]["OMP_NUM_THREADS"]))  # it read the old one
    _exit_on_hangup(requests)
    try:
        backend: Backend = module.load(
            Path(order["model"]),
            settings=order["settings"],
            max_model_len=order["max_model_len"],
            adapter=Path(order["adapter"]) if order["adapter"] else None,
        )
    except BaseException as error:
        _refuse(replies, error)
        raise Refused from error
    ready = {name: getattr(backend, name) for name in ("version", "max_model_len", "batch_size")}
    write_frame(replies, ready)
    tick = Ticker(replies)
    while True:
        try:
            header, table = read_frame(requests)
        except EOFError:
            return
        assert table is not None
        params = _params(header["params"])
        try:
            samples = backend.generate(requests_of(table), params, tick=tick)
        except BaseException as error:
            _refuse(replies, error)
            raise Refused from error
        write_frame(replies, {"n": len(samples)}, samples_table(samples))


def _params(given: Mapping[str, Any]) -> SamplingParams:
    fields: dict[str, Any] = dict(given)
    fields["stop"] = tuple(fields["stop"])
    return SamplingParams(**fields)


def _refuse(replies: BinaryIO, error: BaseException) -> None:
    # Logged first: who reads the refusal may end this process at once.
    traceback.print_exc()
    sys.stderr.flush()
    write_frame(replies, {"error": f"{type(error).__name__}: {error}"[:2000]})


def _exit_on_hangup(requests: BinaryIO) -> None:
    """End this process, also in the middle of a batch, when nobody holds the other end."""

    def wait() -> None:
        watch = select.poll()
        watch.register(requests.fileno(), 0)  # only POLLHUP and POLLERR
        watch.poll()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="hangup", daemon=True).start()


def spare_threads(model: Path) -> bool:
    """Give a small model on a CPU one thread; True if that was done.

    Below some 256 MB of weights a second thread saves nothing, and its spinning at barriers costs a
    factor of fifty as soon as anything else runs on the machine. OMP_NUM_THREADS overrules this.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return False
    if sum(f.stat().st_size for f in weight_files(model)) > _SMALL_WEIGHTS:
        return False
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    return True


def die_with_parent(parent: int, *, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux); 0 takes it back."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

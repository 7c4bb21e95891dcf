"""An engine in a process of its own, from this side: started, asked, watched and ended."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from factory.errors import StageFailed, UserError
from factory.rows import SamplingParams
from factory.sampling.faults import EngineClosed, OutOfMemory
from factory.sampling.frames import read_frame, requests_table, samples_of, write_frame
from factory.sampling.requests import Sampled, SampleRequest, Terms

_TAIL_LINES = 15
_LOOK_S = 0.25
_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|Cannot allocate memory|MemoryError|std::bad_alloc"
    r"|No available memory for the cache|DefaultCPUAllocator: can't allocate"
    r"|less than desired GPU memory|larger than the available KV cache",
    re.IGNORECASE,
)
# What a smaller batch does not mend: the weights or one long prompt alone are too much.
_HOPELESS = re.compile(
    r"less than desired GPU memory|larger than the available KV cache", re.IGNORECASE
)
_UNKNOWN = re.compile(r"^TypeError: .* got an unexpected keyword argument '(\w+)'")
_LOADING = "while it loaded the model"
_REFUSALS = ("ValueError: ", "ValidationError: ")
"""How libraries say that what they were given cannot be: the next try would hear the same."""
_MEND_MEMORY = (
    "give the engine less: sampling.settings max_model_len, max_num_seqs or batch_size lower, "
    "gpu_memory_utilization or VLLM_CPU_KVCACHE_SPACE to fit the machine"
)
_SECRET = re.compile(r"(KEY|KEY_ID|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$")

# Engines read local files only and report to nobody.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


class ProcessSampler:
    """A model in a child process of the worker; see `factory.sampling.worker`.

    Raises:
        UserError: when the engine refuses the model or a setting.
        OutOfMemory: when the model and its batch do not fit.
        StageFailed: when the process dies or hangs before the model is loaded.
    """

    def __init__(
        self, engine: str, model: Path, *, settings: Mapping[str, object], terms: Terms
    ) -> None:
        self.engine = engine
        self._log = terms.log
        # What an earlier engine wrote into the same log says nothing about this one.
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._stall_s = terms.stall_s
        self._lock = threading.RLock()
        self._ending = threading.Lock()
        self._pid: int | None = None
        self._status: int | None = None
        self._heard = 0.0
        self._hung: float | None = None
        self._server = server_for(engine, log=terms.log)
        order = {
            "op": "open",
            "model": str(model.resolve()),
            "settings": dict(settings),
            "max_model_len": terms.max_model_len,
            "adapter": str(terms.adapter.resolve()) if terms.adapter else "",
            "env": dict(terms.env),
        }
        self._pid, self._requests, self._replies = self._server.open(order, log=terms.log)
        with self._watched(terms.start_s, stop=terms.stop):
            ready = self._read(_LOADING)[0]
        self.engine_version: str = ready["version"]
        self.max_model_len: int = ready["max_model_len"]
        self.batch_size: int | None = ready["batch_size"]

    @property
    def pid(self) -> int | None:
        """The engine's process, or None when it is closed."""
        return self._pid

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sampled]:
        """All samples of all requests; see `Sampler.sample`."""
        if not requests:
            return []
        with self._lock:
            if self._pid is None:
                raise EngineClosed(f"the {self.engine} engine is closed")
            with self._watched(self._stall_s):
                try:
                    write_frame(
                        self._requests, {"params": params.as_dict()}, requests_table(requests)
                    )
                except BrokenPipeError:
                    self._died("between two batches")
                _, table = self._read("in the middle of a batch")
        assert table is not None
        return samples_of(table)

    def close(self) -> None:
        """End the process and everything it started, also from another thread during a batch."""
        pid, self._pid = self._pid, None
        if pid is not None:
            self._end(pid)

    def _end(self, pid: int) -> int:
        self._pid = None
        status = self._kill(pid)
        # Whoever reads has the lock, and finds the pipe's end now that the process is gone.
        with self._lock:
            for pipe in (self._requests, self._replies):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return status

    def _kill(self, pid: int) -> int:
        """End the process once; its number may be another's afterwards."""
        with self._ending:  # a watcher and whoever reads or closes may come at the same moment
            if self._status is None:
                self._status = self._server.end(pid)
            return self._status

    @contextlib.contextmanager
    def _watched(self, patience: float, *, stop: threading.Event | None = None) -> Iterator[None]:
        """Kill the process when nothing is heard of it for `patience` seconds, or on `stop`."""
        done = threading.Event()
        self._heard = time.monotonic()
        pid = self._pid
        assert pid is not None

        def watch() -> None:
            while not done.wait(_LOOK_S):
                if stop is not None and stop.is_set():
                    self._pid = None
                elif time.monotonic() - self._heard >= patience:
                    self._hung = patience
                else:
                    continue
                self._kill(pid)
                return

        watcher = threading.Thread(target=watch, name="engine-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _read(self, when: str) -> tuple[dict[str, Any], Any]:
        while True:
            try:
                header, table = read_frame(self._replies)
            except EOFError:
                self._died(when)
            self._heard = time.monotonic()
            if "error" in header:
                self._refused(header["error"], when)
            if "tick" not in header:
                return header, table

    def _refused(self, error: str, when: str) -> NoReturn:
        self.close()
        tail = self._tail()
        if _OUT_OF_MEMORY.search(error + tail):
            self._no_memory(when, hopeless=bool(_HOPELESS.search(error + tail)))
        if unknown := _UNKNOWN.search(error):  # so would the next engine
            raise UserError(
                f"the {self.engine} engine has no setting {unknown[1]!r}: {error}; its log is "
                f"{self._log}",
                next="edit sampling.settings in the recipe",
            )
        if when == _LOADING and error.startswith(_REFUSALS):
            raise UserError(
                f"the {self.engine} engine refuses the model or a setting: {error}; its log is "
                f"{self._log}",
                next="edit sampling.settings in the recipe",
            )
        raise StageFailed(
            f"the {self.engine} engine failed {when}: {error}\nlog: {self._log}\n{tail}"
        )

    def _died(self, when: str) -> NoReturn:
        if self._pid is None:
            raise EngineClosed(f"the {self.engine} engine was closed {when}")
        status = self._end(self._pid)
        tail = self._tail()
        if self._hung is not None:
            why = f"it made no step for {self._hung:g} s and was ended"
        elif _OUT_OF_MEMORY.search(tail):
            self._no_memory(when, hopeless=bool(_HOPELESS.search(tail)))
        elif status == -9:
            why = "it was killed from outside (signal 9), as Linux does when memory runs out"
        else:
            why = f"its process ended with {_spoken(status)}"
        raise StageFailed(f"the {self.engine} engine died {when}: {why}\nlog: {self._log}\n{tail}")

    def _no_memory(self, when: str, *, hopeless: bool) -> NoReturn:
        kind = UserError if hopeless else OutOfMemory
        raise kind(
            f"the {self.engine} engine ran out of memory {when}; its log is {self._log}",
            next=_MEND_MEMORY,
        )

    def _tail(self) -> str:
        return _tail(self._log, start=self._log_start)


def require_batch(settings: Mapping[str, object]) -> None:
    """Refuse a `batch_size` that no batch can have.

    Raises:
        UserError: naming the field.
    """
    size = settings.get("batch_size", 1)
    if not isinstance(size, int) or size < 1:
        raise UserError(
            f"sampling.settings.batch_size is {size!r}; it is a number of samples, 1 or more",
            next="--set sampling.settings.batch_size=64",
        )


class Server:
    """The worker process of one engine, with the imports done; models are forked off it."""

    def __init__(self, engine: str, *, log: Path) -> None:
        self.engine = engine
        self.owner = os.getpid()
        self._log = log
        self._lock = threading.Lock()
        log.parent.mkdir(parents=True, exist_ok=True)
        self._control, theirs = socket.socketpair()
        with log.open("ab") as out, theirs:
            # Its own session: Ctrl-C reaches us, and we decide what ends.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "factory.sampling.worker", engine,
                 str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()], env=child_environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip

    def open(self, order: Mapping[str, object], *, log: Path) -> tuple[int, BinaryIO, BinaryIO]:
        """Fork a child for a model: its pid, the pipe to it and the pipe from it."""
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("ab") as out:
                theirs = [request_read, reply_write, out.fileno()]
                pid = int(self._ask(order, fds=theirs)["pid"])
        except BaseException:
            os.close(request_write)
            os.close(reply_read)
            raise
        finally:
            os.close(request_read)
            os.close(reply_write)
        return pid, os.fdopen(request_write, "wb"), os.fdopen(reply_read, "rb")

    def end(self, pid: int) -> int:
        """Kill a child and all it started; returns how it had ended (negative: by that signal)."""
        try:
            return int(self._ask({"op": "end", "pid": pid})["status"])
        except StageFailed:
            # The server is gone and its children with it, but not what they had started.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            return -9

    def close(self) -> None:
        """End the server and its children."""
        self._control.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # still importing
            self.process.kill()
            self.process.wait()

    def _ask(self, order: Mapping[str, object], *, fds: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            try:
                socket.send_fds(self._control, [json.dumps(order).encode()], list(fds))
                data = self._control.recv(1 << 16)
            except OSError:
                data = b""
        if not data:
            raise StageFailed(
                f"the {self.engine} engine did not start\nlog: {self._log}\n{_tail(self._log)}"
            )
        return json.loads(data)


_servers: dict[str, Server] = {}
_servers_lock = threading.Lock()


def server_for(engine: str, *, log: Path) -> Server:
    """The running server of an engine, started if there is none.

    Calling it early hides the imports behind other work: it returns at once.
    """
    with _servers_lock:
        server = _servers.get(engine)
        alive = server and server.owner == os.getpid() and server.process.poll() is None
        if server and alive:
            return server
        _servers[engine] = Server(engine, log=log)
        return _servers[engine]


@atexit.register
def close_servers() -> None:
    """End all servers of this process, and with them every engine."""
    with _servers_lock:
        for server in _servers.values():
            if server.owner == os.getpid():
                server.close()
        _servers.clear()


def child_environment() -> dict[str, str]:
    """The environment of a process that reads what a model wrote."""
    # An engine that reads hostile text needs none of our secrets.
    kept = {k: v for k, v in os.environ.items() if not _SECRET.search(k)}
    return {**kept, **QUIET}


def _tail(log: Path, *, start: int = 0) -> str:
    try:
        with log.open("rb") as handle:
            handle.seek(max(start, log.stat().st_size - 20_000))
            lines = handle.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line for line in lines[-_TAIL_LINES:])


def _spoken(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"

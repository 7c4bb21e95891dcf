"""Judges of our own: a vLLM server on loopback for an endpoint that names a model and no URL.

The server is a child that lives as long as its verb: `factory.judging.local.keeper` starts it and
ends it when our end of a pipe closes, so it does not outlive a process that was killed either.
It is asked through the same client as a vendor. Its GPUs are leased in the ledger while it runs.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from factory.errors import MissingExtra, Stopped, UserError
from factory.judging.local.weights import digest
from factory.judging.work import Source
from factory.recipe import Endpoint
from factory.store import Ledger, Store
from factory.store.devices import hold

_P = ParamSpec("_P")
_R = TypeVar("_R")

log_ = logging.getLogger(__name__)

MEANING = ("dtype", "quantization", "kv_cache_dtype", "hf_overrides", "chat_template", "tokenizer")
"""Settings that change what the model says: a judge with another one is another judge."""
_ON_A_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "INFO",
}  # fmt: skip
_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model"]


# --- which model ---------------------------------------------------------------------------------


def directory_of(model: str, *, workspace: Path) -> Path:
    """The directory of a model: a path, from the workspace on, or a hub's name.

    Raises:
        UserError: when it is neither, or the hub cannot give it.
    """
    path = workspace / Path(model).expanduser()
    if path.is_dir():
        return path.resolve()
    if model.startswith(("/", ".", "~")) or model.count("/") != 1:
        raise UserError(
            f"there is no model directory {model}, and judging.endpoints names no base_url for it",
            next=f"ls {path.parent}",
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_FILES))
    except Exception as failed:
        raise UserError(
            f"the model {model} is neither a directory nor to be had from the hub: {failed}",
            next=f"hf download {model}  # or give a directory, or a base_url",
        ) from failed


def by_weights(endpoint: Endpoint, *, workspace: Path) -> tuple[Endpoint, Path]:
    """The endpoint with its model called by its weights (law 2), and where they are."""
    directory = directory_of(endpoint.model, workspace=workspace)
    return endpoint.model_copy(update={"model": digest(directory)}), directory


def meaning_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are part of a judge's identity."""
    return {name: settings[name] for name in MEANING if name in settings}


# --- the servers of one verb ---------------------------------------------------------------------


class Pool:
    """Servers by what they serve: judges of one model share one, until the verb ends."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.urls: dict[str, str] = {}


_POOL: ContextVar[Pool | None] = ContextVar("servers", default=None)


def keeping_servers(verb: Callable[_P, _R]) -> Callable[_P, _R]:
    """A verb that ends the servers it started, however it ends."""

    @wraps(verb)
    def kept(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        pool = Pool()
        with pool.stack:
            token = _POOL.set(pool)
            try:
                return verb(*args, **kwargs)
            finally:
                _POOL.reset(token)

    return kept


@contextmanager
def answering(source: Source, store: Store, *, run_id: str) -> Iterator[Endpoint]:
    """The endpoint of a source, with a server of its own where it needs one.

    Raises:
        UserError: when the server cannot be started; the message ends with its last words.
        Stopped: when it is not ready in time.
    """
    endpoint = source.endpoint
    assert endpoint is not None
    if endpoint.base_url is not None or source.model is None:
        yield endpoint
        return
    pool = _POOL.get()
    with ExitStack() as own:
        stack, urls = (pool.stack, pool.urls) if pool else (own, dict[str, str]())
        key = json.dumps([endpoint.model, endpoint.settings], sort_keys=True, default=str)
        if key not in urls:
            log = store.workspace / "runs" / run_id / "log" / f"server-{endpoint.model[:12]}.log"
            urls[key] = stack.enter_context(
                served(endpoint, source.model, ledger=store.ledger, log=log)
            )
        yield endpoint.model_copy(update={"base_url": urls[key], "settings": {}})


@contextmanager
def served(endpoint: Endpoint, model: Path, *, ledger: Ledger, log: Path) -> Iterator[str]:
    """A vLLM server while the block runs; gives its URL once it is healthy."""
    import importlib.util

    if importlib.util.find_spec("vllm") is None:
        raise MissingExtra(
            f"a judge of our own needs vLLM to serve {model}",
            next='pip install "prefactory[cpu]" (or [gpu]), or name a base_url',
        )
    size = int(endpoint.settings.get("tensor_parallel_size", 1))
    size *= int(endpoint.settings.get("pipeline_parallel_size", 1))
    with ExitStack() as stack:
        (group,) = stack.enter_context(hold(ledger, size=size))
        log.parent.mkdir(parents=True, exist_ok=True)
        said = stack.enter_context(log.open("ab"))
        port = _free_port()
        command = command_of(endpoint, model, port=port)
        environment = _environment(group.env)
        keeper = stack.enter_context(_kept(command, environment, said))
        log_.info("serving %s on port %d: %s", model, port, log)
        _wait(keeper, port, seconds=endpoint.start_timeout_s, log=log)
        yield f"http://127.0.0.1:{port}/v1"


def command_of(endpoint: Endpoint, model: Path, *, port: int) -> list[str]:
    """What starts the server. It answers on loopback alone, to the name of its weights."""
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", endpoint.model, "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    for name, value in endpoint.settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            command.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            text = json.dumps(value) if isinstance(value, dict | list) else str(value)
            command += [f"--{flag}", text]
    return command


def _environment(devices: Mapping[str, str]) -> dict[str, str]:
    # The weights are in a directory, so nothing has to be fetched; telemetry stays off (law 15).
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    cpu = {} if devices else {k: v for k, v in _ON_A_CPU.items() if k not in os.environ}
    return {**os.environ, **quiet, **cpu, **devices}


@contextmanager
def _kept(
    command: list[str], environment: dict[str, str], said: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """The keeper of a server: it ends the server when this block, or this process, ends."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "factory.judging.local.keeper", *command],
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=subprocess.STDOUT,
        env=environment,
        # Ctrl-C is for us: the server still answers what is in flight.
        start_new_session=True,
    )
    assert keeper.stdin is not None
    try:
        yield keeper
    finally:
        keeper.stdin.close()
        keeper.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(keeper: subprocess.Popen[bytes], port: int, *, seconds: float, log: Path) -> None:
    until = time.monotonic() + seconds
    # A proxy of the environment would be asked for its own loopback.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until:
        if keeper.poll() is not None:
            raise UserError(
                f"the judge's server ended with {keeper.returncode}: {_last_words(log)}",
                next=f"less {log}",
            )
        try:
            with direct.open(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise Stopped(
        f"the judge's server was not ready after {seconds:g} s: {_last_words(log)}",
        next=f"less {log}  # then raise start_timeout_s of its endpoint",
    )


def _last_words(log: Path) -> str:
    """The last line of the log that names an error, else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["it said nothing"])[-1][-300:]

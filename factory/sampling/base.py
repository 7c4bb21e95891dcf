"""What a sampler is: token ids in, token ids out, and how one is opened.

An engine is one file in `factory/sampling/engines/` with a function
`open_engine(model, *, settings, terms) -> Sampler`; the directory is the registry.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Protocol, TypedDict, Unpack, cast

from factory.errors import UserError
from factory.rows import SamplingParams
from factory.sampling.requests import Account, Sampled, SampleRequest, Terms

__all__ = [
    "SampleRequest",
    "Sampled",
    "Sampler",
    "Terms",
    "open_sampler",
    "prewarm",
    "resolve_engine",
    "smaller",
]

_log = logging.getLogger(__name__)
_ENGINES = Path(__file__).parent / "engines"
_SLOW_TO_IMPORT = ("vllm", "transformers")
_BATCH = {"vllm": ("max_num_seqs", 256), "transformers": ("batch_size", 64),
          "echo": ("batch_size", 64)}  # fmt: skip
"""An engine's own setting for samples side by side, and what it is where nobody sets it."""


class Sampler(Protocol):
    """An open engine with one model in it."""

    engine: str
    engine_version: str
    max_model_len: int
    batch_size: int | None
    """Samples it takes side by side, where it has such a limit."""

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sampled]:
        """All samples of all requests; each carries its prompt's id and its own index.

        Raises:
            StageFailed: when the engine died or hung; nothing of the call is returned.
            OutOfMemory: when it ran out of memory; it is closed then.
        """
        ...

    def close(self) -> None:
        """End the engine and give its memory back. Closing twice is allowed."""
        ...


class MoreTerms(TypedDict, total=False):
    """The fields of `Terms` that may be left out."""

    adapter: Path | None
    env: Mapping[str, str]
    stall_s: float
    start_s: float
    stop: Event | None
    account: Account | None


def engine_names() -> list[str]:
    """The engines there are, by file name, and `ray`, which runs any of them on a cluster."""
    hidden = {"__init__", "process"}
    return sorted({"ray", *(p.stem for p in _ENGINES.glob("*.py"))} - hidden)


def open_sampler(
    engine: str,
    model: Path,
    *,
    settings: Mapping[str, object] | None = None,
    log: Path,
    max_model_len: int | None = None,
    **terms: Unpack[MoreTerms],
) -> Sampler:
    """Open an engine on a model directory.

    Args:
        engine: a name of `engine_names()`, or "auto".
        model: a Hugging Face model directory with safetensors weights.
        settings: passed to the engine untouched.
        log: where the engine's own output goes, appended.
        max_model_len: longest prompt plus completion in tokens; None leaves it to the model.
        terms: the other fields of `Terms`: adapter, devices, patience and who pays.

    Raises:
        UserError: for an unknown engine, an engine that is not installed, or refused settings.
        OutOfMemory: when the model and its batch do not fit; `smaller` says what to try next.
        StageFailed: when the engine does not come up.
    """
    name = resolve_engine(engine)
    if name == "ray":
        raise UserError(
            "an engine on a cluster has no model of this process",
            next="prefactory sample or prefactory run, with sampling.engine=ray",
        )
    module = importlib.import_module(f"factory.sampling.engines.{name}")
    opened = module.open_engine(
        model,
        settings=dict(settings or {}),
        terms=Terms(log=log, max_model_len=max_model_len, **terms),
    )
    return cast(Sampler, opened)


def smaller(
    engine: str, settings: Mapping[str, object], *, batch_size: int | None = None
) -> tuple[dict[str, object], int] | None:
    """Settings with half the batch, and its size; None where the batch cannot be halved.

    Args:
        engine: a name of `engine_names()`, or "auto".
        settings: what ran out of memory.
        batch_size: what the engine said its batch was, if it came up.
    """
    name, default = _BATCH.get(resolve_engine(engine), ("", 0))
    now = batch_size or int(cast(int, settings.get(name, default)))
    if now <= 1:
        return None
    return {**settings, name: now // 2}, now // 2


def prewarm(engine: str, *, log: Path) -> None:
    """Start an engine's imports now, in its own process, so that they pass behind other work.

    Returns at once; `open_sampler` then finds them done. What goes wrong is told there.
    """
    name = resolve_engine(engine)
    if name in _SLOW_TO_IMPORT:
        from factory.sampling.engines.process import server_for

        server_for(name, log=log)


def resolve_engine(engine: str) -> str:
    """The engine that a recipe's word means on this machine.

    "auto" is vllm where it is installed and the machine can run it (a GPU, or a CPU with AVX2),
    else transformers; the choice is logged with its reason.

    Raises:
        UserError: for a name that no engine has.
    """
    if engine != "auto":
        if engine not in engine_names():
            raise UserError(
                f"there is no sampling engine {engine!r}; there are: auto, "
                + ", ".join(engine_names()),
                next="set sampling.engine in the recipe to one of these",
            )
        return engine
    obstacle = _why_no_vllm()
    if obstacle is None:
        return "vllm"
    _log.warning("sampling with transformers, because %s", obstacle)
    return "transformers"


def _why_no_vllm() -> str | None:
    if importlib.util.find_spec("vllm") is None:
        return "vllm is not installed (extras: cpu, gpu)"
    if _has_gpu() or _has_avx2():
        return None
    return "this CPU has no AVX2 and there is no GPU, which vllm needs"


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def _has_avx2() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return False
    if platform.machine() in {"aarch64", "arm64"}:
        return True  # vllm's CPU build uses NEON there
    return " avx2 " in cpuinfo.read_text(errors="replace").replace("\n", " \n")


def spans(settings: dict[str, object]) -> int:
    """GPUs that one engine spans, by vLLM's own settings.

    Raises:
        UserError: when one of them is no number of GPUs.
    """
    size = 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        said = settings.get(name, 1)
        if not isinstance(said, int) or said < 1:
            raise UserError(
                f"sampling.settings.{name} is {said!r}; it is a number of GPUs, 1 or more",
                next=f"--set sampling.settings.{name}=1",
            )
        size *= said
    return size

"""vLLM offline, one child process per model; token ids in, token ids out.

What is exact: `n` samples of a prompt share its prefill and sample j has the seed `seed + j` (vLLM
seeds each of a request's samples with the request's seed plus its index), so a sample draws the
same random numbers whether it is asked for alone or with its siblings. Log-probabilities are vLLM's
`raw_logprobs`: of the unmodified distribution, whatever temperature or top-p drew the token. Its
logits come from kernels whose rounding depends on the batch, so the same batch gives the same ids;
that is why a shard's composition is fixed.

Engine settings are `vllm.LLM`'s own arguments. On a CPU, where the recipe says nothing, the engine
runs in the child itself, eagerly, with a KV cache of 1 GiB, and a small model gets one thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from factory.errors import MissingExtra
from factory.rows import SamplingParams
from factory.sampling.engines.process import ProcessSampler
from factory.sampling.identity import context_length, read_config, resolve_dtype
from factory.sampling.requests import Sampled, SampleRequest, Terms
from factory.sampling.text import decoded, stop_tokens
from factory.sampling.worker import Tick, silent, spare_threads

_CPU_ENV = {
    # The engine's core in this process: one process fewer to start, and one order of events.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    # Nothing worth compiling runs on a CPU with enforce_eager; the compiler alone takes 15 s.
    "TORCHDYNAMO_DISABLE": "1",
}
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_FINISH = {"stop": "stop", "length": "length"}


def open_engine(model: Path, *, settings: Mapping[str, object], terms: Terms) -> ProcessSampler:
    """A vLLM engine.

    Raises:
        MissingExtra: when vLLM is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("vllm") is None:
        raise MissingExtra("vllm is not installed", next='pip install "prefactory[cpu]" (or [gpu])')
    given = dict(settings)
    # vLLM's own "auto" turns float32 checkpoints into 16 bit; the checkpoint's format is meant.
    given["dtype"] = resolve_dtype(model, str(given.get("dtype", "auto")))
    return ProcessSampler("vllm", model, settings=given, terms=terms)


# --- in the child --------------------------------------------------------------------------------


def preload() -> None:
    """The slow imports, before any model is named."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
    if not _gpu_in_sight():
        for name, value in _CPU_ENV.items():
            os.environ.setdefault(name, value)
    import vllm

    _ = vllm.LLM  # lazy; naming it imports the engine


def load(
    model: Path, *, settings: Mapping[str, Any], max_model_len: int | None, adapter: Path | None
) -> VllmBackend:
    """A model in this process."""
    return VllmBackend(model, settings=settings, max_model_len=max_model_len, adapter=adapter)


class VllmBackend:
    """`vllm.LLM` behind our protocol."""

    def __init__(
        self,
        model: Path,
        *,
        settings: Mapping[str, Any],
        max_model_len: int | None,
        adapter: Path | None = None,
    ) -> None:
        import vllm
        from vllm.platforms import current_platform

        arguments: dict[str, Any] = {"seed": 0, "trust_remote_code": False}
        if current_platform.is_cpu():
            arguments["enforce_eager"] = True
            # A prompt cut into chunks draws a sample that is thrown away; vLLM then winds the
            # sample's generator back, which a generator on the CPU cannot do.
            arguments["enable_chunked_prefill"] = False
            arguments["max_num_batched_tokens"] = max(
                8192, context_length(model, max_model_len) or 0
            )
            if spare_threads(model):
                # vLLM would pin one thread to each core, whatever else runs there.
                os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            _spare_an_inspection(model)
        if max_model_len is not None:
            arguments["max_model_len"] = max_model_len
        if adapter is not None:
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _rank(adapter)}
        arguments |= settings
        arguments |= {"model": str(model), "logprobs_mode": "raw_logprobs",
                      "trust_remote_code": False}  # fmt: skip
        self._llm = vllm.LLM(**arguments)
        self._tokenizer = self._llm.get_tokenizer()
        self.version = vllm.__version__
        engine: Any = self._llm.llm_engine
        self.max_model_len = int(engine.model_config.max_model_len)
        self.batch_size = int(engine.vllm_config.scheduler_config.max_num_seqs)
        self._adapter = _lora(adapter) if adapter else None
        self._tick: Tick = silent
        engine.step = self._ticking(engine.step)

    def _ticking(self, step: Callable[[], Any]) -> Callable[[], Any]:
        def stepped() -> Any:
            outputs = step()
            self._tick()
            return outputs

        return stepped

    def generate(
        self, requests: Sequence[SampleRequest], params: SamplingParams, *, tick: Tick = silent
    ) -> list[Sampled]:
        """All samples of all requests."""
        self._tick = tick
        stops = sorted(stop_tokens(self._tokenizer, params.stop))
        prompts: list[Any] = [{"prompt_token_ids": r.prompt_token_ids} for r in requests]
        outputs = self._llm.generate(
            prompts, [_params(r, params, stops) for r in requests], use_tqdm=False,
            lora_request=self._adapter,
        )  # fmt: skip
        rows: list[tuple[SampleRequest, int, Any]] = []
        for request, output in zip(requests, outputs, strict=True):
            if list(output.prompt_token_ids or ()) != request.prompt_token_ids:
                raise RuntimeError("vllm answered another prompt than it was asked")
            by_index = {o.index: o for o in output.outputs}
            greedy = params.temperature == 0
            rows += [(request, j, by_index[0 if greedy else j]) for j in range(request.n)]
        ids = [list(o.token_ids) for _, _, o in rows]
        texts = decoded(self._tokenizer, ids, stop=params.stop)
        return [
            Sampled(
                prompt_id=request.prompt_id,
                sample_idx=request.first_idx + j,
                token_ids=list(o.token_ids),
                logprobs=_logprobs(o),
                finish_reason=_FINISH.get(o.finish_reason, "abort"),
                text=text,
            )
            for (request, j, o), text in zip(rows, texts, strict=True)
        ]


def _rank(adapter: Path) -> int:
    """The adapter's rank, rounded up to one that vLLM has kernels for."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    rank = max([int(config.get("r", 8)), *map(int, (config.get("rank_pattern") or {}).values())])
    return next((known for known in _RANKS if known >= rank), rank)


def _lora(adapter: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, str(adapter))


def _params(request: SampleRequest, params: SamplingParams, named_stops: list[int]) -> Any:
    import vllm

    greedy = params.temperature == 0
    return vllm.SamplingParams(
        # Greedy samples are all the same one; vLLM refuses to compute it n times.
        n=1 if greedy else request.n,
        seed=request.seed,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        max_tokens=params.max_tokens,
        stop=list(params.stop) or None,
        # vLLM adds the end tokens of the tokenizer and of generation_config.json by itself.
        stop_token_ids=named_stops or None,
        logprobs=0,  # the sampled token's own and no other
        flat_logprobs=True,
        # Incremental text is needed only to look for stop strings; decoding once is cheaper.
        detokenize=bool(params.stop),
        skip_special_tokens=True,
    )


def _logprobs(output: Any) -> list[float]:
    """Log-probability of each sampled id: the first entry of its position."""
    flat: Any = output.logprobs
    if not output.token_ids:
        return []
    starts = flat.start_indices
    if [flat.token_ids[s] for s in starts] != list(output.token_ids):
        raise RuntimeError("vllm's log-probabilities are not those of the sampled ids")
    return [flat.logprobs[s] for s in starts]


def _spare_an_inspection(model: Path) -> None:
    """Import the model's class here instead of in a subprocess that imports all of vLLM again.

    vLLM inspects an architecture in another process so as not to touch CUDA in this one, 20 s on a
    new machine; on a CPU there is nothing not to touch.
    """
    from vllm import ModelRegistry

    for name in read_config(model).get("architectures") or []:
        known: Any = ModelRegistry.models.get(name)
        if known is not None and hasattr(known, "module_name"):
            ModelRegistry.register_model(name, known.load_model_cls())


def _gpu_in_sight() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))

"""Hugging Face transformers, for machines where vLLM cannot run; the same child process.

The loop is our own, because every sample needs a random stream of its own: sample j draws from a
generator seeded `seed + j`, so its numbers do not depend on which other samples share its batch.
The draw is an exponential race (argmax of p / q with q exponential) after penalty, temperature,
min-p, top-k and top-p in that order. Greedy ids are vLLM's; random ones are not, since the two have
different streams of random numbers.

Settings: `batch_size` (samples side by side, 64), `device` ("auto"), `dtype`; what is left goes to
`from_pretrained`. When memory runs out the batch is halved and the log says so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.errors import MissingExtra
from factory.rows import SamplingParams
from factory.sampling.engines.process import ProcessSampler, require_batch
from factory.sampling.identity import context_length, resolve_dtype
from factory.sampling.requests import Sampled, SampleRequest, Terms
from factory.sampling.text import decoded, stop_tokens
from factory.sampling.worker import Tick, silent, spare_threads

_BATCH = 64


def open_engine(model: Path, *, settings: Mapping[str, object], terms: Terms) -> ProcessSampler:
    """A transformers engine.

    Raises:
        UserError: when `batch_size` is no number of samples.
        MissingExtra: when there is an adapter and peft is not installed.
    """
    require_batch(settings)
    given = dict(settings)
    given["dtype"] = resolve_dtype(model, str(given.get("dtype", "auto")))
    if terms.adapter and importlib.util.find_spec("peft") is None:
        raise MissingExtra("an adapter needs peft", next='pip install "prefactory[lora]"')
    return ProcessSampler("transformers", model, settings=given, terms=terms)


# --- in the child --------------------------------------------------------------------------------


def preload() -> None:
    """The slow imports, before any model is named."""
    import transformers

    # Both are lazy; naming them imports torch and what generation needs.
    _ = transformers.AutoModelForCausalLM, transformers.AutoTokenizer


def load(
    model: Path, *, settings: Mapping[str, Any], max_model_len: int | None, adapter: Path | None
) -> TransformersBackend:
    """A model in this process."""
    return TransformersBackend(
        model, settings=settings, max_model_len=max_model_len, adapter=adapter
    )


@dataclass(slots=True)
class _Row:
    """One sample on its way."""

    request: SampleRequest
    j: int
    generator: Any
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str = ""


class TransformersBackend:
    """A causal language model and its sampling loop."""

    def __init__(
        self,
        model: Path,
        *,
        settings: Mapping[str, Any],
        max_model_len: int | None,
        adapter: Path | None = None,
    ) -> None:
        import torch
        import transformers

        from factory.sampling.render import load_tokenizer

        given = dict(settings)
        self.batch_size = int(given.pop("batch_size", _BATCH))
        device = str(given.pop("device", "auto"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            spare_threads(model)
        given["dtype"] = getattr(torch, str(given["dtype"]))
        given |= {"trust_remote_code": False, "use_safetensors": True, "local_files_only": True}
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(str(model), **given)
        if adapter is not None:
            loaded = _with_adapter(loaded, adapter)
        self.model = loaded.to(device).eval()
        self.device = device
        self._tick: Tick = silent
        self.tokenizer = load_tokenizer(model)
        self.stop_ids = _stop_ids(self.model.generation_config, self.tokenizer)
        self._named_stops: set[int] = set()
        self.version = str(transformers.__version__)
        self.max_model_len = max_model_len or context_length(model) or 1 << 20

    def generate(
        self, requests: Sequence[SampleRequest], params: SamplingParams, *, tick: Tick = silent
    ) -> list[Sampled]:
        """All samples of all requests."""
        import torch

        self._tick = tick

        self._named_stops = stop_tokens(self.tokenizer, params.stop)
        todo = [(r, j) for r in sorted(requests, key=_length) for j in range(r.n)]
        done: list[_Row] = []
        while todo:
            batch = todo[: self.batch_size]
            try:
                with torch.inference_mode():
                    done += self._batch(batch, params)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_memory(error) or self.batch_size == 1:
                    raise
                self.batch_size //= 2
                print(f"out of memory: batch_size is now {self.batch_size}", flush=True)
                continue
            todo = todo[len(batch) :]
        texts = decoded(self.tokenizer, [r.ids for r in done], stop=params.stop)
        return [
            Sampled(
                row.request.prompt_id, row.request.first_idx + row.j, row.ids, row.logprobs,
                row.finish, text,
            )
            for row, text in zip(done, texts, strict=True)
        ]  # fmt: skip

    def _batch(
        self, batch: Sequence[tuple[SampleRequest, int]], params: SamplingParams
    ) -> list[_Row]:
        import torch

        rows = [_Row(r, j, torch.Generator("cpu").manual_seed(r.seed + j)) for r, j in batch]
        live = rows
        for logits, keep in self._steps(rows):
            self._tick()
            logprobs = logits.log_softmax(-1)  # (B, V)
            tokens = _draw(logits, live, params)  # (B,)
            chosen = logprobs.gather(1, tokens[:, None])[:, 0].tolist()
            for row, token, logprob in zip(live, tokens.tolist(), chosen, strict=True):
                row.ids.append(token)
                row.logprobs.append(logprob)
                row.finish = self._finish(row, params)
            keep[:] = [i for i, row in enumerate(live) if not row.finish]
            live = [live[i] for i in keep]
        return rows

    def _steps(self, rows: list[_Row]) -> Iterator[tuple[Any, list[int]]]:
        """Next-token logits (B, V) of the rows still going; the caller fills in which go on."""
        import torch

        prompts = list({id(row.request): row.request for row in rows}.values())
        place = {id(r): i for i, r in enumerate(prompts)}
        width = max(len(r.prompt_token_ids) for r in prompts)
        pads = [width - len(r.prompt_token_ids) for r in prompts]
        # Left padding, so that every row's next token is at the same place; 0 is masked out.
        ids = torch.tensor(
            [[0] * p + r.prompt_token_ids for p, r in zip(pads, prompts, strict=True)],
            device=self.device,
        )
        mask = torch.tensor([[0] * p + [1] * (width - p) for p in pads], device=self.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)  # (B, T)
        out = self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        cache = out.past_key_values
        # Every prompt is read once; its samples share what that computed.
        pick = torch.tensor([place[id(row.request)] for row in rows], device=self.device)
        cache.batch_select_indices(pick)
        logits, mask, last = out.logits[pick, -1].float(), mask[pick], positions[pick, -1]
        while True:
            keep: list[int] = []
            yield logits, keep
            if not keep:
                return
            rows = [rows[i] for i in keep]
            pick = torch.tensor(keep, device=self.device)
            cache.batch_select_indices(pick)
            mask = torch.nn.functional.pad(mask[pick], (0, 1), value=1)
            last = last[pick] + 1
            ids = torch.tensor([[row.ids[-1]] for row in rows], device=self.device)
            out = self.model(
                input_ids=ids, attention_mask=mask, position_ids=last[:, None],
                past_key_values=cache, use_cache=True,
            )  # fmt: skip
            logits = out.logits[:, -1].float()

    def _finish(self, row: _Row, params: SamplingParams) -> str:
        if row.ids[-1] in self.stop_ids | self._named_stops:
            return "stop"
        if params.stop:
            text = self.tokenizer.decode(row.ids, skip_special_tokens=True)
            if any(s in text for s in params.stop):
                return "stop"
        full = len(row.request.prompt_token_ids) + len(row.ids) >= self.max_model_len
        return "length" if full or len(row.ids) >= params.max_tokens else ""


def _draw(logits: Any, rows: Sequence[_Row], params: SamplingParams) -> Any:
    """One token id per row, from each row's own random stream; logits are (B, V)."""
    import torch

    if params.repetition_penalty != 1.0:
        logits = _penalised(logits, rows, params.repetition_penalty)
    if params.temperature == 0:
        return logits.argmax(-1)
    probs = _filtered(logits / params.temperature, params).softmax(-1)
    noise = torch.empty_like(probs, device="cpu")
    for i, row in enumerate(rows):
        noise[i].exponential_(generator=row.generator)
    return (probs / noise.to(probs.device)).argmax(-1)


def _penalised(logits: Any, rows: Sequence[_Row], penalty: float) -> Any:
    import torch

    seen = torch.zeros_like(logits, dtype=torch.bool)
    for i, row in enumerate(rows):
        seen[i, torch.tensor(row.request.prompt_token_ids + row.ids, device=logits.device)] = True
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _filtered(logits: Any, params: SamplingParams) -> Any:
    """min-p, top-k and top-p: what is filtered out becomes -inf; logits are (B, V)."""
    if params.min_p > 0:
        probs = logits.softmax(-1)
        low = probs < params.min_p * probs.amax(-1, keepdim=True)
        logits = logits.masked_fill(low, float("-inf"))
    if 0 < params.top_k < logits.shape[-1]:
        least = logits.topk(params.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if params.top_p < 1:
        ordered, order = logits.sort(dim=-1)
        beyond = ordered.softmax(-1).cumsum(-1) <= 1 - params.top_p
        beyond[:, -1] = False  # the likeliest token always stays
        drop = beyond.scatter(1, order, beyond)
        logits = logits.masked_fill(drop, float("-inf"))
    return logits


def _with_adapter(model: Any, adapter: Path) -> Any:
    """The model with a PEFT adapter applied beside its weights, which stay as they are."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(adapter), is_trainable=False)


def _stop_ids(generation_config: Any, tokenizer: Any) -> set[int]:
    configured = getattr(generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return {int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None}


def _length(request: SampleRequest) -> tuple[int, str]:
    return len(request.prompt_token_ids), request.prompt_id


def _is_memory(error: BaseException) -> bool:
    said = str(error).lower()
    return "out of memory" in said or "can't allocate memory" in said

"""The toy engine: answers a prompt with its own letters, in no time. One token is one character.

It runs the whole walk in a second without a model, and is deterministic: the seed chooses where the
echo starts and where it ends. It also rehearses what goes wrong in a real engine: with `process:
true` it runs in a process of its own, which can be killed or stopped, and `memory: N` makes batches
of more than N samples run out of memory.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.rows import SamplingParams
from factory.sampling.engines.process import ProcessSampler, require_batch
from factory.sampling.identity import context_length
from factory.sampling.render import load_tokenizer
from factory.sampling.requests import Sampled, SampleRequest, Terms
from factory.sampling.worker import Tick, silent

_BATCH = 64
_SETTINGS = {"process", "batch_size", "memory"}


class EchoSampler:
    """Echoes token ids; the log-probability of every token is 0.

    Over a model directory the ids are that tokenizer's and the stop token is its own; without one
    they are Unicode code points, and 0 stops.
    """

    engine = "echo"
    engine_version = "1"
    batch_size: int | None = None

    def __init__(self, max_model_len: int | None = None, tokenizer: Any = None) -> None:
        self.max_model_len = max_model_len or 1 << 20
        self._tokenizer = tokenizer
        self._stop = 0 if tokenizer is None else int(tokenizer.eos_token_id)

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sampled]:
        """Echoes of all requests."""
        return [self._echo(r, j, params.max_tokens) for r in requests for j in range(r.n)]

    def close(self) -> None:
        """Nothing to end."""

    def _echo(self, request: SampleRequest, j: int, max_tokens: int) -> Sampled:
        rng = random.Random(request.seed + j)
        start = rng.randrange(max(1, len(request.prompt_token_ids)))
        heard = request.prompt_token_ids[start : start + rng.randrange(1, 65)]
        ids = [*(i for i in heard if i != self._stop), self._stop]
        reason, ids = ("stop" if len(ids) <= max_tokens else "length"), ids[:max_tokens]
        index = request.first_idx + j
        return Sampled(request.prompt_id, index, ids, [0.0] * len(ids), reason, self._text(ids))

    def _text(self, ids: Sequence[int]) -> str:
        if self._tokenizer is not None:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
        return "".join(chr(i) for i in ids if i != self._stop)


def open_engine(
    model: Path, *, settings: Mapping[str, object], terms: Terms
) -> EchoSampler | ProcessSampler:
    """An echo; of a model directory only the tokenizer and the context length are read.

    Raises:
        UserError: for a setting that it does not have, or a `batch_size` below 1.
    """
    require_batch(settings)
    unknown = settings.keys() - _SETTINGS
    if unknown:
        raise UserError(
            f"the echo engine has no setting {', '.join(sorted(unknown))}; it has "
            + ", ".join(sorted(_SETTINGS)),
            next="edit sampling.settings in the recipe",
        )
    if settings.get("process"):
        return ProcessSampler("echo", model, settings=settings, terms=terms)
    return _sampler(model, terms.max_model_len)


def _sampler(model: Path, max_model_len: int | None) -> EchoSampler:
    if not (model / "config.json").is_file():
        return EchoSampler(max_model_len)
    return EchoSampler(context_length(model, max_model_len), load_tokenizer(model))


# --- in the child --------------------------------------------------------------------------------


def preload() -> None:
    """The slow imports, before any model is named."""
    import transformers

    _ = transformers.PreTrainedTokenizerFast  # lazy; naming it imports it


def load(
    model: Path, *, settings: Mapping[str, Any], max_model_len: int | None, adapter: Path | None
) -> EchoBackend:
    """An echo in this process; an adapter changes nothing of it."""
    return EchoBackend(_sampler(model, max_model_len), settings)


class EchoBackend:
    """The echo behind the worker's protocol, in batches that may not fit."""

    version = EchoSampler.engine_version

    def __init__(self, echo: EchoSampler, settings: Mapping[str, Any]) -> None:
        self._echo = echo
        self.max_model_len = echo.max_model_len
        self.batch_size = int(settings.get("batch_size", _BATCH))
        self._memory = int(settings.get("memory", 1 << 30))

    def generate(
        self, requests: Sequence[SampleRequest], params: SamplingParams, *, tick: Tick = silent
    ) -> list[Sampled]:
        """Echoes of all requests."""
        batch = min(self.batch_size, sum(r.n for r in requests))
        if batch > self._memory:
            raise MemoryError(f"out of memory: {batch} samples where {self._memory} fit")
        tick()
        return self._echo.sample(requests, params)

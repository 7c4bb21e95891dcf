"""The toy engine: answers a prompt with its own letters, in no time. One token is one character.

It runs the whole walk in a second without a model, and is deterministic: the seed chooses where the
echo starts and where it ends.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from factory.rows import SamplingParams
from factory.sampling.base import Sampled, SampleRequest

_STOP = 0


class EchoSampler:
    """Token ids are Unicode code points; 0 is the stop token."""

    engine = "echo"
    engine_version = "1"

    def __init__(self, max_model_len: int | None = None) -> None:
        self.max_model_len = max_model_len or 1 << 20

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sampled]:
        """Echoes; the log-probability of every token is 0."""
        return [_echo(r, j, params.max_tokens) for r in requests for j in range(r.n)]

    def close(self) -> None:
        """Nothing to end."""


def _echo(request: SampleRequest, j: int, max_tokens: int) -> Sampled:
    rng = random.Random(request.seed + j)
    letters = request.prompt_token_ids[rng.randrange(max(1, len(request.prompt_token_ids))) :]
    ids = [*letters[: rng.randrange(1, 65)], _STOP]
    stopped, ids = len(ids) <= max_tokens, ids[:max_tokens]
    text = "".join(chr(i) for i in ids if 0 < i < 0xD800 or 0xDFFF < i < 0x110000)
    reason = "stop" if stopped else "length"
    return Sampled(request.prompt_id, request.first_idx + j, ids, [0.0] * len(ids), reason, text)


def open_engine(
    model: Path, *, settings: Mapping[str, object], log: Path, max_model_len: int | None
) -> EchoSampler:
    """An echo; the model directory is not looked at."""
    return EchoSampler(max_model_len)

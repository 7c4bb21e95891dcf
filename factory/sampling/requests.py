"""What a sampler is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """`n` samples of one prompt; sample j of it has index `first_idx + j` and seed `seed + j`."""

    prompt_id: str
    prompt_token_ids: list[int]
    first_idx: int
    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """One completion as the engine produced it.

    `token_ids` holds every sampled id, the sampled stop token included. `logprobs` are natural logs
    of the sampled tokens under the unmodified distribution (temperature 1, before top-p, top-k,
    min-p and penalties), or None where the engine has none. `text` skips special tokens.
    """

    prompt_id: str
    sample_idx: int
    token_ids: list[int]
    logprobs: list[float] | None
    finish_reason: str
    text: str

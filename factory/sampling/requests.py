"""What a sampler is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from factory.errors import UserError

if TYPE_CHECKING:
    from factory.recipe import Price
    from factory.store import Ledger


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """`n` samples of one prompt; sample j of it has index `first_idx + j` and seed `seed + j`."""

    prompt_id: str
    prompt_token_ids: list[int]
    first_idx: int
    n: int
    seed: int
    messages: tuple[Mapping[str, str], ...] = ()
    """What the ids were rendered from, for servers that take no ids."""

    def told(self) -> list[Mapping[str, str]]:
        """The messages, for a server that takes no ids.

        Raises:
            UserError: when it was never messages, as the beginning of a user's turn.
        """
        if not self.messages:
            raise UserError(
                "the server is told messages, and what is asked has none: it goes on from the "
                "model's own template",
                next="--set sampling.settings.api=completions  # or another maker or engine",
            )
        return list(self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where an engine's calls to servers are written, and what pays for them."""

    ledger: Ledger
    model_id: str
    run_id: str
    budget_id: str | None = None
    price: Price | None = None
    """Where the engine's own settings say none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an engine is opened, beside its own settings."""

    log: Path
    """Where the engine's own output goes, appended."""
    max_model_len: int | None = None
    """Longest prompt plus completion in tokens; None leaves it to the model."""
    adapter: Path | None = None
    """A PEFT adapter directory on top of the model."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to the environment of the engine's process: the GPUs that it may see."""
    stall_s: float = 900.0
    """Seconds without a step of the engine, inside a batch, after which it counts as hung."""
    start_s: float = 3600.0
    """Seconds that loading the model may take."""
    stop: Event | None = None
    """Set by whoever wants a model that is being loaded to be given up."""
    account: Account | None = None
    """Of engines that call servers."""


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
    retokenised: bool = False
    """The ids are a tokenizer's reading of the text, not what was sampled."""
    call_id: str = ""
    """The call in the ledger whose answer it is, where a server was asked."""

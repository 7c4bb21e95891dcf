"""Preference losses as pure functions of log-probabilities.

Every function takes summed completion log-probabilities and lengths of a batch of pairs and returns
one loss per pair; averaging, weighting and logging are the trainer's. Sources: DPO (arXiv
2305.18290), length-normalised DPO (Tulu 3, arXiv 2411.15124, section 5), IPO (arXiv 2310.12036,
averaged per token as its authors confirmed to TRL), SimPO (arXiv 2405.14734), hinge (SLiC, arXiv
2305.10425), cDPO (arXiv 2305.18290, appendix; label smoothing) and robust DPO (arXiv 2403.00409),
offsets (ODPO, arXiv 2402.10571).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PairLogps:
    """A batch of pairs. Log-probabilities are sums over completion tokens in nats; all are (B,)."""

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor
    ref_rejected: Tensor
    n_chosen: Tensor
    n_rejected: Tensor


def summed_ratio(x: PairLogps) -> Tensor:
    """How much more than the reference the policy prefers chosen, over whole completions. (B,)."""
    return (x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected)


def mean_ratio(x: PairLogps) -> Tensor:
    """The same per token: each side divided by its own length. (B,)."""
    return (x.chosen - x.ref_chosen) / x.n_chosen - (x.rejected - x.ref_rejected) / x.n_rejected


def logistic(logits: Tensor, *, smoothing: float = 0.0, robust: bool = False) -> Tensor:
    """-log sigmoid with label noise: cDPO's mixture, or the unbiased robust estimate. (B,)."""
    clean, flipped = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    if robust:
        return ((1 - smoothing) * clean - smoothing * flipped) / (1 - 2 * smoothing)
    return (1 - smoothing) * clean + smoothing * flipped


def dpo(
    x: PairLogps, *, beta: float, offset: Tensor | float = 0.0, smoothing: float = 0.0,
    robust: bool = False,
) -> Tensor:  # fmt: skip
    """Direct preference optimisation over whole completions."""
    return logistic(beta * summed_ratio(x) - offset, smoothing=smoothing, robust=robust)


def dpo_norm(
    x: PairLogps, *, beta: float, offset: Tensor | float = 0.0, smoothing: float = 0.0,
    robust: bool = False,
) -> Tensor:  # fmt: skip
    """Length-normalised DPO: both log ratios are means per token."""
    return logistic(beta * mean_ratio(x) - offset, smoothing=smoothing, robust=robust)


def simpo(
    x: PairLogps, *, beta: float, offset: Tensor | float = 0.0, smoothing: float = 0.0,
    robust: bool = False,
) -> Tensor:  # fmt: skip
    """SimPO: mean log-probabilities without a reference; `offset` is its gamma."""
    logits = beta * (x.chosen / x.n_chosen - x.rejected / x.n_rejected) - offset
    return logistic(logits, smoothing=smoothing, robust=robust)


def ipo(
    x: PairLogps, *, beta: float, offset: Tensor | float = 0.0, smoothing: float = 0.0,
    robust: bool = False,
) -> Tensor:  # fmt: skip
    """Identity preference optimisation on per-token means, target gap 1/(2 beta) + offset."""
    del smoothing, robust
    return (mean_ratio(x) - 1 / (2 * beta) - offset) ** 2


def hinge(
    x: PairLogps, *, beta: float, offset: Tensor | float = 0.0, smoothing: float = 0.0,
    robust: bool = False,
) -> Tensor:  # fmt: skip
    """SLiC's hinge on DPO's reward gap."""
    del smoothing, robust
    return torch.relu(1 - (beta * summed_ratio(x) - offset))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "dpo": dpo, "dpo_norm": dpo_norm, "ipo": ipo, "simpo": simpo, "hinge": hinge,
}  # fmt: skip
"""Every loss by its name in the recipe, with one signature."""

PER_TOKEN = frozenset({"dpo_norm", "ipo", "simpo"})
"""Losses whose optimised quantity is a mean per token."""


def rewards(x: PairLogps, *, beta: float) -> dict[str, Tensor]:
    """Implicit rewards of both kinds, labelled, each (B,).

    Summed and per-token rewards differ by the completion's length. A dashboard that shows one while
    the loss optimises the other misleads, so both are always reported.
    """
    chosen, rejected = x.chosen - x.ref_chosen, x.rejected - x.ref_rejected
    mean_chosen, mean_rejected = chosen / x.n_chosen, rejected / x.n_rejected
    return {
        "rewards_sum/chosen": beta * chosen,
        "rewards_sum/rejected": beta * rejected,
        "rewards_sum/margin": beta * (chosen - rejected),
        "rewards_sum/accuracy": (chosen > rejected).float(),
        "rewards_per_token/chosen": beta * mean_chosen,
        "rewards_per_token/rejected": beta * mean_rejected,
        "rewards_per_token/margin": beta * (mean_chosen - mean_rejected),
        "rewards_per_token/accuracy": (mean_chosen > mean_rejected).float(),
    }

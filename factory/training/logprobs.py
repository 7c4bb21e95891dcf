"""Log-probabilities of completion tokens without the logits of everything else.

The backbone runs once; only hidden states that predict a completion token meet the LM head, in
checkpointed chunks. At a vocabulary of 128k, float32 logits cost half a megabyte a token, so whole
logits of a long pair would be gigabytes per copy.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

SCORER = "chunked-head-1"
"""Version of this computation. Part of every stored reference log-probability's key."""


def pad_rows(rows: Sequence[Sequence[int]], *, prompt_lengths: Sequence[int]) -> dict[str, Tensor]:
    """Right-padded batch of prompt + completion rows.

    Masks come from lengths alone: the pad id may equal the stop id, which must stay trained.

    Returns:
        input_ids, attention_mask, completion_mask, each (B, T).
    """
    lengths = torch.tensor([len(row) for row in rows])
    starts = torch.tensor(list(prompt_lengths))
    width = int(lengths.max())
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        input_ids[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
    at = torch.arange(width)[None]
    inside = at < lengths[:, None]
    return {
        "input_ids": input_ids,
        "attention_mask": inside.long(),
        "completion_mask": inside & (at >= starts[:, None]),
    }


def install(model: PreTrainedModel, *, chunk: int) -> None:
    """Teach a causal LM to answer `completion_mask=` with per-token log-probabilities.

    The model's own `forward` is replaced on the instance, so that DDP and FSDP wrappers, autocast
    and adapters see an ordinary call of the module. Calls without `completion_mask` behave as
    before. With it the answer is (B, T - 1): log p of token t + 1, zero outside the completion.
    """
    plain = model.forward
    exact = _head_is_plain(model)

    @functools.wraps(plain)
    def forward(
        self: PreTrainedModel,
        *args: object,
        completion_mask: Tensor | None = None,
        **kwargs: object,
    ) -> object:
        if completion_mask is None:
            return plain(*args, **kwargs)
        targets = completion_mask[:, 1:]
        ids = kwargs["input_ids"]
        assert isinstance(ids, Tensor)
        kwargs.update(use_cache=False)
        for unused in ("labels", "return_dict", "inputs_embeds", "output_attentions",
                       "output_hidden_states"):  # fmt: skip
            kwargs.pop(unused, None)  # peft's wrapper always passes these
        labels = ids[:, 1:][targets]
        if exact:
            hidden = self.base_model(**kwargs).last_hidden_state[:, :-1][targets]
            head = self.get_output_embeddings()
            assert head is not None
            out = _chunked(head, hidden, labels, chunk=chunk)
        else:
            logits = plain(**kwargs).logits[:, :-1][targets]
            out = _gathered(logits, labels)
        per_token = torch.zeros(targets.shape, dtype=out.dtype, device=out.device)
        return per_token.masked_scatter(targets, out)

    model.forward = types.MethodType(forward, model)


def _gathered(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.log_softmax(logits.float(), dim=-1).gather(-1, labels[:, None])[:, 0]


def _chunked(head: nn.Module, hidden: Tensor, labels: Tensor, *, chunk: int) -> Tensor:
    """Log p of each label from its hidden state, (N, H) and (N,) to (N,)."""

    def score(states: Tensor, wanted: Tensor) -> Tensor:
        return _gathered(head(states), wanted)

    if len(labels) <= chunk:
        return score(hidden, labels)
    parts: list[Tensor] = []
    for states, wanted in zip(hidden.split(chunk), labels.split(chunk), strict=True):
        if torch.is_grad_enabled():
            parts.append(checkpoint(score, states, wanted, use_reentrant=False))
        else:
            parts.append(score(states, wanted))
    return torch.cat(parts)


@torch.no_grad()
def _head_is_plain(model: PreTrainedModel) -> bool:
    """Whether logits are exactly the head of the last hidden state.

    Some families scale or soft-cap logits after the head. Asking the model itself on four tokens
    finds them all, known or not; they take the slower path through the model's own logits.
    """
    ids = torch.arange(4, device=model.device)[None] % model.config.get_text_config().vocab_size
    training = model.training
    model.eval()
    try:
        wanted = model(input_ids=ids).logits
        hidden = model.base_model(input_ids=ids).last_hidden_state
        head = model.get_output_embeddings()
        assert head is not None
        got = head(hidden)
    except (AssertionError, AttributeError, TypeError):
        return False
    finally:
        model.train(training)
    return wanted.shape == got.shape and torch.allclose(wanted, got, atol=1e-4, rtol=1e-4)


def without_dropout(model: nn.Module) -> None:
    """Set every dropout of a model to zero: policy and reference must be the same function."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)

"""What of a server's answer is kept: the choices that were asked for, in a shape that can be read.

The ledger stores this, and rows are made from it: an answer from the ledger gives the row that it
would have given on the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.errors import UserError
from factory.sampling.requests import SampleRequest

_OF_IDS = ("index", "finish_reason", "token_ids")


def kept(
    answer: Mapping[str, Any], *, request: SampleRequest, n: int, chat: bool
) -> dict[str, Any] | None:
    """`{"chat": …, "choices": […]}`, or None where it is not what `n` samples look like.

    Raises:
        UserError: when the server says that it read another prompt.
    """
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        return None
    if chat:
        if not choices or not isinstance(choices[0].get("message"), dict):
            return None
        content = {"content": choices[0]["message"].get("content")}
        finish = choices[0].get("finish_reason")
        return {"chat": True, "choices": [{"message": content, "finish_reason": finish}]}
    indices = [c.get("index") for c in choices]
    if len(indices) != n or any(i not in indices for i in range(n)):
        return None
    for choice in choices:
        ids = choice.get("token_ids")
        if ids is not None and not (isinstance(ids, list) and all(type(t) is int for t in ids)):
            return None
        heard = choice.get("prompt_token_ids")
        if heard is not None and heard != request.prompt_token_ids:
            raise UserError(
                "the server answered another prompt than it was given (it adds or cuts tokens)",
                next="see the server's own template and truncation settings",
            )
    return {"chat": False, "choices": [_choice(c) for c in choices]}


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice without what its token ids say already."""
    if choice.get("token_ids") is None:
        said = choice.get("message") or {}
        text = choice.get("text") or (said.get("content") if isinstance(said, dict) else None)
        return {"index": choice["index"], "finish_reason": choice.get("finish_reason"),
                "text": text}  # fmt: skip
    logprobs = choice.get("logprobs")
    each = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
    if not isinstance(each, list) or not all(isinstance(x, int | float | None) for x in each):
        each = None
    return {name: choice.get(name) for name in _OF_IDS} | {"logprobs": {"token_logprobs": each}}

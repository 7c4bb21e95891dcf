"""What an endpoint sent -> a `Reply`. Pure; whatever came, it ends as a typed reply."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.judging.outcomes import Reply, storable
from factory.recipe import Endpoint, Price

MAX_TEXT = 200_000
"""Characters of an answer that are kept. No judge is asked for more; a server may send it."""
UNLIMITED_TOKENS = 16_384
"""What a call without a token limit is taken to write at most."""
BYTES_A_TOKEN = 4
"""Of usual text; only for estimates and limits, never for a reservation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the endpoint counted them."""

    tokens_in: int
    tokens_out: int
    cached: int = 0


def read_body(body: bytes) -> tuple[Reply, Usage | None]:
    """The reply in the body of a chat completion with status 200.

    A body that is no chat completion with one choice gives a reply with `error`.
    """
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        start = body[:200].lstrip().lower()
        return Reply(error="html" if start.startswith(b"<") else "not_json"), None
    return read_value(value)


def read_value(value: Any) -> tuple[Reply, Usage | None]:
    """The reply in a chat completion that is JSON already, as a line of a batch has it."""
    if not isinstance(value, dict):
        return Reply(error="not_a_completion"), None
    usage = _usage(value.get("usage"))
    choices = value.get("choices")
    if not isinstance(choices, list):
        return Reply(error="error_in_200" if "error" in value else "not_a_completion"), usage
    if len(choices) != 1:
        return Reply(error="no_choice" if not choices else "several_choices"), usage
    try:
        return _choice(choices[0], value, usage), usage
    except (TypeError, ValueError, KeyError, AttributeError):
        return Reply(error="not_a_completion"), usage


_FENCE = re.compile(r"<<<(?:END )?[A-Z][A-Z ]{0,30} ([0-9a-f]{12})>>>")


def is_of_another(reply: Reply, body: Mapping[str, Any]) -> bool:
    """Whether a reply quotes a text that its call did not show: a gateway mixed two answers up.

    The lines around each text carry a tag made from the text, so a quotation says whose it is.
    """
    tags = set(_FENCE.findall(reply.text)) if "<<<" in reply.text else set()
    asked = "".join(message["content"] for message in body["messages"]) if tags else ""
    return any(tag not in asked for tag in tags)


def read_error(body: bytes) -> tuple[str, str]:
    """The code and the words of an answer that is no 200; empty code where it names none."""
    text = body[:2000].decode("utf-8", "replace")
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", text
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", str(error)
    return str(error.get("code") or ""), str(error.get("message") or text)


def _choice(choice: Any, value: dict[str, Any], usage: Usage | None) -> Reply:
    message = choice["message"]
    content, refusal = message.get("content"), message.get("refusal")
    if content is not None and not isinstance(content, str):
        raise TypeError("content is not text")
    text = storable(content or "")
    finish = str(choice.get("finish_reason") or "stop")
    return Reply(
        text=text[:MAX_TEXT],
        finish_reason="length" if len(text) > MAX_TEXT else finish,
        refusal=storable(refusal)[:MAX_TEXT] if isinstance(refusal, str) and refusal else None,
        top_logprobs=_logprobs(choice.get("logprobs")),
        model=storable(str(value.get("model") or ""))[:200],
        tokens_in=usage.tokens_in if usage else None,
        tokens_out=usage.tokens_out if usage else None,
    )


def _logprobs(value: Any) -> list[list[list[object]]] | None:
    """Per token the top tokens with their log-probabilities, of the first 32 tokens."""
    if not isinstance(value, dict) or not value.get("content"):
        return None
    return [
        [[storable(str(top["token"])), float(top["logprob"])] for top in token["top_logprobs"]]
        for token in value["content"][:32]
    ]


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    counts = [value.get("prompt_tokens"), value.get("completion_tokens", 0), cached or 0]
    known = [n for n in counts if isinstance(n, int) and 0 <= n < 1 << 40]
    if len(known) < 3:
        return None
    return Usage(tokens_in=known[0], tokens_out=known[1], cached=known[2])


# --- prices, in integer micro-dollars ------------------------------------------------------------


def cost_of(usage: Usage, endpoint: Endpoint) -> int:
    """The price of a call, rounded up. Dollars per million tokens are micro-dollars per token."""
    price = endpoint.price or Price()
    cached = min(usage.cached, usage.tokens_in) if price.cached_input is not None else 0
    total = (
        (usage.tokens_in - cached) * price.input
        + cached * (price.cached_input or 0.0)
        + usage.tokens_out * price.output
    )
    share = price.batch if endpoint.mode == "batch" else 1.0
    return math.ceil(round(total * share, 6))


_SHOWN = ("response_format", "tools")
"""What a model is shown besides the messages, and what is billed with them."""


def most_it_can_cost(body: Mapping[str, Any], endpoint: Endpoint) -> int:
    """An upper bound of a call's price, before it is made.

    A byte-level tokenizer makes no more tokens than the text has bytes; a chat template adds a few
    per message.
    """
    shown = [body[name] for name in _SHOWN if name in body]
    size = _bytes(body) + 16 * len(body["messages"]) + 64
    size += sum(len(json.dumps(value, ensure_ascii=False).encode()) for value in shown)
    return cost_of(Usage(tokens_in=size, tokens_out=_most_written(body)), endpoint)


def tokens_of(body: Mapping[str, Any]) -> int:
    """About how many tokens a call uses at most, as vendors count for their limits per minute."""
    return _bytes(body) // BYTES_A_TOKEN + _most_written(body)


def _bytes(body: Mapping[str, Any]) -> int:
    return sum(len(m["content"].encode("utf-8", "replace")) for m in body["messages"])


def _most_written(body: Mapping[str, Any]) -> int:
    limits = [int(body[name]) for name in ("max_tokens", "max_completion_tokens") if body.get(name)]
    return max(limits, default=UNLIMITED_TOKENS)

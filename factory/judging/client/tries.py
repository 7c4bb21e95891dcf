"""What one try of a paid call came to, as a value, and as the ledger keeps it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from factory.judging.outcomes import Reply
from factory.store import CallResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """What one try came to."""

    reply: Reply
    cost: int
    """Micro-dollars; what it may have cost where nobody knows."""
    http_status: int | None
    latency_ms: float
    again: bool
    """Whether another try may help."""
    free: bool = False
    """Whether it does not count as a try: the key was at fault, and there is another one."""
    tokens: int = 0
    wait: float | None = None
    """Seconds that the server asks to wait."""
    message: str = ""


def failed_try(
    reply: Reply,
    *,
    cost: int,
    again: bool = False,
    started: float | None = None,
    wait: float | None = None,
    message: str = "",
    status: int | None = None,
) -> Try:
    """A try without an answer; `started` is its beginning on the performance counter."""
    latency = 0.0 if started is None else (time.perf_counter() - started) * 1000
    return Try(
        reply=reply,
        cost=cost,
        http_status=status,
        latency_ms=latency,
        again=again,
        wait=wait,
        message=message,
    )


def said(tried: Try) -> str:
    """The server's words, as the end of a sentence."""
    return f": {tried.message}" if tried.message else ""


def result_of(call_id: str, tried: Try) -> CallResult:
    """What the ledger keeps of a try."""
    reply = tried.reply
    return CallResult(
        call_id=call_id,
        state="failed" if reply.error else "done",
        outcome=reply.error or "ok",
        http_status=tried.http_status,
        response=None if reply.error else reply.dumps(),
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        cost_microusd=tried.cost,
        latency_ms=tried.latency_ms,
        error=tried.message or None,
    )

"""A server's calls in the ledger: before they leave and when they return (law 9).

A call is what it asks for (model, prompt, parameters, which samples, seed) and never whom: its id
is the idempotency key, the same at every URL and after a crash. An answer that is in the ledger is
used and not paid again; it is kept until its rows have been in the lake for a day. What a dead
process left in flight is sent again or held, as `in_doubt` says; either way its price counts as
spent.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from factory.errors import Stopped, UserError
from factory.recipe import Price
from factory.rows import SamplingParams, content_id
from factory.sampling.requests import Account, SampleRequest
from factory.sampling.wire import Answer, Posted
from factory.store.calls import CallIntent, CallResult
from factory.store.database import owner_is_dead
from factory.store.journal import Journal

KIND = "sample"
UNPRICED = Price(source="none")
_LOOK_AGAIN_S = 1.0
_MOST_TOKENS = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Samples that are asked for in one HTTP request."""

    call_id: str
    tokens_in: int
    """At most."""
    tokens_out: int
    """At most."""
    keep: Callable[[Answer], Answer | None]
    """What is kept of an answer, or None where it is not whole. UserError: of another prompt."""


def call_id_of(
    model_id: str, request: SampleRequest, params: SamplingParams, *, j: int, n: int
) -> str:
    """The id of the call for samples `j` to `j + n - 1` of a request."""
    asked = [request.first_idx + j, n, request.seed + j]
    return content_id("sample-call", [model_id, request.prompt_token_ids, params.params_id, asked])


def most_read(request: SampleRequest, *, chat: bool) -> int:
    """Tokens of a prompt at most; a chat is read by the server's own tokenizer and template."""
    if not chat:
        return len(request.prompt_token_ids)
    # No tokenizer makes more tokens than a text has bytes; a template adds a few a message.
    texts = [str(m.get("content", "")).encode("utf-8", "replace") for m in request.messages]
    return max(len(request.prompt_token_ids), sum(map(len, texts))) + 16 * len(texts) + 64


class PaidCalls:
    """One account's calls, for the coroutines of one event loop. Close it: that writes the rest."""

    def __init__(self, account: Account, *, price: Price, model: str, hold: bool) -> None:
        self._account = account
        self._model = model
        self._price = price
        self._hold = hold
        self._journal = Journal(account.ledger, budget_id=account.budget_id)
        self.model_id = account.model_id
        self.priced = price.input > 0 or price.output > 0

    async def start(self) -> None:
        """Find what dead processes left in flight, and drop answers that nobody needs any more."""
        await self._find_dead()
        await asyncio.to_thread(self._account.ledger.forget_answers)

    async def _find_dead(self) -> None:
        await asyncio.to_thread(self._account.ledger.mark_in_doubt, is_dead=owner_is_dead)

    async def close(self) -> None:
        """Write everything that is waiting."""
        await self._journal.close()

    async def ask(
        self, call: Call, post: Callable[[Mapping[str, str]], Awaitable[Posted]], *, url: str,
        patience_s: float,
    ) -> Posted:  # fmt: skip
        """Send a call, or take its answer from the ledger.

        Args:
            call: what is asked.
            post: sends it with some headers more.
            url: where to, for the ledger.
            patience_s: how long another process that has sent the same call is waited for.

        Raises:
            BudgetExhausted: when its price cannot fit any more; it was not sent.
            Stopped: when it is held, or still with another process.
            UserError: when the answer is one to another prompt.
        """
        reserve = self._cost(call.tokens_in, call.tokens_out)
        kept = await self._claim(call, url=url, reserve=reserve, patience_s=patience_s)
        if kept is not None:
            return 200, kept, None
        started = time.perf_counter()
        try:
            status, answer, wait = await post({"Idempotency-Key": call.call_id})
        except BaseException:
            # It may have been billed: its price counts as spent.
            lost = CallResult(
                call_id=call.call_id, state="failed", outcome="cancelled", cost_microusd=reserve
            )
            self._journal.finish_later(lost)
            raise
        said: dict[str, Any] = {
            "call_id": call.call_id,
            "http_status": status or None,
            "latency_ms": (time.perf_counter() - started) * 1000,
        }
        if status != 200:
            cost = reserve if answer.get("may_be_billed") else 0
            outcome = f"http_{status}" if status else "no_answer"
            words = str(answer.get("error", ""))
            await self._journal.finish(
                CallResult(**said, state="failed", outcome=outcome, cost_microusd=cost, error=words)
            )
            return status, answer, wait
        said |= self._bill(answer, reserve)
        try:
            whole = call.keep(answer)
        except UserError as refused:
            await self._journal.finish(
                CallResult(**said, state="failed", outcome="other_prompt", error=refused.message)
            )
            raise
        if whole is None:
            await self._journal.finish(CallResult(**said, state="failed", outcome="malformed"))
            return 200, {}, wait
        text = json.dumps(whole, separators=(",", ":"))
        await self._journal.finish(CallResult(**said, state="done", outcome="ok", response=text))
        return 200, whole, wait

    async def _claim(
        self, call: Call, *, url: str, reserve: int, patience_s: float
    ) -> Answer | None:
        """The ledger's answer, or None: the call is written and ours to send."""
        intent = CallIntent(
            call_id=call.call_id, kind=KIND, endpoint=without_secrets(url), model=self._model,
            request_hash=call.call_id, reserve_microusd=reserve, run_id=self._account.run_id,
            price=self._price.source,
        )  # fmt: skip
        call_id, until = call.call_id, time.monotonic() + patience_s
        while not await self._journal.send(intent):
            row = (await self._journal.calls([call_id])).get(call_id)
            state = row.state if row else ""
            if row is not None and state == "done":
                if row.response is not None:
                    return json.loads(row.response)
                # Its rows were in the lake once, and are not any more.
                await asyncio.to_thread(self._account.ledger.ask_again, [call_id])
            if state in {"in_doubt", "held"}:
                await self._decide(call_id, held=state == "held")
            elif state == "sent":
                await self._wait(until)
        return None

    async def _decide(self, call_id: str, *, held: bool) -> None:
        ledger = self._account.ledger
        if not held:
            await asyncio.to_thread(ledger.release_in_doubt, [call_id], hold=self._hold)
        elif not self._hold:
            await asyncio.to_thread(ledger.resend_held, [call_id])
        if self._hold:
            raise Stopped(
                f"a call to {self._model} is held: it left with a process that died, so it may "
                "have been billed",
                next='prefactory sql "from in_doubt"  # then --set sampling.settings.in_doubt='
                "resend, or edit the model's file",
            )

    async def _wait(self, until: float) -> None:
        if time.monotonic() > until:
            raise Stopped(
                f"another process has sent a call to {self._model} that is needed here too, and "
                "has no answer yet",
                next='prefactory sql "from in_doubt"  # type the same command again later',
            )
        await asyncio.sleep(_LOOK_AGAIN_S)
        await self._find_dead()  # its owner may have died meanwhile

    def _bill(self, answer: Answer, reserve: int) -> dict[str, Any]:
        found = _usage(answer)
        if found is None:
            return {"cost_microusd": reserve}
        tokens_in, tokens_out, cached = found
        cost = self._cost(tokens_in, tokens_out, cached=cached)
        return {"tokens_in": tokens_in, "tokens_out": tokens_out, "cost_microusd": cost}

    def _cost(self, tokens_in: int, tokens_out: int, *, cached: int = 0) -> int:
        """Micro-dollars, rounded up: dollars per million tokens are micro-dollars per token."""
        price = self._price
        cheaper = min(cached, tokens_in) if price.cached_input is not None else 0
        total = (tokens_in - cheaper) * price.input + tokens_out * price.output
        return math.ceil(round(total + cheaper * (price.cached_input or 0.0), 6))


def _usage(answer: Answer) -> tuple[int, int, int] | None:
    """Tokens as the server counted them: of the prompt, written, and of the prompt cached."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    found = [usage.get("prompt_tokens"), usage.get("completion_tokens"), cached or 0]
    counts = [n for n in found if type(n) is int and 0 <= n < _MOST_TOKENS]
    return (counts[0], counts[1], counts[2]) if len(counts) == len(found) else None


def without_secrets(url: str) -> str:
    """A URL as it may be written down: without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"

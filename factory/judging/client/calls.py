"""The paid-call client: chat completions of any OpenAI-compatible server, none of them lost.

Each try of each call is in the ledger before it leaves and when it returns (law 9). Calls carry
their id as an idempotency key, so a vendor that knows such keys bills a repeated call once. A call
that keeps failing becomes a reply with `error`; an endpoint that cannot be used at all stops the
run, which goes on from there when it can.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from factory.errors import FactoryError, Stopped
from factory.judging.client.keys import Keys
from factory.judging.client.limits import Limits
from factory.judging.client.pace import LONGEST_PAUSE, Pace, backoff, retry_after
from factory.judging.client.replies import (
    cost_of,
    is_of_another,
    most_it_can_cost,
    read_body,
    read_error,
    tokens_of,
)
from factory.judging.client.tries import Try, failed_try, result_of, said
from factory.judging.client.wire import Answered, Broken, Wire
from factory.judging.outcomes import Reply
from factory.recipe import Endpoint
from factory.rows import content_id
from factory.store import CallIntent, CallRow, Ledger
from factory.store.journal import Journal

FIRST_CONTACT_TRIES = 3
MALFORMED_TRIES = 3
"""A 200 with nonsense was probably billed: it is not repeated as often as a refusal."""
FAILURES_IN_A_ROW = 50
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_CROWDED = frozenset({429, 503, 529})
FLAGGED = "http_403_flagged"
"""A 403 under a key that others are answered with: vendors refuse single texts so, and one hostile
completion must not end a run."""
_ELSEWHERE = frozenset({"http_301", "http_302", "http_303", "http_307", "http_308"})
_KEY_REFUSED = frozenset({"http_401", "http_403", "http_402", "no_quota"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. Its id is the request itself: two equal requests are one call."""

    call_id: str
    body: Mapping[str, Any]

    def sent(self) -> bytes:
        """The body as it goes over the wire."""
        text = json.dumps(self.body, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def call_of(body: Mapping[str, Any], *, replicate: int = 0, revision: str | None = None) -> Call:
    """A call from the body of its request, and what stands behind the model that it names."""
    asked = [body, replicate] if revision is None else [body, replicate, revision]
    return Call(call_id=content_id("call", asked), body=body)


def intent_of(call: Call, endpoint: Endpoint, run_id: str) -> CallIntent:
    """A call as the ledger has it before it leaves, with the most that it can cost."""
    return CallIntent(
        call_id=call.call_id,
        kind="chat",
        endpoint=endpoint.url,
        model=endpoint.model,
        request_hash=call.call_id,
        reserve_microusd=most_it_can_cost(call.body, endpoint),
        price=endpoint.price.source if endpoint.price else "",
        run_id=run_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call came to."""

    reply: Reply | None
    """None when another process has the call, or its fate is unknown and it is held."""
    cost_microusd: int = 0
    latency_ms: float | None = None
    kept: bool = False
    """Taken from the ledger: another process, or an earlier one, asked and paid."""


def kept_answer(row: CallRow) -> Answer:
    """The answer of a call that is done, with what it cost whoever asked."""
    reply = Reply.loads(row.response) if row.response else Reply(error="empty_in_ledger")
    return Answer(
        reply=reply, cost_microusd=row.cost_microusd, latency_ms=row.latency_ms, kept=True
    )


class Client:
    """One endpoint, asked from one event loop. Close it: that writes what is waiting."""

    def __init__(
        self, endpoint: Endpoint, *, name: str, ledger: Ledger, budget_id: str | None, run_id: str
    ) -> None:
        # Single calls have the full price, whatever the recipe has its judges do.
        self.endpoint = endpoint.model_copy(update={"mode": "online"})
        self.name = name
        self.run_id = run_id
        self.pace = Pace(most=endpoint.max_concurrency)
        self._keys = Keys(endpoint.api_keys())
        self._limits = Limits(
            ledger,
            name=f"{endpoint.url} {endpoint.model}",
            rpm=endpoint.rpm,
            tpm=endpoint.tpm,
        )
        self._journal = Journal(ledger, budget_id=budget_id)
        self._wire = Wire(endpoint.url, timeout_s=endpoint.timeout_s, most=endpoint.max_concurrency)
        self._running: dict[str, asyncio.Task[Answer]] = {}
        self._stop: FactoryError | None = None
        self._stopped = asyncio.Event()
        self._reached = False
        self._failures = 0

    def stop(self) -> None:
        """Send nothing more. What is in flight comes back and is kept."""
        if self._stop is None:
            self._stopping(": stopped")

    async def close(self) -> None:
        """Close connections and write everything that is waiting."""
        await self._wire.close()
        await self._limits.close()
        await self._journal.close()

    async def ask_all(self, calls: Sequence[Call]) -> list[Answer | BaseException]:
        """The answers to calls, in their order; an error stands where there is none."""
        return await asyncio.gather(*(self.ask(call) for call in calls), return_exceptions=True)

    async def resume(self) -> None:
        """Nothing is left open by single calls; batches are another matter."""

    async def ask(self, call: Call) -> Answer:
        """The answer to a call. Equal calls that run at once share one request.

        Raises:
            Stopped: when the endpoint cannot be used, or the budget is used up.
        """
        running = self._running.get(call.call_id)
        if running is None:
            running = asyncio.create_task(self._ask(call))
            self._running[call.call_id] = running
            running.add_done_callback(lambda _: self._running.pop(call.call_id, None))
        return await running

    async def _ask(self, call: Call) -> Answer:
        intent = intent_of(call, self.endpoint, self.run_id)
        spent, tries = 0, 0
        while True:
            tried = await self._try(call, intent)
            if tried is None:
                return await self._kept(call.call_id)
            tries += 0 if tried.free else 1
            spent += tried.cost
            if not tried.reply.error:
                self._failures = 0
                return Answer(reply=tried.reply, cost_microusd=spent, latency_ms=tried.latency_ms)
            self._judge_failure(tried, tries)
            if not tried.again or tries >= self._tries_for(tried):
                self._count_failure(tried)
                return Answer(reply=tried.reply, cost_microusd=spent, latency_ms=tried.latency_ms)
            await self._rest(backoff(tries) if tried.wait is None else tried.wait)

    async def _try(self, call: Call, intent: CallIntent) -> Try | None:
        """One try, in the ledger before and after; None when the call is not ours to send."""
        generation = await self.pace.enter()
        try:
            tokens = tokens_of(call.body)
            if not await self._may_leave(intent, tokens):
                return None
            key = self._keys.pick()
            try:
                tried = await self._post(call, self._keys[key], reserve=intent.reserve_microusd)
            except BaseException:
                # Cancelled in flight: it may have been billed, so its price counts as spent.
                lost = failed_try(Reply(error="cancelled"), cost=intent.reserve_microusd)
                self._journal.finish_later(result_of(call.call_id, lost))
                raise
            self._limits.used(tried.tokens, taken=tokens)
            tried = self._adapt(tried, generation, key)
            self._fatal(tried)  # before the place is given on: the next call must not leave
        finally:
            self.pace.leave()
        await self._journal.finish(result_of(call.call_id, tried))
        return tried

    async def _may_leave(self, intent: CallIntent, tokens: int) -> bool:
        """Wait for the limits and the budget; whether the call is now ours, and in the ledger.

        Raises:
            FactoryError: why the run was stopped, or is stopped by this.
        """
        until = await self._limits.turn(tokens)
        self._go_on()
        try:
            ours = await self._journal.send(intent)
        except FactoryError as refused:
            self._end(refused)
            raise
        if ours:
            await self._leave_or_never(intent.call_id, tokens, until=until)
        self._go_on()
        return ours

    async def _leave_or_never(self, call_id: str, tokens: int, *, until: float) -> None:
        """Have a call of ours leave while its turn lasts; after the stop it never does."""
        never = result_of(call_id, failed_try(Reply(error="cancelled"), cost=0))
        try:
            await self._limits.leave(tokens, until=until)
        except BaseException:
            self._journal.finish_later(never)
            raise
        if self._stop is not None:  # it waited for the budget, or for another turn, meanwhile
            await self._journal.finish(never)

    def _go_on(self) -> None:
        if self._stop is not None:
            raise self._stop

    async def _rest(self, seconds: float) -> None:
        """Wait before another try, and no longer than until the run is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), min(seconds, LONGEST_PAUSE))
        self._go_on()

    def _adapt(self, tried: Try, generation: int, key: int) -> Try:
        """Go faster or slower by what a try came to; with several keys, use another one."""
        if not tried.reply.error:
            self._reached = True
            self._keys.worked(key)
            self.pace.grow()
            return tried
        if tried.reply.error == "http_403":
            about_text = self._keys.about_text(key)
            if about_text is not False:
                return replace(tried, reply=Reply(error=FLAGGED), again=about_text is None)
        if len(self._keys) > 1 and tried.reply.error in _KEY_REFUSED:
            return (
                replace(tried, again=True, free=True, wait=0.0)
                if self._keys.refused(key)
                else tried
            )
        if len(self._keys) > 1 and tried.http_status == 429:
            wait = self._keys.crowded(key, tried.wait)
            if wait is None:
                return replace(tried, wait=0.0)
            tried = replace(tried, wait=wait)
        if tried.http_status in _CROWDED:
            self.pace.cut(generation)
            if tried.wait is not None:
                self.pace.pause(tried.wait)
        elif tried.reply.error == "timeout":
            self.pace.cut(generation, by=0.7)
        elif tried.again and tried.http_status != 200:
            # Nonsense in a 200 says nothing about how busy the server is.
            self.pace.cut(generation, by=0.9)
        return tried

    async def _post(self, call: Call, key: str | None, *, reserve: int) -> Try:
        started = time.perf_counter()
        headers = {"Idempotency-Key": call.call_id}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        try:
            answer = await self._wire.post("/chat/completions", call.sent(), headers)
        except Broken as broken:
            return failed_try(
                Reply(error=broken.kind),
                cost=0 if broken.kind == "unreachable" else reserve,
                again=broken.kind != "too_large",
                started=started,
                message=self._shown(str(broken)),
            )
        if answer.status != 200:
            return self._refused(answer, started)
        reply, usage = read_body(answer.body)
        echo = answer.headers.get("Idempotency-Key", call.call_id)
        if not reply.error and (echo != call.call_id or is_of_another(reply, call.body)):
            reply = Reply(error="other_call")
        cost = reserve if usage is None else cost_of(usage, self.endpoint)
        if reply.error:
            message = self._shown(answer.body[:300].decode("utf-8", "replace"))
            return failed_try(
                reply, cost=cost, again=True, started=started, message=message, status=200
            )
        return Try(
            reply=reply,
            cost=cost,
            tokens=usage.tokens_in + usage.tokens_out if usage else tokens_of(call.body),
            http_status=200,
            latency_ms=(time.perf_counter() - started) * 1000,
            again=False,
        )

    def _refused(self, answer: Answered, started: float) -> Try:
        code, message = read_error(answer.body)
        message = answer.headers.get("Location") or message
        quota = code == "insufficient_quota"
        return failed_try(
            Reply(error="no_quota" if quota else f"http_{answer.status}"),
            cost=0,
            again=answer.status in _RETRIED and not quota,
            started=started,
            wait=retry_after(answer.headers),
            message=self._shown(message),
            status=answer.status,
        )

    def _shown(self, text: str) -> str:
        """A server's words, short and without our keys."""
        return " ".join(self._keys.hidden(text).replace("\x00", " ").split())[:300]

    # --- when to give up ---------------------------------------------------------------------

    def _tries_for(self, tried: Try) -> int:
        if tried.reply.error == "unreachable" and not self._reached:
            return FIRST_CONTACT_TRIES
        if tried.http_status == 200:
            return min(MALFORMED_TRIES, self.endpoint.max_attempts)
        return self.endpoint.max_attempts

    def _judge_failure(self, tried: Try, tries: int) -> None:
        """Stop the run where every further call would fail as this one did."""
        fatal = self._fatal(tried)
        if fatal is not None:
            raise fatal
        if tried.reply.error == "unreachable" and tries >= self._tries_for(tried):
            raise self._stopping(f".base_url {self.endpoint.url} cannot be reached{said(tried)}")

    def _fatal(self, tried: Try) -> Stopped | None:
        """Why no call can succeed, where one answer is enough to know."""
        error, url = tried.reply.error, self.endpoint.url
        if tried.free:
            return None  # another key goes on
        if error in {"http_401", "http_403"}:
            named = " and ".join(self.endpoint.key_names)
            key = f"the key in {named}" if named else "a call without api_key_env"
            return self._stopping(f": {url} refused {key}{said(tried)}")
        if error in {"http_402", "no_quota"}:
            return self._stopping(f": {url} has no credit left{said(tried)}")
        if error in _ELSEWHERE:
            return self._stopping(f".base_url {url} sends its callers elsewhere{said(tried)}")
        if error in {"http_404", "http_405"}:
            model = self.endpoint.model
            return self._stopping(
                f": {url} does not know this path or the model {model!r}{said(tried)}"
            )
        return None

    def _count_failure(self, tried: Try) -> None:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            raise self._stopping(
                f": {self._failures} calls in a row failed, the last with "
                f"{tried.reply.error}{said(tried)}"
            )

    def _stopping(self, words: str) -> Stopped:
        """The error that ends the run; from now on no call leaves."""
        stop = Stopped(
            f"judging.endpoints.{self.name}{words}",
            next="mend it and type the same command: it goes on from here",
        )
        self._end(stop)
        return stop

    def _end(self, why: FactoryError) -> None:
        """From now on no call leaves, and nobody waits for a turn."""
        self._stop = why
        self._stopped.set()
        self._limits.end()
        self.pace.open()

    async def _kept(self, call_id: str) -> Answer:
        """The answer of a call that is not ours to send: stored, or with somebody else."""
        row = (await self._journal.calls([call_id])).get(call_id)
        if row is None or row.state != "done" or row.response is None:
            return Answer(reply=None)
        return kept_answer(row)

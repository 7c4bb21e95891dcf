"""The paid-call client: chat completions of any OpenAI-compatible server, none of them lost.

Each try of each call is in the ledger before it leaves and when it returns (law 9). Calls carry
their id as an idempotency key, so a vendor that knows such keys bills a repeated call once. A call
that keeps failing becomes a reply with `error`; an endpoint that cannot be used at all stops the
run, which goes on from there when it can.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.errors import FactoryError, Stopped
from factory.judging.journal import Journal
from factory.judging.outcomes import Reply
from factory.judging.pace import Pace, backoff, retry_after
from factory.judging.replies import cost_of, most_it_can_cost, read_body
from factory.recipe import Endpoint
from factory.rows import content_id
from factory.store import CallIntent, CallResult, Ledger

if TYPE_CHECKING:
    import openai

FIRST_CONTACT_TRIES = 3
MALFORMED_TRIES = 3
"""A 200 with nonsense was probably billed: it is not repeated as often as a refusal."""
FAILURES_IN_A_ROW = 50
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_CROWDED = frozenset({429, 503, 529})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. Its id is the request itself: two equal requests are one call."""

    call_id: str
    body: Mapping[str, Any]


def call_of(body: Mapping[str, Any], *, replicate: int = 0) -> Call:
    """A call from the body of its request."""
    return Call(call_id=content_id("call", [body, replicate]), body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call came to."""

    reply: Reply | None
    """None when another process has the call, or its fate is unknown and it is held."""
    cost_microusd: int = 0
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """What one try came to."""

    reply: Reply
    cost: int
    http_status: int | None
    latency_ms: float
    again: bool
    """Whether another try may help."""
    wait: float | None = None
    message: str = ""


class Client:
    """One endpoint, asked from one event loop. Close it: that writes what is waiting."""

    def __init__(
        self, endpoint: Endpoint, *, name: str, ledger: Ledger, budget_id: str | None, run_id: str
    ) -> None:
        self.endpoint = endpoint
        self.name = name
        self.run_id = run_id
        self.pace = Pace(most=endpoint.max_concurrency)
        self._key = endpoint.api_key()
        self._journal = Journal(ledger, budget_id=budget_id)
        self._openai = _open(endpoint, self._key)
        self._running: dict[str, asyncio.Task[Answer]] = {}
        self._stop: FactoryError | None = None
        self._reached = False
        self._failures = 0

    def stop(self) -> None:
        """Send nothing more. What is in flight comes back and is kept."""
        if self._stop is None:
            self._stopping(": stopped")

    async def close(self) -> None:
        """Close connections and write everything that is waiting."""
        await self._openai.close()
        await self._journal.close()

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
        reserve = most_it_can_cost(call.body, self.endpoint)
        intent = CallIntent(
            call_id=call.call_id,
            kind="chat",
            endpoint=self.endpoint.base_url,
            model=self.endpoint.model,
            request_hash=call.call_id,
            reserve_microusd=reserve,
            run_id=self.run_id,
        )
        spent, tries = 0, 0
        while True:
            tried = await self._try(call, intent)
            if tried is None:
                return await self._kept(call.call_id)
            tries += 1
            spent += tried.cost
            if not tried.reply.error:
                self._failures = 0
                return Answer(reply=tried.reply, cost_microusd=spent, latency_ms=tried.latency_ms)
            self._judge_failure(tried, tries)
            if not tried.again or tries >= self._tries_for(tried):
                self._count_failure(tried)
                return Answer(reply=tried.reply, cost_microusd=spent, latency_ms=tried.latency_ms)
            await asyncio.sleep(backoff(tries) if tried.wait is None else tried.wait)

    async def _try(self, call: Call, intent: CallIntent) -> _Try | None:
        """One try, in the ledger before and after; None when the call is not ours to send."""
        generation = await self.pace.enter()
        try:
            if self._stop is not None:
                raise self._stop
            try:
                ours = await self._journal.send(intent)
            except FactoryError as refused:
                self._stop = refused
                raise
            if not ours:
                return None
            try:
                tried = await self._post(call, reserve=intent.reserve_microusd)
            except BaseException:
                # Cancelled in flight: it may have been billed, so its price counts as spent.
                lost = Reply(error="cancelled")
                cost = intent.reserve_microusd
                self._journal.finish_later(_result(call.call_id, _failed(lost, cost=cost)))
                raise
            self._adapt(tried, generation)
            self._fatal(tried)  # before the place is given on: the next call must not leave
        finally:
            self.pace.leave()
        await self._journal.finish(_result(call.call_id, tried))
        return tried

    def _adapt(self, tried: _Try, generation: int) -> None:
        if not tried.reply.error:
            self._reached = True
            self.pace.grow()
        elif tried.http_status in _CROWDED or tried.reply.error == "timeout":
            self.pace.cut(generation)
            if tried.wait is not None:
                self.pace.pause(tried.wait)
        elif tried.again:
            self.pace.cut(generation, by=0.9)

    async def _post(self, call: Call, *, reserve: int) -> _Try:
        import openai

        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                # The bytes: building the typed completion costs a third of a call's time.
                body = await self._openai.post(
                    "/chat/completions",
                    cast_to=bytes,
                    body=dict(call.body),
                    options={
                        "headers": {"Idempotency-Key": call.call_id},
                        "idempotency_key": call.call_id,  # else openai draws a random one
                    },
                )
        except openai.APIStatusError as refused:
            return self._refused(refused, started)
        except (TimeoutError, openai.APIConnectionError) as broken:
            error, said = _what_broke(broken)
            cost = 0 if error == "unreachable" else reserve
            message = self._shown(said)
            return _failed(
                Reply(error=error), cost=cost, again=True, started=started, message=message
            )
        reply, usage = read_body(body)
        cost = reserve if usage is None else cost_of(usage, self.endpoint)
        if reply.error:
            message = self._shown(body[:300].decode("utf-8", "replace"))
            return _failed(
                reply, cost=cost, again=True, started=started, message=message, status=200
            )
        return _Try(
            reply=reply,
            cost=cost,
            http_status=200,
            latency_ms=(time.perf_counter() - started) * 1000,
            again=False,
        )

    def _refused(self, refused: openai.APIStatusError, started: float) -> _Try:
        status = refused.status_code
        quota = getattr(refused, "code", None) == "insufficient_quota"
        return _failed(
            Reply(error="no_quota" if quota else f"http_{status}"),
            cost=0,
            again=status in _RETRIED and not quota,
            started=started,
            wait=retry_after(refused.response.headers),
            message=self._shown(refused.message),
            status=status,
        )

    def _shown(self, text: str) -> str:
        """A server's words without our key, which some servers repeat."""
        text = text.replace(self._key, "***") if self._key else text
        return " ".join(text.replace("\x00", " ").split())[:300]

    # --- when to give up ---------------------------------------------------------------------

    def _tries_for(self, tried: _Try) -> int:
        if tried.reply.error == "unreachable" and not self._reached:
            return FIRST_CONTACT_TRIES
        if tried.http_status == 200:
            return min(MALFORMED_TRIES, self.endpoint.max_attempts)
        return self.endpoint.max_attempts

    def _judge_failure(self, tried: _Try, tries: int) -> None:
        """Stop the run where every further call would fail as this one did."""
        fatal = self._fatal(tried)
        if fatal is not None:
            raise fatal
        if tried.reply.error == "unreachable" and tries >= self._tries_for(tried):
            raise self._stopping(
                f".base_url {self.endpoint.base_url} cannot be reached{_said(tried)}"
            )

    def _fatal(self, tried: _Try) -> Stopped | None:
        """Why no call can succeed, where one answer is enough to know."""
        error, url = tried.reply.error, self.endpoint.base_url
        if error in {"http_401", "http_403"}:
            named = self.endpoint.api_key_env
            key = f"the key in {named}" if named else "a call without api_key_env"
            return self._stopping(f": {url} refused {key}{_said(tried)}")
        if error in {"http_402", "no_quota"}:
            return self._stopping(f": {url} has no credit left{_said(tried)}")
        if error in {"http_404", "http_405"}:
            model = self.endpoint.model
            return self._stopping(
                f": {url} does not know this path or the model {model!r}{_said(tried)}"
            )
        return None

    def _count_failure(self, tried: _Try) -> None:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            raise self._stopping(
                f": {self._failures} calls in a row failed, the last with "
                f"{tried.reply.error}{_said(tried)}"
            )

    def _stopping(self, words: str) -> Stopped:
        """The error that ends the run; from now on no call leaves."""
        stop = Stopped(
            f"judging.endpoints.{self.name}{words}",
            next="mend it and type the same command: it goes on from here",
        )
        self._stop = stop
        return stop

    async def _kept(self, call_id: str) -> Answer:
        """The answer of a call that is not ours to send: stored, or with somebody else."""
        row = (await self._journal.calls([call_id])).get(call_id)
        if row is None or row.state != "done" or row.response is None:
            return Answer(reply=None)
        return Answer(reply=Reply.loads(row.response), latency_ms=row.latency_ms)


def _open(endpoint: Endpoint, key: str | None) -> openai.AsyncOpenAI:
    import openai

    limit = openai.Timeout(endpoint.timeout_s, connect=min(10.0, endpoint.timeout_s))
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=key or "none",
        organization="",
        project="",
        timeout=limit,
        max_retries=0,  # ours: each try is in the ledger
        # aiohttp underneath: twice the calls a second of the default transport.
        http_client=openai.DefaultAioHttpClient(timeout=limit),
    )


_NEVER_CONNECTED = frozenset({"ConnectionRefusedError", "ConnectionTimeoutError", "gaierror"})
_CONNECTION_LOST = frozenset(
    {"ServerDisconnectedError", "ClientPayloadError", "ClientOSError", "ConnectionResetError"}
)


def _what_broke(broken: BaseException) -> tuple[str, str]:
    """`unreachable`, `connection_lost` or `timeout`, and the innermost library's words.

    By the names of the causes: openai calls a lost connection a timeout, and which httpx is
    underneath depends on its version.
    """
    causes: list[BaseException] = []
    cause: BaseException | None = broken
    while cause is not None and len(causes) < 10:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    names = {type(c).__name__ for c in causes}
    said = str(causes[1]) if len(causes) > 1 else ""
    if names & _NEVER_CONNECTED or any(n.startswith("ClientConnector") for n in names):
        return "unreachable", said
    if names & _CONNECTION_LOST:
        return "connection_lost", said
    slow = names & {"TimeoutError", "APITimeoutError"}
    return "timeout" if slow else "connection_lost", said


def _failed(
    reply: Reply,
    *,
    cost: int,
    again: bool = False,
    started: float | None = None,
    wait: float | None = None,
    message: str = "",
    status: int | None = None,
) -> _Try:
    latency = 0.0 if started is None else (time.perf_counter() - started) * 1000
    return _Try(
        reply=reply,
        cost=cost,
        http_status=status,
        latency_ms=latency,
        again=again,
        wait=wait,
        message=message,
    )


def _said(tried: _Try) -> str:
    return f": {tried.message}" if tried.message else ""


def _result(call_id: str, tried: _Try) -> CallResult:
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

"""A pool of HTTP endpoints that serve one model: each call goes to the one with the least to do.

An endpoint that fails is drained: it gets no new calls until its health check answers, and the call
that failed goes elsewhere. One that owes answers and says nothing for `health_s` is asked whether
it lives: if its health check hangs or fails twice, or nobody listens there any more, all that it
owes goes elsewhere at once. A slow one that answers the check keeps its calls.

`429` and `Retry-After` pause the endpoint that said so, for every caller, and halve how much it
gets; each answer gives a little back (additive increase, multiplicative decrease, RFC 5681). When
nothing was answered by anyone for `patience_s`, the pool gives up.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.errors import StageFailed, UserError
from factory.sampling.wire import Answer, Posted, Wire

_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_PROBE_S = 10.0
_MISSES = 2
"""Health checks in a row without an answer, after which an endpoint is down."""
_LONGEST_REST_S = 60.0

log_ = logging.getLogger(__name__)


@dataclass(slots=True)
class Endpoint:
    """One URL (`http://host:8000/v1`) and how it does."""

    url: str
    most: int
    in_flight: int = 0
    limit: float = 16.0
    healthy: bool = False
    failures: int = 0
    """Failures since its last answer."""
    paused_until: float = 0.0
    slowed: bool = False
    """Whether it ever said that it gets too much: from then on it gets more only slowly."""
    answered: int = 0
    version: str = ""
    """vLLM's version, or empty where something else serves."""
    models: dict[str, int | None] = field(default_factory=dict["str", "int | None"])
    """Served model -> its context in tokens, where it says so."""
    calls: dict[asyncio.Timeout, str] = field(default_factory=dict["asyncio.Timeout", "str"])
    """The time limits of calls in flight, each with why it was given up, if it was."""
    heard: float = 0.0
    """When it last said anything, or was asked after it had nothing to say."""
    doubted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection failed: it is asked at once whether it lives."""

    @property
    def root(self) -> str:
        """Where vLLM's own pages are."""
        return self.url.removesuffix("/v1")

    def takes(self, now: float) -> bool:
        """Whether it may get a call now."""
        return self.healthy and self.in_flight < int(self.limit) and now >= self.paused_until


class Endpoints:
    """The pool. Made, used and closed inside one event loop."""

    def __init__(
        self, urls: Sequence[str], *, key: str, concurrency: int, timeout_s: float,
        health_s: float, attempts: int, patience_s: float, note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.all = [
            Endpoint(u.rstrip("/"), concurrency, limit=min(16.0, concurrency)) for u in urls
        ]
        self._timeout_s = timeout_s
        self._health_s = health_s
        self._attempts = attempts
        self._patience_s = patience_s
        self._note = note
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self.holds = False
        """Whether what an endpoint owes stays with it until `timeout_s`, even when it is down."""
        self._last_answer = time.monotonic()
        self._wire = Wire(key)

    async def start(self) -> None:
        """Look at every endpoint once.

        Raises:
            UserError: when none of them answers.
        """
        found = await asyncio.gather(*(self._look(e) for e in self.all))
        if not any(e.healthy for e in self.all):
            said = "; ".join(f"{e.url}: {why}" for e, why in zip(self.all, found, strict=True))
            raise UserError(f"no endpoint answers: {said}", next=f"curl {self.all[0].url}/models")
        for endpoint, why in zip(self.all, found, strict=True):
            if not endpoint.healthy:
                self._drain(endpoint, why)
        self._watchers = [asyncio.create_task(self._watch(e)) for e in self.all]

    async def close(self) -> None:
        """Give up every call and probe."""
        tasks = [*self._probes.values(), *self._watchers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._wire.close()

    async def call(self, send: Callable[[Endpoint], Awaitable[Posted]]) -> Answer:
        """Send to whoever is free until one answers; the answer says who (`_endpoint`).

        Args:
            send: posts to an endpoint, as `post` does.

        Raises:
            UserError: when the request itself is refused.
            StageFailed: when it failed `attempts` times, or nobody answers at all.
        """
        failed: list[str] = []
        last: Endpoint | None = None
        while True:
            endpoint = await self._take(last)
            try:
                status, answer, wait = await send(endpoint)
            finally:
                endpoint.in_flight -= 1
                self._tell()
            if status == 200:
                self._last_answer = time.monotonic()
                endpoint.failures = 0
                endpoint.answered += 1
                more = 1 / endpoint.limit if endpoint.slowed else 1
                endpoint.limit = min(endpoint.most, endpoint.limit + more)
                return {**answer, "_endpoint": endpoint}
            if status == 429:
                self._pause(endpoint, wait)
                continue
            said = f"{endpoint.url} said {status or 'nothing'}: {answer.get('error', '')}"
            if status and status not in _RETRIED:
                raise _refusal(endpoint, status, said)
            failed.append(said)
            last = endpoint
            self._drain(endpoint, said)
            if not status:
                endpoint.doubted.set()
            if len(failed) >= self._attempts:
                raise StageFailed(f"a request failed {len(failed)} times; at last {failed[-1]}")

    # --- whose turn -----------------------------------------------------------------------------

    async def _take(self, failed: Endpoint | None) -> Endpoint:
        """The free endpoint with the least to do; the one that just failed only if alone."""
        while True:
            now = time.monotonic()
            free = [e for e in self.all if e.takes(now)]
            if others := [e for e in free if e is not failed]:
                free = others
            if free:
                endpoint = min(free, key=lambda e: (e.in_flight / e.limit, e.answered))
                endpoint.in_flight += 1
                return endpoint
            busy = any(e.in_flight for e in self.all)
            if not busy and now - self._last_answer > self._patience_s:
                raise StageFailed(
                    f"no endpoint answered for {self._patience_s:g} s: "
                    + ", ".join(f"{e.url} ({_state(e, now)})" for e in self.all)
                )
            pauses = [e.paused_until - now for e in self.all if e.healthy and e.paused_until > now]
            await asyncio.wait([self._changed], timeout=min([*pauses, 1.0]))

    def _tell(self) -> None:
        """Wake whoever waits for an endpoint."""
        changed, self._changed = self._changed, asyncio.get_running_loop().create_future()
        changed.set_result(None)

    def _pause(self, endpoint: Endpoint, wait: float | None) -> None:
        now = time.monotonic()
        if now >= endpoint.paused_until:  # the first of those that left together
            endpoint.slowed = True
            endpoint.limit = max(1.0, endpoint.limit / 2)
        rest = wait if wait is not None else random.uniform(0.5, 1.5)
        endpoint.paused_until = max(endpoint.paused_until, now + min(rest, _LONGEST_REST_S))

    # --- health ---------------------------------------------------------------------------------

    def _drain(self, endpoint: Endpoint, why: str) -> None:
        """Give it nothing more until it answers a health check."""
        if endpoint.url in self._probes:
            return
        endpoint.healthy = False
        endpoint.failures += 1
        self._note(f"endpoint {endpoint.url} gets no calls until it is healthy: {why}")
        self._probes[endpoint.url] = asyncio.create_task(self._revive(endpoint))

    async def _revive(self, endpoint: Endpoint) -> None:
        rest = min(0.25 * 2**endpoint.failures, _LONGEST_REST_S)
        try:
            while True:
                await asyncio.sleep(rest * random.uniform(0.75, 1.25))
                if not await self._look(endpoint):
                    self._note(f"endpoint {endpoint.url} is healthy again")
                    return
                rest = min(2 * rest, _LONGEST_REST_S / 4)
        finally:
            self._probes.pop(endpoint.url, None)
            self._tell()

    async def _watch(self, endpoint: Endpoint) -> None:
        """Ask whether an endpoint lives whenever it owes answers and says nothing."""
        missed, began = 0, 0.0
        while True:
            await self._until_doubtful(endpoint)
            missed = 0 if endpoint.heard > began else missed
            began = time.monotonic()
            why, certain = await self._fault(endpoint)
            if not why:
                endpoint.heard = time.monotonic()
            if endpoint.heard > began:
                continue
            missed += 1
            if certain or missed >= _MISSES:
                self._give_up(endpoint, why)
            await asyncio.sleep(min(1.0, self._health_s))

    async def _until_doubtful(self, endpoint: Endpoint) -> None:
        while True:
            silent = time.monotonic() - endpoint.heard
            if endpoint.calls and silent >= self._health_s:
                return
            rest = self._health_s - silent if endpoint.calls else self._health_s
            try:
                async with asyncio.timeout(rest):
                    await endpoint.doubted.wait()
            except TimeoutError:
                continue
            endpoint.doubted.clear()
            if endpoint.calls:
                return

    async def _fault(self, endpoint: Endpoint) -> tuple[str, bool]:
        """What is wrong with an endpoint, or nothing; and whether that is beyond doubt."""
        # vLLM lists its models even when its engine is dead.
        page = f"{endpoint.root}/health" if endpoint.version else f"{endpoint.url}/models"
        status, answer, _ = await self._wire.get(page, timeout_s=self._health_s, is_json=False)
        if 0 < status < 500:
            return "", False
        said = str(answer.get("error") or "nothing")
        return f"its health check said {status or ''} {said}", bool(answer.get("refused"))

    def _give_up(self, endpoint: Endpoint, why: str) -> None:
        """Drain an endpoint that is down, and take back what it owes."""
        self._drain(endpoint, why)
        endpoint.heard = time.monotonic()
        owed = [limit for limit in endpoint.calls if not limit.expired()]
        if self.holds or not owed:
            return
        self._note(f"endpoint {endpoint.url} is down: {len(owed)} calls in flight go elsewhere")
        for limit in owed:
            endpoint.calls[limit] = why
            limit.reschedule(asyncio.get_running_loop().time())

    async def _look(self, endpoint: Endpoint) -> str:
        """Ask which models it serves, and whether it is vLLM; gives what is wrong, or nothing."""
        status, answer, _ = await self._wire.get(f"{endpoint.url}/models", timeout_s=_PROBE_S)
        if status != 200:
            return str(answer.get("error") or f"HTTP {status}")
        listed = answer.get("data")
        endpoint.models = {
            str(m.get("id")): m.get("max_model_len")
            for m in (listed if isinstance(listed, list) else [])
            if isinstance(m, dict)
        }
        status, answer, _ = await self._wire.get(f"{endpoint.root}/version", timeout_s=_PROBE_S)
        said = answer.get("version") if status == 200 else None
        endpoint.version = said if isinstance(said, str) else ""
        if endpoint.version and (why := (await self._fault(endpoint))[0]):
            return why
        endpoint.healthy = True
        return ""

    # --- calls ----------------------------------------------------------------------------------

    async def post(
        self, endpoint: Endpoint, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Posted:
        """One try at one endpoint; in an error, `may_be_billed` where nobody knows."""
        if not endpoint.calls:
            endpoint.heard = time.monotonic()
        why, limit = "", asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                endpoint.calls[limit] = ""
                try:
                    posted = await self._wire.post(f"{endpoint.url}{path}", body, headers=headers)
                finally:
                    why = endpoint.calls.pop(limit)
        except TimeoutError:
            said = why or f"no answer in {self._timeout_s:g} s"
            return 0, {"error": said, "may_be_billed": True}, None
        if posted[0]:
            endpoint.heard = time.monotonic()
        return posted


def _refusal(endpoint: Endpoint, status: int, said: str) -> UserError:
    if status in (401, 403):
        return UserError(said, next="set sampling.settings.api_key_env to the variable of your key")
    if status == 404:
        return UserError(
            f"{said}; it serves {', '.join(sorted(endpoint.models)) or 'nothing'}",
            next="set sampling.settings.model to a model that it serves",
        )
    return UserError(said, next=f"curl {endpoint.url}/models  # and see the server's log")


def _state(endpoint: Endpoint, now: float) -> str:
    if not endpoint.healthy:
        return "not healthy"
    return "paused by 429" if now < endpoint.paused_until else "free"

"""A pool of HTTP endpoints that serve one model: each call goes to the one with the least to do.

An endpoint that fails is drained: it gets no new calls until its health check answers, and the call
that failed goes elsewhere. `429` and `Retry-After` pause the endpoint that said so, for every
caller, and halve how much it gets; each answer gives a little back (additive increase,
multiplicative decrease, RFC 5681). When nothing was answered by anyone for `patience_s`, the pool
gives up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from factory.errors import StageFailed, UserError

_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_CONNECT_S = 10.0
_PROBE_S = 10.0
_LONGEST_REST_S = 60.0
_SHOWN = 300

log_ = logging.getLogger(__name__)

Answer = dict[str, Any]
Posted = tuple[int, Answer, float | None]
"""Status (0: no answer), the JSON object or `{"error": words}`, and seconds of Retry-After."""


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
        attempts: int, patience_s: float, note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.all = [
            Endpoint(u.rstrip("/"), concurrency, limit=min(16.0, concurrency)) for u in urls
        ]
        self._key = key
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._patience_s = patience_s
        self._note = note
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._last_answer = time.monotonic()
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            connector=aiohttp.TCPConnector(limit=0),
        )

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

    async def close(self) -> None:
        """Give up every call and probe."""
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)
        await self._session.close()

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

    async def _look(self, endpoint: Endpoint) -> str:
        """Ask which models it serves, and whether it is vLLM; gives what is wrong, or nothing."""
        status, answer, _ = await self._get(f"{endpoint.url}/models")
        if status != 200:
            return str(answer.get("error") or f"HTTP {status}")
        listed = answer.get("data")
        endpoint.models = {
            str(m.get("id")): m.get("max_model_len")
            for m in (listed if isinstance(listed, list) else [])
            if isinstance(m, dict)
        }
        status, answer, _ = await self._get(f"{endpoint.root}/version")
        said = answer.get("version") if status == 200 else None
        endpoint.version = said if isinstance(said, str) else ""
        endpoint.healthy = True
        return ""

    # --- HTTP -----------------------------------------------------------------------------------

    async def _get(self, url: str) -> Posted:
        return await self._ask("GET", url, None, _PROBE_S)

    async def post(
        self, endpoint: Endpoint, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Posted:
        """One try at one endpoint; in an error, `may_be_billed` where nobody knows."""
        return await self._ask("POST", f"{endpoint.url}{path}", body, self._timeout_s, headers)

    async def _ask(
        self, method: str, url: str, body: Mapping[str, Any] | None, timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Posted:  # fmt: skip
        """Status (0: no answer), the JSON object or `{"error": words}`, and Retry-After."""
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S)
        asking = self._session.request(method, url, json=body, timeout=timeout, headers=headers)
        try:
            async with asking as response:
                text = await response.text(errors="replace")
                if response.status != 200:
                    wait = retry_after(response.headers.get("Retry-After"))
                    return response.status, {"error": self._shown(text)}, wait
                answer = json.loads(text)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failed:
            return 0, {"error": self._shown(str(failed) or type(failed).__name__)}, None
        except TimeoutError:
            return 0, {"error": f"no answer in {timeout_s:g} s", "may_be_billed": True}, None
        except (aiohttp.ClientError, OSError) as failed:
            said = self._shown(str(failed) or type(failed).__name__)
            return 0, {"error": said, "may_be_billed": True}, None
        except ValueError:
            return 502, {"error": "its answer is not JSON", "may_be_billed": True}, None
        return 200, answer if isinstance(answer, dict) else {}, None

    def _shown(self, text: str) -> str:
        """A server's words without our key, which some servers repeat."""
        text = text.replace(self._key, "***") if self._key else text
        return " ".join(text.replace("\x00", " ").split())[:_SHOWN]


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


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

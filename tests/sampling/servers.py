"""An endpoint on loopback that behaves, and misbehaves, as it is told."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import pytest
from aiohttp import web

from factory.sampling.wire import Posted, Wire

Reply = web.StreamResponse | dict[str, Any]
Behaviour = Callable[["Server", dict[str, Any]], Reply | None]


class Server:
    """Serves one model. `behave` may answer, or return None for the usual answer.

    With `vllm` it says a version, takes token ids and returns them; without, it takes messages.
    """

    def __init__(
        self, behave: Behaviour | None = None, *, vllm: bool = True, port: int = 0
    ) -> None:
        self.behave = behave
        self.vllm = vllm
        self.port = port
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        """Idempotency keys of what was asked, in the same order."""
        self.key = ""
        """That of the request which `behave` is given now."""
        self.at_once = 0
        self.most_at_once = 0
        self.hanging = asyncio.Event()
        self.released = False
        self.healthy = True
        self.deaf = False
        """Whether it accepts connections and answers nothing, until `hear`."""
        self.checked = 0
        """How often it was asked whether it lives."""
        self.hearing = asyncio.Event()
        self.held: Callable[[int], bool] | None = None
        """Whether the call of that number is kept waiting; looked at whenever it is `stir`red."""
        self.partner: Server | None = None
        """Stirred with every call that comes here."""
        self._stirred = asyncio.Event()
        self._checks = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Break every connection, as a process that is killed does."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            # Connections that were just being accepted go with it, as those of a killed process do.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()

    def hear(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self.deaf = False
        self._loop.call_soon_threadsafe(self.hearing.set)

    def release(self) -> None:
        """Answer the calls that hang."""
        self.released = True
        self._loop.call_soon_threadsafe(self.hanging.set)

    def stir(self) -> None:
        """Look again which calls are kept waiting."""
        with suppress(RuntimeError):  # it has been killed
            self._loop.call_soon_threadsafe(self._stirred.set)

    def until_checked(self, times: int) -> bool:
        """Wait until it was asked so often whether it lives; False if it never is."""
        with self._checks:
            return self._checks.wait_for(lambda: self.checked >= times, 60)

    def leave(self) -> None:
        """Refuse new connections, answer nothing on those that are there; from its own thread."""
        self.deaf = True
        self._leaving = self._loop.create_task(self._site.stop())

    @web.middleware
    async def _ears(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.deaf:
            await self.hearing.wait()
        return await handler(request)

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._ears])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_post("/v1/completions", self._answer)
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self.held = None
        for waiting in (self.hanging, self.hearing, self._stirred):
            waiting.set()
        with suppress(RuntimeError):  # it may have stopped listening
            await self._site.stop()
        await asyncio.sleep(0.05)  # connections that were being accepted come to the runner
        await self._runner.cleanup()
        await asyncio.sleep(0.05)

    async def _health(self, _: web.Request) -> web.StreamResponse:
        self._count_check()
        return web.Response(status=200 if self.healthy else 503)

    async def _models(self, _: web.Request) -> web.StreamResponse:
        self._count_check()
        if not self.healthy:
            return web.Response(status=503)
        return web.json_response({"data": [{"id": "m", "max_model_len": 96}]})

    def _count_check(self) -> None:
        with self._checks:
            self.checked += 1
            self._checks.notify_all()

    async def _version(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"version": "9"}) if self.vllm else web.Response(status=404)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        number = len(self.asked)
        self.stir()
        if self.partner is not None:
            self.partner.stir()
        try:
            await asyncio.sleep(0.002)
            while self.held is not None and self.held(number):
                self._stirred.clear()
                await self._stirred.wait()
            self.key = request.headers.get("Idempotency-Key", "")
            special = self.behave(self, body) if self.behave else None
            if special == {"hang": True}:
                await self.hanging.wait()
                if not self.released and request.transport is not None:
                    request.transport.abort()  # it is killed: what it owes never comes
                special = None
            if isinstance(special, web.StreamResponse):
                return special
            return web.json_response(special or self.usual(body))
        finally:
            self.at_once -= 1

    def usual(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a server says when nothing is wrong: the prompt's length and the sample's number."""
        if "messages" in body:
            said = {"role": "assistant", "content": f"heard {body['seed']}"}
            return {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
        choices = [
            {
                "index": j, "text": "x", "finish_reason": "stop",
                "token_ids": [50 + j, len(body["prompt"])], "prompt_token_ids": body["prompt"],
                "logprobs": {"token_logprobs": [-0.5, -0.25]},
            }
            for j in range(body["n"])
        ]  # fmt: skip
        return {"choices": choices}


def in_step(one: Server, other: Server, *, calls: int) -> None:
    """From now on neither answers its first calls before the other has been asked as often."""
    for mine, theirs in ((one, other), (other, one)):
        mine.held = _ahead(theirs, mine_before=len(mine.asked), calls=calls)
        mine.partner = theirs


def _ahead(theirs: Server, *, mine_before: int, calls: int) -> Callable[[int], bool]:
    before = len(theirs.asked)

    def held(number: int) -> bool:
        more = number - mine_before
        return more <= calls and len(theirs.asked) - before < more

    return held


@contextmanager
def noted(text: str) -> Iterator[threading.Event]:
    """An event that is set when the product logs a line with this text."""
    said = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                said.set()

    listener, log = Listener(), logging.getLogger("factory")
    log.addHandler(listener)
    try:
        yield said
    finally:
        log.removeHandler(listener)


def wait_for_health_checks_of(patch: pytest.MonkeyPatch, *servers: Server) -> None:
    """However busy this machine is, these servers are never called silent."""
    get = Wire.get

    async def patiently(self: Wire, url: str, *, timeout_s: float, is_json: bool = True) -> Posted:
        ours = any(url.startswith(server.url.removesuffix("/v1")) for server in servers)
        return await get(self, url, timeout_s=60 if ours else timeout_s, is_json=is_json)

    patch.setattr(Wire, "get", patiently)

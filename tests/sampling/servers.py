"""An endpoint on loopback that behaves, and misbehaves, as it is told."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from aiohttp import web

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
        self.hanging.set()
        self.hearing.set()
        with suppress(RuntimeError):  # it may have stopped listening
            await self._site.stop()
        await asyncio.sleep(0.05)  # connections that were being accepted come to the runner
        await self._runner.cleanup()
        await asyncio.sleep(0.05)

    async def _health(self, _: web.Request) -> web.StreamResponse:
        self.checked += 1
        return web.Response(status=200 if self.healthy else 503)

    async def _models(self, _: web.Request) -> web.StreamResponse:
        self.checked += 1
        if not self.healthy:
            return web.Response(status=503)
        return web.json_response({"data": [{"id": "m", "max_model_len": 96}]})

    async def _version(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"version": "9"}) if self.vllm else web.Response(status=404)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.002)
            self.key = request.headers.get("Idempotency-Key", "")
            special = self.behave(self, body) if self.behave else None
            if special == {"hang": True}:
                await self.hanging.wait()
                special = None if self.released else special
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

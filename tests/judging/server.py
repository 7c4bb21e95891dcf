"""A real HTTP server on loopback that speaks chat completions, with faults to order.

It bills as a vendor with idempotency keys does: one key is charged once, and a repeated key gets
the first answer again.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Brain = Callable[[Body], str]
Fault = Callable[[str, int], str | None]
"""(idempotency key, how often it was tried before) -> the fault's name, or None."""


def chat(body: Body, text: str | None, **choice: Any) -> Body:
    """A chat completion that answers `text`."""
    said = {"role": "assistant", "content": text}
    prompt = sum(len(m["content"]) for m in body["messages"])
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{body['model']}-0001",
        "choices": [{"index": 0, "finish_reason": "stop", "message": said, **choice}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": len(text or ""),
            "total_tokens": prompt + len(text or ""),
        },
    }


@dataclass
class Server:
    """What the server saw, and how it answers."""

    brain: Brain = lambda body: "Rating: 4\nRationale: fine."
    fault: Fault = lambda key, tries: None
    delay: float = 0.0
    url: str = ""
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    billed: dict[str, Body] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    now: int = 0
    most: int = 0
    """The most requests in flight at once."""
    hold: asyncio.Event | None = None
    """While set and not fired, answers wait."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._answer(request)
        finally:
            self.now -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        key = request.headers.get("Idempotency-Key", "")
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        before = self.tries[key]
        self.tries[key] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        kind = self.fault(key, before)
        if kind is not None:
            self.faults[kind] += 1
            made = await self._fault(kind, request, body)
            if made is not None:
                return made
        if key not in self.billed:
            self.billed[key] = chat(body, self.brain(body))
        if self.hold is not None:
            await self.hold.wait()
        return web.json_response(self.billed[key])

    async def _fault(
        self, kind: str, request: web.Request, body: Body
    ) -> web.StreamResponse | None:
        whole = json.dumps(chat(body, "Rating: 4"))
        if kind == "close":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if kind == "drip":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for character in whole:
                await response.write(character.encode())
                await asyncio.sleep(0.05)
            return response
        error = {"error": {"message": f"injected {kind}", "type": kind, "code": kind}}
        plain: dict[str, tuple[int, str]] = {
            "429": (429, json.dumps(error)),
            "500": (500, json.dumps(error)),
            "503": (503, "busy"),
            "400": (400, json.dumps(error)),
            "401": (401, json.dumps(error)),
            "404": (404, json.dumps(error)),
            "half": (200, whole[: len(whole) // 2]),
            "html": (200, "<html><body>gateway</body></html>"),
            "200_error": (200, json.dumps(error)),
            "no_choice": (200, json.dumps(chat(body, "x") | {"choices": []})),
            "two_choices": (200, json.dumps(chat(body, "x") | {"choices": [{}, {}]})),
            "null_content": (200, json.dumps(chat(body, None))),
            "empty": (200, json.dumps(chat(body, ""))),
            "prose": (200, json.dumps(chat(body, "What a lovely answer!"))),
            "length": (200, json.dumps(chat(body, "Rating: 4", finish_reason="length"))),
            "filter": (200, json.dumps(chat(body, "", finish_reason="content_filter"))),
            "surrogate": (
                200,
                '{"choices": [{"message": {"content": "Rating: 4 \\ud800\\u0000"}}]}',
            ),
            "list": (200, "[]"),
            "wrong_pair": (
                200,
                json.dumps(chat(body, "<<<ANSWER 0123456789ab>>> is fair.\nRating: 1\n[[1]]")),
            ),
            "nan_usage": (200, json.dumps(chat(body, "Rating: 4") | {"usage": "lots"})),
        }
        if kind not in plain:
            raise AssertionError(kind)
        status, text = plain[kind]
        headers = {"Retry-After": "0.2"} if kind == "429" else {}
        return web.Response(
            status=status, text=text, headers=headers, content_type="application/json"
        )

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", self.handle)
        return app


async def _serve(server: Any, port: int) -> web.AppRunner:
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    return runner


@contextmanager
def serving(server: Any, *, port: int = 0) -> Iterator[Any]:
    """Run a server (something with `app` and `url`) in a thread while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(server, port), loop).result()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

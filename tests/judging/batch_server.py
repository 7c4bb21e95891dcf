"""A real HTTP server on loopback with a vendor's batch interface, which bills as a vendor does."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Event = Callable[[str], None]


@dataclass
class Vendor:
    """What it holds, what it billed, and how it answers."""

    brain: Callable[[dict[str, Any]], str] = lambda body: "Rating: 4\nRationale: fine."
    fate: Callable[[str, int], str] = lambda custom_id, tries: "ok"
    """(custom id, how many batches had it before) -> ok, 429, 500, error, missing."""
    ends: Callable[[int], str] = lambda number: "completed"
    """How the batch of that number ends."""
    looks: int = 1
    """How often a batch is looked at before it has ended."""
    event: Event = lambda name: None
    """Told at every step, before the answer leaves."""
    odd: Callable[[str, int], tuple[int, str] | None] = lambda step, seen: None
    """(step, how often it was seen) -> a status and a text instead of the answer."""
    keys: Counter[str] = field(default_factory=Counter)
    """Batches by the key that made them; another key does not know them."""
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    billed: Counter[str] = field(default_factory=Counter)
    submitted: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{id}/content", self.content)
        app.router.add_post("/v1/batches", self.create)
        app.router.add_get("/v1/batches", self.listed)
        app.router.add_get("/v1/batches/{id}", self.retrieve)
        return app

    def told(self, name: str) -> None:
        self.seen[name] += 1
        self.event(name)

    def file(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def oddly(self, step: str) -> web.Response | None:
        """What comes instead of the answer."""
        found = self.odd(step, self.seen[step])
        if found is None:
            return None
        status, text = found
        kind = "text/html" if text.startswith("<") else "application/json"
        return web.Response(status=status, text=text, content_type=kind)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        assert form["purpose"] == "batch"
        held: Any = form["file"]
        name = self.file(held.file.read())
        self.told("uploaded")
        if (odd := self.oddly("uploaded")) is not None:
            return odd
        return web.json_response({
            "id": name, "object": "file", "purpose": "batch", "bytes": 1, "created_at": 1,
            "filename": "x", "status": "processed",
        })  # fmt: skip

    async def create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        number = len(self.batches)
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        batch = {
            "id": f"batch_{number}", "object": "batch", "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"], "completion_window": "24h",
            "status": "in_progress", "created_at": int(time.time()),
            "metadata": asked["metadata"], "looked": 0, "number": number, "lines": lines,
            "key": request.headers["Authorization"],
        }  # fmt: skip
        refused = self.oddly("create")
        if refused is not None and refused.status >= 400:
            return refused
        self.keys[batch["key"]] += 1
        self.batches[batch["id"]] = batch
        self.submitted.update(line["custom_id"] for line in lines)
        self.told("created")
        if (odd := self.oddly("created")) is not None:
            return odd
        return web.json_response(self.shown(batch))

    def shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in batch.items() if k not in {"looked", "number", "lines", "key"}}

    async def listed(self, request: web.Request) -> web.StreamResponse:
        self.told("listed")
        if (odd := self.oddly("listed")) is not None:
            return odd
        key = request.headers["Authorization"]
        mine = [batch for batch in self.batches.values() if batch["key"] == key]
        data = [self.shown(batch) for batch in reversed(mine)]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches[request.match_info["id"]]
        if batch["key"] != request.headers["Authorization"]:
            return web.json_response({"error": {"message": "no such batch"}}, status=404)
        batch["looked"] += 1
        if batch["looked"] > self.looks and batch["status"] == "in_progress":
            self.end(batch)
        self.told("looked")
        if (odd := self.oddly("looked")) is not None:
            return odd
        return web.json_response(self.shown(batch))

    def end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.ends(batch["number"])
        if batch["status"] == "failed":
            said = {"code": "invalid", "message": "a line is not what it should be", "line": 1}
            batch["errors"] = {"object": "list", "data": [said]}
            return
        good, bad = [], []
        for line in reversed(batch["lines"]):  # the order of answers is not that of requests
            key = line["custom_id"]
            fate = self.fate(key, self.submitted[key] - 1)
            if batch["status"] != "completed" and int(key[:4], 16) % 2:
                fate = "late"
            if fate == "ok":
                self.billed[key] += 1
                good.append({"custom_id": key, "error": None, "response": self.answer(line)})
            elif fate == "late":
                error = {"code": "batch_expired", "message": "not executed in time"}
                bad.append({"custom_id": key, "response": None, "error": error})
            elif fate != "missing":
                body = {"error": {"message": f"injected {fate}", "code": fate}}
                reply = {"status_code": int(fate), "request_id": "r", "body": body}
                bad.append({"custom_id": key, "error": None, "response": reply})
        as_lines = ["\n".join(json.dumps(x) for x in part).encode() for part in (good, bad)]
        batch["output_file_id"] = self.file(as_lines[0] + b"\n{half a line") if good else None
        batch["error_file_id"] = self.file(as_lines[1]) if bad else None

    def answer(self, line: dict[str, Any]) -> dict[str, Any]:
        said = {"role": "assistant", "content": self.brain(line["body"])}
        body = {
            "id": "c", "object": "chat.completion", "model": "the-judge-0001",
            "choices": [{"index": 0, "finish_reason": "stop", "message": said}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }  # fmt: skip
        return {"status_code": 200, "request_id": "r", "body": body}

    async def content(self, request: web.Request) -> web.StreamResponse:
        self.told("read")
        if (odd := self.oddly("read")) is not None:
            return odd
        await asyncio.sleep(0)
        return web.Response(body=self.files[request.match_info["id"]])

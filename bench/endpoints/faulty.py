"""A judge on loopback that fails in every way at a given rate, and bills as a vendor does.

`python faulty.py RATE`. The grade is made from the answer that it is shown, so a row can be checked
by itself. Which tries fail is drawn by hash from the idempotency key and the number of the try.
`GET /stats` says what was asked, billed and injected.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
import zlib
from collections import Counter
from contextlib import suppress
from typing import Any, ClassVar

FAULTS = (
    "429", "500", "half", "no_choice", "html", "two_choices", "wrong_pair", "200_error", "drip",
    "close",
)  # fmt: skip
TEXT = re.compile(r"<<<ANSWER ([0-9a-f]{12})>>>\n(.*?)\n<<<END", re.DOTALL)
ERROR = b'{"error": {"message": "injected", "type": "server_error", "code": "injected"}}'


def grade(text: str) -> int:
    """The grade of an answer, 1 to 10."""
    return zlib.crc32(text.encode()) % 10 + 1


def completion(text: str, *, choices: int = 1) -> bytes:
    """A chat completion, or one with another number of choices."""
    said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 400, "completion_tokens": 20, "total_tokens": 420}
    body = {"id": "1", "object": "chat.completion", "model": "judge", "usage": usage}
    return json.dumps(body | {"choices": [said] * choices}).encode()


def whole(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    """An HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


class Faulty(asyncio.Protocol):
    """One connection."""

    rate = 0.0
    tries: ClassVar[Counter[str]] = Counter()
    faults: ClassVar[Counter[str]] = Counter()
    billed: ClassVar[set[str]] = set()
    other = "<<<ANSWER 0123456789ab>>>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport: Any = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end].decode("latin-1")
            size = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
            length = int(size[1]) if size else 0
            if len(self.waiting) < end + 4 + length:
                return
            body = self.waiting[end + 4 : end + 4 + length]
            self.waiting = self.waiting[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: str, body: bytes) -> None:
        """One answer, or what is instead of one."""
        if head.startswith("GET"):
            seen = {"faults": dict(self.faults), "answered": self.tries.total()}
            seen |= {"calls": len(self.tries), "billed": len(self.billed)}
            self.transport.write(whole("200 OK", json.dumps(seen).encode()))
            return
        found = re.search(r"idempotency-key: *(\w+)", head, re.IGNORECASE)
        key = found[1] if found else ""
        self.tries[key] += 1
        shown = TEXT.search(json.loads(body)["messages"][-1]["content"])
        assert shown is not None
        tag, text = shown[1], shown[2]
        lot = hashlib.blake2b(f"{key}/{self.tries[key]}".encode(), digest_size=8).digest()
        good = completion(f"A fair answer.\n[[{grade(text)}]]")
        if int.from_bytes(lot[:4]) / 2**32 < self.rate:
            kind = FAULTS[int.from_bytes(lot[4:]) % len(FAULTS)]
            self.faults[kind] += 1
            self.fail(kind, good, grade(text))
        else:
            self.transport.write(whole("200 OK", good))
        Faulty.other = f"<<<ANSWER {tag}>>>"
        self.billed.add(key)

    def fail(self, kind: str, good: bytes, right: int) -> None:
        """One fault. Its grade, where it has one, is a wrong one."""
        wrong = f"[[{right % 10 + 1}]]"
        if kind == "close":
            self.transport.abort()
        elif kind == "drip":
            self.transport.write(whole("200 OK", good)[:-40])
            asyncio.get_running_loop().call_later(30, self.transport.abort)
        else:
            plain = {
                "429": whole("429 Too Many Requests", ERROR, more="Retry-After-Ms: 20\r\n"),
                "500": whole("500 Internal Server Error", ERROR),
                "half": whole("200 OK", good[: len(good) // 2]),
                "no_choice": whole("200 OK", completion("", choices=0)),
                "html": whole("200 OK", b"<html>gateway</html>", "text/html"),
                "two_choices": whole("200 OK", completion(wrong, choices=2)),
                "wrong_pair": whole("200 OK", completion(f"{self.other} is fair.\n{wrong}")),
                "200_error": whole("200 OK", ERROR),
            }
            self.transport.write(plain[kind])


async def serve() -> None:
    """Serve until the standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Faulty, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with suppress(ImportError):
        import uvloop  # there with vLLM and uvicorn; without it the server is slower

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    Faulty.rate = float(sys.argv[1])
    asyncio.run(serve())

"""One HTTP request to an endpoint: bytes out, status, headers and bytes back, or why not.

aiohttp without a vendor's library around it, which costs three times as much time per call as the
request itself. Nothing is tried again here: each try is in the ledger, so the client decides.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from factory import __version__

if TYPE_CHECKING:
    import aiohttp

MAX_BYTES = 32 << 20
"""Of an answer, unpacked. A judgement with log-probabilities is some hundred kilobytes."""

Breakage = Literal["unreachable", "connection_lost", "timeout", "too_large"]


class Broken(Exception):
    """No whole answer came. `unreachable`: no request left, so nothing can have been billed."""

    def __init__(self, kind: Breakage, said: str) -> None:
        super().__init__(said)
        self.kind: Breakage = kind


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer, whatever it says. Names of headers are as `Mapping` of aiohttp finds them."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Kept-alive connections to one endpoint, from one event loop."""

    def __init__(self, base_url: str, *, timeout_s: float, most: int) -> None:
        import aiohttp

        self._base = base_url.rstrip("/")
        self._timeout = timeout_s
        self._proxy = _proxy(base_url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                # Shorter than uvicorn's 5 s: a request on a connection that the server is closing
                # is lost, and nobody could say whether it was billed.
                limit=most,
                ssl=_certificates(base_url),
                keepalive_timeout=4,
            ),
            # The limit on a whole call is ours; connecting has one of its own, because a call that
            # never connected was never billed.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(10.0, timeout_s)),
            headers={"User-Agent": f"prefactory/{__version__}", "Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Send JSON and read the whole answer.

        Raises:
            Broken: when there is none within the limit of time and size.
        """
        import aiohttp

        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.post(
                    self._base + path,
                    data=body,
                    headers={"Content-Type": "application/json", **headers},
                    proxy=self._proxy,
                    # What is asked goes to whom the recipe names, and to nobody they name.
                    allow_redirects=False,
                ) as answer,
            ):
                return Answered(answer.status, answer.headers, await _whole(answer))
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as never:
            raise Broken("unreachable", str(never)) from never
        except TimeoutError as slow:
            raise Broken("timeout", f"no whole answer in {self._timeout:g} s") from slow
        except (aiohttp.ClientError, OSError) as lost:
            raise Broken("connection_lost", str(lost) or type(lost).__name__) from lost


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body, read in parts so that a server that never ends, or packs a bomb, is left."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            answer.close()
            raise Broken("too_large", f"the answer is larger than {MAX_BYTES >> 20} MiB")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL, or None."""
    # Looked up once, because it is slow; and not by aiohttp, which would read a .netrc as well.
    parts = urlsplit(url)
    if is_loopback(parts.hostname or "") or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, of which no proxy knows anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _certificates(url: str) -> ssl.SSLContext | bool:
    """Whose certificates are trusted: the environment's, else certifi's, as httpx has it."""
    if not url.startswith("https"):
        return True
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    import certifi

    return ssl.create_default_context(cafile=certifi.where())

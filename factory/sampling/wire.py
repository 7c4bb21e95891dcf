"""One HTTP request and what came of it, as values: no answer is an answer too.

A server's words may hold our key, so they are shown without it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

_CONNECT_S = 10.0
_SHOWN = 300

Answer = dict[str, Any]
Posted = tuple[int, Answer, float | None]
"""Status (0: no answer), the JSON object or `{"error": words}`, and seconds of Retry-After.

In an error, `may_be_billed` where nobody knows, and `refused` where nobody listens.
"""


class Wire:
    """Connections that are kept alive. Made, used and closed inside one event loop."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def get(self, url: str, *, timeout_s: float, is_json: bool = True) -> Posted:
        """A page; one that is no JSON is an error, unless only its status is asked for."""
        return await self._ask("GET", url, None, timeout_s, is_json=is_json)

    async def post(
        self, url: str, body: Mapping[str, Any], *, headers: Mapping[str, str]
    ) -> Posted:
        """Send and wait, for ever: whoever calls says how long."""
        return await self._ask("POST", url, body, None, headers)

    async def _ask(
        self, method: str, url: str, body: Mapping[str, Any] | None, timeout_s: float | None,
        headers: Mapping[str, str] | None = None, *, is_json: bool = True,
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
                answer = json.loads(text) if is_json else {}
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failed:
            said = self._shown(str(failed) or type(failed).__name__)
            return 0, {"error": said, "refused": _is_refused(failed)}, None
        except TimeoutError:
            said = f"no answer in {timeout_s:g} s" if timeout_s else "no answer"
            return 0, {"error": said, "may_be_billed": True}, None
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


def _is_refused(failed: Exception) -> bool:
    """Whether nobody listens there: the machine itself says so."""
    return isinstance(failed, aiohttp.ClientConnectorError) and isinstance(
        failed.os_error, ConnectionRefusedError
    )


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

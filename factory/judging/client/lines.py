"""The files of a batch: a line for each call that is sent, and for each answer that comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from factory.judging.client.calls import Call
from factory.judging.client.replies import cost_of, is_of_another, read_error, read_value
from factory.judging.client.tries import Try, failed_try
from factory.judging.outcomes import Reply
from factory.recipe import Endpoint

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


def line_of(call: Call) -> bytes:
    """A call as a line of the file that is sent."""
    asked = {"custom_id": call.call_id, "method": "POST", "url": "/v1/chat/completions"}
    text = json.dumps(asked | {"body": dict(call.body)}, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def answers_in(
    content: bytes, endpoint: Endpoint, reserved: dict[str, int]
) -> Iterator[tuple[str, Try]]:
    """Each line of an output or error file; a line that cannot be read answers nobody."""
    for line in content.splitlines():
        try:
            value: Any = json.loads(line)
            call_id = str(value["custom_id"])
            response: Any = value.get("response") or {}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        error = value.get("error")
        if isinstance(error, dict) and error:
            code = re.sub(r"[^a-z0-9]+", "_", str(error.get("code") or "error").lower())[:40]
            message = str(error.get("message") or "")[:300]
            yield (
                call_id,
                failed_try(
                    Reply(error=f"batch_{code.removeprefix('batch_')}"),
                    cost=0,
                    again=True,
                    message=message,
                ),
            )
        elif isinstance(response, dict):
            yield call_id, _tried(response, endpoint, reserved.get(call_id, 0))


def of_this(tried: Try, body: Mapping[str, Any]) -> Try:
    """The try, or a failure where the answer quotes the texts of another call."""
    if tried.reply.error or not is_of_another(tried.reply, body):
        return tried
    return failed_try(Reply(error="other_call"), cost=tried.cost, again=True, status=200)


def _tried(response: dict[str, Any], endpoint: Endpoint, reserved: int) -> Try:
    status, body = response.get("status_code"), response.get("body")
    if status != 200:
        code, message = read_error(json.dumps(body).encode())
        known = status if isinstance(status, int) and 0 <= status < 1000 else 0
        error = "no_quota" if code == "insufficient_quota" else f"http_{known}"
        again = known in _AGAIN
        return failed_try(
            Reply(error=error), cost=0, again=again, message=message[:300], status=known
        )
    reply, usage = read_value(body)
    cost = reserved if usage is None else cost_of(usage, endpoint)
    if reply.error:
        return failed_try(reply, cost=cost, again=True, status=200)
    return Try(reply=reply, cost=cost, http_status=200, latency_ms=0.0, again=False)

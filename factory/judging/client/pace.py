"""How fast an endpoint is asked: adaptive concurrency, pauses it asks for, waits between tries.

Concurrency grows until the endpoint objects and is cut when it does (additive increase,
multiplicative decrease, as TCP: RFC 5681). A `Retry-After` stops every caller, not only the one
that was told, because a limit belongs to the key.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_PAUSE = 600.0


class Pace:
    """The number of calls that may be in flight at an endpoint. One event loop only."""

    def __init__(self, *, most: int, start: int = 16) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.in_flight = 0
        self._slow_start = True
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._generation = 0
        self._open_at = 0.0

    async def enter(self) -> int:
        """Wait for a place; returns the generation to hand back to `cut`."""
        if self._waiting or self._free() <= 0:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn  # whoever wakes us has taken the place for us
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.leave()
                raise
        else:
            self.in_flight += 1
        return self._generation

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
        self._wake()

    def grow(self) -> None:
        """An answer came: one more place per answer at first, later one per round of answers."""
        self.limit = min(self.most, self.limit + (1 if self._slow_start else 1 / self.limit))
        self._wake()

    def cut(self, generation: int, *, by: float = 0.5) -> None:
        """The endpoint objected. Calls that left before the last cut say nothing new."""
        if generation == self._generation:
            self._generation += 1
            self._slow_start = False
            self.limit = max(1.0, self.limit * by)

    def pause(self, seconds: float) -> None:
        """No call leaves before so many seconds have passed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(seconds, LONGEST_PAUSE)
        if until > self._open_at:
            self._open_at = until
            loop.call_at(until, self.open, until)

    def open(self, paused_until: float = math.inf) -> None:
        """End the pause, unless a longer one was asked for meanwhile."""
        if self._open_at <= paused_until:
            self._open_at = 0.0
            self._wake()

    def _free(self) -> int:
        if asyncio.get_running_loop().time() < self._open_at:
            return 0
        return int(self.limit) - self.in_flight

    def _wake(self) -> None:
        free = self._free()
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                free -= 1
                turn.set_result(None)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait, from `Retry-After-Ms` or either form of `Retry-After`.

    Form: RFC 9110, section 10.2.3. None where there is none that can be read.
    """
    exact = _number(headers.get("retry-after-ms"))
    if exact is not None:
        return exact / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def backoff(tries: int, *, base: float = 0.5, most: float = 30.0) -> float:
    """Seconds before the next try: doubling, with jitter so that callers do not come back at once.

    `tries` counts the tries that failed, from 1.
    """
    return min(most, base * 2 ** min(tries - 1, 20)) * random.uniform(0.5, 1.0)

"""Requests and tokens per minute, kept before a call leaves, by all processes of a workspace.

The units are in the ledger, with the moment for which they were given. Who is kept from leaving at
that moment, by the ledger or by a busy machine, leaves a little later or takes another turn: late
calls never leave together with those whose turn it is.

Callers go in the order in which they asked, and one of them looks for all: a process takes no more
than what leaves within a second, so that it neither takes another's turn nor leaves a debt behind
when it is killed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from math import inf

from factory.store import Ledger
from factory.store.rates import LATE_S

_QUEUE = 512
"""Callers that one look at the ledger may serve."""


class Limits:
    """An endpoint's two limits, for the coroutines of one event loop; one that is None is none."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        name: str,
        rpm: int | None,
        tpm: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        named = {"requests": rpm, "tokens": tpm}
        self._limits = {kind: limit for kind, limit in named.items() if limit}
        self._ledger = ledger
        self._name = name
        self._clock = clock
        self._queue: deque[tuple[Mapping[str, int], asyncio.Future[float]]] = deque()
        self._unused: Counter[str] = Counter()
        self._slow = 0.0
        """Seconds in which the ledger answered last, where that is long."""
        self._looking: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    async def turn(self, tokens: int) -> float:
        """Wait until one request that may use so many tokens may leave, or until the end.

        Gives the moment until which it may: `leave` wants it.

        Raises:
            UserError: when the ledger cannot be written.
        """
        if not self._limits:
            return inf
        asked = {"requests": 1, "tokens": tokens}
        units = {kind: asked[kind] for kind in self._limits}
        while not self._ended.is_set():
            turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            self._queue.append((units, turn))
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            until = await turn
            # What a missed turn took is not given back: others have been told theirs by now.
            if self._clock() <= until:
                return until
        return inf

    async def leave(self, tokens: int, *, until: float) -> None:
        """Return when a request may leave that had its turn: now, or at another one if it is late.

        Raises:
            UserError: when the ledger cannot be written.
        """
        if self._clock() > until:
            await self.turn(tokens)

    def used(self, tokens: int, *, taken: int) -> None:
        """What a request really used: the rest is free again."""
        if "tokens" in self._limits and taken > tokens:
            self._unused["tokens"] += taken - tokens

    def end(self) -> None:
        """Nobody waits any more."""
        self._ended.set()
        for _, turn in self._queue:
            if not turn.done():
                turn.set_result(inf)
        self._queue.clear()

    async def close(self) -> None:
        """End, and give back what was not used."""
        self.end()
        if self._looking is not None:
            await self._looking
        if self._unused:
            with suppress(Exception):  # a courtesy to others: without it they wait a little longer
                await self._take(0)

    async def _look(self) -> None:
        """Serve the queue until it is empty."""
        while self._queue:
            try:
                moments = await self._take(_QUEUE)
            except Exception as failed:  # handed to the coroutines that wait: none may hang
                self._fail(failed)
                return
            for moment in moments:
                await self._rest(moment - self._clock())
                if not self._queue:
                    return
                units, turn = self._queue.popleft()
                if turn.done():
                    self.used(0, taken=units.get("tokens", 0))
                else:
                    turn.set_result(moment + LATE_S)

    async def _take(self, most: int) -> list[float]:
        calls = [units for units, _ in islice(self._queue, most)]
        unused, self._unused = self._unused, Counter()
        before = self._clock()
        moments = await asyncio.to_thread(
            self._ledger.take_units,
            self._name,
            self._limits,
            calls,
            unused=unused,
            soonest=self._slow,
        )
        # Else a ledger that needs longer than a turn is good for would never give one.
        took = self._clock() - before
        self._slow = took if took > LATE_S / 2 else 0.0
        return moments

    async def _rest(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), seconds)

    def _fail(self, failed: Exception) -> None:
        for _, turn in self._queue:
            if not turn.done():
                turn.set_exception(failed)
        self._queue.clear()

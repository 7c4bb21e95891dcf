"""Requests and tokens per minute, kept before a call leaves.

A token bucket (Turner, 1986; RFC 2697 has the same arithmetic) that may go into debt: who takes
what is not there yet is told how long to wait, so callers go in the order in which they asked and
no queue is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
MINUTE = 60.0


class Bucket:
    """At most `per_minute` units in any minute, as long as no single taking is above the burst."""

    def __init__(self, per_minute: int, *, clock: Clock = time.monotonic) -> None:
        # A burst of one second's worth; what it adds to a minute is taken off the steady flow.
        self._burst = max(1.0, per_minute // MINUTE)
        self._rate = (per_minute - self._burst + 1) / MINUTE
        self._clock = clock
        self._level = self._burst
        self._at = clock()

    def take(self, units: float) -> float:
        """Take units; gives the seconds to wait before they may be used."""
        self._fill()
        self._level -= units
        return max(0.0, -self._level / self._rate)

    def give_back(self, units: float) -> None:
        """Units that were taken and not used."""
        self._fill()
        self._level = min(self._burst, self._level + units)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now


class Limits:
    """An endpoint's two limits; a limit that is None is none."""

    def __init__(self, *, rpm: int | None, tpm: int | None, clock: Clock = time.monotonic) -> None:
        self._requests = Bucket(rpm, clock=clock) if rpm else None
        self._tokens = Bucket(tpm, clock=clock) if tpm else None

    def take(self, tokens: int) -> float:
        """One request that may use so many tokens; gives the seconds to wait before it leaves."""
        waits = [
            bucket.take(units)
            for bucket, units in ((self._requests, 1), (self._tokens, tokens))
            if bucket is not None
        ]
        return max(waits, default=0.0)

    def used(self, tokens: int, *, taken: int) -> None:
        """What a request really used: the rest is free again."""
        if self._tokens is not None:
            self._tokens.give_back(max(0, taken - tokens))

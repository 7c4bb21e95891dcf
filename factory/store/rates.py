"""Requests and tokens per minute, kept by every process that asks: a bucket is a row of the ledger.

A token bucket (Turner, 1986; RFC 2697 has the same arithmetic) that may go into debt: who takes
what is not there yet is told when it will be. A vendor's limit belongs to an account, so a bucket
of one process alone would let two of them go twice as fast as it allows.

What a bucket knows is the moment it gave; a call leaves at that moment or up to `LATE_S` after it,
never later. The flow is such that no minute of real leaving holds more than the limit even so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, extract, func, select

from factory.store import tables as t
from factory.store.database import Database

MINUTE = 60.0
AHEAD_S = 1.0
"""How far ahead units are given away at once: what a process that dies took and did not use."""
LATE_S = 0.5
"""How much later than its moment a call may leave; after that it needs another."""
_BURST_S = 0.5
"""What may leave at once after a rest, as seconds of the limit."""
_SKEW_S = 5.0
"""A row from further in the future was written by a clock that has been set back since."""


@dataclass(slots=True)
class Bucket:
    """At most `per_minute` units in any minute, as long as no single taking is above the burst."""

    per_minute: int
    level: float
    at: float
    """Seconds since 1970 at which it had that level."""

    @staticmethod
    def full(per_minute: int, *, at: float) -> Bucket:
        """A bucket that nobody has taken from for a while."""
        return Bucket(per_minute, _burst(per_minute), at)

    def wait(self, units: float, *, now: float) -> float:
        """Seconds until so many units may be used."""
        self._fill(now)
        return max(0.0, (units - self.level) / self._rate)

    def take(self, units: float, *, after: float) -> None:
        """Take units that are used so many seconds after the last look: no sooner than `wait`."""
        # What would flow over until then is not there for those who come later either.
        most = max(_burst(self.per_minute), units) - after * self._rate
        self.level = min(self.level, most) - units

    def give_back(self, units: float, *, now: float) -> None:
        """Units that were taken and not used."""
        self._fill(now)
        self.level = min(_burst(self.per_minute), self.level + units)

    @property
    def _rate(self) -> float:
        # What a burst, and what leaves late, adds to a minute is taken off the steady flow.
        return (self.per_minute - _burst(self.per_minute) + 1) / (MINUTE + LATE_S)

    def _fill(self, now: float) -> None:
        gone = max(0.0, now - self.at)
        self.level = min(_burst(self.per_minute), self.level + gone * self._rate)
        self.at = now if now > self.at or self.at > now + _SKEW_S else self.at


def take_together(
    buckets: Mapping[str, Bucket], units: Mapping[str, float], *, now: float, soonest: float = 0.0
) -> float:
    """Take a call's units of every kind; gives the seconds after `now` at which it may leave.

    It leaves when the scarcest of them is there, so that is when it takes from all. `soonest` is
    the least to wait.
    """
    waits = [bucket.wait(units[kind], now=now) for kind, bucket in buckets.items()]
    after = max([soonest, *waits])
    for kind, bucket in buckets.items():
        bucket.take(units[kind], after=after)
    return after


def _burst(per_minute: int) -> float:
    return max(1.0, per_minute * _BURST_S // MINUTE)


class Rates(Database):
    """The part of the ledger that keeps limits per minute."""

    def take_units(
        self,
        name: str,
        limits: Mapping[str, int],
        calls: Sequence[Mapping[str, float]],
        *,
        unused: Mapping[str, float] | None = None,
        soonest: float = 0.0,
    ) -> list[float]:
        """When the first calls of a queue may leave: as many as leave within `AHEAD_S`.

        Moments of this process's monotonic clock. Each is good for `LATE_S`; a call that has not
        left by then is to take again.

        Args:
            name: whose limits they are.
            limits: kind of unit -> units a minute.
            calls: the queue; each call's units by kind. Of a queue at least one call is served.
            unused: units of earlier calls that were taken and not used.
            soonest: no moment is nearer than so many seconds; for who hears of it late.
        """
        waits: list[float] = []
        with self.transaction(alone="rates") as con:
            here = time.monotonic()
            now = self._now(con)
            buckets = self._buckets(con, name, limits, now=now)
            for kind, units in (unused or {}).items():
                buckets[kind].give_back(units, now=now)
            for call in calls:
                waits.append(take_together(buckets, call, now=now, soonest=soonest))
                if waits[-1] >= soonest + AHEAD_S:
                    break
            rows = [
                {"name": f"{name} {kind}", "level": b.level, "at": b.at}
                for kind, b in sorted(buckets.items())
            ]
            same = {column: lambda new, c=column: getattr(new, c) for column in ("level", "at")}
            con.execute(self.upsert(t.rates, on_conflict=same), rows)
        return [here + wait for wait in waits]

    def _buckets(
        self, con: Connection, name: str, limits: Mapping[str, int], *, now: float
    ) -> dict[str, Bucket]:
        r = t.rates.c
        names = {f"{name} {kind}": kind for kind in limits}
        found = con.execute(select(r.name, r.level, r.at).where(r.name.in_(list(names)))).all()
        kept = {names[row.name]: (row.level, row.at) for row in found}
        return {
            kind: Bucket(limit, *kept[kind]) if kind in kept else Bucket.full(limit, at=now)
            for kind, limit in limits.items()
        }

    def _now(self, con: Connection) -> float:
        """Seconds since 1970: of several machines those of the database's own clock."""
        if not self.postgres:
            return time.time()
        return float(con.execute(select(extract("epoch", func.clock_timestamp()))).scalar_one())

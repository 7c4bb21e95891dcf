"""Requests and tokens per minute, kept by every process that asks: a bucket is a row of the ledger.

A token bucket (Turner, 1986; RFC 2697 has the same arithmetic) that may go into debt: who takes
what is not there yet is told how long to wait. A vendor's limit belongs to an account, so a bucket
of one process alone would let two of them go twice as fast as it allows.
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

    def take(self, units: float, *, now: float) -> float:
        """Take units; gives the seconds to wait before they may be used."""
        self._fill(now)
        self.level -= units
        return max(0.0, -self.level / self._rate)

    def give_back(self, units: float, *, now: float) -> None:
        """Units that were taken and not used."""
        self._fill(now)
        self.level = min(_burst(self.per_minute), self.level + units)

    @property
    def _rate(self) -> float:
        # What a burst adds to a minute is taken off the steady flow.
        return (self.per_minute - _burst(self.per_minute) + 1) / MINUTE

    def _fill(self, now: float) -> None:
        gone = max(0.0, now - self.at)
        self.level = min(_burst(self.per_minute), self.level + gone * self._rate)
        self.at = now if now > self.at or self.at > now + _SKEW_S else self.at


def _burst(per_minute: int) -> float:
    """One second's worth."""
    return max(1.0, per_minute // MINUTE)


class Rates(Database):
    """The part of the ledger that keeps limits per minute."""

    def take_units(
        self,
        name: str,
        limits: Mapping[str, int],
        calls: Sequence[Mapping[str, float]],
        *,
        unused: Mapping[str, float] | None = None,
    ) -> list[float]:
        """Seconds to wait for the first calls of a queue: for as many as leave within `AHEAD_S`.

        Args:
            name: whose limits they are.
            limits: kind of unit -> units a minute.
            calls: the queue; each call's units by kind. Of a queue at least one call is served.
            unused: units of earlier calls that were taken and not used.
        """
        waits: list[float] = []
        with self.transaction(alone="rates") as con:
            now = self._now(con)
            buckets = self._buckets(con, name, limits, now=now)
            for kind, units in (unused or {}).items():
                buckets[kind].give_back(units, now=now)
            for call in calls:
                waits.append(max(buckets[kind].take(call[kind], now=now) for kind in buckets))
                if waits[-1] >= AHEAD_S:
                    break
            rows = [
                {"name": f"{name} {kind}", "level": b.level, "at": b.at}
                for kind, b in sorted(buckets.items())
            ]
            same = {column: lambda new, c=column: getattr(new, c) for column in ("level", "at")}
            con.execute(self.upsert(t.rates, on_conflict=same), rows)
        return waits

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

"""Leases: who does what, told to every process through the ledger.

A lease has a heartbeat. It can be taken over when its owner is a dead process of this host, or
when it expired. A wall clock that jumps forward cannot take a lease from a live process of the
same host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete, select, update

from factory.errors import LeaseHeld
from factory.store import tables as t
from factory.store.database import Database, owner_is_dead

TTL_SECONDS = 60.0


class Leases(Database):
    """The part of the ledger that leases use."""

    @contextmanager
    def lease(self, name: str, *, ttl_s: float = TTL_SECONDS) -> Iterator[None]:
        """Hold a named lease while the block runs, with a heartbeat beside it.

        Raises:
            LeaseHeld: when a live owner has it; the message says who and since when.
        """
        self.take_lease(name, ttl_s=ttl_s)
        stop = threading.Event()
        beat = threading.Thread(target=self._beat, args=(name, ttl_s, stop), daemon=True)
        beat.start()
        try:
            yield
        finally:
            stop.set()
            beat.join()
            self.give_lease(name)

    def take_lease(self, name: str, *, ttl_s: float = TTL_SECONDS) -> None:
        """Take a free, expired or orphaned lease. Raises `LeaseHeld` otherwise."""
        now = time.time()
        with self.transaction() as con:
            held = con.execute(select(t.leases).where(t.leases.c.name == name)).mappings().first()
            if held is not None and held["owner"] != self.owner:
                dead = owner_is_dead(held["owner"])
                expired = held["expires_at"] < now and not _is_here(held["owner"], self.owner)
                if not (dead or expired):
                    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(held["taken_at"]))
                    raise LeaseHeld(
                        f"{name} is held by {held['owner']} since {since}",
                        next="prefactory status  # wait for it, or stop that process",
                    )
            row = {"name": name, "owner": self.owner, "beat": 0, "taken_at": now}
            again = {"owner": self.owner, "beat": 0, "taken_at": now, "expires_at": now + ttl_s}
            con.execute(
                self.upsert(t.leases, [row | {"expires_at": now + ttl_s}], on_conflict=again)
            )

    def give_lease(self, name: str) -> None:
        """Give a lease back, if it is still ours."""
        with self.transaction() as con:
            con.execute(
                delete(t.leases).where(t.leases.c.name == name, t.leases.c.owner == self.owner)
            )

    def _beat(self, name: str, ttl_s: float, stop: threading.Event) -> None:
        while not stop.wait(ttl_s / 4):
            with self.transaction() as con:
                con.execute(
                    update(t.leases)
                    .where(t.leases.c.name == name, t.leases.c.owner == self.owner)
                    .values(beat=t.leases.c.beat + 1, expires_at=time.time() + ttl_s)
                )


def _is_here(owner: str, mine: str) -> bool:
    return owner.partition("/")[0] == mine.partition("/")[0]

"""Leases: who does what, told to every process through the ledger.

A lease has a heartbeat. It is free for the taking when its owner is a dead process of this host.
Of an owner elsewhere only the heartbeat tells: a lease is taken over when its beat did not move
for a whole time to live by this process's own steady clock, or when it is past its end by the wall
clock and does not move for half that time. So a clock that jumps, here or there, neither takes a
lease from a live owner nor keeps a dead owner's lease for ever.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from factory.errors import FactoryError, LeaseHeld
from factory.store import tables as t
from factory.store.database import Database, owner_is_dead, same_host

TTL_SECONDS = 60.0

log_ = logging.getLogger(__name__)


class Lease:
    """A lease that is held: its owner asks it, between units of work, whether it still is."""

    def __init__(self, name: str, owner: str) -> None:
        self.name = name
        self.owner = owner
        self.lost = threading.Event()

    def check(self) -> None:
        """Raises `LeaseHeld` when somebody took the lease over."""
        if self.lost.is_set():
            raise LeaseHeld(
                f"{self.name} was taken over by another process while this one did not answer",
                next="prefactory status",
            )


class Leases(Database):
    """The part of the ledger that leases use."""

    def __init__(self, url: str, *, owner: str | None = None) -> None:
        super().__init__(url, owner=owner)
        self._mine: dict[str, str] = {}
        self._idle: list[Callable[[], None]] = []
        self._watched: dict[str, tuple[str, int, float]] = {}

    @contextmanager
    def lease(
        self, name: str, *, ttl_s: float = TTL_SECONDS, wait_s: float = 0.0
    ) -> Iterator[Lease]:
        """Hold a named lease while the block runs, with a heartbeat beside it.

        Args:
            name: of what one process at a time may do.
            ttl_s: seconds without a heartbeat after which an owner elsewhere counts as dead.
            wait_s: how long to wait for a live owner.

        Raises:
            LeaseHeld: when a live owner has it; the message says who and since when.
        """
        owner = self.take_lease(name, ttl_s=ttl_s, wait_s=wait_s)
        held = Lease(name, owner)
        stop = threading.Event()
        beat = threading.Thread(target=self._beat, args=(held, ttl_s, stop), daemon=True)
        beat.start()
        try:
            yield held
        finally:
            stop.set()
            beat.join()
            self.give_lease(name)

    def take_lease(self, name: str, *, ttl_s: float = TTL_SECONDS, wait_s: float = 0.0) -> str:
        """Take a free or orphaned lease; gives the name it is held under.

        Raises:
            LeaseHeld: when a live owner has it for longer than `wait_s`.
        """
        # Each taking has its own name: two threads of one process are two owners as well.
        owner = f"{self.owner}/{uuid.uuid4().hex[:8]}"
        until = time.monotonic() + wait_s
        pause = 0.005
        while (held := self._try_lease(name, owner, ttl_s)) is not None:
            watching = self._stale_by_wall(held) and self._watch_left(held, ttl_s) > 0
            if time.monotonic() >= until and not watching:
                since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(held["taken_at"]))
                raise LeaseHeld(
                    f"{name} is held by {held['owner']} since {since}",
                    next="prefactory status  # wait for it, or stop that process",
                )
            # Somewhat at random, so that those who wait do not all ask at once.
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.5)
        self._mine[name] = owner
        return owner

    def _try_lease(self, name: str, owner: str, ttl_s: float) -> dict[str, Any] | None:
        """One attempt; gives the row of whoever has it, or None when it is ours now."""
        now = time.time()
        mine = {"owner": owner, "beat": 0, "taken_at": now, "expires_at": now + ttl_s}
        columns = t.leases.c
        with self.transaction() as con:
            found = con.execute(select(t.leases).where(columns.name == name)).mappings().first()
            held = dict(found) if found is not None else None
            if held is not None and not (
                owner_is_dead(held["owner"]) or self._is_silent(held, ttl_s)
            ):
                return held
            seen = held or {"owner": "", "beat": -1}
            # Only over the owner and beat that were just judged: one taker wins.
            taken = con.execute(
                self.upsert(
                    t.leases,
                    [{"name": name, **mine}],
                    on_conflict=mine,
                    where=(columns.owner == seen["owner"]) & (columns.beat == seen["beat"]),
                ).returning(columns.owner)
            ).scalar()
            if taken == owner:
                return None
            found = con.execute(select(t.leases).where(columns.name == name)).mappings().first()
        return dict(found) if found is not None else self._try_lease(name, owner, ttl_s)

    def _is_silent(self, held: dict[str, Any], ttl_s: float) -> bool:
        """Whether the heartbeat of an owner elsewhere stood still for long enough."""
        if same_host(held["owner"], self.owner):
            return False  # its process lives, or `owner_is_dead` would have said so
        return self._watch_left(held, ttl_s) <= 0

    def _watch_left(self, held: dict[str, Any], ttl_s: float) -> float:
        """Seconds of silence still to be seen before an owner elsewhere counts as dead."""
        name, owner, beat = held["name"], held["owner"], held["beat"]
        seen = self._watched.get(name)
        if seen is None or seen[:2] != (owner, beat):
            seen = self._watched[name] = (owner, beat, time.monotonic())
        enough = ttl_s / 2 if self._stale_by_wall(held) else ttl_s
        return seen[2] + enough - time.monotonic()

    def _stale_by_wall(self, held: dict[str, Any]) -> bool:
        return held["expires_at"] < time.time() and not same_host(held["owner"], self.owner)

    def holds(self, name: str) -> bool:
        """Whether this process took the lease and has not given it back."""
        return name in self._mine

    def give_lease(self, name: str) -> None:
        """Give a lease back, if it is still ours."""
        owner = self._mine.pop(name, "")
        with self.transaction() as con:
            con.execute(delete(t.leases).where(t.leases.c.name == name, t.leases.c.owner == owner))

    # --- what is held and idle ------------------------------------------------------------------

    def stand_by(self, give_back: Callable[[], None]) -> None:
        """Whoever needs leases of this process may have those of an idle holder: it is called."""
        self._idle.append(give_back)

    def called_back(self, give_back: Callable[[], None]) -> bool:
        """An idle holder works again; False when it has been called meanwhile."""
        try:
            self._idle.remove(give_back)
        except ValueError:
            return False
        return True

    def relieve(self) -> bool:
        """Have idle holders of this process give their leases back; False when there are none."""
        relieved = False
        while self._idle:
            try:
                give_back = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            give_back()
            relieved = True
        return relieved

    def _beat(self, held: Lease, ttl_s: float, stop: threading.Event) -> None:
        mine = (t.leases.c.name == held.name, t.leases.c.owner == held.owner)
        while not stop.wait(ttl_s / 4):
            try:
                with self.transaction() as con:
                    beaten = con.execute(
                        update(t.leases)
                        .where(*mine)
                        .values(beat=t.leases.c.beat + 1, expires_at=time.time() + ttl_s)
                    )
                if beaten.rowcount == 0:
                    held.lost.set()
                    return
            except (FactoryError, DBAPIError) as failed:
                log_.warning("no heartbeat of %s: %s", held.name, failed)  # the next one may do

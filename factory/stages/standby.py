"""Engines between two waves of a round: they stay open, unless their devices are needed.

Loading a model takes longer than many a wave. Between waves a judge or the exactness check may need
the devices: whoever waits for one in this process has the idle engines closed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from factory.stages.crew import Crew
from factory.store.leases import Leases


@dataclass(slots=True)
class Standby:
    """At most one idle crew; only inside `kept`."""

    _crew: Crew | None = None
    _kept: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def kept(self, leases: Leases) -> Iterator[None]:
        """Engines that are put here stay open until the block ends."""
        self._kept = True
        try:
            yield
        finally:
            self._kept = False
            idle = self.take(leases)
            if idle is not None:
                idle.close()

    def put(self, crew: Crew, leases: Leases) -> None:
        """Keep a crew whose shards are done, or close it where nobody would take it."""
        if not self._kept:
            crew.close()
            return
        self._crew = crew
        leases.stand_by(self._give_back)

    def take(self, leases: Leases) -> Crew | None:
        """The idle crew, if it is still there."""
        if not leases.called_back(self._give_back):
            with self._lock:  # whoever closes it now is waited for
                return None
        crew, self._crew = self._crew, None
        return crew

    def _give_back(self) -> None:
        with self._lock:
            crew, self._crew = self._crew, None
            if crew is not None:
                crew.close()

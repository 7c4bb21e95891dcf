"""Several keys of one endpoint: used in turn; one that is refused or crowded rests.

A vendor's limit belongs to a key. While another key can go on, neither the pace nor the run is
stopped for one that cannot.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

FORBIDDEN = 5
"""403s after which a key that no call was answered under counts as refused."""
CROWDED_S = 5.0
"""How long a crowded key rests where the server names no time."""


class Keys:
    """The keys of an endpoint, by index. An endpoint without keys has one that is None."""

    def __init__(self, keys: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys: tuple[str | None, ...] = tuple(keys) or (None,)
        self._clock = clock
        self._rest = [0.0] * len(self._keys)
        self._next = 0
        self._good: set[int] = set()
        self._forbidden: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> str | None:
        return self._keys[index]

    def pick(self) -> int:
        """The next key that is awake; where none is, the one that wakes first."""
        now, n = self._clock(), len(self._keys)
        turn = [(self._next + i) % n for i in range(n)]
        chosen = next((i for i in turn if self._rest[i] <= now), None)
        if chosen is None:
            chosen = min(turn, key=lambda i: self._rest[i])
        self._next = (chosen + 1) % n
        return chosen

    def crowded(self, index: int, seconds: float | None) -> float | None:
        """A key met its limit; gives the seconds until any key is awake, None when one is."""
        self._sleep(index, CROWDED_S if seconds is None else seconds)
        return self._until_one_wakes()

    def refused(self, index: int) -> bool:
        """A key is wrong, or has no credit, and rests for good; gives whether another is left."""
        self._sleep(index, float("inf"))
        return any(until != float("inf") for until in self._rest)

    def worked(self, index: int) -> None:
        """A call under this key was answered."""
        self._good.add(index)

    def about_text(self, index: int) -> bool | None:
        """Whether a 403 is about a call's text and not about the key; None while nobody knows."""
        self._forbidden[index] += 1
        if index in self._good:
            return True
        return None if self._forbidden[index] < FORBIDDEN else False

    def hidden(self, text: str) -> str:
        """A server's words without our keys, which some servers repeat."""
        for key in self._keys:
            text = text.replace(key, "***") if key else text
        return text

    def _sleep(self, index: int, seconds: float) -> None:
        self._rest[index] = max(self._rest[index], self._clock() + seconds)

    def _until_one_wakes(self) -> float | None:
        soonest = min(self._rest) - self._clock()
        return soonest if soonest > 0 else None

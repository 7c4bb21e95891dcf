"""Which ids a lake table may hold already, without reading it again for every commit.

Eight bytes an id, in sorted arrays that double in size: a million ids are 8 MB and a look-up is a
binary search. Two ids may share a hash, so a hit says "look"; a miss is certain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]


def twice(hashes: Hashes) -> bool:
    """Whether one of them is there more than once."""
    ordered = np.sort(hashes)
    return bool((ordered[1:] == ordered[:-1]).any())


class KnownIds:
    """Hashes of the ids in a list of immutable files."""

    def __init__(self) -> None:
        self._files: frozenset[str] = frozenset()
        self._runs: list[Hashes] = []

    def __len__(self) -> int:
        return sum(run.size for run in self._runs)

    def follow(self, files: list[str], load: Callable[[list[str]], Hashes]) -> None:
        """Come to know exactly the ids of these files.

        Args:
            files: the live files of the table.
            load: reads the hashes of files that are not known yet.
        """
        now = frozenset(files)
        if not self._files <= now:
            # Files went away: a compaction put their rows into others, or a torn commit was set
            # aside and its ids are free again. Starting over is right for both.
            self._files, self._runs = frozenset(), []
        fresh = sorted(now - self._files)
        if fresh:
            self._insert(load(fresh))
        self._files = now

    def add(self, files: list[str], hashes: Hashes) -> None:
        """Note files that this process wrote itself, with the ids in them."""
        self._insert(hashes)
        self._files |= set(files)

    def maybe(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """True where the id may be known; False is certain."""
        hit = np.zeros(hashes.size, dtype=np.bool_)
        order = np.argsort(hashes)
        asked = hashes[order]  # in order, a search stays near the last one in memory
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, asked), run.size - 1)
            hit[order] |= run[at] == asked
        return hit

    def _insert(self, hashes: Hashes) -> None:
        if hashes.size == 0:
            return
        self._runs.append(np.sort(hashes))
        while len(self._runs) > 1 and self._runs[-2].size < 2 * self._runs[-1].size:
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(np.sort(np.concatenate([before, last]), kind="stable"))

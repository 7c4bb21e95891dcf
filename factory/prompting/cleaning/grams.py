"""Word n-grams of many texts at once: hashed with numpy, looked up by binary search, then compared.

Texts are arrays of word numbers, one after the other; 0 is a word that no benchmark uses and the
end of a text, and no n-gram holds it. A hash only proposes: every hit is compared word by word, so
the answer is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def mixed(words: Ints) -> Hashes:
    """A 64-bit number for each word number (the finaliser of SplitMix64)."""
    x = words.astype(np.uint64) * _MULTIPLIER
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def windows(words: Ints, n: int) -> tuple[Hashes, Ints]:
    """Hashes of the n-grams without a 0, and where each begins."""
    count = len(words) - n + 1
    if count <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    letters = mixed(words)
    hashes = np.zeros(count, np.uint64)
    for at in range(n):
        hashes = hashes * _MULTIPLIER + letters[at : at + count]
    zeros = np.concatenate([[0], np.cumsum(words == 0)])
    begins = np.flatnonzero(zeros[n:] == zeros[:count])
    return hashes[begins], begins


@dataclass(frozen=True, slots=True)
class Grams:
    """Where every n-gram of the indexed words begins."""

    n: int
    words: Ints
    hashes: Hashes  # (G,) sorted, one a posting
    begins: Ints  # (G,) positions in `words`

    @classmethod
    def of(cls, words: Ints, n: int, *, begins: Ints, hashes: Hashes) -> Grams:
        """Index some n-grams of `words`."""
        order = np.argsort(hashes, kind="stable")
        return cls(n, words, hashes[order], begins[order])

    def find(self, words: Ints) -> tuple[Ints, Ints]:
        """Every pair (position in the given words, position in the indexed words) that agrees."""
        hashes, begins = windows(words, self.n)
        low = np.searchsorted(self.hashes, hashes, "left")
        times = np.searchsorted(self.hashes, hashes, "right") - low
        here = np.repeat(begins, times)
        ends = np.cumsum(times)
        offset = np.arange(len(here)) - np.repeat(ends - times, times)
        there = self.begins[np.repeat(low, times) + offset]
        same = np.ones(len(here), bool)
        for at in range(self.n):
            same &= words[here + at] == self.words[there + at]
        return here[same], there[same]

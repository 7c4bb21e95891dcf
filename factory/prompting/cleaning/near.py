"""Near-duplicates: prompts whose word 3-grams are nearly the same set.

MinHash (Broder 1997, through datasketch) proposes candidates; the exact Jaccard similarity of the
two sets decides, so the number that a drop shows is the true one. Bands and kept prompts lie in a
temporary SQLite file: a pool of millions costs disk, not memory. The first that came is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from zlib import crc32

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH

from factory.prompting.cleaning.words import numbers_of, words_of
from factory.rows import text_hash

SIMILARITY = 0.8
"""As datatrove's and NeMo Curator's MinHash defaults, near 0.8."""
SHINGLE = 3
PERMUTATIONS = 128
SEED = 1

_TABLES = """
    create table kept (n integer primary key, prompt_id text, facts text, grams blob);
    create table bands (key blob, n int);
    create index by_key on bands (key);
"""

Hashes = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Near:
    """The kept prompt that another one repeats, and how much they share, in [0, 1]."""

    prompt_id: str
    similarity: float


class NearDuplicates:
    """What was kept so far; `first` says whether a prompt repeats one of it."""

    def __init__(self, *, similarity: float = SIMILARITY) -> None:
        self.similarity = similarity
        self._sketch = MinHash(num_perm=PERMUTATIONS, seed=SEED, hashfunc=_same)
        # The library weighs bands against rows; a missed pair is worse than one more comparison.
        lsh = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
        self._ranges: list[tuple[int, int]] = list(lsh.hashranges)
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript("pragma journal_mode = off; pragma synchronous = off;" + _TABLES)
        self._db.execute("begin")

    def first(self, prompt_id: str, turns: Sequence[str], *, facts: str = "") -> Near | None:
        """The kept prompt that this one nearly repeats; None keeps this one.

        Args:
            prompt_id: this prompt.
            turns: what it says.
            facts: what must be equal in both whatever the words are, as a checker's arguments.
        """
        words = [word for turn in turns for word in words_of(turn)]
        # Another number, or the same ones in another order, is another task with another answer.
        facts = text_hash("\x1f".join([facts, *numbers_of(words)]))
        grams = _shingles(words)
        bands = self._bands(grams)
        best = self._nearest(bands, facts, grams)
        if best is not None:
            return best
        row = self._db.execute(
            "insert into kept (prompt_id, facts, grams) values (?, ?, ?)",
            (prompt_id, facts, grams.tobytes()),
        ).lastrowid
        self._db.executemany("insert into bands values (?, ?)", [(key, row) for key in bands])
        return None

    def _bands(self, grams: Hashes) -> list[bytes]:
        sketch = self._sketch.copy()
        sketch.update_batch(grams.tolist())
        values = sketch.hashvalues
        return [
            blake2b(values[start:end].tobytes(), digest_size=8, salt=start.to_bytes(2)).digest()
            for start, end in self._ranges
        ]

    def _nearest(self, bands: Sequence[bytes], facts: str, grams: Hashes) -> Near | None:
        marks = ", ".join("?" * len(bands))
        found = self._db.execute(
            f"select distinct k.n, k.prompt_id, k.grams from bands b join kept k using (n) "
            f"where b.key in ({marks}) and k.facts = ? order by k.n",
            (*bands, facts),
        )
        best: Near | None = None
        for _, prompt_id, blob in found:
            similarity = _jaccard(grams, np.frombuffer(blob, np.uint32))
            if similarity >= self.similarity and (best is None or similarity > best.similarity):
                best = Near(prompt_id, round(similarity, 3))
        return best

    def close(self) -> None:
        """Delete the temporary file."""
        self._db.close()


def _same(value: int) -> int:
    return value


def _shingles(words: Sequence[str]) -> Hashes:
    """The set of a text's word 3-grams as sorted 32-bit hashes; a shorter text is one gram."""
    grams = {" ".join(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1))}
    return np.array(
        sorted({crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams}), np.uint32
    )


def _jaccard(one: Hashes, other: Hashes) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)

"""Which rows make which step: a pure function of lengths and a seed.

The whole run is planned before it starts. Every step has exactly `batch_size` units, so gradient
accumulation, the number of devices and a resume cannot change what a step averages over.
"""

from __future__ import annotations

import bisect
import math

import numpy as np

from factory.training.data import Ints

WINDOW = 32
"""Batches that are sorted by length together: little padding, still well mixed."""


def steps_for(n: int, *, batch_size: int, epochs: float, max_steps: int | None) -> int:
    """Optimizer steps of a run: `max_steps`, or enough to see every unit `epochs` times."""
    return max_steps or max(1, math.ceil(n * epochs / batch_size))


def plan(lengths: Ints, *, batch_size: int, steps: int, seed: int) -> Ints:
    """Unit indices of every step, (steps, batch_size), deterministic by seed.

    Each epoch is a fresh permutation, bucketed by length within windows of batches. The last step
    is filled from the next epoch's permutation, so that every step is a full batch.
    """
    need, stream, epoch = steps * batch_size, np.empty(0, np.int64), 0
    while len(stream) < need:
        rng = np.random.default_rng([seed, epoch])
        stream = np.concatenate([stream, _epoch(lengths, batch_size=batch_size, rng=rng)])
        epoch += 1
    return stream[:need].reshape(steps, batch_size)


def _epoch(lengths: Ints, *, batch_size: int, rng: np.random.Generator) -> Ints:
    order = rng.permutation(len(lengths))
    window = batch_size * WINDOW
    pieces: list[Ints] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        part = part[np.argsort(lengths[part], kind="stable")]
        full = len(part) // batch_size * batch_size
        # Rows that make no full batch come from everywhere, not only from the longest.
        spare = np.sort(rng.choice(len(part), len(part) - full, replace=False))
        whole = np.delete(part, spare).reshape(-1, batch_size)
        pieces.extend([whole[rng.permutation(len(whole))].reshape(-1), part[spare]])
    return np.concatenate(pieces) if pieces else order


def pack(lengths: Ints, *, capacity: int, seed: int) -> list[list[int]]:
    """Groups of whole rows with at most `capacity` tokens each: best fit, longest first.

    Ties are broken by a seeded shuffle so that neighbours in the file do not travel together.
    """
    shuffled = np.random.default_rng([seed, len(lengths)]).permutation(len(lengths))
    order = shuffled[np.argsort(-lengths[shuffled], kind="stable")]
    groups: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens left, group), sorted
    for row in order.tolist():
        size = int(lengths[row])
        at = bisect.bisect_left(free, (size, -1))
        if at == len(free):
            groups.append([row])
            bisect.insort(free, (capacity - size, len(groups) - 1))
            continue
        left, group = free.pop(at)
        groups[group].append(row)
        bisect.insort(free, (left - size, group))
    return groups

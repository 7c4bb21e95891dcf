"""`prefactory`, also as `python -m factory`: what memory a long command gives back, then its verb.

A night takes thousands of shards through a few threads. glibc gives each thread a heap of its own,
and Arrow's own allocator keeps freed pages for itself: what one shard needed for a moment then
stays taken in every one of them. With two heaps and the system's allocator, sampling 100,000
prompts takes 7 % more memory than 10,000 (bench/sampling.py), else a quarter more.
"""

from __future__ import annotations

import ctypes
import os
import platform

_M_ARENA_MAX = -8
"""Of <malloc.h>."""


def keep_memory_flat() -> None:
    """Tell the allocators, before Arrow is imported. What the environment says goes first."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if platform.libc_ver()[0] == "glibc" and "MALLOC_ARENA_MAX" not in os.environ:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def main() -> None:
    """Entry point of `prefactory`."""
    keep_memory_flat()
    from factory.cli import main as command  # imports Arrow

    command()


if __name__ == "__main__":
    main()

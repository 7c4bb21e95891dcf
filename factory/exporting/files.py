"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Make a file or directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(aside: Path, final: Path) -> None:
    """Rename a finished directory into place; where another process was first, keep its."""
    sync_file(aside)
    try:
        os.rename(aside, final)
    except OSError:
        # The name is the hash of the content: whoever was first wrote the same.
        if not final.is_dir():
            raise
    sync_file(final.parent)

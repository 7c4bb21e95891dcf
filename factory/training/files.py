"""Files that are whole or absent: digests, fsync, atomic directories, and a lock per job."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

MANIFEST = "manifest.json"
WEIGHT_SUFFIXES = (".safetensors", ".safetensors.index.json")


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(directory: Path) -> list[Path]:
    """Every file below a directory, sorted by relative path."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def weights_digest(model_dir: Path) -> str:
    """Digest of a model's weight and architecture bytes, whatever its path."""
    names = ("config.json", "adapter_config.json")
    digest = hashlib.sha256()
    for path in files_below(model_dir):
        if path.parent == model_dir and (path.suffix == ".safetensors" or path.name in names):
            digest.update(f"{path.name}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Force a file's or directory's bytes to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write JSON so that a reader sees the old file or the new one, whole."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True, default=str)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def seal(staged: Path, final: Path, *, facts: Mapping[str, object]) -> None:
    """Turn a staged directory into a whole one: fsync all, manifest last, then one rename.

    Raises:
        FileExistsError: when `final` exists; nothing is ever written over a directory in use.
    """
    if final.exists():
        raise FileExistsError(final)
    digests = {str(p.relative_to(staged)): sha256_of(p) for p in files_below(staged)}
    for path in files_below(staged):
        sync(path)
    write_json(staged / MANIFEST, {**facts, "files": digests})
    for directory in sorted({p.parent for p in files_below(staged)}):
        sync(directory)
    final.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(final)
    sync(final.parent)


def manifest_of(directory: Path) -> dict[str, object] | None:
    """The manifest of a sealed directory whose every file still has its digest, else None."""
    try:
        said: dict[str, object] = json.loads((directory / MANIFEST).read_text("utf-8"))
        digests = said["files"]
        assert isinstance(digests, dict)
        whole = all(sha256_of(directory / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, KeyError, AssertionError):
        return None
    return said if whole else None


def remove(directory: Path) -> None:
    """Delete a directory so that a crash half-way never leaves a torn one under its name."""
    if directory.exists():
        doomed = directory.with_name(f".deleting-{directory.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        directory.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a job's lock; waits while another living process holds it, dies with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

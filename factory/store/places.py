"""Where a lake lies: a directory of this machine, or a prefix of an object store, by one URL.

Both are read and written through pyarrow's file systems. Only a directory needs what this file adds
to them: names that appear whole, and fsync, because an acknowledged commit must survive a power
cut. An object store makes an object durable and visible at once.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from factory.errors import StoreError, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class Place:
    """A root under which a lake's files have relative names."""

    def __init__(self, root: str | Path) -> None:
        self.url = str(root)
        self.local = "://" not in self.url
        if self.local:
            self.path = Path(root).absolute()
            self.fs: pafs.FileSystem = pafs.LocalFileSystem()
            self.base = str(self.path)
        else:
            # Credentials, region and endpoint come from the store's usual environment names.
            self.fs, self.base = pafs.FileSystem.from_uri(self.url.rstrip("/"))
        self.options = None if self.local else {"AWS_ALLOW_HTTP": "true"}
        """What delta-rs is told beside the environment. A plain http endpoint is allowed because
        the user named it; an https one stays https."""

    def uri(self, name: str) -> str:
        """The address of a file or folder, for delta-rs."""
        return (self.path / name).as_uri() if self.local else f"{self.url.rstrip('/')}/{name}"

    def full(self, name: str) -> str:
        """The name of a file in this place's file system."""
        return f"{self.base}/{name}"

    def make(self, name: str = "") -> None:
        """Make a folder. An object store has none."""
        if self.local:
            with blaming(self.full(name)):
                (self.path / name).mkdir(parents=True, exist_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a file or a folder with something in it is there."""
        if self.local:
            return (self.path / name).exists()
        return self.fs.get_file_info(self.full(name)).type != pafs.FileType.NotFound

    def names(self, folder: str, *, deep: bool = False) -> dict[str, pafs.FileInfo]:
        """The files of a folder by their name in it; nothing when it is absent."""
        selector = pafs.FileSelector(self.full(folder), allow_not_found=True, recursive=deep)
        start = len(self.full(folder)) + 1
        found = self.fs.get_file_info(selector)
        return {i.path[start:]: i for i in found if i.type == pafs.FileType.File}

    def read(self, name: str) -> bytes:
        """A whole file."""
        with self.fs.open_input_stream(self.full(name)) as stream:
            return stream.read()

    def write(self, name: str, data: pa.Buffer | bytes, *, durable: bool = True) -> None:
        """Write a file whole and durable: a reader sees all of it or none.

        Raises:
            UserError: when there is no room or no permission; nothing is left behind then.
        """
        if not self.local:
            with self.fs.open_output_stream(self.full(name)) as stream:
                stream.write(data)
            return
        target = self.path / name
        aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        with blaming(self.full(name)):
            try:
                with aside.open("wb") as handle:
                    handle.write(data)
                    handle.flush()
                    if durable:
                        os.fsync(handle.fileno())
                os.replace(aside, target)
            except OSError:
                aside.unlink(missing_ok=True)
                raise
            if durable:
                self.sync(str(Path(name).parent))

    def delete(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        try:
            self.fs.delete_file(self.full(name))
        except FileNotFoundError:
            return

    def sync(self, *names: str) -> None:
        """Put files or folders on the disk for good."""
        if not self.local:
            return
        for name in names:
            handle = os.open(self.path / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


@contextmanager
def blaming(where: str) -> Iterator[None]:
    """Turn a full disk or a missing permission into the user's error."""
    try:
        yield
    except OSError as failed:
        if failed.errno in _FULL:
            raise UserError(
                f"there is no room left to write {where}; nothing of it was kept",
                next="df -h  # free some space, then type the same command again",
            ) from failed
        if failed.errno in _CLOSED:
            raise UserError(
                f"{where} cannot be written: {failed.strerror}",
                next=f"ls -ld {Path(where).parent}  # then chmod or chown it",
            ) from failed
        raise


def blame_words(message: str, where: str) -> UserError | None:
    """The user's error in the words of a library that keeps no error number, or None."""
    if any(words in message for words in ("No space left", "os error 28", "File too large")):
        return UserError(
            f"there is no room left to write {where}; nothing of it was kept",
            next="df -h  # free some space, then type the same command again",
        )
    if any(w in message for w in ("Permission denied", "Read-only file system", "os error 13")):
        return UserError(
            f"{where} cannot be written: permission denied", next=f"ls -ld {where}  # then chmod it"
        )
    return None


def check_name(place: Place) -> None:
    """Refuse a path whose characters are wildcards or worse to the programs that read a lake."""
    bad = sorted(set(re.findall(r"[\[\]*?%]", place.url)))
    if bad:
        raise UserError(
            f"{place.url} cannot hold a lake: {' '.join(bad)} in a path means something else to "
            "the programs that read it",
            next="mv it to a path without these characters",
        )


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Errors of delta-rs in our own words where we know better ones."""
    try:
        yield
    except BaseException as failed:
        # By name: pyo3's PanicException is no Exception, and its class cannot be imported.
        if type(failed).__name__ == "PanicException":
            raise StoreError(f"delta-rs failed on {where}: {failed}") from failed
        if isinstance(failed, Exception) and (blamed := blame_words(str(failed), where)):
            raise blamed from failed
        raise

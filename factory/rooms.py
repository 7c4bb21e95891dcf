"""Finds the files that people edit: prompts/, judges/, storage/, recipes/ and flows/.

A file in the workspace overrides the packaged file of the same name. A file's identity is the sha
of its text, never its path, so that an edited judge or strategy is another judge or strategy.
"""

from __future__ import annotations

import difflib
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from factory.errors import UserError

ROOMS = ("prompts", "judges", "storage", "recipes", "flows")

_PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Content:
    """One content file: its name without suffix, its text and the text's identity."""

    name: str
    text: str
    sha: str
    path: Path


def packaged(room: str) -> Path:
    """Where the room's own files are: inside the wheel, or at the root of a checkout."""
    inside = _PACKAGE / "_rooms" / room
    return inside if inside.is_dir() else _PACKAGE.parent / room


def listing(room: str, *, suffix: str, workspace: Path | None = None) -> dict[str, Path]:
    """Name -> file of a room (`room` may name a folder in it, as `storage/views`)."""
    found: dict[str, Path] = {}
    places = [packaged(room)] + ([workspace / room] if workspace else [])
    for place in places:
        if place.is_dir():
            found |= {p.name.removesuffix(suffix): p for p in sorted(place.glob(f"*{suffix}"))}
    return dict(sorted(found.items()))


def read(room: str, name: str, *, suffix: str, workspace: Path | None = None) -> Content:
    """The content file of that name.

    Raises:
        UserError: when no file has that name; it names the nearest that exists.
    """
    files = listing(room, suffix=suffix, workspace=workspace)
    if name not in files:
        near = difflib.get_close_matches(name, files, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(files)}"
        raise UserError(
            f"{room}/ has no {name}{suffix}{hint}",
            next=f"ls {room}/  # or write {room}/{name}{suffix}",
        )
    return read_file(files[name], suffix=suffix)


def read_file(path: Path, *, suffix: str = "") -> Content:
    """One content file by path.

    Raises:
        UserError: when it is missing or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as missing:
        raise UserError(f"{path} does not exist", next=f"ls {path.parent}") from missing
    except UnicodeDecodeError as bad:
        raise UserError(f"{path} is not UTF-8: {bad}", next=f"file {path}") from bad
    sha = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return Content(name=path.name.removesuffix(suffix), text=text, sha=sha, path=path)


def copy_rooms(workspace: Path) -> list[Path]:
    """Copy every packaged content file into a workspace, leaving the files that exist.

    Returns the files written. `flows/` is copied as well, so that a schedule can be edited.
    """
    written: list[Path] = []
    for room in ROOMS:
        source = packaged(room)
        for file in sorted(p for p in source.rglob("*") if p.is_file()):
            if "__pycache__" in file.parts:
                continue
            target = workspace / room / file.relative_to(source)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                written.append(target)
    return written

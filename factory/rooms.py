"""Finds the files that people edit: prompts/, judges/, storage/, recipes/ and flows/.

A file in the workspace overrides the packaged file of the same name. A file's identity is the sha
of its text, never its path, so that an edited judge or strategy is another judge or strategy.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from factory.errors import UserError

ROOMS = ("prompts", "judges", "storage", "recipes", "flows")

_PACKAGE = Path(__file__).parent
_COPIED = "copied.json"


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


@dataclass(frozen=True, slots=True)
class Copies:
    """How a workspace's files stand beside the packaged ones, each as `room/…/file`."""

    missing: tuple[str, ...]
    """Not in the workspace; the packaged file is read, so nothing is wrong."""
    outdated: tuple[str, ...]
    """As an earlier version of the package had it, and never edited."""
    edited: tuple[str, ...]
    """Different from the package: edited by a person, or copied before `copied.json` was kept."""


def copies(workspace: Path) -> Copies:
    """Compares every packaged file with the workspace's own. Reads only."""
    known, found = _copied(workspace), {"missing": [], "outdated": [], "edited": []}
    for name, file in _packaged_files():
        own = workspace / name
        if not own.exists():
            found["missing"].append(name)
        elif (sha := _sha(own)) != _sha(file):
            found["outdated" if known.get(name) == sha else "edited"].append(name)
    return Copies(**{state: tuple(names) for state, names in found.items()})


def copy_rooms(workspace: Path, *, refresh: bool = False) -> list[Path]:
    """Copy every packaged content file into a workspace, leaving the files that exist.

    `refresh` also replaces outdated copies, never an edited file. Returns the files written.
    `flows/` is copied as well, so that a schedule can be edited. What is copied is remembered in
    `copied.json`, so that an upgrade can tell an old copy from a file that a person edited.
    """
    stand = copies(workspace)
    wanted = {*stand.missing, *(stand.outdated if refresh else ())}
    known, written = _copied(workspace), list[Path]()
    for name, file in _packaged_files():
        target = workspace / name
        if name in wanted:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            written.append(target)
        if name in wanted or _sha(target) == _sha(file):
            known[name] = _sha(file)
    workspace.mkdir(parents=True, exist_ok=True)
    fresh = workspace / f"{_COPIED}.new"
    fresh.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(workspace / _COPIED)
    return written


def _packaged_files() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        source = packaged(room)
        for file in sorted(p for p in source.rglob("*") if p.is_file()):
            if "__pycache__" not in file.parts:
                yield f"{room}/{file.relative_to(source).as_posix()}", file


def _copied(workspace: Path) -> dict[str, str]:
    """File -> sha of the text that was copied, as `copied.json` says; a broken one says nothing."""
    try:
        held = json.loads((workspace / _COPIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in held.items()} if isinstance(held, dict) else {}


def _sha(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()

"""A workspace's files after an upgrade: old copies are told from edited files."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import rooms
from factory.reporting import doctor
from factory.store import open_store


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three small files, that a test may upgrade."""
    made = tmp_path / "package"
    for room in rooms.ROOMS:
        (made / room).mkdir(parents=True)
    for name in ("judges/a.md", "judges/b.md", "storage/views/v.sql"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"{name} 1")
    monkeypatch.setattr(rooms, "packaged", lambda room: made / room)
    return made


def upgrade(package: Path, *names: str) -> None:
    for name in names:
        (package / name).write_text(f"{name} 2")


def test_an_old_copy_is_replaced_and_an_edited_file_is_not(package: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert len(rooms.copy_rooms(work)) == 3
    assert rooms.copies(work) == rooms.Copies(missing=(), outdated=(), edited=())
    (work / "judges/b.md").write_text("mine")
    upgrade(package, "judges/a.md", "judges/b.md", "storage/views/v.sql")
    old = ("judges/a.md", "storage/views/v.sql")
    assert rooms.copies(work) == rooms.Copies(missing=(), outdated=old, edited=("judges/b.md",))
    assert rooms.copy_rooms(work) == []
    assert (work / "judges/a.md").read_text() == "judges/a.md 1"
    assert rooms.copy_rooms(work, refresh=True) == [work / name for name in old]
    assert (work / "storage/views/v.sql").read_text() == "storage/views/v.sql 2"
    assert (work / "judges/b.md").read_text() == "mine"
    assert rooms.copies(work).outdated == ()


def test_a_file_that_was_deleted_is_missing_and_comes_back(package: Path, tmp_path: Path) -> None:
    rooms.copy_rooms(tmp_path / "work")
    (tmp_path / "work/judges/a.md").unlink()
    assert rooms.copies(tmp_path / "work").missing == ("judges/a.md",)
    assert rooms.copy_rooms(tmp_path / "work") == [tmp_path / "work/judges/a.md"]


@pytest.mark.parametrize("memory", ["", "[1]", '{"judges/a.md": "?'])
def test_without_a_memory_of_what_was_copied_a_different_file_counts_as_edited(
    package: Path, tmp_path: Path, memory: str
) -> None:
    work = tmp_path / "work"
    rooms.copy_rooms(work)
    (work / "copied.json").write_text(memory)
    upgrade(package, "judges/a.md")
    assert rooms.copies(work).edited == ("judges/a.md",)
    assert rooms.copy_rooms(work, refresh=True) == []
    # What is as packaged is remembered again, so that the next upgrade knows it.
    upgrade(package, "judges/b.md")
    assert rooms.copies(work).outdated == ("judges/b.md",)


def test_doctor_names_old_copies_and_the_command_that_replaces_them(
    package: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    open_store(work, create=True)
    rooms.copy_rooms(work)
    (files,) = [c for c in doctor.check(work) if c.check == "files"]
    assert (files.state, files.said) == ("ok", "as packaged")
    upgrade(package, "judges/a.md")
    (files,) = [c for c in doctor.check(work) if c.check == "files"]
    assert files.state == "note"
    assert files.said.endswith("judges/a.md")
    assert files.next == f"prefactory init {work} --refresh"

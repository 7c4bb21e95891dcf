"""Writes a dataset version in one of the shapes of `formats/`, with its card."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb

from factory import rooms
from factory.errors import UserError
from factory.exporting.card import card
from factory.exporting.content import Content
from factory.exporting.formats import load
from factory.exporting.reading import attach_version, bucket_groups, rows_that_fit, run
from factory.exporting.versions import DatasetVersion, load_version
from factory.store import Store

MARK = "prefactory.json"
"""The file that says a directory is an export, and of what."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    out: str
    format: str
    version_id: str
    kind: str
    rows: dict[str, int]
    """Split -> rows."""
    files: dict[str, list[str]]
    """Split -> data files below `out`."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def export(
    store: Store,
    version: DatasetVersion | str,
    *,
    format: str,
    out: Path,
    test_share: float = 0.0,
    rows_at_once: int | None = None,
) -> Exported:
    """Write a version below `out`, whole or not at all.

    Args:
        store: where the texts are.
        version: or its id, or the beginning of it.
        format: a module of `factory/exporting/formats/`.
        out: a directory that is absent, empty, or an earlier export of the same version.
        test_share: share of the prompts, by hash, that go to a `test` split.
        rows_at_once: rows in memory at once; by default what takes some 300 MB.

    Raises:
        UserError: for an unknown format or version, a share outside [0, 1), and a directory that
            holds something else.
    """
    found = load_version(store, version) if isinstance(version, str) else version
    shape = _shape_for(found, format)
    if not 0 <= test_share < 1:
        raise UserError(f"test share {test_share} is not in [0, 1)", next="--test-share 0.05")
    out = out.absolute()
    _refuse_strangers(out, found)
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        with _attached(store, found) as con:
            content = Content(
                version=found,
                con=con,
                sql=_sql(store, f"{found.kind}_texts"),
                ranges=bucket_groups(con, "version_rows", {}, rows_at_once or rows_that_fit(con)),
                out=aside,
                test_share=test_share,
            )
            files: dict[str, list[str]] = shape.write(content)
            rows = _split_sizes(content)
            readme = card(found, files=files, counts=rows, **_statistics(store, con, found))
        (aside / "README.md").write_text(readme, encoding="utf-8")
        done = Exported(
            out=str(out), format=format, version_id=found.version_id, kind=found.kind,
            rows=rows, files=files,
        )  # fmt: skip
        mark = {k: v for k, v in done.as_dict().items() if k != "out"} | {"test_share": test_share}
        (aside / MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
        _swap(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return done


def _shape_for(version: DatasetVersion, format: str) -> ModuleType:
    """The format, when it writes sets of this kind."""
    shape = load(format)
    if version.kind not in shape.KINDS:
        raise UserError(
            f"format {format} writes {' and '.join(shape.KINDS)} sets, not {version.kind}",
            next="prefactory export --format hf",
        )
    return shape


def _refuse_strangers(out: Path, version: DatasetVersion) -> None:
    """Never write over what is not an export of this very version."""
    again = f"prefactory export --out {out}-{version.version_id[:8]}"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", next=again)
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        mark = json.loads((out / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        mark = {}
    if mark.get("version_id") != version.version_id:
        what = f"an export of {mark['version_id']}" if mark.get("version_id") else "not empty"
        raise UserError(f"{out} is {what}", next=again)


def _swap(aside: Path, out: Path) -> None:
    if out.exists():
        old = out.with_name(f".{out.name}.{os.getpid()}.old")
        os.rename(out, old)
        os.rename(aside, out)
        shutil.rmtree(old)
    else:
        os.rename(aside, out)


def _attached(store: Store, version: DatasetVersion) -> duckdb.DuckDBPyConnection:
    con = store.connect(mentioned_in="prompts completions models drops")
    attach_version(con, version.dir)
    return con


def _sql(store: Store, name: str) -> str:
    return rooms.read("storage/exports", name, suffix=".sql", workspace=store.workspace).text


def _split_sizes(content: Content) -> dict[str, int]:
    found = content.con.execute(
        "select prompt_id, count(*) from version_rows group by 1"
    ).fetchall()
    sizes = dict.fromkeys(content.splits, 0)
    for prompt_id, n in found:
        sizes[content.split_of(prompt_id)] += n
    return sizes


def _statistics(
    store: Store, con: duckdb.DuckDBPyConnection, version: DatasetVersion
) -> Mapping[str, Any]:
    known = {"strategy": version.manifest["strategy"], **version.manifest["selection"]}
    tables = {
        name: run(con, _sql(store, file), known).to_pylist()
        for name, file in {
            "numbers": f"{version.kind}_card",
            "models": f"{version.kind}_models",
            "licenses": "licenses",
            "drops": "drops",
        }.items()
    }
    return {**tables, "numbers": tables["numbers"][0]}

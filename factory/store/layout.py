"""What a lake says of itself in `_schema/`: its format, its tables, and the columns of their files.

A reader that has to look into every file for its columns spends more time on that than on most
queries. So the lake keeps the columns that a table was made with, and a mark once any of its files
may have others; while they are the columns that this program knows, and there is no mark, the first
file speaks for all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from factory.errors import StoreError
from factory.rows import SCHEMAS
from factory.store.columns import as_parquet
from factory.store.places import Place

FORMAT = 1
"""Version of the lake's own layout."""

_FILE = "_schema/format.json"


class Layout:
    """The folder `_schema/` of a lake."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._made_with: dict[str, list[str]] | None = None

    def check(self) -> None:
        """Refuse a lake that a newer program laid out.

        Raises:
            StoreError: saying which format it has.
        """
        found = self._read().get("format", FORMAT)
        if found > FORMAT:
            raise StoreError(
                f"the lake at {self._place.url} has format {found}, this program knows {FORMAT}: "
                "it was written by a newer program; install that one"
            )

    def knows(self, table: str) -> bool:
        """Whether the lake was made with the table; one without a list has them all."""
        return table in self._read().get("tables", [table])

    def note(self, made: Iterable[str]) -> None:
        """Write down the tables that there are; `made` are those that were made just now."""
        found = self._read()
        columns = found.get("columns", {})
        for table in made:
            columns[table] = SCHEMAS[table].names
        told = {"format": FORMAT, "tables": sorted(SCHEMAS), "columns": columns}
        if found != told:
            self._place.sync("")
            self._place.write(_FILE, json.dumps(told).encode())
        self._made_with = columns
        for table in SCHEMAS if self._place.local else ():
            self._write_schema_file(table)

    def mix(self, table: str) -> None:
        """Mark a table of which one file may have other columns than another."""
        if not self._place.exists(_mark(table)):
            self._place.write(_mark(table), b"")

    def is_uniform(self, table: str) -> bool:
        """Whether every file of the table has exactly the columns that this program knows."""
        made_with = self._made_with
        if made_with is None:
            made_with = self._made_with = self._read().get("columns", {})
        known = SCHEMAS[table].names
        return made_with.get(table) == known and not self._place.exists(_mark(table))

    def schema_file(self, table: str) -> Path | None:
        """A Parquet file of no rows: first in a file list, it makes new columns appear."""
        path = self._place.path / "_schema" / f"{table}.parquet"
        return path if path.exists() else None

    def _write_schema_file(self, table: str) -> None:
        name = f"_schema/{table}.parquet"
        data = as_parquet(SCHEMAS[table].empty_table())
        if not self._place.exists(name) or self._place.read(name) != data.to_pybytes():
            self._place.write(name, data, durable=False)  # made again when it is lost

    def _read(self) -> dict[str, Any]:
        if not self._place.exists(_FILE):
            return {}
        try:
            return json.loads(self._place.read(_FILE))
        except ValueError:
            return {}  # torn: `note` writes it again


def _mark(table: str) -> str:
    return f"_schema/{table}.mixed"

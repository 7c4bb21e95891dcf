"""docs/schema.md says what the code says."""

from __future__ import annotations

from pathlib import Path

from factory.store.meanings import COLUMNS, TABLES
from factory.store.schema_doc import schema_doc


def test_the_schema_page_is_current(repository: Path) -> None:
    page = (repository / "docs" / "schema.md").read_text("utf-8")
    assert page == schema_doc(), "python -m factory.store.schema_doc > docs/schema.md"


def test_every_meaning_is_one_sentence() -> None:
    for text in [*TABLES.values(), *COLUMNS.values()]:
        assert text.endswith((".", ")."))
        assert "\n" not in text

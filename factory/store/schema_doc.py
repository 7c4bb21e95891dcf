"""Writes docs/schema.md from the code: `python -m factory.store.schema_doc > docs/schema.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from factory.rows import KEYS, SCHEMAS
from factory.store.meanings import TABLES, meaning
from factory.store.tables import LEDGER_TABLES
from factory.store.views import HIDDEN, view_texts

_HEAD = """# Tables, columns and views

Made from the code by `python -m factory.store.schema_doc`; a test keeps it current.

Ids are 32 hexadecimal characters and hashes of what determines a row. Times are UTC. Money is in
millionths of a US dollar. The first column of a lake table is its id. All of it can be asked with
`prefactory sql`, `factory.connect()` and `duckdb -readonly factory.duckdb`.
"""


def schema_doc() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_lake(), *_ledger(), *_views(), ""])


def _lake() -> Iterator[str]:
    yield "## The lake: append-only tables\n"
    for table, schema in SCHEMAS.items():
        columns = ((f.name, str(f.type), f.name == KEYS[table]) for f in schema)
        yield from _table(table, columns)


def _ledger() -> Iterator[str]:
    yield "## The ledger: what changes\n"
    for name, table in LEDGER_TABLES.items():
        shown = [c for c in table.c if c.name not in HIDDEN.get(name, ())]
        kinds = ((c.name, _kind(c.name, str(c.type)), bool(c.primary_key)) for c in shown)
        yield from _table(name, kinds)


def _kind(name: str, kind: str) -> str:
    if name.endswith(("_at", "_until")):
        return "timestamp[us, tz=UTC]"
    return {"TEXT": "string", "FLOAT": "double"}.get(kind, "int64")


def _table(name: str, columns: Iterable[tuple[str, str, bool]]) -> Iterator[str]:
    yield f"### {name}\n\n{TABLES[name]}\n"
    yield "| column | type | meaning |\n| --- | --- | --- |"
    for column, kind, is_key in columns:
        shown = f"**{column}**" if is_key else column
        yield f"| {shown} | {kind} | {meaning(name, column)} |"
    yield ""


def _views() -> Iterator[str]:
    yield "## Views\n\nEach is a file in `storage/views/`; a workspace can add its own.\n"
    yield "| view | what it is |\n| --- | --- |"
    for name, text in view_texts(None).items():
        first = text.splitlines()[0] if text else ""
        yield f"| {name} | {first.removeprefix('--').strip()} |"


if __name__ == "__main__":
    print(schema_doc(), end="")

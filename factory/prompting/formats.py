"""Streams the rows of JSONL, JSON, CSV and Parquet files, one damaged row never stopping the rest.

Each reader yields a `Row` for what could be read and a `BadRow` with a short stable reason for what
could not. No reader holds more than one batch or one JSON value in memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from factory.errors import UserError

EVIDENCE_CHARS = 200
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)
_CHUNK = 1 << 20
_SPACE = re.compile(r"[\s,]*")
# The csv module refuses fields above 128 KiB unless told otherwise; a completion may be longer.
_FIELD_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was written: `number` counts from 1 (the line of a JSONL file)."""

    values: dict[str, Any]
    file: str
    number: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read: why, where, and its first characters."""

    reason: str
    evidence: str
    file: str
    number: int


Item = Row | BadRow


def clean_evidence(text: str) -> str:
    """The first characters of hostile text, safe to store: no lone surrogate, no NUL."""
    head = text[:EVIDENCE_CHARS].rstrip("\r\n").replace("\x00", "\\x00")
    return head.encode("utf-8", "backslashreplace").decode("utf-8")


def jsonl(path: Path) -> Iterator[Item]:
    """One object a line; blank lines are not rows."""
    with _opened(path) as handle:
        number = 0
        try:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    yield _json_line(line, path.name, number)
        except _DAMAGE as damage:
            yield BadRow("damaged_file", str(damage), path.name, number + 1)


def _json_line(line: bytes, file: str, number: int) -> Item:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        shown = line[:EVIDENCE_CHARS].decode("utf-8", "backslashreplace")
        return BadRow("invalid_utf8", clean_evidence(shown), file, number)
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return BadRow("malformed_json", clean_evidence(text), file, number)
    return _object(value, file, number)


def _object(value: object, file: str, number: int) -> Item:
    if isinstance(value, dict):
        return Row({str(k): v for k, v in value.items()}, file, number)
    return BadRow("not_an_object", clean_evidence(str(value)), file, number)


def _no_constant(_name: str) -> None:
    """NaN and Infinity, which Python writes and JSON does not know, are read as missing."""


def json_file(path: Path) -> Iterator[Item]:
    """A JSON array of objects, read one element at a time; JSON lines under another name too."""
    with _opened(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape")
        first = text.read(_CHUNK).lstrip()
        if not first.startswith("["):
            yield from jsonl(path)
            return
        yield from _elements(first[1:], text, path.name)


def _elements(buffer: str, handle: IO[str], file: str) -> Iterator[Item]:
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    number = 0
    while True:
        buffer = buffer[_matched(buffer) :]
        if not buffer:
            buffer = handle.read(_CHUNK)
            if not buffer:
                yield BadRow("damaged_file", "the array is not closed", file, number + 1)
                return
            continue
        if buffer[0] == "]":
            return
        try:
            value, end = decoder.raw_decode(buffer)
        except (ValueError, RecursionError):
            more = handle.read(max(_CHUNK, len(buffer)))
            if not more:
                # Nothing marks where the next element of a broken array begins.
                yield BadRow("malformed_json", clean_evidence(buffer), file, number + 1)
                return
            buffer += more
            continue
        number += 1
        buffer = buffer[end:]
        yield _object(value, file, number)


def _matched(buffer: str) -> int:
    found = _SPACE.match(buffer)
    return found.end() if found else 0


def csv_file(path: Path) -> Iterator[Item]:
    """A header line and rows; every value is text. `number` is the row's, without the header."""
    csv.field_size_limit(_FIELD_LIMIT)
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    with _opened(path) as raw:
        # Invalid bytes become lone surrogates, so that only their own row is refused.
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        # Not strict, the module would take quotes out of a text, and a quote that is never closed
        # would make one cell of all that follows.
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        number = 0
        try:
            header = _header(reader, path)
            while header is not None:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as bad:
                    number += 1
                    yield BadRow("malformed_csv", str(bad), path.name, number)
                    continue
                if cells:
                    number += 1
                    yield _csv_row(header, cells, path.name, number)
        except _DAMAGE as damage:
            yield BadRow("damaged_file", str(damage), path.name, number + 1)


def _header(reader: Iterator[list[str]], path: Path) -> list[str] | None:
    """The columns' names; a name that two columns have would leave one of them unread."""
    try:
        header = next(reader, None)
    except csv.Error as bad:
        raise UserError(f"{path}: its first line is no header: {bad}", next=f"head {path}") from bad
    named = [name for name in header or () if name]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{path}: two columns are called {twice!r}, and which is meant is not said",
            next=f"head -1 {path}  # then rename one",
        )
    return header


def _csv_row(header: list[str], cells: list[str], file: str, number: int) -> Item:
    joined = ",".join(cells)
    if any("\udc80" <= c <= "\udcff" for c in joined):
        return BadRow("invalid_utf8", clean_evidence(joined), file, number)
    if len(cells) != len(header):
        return BadRow("wrong_field_count", clean_evidence(joined), file, number)
    return Row(dict(zip(header, cells, strict=True)), file, number)


def parquet(path: Path, *, batch_rows: int = 2048) -> Iterator[Item]:
    """The rows of a Parquet file, a record batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as bad:
        raise UserError(f"{path} is not a Parquet file: {bad}", next=f"file {path}") from bad
    number = 0
    with opened:
        batches = opened.iter_batches(batch_size=batch_rows)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as damage:
                yield BadRow("damaged_file", str(damage)[:EVIDENCE_CHARS], path.name, number + 1)
                return
            if batch is None:
                return
            for item in _arrow_rows(batch, path.name, number):
                number += 1
                yield item


def _arrow_rows(batch: Any, file: str, before: int) -> Iterator[Item]:
    try:
        for i, values in enumerate(batch.to_pylist(), start=1):
            yield Row(values, file, before + i)
        return
    except UnicodeDecodeError:
        pass  # to_pylist failed before the first row: a string column holds other bytes
    for i in range(batch.num_rows):
        try:
            yield Row(batch.slice(i, 1).to_pylist()[0], file, before + i + 1)
        except UnicodeDecodeError as bad:
            shown = clean_evidence(bytes(bad.object).decode("utf-8", "backslashreplace"))
            yield BadRow("invalid_utf8", shown, file, before + i + 1)


def _opened(path: Path) -> Any:
    if path.suffix != ".gz":
        return path.open("rb")
    with path.open("rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raise UserError(f"{path} is named .gz and is not gzip", next=f"file {path}")
    return gzip.open(path, "rb")


READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    ".jsonl": jsonl,
    ".ndjson": jsonl,
    ".json": json_file,
    ".csv": csv_file,
    ".tsv": csv_file,
    ".parquet": parquet,
}
"""Reader of every file name ending; `.gz` behind a text format is read through."""

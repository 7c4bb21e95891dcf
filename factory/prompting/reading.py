"""Opens a source of rows by name and streams it in batches, whatever its format.

A source is a file (`.jsonl`, `.json`, `.csv`, `.tsv`, all also `.gz`, or `.parquet`), a directory
of such files, a directory that Hugging Face `datasets` saved, or `hf:owner/name[:config][@split]`
on the hub. The network is touched for `hf:` alone, and not there when `HF_HUB_OFFLINE` is set.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.prompting.formats import READERS, BadRow, Item, Row

BATCH_ROWS = 10_000
"""Rows a batch, which is also the rows of one lake commit."""

_HUB = re.compile(r"hf:(?P<name>[^:@]+)(?::(?P<config>[^@]+))?(?:@(?P<split>.+))?")


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a source, and those among them that could not be read."""

    rows: list[Row]
    bad: list[BadRow]


def batches(
    source: str | Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    size: int = BATCH_ROWS,
) -> Iterator[Batch]:
    """The rows of a source in batches of `size`, never the whole of it in memory.

    Args:
        source: a file, a directory, or `hf:owner/name[:config][@split]`.
        split: which split of a Hugging Face dataset; needed when it has several.
        limit: read at most this many rows.
        size: rows a batch.

    Raises:
        UserError: when there is no such source or nothing here reads it.
    """
    items = itertools.islice(open_items(source, split=split), limit)
    while chunk := list(itertools.islice(items, size)):
        yield Batch(
            rows=[i for i in chunk if isinstance(i, Row)],
            bad=[i for i in chunk if isinstance(i, BadRow)],
        )


def source_name(source: str | Path) -> str:
    """The name rows carry as their `source` when no column gives one: no directory, no suffix."""
    text = str(source)
    if found := _HUB.fullmatch(text):
        return found["name"]
    name = Path(text).name
    for suffix in (".gz", *READERS):
        name = name.removesuffix(suffix)
    return name


def open_items(source: str | Path, *, split: str | None = None) -> Iterable[Item]:
    """Every row of a source, opened at once so that a missing file is known at once."""
    text = str(source)
    if text.startswith("hf:"):
        return _hub(text, split=split)
    path = Path(text).expanduser()
    if path.is_dir():
        return _directory(path, split=split)
    if not path.exists():
        raise _missing(path)
    return _reader(path)(path)


def _missing(path: Path) -> UserError:
    parent = path.parent
    names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UserError(f"{path} does not exist{hint}", next=f"ls {parent}")


def _reader(path: Path) -> Any:
    suffixes = path.suffixes
    ending = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else path.suffix
    gzipped_parquet = ending == ".parquet" and path.suffix == ".gz"
    if ending not in READERS or gzipped_parquet:
        known = ", ".join(sorted(READERS))
        raise UserError(
            f"{path}: no reader for the ending {path.suffix or '(none)'!r}; there are {known}, "
            "and .gz behind the text formats",
            next=f"file {path}  # then rename or convert it",
        )
    return READERS[ending]


def _directory(path: Path, *, split: str | None) -> Iterable[Item]:
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return _saved(path, split=split)
    files = [p for p in sorted(path.iterdir()) if p.is_file() and _readable(p)]
    if not files:
        known = ", ".join(sorted(READERS))
        raise UserError(
            f"{path} holds neither a saved dataset nor a file ending in {known}",
            next=f"ls {path}",
        )
    return itertools.chain.from_iterable(_reader(p)(p) for p in files)


def _readable(path: Path) -> bool:
    suffixes = [s for s in path.suffixes if s != ".gz"]
    return bool(suffixes) and suffixes[-1] in READERS


def _saved(path: Path, *, split: str | None) -> Iterable[Item]:
    from datasets import load_from_disk

    return _dataset_rows(load_from_disk(str(path)), name=str(path), split=split)


def _hub(text: str, *, split: str | None) -> Iterable[Item]:
    found = _HUB.fullmatch(text)
    if not found:
        raise UserError(f"{text!r} is not hf:owner/name[:config][@split]", next="hf:owner/name")
    from datasets import load_dataset

    # A cached dataset is memory-mapped; only a dataset that is not here has to be streamed.
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    try:
        loaded: Any = load_dataset(found["name"], found["config"], streaming=not offline)
    except Exception as failed:
        why = "HF_HUB_OFFLINE is set and it is not in the cache" if offline else str(failed)
        raise UserError(
            f"{found['name']} cannot be loaded from the hub: {why}",
            next=f"hf download --repo-type dataset {found['name']}",
        ) from failed
    return _dataset_rows(loaded, name=text, split=split or found["split"])


def _dataset_rows(dataset: Any, *, name: str, split: str | None) -> Iterable[Item]:
    splits = list(dataset) if isinstance(dataset, dict) else []
    if splits:
        if split is None and len(splits) > 1:
            raise UserError(
                f"{name} has the splits {', '.join(splits)}: name one", next=f"--split {splits[0]}"
            )
        wanted = split or splits[0]
        if wanted not in splits:
            raise UserError(
                f"{name} has no split {wanted!r}; there are {', '.join(splits)}",
                next=f"--split {splits[0]}",
            )
        dataset = dataset[wanted]
    label = source_name(name)
    return (Row(dict(values), label, n) for n, values in enumerate(dataset, start=1))

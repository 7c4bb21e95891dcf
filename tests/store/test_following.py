"""The newest version of a table, read from its log, beside what delta-rs says of the same log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import StoreError
from factory.rows import SCHEMAS
from factory.store import Store, open_store
from factory.store import log as logs
from factory.store.following import entry_of, put_entry
from factory.store.log import LiveFile


def prompts(*names: str) -> list[dict[str, object]]:
    return [{"prompt_id": name, "pool": "p", "messages": "[]", "split": "train"} for name in names]


def as_delta_says(store: Store, table: str = "prompts") -> tuple[int, list[str]]:
    opened = DeltaTable(store.lake.place.uri(table))
    return opened.version(), sorted(Path(uri).name for uri in opened.file_uris())


def as_we_say(store: Store, table: str = "prompts") -> tuple[int, list[str]]:
    return store.lake.version(table), [file.name for file in store.lake.live(table)]


def ids(store: Store) -> list[str]:
    return [row["prompt_id"] for row in store.rows("select prompt_id from prompts order by 1")]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=14))
def test_any_order_of_commits_compactions_and_strangers_is_followed(
    tmp_path_factory: pytest.TempPathFactory, steps: Iterable[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("ws")
    stores = [open_store(folder, create=True), open_store(folder)]
    said: set[str] = set()
    for number, (what, which) in enumerate(steps):
        store, row = stores[which % 2], prompts(f"{which}")
        if what == "a":
            assert store.append("prompts", row, run_id="r") == int(f"{which}" not in said)
            said.add(f"{which}")
        elif what == "b":
            store.lake.swap("prompts", live := store.lake.live("prompts"), _whole(store)) if (
                store.lake.rows("prompts")
            ) else (live := [])
            assert len(store.lake.live("prompts")) == min(1, len(live))
        else:
            stranger = _rows(prompts(f"stranger-{number}"))
            write_deltalake(store.lake.place.uri("prompts"), stranger, mode="append")
            said.add(f"stranger-{number}")
        for each in stores:
            assert as_we_say(each) == as_delta_says(each)
            assert ids(each) == sorted(said)
    for each in stores:
        each.close()
    shutil.rmtree(folder)


def _rows(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMAS["prompts"])


def _whole(store: Store) -> pa.Table:
    return store.query("select * from prompts").cast(SCHEMAS["prompts"])


def test_a_version_is_never_made_twice(store: Store) -> None:
    place = store.lake.place
    store.append("prompts", prompts("a"), run_id="r")
    made = store.lake.version("prompts")
    before = place.read(logs.entry_name("prompts", made))
    entry = entry_of([LiveFile("other.parquet", 1, 10)], [], shard="s", new_rows=True)
    assert not put_entry(place, "prompts", made, entry)
    assert place.read(logs.entry_name("prompts", made)) == before
    assert list((place.path / "_locks").glob("*.entry")) == []


def test_a_commit_beside_a_program_without_our_lock_takes_the_next_version(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.store import lake

    def late(place: object, table: str, version: int, entry: object) -> bool:
        monkeypatch.setattr(lake, "put_entry", put_entry)
        write_deltalake(store.lake.place.uri(table), _rows(prompts("b")), mode="append")
        return put_entry(place, table, version, entry)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(lake, "put_entry", late)
    assert store.append("prompts", prompts("a"), run_id="r") == 1
    assert ids(store) == ["a", "b"]
    assert as_we_say(store) == as_delta_says(store)


def test_a_column_that_another_program_adds_is_seen(store: Store) -> None:
    store.append("prompts", prompts("a"), run_id="r")
    wider = _rows(prompts("b")).append_column("mood", pa.array(["good"]))
    write_deltalake(store.lake.place.uri("prompts"), wider, mode="append", schema_mode="merge")
    store.append("prompts", prompts("c"), run_id="r")
    assert ids(store) == ["a", "b", "c"]
    assert as_we_say(store) == as_delta_says(store)


def test_an_entry_of_a_newer_program_is_refused_also_by_a_store_that_is_open(store: Store) -> None:
    store.append("prompts", prompts("a"), run_id="r")
    newer = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7,
                          "readerFeatures": ["deletionVectors"],
                          "writerFeatures": ["deletionVectors"]}}  # fmt: skip
    name = logs.entry_name("prompts", store.lake.version("prompts") + 1)
    store.lake.place.write(name, (json.dumps(newer) + "\n").encode())
    with pytest.raises(StoreError, match="written by a newer program"):
        store.append("prompts", prompts("b"), run_id="r")


def test_a_torn_entry_is_said_also_by_a_store_that_is_open(store: Store) -> None:
    store.append("prompts", prompts("a"), run_id="r")
    name = logs.entry_name("prompts", store.lake.version("prompts") + 1)
    store.lake.place.write(name, b'{"commitInfo":{"timest')
    with pytest.raises(StoreError, match="is torn"):
        store.append("prompts", prompts("b"), run_id="r")


def test_values_are_found_by_id_in_whatever_file_they_are(store: Store) -> None:
    for batch in (("a", "b"), ("c",), ("d", "e")):
        rows = [{**row, "messages": f"says {row['prompt_id']}"} for row in prompts(*batch)]
        store.append("prompts", rows, run_id="r")
    found = store.values("prompts", "messages", ["e", "a", "nobody", "c"])
    assert found == {"a": "says a", "c": "says c", "e": "says e"}
    assert store.values("prompts", "messages", []) == {}

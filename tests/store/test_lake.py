"""The lake's promises: once each, whole or not at all, readable while others write."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import StoreError, UserError
from factory.rows import SCHEMAS, as_table
from factory.store import Store, log, open_store
from factory.store.known import KnownIds
from factory.store.lake import Lake


def prompts(*names: str, **more: object) -> list[dict[str, object]]:
    return [{"prompt_id": n, "pool": "p", "messages": "[]", "bucket": 0, **more} for n in names]


def ids(store: Store) -> list[str]:
    return [r["prompt_id"] for r in store.rows("select prompt_id from prompts order by 1")]


def python(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# --- once each ------------------------------------------------------------------------------------


def test_every_table_answers_before_anything_was_written(store: Store) -> None:
    for table in SCHEMAS:
        found = store.query(f"select * from {table}")
        assert found.num_rows == 0
        assert found.column_names == SCHEMAS[table].names


def test_rows_are_there_when_append_returns(store: Store) -> None:
    assert store.append("prompts", prompts("a", "b"), run_id="r") == 2
    (row,) = store.rows("select * from prompts where prompt_id = 'a'")
    assert (row["run_id"], row["pool"]) == ("r", "p")
    assert row["created_at"] is not None
    assert store.lake.rows("prompts") == 2


def test_the_same_rows_again_add_nothing(store: Store) -> None:
    assert store.append("prompts", prompts("a", "b"), run_id="r") == 2
    version = store.lake.version("prompts")
    assert store.append("prompts", prompts("b", "a"), run_id="other") == 0
    assert store.append("prompts", prompts("a"), run_id="r") == 0
    assert store.lake.version("prompts") == version


def test_only_the_rows_that_are_missing_are_added(store: Store) -> None:
    store.append("prompts", prompts("a", "b"), run_id="r")
    assert store.append("prompts", prompts("b", "c", "c", "d"), run_id="r") == 2
    assert ids(store) == ["a", "b", "c", "d"]
    assert store.missing("prompts", ["z", "c", "y", "a"]) == ["z", "y"]


def test_a_shard_is_committed_once_under_its_name(store: Store) -> None:
    assert store.append("prompts", prompts("a"), run_id="r", shard="s", unique=False) == 1
    assert store.append("prompts", prompts("b"), run_id="r", shard="s", unique=False) == 0
    assert ids(store) == ["a"]


def test_a_store_that_was_opened_before_sees_what_others_added(store: Store) -> None:
    other = open_store(store.workspace)
    store.append("prompts", prompts("a"), run_id="r")
    assert other.append("prompts", prompts("a", "b"), run_id="r") == 1
    assert store.append("prompts", prompts("b", "c"), run_id="r") == 1
    assert ids(store) == ["a", "b", "c"]
    other.close()


@given(st.lists(st.lists(st.integers(0, 400), max_size=40), max_size=12))
def test_known_ids_never_miss_an_id_that_is_there(batches: list[list[int]]) -> None:
    import numpy as np

    known, there = KnownIds(), set[int]()
    files: dict[str, np.ndarray[tuple[int], np.dtype[np.uint64]]] = {}
    for number, batch in enumerate(batches):
        files[str(number)] = np.array(batch, dtype=np.uint64)
        if number % 3 == 2:
            files.pop(str(number - 1))  # as a compaction does
        known.follow(list(files), lambda names: np.concatenate([files[n] for n in names]))
        there = {int(x) for values in files.values() for x in values}
        asked = np.arange(0, 401, dtype=np.uint64)
        assert {int(x) for x in asked[known.maybe(asked)]} == there


# --- what a file is -------------------------------------------------------------------------------


def test_a_data_file_is_named_by_the_hash_of_its_bytes(store: Store) -> None:
    store.append("prompts", prompts("a"), run_id="r")
    (file,) = store.lake.files("prompts")
    digest = hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
    assert Path(file).name.startswith(f"{digest}-")


@pytest.mark.parametrize("name", ["with space", "ünï", "quo'te", "a#b+c"])
def test_a_workspace_may_have_any_ordinary_name(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path / name, create=True)
    store.append("prompts", prompts("a"), run_id="r")
    store.append("prompts", prompts("a", "b"), run_id="r")
    assert ids(store) == ["a", "b"]
    assert store.publish() is not None
    store.close()


@pytest.mark.parametrize("name", ["a[1]", "what?", "st*r", "per%20cent"])
def test_a_path_with_wildcards_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot hold a lake"):
        Lake(tmp_path / name, create=True)


# --- older and newer programs ---------------------------------------------------------------------


def _older_lake(root: Path, *, table: str, without: str) -> None:
    """A lake whose table was made before a column existed, with a row in it."""
    from unittest import mock

    schema = SCHEMAS[table]
    older = schema.remove(schema.get_field_index(without))
    with mock.patch.dict("factory.rows.SCHEMAS", {table: older}):
        lake = Lake(root, create=True)
        row = dict.fromkeys(older.names) | {older.names[0]: "old"}
        lake.append(table, pa.Table.from_pylist([row], schema=older), shard="0")


def test_a_table_from_before_a_column_existed_reads_it_as_null_and_gains_it(
    tmp_path: Path,
) -> None:
    _older_lake(tmp_path / "lake", table="prompts", without="domain")
    store = open_store(tmp_path, create=True)
    assert store.rows("select prompt_id, domain from prompts") == [
        {"prompt_id": "old", "domain": None}
    ]
    assert store.append("prompts", prompts("new", "old", domain="d"), run_id="r") == 1
    assert store.rows("select prompt_id, domain from prompts order by 1") == [
        {"prompt_id": "new", "domain": "d"},
        {"prompt_id": "old", "domain": None},
    ]
    assert "domain" in {f.name for f in store.lake.open("prompts").schema().fields}
    store.close()


def test_a_column_of_a_newer_program_is_shown_and_not_lost(store: Store) -> None:
    newer = SCHEMAS["prompts"].append(pa.field("mood", pa.string()))
    data = as_table("prompts", prompts("a")).append_column("mood", pa.array(["gay"]))
    from unittest import mock

    with mock.patch.dict("factory.rows.SCHEMAS", {"prompts": newer}):
        Lake(store.workspace / "lake").append("prompts", data, shard="s")
    assert store.append("prompts", prompts("b"), run_id="r") == 1
    assert store.rows("select prompt_id, mood from prompts order by 1") == [
        {"prompt_id": "a", "mood": "gay"},
        {"prompt_id": "b", "mood": None},
    ]


def test_a_table_invented_after_the_workspace_was_made_is_empty_then_made(tmp_path: Path) -> None:
    from unittest import mock

    fewer = {k: v for k, v in SCHEMAS.items() if k != "gates"}
    with mock.patch.dict("factory.rows.SCHEMAS", fewer, clear=True):
        open_store(tmp_path, create=True).close()
    store = open_store(tmp_path)
    assert store.rows("select count(*) as n from gates") == [{"n": 0}]
    assert store.append("gates", [{"gate_id": "g"}], run_id="r") == 1
    assert store.rows("select gate_id from gates") == [{"gate_id": "g"}]
    store.close()


def test_a_table_that_is_gone_is_an_error_and_not_an_empty_table(store: Store) -> None:
    import shutil

    store.append("prompts", prompts("a"), run_id="r")
    shutil.rmtree(store.workspace / "lake" / "prompts")
    with pytest.raises(StoreError, match="no table prompts"):
        store.rows("select * from prompts")


def test_a_lake_of_a_newer_program_is_refused(store: Store) -> None:
    path = store.workspace / "lake" / "_schema" / "format.json"
    path.write_text(json.dumps({"format": 99, "tables": []}))
    with pytest.raises(StoreError, match=r"format 99.*newer program"):
        open_store(store.workspace)


def test_a_table_that_needs_a_newer_reader_is_refused(store: Store) -> None:
    entry = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7,
                          "readerFeatures": ["deletionVectors"],
                          "writerFeatures": ["deletionVectors"]}}  # fmt: skip
    path = store.workspace / "lake" / log.entry_name("prompts", 1)
    path.write_text(json.dumps(entry))
    with pytest.raises(StoreError, match=r"deletionVectors.*newer program"):
        store.rows("select * from prompts")


# --- torn files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0.0, 0.4, 0.97])
def test_a_torn_last_commit_is_set_aside_and_its_rows_can_be_made_again(
    store: Store, left: float, caplog: pytest.LogCaptureFixture
) -> None:
    store.append("prompts", prompts("a"), run_id="r", shard="1")
    store.append("prompts", prompts("b"), run_id="r", shard="2")
    entry = store.workspace / "lake" / log.entry_name("prompts", 2)
    entry.write_bytes(entry.read_bytes()[: int(len(entry.read_bytes()) * left)])
    again = open_store(store.workspace)
    assert "torn by a power cut" in caplog.text
    assert ids(again) == ["a"]
    assert len(list((store.workspace / "lake" / "_torn").iterdir())) == 1
    assert again.append("prompts", prompts("b"), run_id="r", shard="2") == 1
    assert ids(again) == ["a", "b"]
    # And for a store that was open all along.
    assert store.append("prompts", prompts("a", "b", "c"), run_id="r") == 1
    again.close()


def test_a_torn_commit_under_later_ones_is_named_as_damage(store: Store) -> None:
    for name in "abc":
        store.append("prompts", prompts(name), run_id="r")
    (store.workspace / "lake" / log.entry_name("prompts", 2)).write_text("")
    with pytest.raises(StoreError, match="log entry 2 is torn"):
        log.times(store.lake.place, "prompts")


@pytest.mark.parametrize("what", ["pointer", "checkpoint"])
def test_a_torn_checkpoint_is_dropped_and_nothing_is_lost(store: Store, what: str) -> None:
    for name in "abc":
        store.append("prompts", prompts(name), run_id="r")
    store.lake.checkpoint("prompts")
    folder = store.workspace / "lake" / "prompts" / "_delta_log"
    torn = folder / "_last_checkpoint" if what == "pointer" else next(folder.glob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:9])
    again = open_store(store.workspace)
    assert ids(again) == ["a", "b", "c"]
    assert again.append("prompts", prompts("d"), run_id="r") == 1
    again.close()


def test_a_checkpoint_is_made_now_and_then(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.store.lake.CHECKPOINT_EVERY", 5)
    for number in range(12):
        store.append("prompts", prompts(str(number)), run_id="r")
    folder = store.workspace / "lake" / "prompts" / "_delta_log"
    assert json.loads((folder / "_last_checkpoint").read_text())["version"] == 10
    assert store.append("prompts", prompts("0", "x"), run_id="r") == 1


# --- no room, no permission -----------------------------------------------------------------------

LIMITED = """
import resource, signal, sys
from pathlib import Path
from factory.errors import UserError
from factory.store import open_store
store = open_store(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
import os
rows = [{"prompt_id": str(i), "messages": os.urandom(300).hex()} for i in range(1000)]
try:
    store.append("prompts", rows, run_id="r")
except UserError as said:
    print(said, "|", said.next)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print(store.append("prompts", rows, run_id="r"))
"""


def test_a_full_disk_is_said_in_one_sentence_and_the_same_command_goes_on(store: Store) -> None:
    process = python(LIMITED, store.workspace)
    said, _ = process.communicate(timeout=120)
    first, second = said.splitlines()
    assert "no room left" in first
    assert "df -h" in first
    assert second == "1000"
    files = list((store.workspace / "lake" / "prompts").glob("*"))
    assert len([f for f in files if f.is_file()]) == 1
    assert len(ids(store)) == 1000


CLOSED = """
import os, sys
from pathlib import Path
import pyarrow, duckdb
from factory.errors import UserError
from factory.store import open_store
store = open_store(Path(sys.argv[1]))
store.append("prompts", [{"prompt_id": "a"}], run_id="r")  # imports what others may not read
store.rows("select count(*) from prompts")
store.close()
import pydoc
if os.geteuid() == 0:
    os.setuid(65534)
store = open_store(Path(sys.argv[1]))
print(store.rows("select count(*) as n from prompts")[0]["n"])
try:
    store.append("prompts", [{"prompt_id": "b"}], run_id="r")
except UserError as said:
    print(said)
"""


def test_a_lake_that_cannot_be_written_can_be_read_and_says_so(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    store = open_store(workspace, create=True)
    store.append("prompts", prompts("a"), run_id="r")
    store.close()
    for folder in (*tmp_path.parents, tmp_path):
        if folder.stat().st_uid == os.geteuid() and str(folder).count("/") > 1:
            folder.chmod(folder.stat().st_mode | 0o055)
    for path in (workspace, *workspace.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    # SQLite's readers write beside the ledger: only the lake is closed here.
    workspace.chmod(0o777)
    for path in workspace.glob("ledger.sqlite*"):
        path.chmod(0o666)
    process = python(CLOSED, workspace)
    said, _ = process.communicate(timeout=120)
    for path in (workspace, *workspace.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    count, refused = said.splitlines()
    assert count == "1"
    assert "cannot be written" in refused


# --- others at the same time ----------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from factory.store import open_store
store = open_store(Path(sys.argv[1]))
which, shards = int(sys.argv[2]), int(sys.argv[3])
for n in range(shards):
    number = (n + which * 7) % shards
    rows = [{"prompt_id": f"{number}-{i}", "bucket": i % 64} for i in range(20)]
    store.append("prompts", rows, run_id="r", shard=f"s{number}")
    print(number, flush=True)
"""


def test_racing_writers_of_the_same_shards_write_each_row_once(store: Store) -> None:
    racers = [python(WRITER, store.workspace, which, 30) for which in range(3)]
    for racer in racers:
        racer.communicate(timeout=300)
        assert racer.returncode == 0
    (found,) = store.rows("select count(*) n, count(distinct prompt_id) d from prompts")
    assert (found["n"], found["d"]) == (600, 600)


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_9_loses_no_acknowledged_commit_and_leaves_no_partial_one(
    store: Store, kills: int
) -> None:
    import random

    lot = random.Random(kills)
    acknowledged: set[int] = set()
    for _ in range(kills):
        process = python(WRITER, store.workspace, 0, 400)
        assert process.stdout is not None
        wanted = lot.randrange(1, 25)
        for _, line in zip(range(wanted), process.stdout, strict=False):
            acknowledged.add(int(line))
        time.sleep(lot.random() * 0.05)  # a moment somewhere inside the next commit
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged |= {int(line) for line in rest.splitlines() if line.strip().isdigit()}
    reader = open_store(store.workspace)
    shards = reader.rows(
        "select split_part(prompt_id, '-', 1)::int as shard, count(*) n, "
        "count(distinct prompt_id) d from prompts group by 1"
    )
    assert {(row["n"], row["d"]) for row in shards} == {(20, 20)}
    assert acknowledged <= {row["shard"] for row in shards}
    reader.close()


def test_an_older_duckdb_can_read_the_files_it_is_given(store: Store) -> None:
    store.append("prompts", prompts("a"), run_id="r")
    (file,) = store.lake.files("prompts")
    assert duckdb.sql(f"select prompt_id from read_parquet('{file}')").fetchall() == [("a",)]
    assert pq.read_metadata(file).num_rows == 1


# --- the columns of files ------------------------------------------------------------------------


def test_a_file_with_other_columns_makes_every_file_be_asked_for_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_store(tmp_path / "ws", create=True)
    made.append("prompts", prompts("a"), run_id="r")
    assert made.lake.layout.is_uniform("prompts")
    made.close()
    # An older program, which does not know one of the columns, appends to the same lake.
    without = SCHEMAS["prompts"].remove(SCHEMAS["prompts"].get_field_index("domain"))
    with monkeypatch.context() as older:
        older.setitem(SCHEMAS, "prompts", without)
        old = open_store(tmp_path / "ws")
        old.append("prompts", prompts("b"), run_id="r")
        old.close()
    again = open_store(tmp_path / "ws")
    assert not again.lake.layout.is_uniform("prompts")
    assert again.rows("select prompt_id, domain from prompts order by 1") == [
        {"prompt_id": "a", "domain": None},
        {"prompt_id": "b", "domain": None},
    ]
    again.close()


def test_a_large_commit_is_several_files_sorted_by_bucket_and_one_transaction(
    store: Store,
) -> None:
    count = 150_000
    wide = "x" * 200
    table = as_table("prompts", [])
    columns = {
        "prompt_id": pa.array([f"p{i:06d}" for i in range(count)]),
        "pool": pa.repeat(pa.scalar("p"), count),
        "messages": pa.repeat(pa.scalar(wide), count),
        "bucket": pa.array([i % 64 for i in range(count)], pa.int16()),
    }
    table = pa.Table.from_arrays(
        [columns.get(f.name, pa.nulls(count, f.type)) for f in table.schema], schema=table.schema
    )
    before = store.lake.version("prompts")
    assert store.append("prompts", table, run_id="r", shard="s") == count
    assert store.lake.version("prompts") == before + 1
    files = store.lake.files("prompts")
    assert len(files) == min(4, os.cpu_count() or 1)
    held = [pq.read_table(file, columns=["bucket"]).column("bucket").to_pylist() for file in files]
    assert all(buckets == sorted(buckets) for buckets in held)
    (found,) = store.rows("select count(*) as n, count(distinct prompt_id) as ids from prompts")
    assert found == {"n": count, "ids": count}
    assert store.append("prompts", table, run_id="r", shard="s") == 0
    # Half of the rows are there already: the file made beforehand is not the one that is kept.
    more = table.slice(0, 100).set_column(
        0, table.schema.field(0), pa.array([f"p{i:06d}" for i in range(149_950, 150_050)])
    )
    assert store.append("prompts", more, run_id="r") == 50
    left = [p for p in (store.lake.place.path / "prompts").iterdir() if p.suffix == ".tmp"]
    assert left == []

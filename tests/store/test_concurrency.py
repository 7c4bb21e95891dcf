"""Writers, a compactor and a reader at once: no error, and no read that is wrong or goes back."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from factory.store import Store

WRITER = """
import sys
from pathlib import Path
from factory.store import open_store
store, which, stop = open_store(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
shard = 0
while not stop.exists():
    rows = [{"prompt_id": f"{which}-{shard}-{i}", "bucket": i % 64} for i in range(50)]
    assert store.append("prompts", rows, run_id="r", shard=f"{which}-{shard}") == 50
    shard += 1
store.close()
print(shard)
"""
COMPACTOR = """
import sys, time
from pathlib import Path
from factory.store import open_store, upkeep
store, stop = open_store(Path(sys.argv[1])), Path(sys.argv[2])
done = 0
while not stop.exists():
    done += len(upkeep.compact(store, tables=["prompts"], when_files=8))
    # No retention: the reader below lives on its retry alone.
    upkeep._collect(store, dry_run=False, retention_h=0, orphan_h=24)
    time.sleep(0.2)
print(done)
"""
QUERY = """
select count(*) n, count(distinct prompt_id) d,
  count(distinct (split_part(prompt_id, '-', 1), split_part(prompt_id, '-', 2))) shards
from prompts
"""


def _start(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _plain(file: Path) -> tuple[int, int, int]:
    """The same question through the plain DuckDB file, as another program asks it."""
    with duckdb.connect(str(file), read_only=True) as con:
        return con.execute(QUERY).fetchall()[0]


def _watch(store: Store, *, seconds: float, least: int) -> int:
    """Query for so long and so often at least; every read is whole and none goes back."""
    until, last, queries = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until or queries < least:
        (row,) = store.rows(QUERY)
        # A shard is 50 rows in one commit: all of them or none, each once.
        assert row["n"] == row["d"] == 50 * row["shards"]
        assert row["n"] >= last
        last, queries = row["n"], queries + 1
    return queries


def _run(store: Store, *, writers: int, seconds: float, least: int) -> tuple[int, int]:
    stop = store.workspace / "runs" / "stop"
    stop.parent.mkdir()
    running = [_start(WRITER, store.workspace, which, stop) for which in range(writers)]
    compactor = _start(COMPACTOR, store.workspace, stop)
    try:
        queries = _watch(store, seconds=seconds, least=least)
    finally:
        stop.touch()
    said = [process.communicate(timeout=600)[0] for process in [*running, compactor]]
    assert [p.returncode for p in [*running, compactor]] == [0] * (writers + 1)
    shards = sum(int(text) for text in said[:-1])
    (row,) = store.rows(QUERY)
    assert row == {"n": 50 * shards, "d": 50 * shards, "shards": shards}
    store.publish()
    assert _plain(store.workspace / "factory.duckdb") == (50 * shards, 50 * shards, shards)
    return queries, int(said[-1])


def test_writers_a_compactor_and_a_reader_never_disturb_each_other(store: Store) -> None:
    queries, compactions = _run(store, writers=2, seconds=5, least=20)
    print(f"{queries} queries, {compactions} compactions")
    assert queries >= 20


@pytest.mark.slow
def test_4_writers_a_compactor_and_a_reader_for_60_seconds(store: Store) -> None:
    queries, compactions = _run(store, writers=4, seconds=60, least=300)
    print(f"{queries} queries, {compactions} compactions")
    assert queries >= 300
    assert compactions >= 1

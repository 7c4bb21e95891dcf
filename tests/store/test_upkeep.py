"""Compaction, clean-up, backup and the integrity checks."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from factory.errors import LeaseHeld, StoreError, UserError
from factory.store import CallIntent, Ledger, Store, backup, integrity, open_store, upkeep


def add(store: Store, start: int, count: int) -> None:
    rows = [
        {"prompt_id": f"{i:05d}", "pool": "p", "messages": "[]", "bucket": i % 64}
        for i in range(start, start + count)
    ]
    store.append("prompts", rows, run_id="r")


def prompts(store: Store) -> list[str]:
    return [r["prompt_id"] for r in store.rows("select prompt_id from prompts order by 1")]


def bad(findings: object) -> list[str]:
    return [f"{f.what}: {f.said}" for f in findings if f.state == "bad"]  # type: ignore[attr-defined]


# --- compaction -----------------------------------------------------------------------------------


def test_compaction_keeps_every_row_and_orders_them_by_bucket(store: Store) -> None:
    for start in range(0, 600, 100):
        add(store, start, 100)
    before = prompts(store)
    (done,) = upkeep.compact(store)
    assert (done.files_before, done.files_after, done.rows) == (6, 1, 600)
    assert prompts(store) == before
    (file,) = store.lake.files("prompts")
    buckets = pq.read_table(file).column("bucket").to_pylist()
    assert buckets == sorted(buckets)
    assert upkeep.compact(store) == []


def test_what_was_committed_before_compaction_is_not_committed_again(store: Store) -> None:
    add(store, 0, 10)
    add(store, 10, 10)
    upkeep.compact(store)
    add(store, 0, 10)
    add(store, 5, 20)
    assert len(prompts(store)) == 25


def test_a_reader_of_the_old_files_is_not_disturbed(store: Store) -> None:
    add(store, 0, 50)
    add(store, 50, 50)
    con = store.connect()
    upkeep.compact(store)
    upkeep.collect_garbage(store, dry_run=False)
    assert con.sql("select count(*) from prompts").fetchall() == [(100,)]


def test_a_file_that_is_no_longer_live_is_not_swapped_twice(store: Store) -> None:
    add(store, 0, 10)
    add(store, 10, 10)
    live = store.lake.live("prompts")
    upkeep.compact(store)
    assert upkeep._compact_group(store.lake, "prompts", live) == 0
    assert len(prompts(store)) == 20


def test_compaction_refuses_files_whose_rows_are_not_those_of_the_log(store: Store) -> None:
    add(store, 0, 10)
    add(store, 10, 10)
    first, second = store.lake.files("prompts")
    Path(first).write_bytes(Path(second).read_bytes())
    with pytest.raises(StoreError, match="20 were read with 10 distinct ids"):
        upkeep.compact(store)
    assert len(store.lake.files("prompts")) == 2


def test_two_upkeeps_at_once_are_refused(store: Store) -> None:
    other = Ledger(store.ledger.url)
    with other.lease("upkeep"), pytest.raises(LeaseHeld, match="upkeep is held by"):
        upkeep.compact(store)
    other.close()


# --- clean-up -------------------------------------------------------------------------------------


def test_clean_up_takes_what_compaction_replaced_and_what_was_never_committed(
    store: Store,
) -> None:
    add(store, 0, 10)
    add(store, 10, 10)
    orphan = store.workspace / "lake" / "prompts" / "0123-orphan.parquet"
    orphan.write_bytes(b"PAR1")
    upkeep.compact(store)
    assert upkeep.collect_garbage(store, dry_run=False) == []
    (would,) = upkeep._collect(store, dry_run=True, retention_h=0, orphan_h=0)
    assert (len(would.replaced), would.orphans) == (2, [orphan.name])
    assert orphan.exists()
    upkeep._collect(store, dry_run=False, retention_h=0, orphan_h=0)
    assert not orphan.exists()
    left = [p for p in (store.workspace / "lake" / "prompts").iterdir() if p.is_file()]
    assert len(left) == 1
    assert len(prompts(store)) == 20
    assert bad(integrity.check_files(store)) == []


def test_an_orphan_is_old_before_it_goes(store: Store) -> None:
    orphan = store.workspace / "lake" / "prompts" / "0123-orphan.parquet"
    orphan.write_bytes(b"PAR1")
    assert upkeep.collect_garbage(store, dry_run=False) == []
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(orphan, (week_ago, week_ago))
    (done,) = upkeep.collect_garbage(store, dry_run=False)
    assert done.orphans == [orphan.name]
    assert not orphan.exists()


def test_less_than_a_day_is_refused(store: Store) -> None:
    with pytest.raises(UserError, match="24 h at least"):
        upkeep.collect_garbage(store, dry_run=False, retention_h=1)


# --- backup ---------------------------------------------------------------------------------------


def intent(name: str) -> CallIntent:
    return CallIntent(
        call_id=name, kind="chat", endpoint="e", model="m", request_hash=name, reserve_microusd=7
    )


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("pg", marks=pytest.mark.postgres)])
def test_a_backup_restores_to_the_same_rows_calls_and_files(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    new: Callable[[], str] | None = None
    if kind == "pg":
        new = request.getfixturevalue("new_postgres")
    store = open_store(tmp_path / "ws", ledger_url=new() if new else None, create=True)
    add(store, 0, 10)
    store.ledger.set_budget("b", limit_microusd=None)
    store.ledger.reserve_and_send([intent("1")], budget_id="b")
    model = store.workspace / "models" / "m" / "weights.bin"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    first = backup.backup(store, tmp_path / "copy")
    add(store, 10, 5)
    second = backup.backup(store, tmp_path / "copy")
    assert second.files < first.files
    assert second.present > 0
    into = new() if new else None
    backup.restore(tmp_path / "copy", tmp_path / "again", ledger_url=into)
    again = open_store(tmp_path / "again", ledger_url=into)
    assert prompts(again) == prompts(store)
    assert again.ledger.calls(["1"]) == store.ledger.calls(["1"])
    assert (again.workspace / "models" / "m" / "weights.bin").read_bytes() == b"weights"
    add(again, 0, 20)
    assert len(prompts(again)) == 20
    assert bad(integrity.check_files(again)) == []
    again.close()
    store.close()


def test_a_backup_during_a_run_calls_no_step_done_whose_rows_it_lacks(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"run_id": "r", "recipe_name": "n", "recipe_id": "r", "recipe": "{}", "rounds": 1}
    store.ledger.start_run({**run, "code_version": "0"})
    with store.ledger.step("r", 1, "draw"):
        add(store, 0, 5)
    store.ledger.move_pointer("champion:a", "old", expect=None, reason="first")
    store.ledger.set_budget("b", limit_microusd=None)
    copy_lake = backup._copy_lake

    def and_the_run_goes_on(*given: object) -> None:
        copy_lake(*given)  # type: ignore[arg-type]
        with store.ledger.step("r", 1, "sample"):
            add(store, 5, 5)
        store.ledger.move_pointer("champion:a", "new", expect="old", reason="won")
        store.ledger.reserve_and_send([intent("1")], budget_id="b")
        store.ledger.finish_run("r", state="done")

    monkeypatch.setattr(backup, "_copy_lake", and_the_run_goes_on)
    backup.backup(store, tmp_path / "copy")
    backup.restore(tmp_path / "copy", tmp_path / "again")
    again = open_store(tmp_path / "again")
    assert prompts(again) == ["00000", "00001", "00002", "00003", "00004"]
    assert again.ledger.step_detail("r", 1, "draw") == {}
    assert again.ledger.step_detail("r", 1, "sample") is None
    assert again.ledger.pointer("champion:a") == "old"
    assert [m["new"] for m in again.ledger.pointer_history("champion:a")] == ["old"]
    assert (again.ledger.run("r") or {})["state"] == "running"
    assert again.ledger.calls(["1"]) == store.ledger.calls(["1"])
    again.close()


def test_a_backup_cut_short_is_not_restored(store: Store, tmp_path: Path) -> None:
    backup.backup(store, tmp_path / "copy")
    (tmp_path / "copy" / "backup.complete").unlink()
    with pytest.raises(UserError, match="not a whole backup"):
        backup.restore(tmp_path / "copy", tmp_path / "again")


def test_a_backup_is_restored_only_into_an_empty_directory(store: Store, tmp_path: Path) -> None:
    backup.backup(store, tmp_path / "copy")
    with pytest.raises(UserError, match="is not empty"):
        backup.restore(tmp_path / "copy", store.workspace)
    with pytest.raises(UserError, match="inside the workspace"):
        backup.backup(store, store.workspace / "copy")


# --- integrity ------------------------------------------------------------------------------------


def test_a_whole_workspace_has_nothing_bad(store: Store) -> None:
    add(store, 0, 10)
    found = [*integrity.check_ledger(store), *integrity.check_files(store)]
    assert bad(found) == []
    assert any("10 rows in 1 files" in f.said for f in found)


@pytest.mark.parametrize("how", ["gone", "short", "rotten"])
def test_damage_to_a_file_is_found(store: Store, how: str) -> None:
    add(store, 0, 10)
    (file,) = store.lake.files("prompts")
    content = bytearray(Path(file).read_bytes())
    if how == "gone":
        Path(file).unlink()
    elif how == "short":
        Path(file).write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        Path(file).write_bytes(content)
    (said,) = bad(integrity.check_files(store))
    assert {"gone": "are gone", "short": "another size", "rotten": "rotted"}[how] in said


def test_rows_that_are_there_twice_are_found(store: Store) -> None:
    add(store, 0, 10)
    row = {"prompt_id": "00000"}
    store.append("prompts", [row], run_id="r", shard="forced", unique=False)
    (said,) = bad(integrity.check_files(store))
    assert "11 rows, 10 distinct ids" in said


def test_ids_that_lead_nowhere_are_noted(store: Store) -> None:
    store.append("completions", [{"completion_id": "c", "prompt_id": "nowhere"}], run_id="r")
    (found,) = integrity.check_links(store)
    assert (found.what, found.state) == ("ids of completions", "note")


def test_money_that_does_not_add_up_is_found(store: Store) -> None:
    store.ledger.set_budget("b", limit_microusd=None)
    store.ledger.reserve_and_send([intent("1")], budget_id="b")
    assert bad(integrity.check_ledger(store)) == []
    with store.ledger.transaction() as con:
        con.execute(text("update budgets set reserved_microusd = 9"))
    (said,) = bad(integrity.check_ledger(store))
    assert "9 micro-dollars reserved, calls in flight: 7" in said


def test_a_damaged_ledger_file_is_named(store: Store) -> None:
    store.close()
    path = store.workspace / "ledger.sqlite"
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="is damaged"):
        open_store(store.workspace)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("select 1 from calls")

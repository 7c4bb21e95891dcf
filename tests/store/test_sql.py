"""SQL over a workspace: notebooks, the plain DuckDB command line, and the past."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

import factory
from factory.errors import UserError
from factory.rows import SCHEMAS
from factory.store import Store, upkeep, views
from factory.store.tables import LEDGER_TABLES


def add(store: Store, *names: str) -> None:
    rows = [{"prompt_id": n, "pool": "p", "messages": "[]", "bucket": 0} for n in names]
    store.append("prompts", rows, run_id="r")


def test_a_notebook_connects_with_one_line(store: Store) -> None:
    add(store, "a", "b")
    con = factory.connect(store.workspace)
    assert con.sql("select count(*) from prompts").fetchall() == [(2,)]
    assert con.sql("select prompt_id from prompts order by 1").to_arrow_table().num_rows == 2


def test_every_table_and_view_answers_in_an_empty_workspace(store: Store) -> None:
    con = store.connect()
    for name in [*SCHEMAS, *LEDGER_TABLES, *views.view_texts(None)]:
        found = con.sql(f"select * from {name} limit 1").fetchall()
        assert found == [] or name not in SCHEMAS


def test_a_query_that_mentions_nothing_opens_nothing(store: Store) -> None:
    import shutil

    shutil.rmtree(store.workspace / "lake" / "prompts")
    assert store.rows("select 1 as one") == [{"one": 1}]


def test_the_plain_duckdb_file_holds_every_table_and_view(store: Store) -> None:
    add(store, "a")
    store.ledger.set_budget("b", limit_microusd=5)
    store.publish()
    code = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql(sys.argv[2]))"
    file = str(store.workspace / "factory.duckdb")
    with duckdb.connect(file, read_only=True) as con:
        found = {row[0] for row in con.execute("select table_name from duckdb_tables()").fetchall()}
        found |= {row[0] for row in con.execute("select view_name from duckdb_views()").fetchall()}
        assert {*SCHEMAS, *LEDGER_TABLES, *views.view_texts(None)} <= found
        # And another process at the same time.
        done = subprocess.run(
            [sys.executable, "-c", code, file, "select prompt_id, limit_microusd "
             "from prompts, budgets"],
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "│ a" in done.stdout


def test_the_plain_duckdb_file_is_renewed_when_the_store_closes(store: Store) -> None:
    add(store, "a")
    add(store, "b")
    store.close()
    with duckdb.connect(str(store.workspace / "factory.duckdb"), read_only=True) as con:
        assert con.execute("select count(*) from prompts").fetchall() == [(2,)]


def test_a_view_that_cannot_be_attached_names_its_file(store: Store) -> None:
    folder = store.workspace / "storage" / "views"
    folder.mkdir(parents=True)
    (folder / "broken.sql").write_text("select nothing from nowhere")
    with pytest.raises(UserError, match=r"storage/views/broken\.sql"):
        store.connect()


def test_ledger_times_are_times(store: Store) -> None:
    store.ledger.move_pointer("champion:x", "m", expect=None, reason="first")
    (row,) = store.rows("select moved_at from pointers")
    assert abs(row["moved_at"] - datetime.now(UTC)) < timedelta(minutes=5)


# --- the past -------------------------------------------------------------------------------------


def _freeze(store: Store, version_id: str) -> None:
    """Register a dataset version as exporting does."""
    folder = store.workspace / "datasets" / version_id
    folder.mkdir(parents=True)
    manifest = {
        "version_id": version_id,
        "lake_versions": {"prompts": store.lake.version("prompts")},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    row = {"version_id": version_id, "manifest": f"datasets/{version_id}/manifest.json"}
    store.append("dataset_versions", [row], run_id="r")


def test_the_lake_can_be_asked_as_it_was_at_a_dataset_version(store: Store) -> None:
    add(store, "a")
    _freeze(store, "abcdef0123456789abcdef0123456789")
    add(store, "b")
    assert store.rows("select count(*) n from prompts") == [{"n": 2}]
    found = store.query("select prompt_id from prompts", at="abcdef01")
    assert found.to_pylist() == [{"prompt_id": "a"}]


def test_the_lake_can_be_asked_as_it_was_at_a_time(store: Store) -> None:
    add(store, "a")
    between = datetime.now(UTC)
    # Commit times are in milliseconds.
    while datetime.now(UTC) - between < timedelta(milliseconds=5):
        pass
    add(store, "b")
    found = store.query("select prompt_id from prompts", at=between.isoformat())
    assert found.to_pylist() == [{"prompt_id": "a"}]
    assert store.query("select * from prompts", at=datetime.now(UTC)).num_rows == 2


@pytest.mark.parametrize("at", ["lastweek", "ffffffff", "1999-01-01"])
def test_a_past_that_never_was_is_said_in_one_sentence(store: Store, at: str) -> None:
    add(store, "a")
    with pytest.raises(UserError) as caught:
        store.query("select 1", at=at)
    assert caught.value.next.startswith("prefactory sql")


def test_a_pinned_version_survives_clean_up_and_others_do_not(store: Store) -> None:
    for name in "abc":
        add(store, name)
    _freeze(store, "abcdef0123456789abcdef0123456789")
    for name in "de":
        add(store, name)
    unpinned = store.lake.version("prompts")
    upkeep.compact(store)
    upkeep._collect(store, dry_run=False, retention_h=0, orphan_h=0)
    assert store.query("from prompts", at="abcdef").num_rows == 3
    assert store.rows("select count(*) n from prompts") == [{"n": 5}]
    gone = [f for f in store.lake.files("prompts", version=unpinned) if not Path(f).exists()]
    assert len(gone) == 2

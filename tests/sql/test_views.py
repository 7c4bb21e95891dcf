"""Every view, by given rows and expected rows: one YAML file a view, one runner for all.

A case has `given` (table -> rows; a ledger table is `calls`) and `expect` (the rows, in order, with
the columns that matter), or `only` to restrict which rows are looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import insert

from factory.rows import SCHEMAS, content_id
from factory.store import open_store
from factory.store.store import Store
from factory.store.tables import LEDGER_TABLES
from factory.store.views import view_texts

HERE = Path(__file__).parent
CASES = {
    f"{path.stem}: {case['name']}": (path.stem, case)
    for path in sorted(HERE.glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "completions": {
        "params_id": "t1",
        "seed": 0,
        "model_id": "m",
        "bucket": 0,
        "n_tokens": 3,
        "sample_idx": 0,
    },
    "judgements": {"status": "ok", "judge": "j", "judge_id": "j-id", "bucket": 0, "replicate": 0},
    "draws": {"params_id": "t1", "seed": 0, "model_id": "m", "purpose": "train", "n": 2},
    "calls": {"request_hash": "h", "owner": "o", "attempts": 1, "kind": "judge", "model": "m"},
}


def fill(store: Store, given: dict[str, list[dict[str, Any]]]) -> None:
    for table, rows in given.items():
        full = [{**DEFAULTS.get(table, {}), **row} for row in rows]
        if table in LEDGER_TABLES:
            with store.ledger.transaction() as con:
                con.execute(insert(LEDGER_TABLES[table]), full)
            continue
        key = SCHEMAS[table].names[0]
        for place, row in enumerate(full):
            row.setdefault(key, content_id("row", [table, place]))
        store.append(table, full, run_id="run")


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_a_view_gives_the_rows_that_are_expected(tmp_path, case):
    view, wanted = CASES[case]
    store = open_store(tmp_path / "ws", create=True)
    fill(store, wanted["given"])
    only = f" where {wanted['only']}" if "only" in wanted else ""
    order = f" order by {wanted['order']}" if "order" in wanted else ""
    found = store.rows(f"select * from {view}{only}{order}")
    assert len(found) == len(wanted["expect"]), found
    for row, expected in zip(found, wanted["expect"], strict=True):
        for name, value in expected.items():
            near = pytest.approx(value) if isinstance(value, float) else value
            assert row[name] == near, (name, row)


def test_every_view_has_a_case_and_says_what_it_is():
    texts = view_texts(None)
    assert set(texts) == {path.stem for path in HERE.glob("*.yaml")}
    assert all(text.startswith("-- ") and text.splitlines()[0].endswith(".") for text in
               texts.values())  # fmt: skip


def test_every_view_answers_on_an_empty_store(tmp_path):
    store = open_store(tmp_path / "ws", create=True)
    with store.connect() as con:
        for view in view_texts(None):
            assert con.sql(f"from {view}").fetchall() == []

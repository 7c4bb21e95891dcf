"""A vendor's batches: half the price, every answer kept, nothing submitted twice, whatever dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.errors import BudgetExhausted, Stopped
from factory.judging.verb import judge
from factory.recipe import Price
from factory.recipe.model import Judging
from factory.store import Store, integrity
from tests.judging.batch_server import Vendor
from tests.judging.server import serving

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]

QUESTIONS = [(f"What is {i}?", [f"It is {i}.", f"Perhaps {i}."]) for i in range(20)]
BATCH = {"mode": "batch", "batch": {"size": 15, "poll_s": 0.01}}


def _grade(text: str) -> int:
    return zlib.crc32(text.encode()) % 10 + 1


def _brain(body: dict[str, Any]) -> str:
    said = body["messages"][-1]["content"]
    found = re.search(r"<<<ANSWER [0-9a-f]{12}>>>\n(.*?)\n<<<END", said, re.DOTALL)
    assert found is not None
    return f"[[{_grade(found[1])}]]"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving(Vendor(brain=_brain)) as running:
        yield running


def _rows(store: Store) -> list[dict[str, Any]]:
    return store.rows(
        "select j.*, c.text from judgements j join completions c using (completion_id) "
        "where j.judge = 'mt-bench-single'"
    )


def _right(store: Store) -> bool:
    rows = _rows(store)
    good = all(r["status"] == "ok" and r["score"] == _grade(r["text"]) for r in rows)
    return good and len({r["completion_id"] for r in rows}) == len(rows) == 40


def _judge(store: Store, ids: list[str], section: Judging) -> Any:
    report = judge(
        store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r"
    )
    return report.judges[0]


def test_batches_answer_every_row_at_half_the_price(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    ids = fill(store, QUESTIONS)
    section = judging(vendor.url, **BATCH)
    report = _judge(store, ids, section)
    assert _right(store)
    assert len(vendor.batches) == 3
    assert set(vendor.billed.values()) == {1} and len(vendor.billed) == 40
    assert report.cost_microusd == 40 * 60  # (100 in at 1 USD, 10 out at 2 USD) / 2
    assert store.ledger.open_batches() == []
    assert _judge(store, ids, section).made == 0
    assert len(vendor.batches) == 3


def test_what_a_batch_leaves_unanswered_goes_into_the_next_one(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    kinds = ["ok", "429", "500", "missing", "ok"]
    vendor.fate = lambda key, tries: kinds[int(key[:4], 16) % 5] if tries == 0 else "ok"
    vendor.ends = lambda number: ["completed", "expired", "cancelled"][number % 3]
    ids = fill(store, QUESTIONS)
    section = judging(vendor.url, **BATCH)
    _judge(store, ids, section)
    for _ in range(4):  # what three batches did not answer is an error, and asked again
        judge(
            store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r",
            retry=["error"],
        )  # fmt: skip
    newest = store.rows(
        "select j.status, j.score, c.text from judgements j join completions c "
        "using (completion_id) where j.judge = 'mt-bench-single' "
        "qualify row_number() over (partition by completion_id order by replicate desc) = 1"
    )
    assert len(newest) == 40
    assert all(r["status"] == "ok" and r["score"] == _grade(r["text"]) for r in newest)
    assert set(vendor.billed.values()) == {1}
    bad = {r["rationale"] for r in _rows(store) if r["status"] == "error"}
    assert bad <= {"batch_expired", "http_429", "http_500", "batch_cancelled", "batch_completed"}


def test_a_batch_that_the_vendor_rejects_stops_the_run_with_its_words(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    vendor.ends = lambda number: "failed"
    ids = fill(store, QUESTIONS)
    with pytest.raises(Stopped, match="a line is not what it should be"):
        _judge(store, ids, judging(vendor.url, **BATCH))
    vendor.ends = lambda number: "completed"
    _judge(store, ids, judging(vendor.url, **BATCH))
    assert _right(store)
    assert set(vendor.billed.values()) == {1}


def test_a_budget_is_kept_by_batches_too_and_a_bigger_one_goes_on(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    ids = fill(store, QUESTIONS)
    with pytest.raises(BudgetExhausted):
        _judge(store, ids, judging(vendor.url, budget_usd=0.003, **BATCH))
    budget = store.ledger.budget("r")
    assert budget is not None and budget["reserved_microusd"] == 0
    assert 0 < budget["spent_microusd"] <= 3000
    assert 0 < len(_rows(store)) < 40
    _judge(store, ids, judging(vendor.url, budget_usd=5.0, **BATCH))
    assert _right(store)
    assert set(vendor.billed.values()) == {1}


ODD = {
    "html": (200, "<html>gateway</html>"),
    "half": (200, '{"id": "batch_'),
    "error in 200": (200, '{"error": {"message": "try later"}}'),
}


@pytest.mark.parametrize("step", ["uploaded", "created", "looked", "read"])
@pytest.mark.parametrize("kind", ["html", "error in 200"])
def test_nonsense_at_any_step_stops_the_run_in_a_sentence_and_the_next_goes_on(
    store: Store, fill: Fill, judging: Section, vendor: Vendor, step: str, kind: str
) -> None:
    ids = fill(store, QUESTIONS[:3])
    section = judging(vendor.url, max_attempts=1, **BATCH)
    vendor.odd = lambda at, seen: ODD[kind if seen % 2 else "half"] if at == step else None
    try:
        _judge(store, ids, section)
    except Stopped as stopped:
        assert "judging.endpoints.main" in stopped.message
    vendor.odd = lambda at, seen: None
    _judge(store, ids, section)
    rows = _rows(store)
    assert len(rows) == 6
    assert all(r["status"] == "ok" and r["score"] == _grade(r["text"]) for r in rows)
    assert set(vendor.submitted.values()) == set(vendor.billed.values()) == {1}
    assert store.ledger.open_batches() == []
    assert [f.said for f in integrity.check_ledger(store) if f.state == "bad"] == []


def test_a_batch_that_was_made_though_its_answer_was_nonsense_is_found_and_not_made_twice(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    vendor.odd = lambda at, seen: ODD["html"] if at == "created" else None
    ids = fill(store, QUESTIONS)
    _judge(store, ids, judging(vendor.url, **BATCH))
    assert _right(store)
    assert set(vendor.submitted.values()) == {1}


def test_a_batch_that_is_gone_for_days_is_given_up_and_asked_anew(
    store: Store, fill: Fill, judging: Section, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(store, QUESTIONS)
    section = judging(vendor.url, **BATCH)
    vendor.odd = lambda at, seen: (404, "{}") if at == "looked" else None
    for _ in range(2):  # today it may be the key that is wrong
        with pytest.raises(Stopped, match="is open"):
            _judge(store, ids, section)
    monkeypatch.setattr("factory.judging.client.batch.GONE_S", 0.0)
    gone = set(vendor.batches)
    vendor.odd = lambda at, seen: None
    for batch in gone:
        vendor.batches[batch]["key"] = "another"
    _judge(store, ids, section)
    assert _right(store)


def test_long_texts_go_into_more_files_than_their_number_asks_for(
    store: Store, fill: Fill, judging: Section, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.judging.client.batch.FILE_BYTES", 8_000)
    ids = fill(store, QUESTIONS)
    _judge(store, ids, judging(vendor.url, **BATCH))
    assert _right(store)
    assert len(vendor.batches) > 3
    assert max(len(file) for file in vendor.files.values()) <= 8_000
    assert set(vendor.submitted.values()) == {1}


def test_a_status_that_is_no_status_is_an_error_like_another(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    vendor.fate = lambda key, tries: "1" + "0" * 40
    ids = fill(store, QUESTIONS[:2])
    _judge(store, ids, judging(vendor.url, **BATCH))
    assert {(r["status"], r["rationale"]) for r in _rows(store)} == {("error", "http_0")}
    assert store.ledger.open_batches() == []


def test_a_hiccup_of_the_vendor_does_not_end_a_night_of_waiting(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    vendor.looks = 6
    vendor.odd = lambda at, seen: ODD["html"] if at == "looked" and seen % 2 else None
    ids = fill(store, QUESTIONS)
    _judge(store, ids, judging(vendor.url, **BATCH))
    assert _right(store)


def test_a_hiccup_when_a_batch_is_taken_over_does_not_end_the_run(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    ids = fill(store, QUESTIONS[:3])
    section = judging(vendor.url, **BATCH)
    vendor.odd = lambda at, seen: (404, "{}") if at == "looked" else None
    with pytest.raises(Stopped, match="is open"):
        _judge(store, ids, section)
    before = vendor.seen["looked"]
    vendor.odd = lambda at, seen: ODD["html"] if at == "looked" and 0 < seen - before <= 3 else None
    _judge(store, ids, section)
    assert len(_rows(store)) == 6 and store.ledger.open_batches() == []
    assert set(vendor.submitted.values()) == set(vendor.billed.values()) == {1}


def test_keys_take_turns_and_each_fetches_what_it_made_also_after_a_crash(
    store: Store, fill: Fill, judging: Section, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KEY_A", "KEY_B", "KEY_C"):
        monkeypatch.setenv(name, f"sk-{name}")
    ids = fill(store, QUESTIONS)
    section = judging(vendor.url, api_key_env=["KEY_A", "KEY_B", "KEY_C"], **BATCH)
    vendor.odd = lambda at, seen: (404, "{}") if at == "looked" and seen > 2 else None
    with pytest.raises(Stopped, match="is open"):
        _judge(store, ids, section)
    assert sorted(vendor.keys.values()) == [1, 1, 1]
    assert len(store.ledger.open_batches()) >= 1
    vendor.odd = lambda at, seen: None
    _judge(store, ids, section)
    assert _right(store)
    assert set(vendor.submitted.values()) == {1}


def test_a_key_that_is_full_or_refused_leaves_batches_to_another_and_is_never_shown(
    store: Store, fill: Fill, judging: Section, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_A", "sk-first-secret")
    monkeypatch.setenv("KEY_B", "sk-second-secret")
    first: list[int] = [429, 401]
    said = '{"error": {"message": "sk-first-secret and sk-second-secret: no more"}}'
    vendor.odd = lambda at, seen: (first.pop(), said) if at == "create" and first else None
    ids = fill(store, QUESTIONS)
    section = judging(vendor.url, api_key_env=["KEY_A", "KEY_B"], **BATCH)
    _judge(store, ids, section)
    assert _right(store)
    assert set(vendor.submitted.values()) == {1}
    vendor.odd = lambda at, seen: (401, said) if at == "create" else None
    ids = fill(store, [("another?", ["Yes."])])
    with pytest.raises(Stopped, match=r"\*\*\* and \*\*\*: no more") as stopped:
        _judge(store, ids, section)
    assert "secret" not in str(stopped.value)
    assert store.ledger.open_batches() == []


def test_an_open_batch_of_another_model_waits_for_it_and_keeps_its_price(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    ids = fill(store, QUESTIONS)
    dear = judging(vendor.url, model="dear", price=Price(input=100.0, output=200.0), **BATCH)
    vendor.odd = lambda at, seen: (404, "{}") if at == "looked" else None
    with pytest.raises(Stopped, match="is open"):
        _judge(store, ids, dear)
    vendor.odd = lambda at, seen: None
    _judge(store, ids, judging(vendor.url, model="cheap", **BATCH))
    assert {batch["model"] for batch in store.ledger.open_batches()} == {"dear"}
    _judge(store, ids, dear)
    costs = store.rows("select model, sum(cost_microusd) as c from calls group by 1 order by 1")
    assert costs == [{"model": "cheap", "c": 40 * 60}, {"model": "dear", "c": 40 * 6000}]


def test_a_reply_of_a_batch_that_quotes_another_calls_text_is_an_error(
    store: Store, fill: Fill, judging: Section, vendor: Vendor
) -> None:
    vendor.brain = lambda body: "<<<ANSWER 0123456789ab>>> is poor: [[1]]"
    ids = fill(store, QUESTIONS[:2])
    _judge(store, ids, judging(vendor.url, **BATCH))
    found = store.rows("select distinct status, rationale from judgements where raw is not null")
    assert found == [{"status": "error", "rationale": "other_call"}]


TWICE = """---
kind: pointwise
description: x
scale: {min: 1, max: 10}
parser: bracket
corrections: 2
---
{{ prompt }} {{ completion }}
"""


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_corrections_go_into_batches_of_their_own_and_each_turn_is_paid_once(
    store: Store, fill: Fill, judging: Section, vendor: Vendor, turns: int
) -> None:
    folder = store.workspace / "judges"
    folder.mkdir(exist_ok=True)
    (folder / "twice.md").write_text(TWICE)

    def brain(body: dict[str, Any]) -> str:
        told = sum(m["role"] == "assistant" for m in body["messages"])
        odd = "It is 1" in body["messages"][0]["content"]
        return "Quite good." if odd and told < turns else "[[7]]"

    vendor.brain = brain
    ids = fill(store, QUESTIONS)  # of 20 questions, 11 have "It is 1..." for an answer
    section = judging(vendor.url, judges=["twice"], **BATCH)
    call: dict[str, Any] = {"judges": ["twice"], "completion_ids": ids, "run_id": "r"}
    judge(store, judging=section, **call)
    rows = store.rows("select * from judgements where judge = 'twice'")
    corrected = [r for r in rows if r["earlier_call_ids"]]
    assert len(rows) == 40 and len(corrected) == 11
    assert {len(r["earlier_call_ids"]) for r in corrected} == {min(turns, 2)}
    assert {r["status"] for r in corrected} == {"unparsed" if turns > 2 else "ok"}
    assert {r["score"] for r in rows if r not in corrected} == {7.0}
    assert len(vendor.billed) == 40 + 11 * min(turns, 2)
    assert set(vendor.billed.values()) == {1}
    assert sum(r["cost_microusd"] for r in rows) == 60 * len(vendor.billed)
    batches = len(vendor.batches)
    judge(store, judging=section, **call)
    assert len(vendor.batches) == batches


_CHILD = """
import sys
from pathlib import Path
from factory.judging.verb import judge
from factory.recipe import Endpoint, Price
from factory.recipe.model import Judging
from factory.store import open_store
store = open_store(Path(sys.argv[1]))
endpoint = Endpoint(
    base_url=sys.argv[2], model="the-judge", price=Price(input=1.0, output=2.0), mode="batch",
    batch={"size": 15, "poll_s": 0.01},
)
section = Judging(judges=("mt-bench-single",), endpoints={"main": endpoint}, budget_usd=5.0)
ids = [r["completion_id"] for r in store.rows("select completion_id from completions")]
judge(store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r")
"""


@pytest.mark.slow
def test_killed_at_every_step_no_call_is_submitted_or_billed_twice(
    store: Store, fill: Fill, vendor: Vendor
) -> None:
    fill(store, QUESTIONS)
    # The first of each step, and some later ones: before its answer leaves, the asker is dead.
    deaths = [("uploaded", 1), ("created", 1), ("created", 2), ("looked", 4), ("read", 2)]
    deaths += [("listed", 1), ("read", 4)]
    left = list(deaths)

    def event(name: str) -> None:
        due = [death for death in left if death[0] == name and vendor.seen[name] >= death[1]]
        if due and child.poll() is None:
            left.remove(due[0])
            os.kill(child.pid, signal.SIGKILL)
            child.wait()

    vendor.event = event
    for _ in range(len(deaths) + 1):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(store.workspace), vendor.url],
            cwd=Path(__file__).parents[2],
        )
        code = child.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert code == 0
    assert len(left) <= 1, left
    assert _right(store)
    assert set(vendor.submitted.values()) == {1} and len(vendor.submitted) == 40
    assert set(vendor.billed.values()) == {1}
    assert [f.said for f in integrity.check_ledger(store) if f.state == "bad"] == []
    budget = store.ledger.budget("r")
    assert budget is not None
    assert (budget["reserved_microusd"], budget["spent_microusd"]) == (0, 40 * 60)

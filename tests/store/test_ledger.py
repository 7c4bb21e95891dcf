"""The ledger's promises, the same over SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, text

from factory.errors import BudgetExhausted, StoreError, UserError
from factory.store import CallIntent, CallResult, Ledger

DEAD = "elsewhere/1/0.00"


def intent(name: str, *, price: int = 10) -> CallIntent:
    return CallIntent(
        call_id=name, kind="chat", endpoint="http://judge/v1", model="m", request_hash=name,
        reserve_microusd=price, run_id="r",
    )  # fmt: skip


def result(name: str, *, state: str = "done", cost: int = 3, **more: object) -> CallResult:
    given = {"outcome": "ok", "response": f"answer to {name}", **more}
    return CallResult(call_id=name, state=state, cost_microusd=cost, **given)  # type: ignore[arg-type]


def money(ledger: Ledger) -> tuple[int, int]:
    found = ledger.budget("b")
    assert found is not None
    return found["reserved_microusd"], found["spent_microusd"]


@pytest.fixture
def budget(ledger: Ledger) -> Iterator[Ledger]:
    ledger.set_budget("b", limit_microusd=100)
    yield ledger


def test_a_call_is_reserved_when_it_leaves_and_spent_when_it_returns(budget: Ledger) -> None:
    assert budget.reserve_and_send([intent("1"), intent("2")], budget_id="b") == {"1", "2"}
    assert money(budget) == (20, 0)
    budget.finish([result("1", cost=3)])
    assert money(budget) == (10, 3)
    rows = budget.calls(["1", "2", "absent"])
    assert {k: r.state for k, r in rows.items()} == {"1": "done", "2": "sent"}
    assert rows["1"].response == "answer to 1"


def test_a_batch_that_does_not_fit_the_budget_writes_nothing(budget: Ledger) -> None:
    with pytest.raises(BudgetExhausted):
        budget.reserve_and_send([intent(str(i)) for i in range(11)], budget_id="b")
    assert money(budget) == (0, 0)
    assert budget.calls([str(i) for i in range(11)]) == {}


def test_a_call_that_is_in_flight_or_done_is_nobody_elses_to_send(budget: Ledger) -> None:
    other = Ledger(budget.url, owner=DEAD)
    assert budget.reserve_and_send([intent("1")], budget_id="b") == {"1"}
    assert other.reserve_and_send([intent("1")], budget_id="b") == set()
    budget.finish([result("1")])
    assert other.reserve_and_send([intent("1")], budget_id="b") == set()
    assert money(budget) == (0, 3)
    other.close()


def test_the_same_call_twice_in_one_batch_is_one_call(budget: Ledger) -> None:
    assert budget.reserve_and_send([intent("1"), intent("1")], budget_id="b") == {"1"}
    assert money(budget) == (10, 0)


def test_a_failed_call_is_sent_again_as_another_attempt(budget: Ledger) -> None:
    budget.reserve_and_send([intent("1")], budget_id="b")
    budget.finish([result("1", state="failed", cost=1, outcome="http_500", response=None)])
    assert money(budget) == (0, 1)
    assert budget.reserve_and_send([intent("1")], budget_id="b") == {"1"}
    assert money(budget) == (10, 1)
    budget.finish([result("1")])
    assert budget.calls(["1"])["1"].attempts == 2
    attempts = budget.table("attempts")
    assert sorted((a["attempt"], a["outcome"], a["cost_microusd"]) for a in attempts) == [
        (1, "http_500", 1),
        (2, "ok", 3),
    ]


def test_an_answer_told_twice_is_paid_once(budget: Ledger) -> None:
    budget.reserve_and_send([intent("1"), intent("2")], budget_id="b")
    for _ in range(2):
        budget.finish([result("1")])
        budget.finish([result("2", state="failed", outcome="timeout", cost=10, response=None)])
    assert money(budget) == (0, 13)


def test_the_first_answer_of_a_call_stays(budget: Ledger) -> None:
    budget.reserve_and_send([intent("1")], budget_id="b")
    budget.finish([result("1", response="first")])
    budget.finish([result("1", response="second", cost=50)])
    assert budget.calls(["1"])["1"].response == "first"
    assert money(budget) == (0, 3)


@pytest.mark.parametrize("said", ["nul \x00 byte", "lone \ud800 surrogate", "é ∑ 𝄞 ok"])
def test_any_text_of_a_server_can_be_kept(budget: Ledger, said: str) -> None:
    budget.reserve_and_send([intent("1")], budget_id="b")
    budget.finish([result("1", response=said, error=said)])
    kept = budget.calls(["1"])["1"].response
    assert kept is not None
    assert kept.startswith(said[:3])


def test_an_answer_is_dropped_only_when_its_rows_are_kept_and_it_is_old_and_can_be_asked_again(
    budget: Ledger,
) -> None:
    names = [f"c{i}" for i in range(4)]
    budget.reserve_and_send([intent(name) for name in names], budget_id="b")
    budget.finish([result(name) for name in names[:3]])
    budget.rows_are_kept(["c0", "c1", "c3"])  # c3 is still on its way
    with budget.transaction() as con:
        con.execute(text("update calls set done_at = done_at - 90000 where call_id <> 'c1'"))
    assert (budget.forget_answers(dry_run=True), budget.forget_answers()) == (1, 1)
    found = budget.calls(names)
    assert {n: r.response is not None for n, r in found.items()} == {
        "c0": False, "c1": True, "c2": True, "c3": False
    }  # fmt: skip
    assert (found["c0"].state, found["c0"].cost_microusd) == ("done", 3)
    assert budget.reserve_and_send([intent("c0")], budget_id="b") == set()
    budget.ask_again(names)
    assert budget.reserve_and_send([intent(n) for n in names], budget_id="b") == {"c0"}
    budget.finish([result("c0")])
    assert budget.calls(["c0"])["c0"].response == "answer to c0"
    assert money(budget) == (10, 12)


def test_calls_of_a_dead_owner_are_in_doubt_and_keep_their_reservation(budget: Ledger) -> None:
    other = Ledger(budget.url, owner=DEAD)
    other.reserve_and_send([intent("1"), intent("2")], budget_id="b")
    budget.reserve_and_send([intent("3")], budget_id="b")
    assert budget.mark_in_doubt(is_dead=lambda owner: owner == DEAD) == ["1", "2"]
    assert budget.mark_in_doubt(is_dead=lambda owner: owner == DEAD) == []
    assert money(budget) == (30, 0)
    found = {row["state"]: (row["calls"], row["microusd"]) for row in budget.in_doubt()}
    assert found == {"in_doubt": (2, 20), "sent": (1, 10)}
    other.close()


@pytest.mark.parametrize(("hold", "state"), [(True, "held"), (False, "failed")])
def test_deciding_on_calls_in_doubt_counts_their_price_once(
    budget: Ledger, hold: bool, state: str
) -> None:
    other = Ledger(budget.url, owner=DEAD)
    other.reserve_and_send([intent("1"), intent("2")], budget_id="b")
    budget.mark_in_doubt(is_dead=lambda owner: owner == DEAD)
    for _ in range(2):
        budget.release_in_doubt(["1"], hold=hold)
    assert money(budget) == (10, 10)
    assert budget.calls(["1"])["1"].state == state
    sent_again = budget.reserve_and_send([intent("1"), intent("2")], budget_id="b")
    assert sent_again == (set() if hold else {"1"})
    other.close()


def test_a_late_answer_to_a_held_call_is_kept_at_its_real_price(budget: Ledger) -> None:
    other = Ledger(budget.url, owner=DEAD)
    other.reserve_and_send([intent("1")], budget_id="b")
    budget.mark_in_doubt(is_dead=lambda owner: owner == DEAD)
    budget.release_in_doubt(["1"], hold=True)
    other.finish([result("1", cost=4)])
    assert budget.calls(["1"])["1"].state == "done"
    assert money(budget) == (0, 4)
    other.close()


def test_a_call_costs_what_all_of_its_tries_cost(budget: Ledger) -> None:
    """A try that timed out may have been billed: the bill, the budget and the tries agree."""
    other = Ledger(budget.url, owner=DEAD)
    other.reserve_and_send([intent("1"), intent("2")], budget_id="b")
    budget.mark_in_doubt(is_dead=lambda owner: owner == DEAD)
    budget.release_in_doubt(["1"], hold=False)
    budget.release_in_doubt(["2"], hold=True)
    budget.reserve_and_send([intent("1")], budget_id="b")
    budget.finish([result("1", state="failed", cost=7, outcome="timeout", response=None)])
    budget.reserve_and_send([intent("1")], budget_id="b")
    budget.finish([result("1", cost=3)])
    other.finish([result("2", cost=4)])  # a late answer to a held call
    assert money(budget) == (0, 10 + 7 + 3 + 4)
    assert {k: r.cost_microusd for k, r in budget.calls(["1", "2"]).items()} == {"1": 20, "2": 4}
    assert sum(a["cost_microusd"] for a in budget.table("attempts")) == 24
    other.close()


def test_calls_of_a_process_elsewhere_are_in_doubt_when_they_are_old_or_their_run_is_ours(
    budget: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is started again has another host's name."""
    other = Ledger(budget.url, owner=DEAD)
    other.reserve_and_send([intent("1")], budget_id="b")
    alive: dict[str, object] = {"is_dead": lambda owner: False}
    assert budget.mark_in_doubt(**alive) == []  # type: ignore[arg-type]
    assert budget.mark_in_doubt(**alive, run_id="another") == []  # type: ignore[arg-type]
    assert budget.mark_in_doubt(**alive, run_id="r") == ["1"]  # type: ignore[arg-type]
    other.reserve_and_send([intent("2")], budget_id="b")
    monkeypatch.setattr("factory.store.doubt.STALE_S", -1.0)
    assert budget.mark_in_doubt(**alive) == ["2"]  # type: ignore[arg-type]
    other.close()


def test_a_lease_is_held_until_it_is_given_back(budget: Ledger) -> None:
    with budget.lease("run:1"):
        assert budget.holds("run:1") and not budget.holds("run:2")
    assert not budget.holds("run:1")


def test_units_a_minute_are_shared_by_every_process(
    budget: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, moment = Ledger._now, list[float]()

    def stopped(ledger: Ledger, con: Connection) -> float:
        moment.append(read(ledger, con))
        return moment[0]

    monkeypatch.setattr(Ledger, "_now", stopped)
    monkeypatch.setattr(
        "factory.store.rates.time", SimpleNamespace(time=time.time, monotonic=lambda: 0.0)
    )
    other, limits = Ledger(budget.url, owner=DEAD), {"requests": 60, "tokens": 6000}
    one = {"requests": 1.0, "tokens": 10.0}
    assert budget.take_units("e", limits, [one]) == [0.0]
    assert other.take_units("e", limits, [one]) == pytest.approx([60.5 / 60])
    assert other.take_units("another", limits, [one]) == [0.0]
    first, *_ = other.take_units("e", limits, [one] * 5, unused={"tokens": 10.0})
    assert first == pytest.approx(2 * 60.5 / 60)
    other.close()


def test_a_name_that_is_asked_at_a_new_place_is_told_once(budget: Ledger) -> None:
    assert budget.first_asked_at("m", "http://a") == []
    assert budget.first_asked_at("m", "http://a") == []
    assert budget.first_asked_at("m", "http://b") == ["http://a"]
    assert budget.first_asked_at("m", "http://b") == []
    assert budget.first_asked_at("n", "http://b") == []


def test_calls_of_a_batch_wait_for_the_batch_and_are_never_in_doubt(budget: Ledger) -> None:
    other = Ledger(budget.url, owner=DEAD)
    assert other.start_batch("batch", [intent("1"), intent("2")], budget_id="b") == {"1", "2"}
    other.batch_submitted("batch", "at-the-provider")
    assert budget.mark_in_doubt(is_dead=lambda owner: True) == []
    (found,) = budget.open_batches()
    assert (found["state"], found["provider_batch_id"]) == ("submitted", "at-the-provider")
    budget.finish([result("1")])
    budget.batch_ended("batch", state="failed")
    assert budget.open_batches() == []
    assert money(budget) == (0, 3)
    assert budget.reserve_and_send([intent("1"), intent("2")], budget_id="b") == {"2"}
    other.close()


def test_racing_senders_send_each_call_once_and_reserve_it_once(budget: Ledger) -> None:
    budget.set_budget("b", limit_microusd=None)
    names = [f"c{i:03d}" for i in range(200)]
    ledgers = [Ledger(budget.url, owner=f"host/{i}/1.00") for i in range(4)]
    start = threading.Barrier(4)

    def send(which: int) -> list[str]:
        # Each in its own order: orders that differ are what makes databases wait in a circle.
        order = names[which * 50 :] + names[: which * 50]
        start.wait()
        sent: list[str] = []
        for at in range(0, 200, 20):
            part = [intent(name) for name in order[at : at + 20]]
            mine = ledgers[which].reserve_and_send(part, budget_id="b")
            ledgers[which].finish([result(name) for name in mine])
            sent += mine
        return sent

    with ThreadPoolExecutor(4) as pool:
        sent = [name for part in pool.map(send, range(4)) for name in part]
    assert sorted(sent) == names
    assert money(budget) == (0, 600)
    for each in ledgers:
        each.close()


def test_a_pointer_moves_only_from_where_it_was_seen(ledger: Ledger) -> None:
    ledger.move_pointer("p", "a", expect=None, reason="first")
    with pytest.raises(UserError, match="points to a"):
        ledger.move_pointer("p", "b", expect="x", reason="stale")
    ledger.move_pointer("p", "b", expect="a", reason="won")
    ledger.move_pointer("p", "b", expect="a", reason="told twice")
    assert ledger.pointer("p") == "b"
    moves = [(m["serial"], m["old"], m["new"]) for m in ledger.pointer_history("p")]
    assert moves == [(1, None, "a"), (2, "a", "b")]


def test_of_racing_pointer_moves_one_wins(ledger: Ledger) -> None:
    ledger.move_pointer("p", "start", expect=None, reason="")
    start = threading.Barrier(6)

    def move(to: int) -> bool:
        start.wait()
        try:
            ledger.move_pointer("p", f"to{to}", expect="start", reason="race")
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(move, range(6))) == 1
    assert len(ledger.pointer_history("p")) == 2


def test_a_step_adds_up_its_attempts_and_keeps_what_it_found(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="boom"), ledger.step("r", 1, "sample"):
        raise ValueError("boom")
    assert ledger.step_detail("r", 1, "sample") is None
    with ledger.step("r", 1, "sample") as step:
        step.detail["rows"] = 7
    assert ledger.step_detail("r", 1, "sample") == {"rows": 7}
    (row,) = ledger.table("steps")
    assert (row["state"], row["attempts"]) == ("done", 2)


def test_a_ledger_of_a_newer_program_is_refused(ledger: Ledger) -> None:
    with ledger.transaction() as con:
        con.execute(text("update meta set value = '99' where key = 'schema_version'"))
    with pytest.raises(StoreError, match=r"schema version 99.*newer program"):
        Ledger(ledger.url)


def test_an_older_ledger_gains_what_this_program_knows(ledger: Ledger) -> None:
    with ledger.transaction() as con:
        con.execute(text("alter table calls drop column batch_id"))
        con.execute(text("drop table batches"))
        con.execute(text("update meta set value = '1' where key = 'schema_version'"))
    newer = Ledger(ledger.url)
    assert newer.start_batch("b", [intent("1")]) == {"1"}
    assert [b["batch_id"] for b in newer.open_batches()] == ["b"]
    newer.close()


def test_a_ledger_that_was_never_made_says_what_to_type(ledger_url: str) -> None:
    with pytest.raises(UserError) as caught:
        Ledger(ledger_url)
    assert "prefactory init" in caught.value.next
    assert "://factory:" not in str(caught.value)


def test_ledger_tables_come_as_columns_of_the_right_types(budget: Ledger) -> None:
    budget.reserve_and_send([intent("1")], budget_id="b")
    found = budget.arrow("calls", without=("response",))
    assert found.column("reserve_microusd").to_pylist() == [10]
    assert str(found.schema.field("sent_at").type) == "double"
    assert "response" not in found.column_names
    assert budget.arrow("votes").num_rows == 0

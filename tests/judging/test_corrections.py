"""A judge that writes no verdict is told so, at most k times, and every turn is kept and paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from factory.errors import BudgetExhausted
from factory.judging.verb import judge
from factory.recipe.model import Judging
from factory.store import Store

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]

TWICE = """---
kind: pointwise
description: x
scale: {min: 1, max: 5}
parser: rating
corrections: 2
---
{{ prompt }} {{ completion }}
"""


def _write(store: Store) -> None:
    folder = store.workspace / "judges"
    folder.mkdir(exist_ok=True)
    (folder / "twice.md").write_text(TWICE)


def _mends(turns: int) -> Callable[[dict[str, Any]], str]:
    """Writes prose until it was told so many times, then a rating."""

    def brain(body: dict[str, Any]) -> str:
        told = sum(m["role"] == "assistant" for m in body["messages"])
        return "Rating: 4" if told >= turns else "Quite good, I would say."

    return brain


def _judge(store: Store, ids: list[str], section: Judging, **more: Any) -> Any:
    return judge(
        store, judges=["twice"], completion_ids=ids, judging=section, run_id="r", **more
    ).judges[0]


@pytest.mark.parametrize(
    ("turns", "status", "calls"), [(0, "ok", 1), (1, "ok", 2), (2, "ok", 3), (3, "unparsed", 3)]
)
def test_at_most_k_corrections_are_asked_and_each_is_recorded(
    store: Store, fill: Fill, judging: Section, server: Any, turns: int, status: str, calls: int
) -> None:
    _write(store)
    server.brain = _mends(turns)
    ids = fill(store, [("q", ["a", "b"])])
    report = _judge(store, ids, judging(server.url, judges=["twice"]))
    rows = store.rows("select * from judgements")
    assert {r["status"] for r in rows} == {status}
    assert len(server.bodies) == report.paid_calls == 2 * calls
    assert {len(r["earlier_call_ids"] or []) for r in rows} == {calls - 1}
    known = store.rows("select call_id, cost_microusd from calls")
    kept = {c for r in rows for c in [r["call_id"], *(r["earlier_call_ids"] or [])]}
    assert kept == {c["call_id"] for c in known}
    assert sum(r["cost_microusd"] for r in rows) == sum(c["cost_microusd"] for c in known) > 0
    assert report.cost_microusd == sum(c["cost_microusd"] for c in known)


def test_a_correction_shows_the_judge_its_reply_and_asks_for_the_form_alone(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    _write(store)
    server.brain = _mends(1)
    ids = fill(store, [("q", ["a"])])
    _judge(store, ids, judging(server.url, judges=["twice"]))
    first, second = server.bodies
    assert second["messages"][: len(first["messages"])] == first["messages"]
    said, told = second["messages"][len(first["messages"]) :]
    assert said == {"role": "assistant", "content": "Quite good, I would say."}
    assert told["role"] == "user"
    assert "exactly the form" in told["content"]


@pytest.mark.parametrize("text", ["Rating: 2", "I'm sorry, I can't rate this.", "Rating: N/A"])
def test_a_verdict_a_refusal_and_a_no_are_never_asked_for_again(
    store: Store, fill: Fill, judging: Section, server: Any, text: str
) -> None:
    _write(store)
    server.brain = lambda body: text
    ids = fill(store, [("q", ["a"])])
    _judge(store, ids, judging(server.url, judges=["twice"]))
    assert len(server.bodies) == 1


def test_a_budget_that_ends_between_two_turns_loses_and_repeats_none(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    _write(store)
    server.brain = _mends(1)
    ids = fill(store, [("q", ["a"])])
    # Enough for the first turn's reservation, not for the second's, which holds the first.
    with pytest.raises(BudgetExhausted):
        _judge(store, ids, judging(server.url, judges=["twice"], budget_usd=0.0025))
    assert len(server.bodies) == 1
    assert store.rows("select * from judgements") == []
    report = _judge(store, ids, judging(server.url, judges=["twice"], budget_usd=1.0))
    assert len(server.bodies) == 2
    assert (report.recovered, report.paid_calls) == (1, 1)
    (row,) = store.rows("select * from judgements")
    assert row["status"] == "ok"
    spent = store.rows("select sum(cost_microusd) as c from calls")[0]["c"]
    assert row["cost_microusd"] == spent


def test_a_schema_is_asked_for_and_an_endpoint_without_it_can_say_so(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    server.brain = lambda body: '{"reason": "it answers", "compliance": 3}'
    ids = fill(store, [("q", ["a", "b"])])
    call: dict[str, Any] = {"judges": ["refusal"], "run_id": "r"}
    judge(store, completion_ids=ids[:1], judging=judging(server.url, judges=["refusal"]), **call)
    wanted = server.bodies[0]["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"]["required"] == ["reason", "compliance"]
    plain = judging(server.url, judges=["refusal"], extra_body={"response_format": None})
    judge(store, completion_ids=ids[1:], judging=plain, **call)
    assert "response_format" not in server.bodies[1]
    assert {r["score"] for r in store.rows("select score from judgements")} == {3.0}

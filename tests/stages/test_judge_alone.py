"""`prefactory judge`: its bill, its retries, its stored answers, as typed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from factory.cli import app
from factory.judging import parse
from factory.judging.outcomes import good
from factory.prompting.draw import append_draws
from factory.recipe import load
from factory.stages import label
from factory.stages.run import Run
from factory.store import Store
from tests.judging.conftest import fill, judging, server, store

__all__ = ["fill", "judging", "server", "store"]

QUESTIONS = [(f"What is {i} plus {i}?", [f"It is {2 * i}.", f"Perhaps {i}."]) for i in range(3)]


def typed(store: Store, server: Any, *words: str) -> str:
    settings = {"base_url": server.url, "model": "the-judge", "max_attempts": 1}
    settings["price"] = {"input": 1.0, "output": 2.0}
    main = f"endpoints.main={json.dumps(settings)}"
    command = ["judge", "--judge", "ultrafeedback", "--workspace", str(store.workspace)]
    done = CliRunner().invoke(app, [*command, "--set", main, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_dry_run_shows_the_first_prompt_and_the_price_and_asks_nobody(
    store: Store, fill: Any, server: Any
) -> None:
    fill(store, QUESTIONS)
    bill = json.loads(typed(store, server, "--dry-run", "--json"))
    assert (bill["completions"], bill["calls"], bill["endpoint"]) == (6, 24, "main")
    assert 0 < bill["estimate_microusd"] <= bill["most_microusd"]
    assert [message["role"] for message in bill["first"]] == ["system", "user"]
    asked = bill["first"][-1]["content"]
    assert any(question in asked for question, _ in QUESTIONS)
    assert asked.splitlines()[0] in typed(store, server, "--dry-run")
    assert server.bodies == []


def test_a_limit_takes_whole_prompts_so_that_a_comparing_judge_has_pairs(
    store: Store, fill: Any, server: Any
) -> None:
    fill(store, [(f"What is {i}?", ["One.", "Two."]) for i in range(30)])
    words = ("--judge", "pairwise", "--limit", "20", "--dry-run", "--json")
    bill = json.loads(typed(store, server, *words))
    assert (bill["completions"], bill["calls"]) == (20, 20)


def test_the_same_questions_are_asked_again_so_that_an_audit_sees_drift(
    store: Store, fill: Any, server: Any
) -> None:
    from factory.auditing import verb

    fill(store, [(f"What is {i}?", ["One.", "Two."]) for i in range(30)])
    words = ("--judge", "mt-bench-single", "--json")
    server.brain = lambda body: "Fine. [[6]]"
    assert json.loads(typed(store, server, *words))["made"] == 60
    server.brain = lambda body: "Better. [[8]]"
    assert json.loads(typed(store, server, *words))["made"] == 0
    assert json.loads(typed(store, server, *words, "--times", "2", "--dry-run"))["calls"] == 60
    again = json.loads(typed(store, server, *words, "--times", "2"))
    assert (again["made"], again["paid_calls"]) == (60, 60)
    [row] = verb.audit(store).rows("drift")
    assert (row["judge"], row["change"], row["drifted"]) == ("mt-bench-single", 2.0, True)
    assert {r["replicate"] for r in store.rows("from judgements where kind = 'verifier'")} == {0}


def test_what_was_recorded_without_its_text_is_no_empty_answer_and_stops_nobody(
    store: Store, fill: Any, server: Any
) -> None:
    ids = fill(store, QUESTIONS)
    rows = store.rows("from completions order by completion_id")
    unseen = [
        rows[0] | {"completion_id": "c" * 32, "text": None, "text_hash": None},
        rows[1] | {"completion_id": "d" * 32, "prompt_id": "e" * 32, "text": None},
    ]
    store.append("completions", unseen, run_id="r")
    store.append("prompts", [{"prompt_id": "e" * 32, "pool": "test", "bucket": 0}], run_id="r")
    for name, made in (("ultrafeedback", 24), ("pairwise", 6), ("early-stop", None)):
        left = json.loads(typed(store, server, "--judge", name, "--json"))
        assert made is None or left["made"] == made
    judged = store.rows("select distinct unnest(completion_ids) as id from judgements")
    assert {row["id"] for row in judged} == set(ids)


def test_retry_asks_again_where_there_was_no_answer_and_only_there(
    store: Store, fill: Any, server: Any
) -> None:
    fill(store, QUESTIONS)
    server.fault = lambda key, tries: "500" if int(key[:2], 16) < 100 else None
    failed = json.loads(typed(store, server, "--json"))["statuses"]["error"]
    assert 0 < failed < 24
    server.fault = lambda key, tries: None
    assert json.loads(typed(store, server, "--json"))["made"] == 0
    bill = json.loads(typed(store, server, "--dry-run", "--retry", "error", "--json"))
    assert bill["calls"] == failed
    for made in (failed, 0):
        assert json.loads(typed(store, server, "--retry", "error", "--json"))["made"] == made
    assert {s["n_judgements"] for s in store.rows("from scores where kind = 'pointwise'")} == {4}


def test_a_stage_that_is_done_again_asks_once_more_where_there_was_no_answer(
    store: Store, fill: Any, judging: Any, server: Any
) -> None:
    fill(store, QUESTIONS)
    recipe = load("quickstart", workspace=store.workspace, environ={})
    section = judging(server.url, max_attempts=1)
    run = Run(store, recipe.model_copy(update={"judging": section}), rounds=0, run_id="r")
    append_draws(
        store, prompt_ids=[r["prompt_id"] for r in store.rows("from prompts")],
        model_id="secret-model", params_id="p", seed=0, n=2, round=1, purpose="train", run_id="r",
    )  # fmt: skip

    def scored() -> dict[str, Any]:
        return label.score(run, 1, ["train"], ["ultrafeedback"])["ultrafeedback"]

    server.fault = lambda key, tries: "500" if int(key[:2], 16) < 100 else None
    failed = scored()["statuses"]["error"]
    assert 0 < failed < 24
    server.fault = lambda key, tries: None
    assert [scored()["made"] for _ in range(2)] == [failed, 0]
    assert {s["n_judgements"] for s in store.rows("from scores where kind = 'pointwise'")} == {4}


def test_reparse_reads_stored_answers_with_the_present_parser(
    store: Store, fill: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, QUESTIONS)
    typed(store, server)
    asked = len(server.bodies)
    monkeypatch.setitem(parse.PARSERS, "rating", ("99", lambda reply, ask: good(2.0)))
    left = json.loads(typed(store, server, "--reparse", "--json"))
    assert (left["made"], left["statuses"]) == (24, {"ok": 24})
    assert {s["score"] for s in store.rows("from scores where kind = 'pointwise'")} == {2.0}
    (first,) = store.rows(
        "select distinct judge_id from judgements "
        "where parser <> 'rating/99' and kind = 'pointwise'"
    )
    words = ("--reparse", "--answers-of", first["judge_id"], "--json")
    assert json.loads(typed(store, server, *words))["made"] == 0
    assert len(server.bodies) == asked

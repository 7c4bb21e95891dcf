"""Whose verdict it is: a name is one judge wherever it answers, a revision makes it another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from factory.errors import RecipeError
from factory.judging.reparse import reparse
from factory.judging.verb import judge, source_for
from factory.recipe import Endpoint, Recipe
from factory.recipe.model import Judging
from factory.store import CallIntent, Ledger, Store
from tests.judging.server import Server, serving

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]

QUESTIONS = [(f"What is {i}?", [f"It is {i}."]) for i in range(5)]


def _judge(store: Store, ids: list[str], section: Judging) -> Any:
    return judge(
        store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r"
    ).judges[0]


def test_a_server_that_moves_is_not_paid_again_and_its_user_is_told(
    store: Store, fill: Fill, judging: Section, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids = fill(store, QUESTIONS)
    server.brain = lambda body: "[[4]]"
    with caplog.at_level(logging.WARNING), serving(Server()) as moved:
        _judge(store, ids, judging(server.url))
        assert caplog.messages == []
        assert _judge(store, ids, judging(moved.url)).made == 0
        more = fill(store, [("Another?", ["Yes."])])
        moved.brain = lambda body: "[[5]]"
        for _ in range(2):
            _judge(store, more, judging(moved.url))
        (said,) = caplog.messages
        assert server.url in said and moved.url in said
        assert "judging.endpoints.main.revision" in said
    assert len(server.bodies) == 5 and len(moved.bodies) == 1


def test_two_servers_with_one_name_and_two_revisions_share_nothing(
    store: Store, fill: Fill, judging: Section, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids = fill(store, QUESTIONS)
    server.brain = lambda body: "[[4]]"
    plain, old, new = (judging(server.url, **m) for m in ({}, {"revision": "1"}, {"revision": "2"}))
    first = _judge(store, ids, old)
    server.brain = lambda body: "[[9]]"
    second = _judge(store, ids, new)
    assert first.judge_id != second.judge_id
    assert (first.paid_calls, second.paid_calls, second.recovered) == (5, 5, 0)
    rows = store.rows("select judge_model_id as m, score, count(*) n from judgements where judge = "
                      "'mt-bench-single' group by all order by all")  # fmt: skip
    assert rows == [
        {"m": "the-judge@1", "score": 4.0, "n": 5}, {"m": "the-judge@2", "score": 9.0, "n": 5},
    ]  # fmt: skip
    assert {body["model"] for body in server.bodies} == {"the-judge"}
    # Another parser reads the answers of this revision alone.
    source = source_for(store, "mt-bench-single", old)
    assert source.judge_id == first.judge_id
    assert reparse(store, source, run_id="again") == {}
    assert source_for(store, "mt-bench-single", plain).judge_id not in {
        first.judge_id, second.judge_id,
    }  # fmt: skip
    assert caplog.messages == []


def test_a_recipe_that_names_no_revision_is_the_recipe_it_was() -> None:
    def recipe(**endpoint: Any) -> Recipe:
        said = {"base_url": "http://127.0.0.1/v1", "model": "m", **endpoint}
        return Recipe.model_validate({
            "name": "x",
            "prompts": {"pools": [{"name": "p", "files": ["p.jsonl"]}], "per_round": 1},
            "policy": {"model": "dir"},
            "judging": {"judges": ["ultrafeedback"], "endpoints": {"main": said}},
        })  # fmt: skip

    plain = recipe()
    assert recipe(revision="2").recipe_id != plain.recipe_id
    assert recipe(in_doubt="hold").recipe_id == plain.recipe_id  # a decision on calls, not on texts
    assert recipe(rpm=5, timeout_s=3).recipe_id == plain.recipe_id


def test_a_directory_is_known_by_its_bytes_and_has_no_revision() -> None:
    with pytest.raises(ValueError, match="known by its bytes"):
        Endpoint(model="dir", revision="1")


def test_a_held_call_is_sent_once_its_user_says_so(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    from factory.judging.client.calls import call_of

    ids = fill(store, QUESTIONS[:1])
    server.fault = lambda key, tries: "500"
    _judge(store, ids, judging(server.url, max_attempts=1))
    call = call_of(server.bodies[0])
    server.fault = lambda key, tries: None
    dead = Ledger(store.ledger.url, owner=f"{store.ledger.owner.split('/')[0]}/999999999/1.00")
    intent = CallIntent(
        call_id=call_of(server.bodies[0], replicate=1).call_id, kind="chat", endpoint=server.url,
        model="the-judge", request_hash="h",
    )  # fmt: skip
    assert dead.reserve_and_send([intent])
    again: dict[str, Any] = {
        "judges": ["mt-bench-single"], "completion_ids": ids, "run_id": "r", "retry": ["error"],
    }  # fmt: skip
    held = judge(store, judging=judging(server.url, in_doubt="hold"), **again).judges[0]
    assert (held.held, held.made, held.paid_calls) == (1, 0, 0)
    sent = judge(store, judging=judging(server.url, in_doubt="resend"), **again).judges[0]
    assert (sent.held, sent.made) == (0, 1)
    assert call.call_id != intent.call_id
    dead.close()


def test_a_revision_may_look_like_a_number_or_a_day() -> None:
    def known(word: object) -> str:
        said = {"base_url": "http://127.0.0.1/v1", "model": "m", "revision": word}
        return Endpoint.model_validate(said).known_as

    assert (known(2), known(2.5), known("2"), known(date(2026, 11, 20))) == (
        "m@2", "m@2.5", "m@2", "m@2026-11-20",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["endpoints=foo", "endpoints.main.model=x"], "endpoints was given a value"),
        (["endpoints.main.revison=x"], "did you mean 'revision'"),
        (["endpoints.main.price.inpt=1"], "did you mean 'input'"),
    ],
)
def test_a_word_typed_wrongly_by_hand_is_named_with_the_nearest_right_one(
    store: Store, words: list[str], said: str
) -> None:
    from factory.stages.judge_alone import bill

    common: dict[str, Any] = {"recipe": None, "pools": [], "model": None, "limit": 1, "retry": []}
    with pytest.raises(RecipeError, match=said):
        bill(store, judge="ultrafeedback", overrides=words, **common)


def test_by_hand_another_pace_goes_on_with_the_same_budget() -> None:
    from factory.stages.judge_alone import _is_pace

    for field in (
        "budget_usd", "endpoints.main.rpm", "endpoints.main.price.input", "endpoints.main.in_doubt",
        "endpoints.main.batch.size",
    ):  # fmt: skip
        assert _is_pace(field), field
    for field in ("endpoints.main.model", "endpoints.main.revision", "comparisons", "endpoints"):
        assert not _is_pace(field), field

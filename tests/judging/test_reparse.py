"""Stored answers read again: whose they are, what they hold besides a score, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from factory import rooms
from factory.errors import UserError
from factory.judging import parse, rankings
from factory.judging.outcomes import good
from factory.judging.reparse import reparse
from factory.judging.sources import source_for
from factory.judging.verb import judge
from factory.recipe.model import Judging
from factory.store import Store

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]


def test_answers_that_were_asked_with_other_options_are_another_judges(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(store, [("q", ["a", "bb"])])
    calm, wild = (judging(server.url, extra_body={"seed": n}) for n in (1, 2))
    for section in (calm, wild):
        judge(store, judges=["ultrafeedback"], completion_ids=ids, judging=section, run_id="r")
    read_by = parse.parser_name("rating")
    monkeypatch.setitem(parse.PARSERS, "rating", ("mended", lambda reply, ask: good(5.0)))
    source = source_for(store, "ultrafeedback", calm)
    assert reparse(store, source, run_id="again") == {"ok": 8}
    made = store.rows("select call_id from judgements where parser = 'rating/mended'")
    theirs = store.rows(
        "select call_id from judgements where parser <> 'rating/mended' and judge_id <> $wild",
        {"wild": source_for(store, "ultrafeedback", wild).judge.identity(
            "the-judge", {"seed": 2}, parser=read_by)},
    )  # fmt: skip
    assert len(theirs) == 8
    assert {r["call_id"] for r in made} == {r["call_id"] for r in theirs}


def _rated(store: Store, fill: Fill, section: Any, server: Any) -> tuple[str, str]:
    """Two answers rated 7 by `mt-bench-single`: the judge's id and its text, and a folder."""
    server.brain = lambda body: "Rating: [[7]]"
    ids = fill(store, [("q", ["a", "bb"])])
    judge(store, judges=["mt-bench-single"], completion_ids=ids, judging=section, run_id="r")
    (row,) = store.rows("select distinct judge_id from judgements")
    (store.workspace / "judges").mkdir()
    text = rooms.read("judges", "mt-bench-single", suffix=".md", workspace=None).text
    return row["judge_id"], text


def test_answers_of_a_judge_of_another_name_are_read_where_they_are_named(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    section = judging(server.url)
    old, text = _rated(store, fill, section, server)
    (store.workspace / "judges" / "mine.md").write_text(text.replace("max: 10}", "max: 5}"))
    mine = source_for(store, "mine", section)
    assert reparse(store, mine, run_id="r") == {}
    assert reparse(store, mine, run_id="r", from_judge_id=old) == {"unparsed": 2}
    rows = store.rows("select rationale, raw from judgements where judge = 'mine'")
    assert {(r["rationale"], r["raw"]) for r in rows} == {("off_scale", "Rating: [[7]]")}
    with pytest.raises(UserError, match="no answers of a judge with the id nobody"):
        reparse(store, mine, run_id="r", from_judge_id="nobody")
    pairs = source_for(store, "pairwise", section)
    with pytest.raises(UserError, match="given to a pointwise question"):
        reparse(store, pairs, run_id="r", from_judge_id=old)


def test_an_edited_question_is_not_read_from_the_answers_to_another_unless_asked_for(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    section = judging(server.url)
    old, text = _rated(store, fill, section, server)
    (store.workspace / "judges" / "mt-bench-single.md").write_text(text + "Be strict.\n")
    edited = source_for(store, "mt-bench-single", section)
    with pytest.raises(UserError, match=f"has no answers here.*{old} the most: 2") as e:
        reparse(store, edited, run_id="r")
    assert e.value.next.endswith(f"--answers-of {old}")
    named = reparse(store, edited, run_id="r", from_judge_id=old)
    assert named == {"ok": 2}


@pytest.mark.parametrize("name", ["gsm8k", "panel"])
def test_a_judge_that_reads_no_answers_says_so(
    store: Store, judging: Section, server: Any, name: str
) -> None:
    source = source_for(store, name, judging(server.url, judges=[name]))
    with pytest.raises(UserError, match="reads no model's answers"):
        reparse(store, source, run_id="r", from_judge_id="any")


def test_a_revision_that_is_read_only_now_becomes_a_candidate_and_the_others_none_twice(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def brain(body: dict[str, Any]) -> str:
        said = body["messages"][-1]["content"]
        if "No verdict can be read" in said:
            return "What do you mean?"
        if "<<<REVISION>>>" not in said:
            return "Rating: 3\nRationale: fine."
        text = said.split("<<<ANSWER ")[1].split(">>>\n", 1)[1].split("\n<<<END")[0]
        mark = "<<<END>>>" if "one" in text else "<<<STOP>>>"
        return f"<<<CRITIQUE>>>\nRating: 2\n<<<REVISION>>>\n{text}, mended\n{mark}"

    server.brain = brain
    ids = fill(store, [("q", ["answer one", "answer two"])])
    section = judging(server.url, judges=["critique-revise", "safety"])
    call: dict[str, Any] = {"completion_ids": ids, "judging": section, "run_id": "r"}
    judge(store, judges=["critique-revise", "safety"], **call)
    revised = "select * from completions where origin = 'revised' order by text"
    assert [r["text"] for r in store.rows(revised)] == ["answer one, mended"]
    plain = rankings.revision_of

    def lenient(text: str) -> tuple[str, str] | None:
        return plain(text.replace("<<<STOP>>>", "<<<END>>>"))

    monkeypatch.setattr(rankings, "REVISION", "mended")
    for module in (rankings, __import__("factory.judging.revising", fromlist=["x"])):
        monkeypatch.setattr(module, "revision_of", lenient)
    calls = len(server.bodies)
    source = source_for(store, "critique-revise", section)
    tokenised: list[str] = []

    def tokenise(model_id: str, messages: Any, text: str) -> tuple[list[int], list[int]]:
        tokenised.append(text)
        return [1], [2, 3]

    assert reparse(store, source, run_id="again", tokenise=tokenise) == {"ok": 2}
    assert len(server.bodies) == calls
    made = store.rows(revised)
    assert [r["text"] for r in made] == ["answer one, mended", "answer two, mended"]
    assert [r["revises_id"] for r in made] == ids
    assert tokenised == ["answer two, mended"]
    # It stood in the first reply, which was corrected in vain.
    (row,) = store.rows(
        "select * from judgements where parser = 'revision/mended' and raw like '%two%'"
    )
    assert len(row["earlier_call_ids"]) == 1 and row["cost_microusd"] == 0
    assert reparse(store, source, run_id="again") == {}
    # The next judges score both, by whichever version of the parser they came.
    judge(store, judges=["safety", "critique-revise"], **call)
    scored = store.rows("select completion_id from judgements where judge = 'safety'")
    assert {r["completion_id"] for r in scored} == {*ids, *(r["completion_id"] for r in made)}
    assert len(store.rows(revised)) == 2

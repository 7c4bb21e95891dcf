"""Replies that judge several texts at once: every text gets its own verdict, or none gets any."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.judging import files, rankings
from factory.judging.outcomes import Reply
from factory.judging.parse import Ask, Scale
from factory.judging.verb import judge
from factory.recipe.model import Judging
from factory.store import Store

Fill = Callable[..., list[str]]
Section = Callable[..., Judging]
FIVE = Ask(scale=Scale(min=1, max=5, integer=True), args={})
UNIT = Ask(scale=Scale(min=0, max=1), args={})


def _said(text: str, parser: str, shown: int, ask: Ask = UNIT) -> list[tuple[str, object]]:
    verdicts = rankings.parse_list(Reply(text=text), parser=parser, ask=ask, shown=shown)
    return [(v.status, v.score if v.status == "ok" else v.reason) for v in verdicts]


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("[RANKING] 2 > 1 > 3", [0.5, 1.0, 0.0]),
        ("so\n**[RANKING]** Answer 3 > Answer 1 = Answer 2.", [0.25, 0.25, 1.0]),
        ("[RANKING] 1 = 2 = 3", [0.5, 0.5, 0.5]),
        ("[RANKING] 2, 3, 1", [0.0, 1.0, 0.5]),
    ],
)
def test_a_ranking_becomes_the_share_of_the_others_that_each_beats(
    text: str, scores: list[float]
) -> None:
    assert _said(text, "ranking", 3) == [("ok", s) for s in scores]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[RANKING] 2 > 1", "incomplete_list"),
        ("[RANKING] 2 > 1 > 2", "named_twice"),
        ("[RANKING] 2 > 1 > 4", "unknown_text"),
        ("[RANKING] 0 > 1 > 2", "unknown_text"),
        ("[RANKING] 1 > 2 > 3\n[RANKING] 3 > 2 > 1", "conflicting_verdicts"),
        ("[RANKING] the first, then the rest", "no_ranking"),
        ("1 > 2 > 3", "no_verdict"),
    ],
)
def test_a_ranking_that_leaves_a_doubt_is_none_for_every_text(text: str, reason: str) -> None:
    assert _said(text, "ranking", 3) == [("unparsed", reason)] * 3


@given(st.permutations(range(1, 6)), st.lists(st.sampled_from(">="), min_size=4, max_size=4))
def test_renaming_the_texts_renames_the_verdicts(order: list[int], signs: list[str]) -> None:
    def line(names: list[int]) -> str:
        return "[RANKING] " + " ".join(f"{n} {s}" for n, s in zip(names, [*signs, ""], strict=True))

    plain = _said(line([1, 2, 3, 4, 5]), "ranking", 5)
    renamed = _said(line(order), "ranking", 5)
    assert [renamed[n - 1] for n in order] == plain
    assert sum(float(str(s)) for _, s in plain) == pytest.approx(2.5)


def test_ratings_stay_with_their_text_whatever_stands_between_them() -> None:
    text = (
        "### Output\n\nAnswer 1\nRating: 5\nRationale: Fine.\n\nA second part, of Answer 2.\n\n"
        "**Answer 2:**\n**Rating:** 2\nRationale: poor.\n\n## Answer 3\nRating: N/A\n\n"
        "Answer 4\nRating: 4/5"
    )
    assert _said(text, "ratings", 4, FIVE) == [
        ("ok", 5.0), ("ok", 2.0), ("unparsed", "not_applicable"), ("ok", 4.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Answer 2\nRating: 5\nAnswer 3\nRating: 4", "unknown_text"),  # numbered from 2
        ("Answer 1\nRating: 5\nRating: 4\nAnswer 2\nRating: 4", "conflicting_verdicts"),
        ("Answer 1\nRating: 5\nAnswer 2\nNo rating.", "no_verdict"),
        ("Answer 1\nRating: 5", "incomplete_list"),
        ("Rating: 5\nRating: 4", "no_verdict"),
        ("Answer 1\nRating: 6\nAnswer 2\nRating: 4", "off_scale"),
    ],
)
def test_ratings_that_could_be_anothers_are_nobodys(text: str, reason: str) -> None:
    assert _said(text, "ratings", 2, FIVE) == [("unparsed", reason)] * 2


def test_json_lists_are_read_whole_or_not_at_all() -> None:
    assert _said('{"ranking": [3, [1, 2]]}', "json_ranking", 3) == [
        ("ok", 0.25), ("ok", 0.25), ("ok", 1.0),
    ]  # fmt: skip
    assert _said('{"ranking": [3, 1]}', "json_ranking", 3)[0] == ("unparsed", "incomplete_list")
    assert _said('{"ranking": [true, 2, 3]}', "json_ranking", 3)[0] == ("unparsed", "no_ranking")
    assert _said('{"scores": [4, 2]}', "json_scores", 2, FIVE) == [("ok", 4.0), ("ok", 2.0)]
    assert _said('{"scores": [4, 2, 1]}', "json_scores", 2, FIVE)[0][1] == "unknown_text"
    assert _said('{"scores": [4, 9]}', "json_scores", 2, FIVE)[0] == ("unparsed", "off_scale")
    huge = '{"scores": [4, 1' + "0" * 400 + "]}"
    assert _said(huge, "json_scores", 2, FIVE)[0] == ("unparsed", "off_scale")


@given(st.text(max_size=200), st.sampled_from(sorted(rankings.LISTS)), st.integers(2, 5))
def test_no_text_makes_a_list_parser_raise(text: str, parser: str, shown: int) -> None:
    assert len(_said(text, parser, shown)) == shown


def test_the_four_aspects_number_their_answers_from_one_in_both_places() -> None:
    loaded = files.load("tulu3-aspects")
    assert loaded.template is not None
    from factory.judging import render

    said = render.messages_for(
        loaded.template,
        conversation=[{"role": "user", "content": "q"}],
        texts=["a", "b", "c"],
        aspect=loaded.front.aspects[0],
        scale=loaded.front.scale,
    )[1]["content"]
    assert re.findall(r"^<<<ANSWER (\d+) ", said, re.MULTILINE) == ["1", "2", "3"]
    assert re.findall(r"^Answer (\d+)$", said, re.MULTILINE) == ["1", "2", "3"]


# --- the whole walk -------------------------------------------------------------------------------


def _answers(body: dict[str, Any]) -> list[str]:
    said = body["messages"][-1]["content"]
    return re.findall(r"<<<ANSWER \d+ [0-9a-f]{12}>>>\n(.*?)\n<<<END", said, re.DOTALL)


def _by_length(body: dict[str, Any]) -> str:
    texts = _answers(body)
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    return "[RANKING] " + " > ".join(str(i + 1) for i in order)


def test_one_call_ranks_a_prompts_answers_and_its_reverse_asks_the_other_order(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    server.brain = _by_length
    texts = ["a", "bb", "ccc", "dddd", "a"]  # the last is a copy of the first
    ids = fill(store, [(f"question {i}", texts) for i in range(6)])
    section = judging(server.url, judges=["listwise-ranking"])
    call: dict[str, Any] = {"judges": ["listwise-ranking"], "judging": section, "run_id": "r"}
    report = judge(store, completion_ids=ids, **call)
    assert len(server.bodies) == 12
    first, second = _answers(server.bodies[0]), _answers(server.bodies[1])
    assert sorted(first) == sorted(second) == ["a", "bb", "ccc", "dddd"]
    orders = {tuple(_answers(b)) for b in server.bodies}
    assert all(order[::-1] in orders for order in orders)
    rows = store.rows("select * from judgements")
    assert len(rows) == report.made == 48
    spent = store.rows("select sum(cost_microusd) as c from calls")[0]["c"]
    assert sum(r["cost_microusd"] for r in rows) == spent > 0
    scores = store.rows(
        "select c.text, s.score from scores s join completions c using (completion_id)"
    )
    want = {"a": 0.0, "bb": pytest.approx(1 / 3), "ccc": pytest.approx(2 / 3), "dddd": 1.0}
    assert len(scores) == 24
    assert all(s["score"] == want[s["text"]] for s in scores)
    assert judge(store, completion_ids=ids, **call).made == 0
    assert len(server.bodies) == 12


def test_a_reply_that_leaves_one_answer_out_gives_no_answer_a_score(
    store: Store, fill: Fill, judging: Section, server: Any
) -> None:
    server.brain = lambda body: "[RANKING] 1 > 2"
    ids = fill(store, [("q", ["a", "bb", "ccc"])])
    section = judging(server.url, judges=["listwise-ranking"])
    call: dict[str, Any] = {"judges": ["listwise-ranking"], "judging": section, "run_id": "r"}
    judge(store, completion_ids=ids, **call)
    rows = store.rows("select * from judgements")
    assert {(r["status"], r["rationale"]) for r in rows} == {("unparsed", "incomplete_list")}
    server.brain = _by_length
    again = judge(store, completion_ids=ids, retry=["unparsed"], **call)
    assert again.judges[0].statuses == {"ok": 6}


def test_more_answers_than_a_call_takes_are_shared_out_evenly() -> None:
    from factory.judging.plan import Candidate, lists

    loaded = files.load("listwise-ranking")
    for n in range(2, 30):
        made = [
            Candidate(completion_id=f"{i:02d}", prompt_id="p", text_hash=f"{i}", bucket=0)
            for i in range(n)
        ]
        shown = list(lists(loaded, made, seed=1))
        sizes = [len(s) for s in shown[::2]]
        assert sorted(i for s in shown[::2] for i in s) == [c.completion_id for c in made]
        assert max(sizes) <= loaded.front.at_most
        assert max(sizes) - min(sizes) <= 1
        assert all(a == b[::-1] for a, b in zip(shown[::2], shown[1::2], strict=True))


def test_every_order_of_a_mended_list_parser_is_read_again_for_free(
    store: Store, fill: Fill, judging: Section, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.judging.reparse import reparse
    from factory.judging.verb import source_for

    server.brain = lambda body: json.dumps({"ranking": [2, 1]})
    ids = fill(store, [("q", ["a", "bb"])])
    section = judging(server.url, judges=["listwise-ranking"])
    judge(store, judges=["listwise-ranking"], completion_ids=ids, judging=section, run_id="r")
    monkeypatch.setitem(rankings.LISTS, "ranking", ("new", rankings.LISTS["json_ranking"][1]))
    calls = len(server.bodies)
    source = source_for(store, "listwise-ranking", section)
    assert reparse(store, source, run_id="r2") == {"ok": 4}
    assert len(server.bodies) == calls
    rows = store.rows("select * from judgements where status = 'ok'")
    assert {r["completion_id"] for r in rows} == set(ids)
    first = {
        r["completion_ids"][0]: r["score"]
        for r in rows
        if r["completion_id"] == r["completion_ids"][0]
    }
    assert set(first.values()) == {0.0}

"""Parsers: what judges really write, what they must never be taken to have written, symmetry."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.judging.outcomes import Reply, reply_of_raw
from factory.judging.parse import PARSERS, Ask, Scale, parse

FIVE = Scale(min=1, max=5, integer=True)
TEN = Scale(min=1, max=10)


def _read(
    text: str, parser: str, *, scale: Scale = FIVE, pairwise: bool = False, **args: Any
) -> Any:
    return parse(
        Reply(text=text), parser=parser, ask=Ask(scale=scale, pairwise=pairwise, args=args)
    )


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Rating: 4\nRationale: good", 4),
        ("**Rating:** 4", 4),
        ("**Rating**: 4", 4),
        ("### Rating: [3]", 3),
        ("- Rating: 2/5", 2),
        ("Rating: 2 out of 5.", 2),
        ("rating = 5", 5),
        ("Rating: 5.0", 5),
        ("Let me think.\n\nTwo paragraphs.\n\nRating: 1\nRationale: a Rating is a rating", 1),
        ("Rating: 4\n\n(again) \nRating: 4", 4),
        ("Rating: 4, for two reasons", 4),
        ("Rating: 4\u5206", 4),
    ],
)
def test_a_rating_is_read_in_any_dress(text: str, score: float) -> None:
    assert (_read(text, "rating").status, _read(text, "rating").score) == ("ok", score)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Rating: 10", "off_scale"),
        ("Rating: 0", "off_scale"),
        ("Rating: 4.5", "not_an_integer"),
        ("Rating: 4/10", "other_scale"),
        ("Rating: 4-5", "range_of_numbers"),
        ("Rating: 4 \u2013 5", "range_of_numbers"),
        ("Rating: 4 \u2014 5", "range_of_numbers"),
        ("Rating: 4 and 5", "range_of_numbers"),
        ("Rating: 4,5", "no_number"),
        ("Rating: 1e1", "no_number"),
        ("Rating: 4\u00bd", "no_number"),
        ("Rating: N/A", "not_applicable"),
        ("Rating: good", "no_number"),
        ("Rating: 4\nRating: 2", "conflicting_verdicts"),
        ("I would give the rating 4", "no_verdict"),
        ("", "empty_reply"),
        (" \n", "empty_reply"),
    ],
)
def test_what_is_no_rating_is_unparsed_and_says_why(text: str, reason: str) -> None:
    verdict = _read(text, "rating")
    assert (verdict.status, verdict.score, verdict.reason) == ("unparsed", None, reason)


def test_a_cut_answer_is_truncated_even_where_a_number_can_be_read() -> None:
    reply = Reply(text="Rating: 1", finish_reason="length")  # it may have been going to be 10
    verdict = parse(reply, parser="rating", ask=Ask(scale=TEN, args={}))
    assert (verdict.status, verdict.score) == ("truncated", None)


def test_a_refusal_is_refused_and_not_a_score() -> None:
    assert _read("I'm sorry, but I can't help with that.", "rating").status == "refused"
    assert (
        _read("I\u2019m sorry, I cannot evaluate this.", "pair", pairwise=True).status == "refused"
    )
    ask = Ask(scale=FIVE, args={})
    assert parse(Reply(refusal="no"), parser="rating", ask=ask).status == "refused"


@pytest.mark.parametrize(
    ("text", "p_first"),
    [("[[A]]", 1.0), ("so: [[B]].", 0.0), ("[[C]]", 0.5), ("[[A]] I repeat: [[A]]", 1.0)],
)
def test_a_pair_verdict_is_read(text: str, p_first: float) -> None:
    assert _read(text, "pair", pairwise=True).p_first == p_first


@pytest.mark.parametrize("text", ["A", "[A]", "[[D]]", "[[A]] or [[B]]", "Answer A is better"])
def test_what_is_no_pair_verdict_has_no_winner(text: str) -> None:
    verdict = _read(text, "pair", pairwise=True)
    assert (verdict.status, verdict.winner, verdict.p_first) == ("unparsed", None, None)


@pytest.mark.parametrize(
    ("text", "p_first"),
    [
        ("[RESULT] A", 1.0),
        ("so [RESULT] **B**.", 0.0),
        ("[RESULT]\n(A)", 1.0),
        ("[RESULT] A [RESULT] A\nbecause B is short", 1.0),
        ("[RESULT] A or B? Neither", None),
        ("[RESULT] A or B?", None),
        ("[RESULT] A, but only just", None),
        ("[RESULT] Neither", None),
        ("[RESULT] A\n[RESULT] B", None),
        ("[RESULT]", None),
    ],
)
def test_a_result_is_a_letter_that_its_line_does_not_take_back(
    text: str, p_first: float | None
) -> None:
    verdict = _read(text, "result", pairwise=True)
    assert verdict.p_first == p_first
    assert verdict.status == ("unparsed" if p_first is None else "ok")


@pytest.mark.parametrize(
    ("text", "score"),
    [("[RESULT] 4", 4), ("[RESULT] (4)", 4), ("[RESULT] 4 or 5", None), ("[RESULT] 4/10", None)],
)
def test_a_result_in_points_is_one_number_on_the_scale(text: str, score: float | None) -> None:
    assert _read(text, "result", scale=FIVE).score == score


_SWAP = str.maketrans({"A": "B", "B": "A"})
_PROSE = st.text(alphabet="xyz .\n[]>=<*", max_size=40)
_VERDICTS = st.sampled_from(
    ["[[A]]", "[[B]]", "[[C]]", "[[A>>B]]", "[[A>B]]", "[[A=B]]", "[[B>A]]", "[[B>>A]]", "[[A<B]]",
     "[RESULT] A", "[RESULT] B", '{"winner": "A"}', '{"winner": "B"}', '{"winner": "tie"}'],
)  # fmt: skip


@given(st.sampled_from(["pair", "five_way", "result", "json"]), st.lists(_PROSE | _VERDICTS))
def test_swapping_the_letters_swaps_the_verdict(parser: str, parts: list[str]) -> None:
    text = " ".join(parts)
    one = _read(text, parser, pairwise=True)
    other = _read(text.translate(_SWAP), parser, pairwise=True)
    assert one.status == other.status
    if one.status == "ok":
        assert other.p_first == 1 - one.p_first
        assert (other.score or 0) == -(one.score or 0)
        swapped = {"first": "second", "second": "first", "tie": "tie"}
        assert other.winner == swapped[one.winner]


_LOGPROBS = st.lists(
    st.tuples(st.sampled_from(["m", "M", " m", " M", "x"]), st.floats(-30, 0)), max_size=5
)


@given(_LOGPROBS)
def test_swapping_the_tokens_swaps_the_probability(tokens: list[tuple[str, float]]) -> None:
    swapped = [(t.swapcase() if t != "x" else t, lp) for t, lp in tokens]
    ask = Ask(scale=FIVE, pairwise=True, args={})
    one = parse(Reply(text="m", top_logprobs=[tokens]), parser="logprob_pair", ask=ask)
    other = parse(Reply(text="m", top_logprobs=[swapped]), parser="logprob_pair", ask=ask)
    assert one.status == other.status
    if one.p_first is not None and other.p_first is not None:
        assert math.isclose(one.p_first + other.p_first, 1.0)


@given(st.sampled_from(sorted(PARSERS)), st.text(max_size=300), st.booleans())
def test_no_text_makes_a_parser_raise_or_leave_the_scale(
    parser: str, text: str, pairwise: bool
) -> None:
    verdict = _read(text, parser, pairwise=pairwise)
    assert (verdict.status == "ok") == (verdict.score is not None or verdict.winner is not None)
    if verdict.score is not None and not pairwise and parser not in {"pair", "five_way"}:
        assert 1 <= verdict.score <= 5


def test_json_is_read_in_prose_and_in_a_fence_and_its_lies_are_not() -> None:
    assert _read('Sure:\n```json\n{"reason": "x", "score": 7}\n```', "json", scale=TEN).score == 7
    for text in (
        '{"score": true}',
        '{"score": "7"}',
        '{"score": 1e999}',
        '{"score": NaN}',
        "{",
        "7",
    ):
        assert _read(text, "json", scale=TEN).status == "unparsed"
    assert _read('{"score": 3} {"score": 4}', "json", scale=TEN).reason == "conflicting_verdicts"
    assert _read("{" * 100_000, "json", scale=TEN).status == "unparsed"
    assert _read("[" * 100_000 + '{"score": 3}', "json", scale=TEN).score == 3


def test_the_logprob_rating_is_the_mean_under_the_tokens() -> None:
    top = [["4", math.log(0.5)], ["5", math.log(0.25)], ["ok", math.log(0.25)]]
    reply = Reply(text="4", top_logprobs=[top], finish_reason="length")
    verdict = parse(reply, parser="logprob_rating", ask=Ask(scale=FIVE, args={}))
    assert verdict.score == pytest.approx((4 * 0.5 + 5 * 0.25) / 0.75)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1000.0, 0.5])
@pytest.mark.parametrize("parser", ["logprob_pair", "logprob_rating"])
def test_a_log_probability_that_is_none_makes_no_winner_and_nothing_raise(
    parser: str, bad: float
) -> None:
    for tokens in ([["m", bad], ["M", -1.0]], [["m", -1.0], ["M", bad]], [["4", bad]]):
        reply = Reply(text="m", top_logprobs=[tokens])
        verdict = parse(reply, parser=parser, ask=Ask(scale=FIVE, pairwise=True, args={}))
        assert (verdict.status, verdict.reason) == ("unparsed", "bad_logprobs")
    sure = Reply(text="m", top_logprobs=[[["m", 1e-7], ["M", -math.inf]]])
    verdict = parse(sure, parser="logprob_pair", ask=Ask(scale=FIVE, pairwise=True, args={}))
    assert verdict.p_first == 1.0


@pytest.mark.parametrize(
    "raw",
    [
        '{"text": 3, "top_logprobs": []}',
        '{"text": "x", "top_logprobs": 7}',
        '{"text": "x", "top_logprobs": [[["m"]]]}',
        '{"text": "x", "top_logprobs": [["m", "low"]]}',
    ],
)
def test_a_judges_own_json_is_not_taken_for_a_stored_reply(raw: str) -> None:
    assert (reply_of_raw(raw, "ok").text, reply_of_raw(raw, "ok").top_logprobs) == (raw, None)


def test_a_reply_survives_the_ledger_and_the_raw_column() -> None:
    reply = Reply(text='say "x"', top_logprobs=[[["m", -0.5], ["M", -1.0]]], tokens_in=3, model="j")
    assert Reply.loads(reply.dumps()) == reply
    again = reply_of_raw(reply.raw, "ok")
    assert (again.text, again.top_logprobs) == (reply.text, reply.top_logprobs)
    assert reply_of_raw("Rating: 1", "truncated").finish_reason == "length"
    assert reply_of_raw('{"text" is how it began', "ok").text == '{"text" is how it began'


def test_bracket_grades_equal_the_authors_on_every_recorded_arena_judgement(
    shared_data: Path,
) -> None:
    rows = pq.read_table(shared_data / "arena_pointwise_judgments.parquet").to_pylist()
    seen: Counter[str] = Counter()
    for row in rows:
        mine, theirs = _read(row["judgment"] or "", "bracket", scale=TEN).score, row["score"]
        if mine is None and theirs is None:
            seen["null in both"] += 1
        elif theirs is None:
            seen["parsed here only"] += 1
        else:
            seen["equal" if mine == theirs else "different"] += 1
    assert seen == {"equal": 4462, "null in both": 34, "parsed here only": 4}


def test_log_probability_verdicts_equal_the_recorded_preferences(shared_data: Path) -> None:
    rows = pq.read_table(shared_data / "alpaca_eval_judgments_dev.parquet").to_pylist()
    ask = Ask(scale=FIVE, pairwise=True, args={"first": "m", "second": "M"})
    checked = 0
    for row in rows:
        if row["top_logprobs"] is None or row["shown_first"] is None:
            continue
        reply = Reply(text="m", top_logprobs=[json.loads(row["top_logprobs"])])
        p_first = parse(reply, parser="logprob_pair", ask=ask).p_first
        assert p_first is not None
        preference = 2 - p_first if row["shown_first"] == "output_1" else 1 + p_first
        assert preference == pytest.approx(row["preference"], abs=1e-6)
        checked += 1
    assert checked > 9_000

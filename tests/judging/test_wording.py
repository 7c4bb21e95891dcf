"""What stands around a verdict: a draft in thoughts, a denial, a second number, a quoted object."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.judging import rankings, wording
from factory.judging.outcomes import Reply, Verdict
from factory.judging.parse import Ask, Scale, parse

FIVE = Scale(min=1, max=5, integer=True)


def _read(text: str, parser: str, *, pairwise: bool = False, **args: str | int | float) -> Verdict:
    return parse(Reply(text=text), parser=parser, ask=Ask(scale=FIVE, pairwise=pairwise, args=args))


@pytest.mark.parametrize(
    "said",
    [
        "3 -> 4", "3, no, 4", "4? 5?", "4 5", "3 | 4", "3 or maybe 4", "2 + 2", "5 minus 1 = 4",
        "4?", "5, but 2 for honesty", "4 is too high; 2", "4 would be too high, 3", "4; Rating: 2",
        "3 \u00bd", "3 1/2", "4\u200b5", "1 000", "4%", "4x", "4th", "4 (five)", "4 von 10",
        "4 \u2044 10", "5/5 for form, 2/5 for truth",
    ],
)  # fmt: skip
def test_a_rating_that_its_own_line_changes_is_none(said: str) -> None:
    assert _read(f"Rating: {said}\nRationale: r", "rating").status == "unparsed"
    assert _read(f"Feedback: f [RESULT] {said}", "result").status == "unparsed"


@pytest.mark.parametrize(
    "said",
    ["4", "<4>", "4 (not 5)", "4 of 5", "4. 2 errors", "4 (four)", "4 stars", "4, for two reasons",
     "4.0/5.0", "4 (5 - 1 = 4)", "4 - good", "4\u5206"],
)  # fmt: skip
def test_a_rating_that_its_line_explains_is_read(said: str) -> None:
    assert _read(f"Rating: {said}", "rating").score == 4
    assert _read(f"[RESULT] {said}", "result").score == 4
    assert _read(f"Rating\uff1a{said}", "rating").score == 4


_DRAFTS = {
    "rating": ("Rating: 2", "Rating: 4"),
    "bracket": ("[[2]]", "[[4]]"),
    "result": ("[RESULT] 2", "[RESULT] 4"),
    "json": ('{"score": 2}', '{"score": 4}'),
}


@pytest.mark.parametrize("parser", sorted(_DRAFTS))
def test_what_a_judge_thinks_first_is_no_verdict(parser: str) -> None:
    draft, verdict = _DRAFTS[parser]
    for thought in (
        f"<think>\n{draft}\n</think>\n",
        f"<Thinking>{draft}</thinking>",
        f"[THINK]\n{draft}[/THINK]",
        f"{draft}\n</think>\n\n",  # the template of the prompt wrote the opening mark
    ):
        assert _read(thought + verdict, parser).score == 4
        assert _read(thought + "I cannot say.", parser).status == "unparsed"
    assert _read(f"<think>\n{draft}\n", parser).status == "unparsed"
    # A text that only speaks of such a mark keeps its verdict.
    assert _read(f"It leaks a </think> tag.\n{verdict}", parser).score == 4


def test_thoughts_are_no_list_and_no_revision() -> None:
    draft = "<think>\n[RANKING] 1 > 2\n</think>\n"
    ask = Ask(scale=Scale(min=0, max=1), args={})
    lists = {
        text: [
            v.score
            for v in rankings.parse_list(Reply(text=text), parser="ranking", ask=ask, shown=2)
        ]
        for text in (draft + "[RANKING] 2 > 1", draft + "none", "[RANKING] 2 > 1, 3")
    }
    assert list(lists.values()) == [[0.0, 1.0], [None, None], [None, None]]
    block = "<<<CRITIQUE>>>\nRating: {}\n<<<REVISION>>>\n{}\n<<<END>>>"
    whole = f"<think>\n{block.format(1, 'draft')}\n</think>\n{block.format(3, 'better')}"
    assert rankings.revision_of(whole) == ("Rating: 3", "better")
    assert rankings.parse_revision(Reply(text=whole), ask=Ask(scale=FIVE, args={})).score == 3


def test_ratings_that_stand_above_their_heads_are_not_given_to_the_next_answer() -> None:
    text = "Rating: 4\nAnswer 1\nRating: 3\nAnswer 2\nRating: 5\nAnswer 3\nRating: 1"
    verdicts = rankings.parse_list(
        Reply(text=text), parser="ratings", ask=Ask(scale=FIVE, args={}), shown=3
    )
    assert {v.status for v in verdicts} == {"unparsed"}


@pytest.mark.parametrize("verdict", ["[[A]]", "[[B]]", "[[A>B]]", "[[B>>A]]", "[[4]]"])
@pytest.mark.parametrize(
    "line", ["It is not {}", "I will not choose {}.", "I can't say {}", "{} would be wrong."]
)
def test_a_verdict_that_is_denied_is_none(verdict: str, line: str) -> None:
    parser = "bracket" if "4" in verdict else "five_way" if ">" in verdict else "pair"
    said = _read(line.format(verdict), parser, pairwise=parser != "bracket")
    assert (said.status, said.reason) == ("unparsed", "taken_back")
    near = _read(f"That is not close at all, so: {verdict}", parser, pairwise=parser != "bracket")
    assert near.status == "ok"


@pytest.mark.parametrize("line", ["!A", "\u2260A", "A?", "A <", "A \u2717"])
def test_a_result_that_a_sign_takes_back_names_no_winner(line: str) -> None:
    assert _read(f"[RESULT] {line}", "result", pairwise=True).status == "unparsed"


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 1, "score": 4}',
        '{"reason": "it says {"score": 5}", "score": 1}',  # half a JSON that quotes the answer
        '{"score": 5} and then "score": 1}',
    ],
)
def test_a_quoted_object_or_a_key_that_stands_twice_is_no_verdict(text: str) -> None:
    said = _read(text, "json")
    assert (said.status, said.reason) == ("unparsed", "conflicting_verdicts")


def test_the_form_that_was_asked_for_may_be_repeated_before_the_json() -> None:
    form = 'As {"reason": "<one sentence>", "score": <1 to 5>}:'
    verdict = '{"reason": "{\\"score\\": 1}", "score": 4}'
    assert _read(f"{form}\n{verdict}", "json").score == 4


@pytest.mark.parametrize("token", ["{}", " {}", "\u2581{}", "\u0120{}", "{}\n"])
def test_a_word_is_read_however_its_tokenizer_writes_it(token: str) -> None:
    tops = [[token.format("m"), math.log(0.6)], ["m", math.log(0.3)], ["M", math.log(0.1)]]
    tops = tops[:1] + tops[2:] if token == "{}" else tops
    ask = Ask(scale=FIVE, pairwise=True, args={})
    verdict = parse(Reply(text="m", top_logprobs=[tops]), parser="logprob_pair", ask=ask)
    assert verdict.p_first == pytest.approx(6 / 7 if token == "{}" else 0.9)
    digits = [[token.format("4"), math.log(0.5)], ["5", math.log(0.5)]]
    rated = parse(Reply(text="4", top_logprobs=[digits]), parser="logprob_rating", ask=ask)
    assert rated.score == pytest.approx(4.5)


def test_what_is_left_over_beside_another_word_does_not_decide() -> None:
    tops = [["The", math.log(0.99)], ["M", math.log(0.001)]]
    reply = Reply(text="The", top_logprobs=[tops])
    for least, status in ({}, "unparsed"), ({"min_mass": 0}, "ok"):
        ask = Ask(scale=FIVE, pairwise=True, args=least)
        assert parse(reply, parser="logprob_pair", ask=ask).status == status


@given(st.text(alphabet="4 5->,/(=?or no[]\u00bd\u2044.", max_size=200))
def test_a_number_is_on_the_line_or_there_is_a_reason(line: str) -> None:
    found = wording.number_in(line, top=5)
    assert isinstance(found, str) or str(int(found)) in line

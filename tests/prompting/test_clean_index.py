"""What a prompt has of a benchmark's items is found, shown, and told from what many texts share."""

from __future__ import annotations

import pytest

from factory.prompting.cleaning.index import Index, Match
from factory.prompting.cleaning.language import language_of

LONG = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
    "May. How many clips did Natalia sell altogether in April and May?"
)
SHORT = "Who wrote Middlemarch, exactly?"


def _found(prompt: str | list[str], *items: str | list[str]) -> list[Match]:
    index = Index()
    for number, item in enumerate(items):
        index.add("bench", str(number), [item] if isinstance(item, str) else item)
    return index.seal().find([[prompt] if isinstance(prompt, str) else prompt])[0]


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        (LONG, "exact"),
        (LONG.upper().replace(" ", "  "), "exact"),
        (LONG.replace(",", "").replace("?", ""), "exact"),
        (f"Please answer carefully.\n{LONG}\nThank you!", "embedded"),
        (" ".join(LONG.split()[:16]), "truncated"),
        (LONG.replace("Natalia sell altogether", "she sell in total"), "overlap"),
        (SHORT, "exact"),
        (f"Here is a question. {SHORT} Then explain.", "embedded"),
    ],
)
def test_every_way_of_holding_an_item_is_named(prompt: str, kind: str) -> None:
    match = _found(prompt, LONG, SHORT)[0]
    assert match.kind == kind
    assert match.item == ("1" if "Middlemarch" in prompt else "0")
    assert match.span in prompt
    assert 0 < match.score <= 1


def test_the_span_is_the_longest_piece_as_the_prompt_has_it() -> None:
    match = _found(f"Hello there! {LONG.upper()} Bye, and thanks.", LONG)[0]
    assert (match.kind, match.score, match.words) == ("embedded", 1.0, len(LONG.split()))
    assert match.span == LONG.upper().rstrip("?")


@pytest.mark.parametrize(
    "prompt",
    [
        "Natalia sold clips to her friends. Write a story about it with at least 48 words.",
        # A short item inside a sentence is not the item.
        "Tell my daughter who wrote Middlemarch exactly when her exam begins",
        "",
        "?!",
        "Continue the story, please, and go on until the end of it",
    ],
)
def test_a_few_shared_words_are_no_contamination(prompt: str) -> None:
    assert _found(prompt, LONG, SHORT, "Continue") == []


def test_a_tiny_item_is_found_as_the_whole_prompt_alone() -> None:
    assert [m.kind for m in _found("continue!", "Continue")] == ["exact"]
    assert _found(["Tell me a story", "Continue"], "Continue") == []


def test_what_many_items_share_is_their_template_and_counts_for_nothing() -> None:
    head = "Read the passage below with care and answer the question that follows it in one word."
    subjects = [f"The {w} of the old harbour was painted by {w}son in the year of the great {w}"
                for w in ("lamp", "gate", "mast", "crane", "wall", "bell", "rope", "anchor",
                          "tower", "bridge", "bench", "window")]  # fmt: skip
    items = [f"{head} {subject}" for subject in subjects]
    assert _found(f"{head} My cat likes the sun and sleeps all day long.", *items) == []
    assert _found(f"Here: {subjects[3]}, right?", *items)[0].item == "3"


def test_each_turn_of_an_item_is_looked_for_in_each_turn_of_a_prompt() -> None:
    item = [LONG, "Now solve it again, but give every step as a line of a short poem.", "Go on."]
    assert _found(["Hi", item[1]], item)[0].kind == "exact"
    assert _found("Go on.", item) == []


def test_a_text_that_repeats_itself_is_judged_like_any_other() -> None:
    again = "again and " * 400
    assert _found(again, again)[0].kind == "exact"
    assert _found("again and " * 5000, again)[0].score == 1.0


def test_the_order_of_items_does_not_matter() -> None:
    prompt = f"{LONG} {SHORT}"
    one = {(m.kind, m.score) for m in _found(prompt, LONG, SHORT)}
    assert one == {(m.kind, m.score) for m in _found(prompt, SHORT, LONG)}
    assert len(one) == 1 and len(_found(prompt, LONG, SHORT)) == 2


@pytest.mark.parametrize("piece", ["a", "1 ", "a'", "1,", "`a", "a.", "((", "a++", "\u200b"])
@pytest.mark.timeout(60)
def test_hostile_text_without_an_end_is_read_in_linear_time(piece: str) -> None:
    text = piece * 300_000
    assert not _found(text, LONG)
    language_of(text)

"""The same text is the same words, however it is written; another task is other words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.prompting.cleaning.words import key_of, places_of, words_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Gina's 1,000 well-known Books.", "ginas 1000  well known books"),
        ("What is the capital of France?", "WHAT  IS\nTHE CAPITAL\tOF FRANCE"),
        ("ﬁle number 12", "file number 12"),
        ("zero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        ("Straße", "STRASSE"),
        ("مـا هي", "ما هي"),
        ("end of one.Start of two", "end of one. Start of two"),
    ],
)
def test_case_space_and_punctuation_do_not_make_another_text(one: str, other: str) -> None:
    assert key_of(words_of(one)) == key_of(words_of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2+3", "2*3"),
        ("What is 1 23?", "What is 12 3?"),
        ("Write a C++ class", "Write a C class"),
        ("Explain C#", "Explain C"),
        ("add 5 apples", "add 6 apples"),
    ],
)
def test_what_asks_for_another_answer_is_another_text(one: str, other: str) -> None:
    assert key_of(words_of(one)) != key_of(words_of(other))


def test_scripts_without_spaces_count_letters() -> None:
    assert words_of("中文字 and ไทย") == ["中", "文", "字", "and", "ไ", "ท", "ย"]


@given(st.text(max_size=200))
def test_every_word_has_a_place_and_case_changes_no_key(text: str) -> None:
    assert len(words_of(text)) == len(places_of(text))
    if text.isascii():
        assert key_of(words_of(text.upper())) == key_of(words_of(text.lower()))

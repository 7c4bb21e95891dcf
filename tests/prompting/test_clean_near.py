"""Near-duplicates are found with their true similarity; another task is never one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from factory.prompting.cleaning.near import NearDuplicates
from factory.prompting.cleaning.words import words_of

TEXT = (
    "Write a function that finds the longest word in a given sentence and returns it in lower case"
)


def _jaccard(one: str, other: str) -> float:
    a, b = (
        {tuple(w[i : i + 3]) for i in range(max(1, len(w) - 2))}
        for w in map(words_of, (one, other))
    )
    return len(a & b) / len(a | b)


def test_the_first_is_kept_and_named_with_the_true_similarity() -> None:
    near = NearDuplicates()
    assert near.first("a", [TEXT]) is None
    other = TEXT.replace("Write", "Create")
    found = near.first("b", [other])
    assert found is not None
    assert (found.prompt_id, found.similarity) == ("a", round(_jaccard(TEXT, other), 3))
    same = near.first("c", [TEXT.upper() + "!"])
    assert same is not None and (same.prompt_id, same.similarity) == ("a", 1.0)


def test_other_numbers_or_other_arguments_are_another_task() -> None:
    near = NearDuplicates()
    text = "John has 5 apples and buys 3 more at the market. How many apples has John now in all?"
    assert near.first("a", [text], facts="x") is None
    assert near.first("b", [text.replace("5", "6")], facts="x") is None
    assert near.first("c", [text.replace("5", "3").replace("3 more", "5 more")], facts="x") is None
    assert near.first("d", [text], facts="y") is None
    found = near.first("e", [text.replace("John", "Ana", 1)], facts="x")
    assert found is None or found.prompt_id == "a"


def test_less_alike_than_asked_is_kept() -> None:
    other = TEXT.replace("in lower case", "without its vowels")
    assert 0.6 < _jaccard(TEXT, other) < 0.8
    for similarity, kept in ((0.8, True), (0.6, False)):
        near = NearDuplicates(similarity=similarity)
        assert near.first("a", [TEXT]) is None
        assert (near.first("b", [other]) is None) == kept


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([TEXT, TEXT + " now", "say yes", "say no", "", "中文 题"]), max_size=8)
)
def test_the_same_prompts_in_the_same_order_give_the_same_answer(texts: list[str]) -> None:
    runs = [NearDuplicates(), NearDuplicates()]
    one, two = ([n.first(str(i), [t]) for i, t in enumerate(texts)] for n in runs)
    assert one == two
    kept = [t for t, found in zip(texts, one, strict=True) if found is None]
    assert len(set(kept)) == len(kept)

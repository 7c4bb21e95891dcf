"""IFEval's and IFBench's constraints: equal to the recorded verdicts, and to their definitions."""

# ruff: noqa: E501  # one case a line reads as a table

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.judging import verifiers
from factory.judging.verifiers import _prose, instructions


def _jsonl(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_ifbench_equals_the_recorded_verdict_on_every_constraint_and_total(
    shared_data: Path,
) -> None:
    asked = {r["prompt"].strip(): r for r in _jsonl(shared_data / "ifbench_prompts.jsonl.gz")}
    recorded = _jsonl(shared_data / "ifbench_sample_verdicts.jsonl.gz")
    rates: dict[str, float] = {}
    for mode in ("strict", "loose"):
        followed = 0
        for row in recorded:
            names = row["instruction_id_list"]
            # One recorded prompt is several that were joined; its constraint has no arguments.
            known = asked.get(row["prompt"].strip())
            kwargs = known["kwargs"] if known else [{}] * len(names)
            found = [
                instructions.follows(name, row["response"], a, loose=mode == "loose")
                for name, a in zip(names, kwargs, strict=True)
            ]
            assert found == row[f"{mode}_follow_list"], (row["prompt"][-200:], names)
            followed += all(found)
        rates[mode] = followed / len(recorded)
    assert rates == {
        "strict": pytest.approx(0.2619, abs=1e-4),
        "loose": pytest.approx(0.2993, abs=1e-4),
    }


def test_every_constraint_of_the_published_prompts_can_be_checked(shared_data: Path) -> None:
    for file in ("ifeval_prompts.jsonl.gz", "ifbench_prompts.jsonl.gz"):
        for row in _jsonl(shared_data / file):
            for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
                assert instructions.follows(name, "Some words. And more?", arguments) in (
                    True,
                    False,
                )


FOLLOWED: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["cat", "dog"]}, "A Cat and a dog.", "A cat."),
    ("keywords:frequency", {"keyword": "cat", "frequency": 2, "relation": "at least"}, "cat cat", "cat"),
    ("keywords:frequency", {"keyword": "cat", "frequency": 2, "relation": "less than"}, "cat", "cat cat"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "concatenate", "a cat"),
    (
        "keywords:letter_frequency",
        {"letter": "z", "let_frequency": 2, "let_relation": "at least"}, "Zz", "z",
    ),
    ("language:response_language", {"language": "de"}, "Das ist ein deutscher Satz.", "This is English."),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "A bee. A sea!", "A bee."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "a b", "a b c"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "yes"}, "a\n\n\"Yes, b", "yes\n\nno",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "a\nP.S. b", "a PS b"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "a\nP.P.S b", "a\nP.S. b"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n** b **"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* *b*", "*a* **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2}, "SECTION 1\na\nSECTION 2\nb", "SECTION 1",
    ),
    ("detectable_format:json_format", {}, "```json\n{\"a\": 1}\n```", "{'a': 1}"),
    ("detectable_format:title", {}, "<<a title>>\ntext", "<< >>"),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\na"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. It.", "It."),
    ("startend:end_checker", {"end_phrase": "The end."}, 'So. the end."', "The end. Not"),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"}, "THIS IS it", "This IS it",
    ),
    ("change_case:english_capital", {}, "THIS IS AN ENGLISH SENTENCE.", "This is an English sentence."),
    ("change_case:english_lowercase", {}, "this is an english sentence.", "This is an English sentence."),
    ("punctuation:no_comma", {}, "a b", "a, b"),
    ("startend:quotation", {}, ' "a" ', '"a" b'),
    ("format:parentheses", {}, "([{([a])}])", "((((a))))"),
    ("words:alphabet", {}, "Yes, zebras always bite.", "Yes, always."),
    ("sentence:alliteration_increment", {}, "One apple. Big bears. Tall tan tigers.", "Big bears. Two toes."),
    ("words:palindrome", {}, "level radar civic kayak rotor refer madam tenet solos stats", "level"),
    ("format:line_indent", {}, "a\n b\n  c", "a\n b\n b"),
    ("words:last_first", {}, "I like tea. Tea is hot.", "I like tea. It is hot."),
    ("custom:multiples", {}, "14, 21, 28, 35, 42, 49", "7, 14"),
    ("custom:csv_city", {}, "ID,Country,City,Year,Count\n" + "1,a,b,2,3\n" * 7, "ID\n1"),
    ("custom:date_format_list", {}, "1796-04-12, 1796-05-10", "1796-13-40"),
    ("repeat:repeat_span", {"prompt_to_repeat": "a b c d e", "n_start": 1, "n_end": 3}, "b c d", "a b c"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), FOLLOWED)
def test_a_constraint_by_its_definition(
    name: str, arguments: dict[str, Any], good: str, bad: str
) -> None:
    assert instructions.follows(name, good, arguments)
    assert not instructions.follows(name, bad, arguments)


@given(st.text(max_size=80), st.sampled_from(sorted(instructions.CHECKS)))
def test_an_answer_never_makes_a_constraint_raise(text: str, name: str) -> None:
    arguments = {
        "N": 2, "small_n": 2, "percentage": 50.0, "reference_text": "abc", "keywords": ["a"],
        "keyword": "a", "frequency": 1, "relation": "at least", "forbidden_words": ["a"],
        "letter": "a", "let_frequency": 1, "let_relation": "at least", "language": "en",
        "num_sentences": 1, "num_paragraphs": 1, "num_words": 1, "nth_paragraph": 1,
        "first_word": "a", "num_placeholders": 1, "postscript_marker": "P.S.", "num_bullets": 1,
        "num_highlights": 1, "section_spliter": "S", "num_sections": 1, "prompt_to_repeat": "a b",
        "end_phrase": "a", "capital_frequency": 1, "capital_relation": "at least", "min_words": 1,
        "max_words": 3, "options": "yes/no", "sep": "-", "word": "a", "n": 1, "m": 1,
        "n_start": 0, "n_end": 1, **{f"keyword{i}": "a" for i in range(1, 6)},
    }  # fmt: skip
    assert instructions.follows(name, text, arguments, loose=True) in (True, False)


def _prompt(names: list[str], kwargs: list[dict[str, Any]], **args: Any) -> dict[str, Any]:
    said = json.dumps({"instruction_id_list": names, "kwargs": kwargs})
    return {"constraints": said, "args": args}


def test_the_verdict_names_the_first_broken_constraint_and_can_be_partial_or_loose() -> None:
    verify = verifiers.find("instructions")
    both = ["punctuation:no_comma", "startend:quotation"]
    assert verify(_prompt(both, [{}, {}]), '"a"').score == 1.0
    broken = verify(_prompt(both, [{}, {}]), '"a, b"')
    assert (broken.score, broken.reason) == (0.0, "punctuation:no_comma")
    assert verify(_prompt(both, [{}, {}], partial=True), '"a, b"').score == 0.5
    assert verify(_prompt(both, [{}, {}]), 'Sure, here:\n"a"').score == 0.0
    assert verify(_prompt(both, [{}, {}], loose=True), 'Sure, here:\n"a"').score == 1.0
    assert verify(_prompt(["no:such"], [{}]), "a").reason == "unknown_constraint"
    assert verify(_prompt(both, [{}]), "a").reason == "constraints_and_kwargs_differ"
    assert verify({"constraints": None, "args": {}}, "a").reason == "no_constraints"


def test_a_hostile_keyword_is_stopped_at_the_time_limit() -> None:
    from factory.judging import isolate

    evil = _prompt(["keywords:existence"], [{"keywords": ["(a+)+$"]}])
    fine = _prompt(["punctuation:no_comma"], [{}])
    items = [(fine, "a"), (evil, "a" * 40 + "!"), (fine, "a")]  # the first has time to start
    found = isolate.verify_all("instructions", items, timeout_s=1)
    assert [(v.status, v.reason) for v in found] == [
        ("ok", ""), ("error", "time_limit"), ("ok", "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Smith met Mr. Jones. They talked.", 2),
        ('He said "Stop." Then he left.', 2),
        ("It is 3.14, about. 1. First. 2. Second.", 5),
        ("Well... perhaps. Yes?! No.", 3),
        ("no capital. here either", 2),
        ("", 0),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, count: int) -> None:
    assert len(_prose.sentences(text)) == count


def test_a_language_is_told_and_a_short_text_is_not() -> None:
    verify = verifiers.find("language")
    german = "Das ist eine Antwort in deutscher Sprache, und sie ist lang genug."
    asked = {
        "messages": [
            {"role": "user", "content": "Bitte erkl\u00e4re mir, warum der Himmel blau ist."}
        ]
    }
    assert verify(asked, german).score == 1.0
    english = verify(asked, "This is an answer in English, and it is long enough to be told.")
    assert (english.score, english.reason) == (0.0, "is_en")
    assert verify({"args": {"language": "en"}}, german).score == 0.0
    assert verify({"args": {"language": "en"}}, "Ja.").reason == "too_short_to_tell"
    assert verify({"messages": []}, german).reason == "no_language_asked"
    code = "```python\nprint('this is only code in english words, all of it')\n```\n" + german
    assert verify(asked, code).score == 1.0


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("length_constraints:number_words", {"num_words": 2, "relation": "at most"}),
        ("length_constraints:number_words", {"num_words": 2}),
        ("length_constraints:number_words", {"num_words": "many", "relation": "at least"}),
        ("language:response_language", {"language": "klingon"}),
        ("keywords:existence", {"keywords": ["a(b"]}),
        ("keywords:existence", {}),
    ],
)
def test_arguments_that_a_constraint_does_not_know_are_an_error_and_no_broken_constraint(
    name: str, kwargs: dict[str, Any]
) -> None:
    verdict = instructions.verify(_prompt([name], [kwargs]), "two words")
    assert (verdict.status, verdict.reason) == ("error", "bad_arguments")


def test_a_language_may_have_a_country() -> None:
    text = "Esta \u00e9 uma frase em portugu\u00eas, suficientemente longa para ser reconhecida."
    asked = _prompt(["language:response_language"], [{"language": "pt-BR"}])
    assert instructions.verify(asked, text).score == 1.0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("GO/NO-GO", 1), ("the U.S. economy", 1), ("DON'T", 2), ("AT&T", 2), ("IT'S ME.", 3),
        ("I CANNOT", 3), ("He said (LOUDLY) **STOP**, now.", 2), ("A B.C. D.", 3), ("x-RAY Ray", 0),
        ("END.START", 1), ("NO... YES", 2), ("10AM 3,5 A:B", 3),
    ],
)  # fmt: skip
def test_capital_words_are_counted_as_the_treebank_cuts_them(text: str, count: int) -> None:
    assert sum(map(str.isupper, _prose.treebank(text))) == count

"""Verifiers: equal to the published labels, and out of reach of hostile answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from factory.errors import RecipeError
from factory.judging import isolate, verifiers


def _score(name: str, text: str, **prompt: object) -> float | None:
    return verifiers.find(name)(prompt, text).score


def test_gsm8k_equals_the_published_label_on_every_recorded_solution(shared_data: Path) -> None:
    with gzip.open(shared_data / "gsm8k_test.jsonl.gz", "rt", encoding="utf-8") as file:
        answers = {row["id"]: row["answer"] for row in map(json.loads, file)}
    rows = pq.read_table(shared_data / "gsm8k_model_solutions.parquet").to_pylist()
    verifier = verifiers.find("gsm8k")
    right: dict[str, set[bool]] = {}
    for row in rows:
        verdict = verifier({"reference": answers[row["id"]]}, row["solution"])
        assert (verdict.status, verdict.score) == ("ok", float(row["is_correct"]))
        right.setdefault(row["id"], set()).add(verdict.score == 1.0)
    assert len(rows) == 5276
    assert sum(v == {True, False} for v in right.values()) == 731
    assert sum(True in v for v in right.values()) == 887


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("so\n#### 1,200", 1.0),
        ("so\n#### $1200.00", 1.0),
        ("The answer is 1200.", 1.0),
        ("so \\boxed{1200}", 1.0),
        ("#### 12000", 0.0),
        ("1200 apples", 0.0),
        ("", 0.0),
    ],
)
def test_gsm8k_reads_the_number_after_a_mark(text: str, score: float) -> None:
    assert _score("gsm8k", text, reference="... #### 1200") == score


def test_a_prompt_without_a_reference_is_an_error_and_not_a_zero() -> None:
    for name in ("gsm8k", "math", "exact", "fuzzy"):
        verdict = verifiers.find(name)({"reference": None}, "x")
        assert (verdict.status, verdict.score) == ("error", None)
        assert verdict.reason == "prompt_has_no_reference"


@pytest.mark.parametrize(
    ("reference", "text", "score"),
    [
        ("12", "\\boxed{13}, no wait, \\boxed{12}", 1.0),
        ("12", "\\boxed{12}. No: \\boxed{13}", 0.0),
        ("1, 2", "\\boxed{1} and \\boxed{2}", 1.0),
        ("\\$5", "\\boxed{5}", 1.0),
        ("\\$18.90", "\\boxed{\\$18.90}", 1.0),
        ("\\$5", "\\boxed{6}", 0.0),
    ],
)
def test_math_takes_the_last_box_or_all_of_them_and_knows_money(
    reference: str, text: str, score: float
) -> None:
    assert _score("math", text, reference=reference) == score


def test_math_agrees_with_every_answer_that_its_authors_found_correct(shared_data: Path) -> None:
    with gzip.open(shared_data / "math_multisample.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    items = [({"reference": r["expected_answer"]}, r["generation"]) for r in rows]
    verdicts = isolate.verify_all("math", items, timeout_s=30)
    assert {v.status for v in verdicts} == {"ok"}
    wrong = [
        v for r, v in zip(rows, verdicts, strict=True) if r["symbolic_correct"] and not v.score
    ]
    assert wrong == []
    # Published as false although the boxed answer is the reference in another dress.
    extra = [
        r["predicted_answer"]
        for r, v in zip(rows, verdicts, strict=True)
        if v.score and not r["symbolic_correct"]
    ]
    assert set(extra) <= {"1320 km", "(x+y)^2=81", "", None}


def test_a_verifier_that_hangs_is_killed_and_the_rest_goes_on() -> None:
    args = {"args": {"pattern": r"(a+)+$"}}
    items = [(args, "aaa"), (args, "a" * 60 + "b"), (args, "aa")]
    verdicts = isolate.verify_all("regex", items, timeout_s=1.0)
    assert [(v.status, v.score, v.reason) for v in verdicts] == [
        ("ok", 1.0, ""),
        ("error", None, "time_limit"),
        ("ok", 1.0, ""),
    ]


def test_hostile_text_reaches_an_isolated_verifier_whole() -> None:
    items = [({"args": {"pattern": "\ud800\x00$"}}, "x\n\ud800\x00"), ({"args": {}}, "")]
    verdicts = isolate.verify_all("regex", items, timeout_s=10)
    assert verdicts[0].score == 1.0
    assert verdicts[1].reason == "no_pattern"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("**Answer**: 18", 1.0),
        ("**Answer:** $18.00", 1.0),
        ("The answer is 3 * 6 = 18.", 1.0),
        ("The answer is 18 = 3 * 6.", 1.0),
        ("The answer is 18 - which is three times six.", 1.0),
        ("The answer is \u221218", 0.0),
        ("The answer is 18/5", 0.0),
        ("The answer isn't 18", 0.0),
        ("\\boxed{18\\text{ dollars}}", 1.0),
    ],
)
def test_gsm8k_reads_what_is_stated_and_no_part_of_it(text: str, score: float) -> None:
    assert _score("gsm8k", text, reference="18") == score


def test_gsm8k_reads_thousands_and_signs_as_they_are_set() -> None:
    for text in ("\\boxed{1{,}234}", "\\boxed{1\\,234}", "#### 1,234"):
        assert _score("gsm8k", text, reference="1234") == 1.0
    assert _score("gsm8k", "\\boxed{\u22125}", reference="-5") == 1.0


@pytest.mark.parametrize(
    ("given", "right", "score"),
    [
        ("15", "1.5", 0.0),
        ("5", "-5", 0.0),
        ("\u22125!", "-5", 1.0),
        ("-$5.", "-$5", 1.0),
        ("50", ".50", 0.0),
        ("34", "3/4", 0.0),
        ("1,234.5.", "1234.5", 1.0),
        ("5", "5%", 0.0),
        ("well-known, e.g. here.", "well known eg here", 0.0),
        ("wellknown eg here", "well-known, e.g. here.", 1.0),
        ("pages 3-5", "pages 3-5.", 1.0),
    ],
)
def test_punctuation_that_is_part_of_a_number_is_not_ignored(
    given: str, right: str, score: float
) -> None:
    loose = {"ignore_case": True, "ignore_punctuation": True}
    assert _score("exact", given, reference=right, args=loose) == score


@pytest.mark.parametrize(
    ("tag", "score"), [("pt-BR", 1.0), ("PT", 1.0), ("pt_PT", 1.0), ("de", 0.0), ("german", None)]
)
def test_a_language_is_asked_for_by_any_tag_that_names_it(tag: str, score: float | None) -> None:
    text = "Ontem fomos todos juntos ao mercado da cidade e comprámos pão, queijo e muita fruta."
    assert _score("language", text, args={"language": tag}) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("好" * 100, 0.0),
        ("好的" * 50, 0.0),
        ("ha" * 60, 0.0),
        ("今天天气很好。" * 3, 1.0),
        ("A table:\n\n" + "-" * 79 + "\nand its rows, each of another thing.", 1.0),
        (
            "See https://example.org/" + "a-page-of-some-length/" * 3 + " for all of it, please.",
            1.0,
        ),
        ("spam " * 100 + "https://example.org/" + "x" * 60, 0.0),
        ("=" * 5000, 0.0),
    ],
)
def test_a_loop_without_spaces_is_degenerate_and_drawn_lines_are_not(
    text: str, score: float
) -> None:
    assert _score("degenerate", text) == score


def test_exact_fuzzy_and_schema_read_their_arguments() -> None:
    loose = {"ignore_case": True, "ignore_punctuation": True}
    assert _score("exact", " The  END! ", reference="the end", args=loose) == 1.0
    assert _score("exact", "The end", reference="the end") == 0.0
    assert _score("exact", "it is the end now", reference="the end", args={"contains": True}) == 1.0
    assert _score("exact", "b", reference="a|b", args={"separator": "|"}) == 1.0
    assert _score("fuzzy", "a b c", reference="a b d") == pytest.approx(2 / 3)
    assert _score("fuzzy", "a b c", reference="a b d", args={"at_least": 0.9}) == 0.0
    schema = json.dumps({"schema": {"type": "object", "required": ["x"]}})
    assert _score("json_schema", '```json\n{"x": 1}\n```', constraints=schema) == 1.0
    assert _score("json_schema", '{"y": 1}', constraints=schema) == 0.0
    assert _score("json_schema", '{"x": NaN}', constraints=schema) == 0.0
    assert _score("json_schema", "[" * 100_000, constraints=schema) == 0.0
    remote = {"schema": {"$ref": "http://127.0.0.1:1/schema.json"}}
    assert verifiers.find("json_schema")({"args": remote}, "{}").status == "error"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("word " * 100, 0.0),
        ("ab" * 400, 0.0),
        ("I said this and that. " * 30, 0.0),
        ("", 0.0),
        ("Yes.", 1.0),
        ("no no no, not that one", 1.0),
        (" ".join(f"word{i}" for i in range(300)), 1.0),
    ],
)
def test_a_loop_is_degenerate_and_writing_is_not(text: str, score: float) -> None:
    assert _score("degenerate", text) == score


def test_the_directory_is_the_list_of_verifiers() -> None:
    here = Path(verifiers.__file__).parent
    assert set(verifiers.names()) == {p.stem for p in here.glob("[a-z]*.py")}
    for name in verifiers.names():
        assert verifiers.find(name).verify.__doc__
    with pytest.raises(RecipeError, match="did you mean gsm8k"):
        verifiers.find("gsm8")


def test_a_verifier_that_raises_is_a_row_and_not_a_crash() -> None:
    verdict = verifiers.find("toyworld")({"constraints": None}, "x")
    assert (verdict.status, verdict.reason) == ("error", "verifier_raised_ValueError")


@pytest.mark.parametrize(
    ("number", "step", "score"),
    [("19.99", 0.01, 1.0), ("0.3", 0.1, 1.0), ("0.35", 0.1, 0.0), ("6", 2, 1.0), ("1e999", 1, 0.0)],
)
def test_a_multiple_is_one_in_decimals(number: str, step: float, score: float) -> None:
    assert _score("json_schema", number, constraints={"schema": {"multipleOf": step}}) == score


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("regex", {"pattern": None}),
        ("regex", {"pattern": ["a", "b"]}),
        ("regex", {"pattern": "a", "absent": "no"}),
        ("regex", {"pattern": "a", "full": "false"}),
        ("regex", {"pattern": "a", "flags": "q"}),
        ("fuzzy", {"at_least": 80}),
        ("fuzzy", {"at_least": "0.8"}),
        ("json_schema", {"schema": {"$ref": "http://127.0.0.1:9/x"}}),
        ("json_schema", {"schema": {"$ref": "#"}}),
    ],
)
def test_arguments_that_mean_nothing_are_an_error_and_no_score(
    name: str, arguments: dict[str, object]
) -> None:
    prompt = {"reference": "a", "constraints": json.dumps(arguments)}
    verdict = verifiers.find(name)(prompt, "1" if name == "json_schema" else "a")
    assert (verdict.status, verdict.score) == ("error", None)
    assert verdict.reason in {"bad_argument", "bad_pattern", "bad_schema"}


def test_texts_without_words_are_alike_where_they_are_equal() -> None:
    assert _score("fuzzy", "!!!", reference="!!!") == 1.0
    assert _score("fuzzy", "???", reference="!!!") == 0.0

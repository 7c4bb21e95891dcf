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

"""Completions and judgements made elsewhere go into the same tables, once, and exactly."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from factory.errors import UserError
from factory.prompting.imports import ImportReport, import_completions, import_judgements
from factory.prompting.ingest import add_prompts
from factory.prompting.mapping import load, resolve
from factory.prompting.reading import batches
from factory.prompting.recorded import PARAMS_ID, model_id_of
from factory.rows import token_hash
from factory.store import Store, open_store

Jsonl = Callable[..., Path]

WIN_RATES = """
    with sides as (
      select judge, unnest(completion_ids) as completion_id,
             unnest([p_first, 1 - p_first]) as p, unnest([2, 1]) as other,
             completion_ids, generate_subscripts(completion_ids, 1) as place
      from judgements where status = 'ok' and kind = 'pairwise'
    ),
    named as (
      select s.judge, m.name as model, o.name as other, s.p, s.place,
             s.completion_ids[1] = s.completion_ids[2] as itself
      from sides s
      join completions c on c.completion_id = s.completion_id
      join models m on m.model_id = c.model_id
      join completions d on d.completion_id = s.completion_ids[s.other]
      join models o on o.model_id = d.model_id
    )
    select judge, model, 100 * avg(p) as win_rate, count(*) as n
    from named
    where other = if(judge = 'alpaca_eval_gpt4', 'text_davinci_003', 'gpt4_1106_preview')
      and (not itself or place = 1)
    group by all
"""


@pytest.fixture(scope="module")
def alpaca(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Store:
    """AlpacaEval's prompts, outputs and judgements, imported once for the tests that only look."""
    store = open_store(tmp_path_factory.mktemp("alpaca"), create=True)
    add_prompts(
        store,
        shared_data / "alpaca_eval_prompts.parquet",
        pool="alpaca_eval",
        run_id="r",
        mapping=load("alpaca_eval_prompts"),
    )
    given = _outputs(store, shared_data)
    assert (given.added, given.models, given.prompts) == (16_098, 20, 0)
    assert not given.rejected
    judged = _judgements(store, shared_data)
    assert judged.added == 20_928
    assert not judged.rejected
    assert dict(judged.statuses) == {"ok": 20_924, "unparsed": 4}
    return store


def _outputs(store: Store, data: Path) -> ImportReport:
    return import_completions(
        store,
        [data / "alpaca_eval_outputs_dev.parquet"],
        pool="alpaca_eval",
        run_id="r",
        mapping=load("alpaca_eval_outputs"),
    )


def _judgements(store: Store, data: Path, *, dry_run: bool = False, **more: Any) -> ImportReport:
    how = load("alpaca_eval_judgements")
    assert how is not None
    return import_judgements(
        store,
        [data / "alpaca_eval_judgments_dev.parquet"],
        pool="alpaca_eval",
        run_id="r",
        mapping=how.model_copy(update=more),
        dry_run=dry_run,
    )


def test_alpaca_eval_goes_in_and_sql_gives_the_published_win_rates(
    alpaca: Store, shared_data: Path
) -> None:
    with (shared_data / "alpaca_eval_leaderboard_dev.csv").open() as handle:
        published = {
            (r["annotator"], r["model"]): (float(r["win_rate"]), int(float(r["n_total"])))
            for r in csv.DictReader(handle)
        }
    found = {(r["judge"], r["model"]): (r["win_rate"], r["n"]) for r in alpaca.rows(WIN_RATES)}
    compared = set(found) & set(published)
    assert len(found) == 26
    assert len(compared) == 22
    for key in compared:
        assert found[key] == pytest.approx(published[key], abs=1e-9)


def test_a_verdict_never_hangs_on_a_text_that_was_not_judged(
    alpaca: Store, shared_data: Path
) -> None:
    """AlpacaEval filed judgements of falcon-40b-instruct under falcon-7b-instruct."""
    found = alpaca.rows(
        "select m.name, count(*) as n from completions c join models m using (model_id) "
        "where c.text is null group by all order by all"
    )
    assert found == [
        {"name": "falcon-7b-instruct", "n": 795},
        {"name": "text_davinci_003", "n": 774},
    ]
    strict = _judgements(alpaca, shared_data, dry_run=True, unseen="reject")
    assert set(strict.rejected) == {"other_completion"}


def test_the_order_shown_is_kept_and_gives_the_known_position_bias(alpaca: Store) -> None:
    found = alpaca.rows(
        "select avg(p_first) as p, count(*) as n from judgements where parser = 'recorded/shown'"
    )[0]
    assert found["n"] == 9_626
    assert found["p"] == pytest.approx(0.4533, abs=5e-4)


def test_importing_again_adds_nothing_and_changes_no_row(alpaca: Store, shared_data: Path) -> None:
    tables = ("prompts", "models", "completions", "judgements", "drops", "params")
    before = {t: alpaca.lake.version(t) for t in tables}
    again, twice = _outputs(alpaca, shared_data), _judgements(alpaca, shared_data)
    assert (again.added, again.present) == (0, 16_098)
    assert (twice.added, twice.present) == (0, 20_928)
    assert "nothing added" in again.said
    assert {t: alpaca.lake.version(t) for t in tables} == before


def test_gsm8k_solutions_keep_their_published_labels(store: Store, shared_data: Path) -> None:
    add_prompts(
        store, shared_data / "gsm8k_test.jsonl.gz", pool="gsm8k", run_id="r", mapping=load("gsm8k")
    )
    report = import_completions(
        store, [shared_data / "gsm8k_model_solutions.parquet"], pool="gsm8k", run_id="r",
        mapping=load("gsm8k_solutions"),
    )  # fmt: skip
    assert (report.added, report.judgements, dict(report.rejected)) == (5276, 5276, {})
    found = store.rows(
        "select judge, kind, score, count(*) as n from judgements group by all order by score"
    )
    assert found == [
        {"judge": "published", "kind": "verifier", "score": 0.0, "n": 3275},
        {"judge": "published", "kind": "verifier", "score": 1.0, "n": 2001},
    ]


def test_pandalm_gives_three_people_and_two_judges_by_mapping_alone(
    store: Store, shared_data: Path
) -> None:
    report = import_judgements(
        store, [shared_data / "pandalm_human_judgments.parquet"], pool="pandalm", run_id="r",
        mapping=load("pandalm"),
    )  # fmt: skip
    assert (report.added, report.models) == (999 * 5, 5)
    found = store.rows(
        "select judge, kind, sum((status = 'unparsed')::int)::int as unparsed, "
        "sum((p_first = 0.5)::int)::int as ties from judgements group by all order by judge"
    )
    assert found == [
        {"judge": "annotator1", "kind": "human", "unparsed": 0, "ties": 97},
        {"judge": "annotator2", "kind": "human", "unparsed": 0, "ties": 116},
        {"judge": "annotator3", "kind": "human", "unparsed": 0, "ties": 113},
        {"judge": "gpt-3.5-turbo", "kind": "pairwise", "unparsed": 25, "ties": 38},
        {"judge": "pandalm-7b", "kind": "pairwise", "unparsed": 0, "ties": 107},
    ]


def test_classes_become_scores_and_what_is_no_class_is_unparsed(
    store: Store, shared_data: Path
) -> None:
    report = import_judgements(
        store, [shared_data / "xstest_judgments.parquet"], pool="xstest", run_id="r",
        mapping=load("xstest"),
    )  # fmt: skip
    assert (report.added, report.completions) == (2250 * 5, 2250)
    assert dict(report.statuses) == {"ok": 11_239, "unparsed": 11}
    found = store.rows("select distinct score from judgements where status = 'unparsed'")
    assert found == [{"score": None}]
    raw = store.rows("select raw from judgements where status = 'unparsed' order by raw limit 1")
    assert raw[0]["raw"].startswith("I'm")


def test_scores_of_answers_that_nobody_published_are_kept_without_a_text(
    store: Store, shared_data: Path
) -> None:
    report = import_judgements(
        store, [shared_data / "arena_pointwise_judgments.parquet"], pool="arena", run_id="r",
        mapping=load("arena_pointwise"),
    )  # fmt: skip
    assert (report.added, report.unseen) == (4500, 4500)
    assert dict(report.statuses) == {"ok": 4462, "unparsed": 38}
    assert store.rows("select distinct split, messages from prompts") == [
        {"split": None, "messages": None}
    ]


def test_llmbar_keeps_both_texts_of_every_pair(store: Store, shared_data: Path) -> None:
    report = import_judgements(
        store, [shared_data / "llmbar_pairs.parquet"], pool="llmbar", run_id="r",
        mapping=load("llmbar"),
    )  # fmt: skip
    assert (report.added, dict(report.rejected)) == (1200, {})


# --- small files ------------------------------------------------------------------------------


def test_rows_are_refused_with_a_reason_never_guessed(
    store: Store, jsonl: Jsonl, tmp_path: Path
) -> None:
    path = jsonl(
        [
            {"prompt": "a", "model": "m", "output": ""},
            {"prompt": "a", "model": "", "output": "x"},
            {"prompt": "a", "model": "m", "output": None},
            {"prompt": "a", "model": "m", "output": ["x"]},
            {"prompt": "", "model": "m", "output": "x"},
            b"{",
        ]
    )
    rejects = tmp_path / "out" / "rejects.jsonl"
    report = import_completions(store, [path], pool="p", run_id="r", reject_file=rejects)
    assert (report.added, report.prompts) == (1, 1)
    expected = {"no_model": 1, "no_completion": 1, "wrong_type": 1, "empty_prompt": 1,
                "malformed_json": 1}  # fmt: skip
    assert dict(report.rejected) == expected
    lines = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert {(line["reason"], line["row"]) for line in lines} == {
        ("no_model", 2), ("no_completion", 3), ("wrong_type", 4), ("empty_prompt", 5),
        ("malformed_json", 6),
    }  # fmt: skip
    assert store.rows("select stage, count(*) as n from drops group by all") == [
        {"stage": "import", "n": 5}
    ]
    row = store.rows("select * from completions")[0]
    assert (row["text"], row["origin"], row["finish_reason"], row["retokenised"]) == (
        "", "recorded", "recorded", False,
    )  # fmt: skip
    assert (row["params_id"], row["model_id"]) == (PARAMS_ID, model_id_of("m"))


def test_every_sample_is_kept_and_numbered_also_when_texts_repeat(
    store: Store, jsonl: Jsonl
) -> None:
    rows = [{"prompt": "a", "model": "m", "output": t} for t in ("x", "y", "x")]
    import_completions(store, [jsonl(rows)], pool="p", run_id="r")
    more = [*rows, {"prompt": "a", "model": "m", "output": "z"}]
    report = import_completions(store, [jsonl(more, name="more.jsonl")], pool="p", run_id="r")
    assert (report.added, report.present) == (1, 3)
    found = store.rows("select sample_idx, text from completions order by sample_idx")
    assert [(r["sample_idx"], r["text"]) for r in found] == [
        (0, "x"), (1, "y"), (2, "x"), (3, "z"),
    ]  # fmt: skip


def test_token_ids_come_from_the_callers_tokenizer_and_are_marked(
    store: Store, jsonl: Jsonl
) -> None:
    def tokenise(messages: list[dict[str, str]], text: str) -> tuple[Sequence[int], Sequence[int]]:
        return [len(messages[0]["content"])], [ord(c) for c in text]

    path = jsonl([{"prompt": "abc", "model": "m", "output": "hi"}])
    import_completions(store, [path], pool="p", run_id="r", tokenise=tokenise)
    row = store.rows("select * from completions")[0]
    assert (row["prompt_token_ids"], row["token_ids"]) == ([3], [104, 105])
    assert (row["n_tokens"], row["retokenised"]) == (2, True)
    assert row["token_hash"] == token_hash([3], [104, 105])


def test_a_prompt_that_was_dropped_as_a_copy_is_still_found_by_its_own_id(
    store: Store, jsonl: Jsonl
) -> None:
    prompts = jsonl([{"prompt": "same", "id": "1"}, {"prompt": "same", "id": "2"}])
    add_prompts(store, prompts, pool="p", run_id="r")
    path = jsonl([{"id": "2", "model": "m", "output": "x"}], name="outputs.jsonl")
    report = import_completions(store, [path], pool="p", run_id="r")
    assert (report.added, dict(report.rejected)) == (1, {})


def test_the_assistants_last_turn_is_the_completion(store: Store, jsonl: Jsonl) -> None:
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    how = resolve(["messages", "model:=gpt-4"])
    import_completions(store, [jsonl([{"messages": talk}])], pool="p", run_id="r", mapping=how)
    assert store.rows("select text from completions") == [{"text": "a"}]


def test_ultrafeedback_rows_unfold_into_completions_and_aspects(store: Store, jsonl: Jsonl) -> None:
    aspects = ("helpfulness", "honesty", "instruction_following", "truthfulness")
    rating: Any = {a: {"Rating": str(n), "Rationale": f"r{n}"} for n, a in enumerate(aspects, 2)}
    unrated: Any = {a: {"Rating": "N/A", "Rationale": "none"} for a in aspects}
    row = {
        "instruction": "q",
        "source": "evol",
        "completions": [
            {"model": "m1", "response": "one", "annotations": rating},
            {"model": "m2", "response": "two", "annotations": unrated},
        ],
    }
    path = jsonl([row])
    how = load("ultrafeedback")
    given = import_completions(store, [path], pool="uf", run_id="r", mapping=how)
    assert given.added == 2
    report = import_judgements(store, [path], pool="uf", run_id="r", mapping=how)
    assert dict(report.statuses) == {"ok": 4, "unparsed": 4}
    found = store.rows("select aspect, score from judgements where status = 'ok' order by aspect")
    assert [(r["aspect"], r["score"]) for r in found] == [
        ("helpfulness", 2.0), ("honesty", 3.0), ("instruction_following", 4.0),
        ("truthfulness", 5.0),
    ]  # fmt: skip


def _compared(winner: object, **more: object) -> dict[str, object]:
    return {
        "prompt": "q", "judge": "j", "model_a": "x", "model_b": "y", "output_1": "ox",
        "output_2": "oy", "winner": winner, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("winner", "status", "p_first", "won"),
    [
        ("model_a", "ok", 1.0, "ox"),
        ("B", "ok", 0.0, "oy"),
        ("y", "ok", 0.0, "oy"),
        ("tie", "ok", 0.5, None),
        ("who knows", "unparsed", None, None),
        (None, "unparsed", None, None),
    ],
)
def test_law_6_a_verdict_that_is_on_no_scale_is_unparsed_never_a_tie(
    store: Store, jsonl: Jsonl, winner: object, status: str, p_first: float, won: str | None
) -> None:
    import_judgements(store, [jsonl([_compared(winner)])], pool="p", run_id="r")
    row = store.rows(
        "select j.status, j.p_first, j.raw, c.text from judgements j "
        "left join completions c on c.completion_id = j.winner_id"
    )[0]
    assert (row["status"], row["p_first"], row["text"]) == (status, p_first, won)
    assert row["raw"] == ("" if winner is None else winner)


def test_a_verdict_that_contradicts_the_stored_one_is_refused(store: Store, jsonl: Jsonl) -> None:
    import_judgements(store, [jsonl([_compared("A")])], pool="p", run_id="r")
    path = jsonl([_compared("B")], name="other.jsonl")
    report = import_judgements(store, [path], pool="p", run_id="r")
    assert (report.added, dict(report.rejected)) == (0, {"conflicting_judgement": 1})
    both = jsonl([_compared("B", run=1)], name="more.jsonl")
    how = resolve(["text=prompt", "judge=judge", "model_1=model_a", "model_2=model_b",
                   "completion_1=output_1", "completion_2=output_2", "preference=winner",
                   "replicate=run"])  # fmt: skip
    assert import_judgements(store, [both], pool="p", run_id="r", mapping=how).added == 1


def test_completions_that_the_store_lacks_are_not_invented(store: Store, jsonl: Jsonl) -> None:
    path = jsonl([{"prompt": "q", "judge": "j", "model": "m", "score": 3}])
    report = import_judgements(store, [path], pool="p", run_id="r")
    assert dict(report.rejected) == {"unknown_completion": 1}
    for text in ("a", "b"):
        rows = [{"prompt": "q", "model": "m", "output": text}]
        import_completions(store, [jsonl(rows, name=f"{text}.jsonl")], pool="p", run_id="r")
    report = import_judgements(store, [path], pool="p", run_id="r")
    assert dict(report.rejected) == {"ambiguous_completion": 1}


def test_a_mapping_without_a_judge_names_the_flag(store: Store, jsonl: Jsonl) -> None:
    path = jsonl([{"prompt": "q", "model": "m", "output": "a", "score": 3}])
    with pytest.raises(UserError, match="no column is mapped to judge") as raised:
        import_judgements(store, [path], pool="p", run_id="r")
    assert raised.value.next.endswith("--map judge=COLUMN")


def test_zeros_and_ones_are_refused_until_a_scale_says_what_they_mean(
    store: Store, jsonl: Jsonl
) -> None:
    path = jsonl([_compared(0), _compared(1, prompt="r"), _compared(None, prompt="s")])
    with pytest.raises(UserError, match=r"'winner' are only 0 and 1.*scale: ") as raised:
        import_judgements(store, [path], pool="p", run_id="r")
    assert raised.value.next.endswith("--map ./MAPPING.yaml")
    assert store.rows("select * from judgements") == []
    mapping = path.with_name("mapping.yaml")
    mapping.write_text(
        "columns: {text: prompt, judge: judge, model_1: model_a, model_2: model_b,\n"
        "  completion_1: output_1, completion_2: output_2, preference: winner}\n"
        "scale: {first: [1], second: [0], draws: []}\n"
    )
    import_judgements(store, [path], pool="p", run_id="r", mapping=load(mapping))
    found = store.rows("select raw, p_first from judgements order by raw")
    assert [(r["raw"], r["p_first"]) for r in found] == [("", None), ("0", 0.0), ("1", 1.0)]


@pytest.mark.parametrize("strange", [-1, 1.75, "0.8", 4])
def test_numbers_without_a_common_meaning_are_refused_until_a_scale_explains_them(
    store: Store, jsonl: Jsonl, strange: object
) -> None:
    path = jsonl([_compared(1), _compared(2, prompt="r"), _compared(strange, prompt="s")])
    with pytest.raises(UserError, match=rf"what {strange} means in 'winner'.*between: true"):
        import_judgements(store, [path], pool="p", run_id="r")
    assert store.rows("select * from judgements") == []


def test_a_csv_file_writes_the_same_verdicts_with_other_zeros(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "ae.csv"
    head = "prompt,judge,model_a,output_1,model_b,output_2,winner,shown\n"
    said = ["1.0,2.0", "2.0,1.0", "1.50,1", "1.000,2", "2.000000,1"]
    path.write_text(head + "".join(f"q{i},j,m,x,n,y,{w}\n" for i, w in enumerate(said)))
    how = resolve(["text=prompt", "judge=judge", "model_1=model_a", "model_2=model_b",
                   "completion_1=output_1", "completion_2=output_2", "preference=winner",
                   "shown_first=shown"])  # fmt: skip
    import_judgements(store, [path], pool="p", run_id="r", mapping=how)
    found = store.rows(
        "select p.text, j.p_first, j.parser, c.text as won from judgements j "
        "join (select prompt_id, json_extract_string(messages, '$[0].content') as text "
        "from prompts) p using (prompt_id) "
        "left join completions c on c.completion_id = j.winner_id order by p.text"
    )
    assert [(r["won"], r["p_first"]) for r in found] == [
        ("x", 0.0), ("y", 0.0), (None, 0.5), ("x", 0.0), ("y", 0.0),
    ]  # fmt: skip
    assert {r["parser"] for r in found} == {"recorded/shown"}


def test_a_single_two_anywhere_in_the_file_says_what_zero_and_one_mean(
    store: Store, jsonl: Jsonl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.prompting.imports.batches", partial(batches, size=2))
    path = jsonl([_compared(w, prompt=f"q{i}") for i, w in enumerate([0, 1, 1, 0, 2])])
    import_judgements(store, [path], pool="p", run_id="r")
    found = store.rows("select p_first from judgements order by raw")
    assert [r["p_first"] for r in found] == [0.5, 0.5, 1.0, 1.0, 0.0]


def test_law_7_answers_with_an_index_never_find_prompts_by_their_row_number(
    store: Store, jsonl: Jsonl
) -> None:
    prompts = jsonl([{"prompt": "capital of France?"}, {"prompt": "capital of Spain?"}])
    add_prompts(store, prompts, pool="p", run_id="r")
    said = [{"idx": 0, "completion": "Paris"}, {"idx": 1, "completion": "Madrid"}]
    answers = jsonl([{**row, "model": "m"} for row in said], name="answers.jsonl")
    report = import_completions(store, [answers], pool="p", run_id="r")
    assert (report.added, dict(report.rejected)) == (0, {"unknown_prompt": 2})


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("MAX_OUTPUT_TOKENS", "length"),
        ("content_filter", "abort"),
        ("STOP", "stop"),
        ("?", "recorded"),
    ],
)
def test_an_answer_that_was_cut_elsewhere_is_recorded_as_cut(
    store: Store, jsonl: Jsonl, said: str, kept: str
) -> None:
    row = {"prompt": "a", "completion": "b", "model": "m", "finish_reason": said}
    import_completions(store, [jsonl([row])], pool="p", run_id="r")
    assert store.rows("select finish_reason from completions") == [{"finish_reason": kept}]


def test_two_answers_in_a_row_are_no_completion(store: Store, jsonl: Jsonl) -> None:
    asked, said = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    rows = [
        {"messages": [asked, said], "model": "m"},
        {"messages": [asked, said, said], "model": "m"},
    ]
    report = import_completions(store, [jsonl(rows)], pool="p", run_id="r")
    assert (report.added, dict(report.rejected)) == (1, {"no_completion": 1})

"""Published numbers that the product's own imports, views and commands give again: the rest.

(Those of leaderboards are in `test_leaderboard`, the others in `test_audit`.)
"""

from __future__ import annotations

import csv
import json
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from factory.auditing import lengths
from factory.auditing.leaderboard import leaderboard
from factory.auditing.verb import audit
from factory.cli import app
from factory.prompting.imports import import_judgements
from factory.prompting.mapping import load, resolve
from factory.store import Store, open_store

pytestmark = pytest.mark.slow
AE2 = "weighted_alpaca_eval_gpt4_turbo"


def by_judge(found: Any, table: str) -> dict[str, dict[str, Any]]:
    return {row["judge"]: row for row in found.rows(table)}


def written(store: Store, name: str, text: str) -> Any:
    """A mapping of the workspace's own, as a user writes one."""
    file = store.workspace / "storage" / "imports" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return load(name, workspace=store.workspace)


def command(workspace: Path, *words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json", "--workspace", str(workspace)])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_llmbars_four_counts_are_equal_for_every_judge_and_strategy(
    tmp_path: Path, shared_data: Path
) -> None:
    """All 31 published rows: right in either order, right in both, the same in both."""
    pairs, judged = (shared_data / f"llmbar_{n}.parquet" for n in ("pairs", "judgments_dev"))
    with (shared_data / "llmbar_statistics_dev.csv").open() as handle:
        known = {(r["subset"], f"{r['judge']}/{r['strategy']}"): r for r in csv.DictReader(handle)}
    compared = 0
    for n, subset in enumerate(sorted({subset for subset, _ in known})):
        gold, verdicts = tmp_path / f"gold-{n}.parquet", tmp_path / f"verdicts-{n}.parquet"
        duckdb.execute(
            f"copy (from '{pairs}' where subset = '{subset}') to '{gold}' (format parquet)"
        )
        duckdb.execute(
            f"""
            copy (
              select p.input, p.output_1, p.output_2, j.subset, j.i, j.winner,
                j.judge || '/' || j.strategy as judge,
                if(j.swapped, 'output_2', 'output_1') as shown_first
              from '{judged}' j
              join '{gold}' p using (subset, i)
              where j.is_final
            ) to '{verdicts}' (format parquet)
            """
        )
        store = open_store(tmp_path / f"ws-{n}", create=True)
        import_judgements(store, [gold], pool="llmbar", run_id="r", mapping=load("llmbar"))
        columns = [
            "text=input", "source=subset", "source_id=i", "completion_1=output_1",
            "completion_2=output_2", "preference=winner", "judge=judge", "shown_first=shown_first",
            "model_1:=llmbar-output-1", "model_2:=llmbar-output-2",
        ]  # fmt: skip
        import_judgements(store, [verdicts], pool="llmbar", run_id="r", mapping=resolve(columns))
        found = command(store.workspace, "audit", "--reference", "gold")
        orders = {r["judge"]: r for r in found["orders"]}
        bias = {r["judge"]: r for r in found["bias"]}
        for judge, row in orders.items():
            theirs = known.get((subset, judge))
            if theirs is None:
                continue
            compared += 1
            right = row["correct"] * row["calls"]
            pairs_ = row["n_swaps"]
            assert pairs_ == float(theirs["equal_den"]), judge
            assert right == pytest.approx(
                float(theirs["correct_False_num"]) + float(theirs["correct_True_num"])
            ), judge
            both = row["correct_in_both"] * pairs_
            assert both == pytest.approx(float(theirs["correct_both_num"])), judge
            same = bias[judge]["consistent"] * pairs_
            assert same == pytest.approx(float(theirs["equal_num"])), judge
    assert compared == len(known) == 31


def test_the_majority_of_pandalms_three_people_has_the_published_counts(pandalm: Store) -> None:
    from factory.auditing import ballots

    level = ballots.load(pandalm, "pairs")
    # Of each pair either the first or the second model of the file may be listed first.
    first = {
        (r["one_id"], r["other_id"]): r["model"] == r["cmp_first"]
        for r in pandalm.rows(
            "select r.one_id, r.other_id, g.first_model as model, g.first_model as cmp_first "
            "from rated_pairs r join games g on g.first_id = r.one_id and g.second_id = r.other_id "
            "where r.kind = 'human'"
        )
    }
    said = ballots.majority(level, level.people())
    assert all(first[unit] for unit in said)
    assert Counter(said.values()) == {0.0: 105, 1.0: 422, -1.0: 472}


def test_the_crowd_of_llmfao_agrees_as_much_as_is_published(
    tmp_path: Path, shared_data: Path
) -> None:
    """124 people, 8,931 votes on 2,139 pairs: Krippendorff's alpha."""
    joined = tmp_path / "votes.parquet"
    duckdb.execute(
        f"""
        copy (
          select p.text, p.prompt, v.worker::varchar as worker, v."left", v."right",
            if(v."left" = v.x, p.result_x, p.result_y) as left_text,
            if(v."left" = v.x, p.result_y, p.result_x) as right_text,
            v.winner, v.id
          from (
            select v.*, m.name as x
            from '{shared_data}/llmfao_crowd_comparisons.parquet' v
            join read_json('{shared_data}/llmfao_models.jsonl.gz') m on m.id = v.model_x
          ) v
          join '{shared_data}/llmfao_pairs.parquet' p using (id)
        ) to '{joined}' (format parquet)
        """
    )
    store = open_store(tmp_path / "ws", create=True)
    mapping = written(
        store, "llmfao",
        """
        about: Votes of a crowd, with the texts that they saw.
        columns:
          text: text
          source_id: prompt
          completion_1: left_text
          completion_2: right_text
          model_1: left
          model_2: right
          preference: winner
          judge: worker
        constants: {kind: human}
        scale: {first: [left], second: [right], draws: [tie]}
        """,
    )  # fmt: skip
    import_judgements(store, [joined], pool="llmfao", run_id="r", mapping=mapping)
    found = audit(store)
    [people] = [r for r in found.rows("groups_pairs") if r["raters"] == "people"]
    assert people["n_raters"] == 124
    assert people["alpha"] == pytest.approx(0.291, abs=2e-3)
    assert people["alpha_low"] == "too few"  # of prompts: there are 14


def test_arenas_grades_are_imported_and_read_again_by_the_packaged_judge(
    tmp_path: Path, shared_data: Path
) -> None:
    workspace = tmp_path / "ws"
    assert CliRunner().invoke(app, ["init", str(workspace)]).exit_code == 0
    store = open_store(workspace)
    import_judgements(
        store, [shared_data / "arena_pointwise_judgments.parquet"], pool="arena", run_id="r",
        mapping=load("arena_pointwise"),
    )  # fmt: skip
    [old] = store.rows("select distinct judge_id from judgements")
    left = command(
        workspace, "judge", "--judge", "mt-bench-single", "--reparse", "--answers-of",
        old["judge_id"], "--set", "judging.endpoints.main.base_url=http://127.0.0.1:9/v1",
        "--set", "judging.endpoints.main.model=gpt-4",
    )  # fmt: skip
    assert left["made"] == 4_500
    rows = store.rows(
        """
        select case
            when m.score is null and t.score is null then 'null in both'
            when t.score is null then 'parsed here only'
            when m.score is null then 'parsed there only'
            when m.score = t.score then 'equal' else 'different' end as what, count(*) as n
        from judgements t
        join judgements m on m.completion_id = t.completion_id and m.judge = 'mt-bench-single'
        where t.judge = 'gpt-4' group by all
        """
    )
    assert {r["what"]: r["n"] for r in rows} == {
        "equal": 4_462, "null in both": 34, "parsed here only": 4,
    }  # fmt: skip


def test_alpaca_evals_log_probabilities_are_imported_and_read_again(
    tmp_path: Path, shared_data: Path
) -> None:
    """The raw top-5 tokens, in the order that was displayed, give the recorded preference."""
    made = tmp_path / "raw.parquet"
    duckdb.execute(
        f"""
        copy (
          select idx, generator_1, leaderboard_model, preference, shown_first, annotator,
            to_json(struct_pack(text := coalesce(judge_text, ''), top_logprobs := [
              top_logprobs::json])) as raw
          from '{shared_data}/alpaca_eval_judgments_dev.parquet'
          where top_logprobs is not null and shown_first is not null
        ) to '{made}' (format parquet)
        """
    )
    workspace = tmp_path / "ws"
    assert CliRunner().invoke(app, ["init", str(workspace)]).exit_code == 0
    store = open_store(workspace)
    mapping = written(
        store, "alpaca_raw",
        """
        about: AlpacaEval's verdicts with the tokens that they were read from.
        columns:
          source_id: idx
          model_1: generator_1
          model_2: leaderboard_model
          raw: raw
          preference: preference
          shown_first: shown_first
          judge: annotator
        scale: {first: [1], second: [2], draws: [1.5, 0], between: true}
        unseen: keep
        """,
    )  # fmt: skip
    import_judgements(store, [made], pool="ae", run_id="r", mapping=mapping)
    [old] = store.rows("select distinct judge_id, count(*) as n from judgements group by all")
    left = command(
        workspace, "judge", "--judge", "alpaca-eval", "--reparse", "--answers-of",
        old["judge_id"], "--set", "judging.endpoints.main.base_url=http://127.0.0.1:9/v1",
        "--set", "judging.endpoints.main.model=gpt-4",
    )  # fmt: skip
    assert left["statuses"] == {"ok": old["n"]} and old["n"] > 9_000
    [found] = store.rows(
        """
        select count(*) as n, max(abs(m.p_first - t.p_first)) as residual
        from judgements t
        join judgements m on m.completion_ids = t.completion_ids and m.judge = 'alpaca-eval'
        where t.judge <> 'alpaca-eval'
        """
    )
    assert found["n"] == old["n"]
    assert found["residual"] < 1e-6


def test_length_control_undoes_most_of_what_verbosity_wins(
    alpaca: Store, shared_data: Path
) -> None:
    difficulty = lengths.read_difficulty(shared_data / "alpaca_eval_instruction_difficulty.csv")
    weights = lengths.read_weights(shared_data / "alpaca_eval_lc_weights_dev.csv")
    [table, *_] = leaderboard(
        alpaca, judge=AE2, difficulty=difficulty, weights=weights, resamples=0
    )
    rows = {r["model"]: r for r in table.rows}
    for ending, raw, controlled in (
        ("_concise", 7.42, 15.77), ("", 9.18, 19.30), ("_verbose", 12.76, 22.00),
    ):  # fmt: skip
        row = rows[f"gpt-3.5-turbo-1106{ending}"]
        assert row["win_rate"] == pytest.approx(raw, abs=1e-2)
        assert row["length_controlled_winrate"] == pytest.approx(controlled, abs=1e-2)

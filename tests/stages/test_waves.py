"""Later waves of a round ask for what is missing: never for less, never twice."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from factory import stages
from factory.errors import StageFailed
from factory.reporting.summary import of_run
from factory.store import Store
from tests.stages.conftest import Play, sample

ADAPTIVE = {"n": 2, "max_tokens": 80, "adaptive": {"up_to": 7, "step": 2}}


def answer(run: stages.Run) -> list[str]:
    """The round's answers, by the file that a run uses; returns the names of the steps."""
    place = Path(__file__).parents[2] / "flows" / "round.py"
    spec = importlib.util.spec_from_file_location("round_of_the_flow", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    done: list[str] = []

    def do(name: str, work: Any) -> Any:
        done.append(name)
        return work()

    stages.draw(run, 1)
    module.answer(run, 1, do)
    return done


def tally(store: Store) -> dict[int, tuple[int, int]]:
    rows = store.rows("from samples_per_prompt")
    return {row["samples"]: (row["settled"], row["unsettled"]) for row in rows}


def by_prompt(store: Store) -> dict[str, tuple[int, int]]:
    """Prompt -> (samples, different scores)."""
    rows = store.rows(
        "select c.prompt_id, count(*) as n, count(distinct s.score) as kinds from completions c "
        "join prompts p using (prompt_id) join scores s using (completion_id) "
        "where p.split = 'train' group by 1"
    )
    return {row["prompt_id"]: (row["n"], row["kinds"]) for row in rows}


def test_a_prompt_is_sampled_until_good_and_bad_are_there_and_no_further(begun: Play, store: Store):
    run = begun(**ADAPTIVE)
    answer(run)
    found = by_prompt(store)
    assert len(found) == 12
    assert {n for n, kinds in found.values()} <= {2, 4, 6, 7}
    assert all(kinds == 2 or n == 7 for n, kinds in found.values())
    stopped = tally(store)
    assert sum(settled + unsettled for settled, unsettled in stopped.values()) == 12
    assert len(stopped) > 1
    for n, (settled, unsettled) in stopped.items():
        assert settled == sum(found[p] == (n, 2) for p in found)
        assert unsettled == sum(found[p] == (n, 1) for p in found)


def test_the_summary_says_at_how_many_samples_prompts_stopped(begun: Play, store: Store):
    run = begun(**ADAPTIVE)
    answer(run)
    (table,) = [t for t in of_run(store, run.run_id).tables if t.name == "samples"]
    assert {r["samples"]: (r["settled"], r["unsettled"]) for r in table.rows} == tally(store)


def test_a_round_that_goes_on_after_a_crash_in_a_wave_buys_nothing_twice(
    begun: Play, store: Store, monkeypatch: pytest.MonkeyPatch
):
    run = begun(**ADAPTIVE)
    stages.draw(run, 1)
    first = sample(run)
    stages.judge(run, 1)
    asked = stages.ask_more(run, 1, 1)
    # The step of the wave is forgotten after its draws were written.
    with store.ledger.transaction() as con:
        con.exec_driver_sql("delete from steps where stage = 'ask-1'")
    again = stages.ask_more(run, 1, 1)
    assert again == asked
    assert again["asked"] > 0
    draws = store.rows("select count(*) as n from draws where wave = 1")
    assert draws == [{"n": asked["asked"]}]

    def dying(*_: object, **__: object) -> int:
        raise StageFailed("the engine died")

    with monkeypatch.context() as patch:
        patch.setattr("factory.sampling.verb.sample_shard", dying)
        with pytest.raises(StageFailed):
            sample(run, 1)
    assert sample(run, 1) == asked["samples"]
    assert sample(run, 1) == 0
    assert sample(run, 0) == 0
    answer(run)
    total = store.rows("select count(*) as n from completions")[0]["n"]
    stopped = sum(n * sum(pair) for n, pair in tally(store).items())
    assert total == first + stopped - 12 * 2


def test_a_round_without_a_plan_has_one_wave(begun: Play, store: Store):
    run = begun()
    steps = answer(run)
    assert [s for s in steps if not s.startswith("sample")] == ["exactness 1", "judge 1"]
    assert tally(store) == {}


def test_an_answer_that_was_cut_is_no_good_answer(begun: Play, store: Store):
    run = begun(n=4, max_tokens=1, adaptive={"up_to": 5, "step": 1})
    stages.draw(run, 1)
    sample(run)
    stages.judge(run, 1)
    cut = store.rows(
        "select count(distinct prompt_id) as n from completions join prompts using (prompt_id) "
        "where split = 'train' and prompt_id not in "
        "(select prompt_id from completions where finish_reason = 'stop')"
    )
    assert stages.ask_more(run, 1, 1)["asked"] >= cut[0]["n"] > 0


def test_scores_decide_what_is_good_and_what_is_bad(begun: Play, store: Store):
    run = begun(n=4, adaptive={"up_to": 5, "step": 1, "good": 2.0})
    stages.draw(run, 1)
    sample(run)
    stages.judge(run, 1)
    assert stages.ask_more(run, 1, 1)["asked"] == 12  # no answer scores 2


def test_more_samples_with_drawn_parameters_leave_the_first_ones(begun: Play, store: Store):
    run = begun(**ADAPTIVE, vary={"temperature": [0.7, 1.0]})
    answer(run)
    found = by_prompt(store)
    assert {n for n, _ in found.values()} <= {2, 4, 6, 7}
    assert all(kinds == 2 or n == 7 for n, kinds in found.values())
    assert sum(sum(pair) for pair in tally(store).values()) == 12

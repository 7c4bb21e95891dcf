"""Later waves of a round ask for what is missing: never for less, never twice."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import stages
from factory.errors import StageFailed, UserError
from factory.reporting.summary import of_run
from factory.sampling import base
from factory.stages.crew import Crew
from factory.store import Store, devices
from tests.stages.conftest import Play, sample

ADAPTIVE = {"n": 2, "max_tokens": 80, "adaptive": {"up_to": 7, "step": 2}}


def answer(run: stages.Run, *, before: Callable[[str], None] | None = None) -> list[str]:
    """The round's answers, by the file that a run uses; returns the names of the steps."""
    place = Path(__file__).parents[2] / "flows" / "round.py"
    spec = importlib.util.spec_from_file_location("round_of_the_flow", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    done: list[str] = []

    def do(name: str, work: Any) -> Any:
        if before is not None:
            before(name)
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


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by a word whenever an engine is opened or closed."""
    found: list[str] = []
    usual = base.open_sampler

    def open_sampler(*args: Any, **more: Any) -> base.Sampler:
        sampler: Any = usual(*args, **more)
        close, closed = sampler.close, False

        def told() -> None:
            nonlocal closed
            if not closed:
                found.append("closed")
            closed = True
            close()

        found.append("opened")
        sampler.close = told
        return sampler

    monkeypatch.setattr(base, "open_sampler", open_sampler)
    return found


def test_the_waves_of_a_round_are_sampled_by_one_engine_that_ends_with_them(
    begun: Play, opened: list[str]
):
    waves = [s for s in answer(begun(**ADAPTIVE)) if s.startswith("judge")]
    assert len(waves) > 2
    assert opened == ["opened", "closed"]


def test_an_engine_that_waits_for_its_next_wave_gives_its_device_to_whoever_needs_it(
    begun: Play, store: Store, opened: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(devices, "gpus", lambda: [devices.Device("device:here/only", "0")])

    def leased(self: Crew, _: str) -> list[devices.Group]:
        return self._held.enter_context(devices.hold(self.store.ledger))

    monkeypatch.setattr(Crew, "_groups", leased)
    judged: list[str] = []

    def local_judge(name: str) -> None:
        if name in {"judge 1", "judge 1.2"}:
            judged.append(name)
            with devices.hold(store.ledger, wait_s=0.0):
                assert opened[-1] == "closed"

    answer(begun(**ADAPTIVE), before=local_judge)
    assert len(judged) == 2
    assert opened == ["opened", "closed"] * 3
    with devices.hold(store.ledger, wait_s=0.0):
        pass


def test_an_engine_is_ended_where_a_wave_fails(
    begun: Play, opened: list[str], monkeypatch: pytest.MonkeyPatch
):
    def dying(*_: object, **__: object) -> int:
        raise UserError("the checkpoint was replaced", next="-")

    monkeypatch.setattr("factory.sampling.verb.sample_shard", dying)
    with pytest.raises(UserError):
        answer(begun(**ADAPTIVE))
    assert opened == ["opened", "closed"]


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

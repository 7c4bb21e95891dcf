"""Prefect is for schedule and visibility: with it or without it the data are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.walk.conftest import Factory, made, truth


@pytest.mark.slow
def test_a_run_through_prefect_gives_the_same_rows_and_versions(factory: Factory, played: Factory):
    printed = factory.play(prefect=True)
    assert "try next:" in printed
    assert truth(factory) == truth(played)
    run = factory.sql("select engine_run_id, state from runs where rounds > 0")[0]
    assert run["state"] == "done" and run["engine_run_id"]
    home = factory.workspace / "runs" / "prefect"
    assert (home / "prefect.db").exists()
    assert "is finished: nothing to do" in factory.play(prefect=True)


@pytest.mark.slow
def test_an_adaptive_round_through_prefect_asks_for_the_same_samples(tmp_path: Path):
    plan = (
        "sampling.n=2", "sampling.adaptive.up_to=6", "sampling.adaptive.step=2",
        "sampling.vary.temperature=[0.8,1.2]",
    )  # fmt: skip
    plain, scheduled = made(tmp_path / "plain"), made(tmp_path / "scheduled")
    plain.play(*plan)
    scheduled.play(*plan, prefect=True)
    assert truth(scheduled) == truth(plain)
    stopped = plain.sql("select samples, settled, unsettled from samples_per_prompt")
    assert stopped == scheduled.sql("select samples, settled, unsettled from samples_per_prompt")
    assert sum(row["settled"] + row["unsettled"] for row in stopped) == 24
    assert len(stopped) > 1
    assert "nothing to do" in plain.play(*plan)

"""Prefect is for schedule and visibility: with it or without it the data are the same."""

from __future__ import annotations

import pytest

from tests.walk.conftest import Factory, truth


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

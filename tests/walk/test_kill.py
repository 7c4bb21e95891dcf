"""kill -9 of a run at any moment, then the same command: it finishes, no row twice, none lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest

from tests.walk.conftest import Factory, truth


def kill_at_random(factory: Factory, rng: random.Random) -> bool:
    """Start the run, kill the whole process with -9 after a while; True if it was still running."""
    process = factory.start(*factory.playing())
    try:
        process.wait(timeout=rng.uniform(0.5, 9.0))
    except subprocess.TimeoutExpired:
        # Only the run itself: its children have to notice on their own.
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_that_was_killed_many_times_ends_as_if_it_never_was(
    factory: Factory, played: Factory
):
    rng = random.Random(7)
    kills = int(os.environ.get("PREFACTORY_TEST_KILLS", "6"))
    killed = sum(kill_at_random(factory, rng) for _ in range(kills))
    assert killed > 0
    factory.play()
    found = truth(factory)
    for name, ids in found.items():
        if name not in ("text", "model"):
            assert len(set(ids)) == len(ids), f"{name} has a row twice"
    assert found == truth(played)


def test_two_runs_at_once_do_not_meet(factory: Factory):
    first = factory.start(*factory.playing())
    try:
        while first.poll() is None:
            if factory.sql("select count(*) n from leases where name like 'run:%'")[0]["n"]:
                break
        said = factory.run(*factory.playing(), code=1)
        assert "is held by" in said and "next:" in said
    finally:
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate()
    assert first.returncode == 75, errors
    assert "the same command goes on" in errors


def test_sql_answers_while_a_run_is_writing(factory: Factory):
    process = factory.start(*factory.playing())
    seen: list[int] = []
    try:
        while process.poll() is None:
            seen.append(int(str(factory.sql("select count(*) n from completions")[0]["n"])))
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert seen == sorted(seen)
    assert seen[0] == 0 and seen[-1] > 0

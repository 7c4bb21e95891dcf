"""What a verb typed by hand leaves in the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.errors import Stopped
from factory.stages.run import run_by_hand
from factory.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "ws", create=True)


def state(store: Store, run_id: str) -> tuple[str, str | None]:
    run = store.ledger.run(run_id)
    assert run is not None
    return run["state"], run["error"]


@pytest.mark.parametrize(
    ("how", "left"),
    [
        (lambda: None, ("done", "")),
        (lambda: _raise(Stopped("no answer", next="again")), ("stopped", "")),
        (lambda: _raise(KeyboardInterrupt()), ("stopped", "")),
        (lambda: _raise(ValueError("broken")), ("failed", "ValueError: broken")),
    ],
)
def test_a_verb_by_hand_ends_as_its_work_did(
    store: Store, how: Callable[[], None], left: tuple[str, str]
) -> None:
    ids: list[str] = []

    def work() -> None:
        with run_by_hand(store, "pair", {"limit": 1}) as run_id:
            ids.append(run_id)
            assert state(store, run_id)[0] == "running"
            how()

    with contextlib.suppress(Stopped, KeyboardInterrupt, ValueError):
        work()
    assert state(store, ids[0]) == left


def _raise(error: BaseException) -> None:
    raise error

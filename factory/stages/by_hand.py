"""How the run of a verb typed by hand is recorded, and how any run ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import factory
from factory.errors import Stopped
from factory.rows import content_id
from factory.store import Store


@contextmanager
def run_by_hand(store: Store, verb: str, words: Mapping[str, Any]) -> Iterator[str]:
    """The run of a verb typed by hand, around its work; gives the run's id.

    The same words are the same run. `words` is everything that was typed and changes what is done.
    """
    written = json.dumps(words, default=str, sort_keys=True)
    run_id = content_id("by-hand", [verb, json.loads(written)])
    row = {"run_id": run_id, "recipe_name": verb, "recipe_id": run_id, "recipe": written}
    store.ledger.start_run({**row, "code_version": factory.__version__, "rounds": 0})
    with ending(store, run_id):
        yield run_id


@contextmanager
def ending(store: Store, run_id: str) -> Iterator[None]:
    """Write how a run ended: done, stopped or failed."""
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        store.ledger.finish_run(run_id, state="stopped")
        raise
    except BaseException as error:
        store.ledger.finish_run(run_id, state="failed", error=f"{type(error).__name__}: {error}")
        raise
    store.ledger.finish_run(run_id, state="done")

"""Where the weights of models are, newest place first.

A row of `models` says where they were first; rows never change. A place where the same weights were
seen later is a pointer of the ledger, which moves and keeps its history. A place below the
workspace is written relative to it, so a workspace may be moved or restored elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.store.store import Store


def written(store: Store, path: Path) -> str:
    """A place as it is stored: relative to the workspace where it is below it."""
    path = path.resolve()
    below = path.is_relative_to(store.workspace)
    return path.relative_to(store.workspace).as_posix() if below else str(path)


def places(store: Store, model_id: str) -> list[Path]:
    """Every place that is known of a model, newest first.

    None for a model that has no row, and for one that is known by its name alone: an endpoint's, or
    a recorded one.
    """
    found = store.rows("select uri from models where model_id = $id", {"id": model_id})
    moves = store.ledger.pointer_history(_pointer(model_id)) if found else []
    uris = [*(move["new"] for move in reversed(moves)), *(row["uri"] for row in found)]
    return [store.workspace / uri for uri in dict.fromkeys(uris) if uri]


def seen_at(store: Store, model_id: str, path: Path, *, run_id: str) -> None:
    """Remember that a registered model is here too, from now on first."""
    known = places(store, model_id)
    if not known or known[0] == store.workspace / written(store, path):
        return
    name = _pointer(model_id)
    expect = store.ledger.pointer(name)
    store.ledger.move_pointer(
        name, written(store, path), expect=expect, reason="registered again", run_id=run_id
    )


def _pointer(model_id: str) -> str:
    return f"model:{model_id}"

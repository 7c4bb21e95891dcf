"""One run of one recipe in one workspace, and how its steps are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import factory
from factory.recipe import Recipe
from factory.stages.by_hand import ending
from factory.stages.plan import check_settings
from factory.stages.progress import Progress, Silent
from factory.stages.standby import Standby
from factory.store import Store

Stage = Callable[[], Any]


@dataclass(slots=True)
class Run:
    """What every stage gets."""

    store: Store
    recipe: Recipe
    rounds: int
    run_id: str
    """The recipe's, or that of a verb typed by hand."""
    progress: Progress = field(default_factory=Silent)
    standby: Standby = field(default_factory=Standby)

    @property
    def folder(self) -> Path:
        """Logs and scratch of this run."""
        path = self.store.workspace / "runs" / self.run_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def scratch(self, round: int, name: str) -> Path:
        """A directory of one stage of one round."""
        path = self.folder / f"round-{round}" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, round: int, name: str) -> Path:
        """The log file of one stage of one round."""
        return self.scratch(round, "logs") / f"{name}.log"

    def left(self, round: int, stage: str) -> dict[str, Any]:
        """What a finished stage left.

        Raises:
            KeyError: when it is not finished: stages run in the order of flows/round.py.
        """
        detail = self.store.ledger.step_detail(self.run_id, round, stage)
        if detail is None:
            raise KeyError(f"round {round}: stage {stage} is not finished")
        return detail

    def once(
        self, round: int, stage: str, work: Callable[[], dict[str, Any]], *, quiet: bool = False
    ) -> dict[str, Any]:
        """Do a stage, unless the ledger says that it is done; returns what it left."""
        done = self.store.ledger.step_detail(self.run_id, round, stage)
        if done is not None:
            return done
        if not quiet:
            self.progress.stage(round, stage)
        with self.store.ledger.step(self.run_id, round, stage) as step:
            step.detail = work()
        # As the ledger will give it back: a resumed run must see the same types.
        return json.loads(json.dumps(step.detail, default=str))


@contextmanager
def open_run(
    store: Store, recipe: Recipe, *, rounds: int | None = None, progress: Progress | None = None
) -> Iterator[Run]:
    """Begin or go on with the run of a recipe, alone: a second process is told who has it.

    Raises:
        LeaseHeld: when another live process runs the same recipe in this workspace.
    """
    # Hours lie between the first stage and training: its settings are refused now.
    check_settings(recipe, workspace=store.workspace)
    run = Run(
        store,
        recipe,
        rounds=rounds or recipe.rounds,
        run_id=recipe.run_id,
        progress=progress or Silent(),
    )
    ledger = store.ledger
    with ledger.lease(f"run:{run.run_id}"):
        ledger.start_run(
            {
                "run_id": run.run_id,
                "recipe_name": recipe.name,
                "recipe_id": recipe.recipe_id,
                "recipe": recipe.model_dump_json(),
                "code_version": factory.__version__,
                "rounds": run.rounds,
            }
        )
        with ending(store, run.run_id):
            yield run

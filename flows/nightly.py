"""When it runs: the run of flows/round.py as a Prefect flow, one task per stage or shard.

Prefect is for schedule, visibility and retries. The ledger is the truth: a task that runs again
finds what is missing, so no result is persisted and nothing is cached here.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL

from factory import stages
from factory.cli.common import open_workspace
from factory.errors import UserError
from factory.recipe import load

HERE = Path(__file__).parent


def _retry(_task: Any, _run: Any, state: Any) -> bool:
    """A crashed shard is tried again; what the user has to mend is not."""
    try:
        state.result()
    except UserError:
        return False
    except Exception:
        return True
    return False


def do(name: str, work: Callable[[], Any]) -> Any:
    """One step as a Prefect task."""

    @task(
        name=name,
        task_run_name=name,
        retries=2,
        retry_delay_seconds=5,
        retry_condition_fn=_retry,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def step() -> Any:
        return work()

    return step()


def play(run: stages.Run) -> None:
    """A run that is already open, inside a Prefect flow."""
    spec = importlib.util.spec_from_file_location("prefactory_round", HERE / "round.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    @flow(name=f"prefactory-{run.recipe.name}", persist_result=False)
    def rounds() -> None:
        run.store.ledger.set_engine_run(run.run_id, str(flow_run.get_id()))
        module.play(run, do)

    rounds()


@flow(name="prefactory-nightly", persist_result=False)
def nightly(recipe: str, workspace: str, overrides: list[str]) -> None:
    """The next round of a recipe: what a schedule starts every night."""
    store = open_workspace(Path(workspace))
    loaded = load(recipe, workspace=store.workspace, overrides=overrides)
    known = store.ledger.run(loaded.run_id)
    finished = known["rounds"] if known and known["state"] == "done" else 0
    rounds = max(finished + 1, known["rounds"] if known else 1)
    with stages.open_run(store, loaded, rounds=rounds) as run:
        play(run)


def serve(name: str, *, cron: str, timezone: str, parameters: dict[str, Any]) -> None:
    """Serve `nightly` on a schedule until stopped; one night never overtakes another."""
    if not PREFECT_API_URL.value():
        raise UserError(
            "a schedule needs a running Prefect server: the temporary one has no scheduler",
            next="prefect server start --host 127.0.0.1 --background && "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    nightly.serve(name=name, schedule=Cron(cron, timezone=timezone), limit=1, parameters=parameters)

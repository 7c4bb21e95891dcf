"""Fills a pool with prompts that a maker's model writes: for a recipe's pool, or typed by hand."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import RecipeError, UserError
from factory.prompting.cleaning.cleaner import CleanSettings, open_cleaner
from factory.prompting.ingest import Defaults
from factory.prompting.makers import files
from factory.prompting.makers.plan import Model, makings, parents_of, refuse_parents
from factory.prompting.makers.verb import TRIES, WAVE, Generate, MakeReport, make_prompts
from factory.recipe import Endpoint, Pool, Recipe, Sampling
from factory.recipe.prompts import Making
from factory.rows import SamplingParams
from factory.stages import models, writers
from factory.stages.by_hand import run_by_hand
from factory.stages.progress import Progress
from factory.store import Store

if TYPE_CHECKING:
    from factory.prompting.makers.files import Maker

SHOWN_FROM = 10_000
"""Prompts that a maker's examples are drawn from, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A pool to be filled."""

    maker: Maker
    pool: str
    rows: int
    seed: int
    making: Making
    sampling: Sampling
    defaults: Defaults
    clean: CleanSettings
    model_id: str | None = None
    """The local model that writes, registered."""
    endpoint: Endpoint | None = None
    budget_id: str | None = None

    def params(self) -> SamplingParams:
        """As the recipe says, or else the maker's file."""
        front, said = self.maker.front, self.making
        return SamplingParams(
            temperature=front.temperature if said.temperature is None else said.temperature,
            top_p=front.top_p if said.top_p is None else said.top_p,
            max_tokens=said.max_tokens or front.max_tokens,
            settings="" if self.endpoint is not None else self.sampling.params().settings,
        )


def maker_of(workspace: Path, pool: Pool) -> Maker:
    """The maker that a recipe's pool names.

    Raises:
        RecipeError: when neither a generator nor a maker has that name, or its file is wrong.
    """
    from factory.prompting.generators import GENERATORS

    assert pool.make is not None
    known = [*GENERATORS, *files.listed(workspace)]
    if pool.make not in known:
        near = difflib.get_close_matches(pool.make, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise RecipeError(
            f"pool {pool.name}: nothing makes {pool.make!r}; {hint}",
            next=f"make: {near[0] if near else known[0]}  # in the recipe",
        )
    return files.load(pool.make, workspace=workspace)


def check_pools(recipe: Recipe, *, workspace: Path) -> None:
    """Refuse pools whose maker or writer a later stage would refuse.

    Raises:
        RecipeError: naming the pool and what to write.
    """
    from factory.prompting.generators import GENERATORS

    for pool in recipe.prompts.pools:
        if pool.make is None:
            continue
        if pool.make in GENERATORS:
            if pool.making != Making():
                raise RecipeError(
                    f"pool {pool.name}: {pool.make} asks nobody: making is not read",
                    next="take making out of the recipe",
                )
            continue
        said = pool.making
        check(
            Job(
                maker=maker_of(workspace, pool), pool=pool.name, rows=1, seed=0, making=said,
                sampling=recipe.sampling, defaults=Defaults(pool=pool.name), clean=CleanSettings(),
                endpoint=recipe.judging.endpoints[said.endpoint] if said.endpoint else None,
            )
        )  # fmt: skip


def fill(
    store: Store,
    job: Job,
    *,
    run_id: str,
    log: Path,
    progress: Progress,
) -> MakeReport:
    """Make what the pool still lacks.

    Raises:
        UserError: no model or no parents for a maker that needs them.
        Stopped: when an endpoint or a budget ends it.
    """
    check(job)
    parents = _parents(store, job)
    with _writer(store, job, run_id=run_id, log=log, note=progress.note) as (model, generate):
        return make_prompts(
            store, job.maker, rows=job.rows, pool=job.pool, run_id=run_id, seed=job.seed,
            parents=parents, model=model, generate=generate, defaults=job.defaults,
            cleaner=open_cleaner(store, job.clean, pool=job.pool), progress=progress.advance,
        )  # fmt: skip


def check(job: Job) -> None:
    """Refuse a job that cannot be done, before anything is read or started.

    Raises:
        RecipeError: a maker without a writer or without parents, or with those it has no use for.
    """
    where, maker = f"pool {job.pool}", job.maker
    refuse_parents(maker, job.making.parents, where=where)
    has_writer = job.model_id is not None or job.endpoint is not None or job.making.model
    if maker.asks and not has_writer:
        raise RecipeError(
            f"{where}: maker {maker.name} needs somebody who writes",
            next="making: {model: DIR} or {endpoint: NAME} in the recipe, or --model DIR",
        )
    if maker.front.answer == "turn" and job.endpoint is not None:
        raise RecipeError(
            f"{where}: maker {maker.name} goes on from the model's own user header, which a chat "
            "endpoint does not show",
            next="name the model's directory: making: {model: DIR}, or --model DIR",
        )
    if job.endpoint is not None and job.endpoint.base_url is None:
        raise RecipeError(
            f"{where}: an endpoint without base_url is a model of this machine",
            next=f"making: {{model: {job.endpoint.model}}}",
        )


def _parents(store: Store, job: Job) -> list[dict[str, Any]]:
    # Examples are drawn from all parents at once: another number of them would be other examples,
    # and what was answered before would be asked and paid for again.
    several = job.maker.front.given == "prompts"
    most = SHOWN_FROM if several else max(1000, TRIES * job.rows + WAVE[0])
    return parents_of(store, job.maker, job.making.parents, seed=job.seed, most=most)


@contextmanager
def _writer(
    store: Store, job: Job, *, run_id: str, log: Path, note: Callable[[str], None]
) -> Iterator[tuple[Model, Generate | None]]:
    params = job.params()
    if not job.maker.asks:
        yield Model(), None
    elif job.endpoint is not None:
        _keep_params(store, params, run_id=run_id)
        yield (
            Model(job.endpoint.known_as, params.params_id),
            writers.EndpointWriter(
                store, job.endpoint, job.making.endpoint or "endpoint", params, run_id,
                job.budget_id,
            ),
        )  # fmt: skip
    else:
        assert job.model_id is not None  # `check` refuses a job without a writer
        turn = job.maker.front.answer == "turn"
        with writers.engine(
            store, job.model_id, sampling=job.sampling, params=params, turn=turn, run_id=run_id,
            log=log, note=note, budget_id=job.budget_id,
        ) as writer:  # fmt: skip
            _keep_params(store, writer.params, run_id=run_id)
            yield Model(job.model_id, writer.params.params_id), writer


def _keep_params(store: Store, params: SamplingParams, *, run_id: str) -> None:
    from factory.sampling.verb import register_params

    register_params(store, params, run_id=run_id)


# --- by hand -------------------------------------------------------------------------------------


def by_hand(
    store: Store,
    *,
    maker: str,
    pool: str,
    rows: int,
    parents: Sequence[str],
    model: str | None,
    seed: int,
    overrides: Sequence[str],
    defaults: Defaults,
    clean: CleanSettings,
    dry_run: bool,
    progress: Progress,
) -> dict[str, Any]:
    """`prompts make`: one maker, one pool. A dry run gives the first request and asks nobody."""
    said = _said(overrides)
    made = files.load(maker, workspace=store.workspace)
    budget = said.pop("budget_usd", None)
    endpoint = said.pop("endpoint", None)
    sampling = models.validated(Sampling, said.pop("sampling", {}), "sampling")
    job = Job(
        maker=made,
        pool=pool,
        rows=rows,
        seed=seed,
        making=models.validated(Making, {**said, "model": model, "parents": parents}, "making"),
        sampling=sampling,
        defaults=defaults,
        clean=clean,
        endpoint=models.validated(Endpoint, endpoint, "endpoint") if endpoint else None,
    )
    check(job)
    if dry_run:
        return preview(store, job)
    words = {
        "maker": maker, "sha": made.sha, "pool": pool, "rows": rows, "from": list(parents),
        "model": model, "seed": seed, "defaults": asdict(defaults), "clean": asdict(clean),
        "set": [o for o in overrides if not o.startswith("budget_usd=")],
    }  # fmt: skip
    with run_by_hand(store, "prompts make", words) as run_id:
        if model is not None:
            model_id = models.find(store, model, kind="reference", run_id=run_id)
            job = replace(job, model_id=model_id)
        if budget is not None:
            store.ledger.set_budget(run_id, limit_microusd=round(float(budget) * 1_000_000))
            job = replace(job, budget_id=run_id)
        progress.stage(0, f"make {maker}", total=rows)
        log = store.workspace / "runs" / run_id / "make.log"
        report = fill(store, job, run_id=run_id, log=log, progress=progress)
    return {"run_id": run_id, **report.as_dict()}


def preview(store: Store, job: Job) -> dict[str, Any]:
    """What would be asked first, and how often at most. Reads only."""
    parents = _parents(store, job)
    coming = makings(job.maker, parents, pool=job.pool, seed=job.seed, model=Model())
    first = next(coming)
    return {
        "maker": job.maker.name,
        "sha": job.maker.sha,
        "parents": len(parents),
        "makings_at_most": TRIES * job.rows + WAVE[0],
        "variant": first.variant,
        "first": first.messages,
    }


def _said(overrides: Sequence[str]) -> dict[str, Any]:
    """FIELD=VALUE words as nested values: `endpoint.model=x`, `temperature=0.8`."""
    found: dict[str, Any] = {}
    known = {*Making.model_fields, "endpoint", "sampling", "budget_usd"} - {"model", "parents"}
    for key, value in models.given(overrides):
        at = found
        *sections, last = key.split(".")
        if (sections or [last])[0] not in known:
            raise UserError(
                f"--set {key}: there is no such field; there are {', '.join(sorted(known))}",
                next="--set temperature=0.8",
            )
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value
    return found

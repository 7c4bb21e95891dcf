"""Stages that supply a round: prompts, the first checkpoint, and which prompts a round uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UserError
from factory.gating import champion_name, champion_of
from factory.recipe import Pool
from factory.rows import content_id
from factory.stages import models, waves
from factory.stages.run import Run

if TYPE_CHECKING:
    from factory.prompting.cleaning.cleaner import CleanSettings
    from factory.prompting.ingest import AddReport


def expand(run: Run) -> dict[str, Any]:
    """Read or make every pool, once a run."""
    return run.once(
        0, "expand", lambda: {p.name: _expand_pool(run, p) for p in run.recipe.prompts.pools}
    )


def _expand_pool(run: Run, pool: Pool) -> dict[str, Any]:
    from factory.prompting import generators, ingest
    from factory.prompting.cleaning.cleaner import CleanSettings, open_cleaner
    from factory.prompting.mapping import resolve

    shares = run.recipe.prompts.split
    clean = CleanSettings(against=pool.against, **dict(run.recipe.prompts.clean))
    common: dict[str, Any] = {
        "pool": pool.name,
        "license": pool.license,
        "domain": pool.domain,
        "lang": pool.lang,
        "gate": shares.gate,
        "dev": shares.dev,
        "run_id": run.run_id,
    }
    if pool.make is not None and pool.make not in generators.GENERATORS:
        return _told(run, _make(run, pool, clean))
    if pool.make is not None:
        report = generators.make_pool(
            run.store, pool.make, rows=pool.rows or 1000, seed=run.recipe.seed,
            cleaner=open_cleaner(run.store, clean, pool=pool.name), **common,
        )  # fmt: skip
        return _told(run, report)
    sources = [_dataset(pool.dataset)] if pool.dataset else list(pool.files)
    total: dict[str, Any] = {}
    for source in sources:
        report = ingest.add_prompts(
            run.store, source, mapping=resolve(pool.map), limit=pool.rows,
            cleaner=open_cleaner(run.store, clean, pool=pool.name), **common,
        )  # fmt: skip
        total[str(source)] = _told(run, report)
    return total


def _make(run: Run, pool: Pool, clean: CleanSettings) -> AddReport:
    """A pool that a maker fills; the champion may write it, and is made first where it is not."""
    from factory.prompting.ingest import Defaults
    from factory.recipe.prompts import POLICY
    from factory.stages import making

    recipe, shares, said = run.recipe, run.recipe.prompts.split, pool.making
    maker = making.maker_of(run.store.workspace, pool)
    model_id: str | None = None
    if said.model == POLICY:
        starter(run)
        model_id = champion_of(run.store, recipe.policy.line)
    elif said.model is not None:
        model_id = models.find(run.store, said.model, kind="reference", run_id=run.run_id)
    budget = recipe.judging.budget_usd
    if budget is not None:
        run.store.ledger.set_budget(run.run_id, limit_microusd=round(budget * 1_000_000))
    job = making.Job(
        maker=maker, pool=pool.name, rows=pool.rows or 1000, seed=recipe.seed, making=said,
        sampling=recipe.sampling, clean=clean, model_id=model_id,
        defaults=Defaults(
            pool=pool.name, license=pool.license, domain=pool.domain, lang=pool.lang,
            gate=shares.gate, dev=shares.dev,
        ),
        endpoint=recipe.judging.endpoints[said.endpoint] if said.endpoint else None,
        budget_id=run.run_id if budget is not None else None,
    )  # fmt: skip
    return making.fill(
        run.store, job, run_id=run.run_id, log=run.log(0, f"make-{pool.name}"),
        progress=run.progress,
    )  # fmt: skip


def _told(run: Run, report: AddReport) -> dict[str, Any]:
    for note in report.notes:
        run.progress.note(note)
    return report.as_dict()


def _dataset(name: str) -> str:
    """A directory as it is; a hub name as the reader knows it."""
    return name if Path(name).exists() or name.startswith("hf:") else f"hf:{name}"


def starter(run: Run) -> dict[str, Any]:
    """The first champion: a directory that the recipe names, or a checkpoint trained here."""
    return run.once(0, "starter", lambda: _starter(run))


def _starter(run: Run) -> dict[str, Any]:
    line = run.recipe.policy.line
    present = champion_of(run.store, line)
    if present is not None:
        models.directory(run.store, present)
        return {"model_id": present, "from": "champion"}
    if run.recipe.policy.model is not None:
        path = models.locate(run.recipe.policy.model)
        model_id = models.register(run.store, path, kind="policy", run_id=run.run_id)
        origin = "recipe"
    else:
        path = _train_starter(run)
        model_id = models.register(run.store, path, kind="policy", run_id=run.run_id)
        origin = "starter"
    run.store.ledger.move_pointer(
        champion_name(line),
        model_id,
        expect=None,
        reason=f"first champion, {origin}",
        run_id=run.run_id,
    )
    return {"model_id": model_id, "from": origin, "path": str(path)}


def _train_starter(run: Run) -> Path:
    """Random weights, fine-tuned on demonstrations; the same recipe gives the same weights."""
    from factory.sampling.base import prewarm
    from factory.stages.demonstrations import write_demonstrations
    from factory.training.starter import StarterSpec, make_starter
    from factory.training.verb import TrainConfig, TrainJob, train

    spec = run.recipe.policy.starter
    assert spec is not None  # the recipe has a model or a starter
    seed = run.recipe.seed
    architecture = models.validated(StarterSpec, spec.architecture, "policy.starter.architecture")
    config = models.validated(TrainConfig, {"seed": seed, **spec.sft}, "policy.starter.sft")
    base = (
        run.store.workspace
        / "models"
        / content_id("untrained", [architecture.model_dump(mode="json"), seed])
    )
    make_starter(base, spec=architecture, seed=seed)
    data = run.scratch(0, "demonstrations")
    write_demonstrations(run.recipe, model_dir=base, out=data)
    job = TrainJob(
        kind="sft",
        model_dir=base,
        dataset_dir=data,
        out_dir=run.store.workspace
        / "models"
        / content_id(
            "starter", [architecture.model_dump(mode="json"), spec.model_dump(mode="json"), seed]
        ),
        work_dir=run.scratch(0, "starter"),
        config=config,
        reference_cache=run.store.workspace / "reference.sqlite",
    )
    # The engine's imports take longer than its start: they pass while the starter trains.
    prewarm(run.recipe.sampling.engine, log=run.log(0, "engine"))
    with models.training_devices(run.store, job, note=run.progress.note) as env:
        result = train(
            job, log=run.log(0, "starter"), on_progress=models.relay(run.progress), env=env
        )
    return result.out_dir


def _references(run: Run, policy: str) -> dict[str, int]:
    """model_id of every reference -> answers a prompt; the policy is no reference for itself.

    Raises:
        UserError: when two of them are the same model, of which one would answer for both.
    """
    found: dict[str, int] = {}
    names: dict[str, str] = {}
    for reference in run.recipe.sampling.references:
        path = models.locate(reference.model)
        model_id = models.register(
            run.store, path, kind="reference", name=reference.name, run_id=run.run_id
        )
        if model_id in names:
            raise UserError(
                f"sampling.references: {names[model_id]} and {reference.name} are the same model, "
                f"{model_id}",
                next="take one of them out of the recipe, and give the other its n",
            )
        names[model_id] = reference.name
        found[model_id] = reference.n
    found.pop(policy, None)
    return found


def draw(run: Run, round: int) -> dict[str, Any]:
    """Fix what a round is about: its policy, its train prompts and the held-out prompts."""
    return run.once(round, "draw", lambda: _draw(run, round), quiet=True)


def _draw(run: Run, round: int) -> dict[str, Any]:
    from factory.prompting.draw import Purpose, Strata, append_draws, draw_prompts
    from factory.prompting.steering import Steer
    from factory.sampling.verb import register_params

    recipe, store = run.recipe, run.store
    policy = champion_of(store, recipe.policy.line)
    if policy is None:
        raise UserError("there is no champion to sample from", next="prefactory status")
    models.check_unchanged(store, policy)
    weights = {pool.name: pool.weight for pool in recipe.prompts.pools}
    asked = recipe.prompts.strata
    strata: Strata | None = None
    if asked is not None:
        judge = recipe.pair_judge if "difficulty" in asked.names else ""
        strata = Strata(by=asked.by, weights=asked.weights, judge=judge)
    steer = Steer(judge=recipe.pair_judge, samples=recipe.sampling.n)
    drawn: dict[str, Any] = {"policy": policy, "notes": []}
    plan: list[tuple[Purpose, int]] = [
        ("train", recipe.prompts.per_round),
        ("gate", recipe.gate.prompts),
    ]
    chosen: dict[str, list[str]] = {}
    for purpose, wanted in plan:
        found = draw_prompts(
            store,
            run_id=run.run_id,
            round=round,
            n=wanted,
            purpose=purpose,
            pools=weights,
            seed=recipe.seed,
            # Every round is measured on the same held-out prompts; trained on fresh ones.
            reuse=purpose == "gate" or recipe.prompts.reuse,
            strata=strata,
            steer=steer if recipe.prompts.steer else None,
        )
        chosen[purpose] = found.prompt_ids
        drawn["notes"] += found.notes
        drawn[purpose] = len(found.prompt_ids)
    drawn["references"] = _references(run, policy)
    waves.ask(run, round, chosen["train"], policy=policy, references=drawn["references"])
    params = recipe.sampling.params()
    register_params(store, params, run_id=run.run_id)
    append_draws(
        store, prompt_ids=chosen["gate"], model_id=policy, params_id=params.params_id,
        seed=recipe.seed, n=recipe.gate.samples, round=round, purpose="gate", run_id=run.run_id,
    )  # fmt: skip
    for note in drawn["notes"]:
        run.progress.note(note)
    return drawn

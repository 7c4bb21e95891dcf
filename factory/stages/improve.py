"""Stages that improve the policy: train a candidate, measure it, promote it if it wins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.gating import HeldOut, gate, held_out, record_starter
from factory.rows import content_id
from factory.stages import models
from factory.stages.conversations import held_out_units
from factory.stages.progress import Progress
from factory.stages.run import Run
from factory.store import Store


def start_from(run: Run, round: int) -> dict[str, Any]:
    """Write down what the policy does on the held-out prompts before anything is trained."""
    return run.once(round, "measure", lambda: _measure(run, round), quiet=True)


def _measure(run: Run, round: int) -> dict[str, Any]:
    policy = run.left(round, "draw")["policy"]
    known = run.store.rows(
        "select gate_id from gates where run_id = $run and candidate_id = $model",
        {"run": run.run_id, "model": policy},
    )
    if known:
        return {"gate_id": known[0]["gate_id"], "known": True}
    judge = run.recipe.gate_judge
    held = _held(run, round, policy, purpose="gate")
    gate_id = record_starter(
        run.store,
        model_id=policy,
        held=held,
        judge=judge,
        judge_id=_judge_id(run),
        run_id=run.run_id,
    )
    return {"gate_id": gate_id, "known": False}


def train_candidate(run: Run, round: int) -> dict[str, Any]:
    """Train the candidate of a round from its policy, in a child process."""
    return run.once(round, "train", lambda: _train(run, round))


def _train(run: Run, round: int) -> dict[str, Any]:
    recipe = run.recipe
    kind = recipe.training.kind
    dataset = "preference" if kind == "dpo" else "sft"
    frozen = run.left(round, "freeze").get(dataset)
    if frozen is None:
        raise UserError(
            f"round {round} made no {dataset} rows to train on",
            next='prefactory sql "select * from drops_by_reason"',
        )
    settings = recipe.training.dpo if kind == "dpo" else recipe.training.sft
    return train_on(
        run.store,
        kind=kind,
        policy=run.left(round, "draw")["policy"],
        version_id=frozen["version_id"],
        settings={"seed": recipe.seed, **settings},
        scratch=run.scratch(round, "train"),
        name=f"{recipe.name}-{round}",
        round=round,
        run_id=run.run_id,
        progress=run.progress,
    )


def train_on(
    store: Store,
    *,
    kind: str,
    policy: str,
    version_id: str,
    settings: Mapping[str, Any],
    scratch: Path,
    name: str,
    round: int | None,
    run_id: str,
    progress: Progress,
) -> dict[str, Any]:
    """Train a model on a dataset version; the checkpoint's place is known before it is trained."""
    from factory.sampling.identity import identify
    from factory.training.verb import TrainConfig, TrainJob, train

    config = models.validated(TrainConfig, settings, f"training.{kind}")
    models.trainable(config, f"training.{kind}")
    policy_dir = models.whole(models.check_unchanged(store, policy))
    checkpoint_id = content_id("checkpoint", [kind, policy, version_id, config.effective()])
    identity = identify(policy_dir)
    job = TrainJob(
        kind="dpo" if kind == "dpo" else "sft",
        model_dir=policy_dir,
        dataset_dir=store.workspace / "datasets" / version_id,
        out_dir=store.workspace / "models" / checkpoint_id,
        work_dir=scratch,
        config=config,
        reference_cache=store.workspace / "reference.sqlite",
        tokenizer_digest=identity.tokenizer_digest,
        template_digest=identity.template_digest,
    )
    with models.training_devices(store, job, note=progress.note) as env:
        result = train(job, log=scratch / "train.log", on_progress=models.relay(progress), env=env)
    model_id = models.register(
        store, result.out_dir, kind="policy", parent=policy, run_id=run_id, name=name
    )
    row = {
        "checkpoint_id": checkpoint_id,
        "model_id": model_id,
        "parent_model_id": policy,
        "kind": kind,
        "version_id": version_id,
        "path": str(result.out_dir),
        "config": config.model_dump_json(),
        "steps": result.steps,
        "loss_first": result.loss_first,
        "loss_last": result.loss_last,
        "round": round,
    }
    store.append("checkpoints", [row], run_id=run_id)
    _keep_drops(store, result.drops_file, round=round, run_id=run_id)
    left = {"model_id": model_id, "checkpoint_id": checkpoint_id, "steps": result.steps}
    return {**left, "path": str(result.out_dir), "dropped": result.dropped}


def _keep_drops(store: Store, file: Path | None, *, round: int | None, run_id: str) -> None:
    if file is None or not file.exists():
        return
    lines = file.read_text(encoding="utf-8").splitlines()
    items = [{**json.loads(line), "item_kind": "pair", "round": round} for line in lines]
    store.drop("train", items, run_id=run_id)


def hold_out(run: Run, round: int) -> dict[str, Any]:
    """The candidate answers exactly the held-out prompts that the policy answered."""
    return run.once(round, "hold-out", lambda: _hold_out(run, round), quiet=True)


def _hold_out(run: Run, round: int) -> dict[str, Any]:
    from factory.prompting.draw import append_draws

    candidate = run.left(round, "train")["model_id"]
    append_draws(
        run.store,
        prompt_ids=_gate_prompts(run, round),
        model_id=candidate,
        params_id=run.recipe.sampling.params().params_id,
        seed=run.recipe.seed,
        n=run.recipe.gate.samples,
        round=round,
        purpose="candidate",
        run_id=run.run_id,
    )
    return {"candidate": candidate}


def decide(run: Run, round: int) -> dict[str, Any]:
    """Compare candidate and champion on the held-out prompts; promote only a clear winner."""
    return run.once(round, "gate", lambda: _decide(run, round))


def _decide(run: Run, round: int) -> dict[str, Any]:
    policy = run.left(round, "draw")["policy"]
    return compare(run, round, policy, run.left(round, "train")["model_id"])


def compare(run: Run, round: int, champion: str, candidate: str) -> dict[str, Any]:
    """The gate over what both answered; writes the record and moves the pointer for a winner."""
    decision = gate(
        run.store,
        line=run.recipe.policy.line,
        champion_id=champion,
        candidate_id=candidate,
        champion=_held(run, round, champion, purpose="gate"),
        candidate=_held(run, round, candidate, purpose="candidate"),
        judge=run.recipe.gate_judge,
        judge_id=_judge_id(run),
        confidence=run.recipe.gate.confidence,
        min_win_rate=run.recipe.gate.min_win_rate,
        round=round,
        run_id=run.run_id,
    )
    return {
        "promoted": decision.promoted,
        "reason": decision.reason,
        "win": asdict(decision.win),
        "candidate": candidate,
    }


def _held(run: Run, round: int, model_id: str, *, purpose: str) -> HeldOut:
    units, unreached = held_out_units(run, round, purpose=purpose, model_id=model_id)
    return held_out(
        run.store,
        model_id=model_id,
        params_id=run.recipe.sampling.params().params_id,
        seed=run.recipe.seed,
        judge=run.recipe.gate_judge,
        units=units,
        samples=run.recipe.gate.samples,
        unreached=unreached,
    )


def _gate_prompts(run: Run, round: int) -> list[str]:
    rows = run.store.rows(
        "select distinct prompt_id from draws "
        "where run_id = $run_id and round = $round and purpose = 'gate' "
        "and coalesce(wave, 0) = 0 order by 1",
        {"run_id": run.run_id, "round": round},
    )
    return [row["prompt_id"] for row in rows]


def _judge_id(run: Run) -> str:
    rows = run.store.rows(
        "select judge_id from judgements "
        "left join pointers on name = 'judge:' || judge and value = judge_id "
        "where judge = $judge order by greatest(created_at, moved_at) desc limit 1",
        {"judge": run.recipe.gate_judge},
    )
    return rows[0]["judge_id"] if rows else ""

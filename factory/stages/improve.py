"""Stages that improve the policy: train a candidate, measure it, promote it if it wins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from factory.errors import UserError
from factory.gating import HeldOut, gate, held_out, record_starter
from factory.rows import content_id
from factory.stages import models
from factory.stages.run import Run


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
    held = _held(run, round, policy)
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
    from factory.sampling.identity import identify
    from factory.training.verb import TrainConfig, TrainJob, train

    recipe, store = run.recipe, run.store
    kind = recipe.training.kind
    dataset = "preference" if kind == "dpo" else "sft"
    frozen = run.left(round, "freeze").get(dataset)
    if frozen is None:
        raise UserError(
            f"round {round} made no {dataset} rows to train on",
            next='prefactory sql "select * from drops_by_reason"',
        )
    settings = recipe.training.dpo if kind == "dpo" else recipe.training.sft
    config = models.validated(TrainConfig, {"seed": recipe.seed, **settings}, f"training.{kind}")
    policy = run.left(round, "draw")["policy"]
    policy_dir = models.check_unchanged(store, policy)
    checkpoint_id = content_id(
        "checkpoint", [kind, policy, frozen["version_id"], config.effective()]
    )
    identity = identify(policy_dir)
    job = TrainJob(
        kind=kind,
        model_dir=policy_dir,
        dataset_dir=store.workspace / "datasets" / frozen["version_id"],
        out_dir=store.workspace / "models" / checkpoint_id,
        work_dir=run.scratch(round, "train"),
        config=config,
        reference_cache=store.workspace / "reference.sqlite",
        tokenizer_digest=identity.tokenizer_digest,
        template_digest=identity.template_digest,
    )
    result = train(job, log=run.log(round, "train"), on_progress=models.relay(run.progress))
    model_id = models.register(
        store, result.out_dir, kind="policy", parent=policy, run_id=run.run_id,
        name=f"{recipe.name}-{round}",
    )  # fmt: skip
    row = {
        "checkpoint_id": checkpoint_id,
        "model_id": model_id,
        "parent_model_id": policy,
        "kind": kind,
        "version_id": frozen["version_id"],
        "path": str(result.out_dir),
        "config": config.model_dump_json(),
        "steps": result.steps,
        "loss_first": result.loss_first,
        "loss_last": result.loss_last,
        "round": round,
    }
    store.append("checkpoints", [row], run_id=run.run_id)
    _keep_drops(run, round, result)
    return {"model_id": model_id, "checkpoint_id": checkpoint_id, "steps": result.steps}


def _keep_drops(run: Run, round: int, result: Any) -> None:
    import json

    if result.drops_file is None or not result.drops_file.exists():
        return
    lines = result.drops_file.read_text(encoding="utf-8").splitlines()
    items = [{**json.loads(line), "item_kind": "pair", "round": round} for line in lines]
    run.store.drop("train", items, run_id=run.run_id)


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
    candidate = run.left(round, "train")["model_id"]
    decision = gate(
        run.store,
        line=run.recipe.policy.line,
        champion_id=policy,
        candidate_id=candidate,
        champion=_held(run, round, policy),
        candidate=_held(run, round, candidate),
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


def _held(run: Run, round: int, model_id: str) -> HeldOut:
    return held_out(
        run.store,
        model_id=model_id,
        params_id=run.recipe.sampling.params().params_id,
        seed=run.recipe.seed,
        judge=run.recipe.gate_judge,
        prompt_ids=_gate_prompts(run, round),
        samples=run.recipe.gate.samples,
    )


def _gate_prompts(run: Run, round: int) -> list[str]:
    rows = run.store.rows(
        "select distinct prompt_id from draws "
        "where run_id = $run_id and round = $round and purpose = 'gate' order by 1",
        {"run_id": run.run_id, "round": round},
    )
    return [row["prompt_id"] for row in rows]


def _judge_id(run: Run) -> str:
    rows = run.store.rows(
        "select judge_id from judgements where judge = $judge order by created_at desc limit 1",
        {"judge": run.recipe.gate_judge},
    )
    return rows[0]["judge_id"] if rows else ""

"""Stages that turn completions into pairs: judge, pair, freeze."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from factory.stages import models
from factory.stages.run import Run

_ROUND = """
select distinct c.completion_id
from draws d
join completions c on c.prompt_id = d.prompt_id and c.model_id = d.model_id
  and c.params_id = d.params_id and c.seed = d.seed and c.sample_idx < d.n
where d.run_id = $run_id and d.round = $round and list_contains($purposes, d.purpose)
order by 1
"""


def completions_of(run: Run, round: int, purposes: list[str]) -> list[str]:
    """Ids of the completions that a round's draws asked for."""
    wanted = {"run_id": run.run_id, "round": round, "purposes": purposes}
    return [row["completion_id"] for row in run.store.rows(_ROUND, wanted)]


def judge(run: Run, round: int, wave: int = 0) -> dict[str, Any]:
    """Have every judge of the recipe score what the round has sampled for training so far.

    The held-out answers are scored by the gate's judge alone.
    """
    from factory.judging.verb import guarded, without_members

    def work() -> dict[str, Any]:
        recipe = run.recipe
        names = without_members(
            recipe.judging.judges, keep=recipe.pair_judge, workspace=run.store.workspace
        )
        judges = guarded(run.store, names)
        train = score(run, round, ["train"], judges)
        if wave:
            return {"train": train}
        return {"train": train, "gate": score(run, round, ["gate"], [run.recipe.gate_judge])}

    return run.once(round, f"judge-{wave}" if wave else "judge", work)


def judge_candidate(run: Run, round: int) -> dict[str, Any]:
    """Have the gate's judge score the candidate's held-out answers."""
    names = [run.recipe.gate_judge]
    return run.once(round, "judge-candidate", lambda: score(run, round, ["candidate"], names))


def score(run: Run, round: int, purposes: list[str], judges: list[str]) -> dict[str, Any]:
    """Have judges score the completions of some of a round's draws."""
    from factory.judging.verb import judge as judge_completions

    recipe = run.recipe.judging
    report = judge_completions(
        run.store,
        judges=judges,
        completion_ids=completions_of(run, round, purposes),
        judging=recipe,
        seed=run.recipe.seed,
        run_id=run.run_id,
        # An error is no answer: a stage that is done again asks once more.
        retry=["error"],
        log=run.log(round, "judge"),
        on_progress=run.progress.advance,
        tokenise=models.tokeniser_of_answers(run.store),
    )
    return report.as_dict()


def pair(run: Run, round: int) -> dict[str, Any]:
    """Build the round's pairs and rejection-sampled SFT examples with SQL."""
    return run.once(round, "pair", lambda: _pair(run, round))


def _pair(run: Run, round: int) -> dict[str, Any]:
    from factory.judging.sources import asked_last
    from factory.pairing import Scope, build_pairs, build_sft

    recipe = run.recipe
    # Another recipe may have asked a judge of this name in between: this round's verdicts count.
    judged = run.left(round, "judge")["train"]
    asked_last(run.store, {n: j["judge_id"] for n, j in judged.items()}, run_id=run.run_id)
    policy = run.left(round, "draw")["policy"]
    scope = Scope(
        run_id=run.run_id, round=round, judges=(recipe.pair_judge,), policy_model_id=policy
    )
    common: dict[str, Any] = {"scope": scope, "run_id": run.run_id, "round": round}
    pairs = build_pairs(
        run.store,
        strategy=recipe.pairing.strategy,
        params={"seed": recipe.seed, **recipe.pairing.params},
        **common,
    )
    left: dict[str, Any] = {"pairs": asdict(pairs)}
    if recipe.pairing.sft is not None:
        sft = build_sft(
            run.store,
            strategy=recipe.pairing.sft,
            params={"seed": recipe.seed, **recipe.pairing.sft_params},
            **common,
        )
        left["sft"] = asdict(sft)
    return left


def freeze(run: Run, round: int) -> dict[str, Any]:
    """Freeze the round's pairs and SFT examples as immutable dataset versions."""
    return run.once(round, "freeze", lambda: _freeze(run, round))


def _freeze(run: Run, round: int) -> dict[str, Any]:
    from factory.exporting import freeze as freeze_version

    made = run.left(round, "pair")
    left: dict[str, Any] = {}
    kinds: tuple[tuple[Literal["preference", "sft"], str], ...]
    kinds = (("preference", "pairs"), ("sft", "sft"))
    for kind, key in kinds:
        if made.get(key, {}).get("pairs"):
            version = freeze_version(
                run.store,
                kind=kind,
                strategy_id=made[key]["strategy_id"],
                name=f"{run.recipe.name}-{round}-{kind}",
                recipe_id=run.recipe.recipe_id,
                run_id=run.run_id,
                round=round,
                build_id=made[key].get("build_id"),
            )
            left[kind] = {"version_id": version.version_id, "rows": version.n_rows}
    return left

"""Single verbs typed by hand: the same rooms as a run, without a recipe's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UserError
from factory.recipe import Recipe, Sampling, load
from factory.stages import cluster, models, waves
from factory.stages.by_hand import run_by_hand
from factory.stages.crew import Crew
from factory.stages.progress import Progress
from factory.stages.run import Run
from factory.store import Store

if TYPE_CHECKING:
    from factory.sampling.verb import Shard


def tokeniser(model_dir: Path) -> Callable[[Any, str], Any]:
    """Tokenises recorded text once, as one model's tokenizer reads it."""
    from factory.sampling.render import tokenise_completion

    def tokenise(messages: Any, text: str) -> tuple[list[int], list[int]]:
        found = tokenise_completion(model_dir, messages, text)
        return found.prompt_token_ids, found.token_ids

    return tokenise


def sample(
    store: Store,
    *,
    model: str,
    pools: Sequence[str],
    recipe: str | None,
    n: int | None,
    limit: int | None,
    split: str,
    overrides: Sequence[str],
    progress: Progress,
) -> dict[str, Any]:
    """Sample a model on the prompts of some pools, sorted by id."""
    settings, seed = _sampling(store, recipe, overrides)
    # A raised budget goes on with the same run: what it spent stays spent.
    kept = [o for o in overrides if not o.removeprefix("sampling.").startswith("budget_usd=")]
    words = {
        "model": model, "recipe": recipe, "pools": pools, "n": n, "limit": limit, "split": split,
        "set": kept,
    }  # fmt: skip
    with run_by_hand(store, "sample", words) as run_id:
        model_id = models.find(store, model, kind="policy", run_id=run_id)
        prompt_ids = _prompts(store, pools=pools, split=split, limit=limit)
        prompts = len(prompt_ids)
        shards = _planned(
            store, prompt_ids, settings, n=n or settings.n, model_id=model_id, seed=seed,
            run_id=run_id,
        )  # fmt: skip
        del prompt_ids  # the shards have them packed
        added = _sample(store, shards, settings, run_id=run_id, progress=progress)
    return {"model_id": model_id, "prompts": prompts, "run_id": run_id, "added": added}


def _planned(
    store: Store,
    prompt_ids: Sequence[str],
    settings: Sampling,
    *,
    n: int,
    model_id: str,
    seed: int,
    run_id: str,
) -> list[Shard]:
    """The shards that these prompts still lack of a model."""
    from factory.sampling.verb import plan

    path = models.parts(models.check_unchanged(store, model_id))[0]
    asked = waves.grouped(
        waves.variety_of(store, settings), prompt_ids, model_id=model_id, seed=seed, n=n
    )
    shards: list[Shard] = []
    for (params, count), ids in asked.items():
        draw = {
            "model_id": model_id, "params_id": params.params_id, "seed": seed, "n": count,
            "prompt_ids": ids,
        }  # fmt: skip
        shards += plan(
            store, draws=[draw], params=params, model_dir=path, shard_size=settings.shard,
            max_model_len=settings.context, run_id=run_id,
        )  # fmt: skip
    return shards


def _sample(
    store: Store,
    shards: Sequence[Shard],
    settings: Sampling,
    *,
    run_id: str,
    progress: Progress,
) -> int:
    if not shards:
        return 0
    progress.stage(0, "sample", total=sum(shard.n_completions for shard in shards))
    folder = store.workspace / "runs" / run_id
    crew = Crew(
        store, settings, run_id=run_id, log=lambda name: folder / f"sample-{name}.log",
        note=progress.note, elsewhere=cluster.pool,
    )  # fmt: skip
    added = 0
    try:
        crew.begin(shards)
        for shard in shards:
            made = crew.sample(shard)
            progress.advance(made)
            added += made
    finally:
        crew.close()
    if lacking := sum(shard.n_completions for shard in shards) - added:
        progress.note(
            f"{lacking} completions were not added; what was dropped and why: prefactory sql "
            "\"select reason, count(*) as n from drops where stage = 'sample' group by 1\""
        )
    return added


def _sampling(store: Store, recipe: str | None, overrides: Sequence[str]) -> tuple[Sampling, int]:
    """Sampling settings and seed: a recipe's, or the defaults with flags on top."""
    if recipe is not None:
        loaded = load(recipe, workspace=store.workspace, overrides=overrides)
        return loaded.sampling, loaded.seed
    given = models.nested(overrides, section="sampling")
    return models.validated(Sampling, given, "sampling"), 0


# As a round draws them: a prompt that came with recorded answers may have no text, and one that was
# found to be contaminated after it was added is asked no more.
_TO_ASK = """
with contaminated as (
  select prompt_id, json_extract_string(try_cast(detail as json), '$.pool') as pool
  from drops where stage = 'expand' and reason = 'contaminated'
)
select p.prompt_id
from prompts p
anti join contaminated c on c.prompt_id = p.prompt_id and c.pool = p.pool
where p.split = $split and p.messages is not null and p.parent_completion_id is null
  and (len($pools::varchar[]) = 0 or list_contains($pools::varchar[], p.pool))
order by 1
limit $limit
"""


def _prompts(store: Store, *, pools: Sequence[str], split: str, limit: int | None) -> list[str]:
    found = store.query(_TO_ASK, {"split": split, "pools": list(pools), "limit": limit or 2**62})
    if found.num_rows == 0:
        raise UserError(
            f"no prompt of split {split} in {', '.join(pools) or 'any pool'}",
            next="prefactory prompts add FILE",
        )
    return found.column("prompt_id").to_pylist()


def pair(
    store: Store,
    *,
    strategy: str,
    judge: str | None,
    pools: Sequence[str],
    params: Mapping[str, Any],
    dry_run: bool,
) -> dict[str, Any]:
    """Build pairs or an SFT set over everything a judge scored."""
    from factory import rooms
    from factory.pairing import Scope, build_pairs, build_sft, load_strategy

    found = load_strategy(strategy, workspace=store.workspace)
    if dry_run:
        sql = rooms.read("storage/strategies", strategy, suffix=".sql", workspace=store.workspace)
        return {"sql": sql.text}
    chosen = judge or _only_judge(store)
    words = {"strategy": strategy, "judge": chosen, "pools": pools, "params": params}
    scope = Scope(pools=tuple(pools), judges=(chosen,))
    build = build_sft if found.kind == "sft" else build_pairs
    # The step says what was built last, also where every row of it was there already.
    with (
        run_by_hand(store, "pair", words) as run_id,
        store.ledger.step(run_id, 0, "pair") as step,
    ):
        report = build(
            store, strategy=strategy, scope=scope, params=dict(params), run_id=run_id, round=None
        )
        step.detail = {found.kind: asdict(report)}
    return {**asdict(report), "run_id": run_id}


def _only_judge(store: Store) -> str:
    judges = [row["judge"] for row in store.rows("select distinct judge from scores order by 1")]
    if len(judges) != 1:
        raise UserError(
            f"{len(judges)} judges scored here: {', '.join(judges) or 'none'}; say whose scores",
            next="prefactory pair --strategy NAME --judge NAME",
        )
    return judges[0]


def export(
    store: Store,
    *,
    form: str,
    out: Path,
    version: str | None,
    strategy: str | None,
    test_share: float,
) -> dict[str, Any]:
    """Write a dataset version in a shape; freeze one first where a strategy is named."""
    from factory.exporting import export as write

    chosen = version or _version(store, strategy)
    found = write(store, chosen, format=form, out=out, test_share=test_share)
    return found.as_dict()


# A build that found all its rows in the store is as new as any: the steps say when it was, the
# tables alone would name an older one.
_BUILT = """
with finished as (
  select run_id, round, ended_at, detail::json as detail
  from steps where stage = 'pair' and state = 'done'
),
said as (
  select 'preference' as kind, run_id, round, ended_at, detail->'pairs' as made from finished
  union all
  select 'sft' as kind, run_id, round, ended_at, detail->'sft' as made from finished
)
select
  kind, run_id, round, made->>'strategy' as strategy, made->>'strategy_id' as strategy_id,
  made->>'build_id' as build_id
from said
where made is not null
  and ($strategy::varchar is null or made->>'strategy' = $strategy::varchar)
order by ended_at desc, kind
limit 1
"""


def _version(store: Store, strategy: str | None) -> str:
    """The newest pairs (or rows of a strategy) as a version; the same rows are the same version."""
    from factory.exporting import freeze

    built = store.rows(_BUILT, {"strategy": strategy})
    if not built:
        raise UserError(
            f"there are no pairs{f' of strategy {strategy}' if strategy else ''} to export",
            next="prefactory pair --strategy best_vs_worst",
        )
    row = built[0]
    made = freeze(
        store,
        kind=row["kind"],
        strategy_id=row["strategy_id"],
        name=row["strategy"],
        recipe_id="",
        run_id=row["run_id"],
        round=row["round"] or None,
        build_id=row["build_id"],
    )
    return made.version_id


def train(
    store: Store,
    *,
    kind: str,
    version: str,
    base: str | None,
    line: str,
    overrides: Sequence[str],
    progress: Progress,
) -> dict[str, Any]:
    """Train a checkpoint on a dataset version, from the champion or a named model."""
    from factory.gating import champion_of
    from factory.stages.improve import train_on

    found = store.rows(
        "select version_id from dataset_versions where starts_with(version_id, $v)", {"v": version}
    )
    if len(found) != 1:
        raise UserError(
            f"{version} names {len(found)} dataset versions",
            next='prefactory sql "select version_id, name, kind, n_rows from dataset_versions"',
        )
    named = base or champion_of(store, line)
    if named is None:
        raise UserError(f"line {line!r} has no champion to start from", next="--base MODEL_DIR")
    words = {"kind": kind, "version": found[0]["version_id"], "base": named, "set": overrides}
    with run_by_hand(store, f"train {kind}", words) as run_id:
        policy = models.find(store, named, kind="policy", run_id=run_id)
        progress.stage(0, f"train {kind}")
        return train_on(
            store,
            kind=kind,
            policy=policy,
            version_id=found[0]["version_id"],
            settings=dict(models.given(overrides)),
            scratch=store.workspace / "runs" / run_id,
            name=f"{kind}-by-hand",
            round=None,
            run_id=run_id,
            progress=progress,
        )


def gate(store: Store, *, recipe: Recipe, candidate: str, progress: Progress) -> dict[str, Any]:
    """Put a model through a recipe's gate: both answer, the judge scores, the bound decides."""
    from factory.gating import champion_of
    from factory.prompting.draw import append_draws, draw_prompts
    from factory.stages import improve, label
    from factory.stages import sample as sampling
    from factory.stages.plan import check_gate_judge

    check_gate_judge(recipe, workspace=store.workspace)
    champion = champion_of(store, recipe.policy.line)
    if champion is None:
        raise UserError(
            f"line {recipe.policy.line!r} has no champion", next=f"prefactory run {recipe.name}"
        )
    words = {"recipe": recipe.recipe_id, "champion": champion, "candidate": candidate}
    with run_by_hand(store, "gate", words) as run_id:
        challenger = models.find(store, candidate, kind="policy", run_id=run_id)
        run = Run(store, recipe, rounds=0, run_id=run_id, progress=progress)
        found = draw_prompts(
            store, run_id=run_id, round=1, n=recipe.gate.prompts, purpose="gate",
            pools={pool.name: pool.weight for pool in recipe.prompts.pools}, seed=recipe.seed,
            reuse=True,
        )  # fmt: skip
        for purpose, model_id in (("gate", champion), ("candidate", challenger)):
            append_draws(
                store, prompt_ids=found.prompt_ids, model_id=model_id,
                params_id=recipe.sampling.params().params_id, seed=recipe.seed,
                n=recipe.gate.samples, round=1, purpose=purpose, run_id=run_id,
            )  # fmt: skip
        with sampling.gate_session(run, 1) as session:
            for shard in session.shards():
                session.sample(shard)
        label.score(run, 1, ["gate", "candidate"], [recipe.gate_judge])
        return improve.compare(run, 1, champion, challenger)

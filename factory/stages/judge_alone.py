"""`judge` typed by hand: one judge over what some flags choose, its bill, its stored answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

from factory.errors import UserError
from factory.recipe import load
from factory.recipe.endpoint import PACE
from factory.recipe.model import Judging
from factory.rows import Status
from factory.stages import models
from factory.stages.by_hand import run_by_hand
from factory.stages.progress import Progress
from factory.store import Store


def judge(
    store: Store,
    *,
    judge: str,
    recipe: str | None,
    pools: Sequence[str],
    model: str | None,
    limit: int | None,
    retry: Sequence[str],
    overrides: Sequence[str],
    progress: Progress,
    times: int = 1,
) -> dict[str, Any]:
    """Have one judge score completions that some flags choose."""
    from factory.judging.verb import guarded
    from factory.judging.verb import judge as judge_completions

    again = statuses(retry)
    settings, seed = _judging(store, judge, recipe, overrides)
    ids = _completions(store, pools=pools, model=model, limit=limit)
    # A raised budget, another pace and a retry go on with the same run: what it spent stays spent.
    kept = [o for o in overrides if not _is_pace(o.partition("=")[0].removeprefix("judging."))]
    words = {
        "judge": judge, "recipe": recipe, "pools": pools, "model": model, "limit": limit,
        "set": kept, **({"times": times} if times > 1 else {}),
    }  # fmt: skip
    with run_by_hand(store, "judge", words) as run_id:
        progress.stage(0, f"judge {judge}")
        asked = guarded(store, [judge])
        report = judge_completions(
            store, judges=asked, completion_ids=ids, judging=settings, seed=seed,
            run_id=run_id, replicates=times, retry=again, on_progress=progress.advance,
            tokenise=models.tokeniser_of_answers(store),
        )  # fmt: skip
    found = report.as_dict()
    # A panel that asks in turn: what its members were asked, and what that cost.
    members = {name: found[name] for name in found if name not in asked}
    return {"run_id": run_id, **found[judge], **({"members": members} if members else {})}


def bill(
    store: Store,
    *,
    judge: str,
    recipe: str | None,
    pools: Sequence[str],
    model: str | None,
    limit: int | None,
    retry: Sequence[str],
    overrides: Sequence[str],
    times: int = 1,
) -> dict[str, Any]:
    """What `judge` with the same flags would ask and cost. Reads only; `first` is a request."""
    from factory.judging.preview import preview

    again = statuses(retry)
    settings, seed = _judging(store, judge, recipe, overrides)
    ids = _completions(store, pools=pools, model=model, limit=limit)
    (found,) = preview(
        store, judges=[judge], completion_ids=ids, judging=settings, seed=seed, replicates=times,
        retry=again,
    )  # fmt: skip
    return {"completions": len(ids), "endpoint": settings.endpoint_of(judge), **asdict(found)}


def reparse(
    store: Store,
    *,
    judge: str,
    recipe: str | None,
    from_judge_id: str | None,
    overrides: Sequence[str],
) -> dict[str, Any]:
    """Read a judge's stored answers with the present parser: new rows, no call, no cost."""
    from factory.judging.reparse import reparse as read_again
    from factory.judging.verb import source_for

    settings, _ = _judging(store, judge, recipe, overrides)
    source = source_for(store, judge, settings)
    words = {"judge": judge, "recipe": recipe, "from": from_judge_id, "set": overrides}
    with run_by_hand(store, "reparse", words) as run_id:
        found = read_again(
            store, source, run_id=run_id, from_judge_id=from_judge_id,
            tokenise=models.tokeniser_of_answers(store),
        )  # fmt: skip
    return {
        "run_id": run_id,
        "judge": judge,
        "judge_id": source.judge_id,
        "made": found.total(),
        "statuses": dict(sorted(found.items())),
    }


def statuses(words: Sequence[str]) -> list[Status]:
    """Statuses of judgements as typed.

    Raises:
        UserError: for a word that is none, and for `ok`: a verdict is not bought twice.
    """
    may: list[Status] = [status for status in get_args(Status) if status != "ok"]
    for word in words:
        if word not in may:
            raise UserError(f"--retry {word}: there are {', '.join(may)}", next="--retry error")
    return [status for status in may if status in words]


def _is_pace(field: str) -> bool:
    """Whether a field of `judging` says how fast and for how much is judged, and not what."""
    if field in {"budget_usd", "shard"}:
        return True
    parts = field.split(".")
    return parts[0] == "endpoints" and len(parts) > 2 and parts[2] in {*PACE, "in_doubt"}


def _judging(
    store: Store, judge: str, recipe: str | None, overrides: Sequence[str]
) -> tuple[Judging, int]:
    if recipe is not None:
        loaded = load(recipe, workspace=store.workspace, overrides=overrides)
        return loaded.judging, loaded.seed
    given = {"judges": [judge], **models.nested(overrides, section="judging")}
    return models.validated(Judging, given, "judging"), 0


def _completions(
    store: Store, *, pools: Sequence[str], model: str | None, limit: int | None
) -> list[str]:
    rows = store.rows(
        "select c.completion_id from completions c join prompts p using (prompt_id) "
        "where (len($pools::varchar[]) = 0 or list_contains($pools::varchar[], p.pool)) "
        "and ($model::varchar is null or starts_with(c.model_id, $model::varchar)) "
        "and c.text is not null and p.messages is not null "
        # Prompt by prompt: a judge that compares finds no two answers of one prompt elsewhere.
        "order by c.prompt_id, c.completion_id limit $limit",
        {"pools": list(pools), "model": model, "limit": limit or 2**62},
    )
    if not rows:
        raise UserError("no completion with a text fits these flags", next="prefactory stats")
    return [row["completion_id"] for row in rows]

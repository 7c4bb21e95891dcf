"""The exactness check of a round: the engine's log-probabilities beside those of the weights.

A round whose difference is too large stops before a judge is paid for it.
"""

from __future__ import annotations

from typing import Any

from factory.errors import UserError
from factory.recipe.sampling import Exactness
from factory.stages import models
from factory.stages.run import Run
from factory.store import devices

_ROWS = """
select c.completion_id, coalesce(c.given_token_ids, c.prompt_token_ids) as prompt, c.token_ids,
  c.logprobs, c.engine, c.engine_version
from completions c
where c.model_id = $policy and list_contains($engines, c.engine) and not c.retokenised
  and c.logprobs is not null and c.n_tokens > 0
  and c.prompt_id in (
    select prompt_id from draws
    where run_id = $run_id and round = $round and purpose = 'train' and model_id = $policy
  )
order by md5(c.completion_id || '/' || $round::varchar)
limit $rows
"""


def check_exactness(run: Run, round: int) -> dict[str, Any]:
    """Compare log-probabilities of the policy's completions with a float32 forward pass, once.

    Raises:
        UserError: when they differ by more than the recipe allows.
    """
    settings = run.recipe.sampling.exactness
    if settings.rows == 0:
        return {"status": "off"}
    found = run.once(round, "exactness", lambda: _compare(run, round, settings), quiet=True)
    _require(found, settings, round=round)
    return found


def _compare(run: Run, round: int, settings: Exactness) -> dict[str, Any]:
    from factory.sampling.exactness import compare

    policy = run.left(round, "draw")["policy"]
    rows = run.store.rows(
        _ROWS,
        {
            "policy": policy, "engines": list(settings.engines), "run_id": run.run_id,
            "round": round, "rows": settings.rows,
        },
    )  # fmt: skip
    left: dict[str, Any] = {"model_id": policy, "status": "nothing"}
    if rows:
        model, adapter = models.parts(models.check_unchanged(run.store, policy))
        with devices.hold(run.store.ledger, size=1, note=run.progress.note) as (group,):
            difference = compare(
                model, rows, adapter=adapter, log=run.log(round, "exactness"), env=group.env
            )
        first = rows[0]
        left |= {"engine": first["engine"], "engine_version": first["engine_version"]}
        left |= difference.as_dict()
    if left["status"] == "failed":
        run.progress.note(f"exactness was not measured: {left['detail']}")
    return left


def _require(found: dict[str, Any], settings: Exactness, *, round: int) -> None:
    """Stop a round whose log-probabilities are not those of its weights."""
    look = f'prefactory sql "from exactness where round = {round}"'
    if found["status"] == "not_finite":
        raise UserError(
            f"the forward pass of model {found['model_id']} gives no numbers: {found['detail']}",
            next=f"{look}  # or --set sampling.exactness.rows=0",
        )
    if found["status"] != "ok":
        return
    if found["median"] > settings.max_median or found["p99"] > settings.max_p99:
        raise UserError(
            f"log-probabilities of {found['engine']} differ from a float32 forward pass by "
            f"{found['median']:.4f} nats a token (median; {settings.max_median} is allowed) and "
            f"{found['p99']:.4f} (99th percentile; {settings.max_p99})",
            next=f"{look}  # or allow more: --set sampling.exactness.max_median=…",
        )

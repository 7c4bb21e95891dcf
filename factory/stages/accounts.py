"""Who pays for the calls that an engine makes to servers, and what they cost.

A price is the model's own (`price` in its file, or in `sampling.settings`), else that of
judges/prices.yaml for its name. The budget is the run's, for all that it samples from servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from factory.errors import RecipeError
from factory.recipe import Sampling
from factory.store import Store

if TYPE_CHECKING:
    from factory.sampling.requests import Account


def account_of(
    store: Store,
    sampling: Sampling,
    *,
    model_id: str,
    settings: Mapping[str, object],
    run_id: str,
    budget_id: str | None = None,
) -> Account:
    """The account of one model's calls.

    Args:
        store: whose ledger keeps them.
        sampling: the recipe's section, for its budget.
        model_id: the model that is asked.
        settings: of its engine.
        run_id: the run that asks.
        budget_id: what pays where `sampling.budget_usd` does not say.

    Raises:
        RecipeError: when a budget cannot be kept, because nobody says what the model costs.
    """
    from factory.judging.client.prices import is_ours, price_of
    from factory.sampling.requests import Account

    if sampling.budget_usd is not None:
        budget_id = f"{run_id}/sampling"
        store.ledger.set_budget(budget_id, limit_microusd=round(sampling.budget_usd * 1_000_000))
    model = str(settings.get("model") or "")
    price = price_of(model, workspace=store.workspace)
    urls = settings.get("urls")
    asked = urls if isinstance(urls, list | tuple) else [settings.get("url")]
    known = price is not None or settings.get("price") is not None
    if budget_id is not None and not known and not all(is_ours(str(url)) for url in asked):
        raise RecipeError(
            f"nothing says what {model or 'the served model'} costs, so sampling.budget_usd "
            "cannot be kept",
            next="write `price: {input: 2.5, output: 10}` into the model's file, or into "
            "sampling.settings  # dollars per million tokens",
        )
    return Account(
        ledger=store.ledger, model_id=model_id, run_id=run_id, budget_id=budget_id, price=price
    )

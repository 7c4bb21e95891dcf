"""A model's name at a server of ours says nothing about its weights: who else has answered to it?

A call and a judgement are known by the model's name, so that a server that moves is not paid anew.
Two servers that serve different weights under one name need a `revision`; nobody but their user
knows that they do.
"""

from __future__ import annotations

import logging

from factory.judging.client.prices import is_ours
from factory.recipe import Endpoint
from factory.store import Ledger

log_ = logging.getLogger(__name__)


def tell_of_others(ledger: Ledger, endpoint: Endpoint, *, name: str) -> None:
    """Warn once where a name is asked at a new URL, and its answers so far came from another one.

    Args:
        ledger: remembers where a model was asked.
        endpoint: about to be asked.
        name: its name in the recipe.
    """
    if endpoint.base_url is None or endpoint.revision is not None:
        return
    others = ledger.first_asked_at(endpoint.model, endpoint.base_url)
    if others and any(is_ours(url) for url in (endpoint.base_url, *others)):
        log_.warning(
            "%s was asked at %s before and is now asked at %s: their answers count as one model's. "
            "If the weights differ, --set judging.endpoints.%s.revision=WORD",
            endpoint.model, others[-1], endpoint.base_url, name,
        )  # fmt: skip

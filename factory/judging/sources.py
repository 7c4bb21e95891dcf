"""A judge made ready: its file, and whom it asks: an endpoint, a reward model, members, nobody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from factory.errors import RecipeError, UserError
from factory.judging import files
from factory.judging.client.prices import priced
from factory.judging.files import Judge
from factory.judging.front import ASKING
from factory.judging.local import servers
from factory.judging.local.servers import by_weights
from factory.judging.local.weights import digest
from factory.judging.panels import deciding
from factory.judging.work import Source, source_of
from factory.recipe.model import Judging
from factory.store import Store


def source_for(store: Store, name: str, judging: Judging) -> Source:
    """A judge of the workspace with what the recipe gives it.

    Raises:
        UserError: when its file, endpoint, key, weights or members are missing or wrong, and for
            a guideline, which is people's to follow.
    """
    loaded = files.load(name, workspace=store.workspace)
    kind = loaded.front.kind
    if kind in ASKING:
        return _asking(store, loaded, judging)
    if kind == "reward_model":
        return _reward(store, loaded, judging)
    if kind == "panel":
        return _panel(store, loaded, judging)
    if kind == "human":
        raise UserError(
            f"judges/{name}.md is a guideline: people follow it, and no program can be asked",
            next="prefactory annotate, or prefactory import labels FILE for votes cast elsewhere",
        )
    return source_of(loaded)


def _asking(store: Store, judge: Judge, judging: Judging) -> Source:
    endpoint = judging.endpoint_of(judge.name)
    if endpoint is None:
        raise RecipeError(
            f"judge {judge.name} asks a model, and judging.endpoints names none",
            next="add judging.endpoints.NAME with base_url and model to the recipe",
        )
    chosen = judging.endpoints[endpoint]
    chosen.api_keys()  # a key that is not set is said before anything is planned
    limited = judging.budget_usd is not None
    known = priced(chosen, name=endpoint, workspace=store.workspace, budget=limited)
    if known.base_url is not None:
        return source_of(judge, endpoint=known, endpoint_name=endpoint)
    served, directory = by_weights(known, workspace=store.workspace)
    options = dict(known.extra_body) | servers.meaning_of(known.settings) or None
    return Source(
        judge=judge,
        judge_id=judge.identity(served.model, options),
        endpoint=served,
        endpoint_name=endpoint,
        model=directory,
        model_id=served.model,
        options=options,
    )


def _reward(store: Store, judge: Judge, judging: Judging) -> Source:
    assert judge.front.reward is not None
    named = judging.models.get(judge.name) or judge.front.reward.model
    if not named:
        raise RecipeError(
            f"judge {judge.name} is a reward model, and nothing names its weights",
            next=f"add judging.models: {{{judge.name}: DIRECTORY}} to the recipe",
        )
    model = store.workspace / Path(named).expanduser()
    weights = digest(model)
    options = judge.front.reward.model_dump(include={"output", "dtype", "max_tokens", "engine"})
    return Source(
        judge=judge,
        judge_id=judge.identity(weights, options),
        endpoint=None,
        model=model,
        model_id=weights,
    )


def _panel(store: Store, judge: Judge, judging: Judging) -> Source:
    panel = judge.front.panel
    assert panel is not None
    loaded = [files.load(member, workspace=store.workspace) for member in panel.members]
    deciding.checked(panel, loaded, name=judge.name)
    members = tuple(source_for(store, member, judging) for member in panel.members)
    weights = deciding.weights_of(store, panel, name=judge.name)
    listed = tuple(weights[member] for member in panel.members)
    return Source(
        judge=judge,
        judge_id=judge.identity("", [[m.judge_id for m in members], list(listed)]),
        endpoint=None,
        members=members,
        weights=listed,
    )


_VERSIONS = """
select judge from judgements where list_contains($judges, judge)
group by judge having min(judge_id) <> max(judge_id)
"""


def asked_last(store: Store, asked: Mapping[str, str], *, run_id: str) -> None:
    """Write down which version of each judge (name -> judge_id) was asked last.

    An edit that was taken back, or a recipe that asks another model under one name, finds its
    verdicts in the store: without this the other version's are newer, and would make the labels.
    """
    edited = store.rows(_VERSIONS, {"judges": sorted(asked)}) if asked else []
    for name in sorted(row["judge"] for row in edited):
        store.ledger.point(f"judge:{name}", asked[name], reason="asked last", run_id=run_id)

"""Pools that are made, not read: `make: toyworld` in a recipe."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from factory.errors import RecipeError
from factory.prompting import toyworld
from factory.prompting.cleaning.cleaner import Cleaner, Finding
from factory.prompting.cleaning.tags import tagger_of
from factory.prompting.ingest import AddReport, Defaults, finished
from factory.prompting.writing import held
from factory.rows import Prompt
from factory.store import Store

_HELD = "select prompt_id, pool from prompts where prompt_id in (select unnest($ids))"


def _toyworld(rows: int, seed: int) -> Sequence[Prompt]:
    return [task.prompt for task in toyworld.make_tasks(rows, seed=seed)]


GENERATORS: Mapping[str, Callable[[int, int], Sequence[Prompt]]] = {"toyworld": _toyworld}
"""Name -> (rows, seed) -> prompts."""


def make_pool(
    store: Store,
    make: str,
    *,
    rows: int,
    seed: int,
    pool: str,
    run_id: str,
    license: str = "",
    domain: str = "",
    lang: str = "",
    gate: float = 0.1,
    dev: float = 0.02,
    cleaner: Cleaner | None = None,
) -> AddReport:
    """Make a pool's prompts; the same arguments make the same prompts, and add them once.

    What a generator says of a prompt (its domain, licence and language) goes before the arguments.

    Raises:
        RecipeError: no generator of that name, or more rows than it can make.
    """
    if make not in GENERATORS:
        near = difflib.get_close_matches(make, GENERATORS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(GENERATORS)}"
        raise RecipeError(
            f"pool {pool}: no generator makes {make!r}; {hint}",
            next=f"make: {near[0] if near else next(iter(GENERATORS))}  # in the recipe",
        )
    try:
        prompts = GENERATORS[make](rows, seed)
    except ValueError as bad:
        raise RecipeError(f"pool {pool}: {bad}", next="lower rows: in the recipe") from bad
    defaults = Defaults(pool=pool, gate=gate, dev=dev)
    made = [
        finished(
            prompt.messages,
            defaults,
            source=prompt.source,
            source_id=prompt.source_id,
            domain=prompt.domain or domain,
            lang=prompt.lang or lang,
            license=prompt.license or license,
            reference=prompt.reference,
            constraints=prompt.constraints,
        )
        for prompt in prompts
    ]
    tagger = tagger_of(store.workspace)
    for row in made:
        tagger.tag(row)
    return _add(store, made, make=make, pool=pool, run_id=run_id, cleaner=cleaner)


def _add(
    store: Store,
    made: Sequence[dict[str, Any]],
    *,
    make: str,
    pool: str,
    run_id: str,
    cleaner: Cleaner | None,
) -> AddReport:
    report = AddReport(pool=pool, mapping=f"made by {make}", read=len(made))
    there = {r["prompt_id"]: r["pool"] for r in held(store, _HELD, [p["prompt_id"] for p in made])}
    taken = [p for p in made if there.get(p["prompt_id"], pool) != pool]
    drops = [_drop(p, "duplicate", _where(p, there[p["prompt_id"]]), scope=pool) for p in taken]
    new: list[dict[str, Any]] = []
    for prompt, why in _looked_at([p for p in made if p["prompt_id"] not in there], cleaner):
        if why is None:
            new.append(prompt)
        else:
            own = {key: prompt[key] for key in ("pool", "source", "source_id")}
            detail = json.dumps({**own, **why.facts}, ensure_ascii=False)
            drops.append(_drop(prompt, why.reason, detail, scope=pool))
    report.added = store.append("prompts", new, run_id=run_id)
    report.present = sum(there.get(p["prompt_id"]) == pool for p in made)
    report.dropped.update(drop["reason"] for drop in drops)
    kept = {p["prompt_id"] for p in new}
    report.splits.update(
        p["split"] for p in made if p["prompt_id"] in kept or there.get(p["prompt_id"]) == pool
    )
    if cleaner is not None:
        report.contamination = cleaner.contamination()
        report.notes = [*cleaner.notes, *cleaner.verdicts()]
    store.drop("expand", drops, run_id=run_id)
    return report


def _looked_at(
    new: Sequence[dict[str, Any]], cleaner: Cleaner | None
) -> list[tuple[dict[str, Any], Finding | None]]:
    """Each new prompt, and why the cleaner leaves it out."""
    if cleaner is None:
        return [(prompt, None) for prompt in new]
    found = cleaner.screen(new)
    return [(p, why or cleaner.repeats(p)) for p, why in zip(new, found, strict=True)]


def _where(prompt: Mapping[str, Any], pool: str) -> str:
    own = {key: prompt[key] for key in ("pool", "source", "source_id")}
    return json.dumps({**own, "first": f"pool {pool}"}, ensure_ascii=False)


def _drop(prompt: Mapping[str, Any], reason: str, detail: str, *, scope: str) -> dict[str, str]:
    return {
        "item_kind": "prompt",
        "item_id": prompt["prompt_id"],
        "prompt_id": prompt["prompt_id"],
        "reason": reason,
        "detail": detail,
        "scope": scope,
    }

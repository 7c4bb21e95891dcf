"""What a maker asks, in order: every making is known by id before a model is asked.

A making's id is its maker's sha, the model, the sampling parameters, the seed, the pool, what it
starts from and which repetition it is. So a command that was killed and typed again finds what was
answered, and a parent that came later adds makings and changes none (but for a maker that is shown
several prompts at once: they are drawn anew).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.errors import RecipeError, UserError
from factory.prompting.makers.files import Constraint, Maker
from factory.rows import content_id
from factory.store import Store

_PARENTS = """
    with contaminated as (
        select prompt_id, json_extract_string(try_cast(detail as json), '$.pool') as pool
        from drops where stage = 'expand' and reason = 'contaminated'
    )
    select p.prompt_id, p.messages, p.domain, p.lang, p.license, p.reference
    from prompts p
    anti join contaminated c on c.prompt_id = p.prompt_id and c.pool = p.pool
    where p.pool in (select unnest($pools))
      -- What grows from a held-out prompt would carry it into training.
      and p.split = 'train'
      and json_extract_string(p.messages, '$[*].role') in (['user'], ['system', 'user'])
      and coalesce(p.constraints, '') = ''
    order by md5(p.prompt_id || $salt), p.prompt_id
    limit $most
"""


@dataclass(frozen=True, slots=True)
class Model:
    """Who writes: a model's id, and the id of the parameters it is sampled with."""

    model_id: str = ""
    params_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """One request to a maker's model, or one prompt that is put together without a model."""

    making_id: str
    messages: list[dict[str, str]]
    """What the model reads. Where it writes the user's turn: a system turn or nothing."""
    seed: int
    """Of the sampling, in [0, 2**31)."""
    replicate: int
    variant: str = ""
    persona: str = ""
    parents: tuple[Mapping[str, Any], ...] = ()
    constraints: Mapping[str, Any] | None = None
    """Ids and arguments, as the checkers read them."""

    @property
    def parent_ids(self) -> list[str]:
        """Ids of the prompts it starts from."""
        return [parent["prompt_id"] for parent in self.parents]


def parents_of(
    store: Store, maker: Maker, pools: Sequence[str], *, seed: int, most: int
) -> list[dict[str, Any]]:
    """The prompts a maker may start from, shuffled by the seed: train prompts of one user turn.

    Raises:
        UserError: there are none.
    """
    if not maker.has_parents:
        return []
    found = store.rows(_PARENTS, {"pools": list(pools), "salt": str(seed), "most": most})
    if not found:
        named = ", ".join(pools) or "no pool"
        raise UserError(
            f"maker {maker.name} starts from prompts, and {named} has no train prompt with one "
            "user turn and without constraints",
            next="prefactory prompts add FILE --pool seeds",
        )
    return found


def makings(
    maker: Maker, parents: Sequence[Mapping[str, Any]], *, pool: str, seed: int, model: Model
) -> Iterator[Making]:
    """Makings without end, every parent or persona once before any comes again."""
    at = 0
    while True:
        for group, persona, replicate in _subjects(maker, parents, at, seed=seed):
            yield _making(maker, group, persona, replicate, pool=pool, seed=seed, model=model)
        at += 1


def _subjects(
    maker: Maker, parents: Sequence[Mapping[str, Any]], at: int, *, seed: int
) -> Iterator[tuple[tuple[Mapping[str, Any], ...], str, int]]:
    """What one turn of makings is about: parents, a persona, and which repetition it is."""
    given = maker.front.given
    if given == "prompt":
        yield from (((parent,), "", at) for parent in parents)
    elif given == "prompts":
        rng = random.Random(f"examples {seed} {at}")
        yield tuple(rng.sample(parents, min(maker.front.examples, len(parents)))), "", at
    elif given == "persona":
        order = sorted(maker.personas, key=lambda who: content_id("persona", [who, seed]))
        yield from (((), who, at) for who in order)
    else:
        yield (), "", at


def _making(
    maker: Maker,
    parents: tuple[Mapping[str, Any], ...],
    persona: str,
    replicate: int,
    *,
    pool: str,
    seed: int,
    model: Model,
) -> Making:
    subject = [[p["prompt_id"] for p in parents], persona, replicate]
    identity = content_id(
        "making", [maker.sha, model.model_id, model.params_id, seed, pool, *subject]
    )
    rng = random.Random(f"{seed} {pool} {subject}")
    names = list(maker.front.variants)
    variant = rng.choice(names) if names else ""
    chosen: dict[str, Any] | None = None
    says: list[str] = []
    if not maker.asks:
        says, chosen = _constraints(maker, _said(parents[0]), rng)
    return Making(
        making_id=identity,
        messages=_rendered(maker, parents, persona, variant, says),
        seed=int(identity[:12], 16) % 2**31,
        replicate=replicate,
        variant=variant,
        persona=persona,
        parents=parents,
        constraints=chosen,
    )


def _rendered(
    maker: Maker,
    parents: Sequence[Mapping[str, Any]],
    persona: str,
    variant: str,
    says: Sequence[str],
) -> list[dict[str, str]]:
    texts = [_said(parent) for parent in parents]
    shown = [_fenced(text) for text in texts] if maker.asks else texts
    values: dict[str, Any] = {
        "persona": persona,
        "prompt": shown[0] if shown else "",
        "prompts": shown,
        "variant": maker.front.variants.get(variant, ""),
        "constraints": list(says),
    }
    turn = maker.front.answer == "turn"
    made = [("system" if turn else role, part.render(values).strip()) for role, part in maker.parts]
    return [{"role": role, "content": text} for role, text in made if text]


def _said(parent: Mapping[str, Any]) -> str:
    return str(json.loads(parent["messages"])[-1]["content"])


def _fenced(text: str) -> str:
    """A text between two lines that it cannot contain: their tag is made from it."""
    tag = content_id("fence", text)[:12]
    return f"<<<PROMPT {tag}>>>\n{text}\n<<<END PROMPT {tag}>>>"


# --- constraints ---------------------------------------------------------------------------------


def _constraints(maker: Maker, text: str, rng: random.Random) -> tuple[list[str], dict[str, Any]]:
    """Constraints that go together: what the prompt says of them, and what a checker reads."""
    front = maker.front
    wanted = rng.randint(*front.at_once)
    taken: list[int] = []
    used: set[str] = set()
    for at in rng.sample(range(len(front.constraints)), len(front.constraints)):
        constraint = front.constraints[at]
        fits = not used & set(constraint.apart) and not (taken and constraint.alone)
        if fits and len(taken) < wanted:
            taken.append(at)
            used |= set(constraint.apart)
            wanted = 1 if constraint.alone else wanted
    says: list[str] = []
    ids: list[str] = []
    kwargs: list[dict[str, Any]] = []
    for at in taken:
        shown, given = _arguments(front.constraints[at], text, rng)
        says.append(maker.says[at].render(shown).strip())
        ids.append(front.constraints[at].id)
        kwargs.append(given)
    return says, {"instruction_id_list": ids, "kwargs": kwargs}


def _arguments(
    constraint: Constraint, text: str, rng: random.Random
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An argument as the prompt says it, and as the checker reads it."""
    shown: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, argument in constraint.args.items():
        if argument.parent:
            given[name] = text
        elif argument.pick:
            given[name] = rng.sample(argument.pick, rng.randint(*argument.count))
        elif argument.between:
            low, high = argument.between
            given[name] = rng.randrange(low, high + 1, argument.step)
        else:
            given[name] = rng.choice(argument.choose or list(argument.names))
        shown[name] = argument.names.get(str(given[name]), given[name])
    return shown, given


def refuse_parents(maker: Maker, pools: Sequence[str], *, where: str) -> None:
    """A maker that starts from prompts needs pools, and another has no use for them.

    Raises:
        RecipeError: where that is not so.
    """
    if maker.has_parents and not pools:
        raise RecipeError(
            f"{where}: maker {maker.name} starts from prompts, and no pool is named",
            next="making: {parents: [POOL]} in the recipe, or --from POOL",
        )
    if pools and not maker.has_parents:
        raise RecipeError(
            f"{where}: maker {maker.name} starts from no prompt: {', '.join(pools)} is not read",
            next="leave out --from, or making.parents in the recipe",
        )

"""What a run would do, before it does anything: stages, sizes, SQL, prompts and price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory import rooms
from factory.errors import RecipeError
from factory.recipe import Recipe
from factory.recipe.sampling import PLAIN
from factory.stages.models import trainable

PRINCIPLES = "prompts/principles"
CHARS_PER_TOKEN = 4
"""A rough reading of English text, for estimates only."""


def plan(recipe: Recipe, *, workspace: Path, rounds: int) -> dict[str, Any]:
    """The plan of a run. Reads files, asks nobody, writes nothing.

    Raises:
        RecipeError: when a judge, a strategy or a setting of a stage cannot be used.
    """
    from factory.judging.verb import without_members

    check_settings(recipe, workspace=workspace)
    sampled = recipe.prompts.per_round * _answers(recipe)
    held_out = recipe.gate.prompts * recipe.gate.samples * recipe.sampling.turns
    names = recipe.judging.judges
    training = without_members(names, keep=recipe.pair_judge, workspace=workspace)
    judges = [
        _judge(recipe, name, sampled if name in training else 0, held_out, workspace)
        for name in names
    ]
    strategies = [recipe.pairing.strategy, *([recipe.pairing.sft] if recipe.pairing.sft else [])]
    return {
        "recipe": recipe.name,
        "recipe_id": recipe.recipe_id,
        "run_id": recipe.run_id,
        "workspace": str(workspace),
        "rounds": rounds,
        "policy": recipe.policy.model or "a starter made here",
        "engine": recipe.sampling.engine,
        "per_round": {
            "prompts": recipe.prompts.per_round,
            "completions": sampled,
            "held_out_completions": 2 * held_out,
            "judge_calls": sum(j["calls"] for j in judges),
            "estimated_usd": round(sum(j["estimated_usd"] for j in judges), 4),
        },
        "budget_usd": recipe.judging.budget_usd,
        "judges": judges,
        "sql": {
            name: rooms.read("storage/strategies", name, suffix=".sql", workspace=workspace).text
            for name in strategies
        },
    }


def _answers(recipe: Recipe) -> int:
    """Most answers a prompt gets in a round, in all its turns; adaptive plans may end with less."""
    sampling = recipe.sampling
    own = sampling.adaptive.up_to if sampling.adaptive else sampling.n
    each = sorted((r.n for r in sampling.references), reverse=True)
    return sampling.turns * (own + sum(each[: sampling.references_per_prompt]))


def check_settings(recipe: Recipe, *, workspace: Path) -> None:
    """Refuse a recipe whose judges, strategies or training a room would refuse hours later."""
    from factory.judging.files import load as load_judge
    from factory.pairing import load_strategy
    from factory.stages import making
    from factory.stages.models import validated
    from factory.training.config import TrainConfig
    from factory.training.starter import StarterSpec

    for kind, settings in (("dpo", recipe.training.dpo), ("sft", recipe.training.sft)):
        trainable(validated(TrainConfig, settings, f"training.{kind}"), f"training.{kind}")
    if recipe.policy.starter is not None:
        starter = recipe.policy.starter
        validated(TrainConfig, starter.sft, "policy.starter.sft")
        validated(StarterSpec, starter.architecture, "policy.starter.architecture")
    for judge in recipe.judging.judges:
        load_judge(judge, workspace=workspace)
    for name in recipe.sampling.vary.principles:
        if name != PLAIN:
            rooms.read(PRINCIPLES, name, suffix=".md", workspace=workspace)
    check_gate_judge(recipe, workspace=workspace)
    check_adaptive_judge(recipe, workspace=workspace)
    making.check_pools(recipe, workspace=workspace)
    pairing = recipe.pairing
    load_strategy(pairing.strategy, workspace=workspace, kind="pairs").values(pairing.params)
    if pairing.sft is not None:
        load_strategy(pairing.sft, workspace=workspace, kind="sft").values(pairing.sft_params)


def check_gate_judge(recipe: Recipe, *, workspace: Path) -> None:
    """The gate needs a score that means the same for two models.

    A pairwise judge compares a model's samples with each other: every model's mean is then one half
    and only the shape of its scores would decide. So does a panel that ranks, or has such a member.
    """
    from factory.judging.files import load as load_judge
    from factory.judging.panels.rules import RELATIVE

    front = load_judge(recipe.gate_judge, workspace=workspace).front
    kind = front.kind
    if front.panel is not None and front.panel.in_turn:
        raise RecipeError(
            f"gate.judge: {recipe.gate_judge!r} asks no more than a pair needs; the gate needs the "
            "score of every answer",
            next=f"--set gate.judge={front.panel.members[-1]}, and list it in judging.judges",
        )
    members = front.panel.members if front.panel is not None else ()
    kinds = {kind, *(load_judge(member, workspace=workspace).front.kind for member in members)}
    among = sorted(kinds & {"pairwise", "listwise", "revise", "human"})
    said = among[0] if among else ""
    if front.panel is not None:
        said = said and f"a panel with a {said} member"
        said = f"a panel by {front.panel.rule}" if front.panel.rule in RELATIVE else said
    if said:
        raise RecipeError(
            f"gate.judge: {recipe.gate_judge!r} is {said}; the gate needs a verifier or a "
            "pointwise judge, whose scores of two models can be compared",
            next="--set gate.judge=NAME",
        )


def check_adaptive_judge(recipe: Recipe, *, workspace: Path) -> None:
    """Adaptive sampling holds later answers against those that are scored already.

    A panel that asks question after question scores an answer by what was asked until its prompt
    was settled, and gives what it put out no score: answers of two waves would not compare.
    """
    from factory.judging.files import load as load_judge

    panel = load_judge(recipe.pair_judge, workspace=workspace).front.panel
    if recipe.sampling.adaptive and panel is not None and panel.in_turn and panel.rule == "mean":
        raise RecipeError(
            f"sampling.adaptive: {recipe.pair_judge!r} asks each prompt as many questions as its "
            "pair needs, so scores of answers that come later do not compare with those before",
            next=f"--set pairing.judge={panel.members[0]}, or a panel with rule: first_decisive",
        )


def _in_turn(name: str, members: list[dict[str, Any]]) -> dict[str, Any]:
    """The bill of a panel that asks its members itself, if it has to ask all of them all."""
    calls = sum(member["calls"] for member in members)
    dollars = sum(member["estimated_usd"] for member in members)
    return members[0] | {"judge": name, "kind": "panel", "calls": calls, "estimated_usd": dollars}


def _judge(
    recipe: Recipe, name: str, sampled: int, held_out: int, workspace: Path
) -> dict[str, Any]:
    """Calls a round and their price: the rubric and all texts in, the judge's limit out."""
    from factory.judging.client.prices import price_of
    from factory.judging.files import load

    judge = load(name, workspace=workspace)
    front = judge.front
    if front.panel is not None and front.panel.in_turn:
        return _in_turn(
            name, [_judge(recipe, member, sampled, 0, workspace) for member in front.panel.members]
        )
    items = sampled + (2 * held_out if name == recipe.gate_judge else 0)
    calls = 0
    if front.kind == "pointwise":
        calls = items * max(1, len(front.aspects))
    elif front.kind == "revise":
        calls = sampled
    elif front.kind == "listwise":
        orders = 2 if front.orders == "both" else 1
        lists = -(-sampled // front.at_most)
        calls = max(recipe.prompts.per_round, lists) * max(1, len(front.aspects)) * orders
    elif front.kind == "pairwise":
        orders = 2 if front.orders == "both" else 1
        calls = recipe.prompts.per_round * recipe.judging.comparisons * orders
    endpoint = recipe.judging.endpoint_of(name)
    asked = recipe.judging.endpoints[endpoint] if endpoint and calls else None
    price = asked and (asked.price or price_of(asked.model, workspace=workspace))
    shown = {"pairwise": 2, "listwise": min(front.at_most, _answers(recipe))}.get(front.kind, 1)
    tokens_in = shown * recipe.sampling.max_tokens + _rubric_tokens(name, workspace)
    each = tokens_in * price.input + front.max_tokens * price.output if price else 0.0
    share = price.batch if price and asked and asked.mode == "batch" else 1.0
    dollars = calls * each * share / 1e6
    return {
        "judge": name,
        "kind": front.kind,
        "endpoint": endpoint if calls else None,
        "calls": calls,
        "estimated_usd": dollars,
        "first_prompt": rooms.read("judges", name, suffix=".md", workspace=workspace).text,
    }


def _rubric_tokens(name: str, workspace: Path) -> int:
    text = rooms.read("judges", name, suffix=".md", workspace=workspace).text
    return len(text) // CHARS_PER_TOKEN


def as_text(found: dict[str, Any]) -> str:
    """A plan for people."""
    per_round = found["per_round"]
    lines = [
        f"recipe {found['recipe']} ({found['recipe_id'][:12]}), {found['rounds']} rounds",
        f"policy: {found['policy']}; engine: {found['engine']}",
        "each round: "
        + ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in per_round.items()),
        f"budget: {found['budget_usd'] if found['budget_usd'] is not None else 'none'}",
    ]
    for judge in found["judges"]:
        lines += ["", f"--- judge {judge['judge']} ({judge['kind']}) ---", judge["first_prompt"]]
    for name, text in found["sql"].items():
        lines += ["", f"--- storage/strategies/{name}.sql ---", text]
    return "\n".join(lines)

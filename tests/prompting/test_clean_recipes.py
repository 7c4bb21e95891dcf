"""A recipe's cleaning: what it names is done, and what it does not name changes no run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from factory.errors import RecipeError
from factory.recipe import Recipe, load
from factory.stages import supply
from factory.stages.run import Run
from factory.store import Store

Jsonl = Callable[..., Path]

ITEM = "Nine children share 45 marbles equally; how many marbles does each of the children get?"
POEM = "Write a poem about a lighthouse that has not been lit for a hundred years."


def _recipe(pools: list[dict[str, object]], **prompts: object) -> Recipe:
    text = {
        "name": "small",
        "prompts": {"pools": pools, **prompts},
        "policy": {"model": "somewhere"},
        "judging": {"judges": ["toyworld"]},
    }
    return Recipe.model_validate(yaml.safe_load(json.dumps(text)))


def test_pools_are_kept_clean_of_files_and_of_pools_listed_before(
    store: Store, jsonl: Jsonl
) -> None:
    heldout = jsonl([{"prompt": ITEM}], "heldout.jsonl")
    bench = jsonl([{"prompt": POEM}], "bench.jsonl")
    rows = [{"prompt": t} for t in (ITEM.upper(), f"Hi.\n{POEM}", "Say hello", "say hello!", "Say")]
    recipe = _recipe(
        [
            {"name": "heldout", "files": [str(heldout)]},
            {"name": "p", "files": [str(jsonl(rows))], "against": ["heldout", str(bench)]},
        ],
        clean={"near_duplicates": True, "min_chars": 4},
    )
    run = Run(store, recipe, rounds=0, run_id=recipe.run_id)
    done = supply.expand(run)
    (report,) = done["p"].values()
    assert report["added"] == 1
    assert report["dropped"] == {"contaminated": 2, "near_duplicate": 1, "too_short": 1}
    assert supply.expand(run) == done


def test_what_is_off_is_not_part_of_a_recipes_identity() -> None:
    pools: list[dict[str, object]] = [{"name": "p", "files": ["a.jsonl"]}]
    plain = _recipe(pools)
    spelt = _recipe(
        [{**pools[0], "against": []}], clean={"near_duplicates": False}, steer=False, strata=None
    )
    assert spelt.recipe_id == plain.recipe_id
    others = [
        _recipe([{**pools[0], "against": ["b"]}]),
        _recipe(pools, clean={"lang": ["en"]}),
        _recipe(pools, steer=True),
        _recipe(pools, strata={"by": "lang"}),
    ]
    assert len({r.recipe_id for r in [plain, *others]}) == 5


def test_a_language_that_is_no_code_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: small\nprompts:\n  pools: [{name: p, files: [a.jsonl]}]\n"
        "  clean:\n    lang: [English]\n"
        "policy: {model: m}\njudging: {judges: [toyworld]}\n"
    )
    with pytest.raises(RecipeError, match=r"line 5.*prompts\.clean\.lang"):
        load(str(path), environ={})


def test_strata_by_difficulty_need_prompts_that_come_again() -> None:
    pools: list[dict[str, object]] = [{"name": "p", "files": ["a.jsonl"]}]
    strata = {"by": ["domain", "difficulty"]}
    with pytest.raises(ValueError, match="set reuse"):
        _recipe(pools, strata=strata)
    assert _recipe(pools, strata=strata, reuse=3).prompts.reuse == 3
    with pytest.raises(ValueError, match="did you mean 'medium'"):
        _recipe(pools, reuse=True, strata={"by": "difficulty", "weights": {"medum": 2}})
    assert _recipe(pools, reuse=True).recipe_id != _recipe(pools, reuse=1).recipe_id

"""`diff A B`: what changed between two dataset versions, and why."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from factory.errors import UserError
from factory.exporting import DatasetVersion, freeze
from factory.pairing import Scope, build_pairs
from factory.reporting.diff import diff
from factory.rows import content_id


def _world(path: Path) -> Any:
    file = Path(__file__).parent.parent / "pairing" / "conftest.py"
    spec = importlib.util.spec_from_file_location("pairing_world", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.World(path)


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = _world(tmp_path / "ws")
    for number in range(4):
        question(made, f"q{number}")
    made.flush()
    return made


def question(world: Any, text: str, **more: Any) -> str:
    prompt: str = world.prompt(text)
    world.completion(prompt, f"good {text}", 1.0, **more)
    world.completion(prompt, f"bad {text}", 0.0, **more)
    return prompt


def version(world: Any, round: int, **more: Any) -> DatasetVersion:
    strategy = more.pop("strategy", "best_vs_worst")
    report = build_pairs(
        world.store, strategy=strategy, scope=Scope(**more), run_id="run", round=round
    )
    return freeze(
        world.store, kind="preference", strategy_id=report.strategy_id, name="set",
        recipe_id="r", run_id="run", round=None,
    )  # fmt: skip


def changes(
    world: Any, before: DatasetVersion, after: DatasetVersion
) -> dict[tuple[str, str], int]:
    found = diff(world.store, before.version_id, after.version_id).summary
    return {(row["change"], row["cause"]): row["rows"] for row in found}


def test_equal_versions_have_no_difference(world: Any) -> None:
    one = version(world, 1)
    assert changes(world, one, one) == {}


def test_rows_of_new_prompts_are_added_and_the_other_way_round_removed(world: Any) -> None:
    before = version(world, 1)
    for number in range(4, 7):
        question(world, f"q{number}")
    world.flush()
    after = version(world, 2)
    assert changes(world, before, after) == {("added", "new prompts"): 3}
    assert changes(world, after, before) == {("removed", "new prompts"): 3}


def test_another_judge_relabels_and_is_named_as_the_cause(world: Any) -> None:
    before = version(world, 1)
    for row in list(world.rows["completions"]):
        score = 0.0 if row["text"].startswith("good") else 1.0
        world.verdict(row["completion_id"], score, judge="contrary")
    world.flush()
    after = version(world, 2, judges=("contrary",))
    assert changes(world, before, after) == {("relabelled", "new judge"): 4}
    row = diff(world.store, before.version_id, after.version_id).rows.to_pylist()[0]
    assert {row["chosen_before"], row["chosen_after"]} == {row["low_id"], row["high_id"]}


def test_rows_of_a_new_checkpoint_are_added_for_it(world: Any) -> None:
    before = version(world, 1)
    newer = content_id("model", "next")
    for text in ("q0", "q1"):
        question(world, text, model_id=newer)
    world.flush()
    after = version(world, 2, model_ids=(newer,))
    # The strategy's id is the same: it names judges, not models; both rounds are in the set.
    assert changes(world, before, after) == {("added", "new checkpoint"): 2}


def test_another_strategy_is_the_cause_when_nothing_else_changed(world: Any) -> None:
    for number in range(4):
        prompt = next(
            p["prompt_id"] for p in world.rows["prompts"] if f'"q{number}"' in p["messages"]
        )
        world.completion(prompt, f"middling q{number}", 0.5)
    world.flush()
    before = version(world, 1)
    after = version(world, 2, strategy="margin")
    found = changes(world, before, after)
    assert {cause for _, cause in found} == {"new strategy"}


def test_versions_of_different_kinds_are_not_compared(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = version(world, 1)
    with pytest.raises(UserError, match="no dataset version"):
        diff(world.store, one.version_id, "ffffffff")

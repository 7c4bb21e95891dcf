"""A run on a tiny random model with the echo engine: every stage up to pairs, in a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from factory import stages
from factory.recipe import Recipe
from factory.store import Store, open_store
from tests.sampling.conftest import write_model

VOWELS = """\
---
kind: verifier
description: Whether the text begins with a vowel.
verifier: regex
verifier_args: {pattern: "^[aeiou]"}
---
"""
Play = Callable[..., stages.Run]


@pytest.fixture(scope="session")
def roster(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four models that differ in their weights."""
    folder = tmp_path_factory.mktemp("roster")
    return [write_model(folder / f"model-{seed}", seed=seed) for seed in range(4)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A workspace with a judge of its own."""
    (tmp_path / "ws" / "judges").mkdir(parents=True)
    (tmp_path / "ws" / "judges" / "vowels.md").write_text(VOWELS)
    return open_store(tmp_path / "ws", create=True)


@pytest.fixture
def begun(store: Store, roster: list[Path], tmp_path: Path) -> Iterator[Play]:
    """Begin the run of a recipe over 20 prompts; `sampling` is that section of it."""
    pool = tmp_path / "pool.jsonl"
    words = ["apple", "bread", "cat", "dune", "egg"]
    lines = [{"prompt": f"{word} number {i} of all"} for i in range(6) for word in words]
    pool.write_text("\n".join(json.dumps(line) for line in lines))
    with ExitStack() as stack:

        def begin(*, rows: list[dict[str, Any]] | None = None, **sampling: Any) -> stages.Run:
            if rows is not None:
                pool.write_text("\n".join(json.dumps(row) for row in rows))
            recipe = Recipe.model_validate(
                {
                    "name": "plans",
                    "seed": 3,
                    "prompts": {
                        "pools": [{"name": "words", "files": [str(pool)]}],
                        "split": {"gate": 0.3, "dev": 0},
                        "per_round": 12,
                    },
                    "policy": {"model": str(roster[0])},
                    "sampling": {
                        "engine": "echo",
                        "n": 4,
                        "max_tokens": 16,
                        "max_model_len": 1024,
                        **sampling,
                    },
                    "judging": {"judges": ["vowels"]},
                    "gate": {"prompts": 4, "samples": 2},
                }
            )
            run = stack.enter_context(stages.open_run(store, recipe))
            stages.expand(run)
            stages.starter(run)
            return run

        yield begin


def sample(run: stages.Run, wave: int = 0) -> int:
    """Everything a wave asks for; returns the completions that were new."""
    with stages.policy_session(run, 1, wave) as session:
        return sum(session.sample(shard) for shard in session.shards())

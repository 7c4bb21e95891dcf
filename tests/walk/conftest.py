"""A quickstart small enough for a test: every stage for real, with tiny numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SMALL = (
    "rounds=1",
    "sampling.engine=transformers",
    "sampling.n=4",
    "sampling.max_tokens=24",
    "sampling.shard=32",
    "prompts.pools.0.rows=300",
    "prompts.per_round=24",
    "prompts.split.gate=0.2",
    "policy.starter.rows=150",
    "policy.starter.architecture.hidden_size=64",
    "policy.starter.architecture.heads=2",
    "policy.starter.architecture.layers=1",
    "policy.starter.sft.max_steps=60",
    "policy.starter.sft.batch_size=16",
    "policy.starter.sft.micro_batch_size=16",
    "policy.starter.sft.save_steps=20",
    "training.dpo.epochs=1",
    "training.dpo.batch_size=8",
    "training.dpo.micro_batch_size=8",
    "training.dpo.save_steps=2",
    "training.dpo.min_stop_share=0",
    "pairing.strategy=best_vs_worst",
    "pairing.params={}",
    "judging.judges=[vowels]",
    "gate.prompts=16",
    "gate.samples=2",
)
"""The quickstart's recipe with tiny numbers. A barely trained starter obeys almost never, so its
judge counts vowels."""

VOWELS = """\
---
kind: verifier
description: Whether the text has three vowels, as about half of a barely trained model's do.
verifier: regex
verifier_args: {pattern: "[aeiou].*[aeiou].*[aeiou]"}
---
"""


class Factory:
    """The command line in a workspace."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace

    def command(self, *words: str) -> list[str]:
        """A command line of this workspace."""
        return [sys.executable, "-m", "factory", *words, "--workspace", str(self.workspace)]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and do not wait."""
        return subprocess.Popen(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *words: str, code: int = 0) -> str:
        """A command that must end with this exit code; returns what it printed."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def sql(self, query: str) -> list[dict[str, Any]]:
        """A query through the command line."""
        return json.loads(self.run("sql", query, "--json"))

    def play(self, *more: str, prefect: bool = False) -> str:
        """The small quickstart."""
        flags = [word for value in (*SMALL, *more) for word in ("--set", value)]
        return self.run("run", "quickstart", *flags, *([] if prefect else ["--no-prefect"]))

    def playing(self) -> list[str]:
        """The words of the small quickstart, for `start`."""
        flags = [word for value in SMALL for word in ("--set", value)]
        return ["run", "quickstart", "--no-prefect", *flags]


KEYS = {
    "prompts": "prompt_id",
    "completions": "completion_id",
    "judgements": "judgement_id",
    "pairs": "pair_id",
    "sft_examples": "sft_id",
    "dataset_versions": "version_id",
    "checkpoints": "checkpoint_id",
    "gates": "gate_id",
    "draws": "draw_id",
}


def truth(factory: Factory) -> dict[str, list[object]]:
    """What must be equal in two workspaces in which the same recipe ended."""
    found: dict[str, list[object]] = {
        table: [row["id"] for row in factory.sql(f"select {key} as id from {table} order by 1")]
        for table, key in KEYS.items()
    }
    found["model"] = [r["value"] for r in factory.sql("select value from pointers order by name")]
    found["text"] = [
        r["h"] for r in factory.sql("select text_hash as h from completions order by completion_id")
    ]
    return found


def made(folder: Path) -> Factory:
    """A fresh workspace."""
    subprocess.run(
        [sys.executable, "-m", "factory", "init", str(folder)], check=True, capture_output=True
    )
    (folder / "judges" / "vowels.md").write_text(VOWELS)
    return Factory(folder)


@pytest.fixture
def factory(tmp_path: Path) -> Factory:
    """A fresh workspace of this test."""
    os.environ.pop("FACTORY_WORKSPACE", None)
    return made(tmp_path / "ws")


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """A workspace in which the small quickstart ran to its end, once for all tests that look."""
    found = made(tmp_path_factory.mktemp("played") / "ws")
    found.play()
    return found

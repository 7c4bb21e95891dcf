"""A tiny real model, real token datasets, and jobs over them."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.training.config import TrainConfig, TrainJob
from factory.training.files import sha256_of
from factory.training.starter import StarterSpec, make_starter

TINY = StarterSpec(hidden_size=32, intermediate_size=64, layers=2, heads=2, context=64)
END = 3
Write = Callable[[str, Sequence[Mapping[str, Any]]], Path]
Make = Callable[..., TrainJob]


def sentence(rng: random.Random, *, least: int = 3, most: int = 12) -> list[int]:
    return [rng.randrange(7, 60) for _ in range(rng.randint(least, most))]


def preference_rows(n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs whose chosen side starts with one letter and whose rejected side with another."""
    rng = random.Random(seed)
    return [
        {
            "pair_id": f"pair-{i}",
            "prompt_ids": [2, 5, *sentence(rng), 3, 6],
            "chosen_ids": [10, *sentence(rng), END],
            "rejected_ids": [20, *sentence(rng), END],
            "weight": 1.0,
            "margin": 1.0,
        }
        for i in range(n)
    ]


def sft_rows(n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "sft_id": f"sft-{i}",
            "prompt_ids": [2, 5, *sentence(rng), 3, 6],
            "completion_ids": [*sentence(rng), END],
            "weight": 1.0,
        }
        for i in range(n)
    ]


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_starter(tmp_path_factory.mktemp("models") / "starter", spec=TINY, seed=0)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Freeze rows as a dataset version."""

    def freeze(name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        directory = tmp_path / "datasets" / name
        directory.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([dict(r) for r in rows]), directory / "tokens.parquet")
        digest = sha256_of(directory / "tokens.parquet")
        manifest = {
            "version_id": digest[:32],
            "kind": "preference" if "pair_id" in rows[0] else "sft",
            "n_rows": len(rows),
            "content_hash": digest,
            "files": {"tokens.parquet": digest},
        }
        (directory / "manifest.json").write_text(json.dumps(manifest))
        return directory

    return freeze


@pytest.fixture
def make_job(tmp_path: Path, starter: Path) -> Make:
    """A job with small defaults; keyword arguments of the configuration override them."""

    def make(
        name: str, dataset: Path, *, kind: str = "dpo", model: Path | None = None, **config: Any
    ) -> TrainJob:
        small = {"batch_size": 8, "micro_batch_size": 8, "learning_rate": 1e-3, "max_length": 48}
        return TrainJob(
            kind="sft" if kind == "sft" else "dpo",
            model_dir=model or starter,
            dataset_dir=dataset,
            out_dir=tmp_path / "models" / name,
            work_dir=tmp_path / "work" / name,
            config=TrainConfig.model_validate({**small, **config}),
            reference_cache=tmp_path / "reference.sqlite",
        )

    return make


@pytest.fixture
def run() -> Iterator[Callable[[TrainJob], Any]]:
    """Run a job inside this process (a child costs seconds of imports) and return its result."""
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    def inline(job: TrainJob) -> Any:
        from factory.training.child import run as run_child
        from factory.training.verb import result_of

        job.work_dir.mkdir(parents=True, exist_ok=True)
        run_child(job)
        return result_of(job.out_dir)

    yield inline
    for number, handler in before.items():
        signal.signal(number, handler)


def weights(model_dir: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(model_dir / "model.safetensors")


def events(job: TrainJob) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (job.work_dir / "progress.jsonl").read_text().splitlines()]

"""A workspace with real prompts and completions, and an endpoint on loopback."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from factory.recipe import Endpoint, Price
from factory.recipe.model import Judging
from factory.rows import bucket_of, completion_id_of, prompt_id_of, text_hash
from factory.store import Store, open_store


def _module(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"judging_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fake = _module("server")


@pytest.fixture
def server() -> Iterator[Any]:
    with fake.serving(fake.Server()) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "workspace", create=True)


@pytest.fixture
def fill() -> Callable[..., list[str]]:
    """Put prompts with completions into a store: `fill(store, [(prompt, [text, ...]), ...])`."""

    def work(
        store: Store,
        asked: Sequence[tuple[str, Sequence[str]]],
        *,
        reference: str | None = None,
        constraints: str | None = None,
    ) -> list[str]:
        prompts, completions = [], []
        for question, texts in asked:
            messages = [{"role": "user", "content": question}]
            prompt_id = prompt_id_of(messages)
            prompts.append(
                {
                    "prompt_id": prompt_id, "pool": "test", "messages": json.dumps(messages),
                    "reference": reference, "constraints": constraints, "split": "train",
                    "bucket": bucket_of(prompt_id),
                }
            )  # fmt: skip
            for i, text in enumerate(texts):
                identity = completion_id_of(
                    prompt_id=prompt_id, model_id="secret-model", params_id="p",
                    sample_idx=i, seed=0,
                )  # fmt: skip
                completions.append(
                    {
                        "completion_id": identity, "prompt_id": prompt_id,
                        "model_id": "secret-model", "params_id": "p", "sample_idx": i, "seed": 0,
                        "text": text, "text_hash": text_hash(text), "finish_reason": "stop",
                        "origin": "sampled", "bucket": bucket_of(prompt_id),
                    }
                )  # fmt: skip
        store.append("prompts", prompts, run_id="r")
        store.append("completions", completions, run_id="r")
        return [str(c["completion_id"]) for c in completions]

    return work


@pytest.fixture
def judging() -> Callable[..., Judging]:
    """A recipe's judging section that asks one server."""

    def work(url: str, *, judges: Sequence[str] = ("ultrafeedback",), **more: Any) -> Judging:
        section = {k: more.pop(k) for k in ("budget_usd", "comparisons", "shard") if k in more}
        settings = {"timeout_s": 20.0, "max_attempts": 6, "price": Price(input=1.0, output=2.0)}
        endpoint = Endpoint(base_url=url, **({"model": "the-judge"} | settings | more))
        return Judging(judges=tuple(judges), endpoints={"main": endpoint}, **section)

    return work

"""Recorded judgements of people and judges, imported by the product's own mappings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from factory.prompting.imports import import_completions, import_judgements
from factory.prompting.ingest import add_prompts
from factory.prompting.mapping import load, resolve
from factory.rows import bucket_of, content_id, text_hash
from factory.store import Store, open_store


@pytest.fixture(scope="session")
def alpaca(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Store:
    """AlpacaEval: 805 prompts, 20 models, four judges."""
    store = open_store(tmp_path_factory.mktemp("alpaca"), create=True)
    add_prompts(
        store, shared_data / "alpaca_eval_prompts.parquet", pool="alpaca_eval", run_id="r",
        mapping=load("alpaca_eval_prompts"),
    )  # fmt: skip
    import_completions(
        store, [shared_data / "alpaca_eval_outputs_dev.parquet"], pool="alpaca_eval", run_id="r",
        mapping=load("alpaca_eval_outputs"),
    )  # fmt: skip
    import_judgements(
        store, [shared_data / "alpaca_eval_judgments_dev.parquet"], pool="alpaca_eval",
        run_id="r", mapping=load("alpaca_eval_judgements"),
    )  # fmt: skip
    return store


def _imported(where: Path, file: Path, name: str) -> Store:
    store = open_store(where, create=True)
    import_judgements(store, [file], pool=name, run_id="r", mapping=load(name))
    return store


@pytest.fixture(scope="session")
def pandalm(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Store:
    """PandaLM's test set: three people and two judges on 999 pairs."""
    file = shared_data / "pandalm_human_judgments.parquet"
    return _imported(tmp_path_factory.mktemp("pandalm"), file, "pandalm")


@pytest.fixture(scope="session")
def xstest(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Store:
    """XSTest: people's, GPT-4's and string matching's classes of 2,250 completions."""
    file = shared_data / "xstest_judgments.parquet"
    return _imported(tmp_path_factory.mktemp("xstest"), file, "xstest")


@pytest.fixture(scope="session")
def llmbar(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Callable[[str], Store]:
    """LLMBar's gold labels and two published judges in both orders, of the subsets that fit a name.

    A store for each: the same prompt stands in several subsets, and a prompt has one source.
    """

    def made(subsets: str) -> Store:
        where = tmp_path_factory.mktemp("llmbar")
        pairs, judged = (shared_data / f"llmbar_{n}.parquet" for n in ("pairs", "judgments_dev"))
        gold, verdicts = where / "gold.parquet", where / "verdicts.parquet"
        duckdb.execute(
            f"copy (from '{pairs}' where subset like '{subsets}') to '{gold}' (format parquet)"
        )
        duckdb.execute(
            f"""
            copy (
              select p.input, p.output_1, p.output_2, j.subset, j.i, j.winner,
                j.judge || '/' || j.strategy as judge,
                if(j.swapped, 'output_2', 'output_1') as shown_first
              from '{judged}' j
              join '{gold}' p using (subset, i)
              where j.is_final and j.strategy in ('Vanilla', 'Vanilla_NoRules')
            ) to '{verdicts}' (format parquet)
            """
        )
        store = _imported(where / "ws", gold, "llmbar")
        columns = [
            "text=input", "source=subset", "source_id=i", "completion_1=output_1",
            "completion_2=output_2", "preference=winner", "judge=judge", "shown_first=shown_first",
            "model_1:=llmbar-output-1", "model_2:=llmbar-output-2",
        ]  # fmt: skip
        import_judgements(store, [verdicts], pool="llmbar", run_id="r", mapping=resolve(columns))
        return store

    return made


class World:
    """A store of comparisons in as few words as possible."""

    def __init__(self, path: Path) -> None:
        self.store: Store = open_store(path, create=True)
        self.completions: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []

    def completion(self, prompt: str, model: str, text: str | None = "text") -> str:
        prompt_id = content_id("prompt", prompt)
        identity = content_id("completion", [prompt, model])
        self.completions[identity] = {
            "completion_id": identity, "prompt_id": prompt_id, "model_id": model,
            "text": text, "text_hash": None if text is None else text_hash(text),
            "bucket": bucket_of(prompt_id),
        }  # fmt: skip
        return identity

    def said(
        self, judge: str, prompt: str, models: Sequence[str], p_first: float | None, **more: Any
    ) -> None:
        """A verdict on two models' answers, in the order shown; None is a verdict that failed."""
        prompt_id = content_id("prompt", prompt)
        ids = [content_id("completion", [prompt, m]) for m in models]
        row = {
            "judgement_id": content_id("j", [judge, ids, more.get("replicate", 0)]),
            "kind": "pairwise", "judge": judge, "judge_id": judge, "prompt_id": prompt_id,
            "completion_ids": ids, "status": "ok" if p_first is not None else "unparsed",
            "p_first": p_first, "replicate": 0, "bucket": bucket_of(prompt_id),
        }  # fmt: skip
        self.rows.append(row | more)

    def scored(self, judge: str, prompt: str, model: str, score: float | None, **more: Any) -> None:
        """A score of one answer; None is a verdict that failed."""
        prompt_id = content_id("prompt", prompt)
        identity = content_id("completion", [prompt, model])
        row = {
            "judgement_id": content_id("j", [judge, identity, more.get("replicate", 0)]),
            "kind": "pointwise", "judge": judge, "judge_id": judge, "prompt_id": prompt_id,
            "completion_ids": [identity], "completion_id": identity, "score": score,
            "status": "ok" if score is not None else "unparsed", "replicate": 0,
            "bucket": bucket_of(prompt_id),
        }  # fmt: skip
        self.rows.append(row | more)

    def flush(self) -> Store:
        made = list(self.completions.values())
        names = sorted({c["model_id"] for c in made})
        self.store.append("models", [{"model_id": n, "name": n} for n in names], run_id="r")
        self.store.append("completions", made, run_id="r")
        self.store.append("judgements", self.rows, run_id="r")
        return self.store


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ws")

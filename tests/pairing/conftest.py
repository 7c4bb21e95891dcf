"""A small store that pairing and its tests fill: prompts, completions and verdicts by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.rows import bucket_of, content_id, prompt_id_of, text_hash
from factory.store import Store, open_store

POLICY = content_id("model", "policy")
PARAMS = content_id("params", "t1")


class World:
    """Rows as few words; `flush` commits them in the order given, or another."""

    def __init__(self, path: Path) -> None:
        self.store: Store = open_store(path, create=True)
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self._tokens: dict[str, int] = {}

    def add(self, table: str, **row: Any) -> None:
        self.rows.setdefault(table, []).append(row)

    def prompt(self, text: str, *, split: str = "train", pool: str = "p") -> str:
        messages = [{"role": "user", "content": text}]
        prompt_id = prompt_id_of(messages)
        self.add(
            "prompts", prompt_id=prompt_id, pool=pool, messages=json.dumps(messages), split=split,
            license="MIT", source="test", bucket=bucket_of(prompt_id), n_chars=len(text),
        )  # fmt: skip
        return prompt_id

    def draw(self, prompt_id: str, *, round: int = 1, run_id: str = "run", n: int = 8) -> None:
        self.add(
            "draws", draw_id=content_id("draw", [run_id, round, prompt_id]), round=round,
            purpose="train", prompt_id=prompt_id, model_id=POLICY, params_id=PARAMS, seed=0, n=n,
            bucket=bucket_of(prompt_id), run_id=run_id,
        )  # fmt: skip

    def completion(
        self,
        prompt_id: str,
        text: str,
        score: float | None = None,
        *,
        finish: str = "stop",
        tokens: Sequence[int] | None = (1, 2, 3),
        model_id: str = POLICY,
        judge: str = "right",
        kind: str = "verifier",
        status: str = "ok",
    ) -> str:
        idx = sum(c["prompt_id"] == prompt_id for c in self.rows.get("completions", []))
        completion_id = content_id("completion", [prompt_id, model_id, idx])
        own = None if tokens is None else [*tokens, *(ord(c) % 97 for c in text)]
        self.add(
            "completions", completion_id=completion_id, prompt_id=prompt_id, model_id=model_id,
            params_id=PARAMS, sample_idx=idx, seed=0, text=text, text_hash=text_hash(text),
            token_ids=own, prompt_token_ids=None if own is None else [7, 8],
            token_hash=None if own is None else content_id("tokens", own),
            n_tokens=None if own is None else len(own), finish_reason=finish, origin="sampled",
            retokenised=False, bucket=bucket_of(prompt_id),
        )  # fmt: skip
        if score is not None or status != "ok":
            self.verdict(completion_id, score, judge=judge, kind=kind, status=status)
        return completion_id

    def verdict(
        self,
        completion_id: str,
        score: float | None,
        *,
        judge: str = "right",
        kind: str = "verifier",
        status: str = "ok",
        aspect: str = "",
        version: str = "",
    ) -> None:
        prompt_id = next(
            c["prompt_id"] for c in self.rows["completions"] if c["completion_id"] == completion_id
        )
        self.add(
            "judgements",
            judgement_id=content_id("j", [completion_id, judge, aspect, status, version]),
            kind=kind, judge=judge, judge_id=content_id("judge", judge + version), aspect=aspect,
            prompt_id=prompt_id, completion_ids=[completion_id], completion_id=completion_id,
            status=status, score=score, bucket=bucket_of(prompt_id),
        )  # fmt: skip

    def flush(self, *, order: int = 1) -> Store:
        """Commit everything; `order=-1` commits the rows the other way round."""
        for table, rows in self.rows.items():
            self.store.append(table, rows[::order], run_id="made")
        return self.store

    def pairs(self, columns: str = "*", table: str = "pairs") -> list[dict[str, Any]]:
        return self.store.rows(f"select {columns} from {table} order by 1")

    def drops(self) -> dict[str, str]:
        """Prompt -> reason, of the pairing stage."""
        found = self.store.rows("select prompt_id, reason from drops where stage = 'pair'")
        assert len({r["prompt_id"] for r in found}) == len(found)
        return {r["prompt_id"]: r["reason"] for r in found}

    def texts(self) -> set[tuple[str, str]]:
        """(chosen text, rejected text) of every pair."""
        found = self.store.rows(
            "select c.text as a, r.text as b from pairs p "
            "join completions c on c.completion_id = p.chosen_id "
            "join completions r on r.completion_id = p.rejected_id"
        )
        return {(row["a"], row["b"]) for row in found}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ws")


@pytest.fixture
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Any]:
    """Makes as many worlds as a test asks for."""
    return lambda: World(tmp_path_factory.mktemp("ws") / "ws")

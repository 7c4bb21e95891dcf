"""Compares an engine's log-probabilities with a float32 forward pass, on a few completions.

Engines are known to differ from transformers (github.com/vllm-project/vllm issue 18352): by
rounding in the ordinary case, and by a lot where they hold other weights, were given another prompt
or have a broken kernel. That is never to be assumed away, so every run measures it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa

from factory.sampling.engines.process import child_environment
from factory.sampling.forward import ASKED
from factory.sampling.frames import read_frame, write_frame

MOST_TOKENS = 1024
"""Tokens of a completion that are compared: its first ones."""
TIMEOUT_S = 1800.0
Status = Literal["ok", "nothing", "not_finite", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Absolute differences of log-probabilities, in nats a token; None where none was measured."""

    status: Status
    """`nothing`: no completion to compare; `not_finite`: the forward pass gave no number somewhere;
    `failed`: there was no forward pass."""
    rows: int = 0
    tokens: int = 0
    median: float | None = None
    p99: float | None = None
    largest: float | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def compare(
    model_dir: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    log: Path,
    adapter: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Difference:
    """Compare completions with what a forward pass in a child process gives for them.

    Args:
        model_dir: the model that sampled them.
        rows: each with `prompt` (the token ids that the engine was given), `token_ids` and
            `logprobs`.
        log: where the child's own output goes, appended.
        adapter: a PEFT adapter on top of the model.
        env: added to the child's environment.
    """
    if not rows:
        return Difference(status="nothing")
    cut = [
        {"prompt": list(row["prompt"]), "completion": list(row["token_ids"])[:MOST_TOKENS]}
        for row in rows
    ]
    table = pa.Table.from_pylist(cut, schema=ASKED)
    header, answered = _forward(model_dir, adapter, table, log=log, env=env or {})
    if answered is None:
        said = str(header.get("error") or "the process ended without an answer")
        return Difference(status="failed", rows=len(rows), detail=f"{said}; log: {log}")
    expected: list[list[float]] = answered.column("logprobs").to_pylist()
    return measured([list(r["logprobs"])[:MOST_TOKENS] for r in rows], expected)


def measured(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> Difference:
    """Differences of two lists of log-probabilities, row by row."""
    import numpy as np

    each = [
        abs(a - b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True)
    ]
    rows, tokens = len(found), len(each)
    if not each:
        return Difference(status="nothing", rows=rows)
    strange = sum(not math.isfinite(value) for value in each)
    if strange:
        said = f"{strange} of {tokens} log-probabilities are no finite numbers"
        return Difference(status="not_finite", rows=rows, tokens=tokens, detail=said)
    median, p99 = (float(value) for value in np.quantile(each, [0.5, 0.99]))
    return Difference(
        status="ok", rows=rows, tokens=tokens, median=median, p99=p99, largest=max(each)
    )


def _forward(
    model_dir: Path, adapter: Path | None, table: pa.Table, *, log: Path, env: Mapping[str, str]
) -> tuple[dict[str, Any], pa.Table | None]:
    words = [str(model_dir), str(adapter or ""), str(os.getpid())]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "factory.sampling.forward", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
            env={**child_environment(), **env}, start_new_session=True,
        )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    deadline = threading.Timer(TIMEOUT_S, child.kill)
    deadline.start()
    try:
        write_frame(cast(BinaryIO, child.stdin), {}, table)
        child.stdin.close()
        return read_frame(cast(BinaryIO, child.stdout))
    except (EOFError, BrokenPipeError, json.JSONDecodeError):
        return {}, None
    finally:
        deadline.cancel()
        child.stdout.close()
        child.kill()
        child.wait()

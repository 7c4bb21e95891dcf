"""Judging by a reward model: conversations go to its process in batches, raw logits come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from factory.errors import StageFailed, UserError
from factory.judging.front import Reward
from factory.judging.outcomes import Verdict, failed, good, storable
from factory.judging.work import Block, Commit, Source, messages_of, row_of
from factory.store import Store, devices

BATCH = 256
"""Conversations a line: enough to sort by length, few enough to show progress."""


class Scorer:
    """The model's process. Close it: its exit gives the memory back."""

    def __init__(
        self, model: Path, spec: Reward, *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._model = model
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "factory.judging.local.reward"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
                env={
                    **os.environ,
                    "HF_HUB_OFFLINE": "1",
                    "TOKENIZERS_PARALLELISM": "false",
                    **(env or {}),
                },
            )
        asked = spec.model_dump() | {"model": str(model)}
        ready = self._ask(asked)
        if "error" in ready:
            self.close()
            raise UserError(f"reward model {model}: {ready['error']}", next=f"less {log}")

    def score(self, conversations: list[list[dict[str, str]]]) -> list[Verdict]:
        """One verdict per conversation, in the order given.

        Raises:
            StageFailed: when the process died.
        """
        found = self._ask({"conversations": conversations})
        return [
            failed("error", reason) if value is None else good(value)
            for value, reason in zip(found["scores"], found["reasons"], strict=True)
        ]

    def _ask(self, value: object) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(value) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise StageFailed(f"the reward model {self._model} ended with {code}: see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # What a dead process did not read cannot be sent: why it died is said already.
                with suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def score_all(blocks: Iterable[Block], *, source: Source, commit: Commit, shard: int) -> None:
    """Score every block, a shard a commit."""
    spec = source.judge.front.reward
    assert spec is not None
    assert source.model is not None
    log = commit.store.workspace / "runs" / commit.run_id / "log" / f"{source.judge.name}.log"
    with (
        _device(commit.store) as env,
        closing(Scorer(source.model, spec, log=log, env=env)) as scorer,
    ):
        for block in blocks:
            for start in range(0, len(block.tasks), shard):
                tasks = block.tasks[start : start + shard]
                verdicts: list[Verdict] = []
                for at in range(0, len(tasks), BATCH):
                    part = Block(tasks=tasks[at : at + BATCH], texts=block.texts)
                    verdicts += scorer.score(_conversations(part, source))
                commit([row_of(t, v, source) for t, v in zip(tasks, verdicts, strict=True)])


@contextmanager
def _device(store: Store) -> Iterator[dict[str, str]]:
    """Lease a GPU where there is one: engines that sample have what memory they find."""
    if not devices.gpus():
        yield {}
        return
    with devices.hold(store.ledger) as (group,):
        yield group.env


def _conversations(block: Block, source: Source) -> list[list[dict[str, str]]]:
    return [
        [
            *(m | {"content": storable(m["content"])} for m in messages_of(block.prompt(task))),
            {"role": "assistant", "content": storable(block.shown(task)[0])},
        ]
        for task in block.tasks
    ]

"""Judging by verifiers: programs that run here, in this process or in children under a limit."""

from __future__ import annotations

from typing import Any

from factory.judging import isolate, verifiers
from factory.judging.plan import Task
from factory.judging.work import Block, Commit, Source, messages_of, row_of

SPREAD = 2_000
"""Texts from which on several processes are faster, their start included."""


def check(block: Block, *, source: Source, commit: Commit) -> None:
    """Verify a block of completions in one commit."""
    front = source.judge.front
    verifier = verifiers.find(front.verifier)
    items = [
        (_prompt(block, task, front.verifier_args), block.shown(task)[0]) for task in block.tasks
    ]
    if verifier.isolated or len(items) >= SPREAD:
        verdicts = isolate.verify_all(verifier.name, items, timeout_s=front.timeout_s)
    else:
        verdicts = [verifier(prompt, text) for prompt, text in items]
    commit([row_of(t, v, source) for t, v in zip(block.tasks, verdicts, strict=True)])


def _prompt(block: Block, task: Task, args: dict[str, object]) -> dict[str, Any]:
    row = block.prompt(task)
    return {
        "prompt_id": row["prompt_id"],
        "messages": messages_of(row),
        "reference": row["reference"],
        "constraints": row["constraints"],
        "args": args,
    }

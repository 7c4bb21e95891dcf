"""Rows of judgements made elsewhere, and their commit without silent loss.

A judgement's id does not hold its verdict, so a file that disagrees with what is stored would
vanish unseen: such a row is refused as `conflicting_judgement` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from factory.prompting.content import Rejected
from factory.prompting.recorded import Draft, Import, once
from factory.prompting.seen import Seen
from factory.prompting.writing import held
from factory.rows import bucket_of, content_id, judgement_id_of

SHOWN, LISTED = "recorded/shown", "recorded/listed"
"""`parser` of a recorded judgement: `completion_ids` are in the order shown, or only as listed."""

_HELD = """
    select judgement_id, status, score, winner_id, p_first, raw from judgements
    where judgement_id in (select unnest($ids))
"""
_VERDICT = ("status", "score", "winner_id", "p_first", "raw")


def judge_id_of(name: str, kind: str) -> str:
    """Id of a judge known by name alone."""
    return content_id("judge-recorded", [name, kind])


def judgement_row(
    *,
    kind: str,
    judge: str,
    prompt_id: str,
    completion_ids: Sequence[str],
    aspect: str = "",
    replicate: int | None = None,
    parser: str = LISTED,
    **columns: Any,
) -> dict[str, Any]:
    """A row of `judgements`; a null `replicate` is numbered at the commit."""
    judge_id = judge_id_of(judge, kind)
    return {
        **columns,
        "kind": kind,
        "judge": judge,
        "judge_id": judge_id,
        "judge_sha": judge_id,
        "aspect": aspect,
        "prompt_id": prompt_id,
        "completion_ids": list(completion_ids),
        "completion_id": completion_ids[0] if len(completion_ids) == 1 else None,
        "parser": parser,
        "replicate": replicate,
        "origin": "recorded",
        "bucket": bucket_of(prompt_id),
    }


class Verdicts:
    """Numbers the replicates of one import and commits what is new."""

    def __init__(self, work: Import) -> None:
        self.work = work
        self.seen = Seen()

    def commit(self, judged: Sequence[tuple[Draft, dict[str, Any]]]) -> int:
        """Commit judgements; returns how many were new. Counts statuses and what was there."""
        for _, row in judged:
            self._identify(row)
        ids = [row["judgement_id"] for _, row in judged]
        there = {r["judgement_id"]: r for r in held(self.work.writer.store, _HELD, ids)}
        new: list[dict[str, Any]] = []
        for draft, row in judged:
            known = there.get(row["judgement_id"])
            if known is not None and any(known[name] != row.get(name) for name in _VERDICT):
                why = Rejected("conflicting_judgement", f"{row['judgement_id']} says otherwise")
                self.work.rejects.refuse(draft.row, why, prompt_id=draft.prompt_id)
                continue
            self.work.report.statuses[row["status"]] += 1
            if known is None:
                new.append(row)
        return self.work.writer.append("judgements", list(once(new, "judgement_id")))

    def _identify(self, row: dict[str, Any]) -> None:
        """Give the id; the n-th verdict of a judge on the same completions is replicate n - 1."""
        facts: dict[str, Any] = {
            "kind": row["kind"],
            "judge_id": row["judge_id"],
            "completion_ids": row["completion_ids"],
            "aspect": row["aspect"],
        }
        if row["replicate"] is None:
            times, _ = self.seen.count(content_id("verdict", facts))
            row["replicate"] = times - 1
        row["judgement_id"] = judgement_id_of(**facts, replicate=row["replicate"])

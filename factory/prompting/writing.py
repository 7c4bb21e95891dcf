"""What `add` and `import` write: rows and drops, or, in a dry run, only their number.

Every commit is named by its rows' ids, so a command that was killed and typed again commits what is
missing and nothing twice.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from factory.prompting.content import Rejected
from factory.prompting.formats import BadRow, Row, clean_evidence
from factory.prompting.seen import Seen
from factory.rows import KEYS, content_id
from factory.store import Store


class Writer:
    """Appends to one store for one run; a dry run counts what would be new and writes nothing."""

    def __init__(self, store: Store, *, run_id: str, dry_run: bool = False) -> None:
        self.store = store
        self.run_id = run_id
        self.dry_run = dry_run
        self._counted = Seen()

    def append(self, table: str, rows: Sequence[Mapping[str, object]]) -> int:
        """Commit rows; returns how many the table did not hold."""
        if not rows:
            return 0
        if not self.dry_run:
            return self.store.append(table, rows, run_id=self.run_id)
        ids = self.store.missing(table, [str(row[KEYS[table]]) for row in rows])
        return sum(self._counted.count(f"{table} {identity}")[0] == 1 for identity in ids)

    def drop(self, stage: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Keep refused rows with their reason."""
        if items and not self.dry_run:
            self.store.drop(stage, items, run_id=self.run_id)


class Rejects:
    """Refused rows of one source: counted, kept as drops, and written to a file where asked."""

    def __init__(
        self,
        *,
        stage: str,
        item_kind: str,
        source: str,
        file: Path | None = None,
        pool: str = "",
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._stage = stage
        self._kind = item_kind
        self._source = source
        self._own = {"pool": pool} if pool else {}
        self._file = file
        self._aside = file.with_name(f"{file.name}.{os.getpid()}.tmp") if file else None
        self._handle: IO[str] | None = None
        if self._aside:
            self._aside.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self._aside.open("w", encoding="utf-8")
        self._pending: list[dict[str, Any]] = []

    def bad(self, row: BadRow) -> None:
        """A row that could not be read."""
        self._add(row.reason, row.file, row.number, evidence=row.evidence, values=None)

    def refuse(
        self, row: Row, why: Rejected, *, prompt_id: str | None = None, **facts: object
    ) -> None:
        """A row that was read and cannot be kept; `facts` go into the drop's detail."""
        evidence = clean_evidence(json.dumps(row.values, ensure_ascii=False, default=str))
        if why.detail:
            facts["why"] = clean_evidence(why.detail)
        self._add(
            why.reason, row.file, row.number,
            evidence=evidence, values=row.values, prompt_id=prompt_id, facts=facts,
        )  # fmt: skip

    def _add(
        self,
        reason: str,
        file: str,
        number: int,
        *,
        evidence: str,
        values: Mapping[str, Any] | None,
        prompt_id: str | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self.counts[reason] += 1
        place = {"file": file, "row": number, **self._own, **(facts or {})}
        detail = json.dumps({**place, "evidence": evidence}, ensure_ascii=False, default=str)
        self._pending.append(
            {
                "item_kind": self._kind,
                "item_id": content_id("source-row", [self._source, file, number, evidence]),
                "prompt_id": prompt_id,
                "reason": reason,
                "detail": detail,
            }
        )
        if self._handle:
            line = {"reason": reason, **place}
            line |= {"values": values} if values is not None else {"evidence": evidence}
            # ASCII escapes: hostile text must not make the reject file unreadable.
            self._handle.write(json.dumps(line, default=str) + "\n")

    def flush(self, writer: Writer) -> None:
        """Commit the drops gathered since the last flush."""
        writer.drop(self._stage, self._pending)
        self._pending = []

    def close(self) -> None:
        """Put the reject file in place, whole."""
        if self._handle and self._aside and self._file:
            self._handle.close()
            os.replace(self._aside, self._file)
            self._handle = None


def held(store: Store, sql: str, ids: Iterable[str], **params: object) -> list[dict[str, Any]]:
    """Rows of a query about some ids, which the SQL reads as `unnest($ids)`."""
    wanted = sorted(set(ids))
    if not wanted:
        return []
    return store.rows(sql, {"ids": wanted, **params})

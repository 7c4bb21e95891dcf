"""Law 3: nothing is updated in place, and what is dropped keeps a row with its reason."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from factory.store import open_store, upkeep

NAMES = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=5, unique=True)


class AnyHistory(RuleBasedStateMachine):
    """Rows are written, written again with other contents, dropped and compacted, in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(Path(self.folder.name), create=True)
        self.first: dict[str, str] = {}
        self.dropped: set[tuple[str, str]] = set()
        self.past: dict[int, list[tuple[str, str]]] = {}
        self.files: dict[str, str] = {}

    @rule(names=NAMES, content=st.text(st.characters(codec="utf-8"), max_size=8))
    def write(self, names: list[str], content: str) -> None:
        rows = [{"prompt_id": n, "messages": content} for n in names]
        self.store.append("prompts", rows, run_id="r")
        for name in names:
            self.first.setdefault(name, content)

    @rule(names=NAMES, reason=st.sampled_from(["too_long", "duplicate"]))
    def drop(self, names: list[str], reason: str) -> None:
        items = [{"item_kind": "prompt", "item_id": n, "reason": reason} for n in names]
        self.store.drop("expand", items, run_id="r")
        self.dropped |= {(n, reason) for n in names}

    @rule()
    def compact(self) -> None:
        upkeep.compact(self.store)

    @invariant()
    def the_past_stands(self) -> None:
        if not hasattr(self, "store"):
            return
        self.past[self.store.lake.version("prompts")] = self._rows()
        for version, rows in self.past.items():
            assert self._rows(version) == rows
        assert dict(self._rows()) == self.first
        reasons = self.store.rows("select item_id, reason from drops")
        assert sorted((r["item_id"], r["reason"]) for r in reasons) == sorted(self.dropped)

    @invariant()
    def no_file_ever_changes(self) -> None:
        if not hasattr(self, "store"):
            return
        for path in sorted((self.store.workspace / "lake" / "prompts").glob("*.parquet")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert self.files.setdefault(path.name, digest) == digest

    def _rows(self, version: int | None = None) -> list[tuple[str, str]]:
        sql = "select prompt_id, messages from prompts order by 1"
        with self.store.connect(mentioned_in=sql, versions={"prompts": version}) as con:
            return con.execute(sql).fetchall()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


AnyHistory.TestCase.settings = settings(
    max_examples=4, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAppendOnly = AnyHistory.TestCase

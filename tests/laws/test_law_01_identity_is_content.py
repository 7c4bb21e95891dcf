"""Law 1: every id is known before it is paid for; doing a stage again adds nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from factory.rows import completion_id_of
from factory.store import Store, open_store, upkeep

DRAWS = st.sets(st.integers(0, 30), max_size=12)


def identity(draw: int) -> str:
    return completion_id_of(
        prompt_id=f"{draw % 5}", model_id="m", params_id="p", sample_idx=draw // 5, seed=0
    )


def row(draw: int) -> dict[str, object]:
    return {"completion_id": identity(draw), "prompt_id": f"{draw % 5}", "text": f"text {draw}"}


class TwoProcesses(RuleBasedStateMachine):
    """Two programs make overlapping draws in any order, stop, start and compact."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.stores: list[Store] = [open_store(self.path, create=True), open_store(self.path)]
        self.made: set[int] = set()

    @rule(which=st.integers(0, 1), draws=DRAWS)
    def make_what_is_missing(self, which: int, draws: set[int]) -> None:
        store = self.stores[which]
        missing = set(store.missing("completions", sorted(map(identity, draws))))
        assert missing == {identity(d) for d in draws - self.made}
        todo = [row(d) for d in sorted(draws) if identity(d) in missing]
        assert store.append("completions", todo, run_id="r") == len(missing)
        self.made |= draws

    @rule(which=st.integers(0, 1), draws=DRAWS)
    def make_all_of_it_again(self, which: int, draws: set[int]) -> None:
        added = self.stores[which].append("completions", map(row, sorted(draws)), run_id="again")
        assert added == len(draws - self.made)
        self.made |= draws

    @rule(which=st.integers(0, 1))
    def start_anew(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = open_store(self.path)

    @rule(which=st.integers(0, 1))
    def compact(self, which: int) -> None:
        upkeep.compact(self.stores[which], tables=["completions"])

    @invariant()
    def every_draw_is_there_once(self) -> None:
        if not hasattr(self, "stores"):
            return
        for store in self.stores:
            found = [
                r["completion_id"] for r in store.rows("select completion_id from completions")
            ]
            assert sorted(found) == sorted(map(identity, self.made))

    def teardown(self) -> None:
        for store in getattr(self, "stores", []):
            store.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TwoProcesses.TestCase.settings = settings(
    max_examples=5, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
TestIdentityIsContent = TwoProcesses.TestCase

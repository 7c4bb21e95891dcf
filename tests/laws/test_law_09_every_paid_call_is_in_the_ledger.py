"""Law 9: a paid call is in the ledger before it leaves and when it returns, its budget with it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from factory.errors import BudgetExhausted
from factory.store import CallIntent, CallResult, Ledger

NAMES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)
LIMIT = 60


class Vendor(RuleBasedStateMachine):
    """Two processes send, answer, fail, die and come back in any order, under one budget.

    What the test believes: the state of each call, what was spent, and what is reserved.
    """

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{Path(self.folder.name) / 'ledger.sqlite'}"
        self.ledgers = [Ledger(self.url, create=True, owner="host/0/1.00")]
        self.ledgers.append(Ledger(self.url, owner="host/1/1.00"))
        self.ledgers[0].set_budget("b", limit_microusd=LIMIT)
        self.lives = [1, 1]
        self.state: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.reserve: dict[str, int] = {}
        self.spent = 0

    @rule(which=st.integers(0, 1), names=NAMES, price=st.integers(1, 9))
    def send(self, which: int, names: list[str], price: int) -> None:
        ledger = self.ledgers[which]
        free = [n for n in names if self.state.get(n, "failed") == "failed"]
        intents = [
            CallIntent(
                call_id=n, kind="chat", endpoint="e", model="m", request_hash=n,
                reserve_microusd=price,
            )
            for n in names
        ]  # fmt: skip
        fits = self.spent + self._reserved() + price * len(free) <= LIMIT
        if not fits:
            with pytest.raises(BudgetExhausted):
                ledger.reserve_and_send(intents, budget_id="b")
            return
        assert ledger.reserve_and_send(intents, budget_id="b") == set(free)
        for name in free:
            self.state[name], self.reserve[name] = "sent", price
            self.owner[name] = ledger.owner

    @rule(which=st.integers(0, 1), names=NAMES, cost=st.integers(0, 9), good=st.booleans())
    def answer(self, which: int, names: list[str], cost: int, good: bool) -> None:
        mine = [
            n for n in names
            if self.state.get(n) == "sent" and self.owner[n] == self.ledgers[which].owner
        ]  # fmt: skip
        state, text = ("done", f"answer {cost}") if good else ("failed", None)
        results = [
            CallResult(call_id=n, state=state, outcome=state, response=text, cost_microusd=cost)
            for n in mine
        ]
        for _ in range(2):  # told twice is told once
            self.ledgers[which].finish(results)
        for name in mine:
            self.state[name] = state
            self.spent += cost
            if good:
                self.answers[name] = f"answer {cost}"

    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        """The process dies; another takes its place and looks for what it left."""
        dead = self.ledgers[which].owner
        self.ledgers[which].close()
        self.lives[which] += 1
        self.ledgers[which] = Ledger(self.url, owner=f"host/{which}/{self.lives[which]}.00")
        marked = self.ledgers[which].mark_in_doubt(is_dead=lambda owner: owner == dead)
        mine = [n for n, s in self.state.items() if s == "sent" and self.owner[n] == dead]
        assert marked == sorted(mine)
        for name in mine:
            self.state[name] = "in_doubt"

    @rule(which=st.integers(0, 1), names=NAMES, hold=st.booleans())
    def decide(self, which: int, names: list[str], hold: bool) -> None:
        self.ledgers[which].release_in_doubt(names, hold=hold)
        for name in names:
            if self.state.get(name) == "in_doubt":
                self.state[name] = "held" if hold else "failed"
                self.spent += self.reserve[name]

    def _reserved(self) -> int:
        return sum(self.reserve[n] for n, s in self.state.items() if s in {"sent", "in_doubt"})

    @invariant()
    def the_ledger_says_what_happened(self) -> None:
        if not hasattr(self, "ledgers"):
            return
        found = self.ledgers[0].calls("abcdef")
        assert {name: row.state for name, row in found.items()} == self.state
        kept = {n: r.response for n, r in found.items() if r.state == "done"}
        assert kept == self.answers
        budget = self.ledgers[1].budget("b")
        assert budget is not None
        assert (budget["reserved_microusd"], budget["spent_microusd"]) == (
            self._reserved(),
            self.spent,
        )
        at_risk = sum(row["microusd"] for row in self.ledgers[0].in_doubt())
        held = sum(self.reserve[n] for n, s in self.state.items() if s == "held")
        assert at_risk == self._reserved() + held

    def teardown(self) -> None:
        for ledger in getattr(self, "ledgers", []):
            ledger.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()


Vendor.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEveryPaidCallIsInTheLedger = Vendor.TestCase

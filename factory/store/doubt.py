"""Calls in doubt: sent by a process that died, so nobody knows whether they were billed.

Until it is decided, a call in doubt keeps its reservation. A decision (send again, or hold) counts
its price as spent, because the vendor may have billed it. Calls of a provider's batch are never in
doubt: the batch has an id there, and whoever comes next fetches it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, false, func, or_, select, update

from factory.store import tables as t
from factory.store.calls import CallIntent, Calls
from factory.store.database import same_host

CHAT = "chat"
"""Kind of the calls that a run's own process makes."""
STALE_S = 6 * 3600.0
"""Seconds after which a call that a process elsewhere sent is not waited for any more."""
_CHUNK = 500
_END_IN_DOUBT = (
    update(t.attempts)
    .where(
        t.attempts.c.call_id == bindparam("b_call_id"),
        t.attempts.c.attempt == bindparam("b_attempt"),
    )
    .values(outcome="in_doubt", ended_at=bindparam("b_at"), cost_microusd=bindparam("b_cost"))
)


class Doubt(Calls):
    """The part of the ledger that decides on calls whose fate is unknown."""

    def mark_in_doubt(self, *, is_dead: Callable[[str], bool], run_id: str = "") -> list[str]:
        """Calls in flight whose owner is dead become `in_doubt`; their reservation stays counted.

        Of an owner on another machine nobody here can say whether it lives; its calls are in doubt
        once they are older than any answer takes.

        Args:
            is_dead: says of an owner whether it can no longer answer.
            run_id: a run that this process alone goes on with: chats that a process elsewhere sent
                for it are nobody's. (Samples may be on their way to the run's own workers.)
        """
        c = t.calls.c
        with self.transaction(alone="doubt") as con:
            flying = (c.state == "sent", c.batch_id.is_(None), c.owner != self.owner)
            owners = con.execute(select(c.owner).where(*flying).distinct()).scalars().all()
            dead = [o for o in owners if is_dead(o)]
            away = [o for o in owners if not same_host(o, self.owner)]
            marked = con.execute(
                update(t.calls)
                .where(
                    *flying,
                    or_(
                        c.owner.in_(dead),
                        and_(c.owner.in_(away), c.sent_at < time.time() - STALE_S),
                        and_(c.owner.in_(away), c.kind == CHAT, c.run_id == run_id)
                        if run_id
                        else false(),
                    ),
                )
                .values(state="in_doubt")
                .returning(c.call_id)
            )
            return sorted(marked.scalars())

    def release_in_doubt(self, call_ids: Sequence[str], *, hold: bool) -> None:
        """Decide on calls in doubt: hold them, or free them to be sent again.

        Their price counts as spent either way: the vendor may have billed it.
        """
        c = t.calls.c
        with self.transaction(alone="doubt") as con:
            for start in range(0, len(call_ids), _CHUNK):
                part = list(call_ids[start : start + _CHUNK])
                decided = con.execute(
                    update(t.calls)
                    .where(c.call_id.in_(part), c.state == "in_doubt")
                    .values(
                        state="held" if hold else "failed",
                        outcome="in_doubt",
                        cost_microusd=c.cost_microusd + c.reserve_microusd,
                    )
                    .returning(c.call_id, c.attempts, c.budget_id, c.reserve_microusd)
                ).all()
                amounts: Counter[str] = Counter()
                for row in decided:
                    if row.budget_id is not None:
                        amounts[row.budget_id] += row.reserve_microusd
                for budget_id, amount in sorted(amounts.items()):
                    b = t.budgets.c
                    con.execute(
                        update(t.budgets)
                        .where(b.budget_id == budget_id)
                        .values(
                            reserved_microusd=b.reserved_microusd - amount,
                            spent_microusd=b.spent_microusd + amount,
                        )
                    )
                tries = [
                    {"b_call_id": row.call_id, "b_attempt": row.attempts, "b_at": time.time(),
                     "b_cost": row.reserve_microusd}
                    for row in decided
                ]  # fmt: skip
                if tries:
                    con.execute(_END_IN_DOUBT, tries)

    def resend_held(self, call_ids: Sequence[str]) -> None:
        """Free calls that were held to be sent again; what they may have cost stays spent."""
        c = t.calls.c
        with self.transaction(alone="doubt") as con:
            for start in range(0, len(call_ids), _CHUNK):
                part = list(call_ids[start : start + _CHUNK])
                con.execute(
                    update(t.calls)
                    .where(c.call_id.in_(part), c.state == "held")
                    .values(state="failed")
                )

    def in_doubt(self) -> list[dict[str, Any]]:
        """What is at risk, by endpoint, model and state.

        Each row has `calls`, `microusd` (at most) and `oldest` (seconds since 1970). States:
        `sent` (in flight, or its process died and nobody looked yet), `in_doubt`, `held`.
        """
        c = t.calls.c
        with self.reading() as con:
            found = con.execute(
                select(
                    c.endpoint, c.model, c.state,
                    func.count().label("calls"),
                    func.sum(c.reserve_microusd).label("microusd"),
                    func.min(c.sent_at).label("oldest"),
                )
                .where(c.state.in_(["sent", "in_doubt", "held"]))
                .group_by(c.endpoint, c.model, c.state)
                .order_by(c.endpoint, c.model, c.state)
            )  # fmt: skip
            return [dict(row) | {"microusd": int(row["microusd"])} for row in found.mappings()]

    # --- batches of a provider ------------------------------------------------------------------

    def start_batch(
        self, batch_id: str, intents: Sequence[CallIntent], *, budget_id: str | None = None
    ) -> set[str]:
        """Write a batch as `submitting` and its calls as `sent`, before it leaves.

        Returns the ids that are this batch's to send: put exactly these into it, and `batch_id`
        into the batch's own metadata, so that it can be found at the provider after a crash
        between its submission and `batch_submitted`.

        Raises:
            BudgetExhausted: when the reservations do not fit; no call was written.
        """
        row = {
            "batch_id": batch_id, "endpoint": intents[0].endpoint, "state": "submitting",
            "owner": self.owner, "calls": len(intents), "started_at": time.time(),
        }  # fmt: skip
        with self.transaction() as con:
            con.execute(self.upsert(t.batches, [row]))
        return self.reserve_and_send(intents, budget_id=budget_id, batch_id=batch_id)

    def batch_submitted(self, batch_id: str, provider_batch_id: str) -> None:
        """Keep the provider's id of a batch: from here anybody can fetch it."""
        self._set_batch(batch_id, state="submitted", provider_batch_id=provider_batch_id)

    def batch_ended(self, batch_id: str, *, state: str) -> None:
        """End a batch as `fetched` (its answers are in the ledger) or `failed`.

        Calls of a failed batch that have no answer can be sent again; their reservation is free.
        """
        b, c = t.batches.c, t.calls.c
        # In one transaction: calls of a batch that is no longer open would be nobody's.
        with self.transaction(alone="doubt") as con:
            con.execute(
                update(t.batches)
                .where(b.batch_id == batch_id)
                .values(state=state, ended_at=time.time())
            )
            if state == "failed":
                lost = con.execute(
                    update(t.calls)
                    .where(c.batch_id == batch_id, c.state == "sent")
                    .values(state="failed", outcome="batch_failed")
                    .returning(c.budget_id, c.reserve_microusd)
                ).all()
                for budget_id, amount in lost:
                    m = t.budgets.c
                    con.execute(
                        update(t.budgets)
                        .where(m.budget_id == budget_id)
                        .values(reserved_microusd=m.reserved_microusd - amount)
                    )

    def calls_of_batch(self, batch_id: str) -> dict[str, int]:
        """The calls of a batch, each with what is reserved for it in micro-dollars."""
        c = t.calls.c
        with self.reading() as con:
            found = con.execute(select(c.call_id, c.reserve_microusd).where(c.batch_id == batch_id))
            return {row.call_id: row.reserve_microusd for row in found}

    def open_batches(self) -> list[dict[str, Any]]:
        """Batches that are neither fetched nor failed, oldest first.

        Each row has the `model` of its calls too; None for a batch that got none.
        """
        c = t.calls.c
        model = select(func.min(c.model)).where(c.batch_id == t.batches.c.batch_id)
        with self.reading() as con:
            found = con.execute(
                select(t.batches, model.scalar_subquery().label("model"))
                .where(t.batches.c.state.in_(["submitting", "submitted"]))
                .order_by(t.batches.c.started_at)
            )
            return [dict(row) for row in found.mappings()]

    def _set_batch(self, batch_id: str, **values: Any) -> None:
        with self.transaction() as con:
            con.execute(update(t.batches).where(t.batches.c.batch_id == batch_id).values(**values))

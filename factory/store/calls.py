"""Paid calls: in the ledger before they leave and when they return (law 9).

A call is `sent` in the same transaction that reserves its price. Its answer and its real cost are
written in one transaction too, so after kill -9 every call is either answered (and kept) or was in
flight: `in_doubt`, counted and priced, and handled as the endpoint's `in_doubt` setting says.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, func, or_, select, update

from factory.errors import BudgetExhausted
from factory.store import tables as t
from factory.store.database import Database

_T = TypeVar("_T")

_CHUNK = 500
"""Ids a statement: SQLite allows 32,766 parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallIntent:
    """A paid call about to leave."""

    call_id: str
    kind: str
    endpoint: str
    model: str
    request_hash: str
    reserve_microusd: int = 0
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """A paid call that came back, or was given up."""

    call_id: str
    state: str
    """done or failed"""
    outcome: str
    http_status: int | None = None
    response: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_microusd: int = 0
    latency_ms: float | None = None
    error: str | None = None
    provider_request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """What the ledger knows of a call."""

    call_id: str
    state: str
    attempts: int
    endpoint: str
    model: str
    outcome: str | None
    http_status: int | None
    response: str | None
    error: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost_microusd: int
    reserve_microusd: int
    latency_ms: float | None
    run_id: str | None = field(default=None)


class Calls(Database):
    """The part of the ledger that paid calls use."""

    def reserve_and_send(
        self, intents: Sequence[CallIntent], *, budget_id: str | None = None
    ) -> set[str]:
        """Write calls as `sent` and reserve their price, in one transaction.

        Returns the ids that are now this owner's to send. A call that is done, held, in doubt, or
        in flight in another process is not among them.

        Raises:
            BudgetExhausted: when the reservations do not fit; nothing was written.
        """
        if not intents:
            return set()
        now = time.time()
        prices = {i.call_id: i.reserve_microusd for i in intents}
        with self.transaction() as con:
            claimed: dict[str, int] = {}
            for part in _parts(intents):
                found = con.execute(self._send(part, budget_id=budget_id, now=now))
                claimed |= {row.call_id: row.attempts for row in found}
            self._reserve(con, budget_id, sum(prices[i] for i in claimed))
            rows = [
                {
                    "call_id": i,
                    "attempt": n,
                    "owner": self.owner,
                    "sent_at": now,
                    "cost_microusd": 0,
                }
                for i, n in claimed.items()
            ]
            for part in _parts(rows):
                con.execute(self.upsert(t.attempts, list(part), on_conflict="nothing"))
        return set(claimed)

    def _send(self, intents: Sequence[CallIntent], *, budget_id: str | None, now: float) -> Any:
        rows = [
            {
                "call_id": i.call_id, "kind": i.kind, "endpoint": i.endpoint, "model": i.model,
                "request_hash": i.request_hash, "state": "sent", "attempts": 1,
                "owner": self.owner, "budget_id": budget_id, "run_id": i.run_id,
                "reserve_microusd": i.reserve_microusd, "cost_microusd": 0, "sent_at": now,
            }
            for i in intents
        ]  # fmt: skip
        again = {
            "state": "sent",
            "attempts": t.calls.c.attempts + 1,
            "owner": self.owner,
            "sent_at": now,
            "budget_id": budget_id,
            # The old reservation was freed when the attempt failed or was found in doubt.
            "reserve_microusd": lambda new: new.reserve_microusd,
        }
        claim = self.upsert(t.calls, rows, on_conflict=again, where=t.calls.c.state == "failed")
        return claim.returning(t.calls.c.call_id, t.calls.c.attempts)

    def _reserve(self, con: Connection, budget_id: str | None, amount: int) -> None:
        if budget_id is None or amount == 0:
            return
        b = t.budgets.c
        fits = or_(
            b.limit_microusd.is_(None),
            b.spent_microusd + b.reserved_microusd + amount <= b.limit_microusd,
        )
        done = con.execute(
            update(t.budgets)
            .where(b.budget_id == budget_id, fits)
            .values(reserved_microusd=b.reserved_microusd + amount)
        )
        if done.rowcount == 0:
            raise BudgetExhausted(
                f"the next calls ({amount / 1e6:.4f} USD) do not fit the budget {budget_id!r}",
                next="prefactory status  # then raise judging.budget_usd and run again",
            )

    def finish(self, results: Sequence[CallResult]) -> None:
        """Store answers and turn reservations into real costs, in one transaction.

        A call that is `done` stays as it is: the first answer is the answer.
        """
        if not results:
            return
        now = time.time()
        with self.transaction() as con:
            for part in _parts(results):
                self._settle(con, part, now=now)

    def _settle(self, con: Connection, results: Sequence[CallResult], *, now: float) -> None:
        c = t.calls.c
        by_id = {r.call_id: r for r in results}
        found = con.execute(
            select(c.call_id, c.attempts, c.budget_id, c.reserve_microusd).where(
                c.call_id.in_(list(by_id)), c.state != "done"
            )
        ).all()
        freed: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        writes: list[dict[str, Any]] = []
        for call_id, attempt, budget_id, reserved in found:
            result = by_id[call_id]
            writes.append(_as_write(result, attempt=attempt, now=now))
            if budget_id is not None:
                freed[budget_id][0] += reserved
                freed[budget_id][1] += result.cost_microusd
        if not writes:
            return
        con.execute(_FINISH_CALL, writes)
        con.execute(_FINISH_ATTEMPT, writes)
        for budget_id, (reserved, spent) in freed.items():
            b = t.budgets.c
            con.execute(
                update(t.budgets)
                .where(b.budget_id == budget_id)
                .values(
                    reserved_microusd=b.reserved_microusd - reserved,
                    spent_microusd=b.spent_microusd + spent,
                )
            )

    def calls(self, call_ids: Iterable[str]) -> dict[str, CallRow]:
        """The calls of these ids that the ledger knows."""
        names = CallRow.__slots__
        columns = [t.calls.c[name] for name in names]
        found: dict[str, CallRow] = {}
        with self.reading() as con:
            for part in _parts(list(call_ids)):
                for row in con.execute(select(*columns).where(t.calls.c.call_id.in_(part))):
                    found[row[0]] = CallRow(**dict(zip(names, row, strict=True)))
        return found

    def mark_in_doubt(self, *, is_dead: Any) -> list[str]:
        """Calls in flight whose owner is dead become `in_doubt`; their reservation stays counted.

        Args:
            is_dead: says of an owner whether it can no longer answer.
        """
        c = t.calls.c
        with self.transaction() as con:
            owners = con.execute(select(c.owner).where(c.state == "sent").distinct()).scalars()
            dead = [o for o in owners if o != self.owner and is_dead(o)]
            if not dead:
                return []
            where = (c.state == "sent", c.owner.in_(dead))
            ids = list(con.execute(select(c.call_id).where(*where)).scalars())
            con.execute(update(t.calls).where(*where).values(state="in_doubt"))
        return ids

    def release_in_doubt(self, call_ids: Sequence[str], *, hold: bool) -> None:
        """Decide on calls in doubt: hold them, or free them to be sent again.

        Their price counts as spent either way: the vendor may have billed it.
        """
        c = t.calls.c
        with self.transaction() as con:
            for part in _parts(list(call_ids)):
                where = (c.call_id.in_(part), c.state == "in_doubt")
                sums = con.execute(
                    select(c.budget_id, func.sum(c.reserve_microusd))
                    .where(*where, c.budget_id.is_not(None))
                    .group_by(c.budget_id)
                ).all()
                for budget_id, amount in sums:
                    b = t.budgets.c
                    con.execute(
                        update(t.budgets)
                        .where(b.budget_id == budget_id)
                        .values(
                            reserved_microusd=b.reserved_microusd - amount,
                            spent_microusd=b.spent_microusd + amount,
                        )
                    )
                con.execute(
                    update(t.attempts)
                    .where(t.attempts.c.call_id.in_(part), t.attempts.c.ended_at.is_(None))
                    .values(outcome="in_doubt")
                )
                con.execute(
                    update(t.calls)
                    .where(*where)
                    .values(state="held" if hold else "failed", outcome="in_doubt")
                )


_FINISH_CALL = (
    update(t.calls)
    .where(t.calls.c.call_id == bindparam("b_call_id"))
    .values(
        {
            name: bindparam(f"b_{name}")
            for name in (
                "state", "outcome", "http_status", "response", "tokens_in", "tokens_out",
                "cost_microusd", "latency_ms", "error", "provider_request_id", "done_at",
            )
        }
    )
)  # fmt: skip
_FINISH_ATTEMPT = (
    update(t.attempts)
    .where(
        t.attempts.c.call_id == bindparam("b_call_id"),
        t.attempts.c.attempt == bindparam("b_attempt"),
    )
    .values(
        ended_at=bindparam("b_done_at"),
        outcome=bindparam("b_outcome"),
        cost_microusd=bindparam("b_cost_microusd"),
    )
)


def _as_write(result: CallResult, *, attempt: int, now: float) -> dict[str, Any]:
    values = {f"b_{name}": getattr(result, name) for name in CallResult.__slots__}
    return values | {"b_done_at": now, "b_attempt": attempt}


def _parts(items: Sequence[_T]) -> Iterable[Sequence[_T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]

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

from sqlalchemy import Connection, bindparam, or_, select, update

from factory.errors import BudgetExhausted
from factory.store import tables as t
from factory.store.database import Database

_T = TypeVar("_T")

_CHUNK = 500
"""Ids a statement: SQLite allows 32,766 parameters."""
KEPT = "kept"
"""Outcome of a call whose rows are in the lake: its answer is needed no more."""
ANSWERS_S = 24 * 3600.0
"""Age from which such an answer may go. Until then it serves a process that asked for the same
beside us, a lake whose last commit a power cut tore, and a backup whose lake is older than its
ledger."""
_OF_THE_TRY = ("owner", "sent_at", "budget_id", "batch_id", "reserve_microusd", "price")
"""What a call that is tried again has anew."""


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
    price: str = ""
    """Whose price it is: `recipe`, or a line of a table of prices."""


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
        self,
        intents: Sequence[CallIntent],
        *,
        budget_id: str | None = None,
        batch_id: str | None = None,
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
        claim = self._claim()
        # In one order everywhere, so that two processes never wait for each other in a circle.
        rows = [
            _as_row(i, owner=self.owner, budget_id=budget_id, now=now) | {"batch_id": batch_id}
            for i in sorted({i.call_id: i for i in intents}.values(), key=lambda i: i.call_id)
        ]
        with self.transaction() as con:
            claimed = {row.call_id: row.attempts for row in con.execute(claim, rows)}
            self._reserve(con, budget_id, sum(prices[i] for i in claimed))
            tried = [
                {"call_id": i, "attempt": n, "owner": self.owner, "sent_at": now}
                for i, n in claimed.items()
            ]
            if tried:
                con.execute(self.upsert(t.attempts), tried)
        return set(claimed)

    def _claim(self) -> Any:
        """Insert calls as `sent`, and take the failed ones again; gives what was claimed."""
        again = {
            "state": "sent",
            "attempts": t.calls.c.attempts + 1,
            # The old reservation was freed when the attempt failed or was found in doubt.
            **{name: lambda new, name=name: getattr(new, name) for name in _OF_THE_TRY},
        }
        claim = self.upsert(t.calls, on_conflict=again, where=t.calls.c.state == "failed")
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
            setting = f"{_section(budget_id)}.budget_usd"
            raise BudgetExhausted(
                f"the next calls ({amount / 1e6:.4f} USD) do not fit the budget {budget_id!r}",
                next=f"prefactory status  # then raise {setting} and run again",
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
            select(c.call_id, c.attempts, c.state, c.budget_id, c.reserve_microusd)
            .where(c.call_id.in_(list(by_id)), c.state != "done")
            .order_by(c.call_id)
            .with_for_update()
        ).all()
        freed: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        writes: list[dict[str, Any]] = []
        for call_id, attempt, state, budget_id, reserved in found:
            result = by_id[call_id]
            if state == "failed" and result.state == "failed":
                continue  # told twice
            # A failed call has no reservation left; a held one counts as spent at its price.
            spent = result.cost_microusd - (reserved if state == "held" else 0)
            writes.append(_as_write(result, attempt=attempt, now=now) | {"b_spent": spent})
            if budget_id is not None:
                freed[budget_id][0] += reserved if state in {"sent", "in_doubt"} else 0
                freed[budget_id][1] += spent
        if not writes:
            return
        con.execute(_FINISH_CALL, writes)
        con.execute(_FINISH_ATTEMPT, writes)
        for budget_id, (reserved, spent) in sorted(freed.items()):
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

    def rows_are_kept(self, call_ids: Iterable[str]) -> None:
        """Say of calls that every row made of their answers is in the lake."""
        c = t.calls.c
        for part in _parts(sorted(call_ids)):
            with self.transaction() as con:
                con.execute(
                    update(t.calls)
                    .where(c.call_id.in_(part), c.state == "done")
                    .values(outcome=KEPT)
                )

    def forget_answers(self, *, older_s: float = ANSWERS_S, dry_run: bool = False) -> int:
        """Drop the texts of answers whose rows are in the lake; returns how many.

        Args:
            older_s: seconds since the answer came.
            dry_run: only count them.
        """
        c = t.calls.c
        old = (c.outcome == KEPT, c.response.is_not(None), c.done_at < time.time() - older_s)
        with self.reading() as con:
            found = list(con.execute(select(c.call_id).where(c.state == "done", *old)).scalars())
        for part in _parts([] if dry_run else found):
            with self.transaction() as con:
                con.execute(update(t.calls).where(c.call_id.in_(part), *old).values(response=None))
        return len(found)

    def ask_again(self, call_ids: Iterable[str]) -> None:
        """Free calls whose answer was dropped to be sent again; what they cost stays spent."""
        c = t.calls.c
        for part in _parts(sorted(call_ids)):
            with self.transaction() as con:
                con.execute(
                    update(t.calls)
                    .where(c.call_id.in_(part), c.state == "done", c.response.is_(None))
                    .values(state="failed", outcome="answer_dropped")
                )


_FINISH_CALL = (
    update(t.calls)
    .where(t.calls.c.call_id == bindparam("b_call_id"))
    .values(
        {
            name: bindparam(f"b_{name}")
            for name in (
                "state", "outcome", "http_status", "response", "tokens_in", "tokens_out",
                "latency_ms", "error", "provider_request_id", "done_at",
            )
        }
        # A try that failed may have been billed: a call costs what all of its tries cost.
        | {"cost_microusd": t.calls.c.cost_microusd + bindparam("b_spent")}
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


def _as_row(intent: CallIntent, *, owner: str, budget_id: str | None, now: float) -> dict[str, Any]:
    return {
        "call_id": intent.call_id, "kind": intent.kind, "endpoint": intent.endpoint,
        "model": intent.model, "request_hash": intent.request_hash, "state": "sent",
        "attempts": 1, "owner": owner, "budget_id": budget_id, "run_id": intent.run_id,
        "reserve_microusd": intent.reserve_microusd, "price": intent.price, "cost_microusd": 0,
        "sent_at": now,
    }  # fmt: skip


def _as_write(result: CallResult, *, attempt: int, now: float) -> dict[str, Any]:
    values = {f"b_{name}": _storable(getattr(result, name)) for name in CallResult.__slots__}
    return values | {"b_done_at": now, "b_attempt": attempt}


def _section(budget_id: str) -> str:
    """Whose budget it is: a run's id alone is its judging's, `RUN/SECTION` is another section's."""
    return budget_id.partition("/")[2] or "judging"


def _storable(value: object) -> object:
    """Text as both databases take it: PostgreSQL has no NUL, neither has lone surrogates."""
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _parts(items: Sequence[_T]) -> Iterable[Sequence[_T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]

"""The ledger at the speed of the network: a call is written before it leaves and when it returns.

One thread writes what many coroutines ask for. While one durable transaction is on its way to the
disk the next batch gathers, so thousands of calls a second cost tens of transactions.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from factory.errors import BudgetExhausted
from factory.store.calls import CallIntent, CallResult, CallRow
from factory.store.ledger import Ledger

_BATCH = 512


@dataclass(frozen=True, slots=True)
class _Send:
    intent: CallIntent
    done: asyncio.Future[bool]


@dataclass(frozen=True, slots=True)
class _Finish:
    result: CallResult
    done: asyncio.Future[bool] | None


class Journal:
    """Group commit over one ledger, for the coroutines of one event loop.

    A call whose price does not fit the budget waits while other calls are in flight, because their
    reservations are larger than their prices; when none is, it fails with `BudgetExhausted`.
    """

    def __init__(self, ledger: Ledger, *, budget_id: str | None) -> None:
        self._ledger = ledger
        self._budget_id = budget_id
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Send | _Finish | None] = queue.SimpleQueue()
        self._in_flight = 0
        self._parked: list[_Send] = []
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    async def send(self, intent: CallIntent) -> bool:
        """Write a call as sent; False when it is not this process's to send.

        Raises:
            BudgetExhausted: when its price cannot fit any more.
        """
        done: asyncio.Future[bool] = self._loop.create_future()
        self._queue.put(_Send(intent, done))
        return await done

    async def finish(self, result: CallResult) -> None:
        """Write an answer; returns when it is on disk."""
        done: asyncio.Future[bool] = self._loop.create_future()
        self._queue.put(_Finish(result, done))
        # Shielded: an answer that was paid for is written even where its reader is cancelled.
        await asyncio.shield(done)

    def finish_later(self, result: CallResult) -> None:
        """Write an answer that nobody waits for."""
        self._queue.put(_Finish(result, None))

    async def calls(self, call_ids: Sequence[str]) -> dict[str, CallRow]:
        """What the ledger knows of these calls."""
        return await asyncio.to_thread(self._ledger.calls, call_ids)

    async def close(self) -> None:
        """Write everything that is waiting, then stop."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- the writer's thread -----------------------------------------------------------------

    def _write(self) -> None:
        open_ = True
        while open_:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            open_ = None not in batch
            # Answers first: what they free may pay for the next calls.
            self._finish([item for item in batch if isinstance(item, _Finish)])
            sends = self._parked + [item for item in batch if isinstance(item, _Send)]
            waiting = [item for item in sends if not item.done.cancelled()]
            self._parked = []
            self._send(waiting)
            if not open_:
                self._refuse_parked()

    def _finish(self, items: list[_Finish]) -> None:
        if not items:
            return
        # Written or not, they are back: who waits for what they free must not wait for ever.
        self._in_flight -= len(items)
        try:
            self._ledger.finish([item.result for item in items])
        except Exception as failed:  # handed to the coroutines that wait: none may hang
            self._tell([_failing(item.done, failed) for item in items if item.done])
            return
        self._tell([_setting(item.done, True) for item in items if item.done])

    def _send(self, items: list[_Send]) -> None:
        size = len(items)
        at = 0
        while at < len(items):
            part = items[at : at + size]
            try:
                claimed = self._ledger.reserve_and_send(
                    [item.intent for item in part], budget_id=self._budget_id
                )
            except BudgetExhausted as refused:
                if size > 1:
                    size = (len(part) + 1) // 2
                    continue
                self._parked = items[at:]
                if self._in_flight == 0:
                    self._refuse_parked(refused)
                return
            except Exception as failed:
                self._tell([_failing(item.done, failed) for item in items[at:]])
                return
            self._in_flight += len(claimed)
            self._abandon([i for i in part if i.done.cancelled() and i.intent.call_id in claimed])
            self._tell([_setting(item.done, item.intent.call_id in claimed) for item in part])
            at += size

    def _abandon(self, items: list[_Send]) -> None:
        """Calls whose asker was cancelled meanwhile: they were never sent."""
        results = [
            CallResult(call_id=item.intent.call_id, state="failed", outcome="cancelled")
            for item in items
        ]
        self._finish([_Finish(result, None) for result in results])

    def _refuse_parked(self, refused: BudgetExhausted | None = None) -> None:
        parked, self._parked = self._parked, []
        error = refused or BudgetExhausted("the budget is used up", next="prefactory status")
        self._tell([_failing(item.done, error) for item in parked])

    def _tell(self, actions: Sequence[Callable[[], None]]) -> None:
        if actions and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: [act() for act in actions])


def _setting(future: asyncio.Future[bool], value: bool) -> Callable[[], None]:
    return lambda: None if future.done() else future.set_result(value)


def _failing(future: asyncio.Future[bool], error: Exception) -> Callable[[], None]:
    return lambda: None if future.done() else future.set_exception(error)

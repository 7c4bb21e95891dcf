"""Calls in batches of a vendor: many in one file, answered within a day, at a lower price.

A batch is in the ledger before it leaves, with every call that is in it, and its own id travels in
its metadata. Whoever comes after a crash asks the vendor for that id before anything is sent again,
so a call is never submitted twice. While a process works on a batch it holds the batch's lease.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from factory.errors import BudgetExhausted, FactoryError, LeaseHeld, Stopped
from factory.judging.client.calls import Answer, Call, intent_of, kept_answer
from factory.judging.client.lines import answers_in, line_of, of_this
from factory.judging.client.tries import Try, failed_try, result_of
from factory.judging.client.vendor import Failed, Looked, Vendor
from factory.judging.outcomes import Reply
from factory.recipe import Endpoint
from factory.store import Ledger

log_ = logging.getLogger(__name__)

ROUNDS = 3
"""How often a call is put into a batch before its failure is its answer."""
FILE_BYTES = 190_000_000
"""Of a batch's file; the vendor takes 200 MB."""
LOOK_AGAIN_S = 30.0
GONE_S = 3 * 86_400.0
"""Age from which a batch that no key knows is given up; a day is the most that one may take."""
MISSES = 5
"""Looks at a batch that may fail, one after another, before the run is stopped."""
_CHUNK = 2_000
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class Batcher:
    """One endpoint's batches, from one event loop."""

    def __init__(
        self, endpoint: Endpoint, *, name: str, ledger: Ledger, budget_id: str | None, run_id: str
    ) -> None:
        self.endpoint = endpoint
        self.name = name
        self.run_id = run_id
        self._ledger = ledger
        self._budget_id = budget_id
        self._vendor = Vendor(endpoint)
        self._stop: FactoryError | None = None
        self._stopped = asyncio.Event()
        self._in_flight = 0
        self._settled = asyncio.Condition()

    def stop(self) -> None:
        """Send nothing more and wait for nothing: open batches are fetched by the next run."""
        if self._stop is None:
            self._stopping(": stopped")

    async def close(self) -> None:
        """Close the connections."""
        await self._vendor.close()

    async def resume(self) -> None:
        """Fetch every batch that an earlier process left open, of this endpoint and this model."""
        rows = await asyncio.to_thread(self._open_ones)
        taken = await asyncio.gather(
            *(self._take_over(row) for row in rows.values()), return_exceptions=True
        )
        failures = [failure for failure in taken if failure is not None]
        if failures:
            raise next((f for f in failures if not isinstance(f, FactoryError)), failures[0])

    def _open_ones(self) -> dict[str, dict[str, Any]]:
        """Batches of another model have another price, and maybe other keys: they wait for it."""
        return {
            row["batch_id"]: row
            for row in self._ledger.open_batches()
            if row["endpoint"] == self.endpoint.url and row["model"] in {None, self.endpoint.model}
        }

    async def ask_all(self, calls: Sequence[Call]) -> list[Answer | BaseException]:
        """The answers to calls, in their order; an error stands where the run was stopped."""
        left = {call.call_id: call for call in calls}
        answers: dict[str, Answer] = {}
        spent: Counter[str] = Counter()
        lost: BaseException = Stopped("stopped", next="the same command goes on")
        for turn in range(1, ROUNDS + 1):
            tries: dict[str, Try | None] = {}
            stopped = False
            try:
                await self._send(list(left.values()), tries)
                answers |= await self._of_others([i for i, tried in tries.items() if tried is None])
            except FactoryError as error:
                lost, stopped = error, True  # what came back before it is kept
            for call_id, tried in tries.items():
                spent[call_id] += tried.cost if tried else 0
                if tried and (not tried.again or turn == ROUNDS):
                    cost = spent[call_id]
                    answers[call_id] = Answer(reply=tried.reply, cost_microusd=cost)
            left = {call_id: call for call_id, call in left.items() if call_id not in answers}
            if stopped or not left:
                break
        return [answers.get(call.call_id, lost) for call in calls]

    async def _of_others(self, call_ids: Sequence[str]) -> dict[str, Answer]:
        """Calls that another batch has: its answers once it is settled, else nobody's yet."""
        if not call_ids:
            return {}
        while self._in_flight and self._stop is None:
            async with self._settled:
                await self._settled.wait()
        rows = await asyncio.to_thread(self._ledger.calls, call_ids)
        found: dict[str, Answer] = {call_id: Answer(reply=None) for call_id in call_ids}
        for call_id, row in rows.items():
            if row.state == "done" and row.response:
                found[call_id] = kept_answer(row)
        return found

    # --- one batch ---------------------------------------------------------------------------

    async def _send(self, calls: Sequence[Call], found: dict[str, Try | None]) -> None:
        """Calls in as many batches as the budget asks for; None for calls of another process."""
        size = len(calls)
        while len(found) < len(calls):
            if self._stop is not None:
                raise self._stop
            part = _one_file(calls[len(found) : len(found) + size])
            batch_id = uuid.uuid4().hex
            with self._ledger.lease(f"batch:{batch_id}"):
                try:
                    intents = [intent_of(call, self.endpoint, self.run_id) for call in part]
                    claimed = await asyncio.to_thread(
                        self._ledger.start_batch, batch_id, intents, budget_id=self._budget_id
                    )
                except BudgetExhausted as refused:
                    await self._end(batch_id, "failed")
                    size = await self._smaller(len(part), refused)
                    continue
                found |= {call.call_id: None for call in part}
                ours = [call for call in part if call.call_id in claimed]
                if not ours:
                    await self._end(batch_id, "failed")
                    continue
                async with self._flying():
                    remote, key = await self._submit(batch_id, ours)
                    bodies = {call.call_id: call.body for call in ours}
                    found |= await self._collect(batch_id, remote, key, bodies=bodies)
            size = max(size, len(calls) - len(found))

    async def _smaller(self, size: int, refused: BudgetExhausted) -> int:
        """The next size to try; at one call, wait for what others have reserved."""
        if size > 1:
            return size // 2
        if self._in_flight == 0:
            raise refused
        async with self._settled:
            await self._settled.wait()
        return 1

    @asynccontextmanager
    async def _flying(self) -> AsyncIterator[None]:
        """While it lasts, what this batch does not use may still pay for others."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            async with self._settled:
                self._settled.notify_all()

    async def _submit(self, batch_id: str, calls: Sequence[Call]) -> tuple[str, int]:
        """Submit a batch; gives the vendor's id of it, which is in the ledger then, and the key."""
        started = time.time()
        lines = b"\n".join(line_of(call) for call in calls)
        try:
            found = await self._vendor.submit(batch_id, lines, rest=self._rest)
        except FactoryError:
            await self._end(batch_id, "failed")  # it was refused before the run was stopped
            raise
        except Failed as failed:
            # A refusal is sure. After anything else the batch may be there: the vendor knows.
            there = None if failed.sure else await self._find(batch_id, since=started)
            if there is None:
                await self._end(batch_id, "failed")
                raise self._stopping(f": the batch was not taken: {failed}") from failed
            found = there
        remote, key = found
        await asyncio.to_thread(self._ledger.batch_submitted, batch_id, remote)
        log_.info("batch %s: %d calls at %s", remote, len(calls), self.endpoint.url)
        return remote, key

    async def _rest(self, seconds: float) -> None:
        """Wait, and no longer than until the run is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        if self._stop is not None:
            raise self._stop

    async def _collect(
        self,
        batch_id: str,
        remote: str,
        key: int,
        *,
        bodies: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, Try | None]:
        """Wait for a batch, and write every answer into the ledger.

        Args:
            batch_id: ours.
            remote: the vendor's.
            key: which of the endpoint's keys made it.
            bodies: what was asked, where that is known.
        """
        done = await self._wait(remote, key)
        reserved = await asyncio.to_thread(self._ledger.calls_of_batch, batch_id)
        if done.status == "failed":
            await self._end(batch_id, "failed")
            raise self._stopping(f": the batch {remote} failed: {done.why}")
        tries: dict[str, Try | None] = {}
        for file_id in (done.output_file_id, done.error_file_id):
            for call_id, tried in await self._read(file_id, key, reserved):
                if call_id in reserved:
                    body = bodies.get(call_id) if bodies else None
                    tries.setdefault(call_id, tried if body is None else of_this(tried, body))
                else:
                    log_.warning("batch %s answers %r, which it was not asked", remote, call_id)
        for call_id in reserved:
            # Not answered before the batch ended, and so not billed.
            tries.setdefault(
                call_id, failed_try(Reply(error=f"batch_{done.status}"), cost=0, again=True)
            )
        results = [result_of(call_id, tried) for call_id, tried in tries.items() if tried]
        for start in range(0, len(results), _CHUNK):
            await asyncio.to_thread(self._ledger.finish, results[start : start + _CHUNK])
        await self._end(batch_id, "fetched")
        log_.info("batch %s: %s, %d answers", remote, done.status, len(results))
        return tries

    async def _wait(self, remote: str, key: int) -> Looked:
        """The batch, once it has ended.

        Raises:
            Stopped: when it cannot be asked for, or the run is stopped; the batch stays open.
        """
        missed = 0
        while self._stop is None:
            try:
                batch = await self._vendor.look(remote, key)
            except Failed as failed:
                missed += 1
                if (failed.sure and failed.status != 429) or missed >= MISSES:
                    raise self._stopping(f": the batch {remote} is open: {failed}") from failed
            else:
                missed = 0
                if batch.status in _ENDED:
                    return batch
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self.endpoint.batch.poll_s)
        raise self._stop

    async def _read(
        self, file_id: str, key: int, reserved: dict[str, int]
    ) -> list[tuple[str, Try]]:
        """The answers of an output or error file."""
        if not file_id:
            return []
        try:
            content = await self._vendor.read(file_id, key)
        except Failed as failed:
            raise self._stopping(f": the answers {file_id} are not there: {failed}") from failed
        found = list(answers_in(content, self.endpoint, reserved))
        if not found:  # a gateway's page, or half a file: the answers are paid for, and will come
            raise self._stopping(f": the answers {file_id} cannot be read")
        return found

    # --- after a crash -----------------------------------------------------------------------

    async def _take_over(self, row: dict[str, Any]) -> None:
        """Fetch a batch of a dead process; one of a live process is left to it."""
        batch_id = row["batch_id"]
        try:
            with self._ledger.lease(f"batch:{batch_id}"):
                # Whoever had it may have ended it while we waited.
                now = (await asyncio.to_thread(self._open_ones)).get(batch_id)
                found = None if now is None else await self._found(now)
                if found is not None:
                    async with self._flying():
                        await self._collect(batch_id, *found)
        except LeaseHeld:
            log_.info("batch %s is in the hands of another process", batch_id)

    async def _found(self, row: dict[str, Any]) -> tuple[str, int] | None:
        """The vendor's id of an open batch and its key; None, and ended, where it never arrived."""
        batch_id, remote = row["batch_id"], row["provider_batch_id"]
        if remote is not None:
            gone = row["started_at"] <= time.time() - GONE_S
            key = await self._owner_of(remote, gone_where_unknown=gone)
            if key is not None:
                return remote, key
            await self._end(batch_id, "failed")
            return None
        found = await self._find(batch_id, since=row["started_at"])
        if found is None:
            await self._end(batch_id, "failed")  # its calls are free again
            return None
        await asyncio.to_thread(self._ledger.batch_submitted, batch_id, found[0])
        return found

    async def _owner_of(self, remote: str, *, gone_where_unknown: bool) -> int | None:
        """The key that made a batch; None where no key knows it and it may be gone.

        Raises:
            Stopped: when that cannot be seen; the batch stays open.
        """
        for missed in range(1, MISSES + 1):
            try:
                return await self._vendor.owner_of(remote)
            except Failed as failed:
                if failed.status == 404 and gone_where_unknown:
                    url = self.endpoint.url
                    log_.warning("the batch %s is gone at %s: %s", remote, url, failed)
                    return None
                if (failed.sure and failed.status != 429) or missed == MISSES:
                    raise self._stopping(f": the batch {remote} is open: {failed}") from failed
            await self._rest(self.endpoint.batch.poll_s)
        raise AssertionError("the last miss stops the run")

    async def _find(self, batch_id: str, *, since: float) -> tuple[str, int] | None:
        """The vendor's id of a batch of ours, or None. A list may lag: it is looked at twice."""
        for pause in (0.0, min(LOOK_AGAIN_S, self.endpoint.batch.poll_s)):
            await asyncio.sleep(pause)
            try:
                found = await self._vendor.find(batch_id, since=since)
            except Failed as failed:
                raise self._stopping(f": its batches cannot be listed: {failed}") from failed
            if found is not None:
                return found
        return None

    async def _end(self, batch_id: str, state: str) -> None:
        await asyncio.to_thread(self._ledger.batch_ended, batch_id, state=state)

    def _stopping(self, words: str) -> Stopped:
        stop = Stopped(
            f"judging.endpoints.{self.name}{words}",
            next="mend it and type the same command: it goes on from here",
        )
        self._stop = self._stop or stop
        self._stopped.set()
        return stop


def _one_file(calls: Sequence[Call]) -> Sequence[Call]:
    """As many of the calls as go into one file; at least one."""
    size = 0
    for n, call in enumerate(calls):
        size += len(line_of(call)) + 1
        if n and size > FILE_BYTES:
            return calls[:n]
    return calls

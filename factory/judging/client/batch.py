"""A vendor's batch interface: many calls in one file, answered within a day, at a lower price.

OpenAI's protocol (https://platform.openai.com/docs/guides/batch): a file in, a batch, files out.
A batch is in the ledger before it leaves, with every call that is in it, and its own id travels in
its metadata. Whoever comes after a crash asks the vendor for that id before anything is sent again,
so a call is never submitted twice. While a process works on a batch it holds the batch's lease.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from factory.errors import BudgetExhausted, FactoryError, LeaseHeld, Stopped
from factory.judging.client.calls import Answer, Call, intent_of
from factory.judging.client.replies import cost_of, read_error, read_value
from factory.judging.client.tries import Try, failed_try, result_of
from factory.judging.outcomes import Reply
from factory.recipe import Endpoint
from factory.store import Ledger

if TYPE_CHECKING:
    import openai

log_ = logging.getLogger(__name__)

OURS = "prefactory_batch"
"""The name in a batch's metadata under which our own id stands."""
ROUNDS = 3
"""How often a call is put into a batch before its failure is its answer."""
LOOK_AGAIN_S = 30.0
_DAY = 86_400
_CHUNK = 2_000
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


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
        self._openai = _open(endpoint)
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
        await self._openai.close()

    async def resume(self) -> None:
        """Fetch every batch that an earlier process left open at this endpoint."""
        rows = await asyncio.to_thread(self._ledger.open_batches)
        mine = [row for row in rows if row["endpoint"] == self.endpoint.url]
        await asyncio.gather(*(self._take_over(row) for row in mine))

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
                found[call_id] = Answer(reply=Reply.loads(row.response))
        return found

    # --- one batch ---------------------------------------------------------------------------

    async def _send(self, calls: Sequence[Call], found: dict[str, Try | None]) -> None:
        """Calls in as many batches as the budget asks for; None for calls of another process."""
        size = len(calls)
        while len(found) < len(calls):
            if self._stop is not None:
                raise self._stop
            part = calls[len(found) : len(found) + size]
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
                    remote = await self._submit(batch_id, ours)
                    found |= await self._collect(batch_id, remote)
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

    async def _submit(self, batch_id: str, calls: Sequence[Call]) -> str:
        """Upload and create a batch; gives the vendor's id of it, which is in the ledger then."""
        import openai

        started = time.time()
        lines = b"\n".join(_line(call) for call in calls)
        try:
            file = await self._openai.files.create(
                file=(f"{batch_id}.jsonl", lines, "application/jsonl"), purpose="batch"
            )
            made = await self._openai.with_options(max_retries=0).batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={OURS: batch_id},
                extra_headers={"Idempotency-Key": batch_id},
            )
            remote = made.id
        except openai.APIError as failed:
            # A refusal is sure. After anything else the batch may be there: the vendor knows.
            refused = isinstance(failed, openai.APIStatusError) and failed.status_code < 500
            found = None if refused else await self._find(batch_id, since=started)
            if found is None:
                await self._end(batch_id, "failed")
                raise self._stopping(f": the batch was not taken: {_said(failed)}") from failed
            remote = found
        await asyncio.to_thread(self._ledger.batch_submitted, batch_id, remote)
        log_.info("batch %s: %d calls at %s", remote, len(calls), self.endpoint.url)
        return remote

    async def _collect(self, batch_id: str, remote: str) -> dict[str, Try | None]:
        """Wait for a batch, and write every answer into the ledger."""
        done = await self._wait(remote)
        reserved = await asyncio.to_thread(self._ledger.calls_of_batch, batch_id)
        if done.status == "failed":
            await self._end(batch_id, "failed")
            raise self._stopping(f": the batch {remote} failed: {_why(done)}")
        tries: dict[str, Try | None] = {}
        for file_id in (done.output_file_id, done.error_file_id):
            for call_id, tried in await self._read(file_id, reserved):
                if call_id in reserved:
                    tries.setdefault(call_id, tried)
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

    async def _wait(self, remote: str) -> Any:
        """The batch, once it has ended.

        Raises:
            Stopped: when it cannot be asked for, or the run is stopped; the batch stays open.
        """
        import openai

        while self._stop is None:
            try:
                batch = await self._openai.batches.retrieve(remote)
            except openai.APIError as failed:
                raise self._stopping(f": the batch {remote} is open: {_said(failed)}") from failed
            if batch.status in _ENDED:
                return batch
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self.endpoint.batch.poll_s)
        raise self._stop

    async def _read(self, file_id: str | None, reserved: dict[str, int]) -> list[tuple[str, Try]]:
        """The answers of an output or error file."""
        import openai

        if not file_id:
            return []
        try:
            content = await self._openai.files.content(file_id)
        except openai.APIError as failed:
            raise self._stopping(
                f": the answers {file_id} are not there: {_said(failed)}"
            ) from failed
        return list(_answers(content.content, self.endpoint, reserved))

    # --- after a crash -----------------------------------------------------------------------

    async def _take_over(self, row: dict[str, Any]) -> None:
        """Fetch a batch of a dead process; one of a live process is left to it."""
        batch_id, remote = row["batch_id"], row["provider_batch_id"]
        try:
            lease = self._ledger.lease(f"batch:{batch_id}")
            with lease:
                if remote is None:
                    remote = await self._find(batch_id, since=row["started_at"])
                    if remote is None:
                        # It never reached the vendor: its calls are free again.
                        await self._end(batch_id, "failed")
                        return
                    await asyncio.to_thread(self._ledger.batch_submitted, batch_id, remote)
                async with self._flying():
                    await self._collect(batch_id, remote)
        except LeaseHeld:
            log_.info("batch %s is in the hands of another process", batch_id)

    async def _find(self, batch_id: str, *, since: float) -> str | None:
        """The vendor's id of a batch of ours, or None. A list may lag: it is looked at twice."""
        import openai

        for pause in (0.0, min(LOOK_AGAIN_S, self.endpoint.batch.poll_s)):
            await asyncio.sleep(pause)
            try:
                async for batch in self._openai.batches.list(limit=100):
                    if (batch.metadata or {}).get(OURS) == batch_id:
                        return batch.id
                    if batch.created_at < since - _DAY:
                        break
            except openai.APIError as failed:
                raise self._stopping(f": its batches cannot be listed: {_said(failed)}") from failed
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


def _open(endpoint: Endpoint) -> openai.AsyncOpenAI:
    import openai

    keys = endpoint.api_keys()
    return openai.AsyncOpenAI(
        base_url=endpoint.url,
        # A batch belongs to the key that made it: the first one makes and fetches them all.
        api_key=keys[0] if keys else "none",
        organization="",
        project="",
        timeout=max(120.0, endpoint.timeout_s),
        max_retries=endpoint.max_attempts,
    )


def _line(call: Call) -> bytes:
    asked = {"custom_id": call.call_id, "method": "POST", "url": "/v1/chat/completions"}
    text = json.dumps(asked | {"body": dict(call.body)}, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _answers(
    content: bytes, endpoint: Endpoint, reserved: dict[str, int]
) -> Iterator[tuple[str, Try]]:
    """Each line of an output or error file; a line that cannot be read answers nobody."""
    for line in content.splitlines():
        try:
            value: Any = json.loads(line)
            call_id = str(value["custom_id"])
            response: Any = value.get("response") or {}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        error = value.get("error")
        if isinstance(error, dict) and error:
            code = re.sub(r"[^a-z0-9]+", "_", str(error.get("code") or "error").lower())[:40]
            message = str(error.get("message") or "")[:300]
            yield (
                call_id,
                failed_try(
                    Reply(error=f"batch_{code.removeprefix('batch_')}"),
                    cost=0,
                    again=True,
                    message=message,
                ),
            )
        elif isinstance(response, dict):
            yield call_id, _tried(response, endpoint, reserved.get(call_id, 0))


def _tried(response: dict[str, Any], endpoint: Endpoint, reserved: int) -> Try:
    status, body = response.get("status_code"), response.get("body")
    if status != 200:
        code, message = read_error(json.dumps(body).encode())
        known = status if isinstance(status, int) else 0
        error = "no_quota" if code == "insufficient_quota" else f"http_{known}"
        again = known in _AGAIN
        return failed_try(
            Reply(error=error), cost=0, again=again, message=message[:300], status=known
        )
    reply, usage = read_value(body)
    cost = reserved if usage is None else cost_of(usage, endpoint)
    if reply.error:
        return failed_try(reply, cost=cost, again=True, status=200)
    return Try(reply=reply, cost=cost, http_status=200, latency_ms=0.0, again=False)


def _said(failed: openai.APIError) -> str:
    return " ".join(failed.message.replace("\x00", " ").split())[:300]


def _why(batch: Any) -> str:
    errors = getattr(batch.errors, "data", None) or []
    return "; ".join(str(error.message) for error in errors[:3])[:300] or "no reason is given"

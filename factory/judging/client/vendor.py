"""A vendor's batch interface, spoken so that whatever it answers ends as a value or as a `Failed`.

OpenAI's protocol (https://platform.openai.com/docs/guides/batch): a file in, a batch, files out.
A batch belongs to the key that made it. Keys take turns; which of them made a batch that another
process left behind is found by asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.judging.client.keys import Keys
from factory.judging.client.pace import backoff
from factory.recipe import Endpoint

if TYPE_CHECKING:
    import openai

OURS = "prefactory_batch"
"""The name in a batch's metadata under which our own id stands."""
_DAY = 86_400
_PAGE = 100
_MOST_LISTED = 10_000
"""Batches that are looked through: a list that has no end is left."""
_OF_THE_KEY = frozenset({401, 402, 403})
_PERHAPS = frozenset({408, 409})
"""Refusals after which what was asked for may be there all the same."""


class Failed(Exception):
    """The vendor gave no usable answer.

    `sure`: nothing was made. `status`: the HTTP status of a refusal, else 0.
    """

    def __init__(self, said: str, *, sure: bool, status: int = 0) -> None:
        super().__init__(said)
        self.sure = sure
        self.status = status


@dataclass(frozen=True, slots=True)
class Looked:
    """A batch as the vendor shows it."""

    status: str
    output_file_id: str
    error_file_id: str
    why: str
    """Why it failed, in the vendor's words."""


class Vendor:
    """One endpoint's batch interface, under all of its keys, from one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._keys = Keys(endpoint.api_keys())
        self._most = endpoint.max_attempts
        self._clients = [
            _open(endpoint, self._keys[key] or "none") for key in range(len(self._keys))
        ]

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(client.close() for client in self._clients))

    async def submit(
        self, batch_id: str, lines: bytes, *, rest: Callable[[float], Awaitable[None]]
    ) -> tuple[str, int]:
        """Upload and create a batch; gives the vendor's id of it, and whose it is.

        Args:
            batch_id: our id of it, which goes into its metadata.
            lines: the calls.
            rest: waits before another try.

        Raises:
            Failed: with `sure` where there is no such batch.
        """
        files: dict[int, str] = {}
        tries = 0
        while True:
            key = self._keys.pick()
            try:
                if key not in files:
                    files[key] = await self._upload(key, batch_id, lines)
                return await self._create(key, batch_id, files[key]), key
            except Failed as failed:
                tries += 1
                if not failed.sure or not self._another(key, failed, tries):
                    raise
                if failed.status == 429:
                    wait = self._keys.crowded(key, None)
                    if wait is not None:
                        await rest(max(wait, backoff(tries)))

    def _another(self, key: int, failed: Failed, tries: int) -> bool:
        """Whether a refusal is worth another try, with this key or another."""
        if failed.status in _OF_THE_KEY:
            return self._keys.refused(key)
        return failed.status == 429 and tries < self._most * len(self._keys)

    async def _upload(self, key: int, batch_id: str, lines: bytes) -> str:
        with self._typed(sure=True):  # a file alone is no batch
            file = await self._clients[key].files.create(
                file=(f"{batch_id}.jsonl", lines, "application/jsonl"), purpose="batch"
            )
            return _text(file, "id")

    async def _create(self, key: int, batch_id: str, file_id: str) -> str:
        with self._typed():
            once = self._clients[key].with_options(max_retries=0)
            made = await once.batches.create(
                input_file_id=file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={OURS: batch_id},
                extra_headers={"Idempotency-Key": batch_id},
            )
            return _text(made, "id")

    async def look(self, remote: str, key: int) -> Looked:
        """A batch as it is now.

        Raises:
            Failed: when it cannot be seen.
        """
        with self._typed():
            batch = await self._clients[key].batches.retrieve(remote)
            return Looked(
                status=_text(batch, "status"),
                output_file_id=batch.output_file_id or "",
                error_file_id=batch.error_file_id or "",
                why=_why(batch),
            )

    async def read(self, file_id: str, key: int) -> bytes:
        """The bytes of a file.

        Raises:
            Failed: when they cannot be had.
        """
        with self._typed():
            content = await self._clients[key].files.content(file_id)
            return bytes(content.content)

    async def owner_of(self, remote: str) -> int:
        """The key that made a batch.

        Raises:
            Failed: when no key knows it.
        """
        for key in range(len(self._clients)):
            try:
                await self.look(remote, key)
                return key
            except Failed as failed:
                if failed.status not in {*_OF_THE_KEY, 404} or key == len(self._clients) - 1:
                    raise
        raise AssertionError("an endpoint has at least one key")

    async def find(self, batch_id: str, *, since: float) -> tuple[str, int] | None:
        """The vendor's id of a batch of ours, and whose it is; None where there is none.

        Raises:
            Failed: when its batches cannot be listed.
        """
        # A key that cannot list may have made it, so what the others do not know decides nothing.
        for key, client in enumerate(self._clients):
            with self._typed():
                found = await _listed(client, batch_id, since=since)
            if found is not None:
                return found, key
        return None

    @contextmanager
    def _typed(self, *, sure: bool | None = None) -> Iterator[None]:
        """Whatever goes wrong inside is a `Failed`, in short words and without our keys."""
        import openai

        try:
            yield
        except openai.APIStatusError as failed:
            status = failed.status_code
            known = 400 <= status < 500 and status not in _PERHAPS if sure is None else sure
            raise Failed(self._shown(failed.message), sure=known, status=status) from failed
        except openai.APIError as failed:
            raise Failed(self._shown(failed.message), sure=bool(sure)) from failed
        except (AttributeError, LookupError, TypeError, ValueError) as odd:
            # A 200 of other contents: the library hands it on as whatever it looks like.
            raise Failed("a 200 that is no answer to what was asked", sure=bool(sure)) from odd

    def _shown(self, text: str) -> str:
        return " ".join(self._keys.hidden(text).replace("\x00", " ").split())[:300]


def _open(endpoint: Endpoint, key: str) -> openai.AsyncOpenAI:
    import openai

    return openai.AsyncOpenAI(
        base_url=endpoint.url,
        api_key=key,
        organization="",
        project="",
        timeout=max(120.0, endpoint.timeout_s),
        max_retries=endpoint.max_attempts,
    )


async def _listed(client: openai.AsyncOpenAI, batch_id: str, *, since: float) -> str | None:
    seen: set[str] = set()
    async for batch in client.batches.list(limit=_PAGE):
        identity = _text(batch, "id")
        if (batch.metadata or {}).get(OURS) == batch_id:
            return identity
        if identity in seen or len(seen) >= _MOST_LISTED:
            break  # a vendor that gives the same page again and again
        seen.add(identity)
        if (batch.created_at or since) < since - _DAY:
            break
    return None


def _text(value: Any, name: str) -> str:
    found = getattr(value, name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"no {name}")
    return found


def _why(batch: Any) -> str:
    errors = getattr(batch.errors, "data", None) or []
    return "; ".join(str(error.message) for error in errors[:3])[:300] or "no reason is given"

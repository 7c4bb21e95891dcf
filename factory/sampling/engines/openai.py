"""Servers that speak OpenAI's protocol: vLLM servers, gateways, vendors; several URLs are a pool.

A vLLM server is given token ids (the template is applied once, here) and asked for the sampled ids
and their log-probabilities, so that its completions are exact. Any other server is given messages;
its text is tokenised once by the model directory's tokenizer and marked `retokenised`, and has no
log-probabilities.

A server's weights cannot be seen from here: it is believed that it serves the model it is asked
for. Every sampling parameter is sent, because a server fills in what is left out from files of its
own.

Settings: `urls` (or `url`), `model` (as the server calls it; by default its only one),
`api_key_env`, `api` (auto, completions or chat), `concurrency` (calls in flight at each URL, 64),
`timeout_s` (600), `health_s` (10), `attempts` (6), `extra_body`, `price` (dollars per million
tokens: `input`, `output`), `in_doubt` (resend or hold); `tokenizer` is read by the stage.

Where the terms name an account, every call is in its ledger before it leaves and when it returns.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from factory.errors import UserError
from factory.recipe import Price
from factory.rows import SamplingParams
from factory.sampling.answers import kept
from factory.sampling.endpoints import Endpoint, Endpoints
from factory.sampling.faults import EngineClosed
from factory.sampling.paid import UNPRICED, Call, PaidCalls, call_id_of, most_read
from factory.sampling.render import Renderer
from factory.sampling.requests import Account, Sampled, SampleRequest, Terms
from factory.sampling.text import decoded, stop_tokens
from factory.sampling.wire import Answer, Posted

_FINISH = {"stop": "stop", "length": "length", "eos_token": "stop"}
LAST_WORDS_S = 30.0
"""How long a closing engine waits for answers that cost money."""
T = TypeVar("T")

log_ = logging.getLogger(__name__)


class Settings(BaseModel):
    """What `sampling.settings` may say for this engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: tuple[str, ...] = Field(min_length=1)
    model: str | None = None
    api_key_env: str | None = None
    api: Literal["auto", "completions", "chat"] = "auto"
    concurrency: int = Field(default=64, gt=0)
    timeout_s: float = Field(default=600.0, gt=0)
    health_s: float = Field(default=10.0, gt=0)
    """Seconds without a word from an endpoint that owes answers, after which it is asked whether it
    lives, and that it has to say so."""
    attempts: int = Field(default=6, gt=0)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    price: Price | None = None
    in_doubt: Literal["resend", "hold"] = "resend"
    tokenizer: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_url(cls, given: Any) -> Any:
        if isinstance(given, dict) and "url" in given:
            rest = {k: v for k, v in given.items() if k != "url"}
            return {**rest, "urls": [given["url"]]}
        return given


class OpenAISampler:
    """Endpoints that serve one model, driven by an event loop on a thread of its own."""

    engine = "openai"
    batch_size: int | None = None

    def __init__(self, model: Path, settings: Settings, terms: Terms) -> None:
        self._settings = settings
        self._renderer = Renderer(model)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="openai")
        self._thread.start()
        self._closed = False
        self._gate = threading.Lock()
        self._asking: set[asyncio.Task[Any]] = set()
        self._log = terms.log
        try:
            self._pool = self._run(self._open(settings, terms))
        except BaseException:
            self._end_loop()
            raise
        try:
            self._served = settings.model or self._only_model()
            self._paid = self._run(self._open_account(terms.account)) if terms.account else None
        except BaseException:
            self._run(self._pool.close())
            self._end_loop()
            raise
        healthy = [e for e in self._pool.all if e.healthy]
        self.engine_version = healthy[0].version and f"vllm {healthy[0].version}"
        lengths = [n for e in healthy if (n := e.models.get(self._served))]
        self.max_model_len = min([terms.max_model_len or 1 << 20, *lengths])

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sampled]:
        """All samples of all requests; several threads may ask at once."""
        if not requests:
            return []
        with self._gate:  # what reaches the loop after `close` has begun might never be answered
            if self._closed:
                raise EngineClosed("the openai engine is closed")
            asked = asyncio.run_coroutine_threadsafe(self._sample(requests, params), self._loop)
        try:
            found = asked.result()
        except CancelledError:
            raise EngineClosed("the openai engine was closed in the middle of a batch") from None
        return [sample for samples in found for sample in samples]

    def close(self) -> None:
        """Give up what is in flight; what costs money has `LAST_WORDS_S` to come back."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        try:
            self._run(self._shut())
        finally:
            self._end_loop()

    async def _shut(self) -> None:
        asking = list(self._asking)
        if asking and self._paid is not None and self._paid.priced:
            await asyncio.wait(asking, timeout=LAST_WORDS_S)
        for asked in asking:
            asked.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._pool.close()
        if self._paid is not None:  # last, since those who were cancelled have written there
            await self._paid.close()

    # --- asking ---------------------------------------------------------------------------------

    async def _sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> list[list[Sampled]]:
        # A queue of its own: a task for each of a shard's requests, most of them waiting, would
        # wake all at every answer.
        waiting = list(enumerate(requests))[::-1]
        found: list[list[Sampled]] = [[] for _ in requests]

        async def work() -> None:
            try:
                while waiting and not self._closed:
                    i, request = waiting.pop()
                    found[i] = await self._ask(request, params)
            except Exception:
                waiting.clear()  # nothing more leaves; what is on its way is paid for and is kept
                raise

        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            hands = min(len(requests), self._settings.concurrency * len(self._pool.all))
            ended = await asyncio.gather(*(work() for _ in range(hands)), return_exceptions=True)
        finally:
            self._asking.discard(task)
        for failed in ended:
            if failed is not None:
                raise failed
        if waiting:
            raise EngineClosed("the openai engine was closed in the middle of a batch")
        return found

    async def _ask(self, request: SampleRequest, params: SamplingParams) -> list[Sampled]:
        """All samples of a request: in one call where token ids go in, else one by one."""
        first = await self._call(request, params, 0)
        answers = [first] * request.n
        if first["chat"]:
            for j in range(1, request.n):
                answers[j] = await self._call(request, params, j, chat=True)
            found = [self._from_text(request, j, a["choices"][0], params)
                     for j, a in enumerate(answers)]  # fmt: skip
        else:
            by_index = {c["index"]: c for c in first["choices"]}
            greedy = params.temperature == 0
            choices = [by_index[0 if greedy else j] for j in range(request.n)]
            found = [self._from_ids(request, j, c, params) for j, c in enumerate(choices)]
        return [replace(s, call_id=a["_call"]) for s, a in zip(found, answers, strict=True)]

    async def _call(
        self, request: SampleRequest, params: SamplingParams, j: int, *, chat: bool | None = None
    ) -> Answer:
        """Samples `j` and on of a request: one in a chat, else all."""

        async def send(endpoint: Endpoint) -> Posted:
            alone = self._is_chat(endpoint) if chat is None else chat
            return await self._send(endpoint, request, params, j, chat=alone)

        last: Endpoint | None = None
        for _ in range(self._settings.attempts):
            answer = await self._pool.call(send)
            last = answer["_endpoint"]
            if "chat" in answer:
                return answer
        raise _malformed(last)

    async def _send(
        self, endpoint: Endpoint, request: SampleRequest, params: SamplingParams, j: int, *,
        chat: bool,
    ) -> Posted:  # fmt: skip
        """One try; an answer that is not whole comes back empty."""
        n = 1 if chat or params.temperature == 0 else request.n
        path, body = self._body(endpoint, request, params, j, n=n, chat=chat)
        keep = partial(kept, request=request, n=n, chat=chat)

        async def post(headers: Mapping[str, str]) -> Posted:
            return await self._pool.post(endpoint, path, body, headers)

        if self._paid is None:
            status, answer, wait = await post({})
            whole = (keep(answer) or {}) if status == 200 else answer
            return status, {**whole, "_call": ""}, wait
        call = Call(
            call_id=call_id_of(
                self._paid.model_id, request, params, j=j, n=1 if chat else request.n
            ),
            tokens_in=most_read(request, chat=chat),
            tokens_out=n * params.max_tokens,
            keep=keep,
        )
        patience_s = self._settings.timeout_s
        status, answer, wait = await self._paid.ask(
            call, post, url=endpoint.url, patience_s=patience_s
        )
        return status, {**answer, "_call": call.call_id}, wait

    def _body(
        self, endpoint: Endpoint, request: SampleRequest, params: SamplingParams, j: int, *,
        n: int, chat: bool,
    ) -> tuple[str, dict[str, Any]]:  # fmt: skip
        """Path and body of a request to an endpoint."""
        common = {"model": self._served, **_sent(params, extended=bool(endpoint.version))}
        if chat:
            said = {"messages": request.told(), "seed": request.seed + j, "n": 1}
            return "/chat/completions", {**common, **said, **self._settings.extra_body}
        said = {"prompt": request.prompt_token_ids, "seed": request.seed, "n": n,
                "logprobs": 0, "return_token_ids": True}  # fmt: skip
        if endpoint.version and (named := stop_tokens(self._renderer.tokenizer, params.stop)):
            said["stop_token_ids"] = sorted(named)
        return "/completions", {**common, **said, **self._settings.extra_body}

    def _is_chat(self, endpoint: Endpoint) -> bool:
        if self._settings.api != "auto":
            return self._settings.api == "chat"
        return not endpoint.version

    # --- what came back -------------------------------------------------------------------------

    def _from_ids(
        self, request: SampleRequest, j: int, choice: Mapping[str, Any], params: SamplingParams
    ) -> Sampled:
        ids = choice.get("token_ids")
        if ids is None:
            return self._from_text(request, j, choice, params)
        logprobs: list[float | None] = (choice.get("logprobs") or {}).get("token_logprobs") or []
        known = [float(x) for x in logprobs if x is not None]
        [text] = decoded(self._renderer.tokenizer, [ids], stop=params.stop)
        return Sampled(
            request.prompt_id, request.first_idx + j, list(ids),
            known if len(known) == len(logprobs) == len(ids) else None,
            _FINISH.get(str(choice.get("finish_reason")), "abort"), text,
        )  # fmt: skip

    def _from_text(
        self, request: SampleRequest, j: int, choice: Mapping[str, Any], params: SamplingParams
    ) -> Sampled:
        said = choice.get("message") or {}
        text = str(choice.get("text") or said.get("content") or "")
        return Sampled(
            request.prompt_id, request.first_idx + j, self._renderer.encode_completion(text), None,
            _FINISH.get(str(choice.get("finish_reason")), "abort"), text, retokenised=True,
        )  # fmt: skip

    # --- the loop -------------------------------------------------------------------------------

    async def _open(self, settings: Settings, terms: Terms) -> Endpoints:
        key = os.environ.get(settings.api_key_env, "") if settings.api_key_env else ""
        if settings.api_key_env and not key:
            raise UserError(
                f"the environment variable {settings.api_key_env} is not set",
                next=f"export {settings.api_key_env}=…",
            )
        pool = Endpoints(
            settings.urls, key=key, concurrency=settings.concurrency,
            timeout_s=settings.timeout_s, health_s=settings.health_s,
            attempts=settings.attempts, patience_s=terms.stall_s, note=self._note,
        )  # fmt: skip
        try:
            await pool.start()
        except BaseException:
            await pool.close()
            raise
        return pool

    async def _open_account(self, account: Account) -> PaidCalls:
        price = self._settings.price or account.price or UNPRICED
        hold = self._settings.in_doubt == "hold"
        paid = PaidCalls(account, price=price, model=self._served, hold=hold)
        self._pool.holds = hold and paid.priced
        await paid.start()
        return paid

    def _only_model(self) -> str:
        served = sorted({name for e in self._pool.all for name in e.models})
        if len(served) != 1:
            raise UserError(
                f"the endpoints serve {len(served)} models: {', '.join(served)}",
                next="set sampling.settings.model to one of them",
            )
        return served[0]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _note(self, text: str) -> None:
        log_.warning("%s", text)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as out:
            out.write(text + "\n")


def open_engine(model: Path, *, settings: Mapping[str, object], terms: Terms) -> OpenAISampler:
    """A pool of endpoints; of the model directory only tokenizer and template are read.

    Raises:
        UserError: for refused settings, or when no endpoint answers.
    """
    try:
        checked = Settings.model_validate(dict(settings))
    except ValidationError as bad:
        said = "; ".join(
            f"sampling.settings.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in bad.errors()
        )
        raise UserError(said, next="edit sampling.settings in the recipe") from None
    if terms.adapter is not None:
        raise UserError(
            "a server applies its own adapters",
            next="serve the adapter (vllm --lora-modules) and name it in sampling.settings.model",
        )
    return OpenAISampler(model, checked, terms)


def _sent(params: SamplingParams, *, extended: bool) -> dict[str, Any]:
    """Every sampling parameter by its name; `extended` are those that only vLLM knows."""
    body: dict[str, Any] = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_tokens,
    }
    if params.stop:
        body["stop"] = list(params.stop)
    more = {
        "top_k": params.top_k,
        "min_p": params.min_p,
        "repetition_penalty": params.repetition_penalty,
    }
    if extended:
        return body | more
    usual = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    return body | {name: value for name, value in more.items() if value != usual[name]}


def _malformed(endpoint: Endpoint | None) -> UserError:
    return UserError(
        f"{endpoint.url if endpoint else 'nobody'} answers in a shape that is not OpenAI's",
        next="set sampling.settings.api to chat or completions, whichever it speaks",
    )
